"""Figures of cached decoding: where along a text a key cache and an uncached run disagree, and by how much.

The arrays come from `clexlab.decoding` and from its records; nothing is measured here. Functions return a plotly Figure.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from clexlab.decoding import Disagreement
from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below, numbers

# A logarithmic axis has no zero: what is equal but for rounding lies on this line.
FLOOR = 1e-10
KL_AXIS = "KL(uncached ‖ cached), nats"


def on_axis(divergence: np.ndarray) -> np.ndarray:
    """Divergences with everything up to FLOOR on the floor."""
    return np.maximum(divergence, FLOOR)


def disagreement(runs: Mapping[str, Disagreement], window: int) -> go.Figure:
    """KL per length for every named run, on a log axis; crosses where the first choices differ, dashed lines at the windows.

    A run on the lower edge is exact: what is below 10⁻¹⁰ is drawn there. Raises ValueError without a run.
    """
    if not runs:
        raise ValueError("no run given; pass at least one, for example {'re-rotated': decoding.compare(...)}")
    figure = style.figure("Cached against uncached, token by token", height=440)
    for index, (name, run) in enumerate(runs.items()):
        look, lengths, kl = style.line(index, 1.5), run.lengths.numpy(), on_axis(numbers(run.divergence))
        figure.add_scatter(
            x=lengths, y=kl, mode="lines", line=look, name=name, legendgroup=name, hovertemplate="after %{x} tokens: %{y:.1e}"
        )
        differ = ~run.same.numpy()
        marker = dict(color=look["color"], symbol="x-thin", size=7, line=dict(color=look["color"], width=1.5))
        figure.add_scatter(
            x=lengths[differ], y=kl[differ], mode="markers", marker=marker, name=f"{name}: another first choice",
            legendgroup=name, showlegend=bool(differ.any()), hoverinfo="skip",
        )  # fmt: skip
    longest = max(int(run.lengths[-1]) for run in runs.values())
    for edge in range(window, longest, window):
        figure.add_vline(x=edge + 0.5, line=guide())
    figure.update_layout(
        xaxis=dict(title=f"tokens read; a dashed line a window ({window} tokens)", range=[0, longest + 1]),
        yaxis=dict(title=KL_AXIS, type="log", dtick=2, exponentformat="power", range=[np.log10(FLOOR) - 0.3, 1.5]),
    )
    legend_below(figure)
    return figure


def divergence_by_window(
    rows: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]], windows: Sequence[str]
) -> go.Figure:
    """Mean KL over texts by the stretch of the text; bars reach from the smallest to the largest text.

    `rows` maps a method (a colour) and then a semantics (a dash and a sign) to (mean, least, most) per stretch; `windows` names the
    stretches. Raises ValueError for other sizes.
    """
    figure = style.figure("Mean KL by length, over held-out texts", height=400)
    kinds = list(dict.fromkeys(semantics for row in rows.values() for semantics in row))
    for (index, (method, row)), semantics in itertools.product(enumerate(rows.items()), kinds):
        if semantics not in row:
            continue
        kind, columns, name = kinds.index(semantics), row[semantics], f"{method}, {semantics}"
        if any(len(column) != len(windows) for column in columns):
            raise ValueError(f"{name} has {[len(column) for column in columns]} values for {len(windows)} stretches; give one each")
        mean, least, most = (on_axis(np.asarray(column, dtype=float)) for column in columns)
        look = dict(color=style.COLOURS[index % len(style.COLOURS)], dash=style.DASHES[kind % len(style.DASHES)], width=2)
        bars = dict(type="data", symmetric=False, array=most - mean, arrayminus=mean - least, width=4, thickness=1)
        figure.add_scatter(
            x=list(windows), y=mean, error_y=bars, mode="lines+markers", line=look, marker=dict(size=8, symbol=kind), name=name,
            hovertemplate="%{x}: %{y:.1e}",
        )  # fmt: skip
    figure.update_layout(
        xaxis=dict(title="tokens read, in windows", type="category"),
        yaxis=dict(title=KL_AXIS, type="log", dtick=2, exponentformat="power"),
    )
    legend_below(figure)
    return figure
