"""Sparse patterns as figures: who sees whom, after how many layers, at what cost.

Functions take masks and counts as arrays, and return a plotly Figure. A row of a picture is a query, a column a key, the first on top:
what lies right of the diagonal is the future.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Integer
from plotly.subplots import make_subplots
from torch import Tensor

from clexlab.figures import style
from clexlab.figures.panels import legend_below

ACROSS = 5
# The name that full attention has among patterns.
FULL = "full attention"
HIDDEN = "rgba(127,127,127,0.10)"
SEEN, LEAK, EMPTY = style.COLOURS[0], style.COLOURS[1], "rgba(127,127,127,0.45)"
# One layer, two, three, more: neighbours differ on paper and on a dark page.
DEPTHS = (style.COLOURS[0], style.COLOURS[2], style.COLOURS[3], style.NEUTRAL)


def visible_keys(masks: Mapping[str, Bool[Tensor, "_ _"]], title: str = "") -> go.Figure:
    """One square a mask: keys that a query sees, keys of the future (leaks), and the rows of queries that see nothing.

    ValueError without a mask, and for one that is not square.
    """
    squares = {name: _square(name, mask) for name, mask in masks.items()}
    drawn = {}
    for name, seen in squares.items():
        leak = np.triu(seen, 1)
        empty = np.tril(np.broadcast_to(~seen.any(1, keepdims=True), seen.shape))
        drawn[name] = np.where(leak, 2, np.where(seen, 1, np.where(empty, 3, 0)))
    return _pictures(drawn, ("seen", "leak: a key of the future", "row that sees nothing"), (SEEN, LEAK, EMPTY), title)


def layers_needed(layers: Mapping[str, Integer[Tensor, "_ _"]], title: str = "") -> go.Figure:
    """One square a pattern: after how many layers a query knows of a key, in four shades; 0 means never.

    ValueError without a pattern, and for one that is not square.
    """
    squares = {name: _square(name, needed) for name, needed in layers.items()}
    names = ("one layer", "two layers", "three layers", "four layers or more", "leak, after any number")
    drawn = {name: np.where(np.triu(needed, 1) > 0, 5, np.minimum(needed, 4)) for name, needed in squares.items()}
    return _pictures(drawn, names, (*DEPTHS, LEAK), title)


def coverage_by_layer(coverage: Mapping[str, Sequence[float]], title: str = "Reach over layers") -> go.Figure:
    """The share of the causal triangle that has been reached after 1, 2, … layers, a line a pattern. ValueError without one."""
    if not coverage:
        raise ValueError("no pattern given; pass {name: share after one layer, after two, …}")
    figure = style.figure(title, height=400)
    for index, (name, shares) in enumerate(coverage.items()):
        hover = "%{x} layers: %{y:.1%}"
        look = dict(mode="lines+markers", line=style.method_line(index), marker=dict(size=5), hovertemplate=hover)
        figure.add_scatter(x=np.arange(1, len(shares) + 1), y=np.asarray(shares, dtype=float), name=name, **look)
    figure.update_layout(
        xaxis=dict(title="layers", dtick=1), yaxis=dict(title="share of the causal triangle", tickformat=".0%", range=[0, 1.04])
    )
    legend_below(figure)
    return figure


def entries_by_length(entries: Mapping[str, Mapping[int, float]], title: str = "Entries of the score matrix") -> go.Figure:
    """Entries of one head against the length, both axes logarithmic: slope two is quadratic, one linear. ValueError without a line."""
    return _by_length(entries, "length N (tokens)", "entries of a head", title)


def seconds_by_length(seconds: Mapping[str, Mapping[int, float]], title: str = "Measured time") -> go.Figure:
    """Seconds of one attention against the length, both axes logarithmic. ValueError without a line."""
    return _by_length(seconds, "length N (tokens)", "seconds of one attention", title)


def counted_and_measured(counted: Mapping[str, float], measured: Mapping[str, float], title: str = "") -> go.Figure:
    """Two bars a pattern: its entries and its time, each as a share of full attention's. Both mappings have the same names.

    ValueError where they have not, or have none.
    """
    if not counted or counted.keys() != measured.keys():
        raise ValueError(f"counted has {', '.join(counted) or 'none'}, measured has {', '.join(measured) or 'none'}; give the same names")
    figure = style.figure(title, height=130 + 44 * len(counted))
    for name, shares, colour in (("entries, counted", counted, style.COLOURS[0]), ("time, measured", measured, style.COLOURS[1])):
        look = dict(orientation="h", marker=dict(color=colour), hovertemplate="%{y}: %{x:.2f}")
        figure.add_bar(y=[*shares], x=[*shares.values()], name=name, **look)
    figure.add_vline(x=1, line=dict(color=style.NEUTRAL, width=1, dash="dash"))
    figure.update_layout(xaxis=dict(title="share of full attention", rangemode="tozero"), yaxis=dict(autorange="reversed", title=""))
    legend_below(figure)
    return figure


def tiles(mask: Bool[np.ndarray, "rows columns"]) -> tuple[np.ndarray, np.ndarray]:
    """The True entries of every row as filled rectangles, a run of neighbours one: a NaN-joined outline, x the column, y the row."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (row, left), (_, right) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    gap = np.full(len(row), np.nan)
    x = np.stack([left - 0.5, right - 0.5, right - 0.5, left - 0.5, left - 0.5, gap], axis=1)
    y = np.stack([row - 0.5, row - 0.5, row + 0.5, row + 0.5, row - 0.5, gap], axis=1)
    return x.ravel(), y.ravel()


