"""Where the tokens of short training rows stand in a long text, and which distances they ever show.

A row of tokens is a strip of its positions, a distance δ a place on the axis of C(δ), the chance that a row holds a pair δ apart.
Functions take draws of `clexlab.positions` or arrays of numbers by distance, and return a plotly Figure.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below
from clexlab.positions.base import Draw, check_window

# A token is never drawn narrower than this share of the axis: it would be no more than a shade.
NARROWEST = 1 / 500
DISTANCE_AXIS = "distance δ (tokens)"
MET_AXIS = "C(δ), share of rows that hold δ"
PAIRS_AXIS = "pairs at δ, mean of a row"


def strips(draws: Sequence[Draw], slots: int, learned: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Contiguous runs as one NaN-joined line, (x, y): x from half a token before a run to half a token behind it, y the draw's number.

    `slots` is how far the axis reaches. Only the tokens that are targets of the loss, or with `learned=False` only the others.
    """
    x, y = [], []
    for number, draw in enumerate(draws):
        kept = np.ones(len(draw.positions), dtype=bool) if draw.learned is None else draw.learned.cpu().numpy()
        places = draw.positions.cpu().double().numpy()[kept == learned]
        if not len(places):
            continue
        breaks = np.flatnonzero(np.diff(places) > 1)
        starts, ends = places[np.r_[0, breaks + 1]], places[np.r_[breaks, len(places) - 1]]
        middle, half = (starts + ends) / 2, np.maximum((ends - starts + 1) / 2, NARROWEST * slots / 2)
        x.append(np.stack([middle - half, middle + half, np.full_like(middle, np.nan)], axis=1).ravel())
        y.append(np.full(3 * len(middle), float(number)))
    return (np.concatenate(x), np.concatenate(y)) if x else (np.zeros(0), np.zeros(0))


def position_rows(draws: Mapping[str, Sequence[Draw]], window: int, slots: int) -> go.Figure:
    """Drawn rows of several recipes: a strip a row, `slots` positions wide, the window as a line; gaps are skipped positions.

    Rows of one recipe stand together, the first on top. What is read and no target of the loss is grey and thin. ValueError without a row.
    """
    check_window(window)
    if not draws or not all(draws.values()):
        raise ValueError("no rows given; pass {name: [sampler.draw(length, generator), …]}, at least one for every name")
    figure = style.figure(f"Rows of {len(next(iter(draws.values()))[0].positions)} tokens in a text of {slots:,}")
    top, ticks = 0.0, {}
    hues = [colour for colour in style.COLOURS if colour != style.NEUTRAL]
    for index, (name, rows) in enumerate(draws.items()):
        for learned, colour, width in ((True, hues[index % len(hues)], 9), (False, style.NEUTRAL, 4)):
            x, y = strips(rows, slots, learned)
            if len(x):
                line = dict(color=colour, width=width)
                figure.add_scatter(x=x, y=top + y, mode="lines", line=line, name=name, showlegend=False, hovertemplate="position %{x:.0f}")
        ticks[name] = top + (len(rows) - 1) / 2
        top += len(rows) + 1
    figure.add_vline(x=window - 0.5, line=guide())
    text = dict(text=f"window {window:,}", font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    figure.add_annotation(x=window - 0.5, y=1, yref="y domain", xanchor="left", yanchor="bottom", **text)
    labels = dict(tickvals=[*ticks.values()], ticktext=[*ticks], showgrid=False)
    figure.update_layout(
        height=110 + 15 * int(top),
        xaxis=dict(title="position (tokens)", range=[-0.5 - slots / 100, slots - 0.5 + slots / 100]),
        yaxis=dict(autorange="reversed", title="", **labels),
    )
    return figure


def distances_met(coverage: Mapping[str, Float[Tensor, "slots"]], window: int, counted: Collection[str] = ()) -> go.Figure:
    """C(δ) of several recipes against δ; those named in `counted` are of counted draws and carry signs, the others are formulas."""
    figure = _by_distance(coverage, window, counted, "Which distances a row holds")
    figure.update_layout(xaxis=dict(title=DISTANCE_AXIS), yaxis=dict(title=MET_AXIS, range=[-0.03, 1.05]))
    return figure


def pairs_by_distance(pairs: Mapping[str, Float[Tensor, "slots"]], window: int, counted: Collection[str] = ()) -> go.Figure:
    """The mean number of pairs δ apart in a row, both axes logarithmic: C(δ) counts a hundred pairs as one, this does not."""
    figure = _by_distance(pairs, window, counted, "How many pairs a row holds at each distance")
    figure.update_layout(xaxis=style.log2_axis(DISTANCE_AXIS), yaxis=dict(title=PAIRS_AXIS, type="log", dtick=1, exponentformat="power"))
    return figure


def _by_distance(curves: Mapping[str, Float[Tensor, "slots"]], window: int, counted: Collection[str], title: str) -> go.Figure:
    """Entries from δ = 1 on: at 0 every token meets itself."""
    check_window(window)
    if not curves:
        raise ValueError("no curve given; pass {name: values by distance}, entry 0 for distance 0")
    if unknown := set(counted) - set(curves):
        raise ValueError(f"counted has {', '.join(sorted(unknown))}; the curves are {', '.join(curves)}")
    figure = style.figure(title, height=420)
    for index, (name, values) in enumerate(curves.items()):
        y = values.detach().cpu().double().numpy()[1:]
        # On a logarithmic axis nothing is nowhere.
        look = dict(mode="lines", line=style.line(index), hovertemplate="δ = %{x}: %{y:.3~g}")
        if name in counted:
            look |= dict(mode="lines+markers", marker=dict(size=4))
        figure.add_scatter(x=np.arange(1, len(y) + 1), y=np.where(y > 0, y, np.nan), name=name, **look)
    figure.add_vline(x=window, line=guide())
    legend_below(figure)
    return figure
