"""Biases as curves over distance, and how far they let a head look: arrays by distance in, a plotly Figure out."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from torch import Tensor

from clexlab.figures import style
from clexlab.figures.panels import guide, joined, legend_below, numbers

DISTANCE_AXIS = "distance n (tokens)"
BIAS_AXIS = "B(n) − B(0), on the logit"
# On a logarithmic axis so many points are a curve.
POINTS = 160


def bias_curves(curves: Mapping[str, Float[Tensor, "heads length"]], window: int, lowest: float = -25.0) -> go.Figure:
    """B(n) - B(0) from n = 1 on, a colour a method and a line a head; the window is a line. Below `lowest` nothing is drawn.

    A constant is nothing to a softmax, so B(0) is taken off; and exp(-25) of a neighbour's attention is none. ValueError without a curve.
    """
    if not curves:
        raise ValueError("no curve given; pass {title: bias.curve(length)}")
    figure = style.figure("What each bias adds to a logit", height=440)
    for index, (title, curve) in enumerate(curves.items()):
        values = numbers(curve)
        x, y = joined(*thinned(values - values[:, :1]))
        y = np.where(y < lowest, np.nan, y)
        figure.add_scatter(x=x, y=y, mode="lines", name=title, line=style.method_line(index), hovertemplate="n = %{x}: %{y:.3~g}")
    figure.add_vline(x=window, line=guide())
    figure.update_layout(xaxis=style.log2_axis(DISTANCE_AXIS), yaxis=dict(title=BIAS_AXIS))
    legend_below(figure)
    return figure


def receptive_fields(fields: Mapping[str, Int[Tensor, "heads"]], window: int, length: int, title: str = "") -> go.Figure:
    """A line a method, a sign a head: how far it looks, of `length` keys. The window and the length are lines. ValueError without one."""
    if not fields:
        raise ValueError("no field given; pass {title: receptive.field(curve)}")
    figure = style.figure(title or "Within which distance a head spends 99 % of its attention", height=130 + 28 * len(fields))
    for index, (name, reached) in enumerate(fields.items()):
        look = style.method_line(index)
        # A head that looks at itself alone has field 0, which a logarithmic axis has no place for.
        x = np.maximum(numbers(reached), 0.5)
        marker = dict(size=10, color=look["color"], symbol="line-ns", line=dict(width=3, color=look["color"]))
        told = dict(customdata=numbers(reached), hovertemplate="%{y}: %{customdata:,.0f} tokens<extra></extra>")
        figure.add_scatter(x=x, y=[name] * len(x), mode="markers", marker=marker, showlegend=False, **told)
    for at, dash in ((window, "dash"), (length, "dot")):
        figure.add_vline(x=at, line=guide(dash))
    figure.update_layout(xaxis=style.log2_axis(DISTANCE_AXIS), yaxis=dict(autorange="reversed", title="", showgrid=True))
    return figure


def thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from 1 on, evenly spaced in ln n, and the values there: (points,) and (heads, points)."""
    last = values.shape[1] - 1
    kept = np.unique(np.geomspace(1, max(1, last), POINTS).round().astype(int)) if last >= 1 else np.zeros(0, dtype=int)
    return kept.astype(float), values[:, kept]
