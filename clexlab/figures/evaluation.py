"""Loss against length: one curve a method, the trained window as a line, and how far the numbers can be trusted.

The numbers are those of `evaluation.LossByLength`; nothing is measured or averaged a second way here, but for several runs of
one method (seeds), whose mean is drawn inside the band from the smallest to the largest.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from clexlab.evaluation import LossByLength
from clexlab.figures import style
from clexlab.figures.looks import looks_of
from clexlab.figures.panels import guide, legend_below

Curve = LossByLength | Sequence[LossByLength]


def loss_by_length(curves: Mapping[str, Curve], title: str = "") -> go.Figure:
    """Loss of the last window/4 tokens, the same tokens at every length, in nats per token; length in tokens, log2.

    `curves` maps a name to one measurement or to several runs of one thing. One measurement of several documents carries
    bars of one standard error over its documents: they say how hard texts differ, not how methods do, which read the same
    texts. Several runs are drawn as their mean in a band from lowest to highest.
    Raises ValueError without a curve, for different windows, and for runs of one thing at different lengths.
    """
    runs = {name: [curve] if isinstance(curve, LossByLength) else list(curve) for name, curve in curves.items()}
    _check(runs)
    window = next(iter(runs.values()))[0].window
    figure = style.figure(title or f"Loss of the last {window // 4:,} tokens, the same at every length", height=400)
    looks = looks_of(runs)
    for name, several in runs.items():
        lengths, values = _values(several)
        _draw(figure, looks[name], name, lengths, values, _bars(several))
    _window_line(figure, window)
    longest = max(row.length for several in runs.values() for row in several[0].rows)
    figure.update_layout(
        xaxis=style.log2_axis("length (tokens)") | dict(range=[np.log10(window) - 0.06, np.log10(longest) + 0.06]),
        yaxis=dict(title="loss (nats per token)"),
    )
    legend_below(figure)
    return figure


def _check(runs: Mapping[str, list[LossByLength]]) -> None:
    if not runs or not all(runs.values()):
        raise ValueError("no measurement given; pass {name: evaluation.loss_by_length(...)}, at least one for every name")
    windows = {run.window for several in runs.values() for run in several}
    if len(windows) > 1:
        raise ValueError(f"the curves have windows {sorted(windows)}; lengths are compared within one window")
    for name, several in runs.items():
        if len({tuple(row.length for row in run.rows) for run in several}) > 1:
            raise ValueError(f"the runs of {name!r} were measured at different lengths; their mean would mix them")


def _values(several: Sequence[LossByLength]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (lengths,) and losses (runs, lengths)."""
    return np.array([row.length for row in several[0].rows]), np.array([[row.last for row in run.rows] for run in several])


def _bars(several: Sequence[LossByLength]) -> np.ndarray | None:
    """Standard errors over documents, for a single measurement of more than one document."""
    only = several[0]
    return np.array([row.last_error for row in only.rows]) if len(several) == 1 and only.documents > 1 else None


def _draw(figure: go.Figure, look: dict, name: str, lengths: np.ndarray, values: np.ndarray, bars: np.ndarray | None) -> None:
    if len(values) > 1:
        around = np.concatenate([lengths, lengths[::-1]])
        edge = np.concatenate([values.min(0), values.max(0)[::-1]])
        filling = dict(fill="toself", fillcolor=_faint(look["color"]), line=dict(width=0), mode="lines")
        figure.add_scatter(x=around, y=edge, **filling, hoverinfo="skip", showlegend=False, legendgroup=name)
    error = dict(array=bars, thickness=1, width=3) if bars is not None else None
    hover = "%{x:,} tokens: %{y:.3f} nats"
    lines = dict(mode="lines+markers", line=look, marker=dict(size=7), error_y=error)
    figure.add_scatter(x=lengths, y=values.mean(0), name=name, legendgroup=name, hovertemplate=hover, **lines)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _window_line(figure: go.Figure, window: int) -> None:
    figure.add_shape(type="line", x0=window, x1=window, y0=0, y1=1, yref="y domain", line=guide())
    # Shapes take the value itself on a logarithmic axis, annotations its logarithm.
    text = dict(text=f"window {window:,}", font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    figure.add_annotation(x=float(np.log10(window)), y=1, yref="y domain", xanchor="left", yanchor="bottom", **text)
