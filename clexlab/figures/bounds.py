"""Figures of scores: how far a score strays between known distances, how large it may get, and fits of Figure 2.

Arrays in, a plotly Figure out. The numbers come from `clexlab.bounds`; a mapping's keys are the names in the legend and
its order fixes colour and dash, so the same curve looks the same in every figure of a lesson.
"""

import math
from collections.abc import Mapping

import plotly.graph_objects as go
from jaxtyping import Complex, Float
from torch import Tensor, arange, float64

from clexlab import bounds
from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below, numbers, row

SYMBOLS = ("circle-open", "square-open", "diamond-open", "x-open")


def deviation_bounds(
    offsets: Float[Tensor, " n"], curves: Mapping[str, Float[Tensor, " n"]], spacing: float = 1.0, title: str = ""
) -> go.Figure:
    """Deviation |a - a_lin| against the offset between two known distances, one line per bound or measurement.

    Largest coefficient 1 on the vertical axis. Raises ValueError without curves and for curves of another length.
    """
    _require(curves, len(offsets))
    figure = style.figure(title or "Between two known distances", height=400)
    for index, (name, values) in enumerate(curves.items()):
        hover = "offset %{x:.3g}: %{y:.5f}"
        look = dict(mode="lines", name=name, line=style.line(index), hovertemplate=hover)
        figure.add_scatter(x=numbers(offsets), y=numbers(values), **look)
    figure.update_xaxes(title="offset s − s₁ (tokens)", range=[0, spacing])
    figure.update_yaxes(title="|a(s) − a_lin(s)| at max|h| = 1", rangemode="tozero")
    legend_below(figure)
    return figure


def extrapolation_bounds(
    distances: Float[Tensor, " n"], curves: Mapping[str, Float[Tensor, " n"]], window: int | None = None, title: str = ""
) -> go.Figure:
    """Size of a score against distance, both logarithmic: bounds and measured sizes, the trained window as a line.

    Distances ≥ 1 in tokens, positive values. Raises ValueError without curves and for curves of another length.
    """
    _require(curves, len(distances))
    figure = style.figure(title or "What is known of |a(s)|", height=420)
    for index, (name, values) in enumerate(curves.items()):
        hover = "distance %{x:,.0f}: %{y:.4g}"
        look = dict(mode="lines", name=name, line=style.line(index), hovertemplate=hover)
        figure.add_scatter(x=numbers(distances), y=numbers(values), **look)
    figure.update_layout(xaxis=style.log2_axis("distance s (tokens)"))
    if window is not None:
        # plotly wants log10 for notes on a logarithmic axis, but plain numbers for lines.
        figure.add_vline(x=window, line=guide())
        place = dict(x=math.log10(window), y=1, yref="paper", xanchor="left", showarrow=False)
        figure.add_annotation(**place, **_window_note(window))
    figure.update_yaxes(title="|a(s)| at max|h| = 1", type="log", dtick=1, exponentformat="power")
    legend_below(figure)
    return figure


def score_curves(
    distances: Float[Tensor, " n"], curves: Mapping[str, Float[Tensor, " n"]], window: int | None = None, title: str = ""
) -> go.Figure:
    """Scores a(s) against distance on linear axes, several of them, the trained window as a line.

    Raises ValueError without curves and for curves of another length.
    """
    _require(curves, len(distances))
    figure = style.figure(title or "Scores against distance", height=400)
    for index, (name, values) in enumerate(curves.items()):
        hover = "distance %{x:,.4g}: %{y:.4g}"
        look = dict(mode="lines", name=name, line=style.line(index), hovertemplate=hover)
        figure.add_scatter(x=numbers(distances), y=numbers(values), **look)
    if window is not None:
        figure.add_vline(x=window, line=guide(), annotation=_window_note(window))
    figure.update_xaxes(title="distance s (tokens)")
    figure.update_yaxes(title="score a(s)")
    legend_below(figure)
    return figure


