"""What a training shows while it runs: the loss of each run, and how far a learned field has moved θ(t) from its prior."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import nn

from clexlab.figures import style
from clexlab.figures.looks import looks_of
from clexlab.figures.panels import guide, legend_below, numbers

Curve = Sequence[Mapping[str, float]]
MOVED = "θ(t) moved from its prior (%)"


def training_loss(curves: Mapping[str, Curve], part: str = "loss") -> go.Figure:
    """Loss against training step for every run, in nats per token: `part` is a part of the rows ("text"), "loss" all of them.

    `curves` maps a name to `training.Trained.curve`. Rows at drawn positions are harder than plain ones: low here is no evidence
    for long texts. Raises ValueError where no run has logged this part.
    """
    steps = {name: points(curve, part) for name, curve in curves.items()}
    if not any(len(x) for x, _ in steps.values()):
        raise ValueError(f"no run has logged {part!r}; there are {', '.join(parts(curves)) or 'no entries yet'}")
    figure = style.figure(f"Training loss, {'all rows' if part == 'loss' else f'{part} rows'}")
    for (name, (x, y)), look in zip(steps.items(), looks_of(curves).values(), strict=True):
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line=look, hovertemplate="step %{x}: %{y:.3f} nats")
    figure.update_layout(xaxis=dict(title="step"), yaxis=dict(title="loss (nats per token)"))
    legend_below(figure)
    return figure


def learned_frequencies(path: nn.Module, factors: Sequence[float] = (2, 4, 8, 16)) -> go.Figure:
    """θ(t)/θ_prior(t) - 1 in per cent for every pair, a line a factor: what the field has learned. Zero is its frozen control.

    `path` is a `scaling.CLEX`; factors beyond its largest are left out.
    """
    figure = style.figure("What the field has learned")
    figure.add_hline(y=0, line=guide("solid"))
    for index, (factor, percent) in enumerate(moved(path, factors).items()):
        figure.add_scatter(y=percent, name=f"t = {factor:g}", mode="lines", line=style.line(index), hovertemplate="pair %{x}: %{y:.3g} %")
    figure.update_layout(xaxis=dict(title="pair j"), yaxis=dict(title=MOVED))
    legend_below(figure)
    return figure


def points(curve: Curve, part: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses of one part, from the entries that have it: a short interval may hold no row of a rare part."""
    found = [(entry["step"], entry[part]) for entry in curve if part in entry]
    x, y = np.array(found, dtype=float).reshape(-1, 2).T
    return x, y


def parts(curves: Mapping[str, Curve]) -> list[str]:
    """Every part and term that some run has logged, "loss" first."""
    besides = {"loss", "step", "rate", "seconds"}
    found = dict.fromkeys(name for curve in curves.values() for entry in curve for name in entry if name not in besides)
    return ["loss", *found] if found else []


def moved(path: nn.Module, factors: Sequence[float]) -> dict[float, np.ndarray]:
    """For every factor within the path's reach, θ(t)/θ_prior(t) - 1 of all pairs in per cent."""
    within = [float(factor) for factor in factors if factor <= path.limit]
    with torch.no_grad():
        residual = numbers(path.residual(torch.tensor(within)))
    return dict(zip(within, 100 * np.expm1(residual), strict=True))