def _by_length(lines: Mapping[str, Mapping[int, float]], x: str, y: str, title: str) -> go.Figure:
    if not lines or not all(lines.values()):
        raise ValueError("no line given; pass {name: {length: value}}, at least one length for every name")
    figure = style.figure(title, height=420)
    for index, (name, values) in enumerate(lines.items()):
        # As everywhere, the first line is of what nothing was done to.
        line = style.line(0) if name == FULL else style.method_line(index)
        look = dict(mode="lines+markers", line=line, marker=dict(size=5), hovertemplate="%{x:,} tokens: %{y:.4g}")
        figure.add_scatter(x=[*values], y=[*values.values()], name=name, **look)
    figure.update_layout(xaxis=style.log2_axis(x), yaxis=dict(title=y, type="log", dtick=1, exponentformat="power"))
    legend_below(figure)
    return figure


def _square(name: str, values: Tensor) -> np.ndarray:
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"{name!r} has shape {tuple(values.shape)}; a picture shows one square, queries by keys: choose a head, or any(0)")
    return values.detach().cpu().numpy()


def _pictures(squares: Mapping[str, np.ndarray], names: Sequence[str], colours: Sequence[str], title: str) -> go.Figure:
    """Squares of small whole numbers side by side: 0 is nothing, k has the k-th colour and name."""
    if not squares:
        raise ValueError("no mask given; pass {name: mask of queries by keys}")
    across = min(ACROSS, len(squares))
    down = math.ceil(len(squares) / across)
    figure = make_subplots(rows=down, cols=across, subplot_titles=[*squares], horizontal_spacing=0.03, vertical_spacing=0.4 / (down + 1))
    figure.update_layout(template=style.TEMPLATE, title=dict(text=title, font=dict(size=15)), height=150 + 190 * down)
    figure.update_annotations(font_size=12)
    found = np.unique(np.concatenate([np.unique(square) for square in squares.values()]))
    every = (HIDDEN, *colours)
    # A step a colour, so that nothing between two of them is ever drawn.
    steps = [(edge / len(every), colour) for place, colour in enumerate(every) for edge in (place, place + 1)]
    look = dict(colorscale=steps, zmin=-0.5, zmax=len(every) - 0.5, showscale=False, xgap=1, ygap=1)
    for number, (name, square) in enumerate(squares.items()):
        place = dict(row=number // across + 1, col=number % across + 1)
        figure.add_heatmap(z=square, name=name, hovertemplate="query %{y}, key %{x}", **look, **place)
        figure.update_xaxes(showgrid=False, constrain="domain", **place)
        axis = figure.get_subplot(**place).xaxis.plotly_name.replace("axis", "")
        figure.update_yaxes(autorange="reversed", showgrid=False, scaleanchor=axis, constrain="domain", **place)
    for place, (name, colour) in enumerate(zip(names, colours, strict=True), start=1):
        if place in found:
            sign = dict(size=11, symbol="square", color=colour)
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=sign, name=name, showlegend=True)
    legend_below(figure)
    return figure