def fitted_score(
    h: Complex[Tensor, " pairs"],
    inv_freq: Float[Tensor, " pairs"],
    targets: Float[Tensor, " window"],
    fine: int = 8,
    zoom: tuple[int, int] = (25, 75),
) -> go.Figure:
    """The three panels of Figure 2: a fit and its targets inside the window, the same fit up to twice the window, a close-up.

    The close-up draws the fit on a 1/`fine` grid in `zoom` (tokens) with its values at the integers as dots.
    Raises ValueError if `zoom` leaves the window.
    """
    window = len(targets)
    first, last = zoom
    if not 0 <= first < last <= window:
        raise ValueError(f"zoom {zoom} must be two rising distances within the window of {window} tokens")
    figure = row(("Inside the window", "Up to twice the window", f"Between integers, {first} to {last}"), height=400)
    whole = arange(2 * window, dtype=float64)
    score = numbers(bounds.scores(h, whole, inv_freq))
    dots = dict(mode="markers", marker=dict(size=3, color=style.NEUTRAL, opacity=0.5))
    fit = dict(mode="lines", line=dict(color=style.COLOURS[0], width=1.5), name="fitted a(s)", legendgroup="fit")
    figure.add_scatter(x=numbers(whole)[:window], y=numbers(targets), **dots, name="targets", row=1, col=1)
    figure.add_scatter(x=numbers(whole)[:window], y=score[:window], **fit, row=1, col=1)
    figure.add_scatter(x=numbers(whole), y=score, **fit, showlegend=False, row=1, col=2)
    figure.add_vline(x=window, line=guide(), annotation=_window_note(window), row=1, col=2)
    grid = arange(first * fine, last * fine + 1, dtype=float64) / fine
    figure.add_scatter(x=numbers(grid), y=numbers(bounds.scores(h, grid, inv_freq)), **fit, showlegend=False, row=1, col=3)
    known = dict(mode="markers", marker=dict(size=6, color=style.COLOURS[1], symbol="diamond"), name="a(s) at integers")
    figure.add_scatter(x=numbers(whole)[first : last + 1], y=score[first : last + 1], **known, row=1, col=3)
    figure.update_xaxes(title="distance s (tokens)")
    figure.update_yaxes(title="score a(s)", col=1)
    legend_below(figure)
    return figure


def fit_sizes(sizes: Mapping[str, bounds.FitSizes], title: str = "") -> go.Figure:
    """Sizes of several fits side by side on a logarithmic axis: at the fitted integers, strictly between, beyond the window, max|h|.

    One row per fit, named by its key; symbol and colour say what is measured. Raises ValueError without fits.
    """
    if not sizes:
        raise ValueError("no fits to draw; pass {name: bounds.evaluate(...)} with at least one entry")
    figure = style.figure(title or "One set of targets, several solvers", height=34 * len(sizes) + 160)
    measures = {
        "max|a| at fitted integers": "inside",
        "max|a| between integers": "between",
        "max|a| beyond the window": "beyond",
        "max|h|": "coefficient",
    }
    for index, (name, attribute) in enumerate(measures.items()):
        values = [getattr(size, attribute) for size in sizes.values()]
        marker = dict(size=11, color=style.COLOURS[index], symbol=SYMBOLS[index], line=dict(width=2))
        hover = "%{y}: %{x:.3g}"
        figure.add_scatter(x=values, y=list(sizes), mode="markers", name=name, marker=marker, hovertemplate=hover)
    figure.update_xaxes(title="size: score a(s), or coefficient h", type="log", exponentformat="power")
    figure.update_yaxes(autorange="reversed")
    legend_below(figure)
    return figure


def _window_note(window: int) -> dict:
    return dict(text=f"window {window:,}", font=dict(size=11, color=style.NEUTRAL))


def _require(curves: Mapping[str, Tensor], points: int) -> None:
    if not curves:
        raise ValueError("no curves to draw; pass {name: values} with at least one entry")
    for name, values in curves.items():
        if tuple(values.shape) != (points,):
            raise ValueError(f"curve {name!r} has shape {tuple(values.shape)}; it needs one value for each of {points} points")
