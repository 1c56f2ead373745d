"""Relative positions P(i, j) as pictures: the matrix a map makes, the last query's row of it, how often each position occurs.

Blue is what training showed, 0 … window-1, the darker the further; orange is beyond; a key that the query does not see is left blank.
Functions take matrices of `clexlab.positions.maps`, and return a plotly Figure.
"""

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below, numbers
from clexlab.positions.base import check_window

TRAINED, BEYOND = style.COLOURS[0], style.COLOURS[1]
# The lightest shade of each colour, as its share in a mix with white: it stands out from both themes' paper.
FAINTEST, FAINTEST_BEYOND = 0.15, 0.55
# Matrices up to this length show their numbers.
READABLE = 12
COLUMNS, SIDE = 4, 250
ROUNDING = 1e-6
POSITION_AXIS = "relative position P"


def relative_matrices(matrices: Mapping[str, Float[Tensor, "length length"]], window: int, title: str = "") -> go.Figure:
    """A heat map a matrix, query rows from top to bottom, keys from left to right, all in one scale of colours.

    Matrices of up to 12 tokens show their numbers. Raises ValueError without a matrix.
    """
    check_window(window)
    if not matrices:
        raise ValueError("no matrix given; pass {name: map.relative(length), …}")
    found = {name: numbers(matrix) for name, matrix in matrices.items()}
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    gaps = dict(horizontal_spacing=0.05, vertical_spacing=0.16 / rows)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[f"<b>{name}</b>" for name in found], **gaps)
    largest = max(float(np.nanmax(matrix)) for matrix in found.values())
    for place, (name, matrix) in enumerate(found.items()):
        where = dict(row=1 + place // columns, col=1 + place % columns)
        hover = f"{name}: query %{{y}}, key %{{x}}, P = %{{z:.4~g}}<extra></extra>"
        told = dict(texttemplate="%{z:.2~g}", textfont=dict(size=10)) if len(matrix) <= READABLE else {}
        figure.add_heatmap(z=matrix, coloraxis="coloraxis", hoverongaps=False, hovertemplate=hover, **told, **where)
        figure.update_xaxes(title="key j" if place + columns >= len(found) else "", showgrid=False, constrain="domain", **where)
        square = dict(autorange="reversed", showgrid=False, scaleanchor=f"x{place + 1 or ''}", constrain="domain")
        figure.update_yaxes(title="query i" if where["col"] == 1 else "", **square, **where)
    figure.update_annotations(font_size=13)
    bar = dict(title=dict(text="P", side="right"), thickness=12, tickvals=_ticks(window, largest))
    figure.update_layout(
        template=style.TEMPLATE,
        title=dict(text=title, font=dict(size=15)),
        height=(SIDE + 50) * rows + 60 + 30 * bool(title),
        coloraxis=dict(colorscale=shades(window, largest), cmin=0, cmax=max(largest, window - 1), colorbar=bar),
    )
    return figure


def last_rows(matrices: Mapping[str, Float[Tensor, "length length"]], window: int) -> go.Figure:
    """What the last query takes the distance of every key for, P against the true distance; the largest trained one as a line."""
    check_window(window)
    if not matrices:
        raise ValueError("no matrix given; pass {name: map.relative(length), …}")
    figure = style.figure("What the last token takes distances for", height=420)
    for index, (name, matrix) in enumerate(matrices.items()):
        distance, place = last_row(numbers(matrix))
        hover = "distance %{x}: P = %{y:.4~g}"
        figure.add_scatter(x=distance, y=place, mode="lines", name=name, line=style.line(index), hovertemplate=hover)
    _trained_level(figure, window)
    figure.update_layout(xaxis=dict(title="distance i - j (tokens)"), yaxis=dict(title=POSITION_AXIS))
    legend_below(figure)
    return figure


def pairs_by_position(matrices: Mapping[str, Float[Tensor, "length length"]], window: int) -> go.Figure:
    """How many pairs of query and key stand at each relative position, beside a training row of one window: window - P of them."""
    check_window(window)
    if not matrices:
        raise ValueError("no matrix given; pass {name: map.relative(length), …}")
    figure = style.figure("How often each position occurs", height=420)
    row = dict(mode="lines", line=dict(color=style.NEUTRAL, width=2, dash="dot"))
    figure.add_scatter(x=np.arange(window), y=np.arange(window, 0, -1), name="one row of training", **row)
    for index, (name, matrix) in enumerate(matrices.items()):
        place, count = position_counts(numbers(matrix))
        hover = "P = %{x:.4~g}: %{y:,} pairs"
        figure.add_scatter(x=place, y=count, mode="lines", name=name, line=style.line(index), hovertemplate=hover)
    figure.add_vline(x=window - 1, line=guide())
    counts = dict(title="pairs of query and key", type="log", dtick=1, exponentformat="power")
    figure.update_layout(xaxis=dict(title=POSITION_AXIS), yaxis=counts)
    legend_below(figure)
    return figure


def last_row(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance 0 … length-1 and P of the last query at it; NaN where it does not see the key."""
    return np.arange(len(matrix)), matrix[-1, ::-1]


def position_counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The relative positions that occur, rounded down to whole ones, and the number of pairs at each: 0 where none is."""
    seen = matrix[np.isfinite(matrix)]
    counts = np.bincount(np.floor(seen + ROUNDING).astype(int))
    return np.arange(len(counts)), counts


def tiles(matrix: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Every cell with low ≤ P < high as part of a closed box, NaN between boxes: (x, y) of one filled curve.

    A box is a run of such cells in one row, from half a token before the first to half a token behind the last.
    """
    inside = np.pad((matrix >= low) & (matrix < high), ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(inside, axis=1)
    row, left = np.nonzero(steps == 1)
    right = np.nonzero(steps == -1)[1]
    gap = np.full(len(row), np.nan)
    x = np.stack([left, right, right, left, gap], axis=1) - 0.5
    y = np.stack([row - 0.5, row - 0.5, row + 0.5, row + 0.5, gap], axis=1)
    return x.ravel(), y.ravel()


def is_trained(places: np.ndarray, window: int) -> np.ndarray:
    """Which positions a row of one window has; those between two of its own count, the largest is window - 1."""
    # Positions in steps of 1/slowing or 1/G are sums of rounded numbers.
    return places <= window - 1 + ROUNDING


def shades(window: int, largest: float) -> list[tuple[float, str]]:
    """Plotly's colours from 0 to the largest of all positions: blue up to window-1, orange from there on."""
    if largest <= window - 1 + ROUNDING:
        return [(0.0, tint(TRAINED, FAINTEST)), (1.0, tint(TRAINED, 1.0))]
    # What stands exactly at the largest trained position is blue: a scale gives its border to what comes after it.
    edge = (window - 1 + ROUNDING * window) / largest
    trained = [(0.0, tint(TRAINED, FAINTEST)), (edge, tint(TRAINED, 1.0))] if window > 1 else [(0.0, tint(TRAINED, 1.0))]
    return [*trained, (edge, tint(BEYOND, FAINTEST_BEYOND)), (1.0, tint(BEYOND, 1.0))]


def tint(colour: str, share: float) -> str:
    """A colour mixed with white; no opacity, so that it is the same on both themes and numbers on it stay readable."""
    mixed = (round(255 - share * (255 - int(colour[at : at + 2], 16))) for at in (1, 3, 5))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def _ticks(window: int, largest: float) -> list[float]:
    """Both ends, and where training ends."""
    return sorted({0.0, float(window - 1), largest})


def _trained_level(figure: go.Figure, window: int) -> None:
    figure.add_hline(y=window - 1, line=guide())
    text = dict(text=f"largest trained position {window - 1:,}", font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    figure.add_annotation(x=0.01, xref="x domain", y=window - 1, xanchor="left", yanchor="bottom", **text)
