"""Figures of rotation: a pair on its circle, a score as a sum of cosines, the two pairings, what rounding does to an angle."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies, rope
from clexlab.figures import panels, style

_POINTS = 181
# Below the axis title of a figure 400 pixels high; the template's default would touch it.
_LEGEND_Y = -0.27


def _square(figure: go.Figure, column: int, reach: float) -> None:
    """Equal scales on both axes, so that a circle is a circle and an angle is what it looks like."""
    figure.update_xaxes(range=[-reach, reach], constrain="domain", row=1, col=column)
    anchor = "x" if column == 1 else f"x{column}"
    figure.update_yaxes(range=[-reach, reach], scaleanchor=anchor, constrain="domain", row=1, col=column)


def _arc(start: float, end: float, radius: float) -> tuple[list[float], list[float]]:
    angles = torch.linspace(start, end, _POINTS, dtype=torch.float64)
    return (radius * angles.cos()).tolist(), (radius * angles.sin()).tolist()


def shifted_pairs(
    q: Float[Tensor, "2"], k: Float[Tensor, "2"], theta: float, moments: Sequence[tuple[int, int]]
) -> go.Figure:
    """One pair of coordinates of a query at position m and a key at n, one panel per (m, n) in `moments`.

    The arrows are R(mθ)q and R(nθ)k; the arc between them is the angle that the dot product sees, signed from key to
    query in (-180°, 180°]. `theta` is in radians per token.
    """
    reach = 1.25 * max(float(q.norm()), float(k.norm()))
    angles = rope.angles(torch.tensor(moments), torch.tensor([theta]))
    rotated = [rope.rotate(torch.stack((q, k)), pair) for pair in angles]
    dots = [f"{float(turned[0] @ turned[1]):.3f}".replace("-", "−") for turned in rotated]
    figure = panels.row([f"m = {m}, n = {n}: dot product {dot}" for (m, n), dot in zip(moments, dots, strict=True)], 400, 0.07)
    for column, turned in enumerate(rotated, start=1):
        headings = torch.atan2(turned[:, 1], turned[:, 0]).tolist()
        between = math.remainder(headings[0] - headings[1], 2 * math.pi)
        x, y = _arc(headings[1], headings[1] + between, 0.35 * reach)
        figure.add_scatter(
            x=x, y=y, mode="lines", line=dict(color=style.NEUTRAL, width=2), name="angle between", legendgroup="arc",
            showlegend=column == 1, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
        middle = headings[1] + between / 2
        figure.add_annotation(
            x=0.5 * reach * math.cos(middle), y=0.5 * reach * math.sin(middle), showarrow=False,
            text=f"{math.degrees(between):.0f}°".replace("-", "−"), row=1, col=column,
        )  # fmt: skip
        for index, name in enumerate(("query", "key")):
            a, b = turned[index].tolist()
            figure.add_scatter(
                x=[0, a], y=[0, b], mode="lines+markers", line=style.line(index, 3.0), name=name, legendgroup=name,
                marker=dict(symbol="arrow", angleref="previous", size=[0, 16], opacity=1, line_width=0),
                showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
        _square(figure, column, reach)
        figure.update_xaxes(title="coordinate a", row=1, col=column)
    figure.update_yaxes(title="coordinate b", row=1, col=1)
    figure.update_layout(legend_y=_LEGEND_Y)
    return figure


def dials(inv_freq: Float[Tensor, "pairs"], chosen: Sequence[int], window: float, length: float) -> go.Figure:
    """What each chosen pair sees: the angles met within `window` tokens, and the new ones on the way to `length` tokens.

    A dial is the circle of one pair, starting at three o'clock; inside it, the turns made in training and the share of the
    circle that is new. A pair that completes a turn in training knows every
    angle; a slower one meets new angles as soon as the text is longer than the window.
    """
    if not chosen or not all(0 <= j < len(inv_freq) for j in chosen):
        raise ValueError(f"chosen is {chosen!r}; name pairs from 0 to {len(inv_freq) - 1}")
    turned = frequencies.turns(inv_freq, window).tolist()
    figure = panels.row([f"pair {j}" for j in chosen], 330, 0.05)
    for column, j in enumerate(chosen, start=1):
        seen = min(1.0, turned[j])
        reached = min(1.0, turned[j] * length / window)
        x, y = _arc(0, 2 * math.pi, 1.0)
        figure.add_scatter(
            x=x, y=y, mode="lines", name="whole circle", line=dict(color=style.GRID, width=1), showlegend=False,
            hoverinfo="skip", row=1, col=column,
        )
        for index, (name, start, end) in enumerate(
            ((f"seen within {window:,.0f} tokens", 0.0, seen), (f"new on the way to {length:,.0f}", seen, reached))
        ):
            x, y = _arc(2 * math.pi * start, 2 * math.pi * end, 1.0)
            figure.add_scatter(
                x=x if end > start else [None], y=y if end > start else [None], mode="lines", legendgroup=name,
                line=dict(style.line(index, 6.0), dash=("solid", "dot")[index]), name=name,
                showlegend=column == 1, hoverinfo="skip", row=1, col=column,
            )  # fmt: skip
        figure.add_annotation(
            x=0, y=0, showarrow=False, row=1, col=column,
            text=f"{turned[j]:.3g} turns<br>{reached - seen:.0%} is new",
        )  # fmt: skip
        _square(figure, column, 1.25)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(legend_y=0, margin_b=20)
    return figure


def score_as_cosines(
    q: Float[Tensor, "head_dim"],
    k: Float[Tensor, "head_dim"],
    inv_freq: Float[Tensor, "pairs"],
    distances: Float[Tensor, "n"],
) -> go.Figure:
    """Left: what each half-split pair adds to the score at every distance. Right: their sum, the score itself."""
    total = rope.scores(q, k, distances, inv_freq)
    (q_a, q_b), (k_a, k_b) = rope.HalfSplit.split(q), rope.HalfSplit.split(k)
    phi = rope.angles(distances, inv_freq)
    parts = phi.cos() * (q_a * k_a + q_b * k_b) + phi.sin() * (q_a * k_b - q_b * k_a)
    figure = panels.row(("each pair adds one cosine", "their sum is the score"), 420)
    for j, wavelength in enumerate(frequencies.wavelengths(inv_freq).tolist()):
        name = f"pair {j}, one turn in {wavelength:,.3g} tokens"
        figure.add_scatter(x=distances.tolist(), y=parts[:, j].tolist(), name=name, line=style.line(j), row=1, col=1)
    line = dict(color=style.NEUTRAL, width=3)
    figure.add_scatter(x=distances.tolist(), y=total.tolist(), name="sum", line=line, row=1, col=2)
    figure.update_xaxes(title="distance from query to key (tokens)")
    figure.update_yaxes(title="part of the score", row=1, col=1)
    figure.update_yaxes(title="score q·k", row=1, col=2)
    figure.update_layout(legend_y=_LEGEND_Y)
    return figure


def scores_by_distance(distances: Float[Tensor, "n"], curves: Mapping[str, Float[Tensor, "n"]], title: str) -> go.Figure:
    """One line per named curve of scores against the distance; the first is the reference, drawn as a ribbon."""
    figure = style.figure(title, 400)
    for index, (name, values) in enumerate(curves.items()):
        # The first line is a broad, pale ribbon: a later one that lies on top of it shows, and so does the agreement.
        width, opacity = (10.0, 0.4) if index == 0 else (2.5, 1.0)
        look = dict(line=style.line(index, width), opacity=opacity)
        figure.add_scatter(x=distances.tolist(), y=values.tolist(), mode="lines", name=name, **look)
    figure.update_xaxes(title="distance from query to key (tokens)")
    figure.update_yaxes(title="score q·k")
    figure.update_layout(legend_y=_LEGEND_Y)
    return figure


def pairings(head_dim: int) -> go.Figure:
    """Which coordinates of a head form a pair in the two conventions, and how the permutation leads from one to the other.

    Boxes are coordinates; the number is the coordinate's index in the interleaved vector. Arcs join the two of a pair.
    """
    order = rope.permutation(head_dim).tolist()
    figure = style.figure("Two conventions, one rotation: the same pairs stored in a different order", 400)
    interleaved, half_split = list(range(head_dim)), order
    for pair in range(head_dim // 2):
        # Dash repeats with a different period than colour, so more than five pairs still differ.
        line = style.line(pair, 2.5)
        shown = [2 * pair, 2 * pair + 1]
        for height, stored, outward in ((1.0, interleaved, 1), (0.0, half_split, -1)):
            places = [stored.index(coordinate) for coordinate in shown]
            rise = 0.16 + 0.5 * (places[1] - places[0]) / head_dim
            steps = torch.linspace(0, math.pi, 41, dtype=torch.float64)
            middle, half = sum(places) / 2, (places[1] - places[0]) / 2
            figure.add_scatter(
                x=(middle - half * steps.cos()).tolist(), y=(height + outward * (0.1 + rise * steps.sin())).tolist(),
                mode="lines", line=line, name=f"pair {pair}", legendgroup=str(pair), showlegend=height == 1, hoverinfo="skip",
            )  # fmt: skip
            figure.add_scatter(
                x=places, y=[height, height], mode="markers+text", text=[str(c) for c in shown], textposition="middle center",
                marker=dict(symbol="square-open", size=30, color=line["color"], line=dict(width=2)), legendgroup=str(pair),
                showlegend=False, hovertemplate="coordinate %{text}, stored at place %{x}<extra></extra>",
            )  # fmt: skip
        for coordinate in shown:
            figure.add_scatter(
                x=[coordinate, half_split.index(coordinate)], y=[0.88, 0.12], mode="lines", legendgroup=str(pair),
                line=dict(line, width=1), showlegend=False, hoverinfo="skip",
            )  # fmt: skip
    figure.update_xaxes(title="place in the head's vector (index)", dtick=1, showgrid=False, range=[-0.6, head_dim - 0.4])
    figure.update_yaxes(
        title="", tickvals=[0, 1], ticktext=["half-split", "interleaved"], showgrid=False, range=[-0.95, 1.5], ticks=""
    )
    figure.update_layout(legend_y=_LEGEND_Y)
    return figure


def angle_errors(positions: Float[Tensor, "n"], errors: Mapping[str, Float[Tensor, "n"]]) -> go.Figure:
    """How far a rounded angle is from the exact one, by position, one line per number format; a line at half a turn.

    At half a turn of error nothing is left of the position: the pair may point anywhere. Zero errors are left out, since
    the axis is logarithmic.
    """
    figure = style.figure("Largest error of an angle over all pairs", 400)
    for index, (name, error) in enumerate(errors.items()):
        shown = [value if value > 0 else None for value in error.tolist()]
        figure.add_scatter(x=positions.tolist(), y=shown, mode="lines", name=name, line=style.line(index))
    ends = [float(positions.min()), float(positions.max())]
    line = dict(color=style.NEUTRAL, width=1)
    figure.add_scatter(x=ends, y=[math.pi, math.pi], mode="lines", name="half a turn", line=line, hoverinfo="skip")
    figure.update_xaxes(style.log2_axis("position (tokens)"))
    figure.update_yaxes(title="error of the angle (rad)", type="log", exponentformat="power", dtick=2)
    figure.update_layout(legend_y=_LEGEND_Y)
    return figure
