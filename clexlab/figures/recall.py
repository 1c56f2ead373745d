"""Recall by depth: how often the answer is found again, against where in the text it stands, a panel a length."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from clexlab.figures import panels, style
from clexlab.figures.evaluation import looks_of

# What `evaluation.Recall.metrics()` has under "passkey_by_depth": factor -> depth -> share of exact answers.
ByDepth = Mapping[str, Mapping[str, float]]


def recall_by_depth(curves: Mapping[str, Sequence[ByDepth]]) -> go.Figure:
    """Share of exact answers in per cent against depth, one panel a factor t = length / window, one line a name.

    `curves` maps a name to one table by factor and depth or to one a seed: the line is their mean, bars go from the lowest to the
    highest seed. Depth 0 is the beginning of the text, 1 right before the question. Raises ValueError without a table, and for
    tables that do not all have the same factors and depths.
    """
    tables = [table for several in curves.values() for table in several]
    if not tables or not all(curves.values()):
        raise ValueError("no recall given; pass {name: [record.metrics['passkey_by_depth'], …]}, at least one for every name")
    factors, depths = _grid(tables[0])
    if any(_grid(table) != (factors, depths) for table in tables):
        raise ValueError("the tables have different factors or depths; draw those that were measured alike")
    figure = panels.row([f"{factor:g} ×" for factor in factors], spacing=0.04)
    for (name, several), look in zip(curves.items(), looks_of(curves).values(), strict=True):
        for place, factor in enumerate(factors, start=1):
            # (seeds, depths)
            shares = 100 * np.array([[table[f"{factor:g}"][f"{depth:g}"] for depth in depths] for table in several])
            mean = shares.mean(0)
            bars = dict(array=shares.max(0) - mean, arrayminus=mean - shares.min(0), thickness=1, width=3) if len(several) > 1 else None
            kind = dict(mode="lines+markers", line=look, marker=dict(size=7), name=name, legendgroup=name, showlegend=place == 1)
            hover = "depth %{x}: %{y:.0f} %"
            figure.add_scatter(x=depths, y=mean, error_y=bars, hovertemplate=hover, **kind, row=1, col=place)
    figure.update_xaxes(title="depth", tickvals=depths, range=[min(depths) - 0.08, max(depths) + 0.08])
    figure.update_yaxes(range=[-4, 104], showticklabels=False)
    figure.update_yaxes(title="found again (%)", showticklabels=True, col=1)
    panels.legend_below(figure)
    return figure


def fields_by_seed(residuals: Mapping[str, Sequence[Sequence[float]]], factor: float) -> go.Figure:
    """θ(t)/θ_prior(t) - 1 in per cent for every pair at one factor, a line a training. Zero is the prior, and its frozen control.

    `residuals` maps a name to ln θ(t)/θ_prior(t) of every pair, one list a seed, as records of a study hold it. Where seeds agree
    on a pair the data have pulled there; where they do not, the noise of the training has. Raises ValueError without a list.
    """
    if not residuals or not all(residuals.values()):
        raise ValueError("no residual given; pass {name: [record.metrics['residual']['16'], …]}, at least one for every name")
    figure = style.figure(f"θ(t) against its prior at t = {factor:g}, a line a seed", height=400)
    figure.add_hline(y=0, line=panels.guide("solid"))
    for (name, several), look in zip(residuals.items(), looks_of(residuals).values(), strict=True):
        for place, residual in enumerate(several):
            kind = dict(mode="lines", line=look, name=name, legendgroup=name, showlegend=place == 0)
            percent = 100 * np.expm1(np.asarray(residual, dtype=float))
            figure.add_scatter(y=percent, hovertemplate="pair %{x}: %{y:.3g} %", **kind)
    figure.update_layout(xaxis=dict(title="pair j"), yaxis=dict(title="θ(t) moved from its prior (%)"))
    panels.legend_below(figure)
    return figure


def _grid(table: ByDepth) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Factors and depths of a table, rising; an empty tuple of depths where factors differ in theirs."""
    depths = {tuple(sorted(map(float, shares))) for shares in table.values()}
    return tuple(sorted(map(float, table))), depths.pop() if len(depths) == 1 else ()
