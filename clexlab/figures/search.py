"""A search for divisors as figures: what it begins with and finds, how it gets there, what it fitted, what start tokens do.

Genomes, histories and paths are those of `clexlab.search` and `clexlab.scaling`; nothing is measured here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch

from clexlab.figures import panels, style
from clexlab.figures.looks import looks_of
from clexlab.scaling.base import Path
from clexlab.search import Genome


def factors_by_pair(genomes: Mapping[str, Genome], factor: float) -> go.Figure:
    """λ_j, by which θ_j is divided, for every pair j; log2. 1 is an untouched pair, `factor` one that is fully interpolated.

    Raises ValueError without a genome and for genomes of different numbers of pairs.
    """
    if not genomes or len({len(genome.factors) for genome in genomes.values()}) > 1:
        counts = {name: len(genome.factors) for name, genome in genomes.items()}
        raise ValueError(f"the genomes have {counts or 'no'} pairs; give at least one, all of one model")
    figure = style.figure(f"Divisor of every pair, for {factor:g} windows", height=400)
    for level, words in ((1.0, "untouched"), (factor, "fully interpolated")):
        panels.level(figure, level, words)
    for (name, genome), look in zip(genomes.items(), looks_of(genomes).values(), strict=True):
        # A divisor belongs to its pair and to none between two.
        shape = dict(mode="lines", line=look | dict(shape="hvh"))
        figure.add_scatter(y=genome.factors, name=name, hovertemplate="pair %{x}: λ = %{y:.2f}", **shape)
    figure.update_layout(xaxis=dict(title="pair j"), yaxis=style.log2_axis("divisor λ"))
    panels.legend_below(figure)
    return figure


def search_progress(runs: Mapping[str, Sequence[Sequence[float]]], title: str, unit: str) -> go.Figure:
    """Lowest fitness so far against the number of individuals measured, log10: one line a search, a point a batch.

    `runs` maps a name to the fitness of its new individuals, batch by batch: a search's generations, or random draws in as many
    batches. Compared at equal cost, in individuals. Raises ValueError for a run without an individual and for fitness of 0 or less.
    """
    batches = {name: [list(batch) for batch in run if len(batch)] for name, run in runs.items()}
    if not batches or not all(batches.values()):
        raise ValueError("no fitness given; pass {name: [[fitness of the first batch], [of the second], …]}")
    if min(value for run in batches.values() for batch in run for value in batch) <= 0:
        raise ValueError("a fitness is 0 or less, which has no place on a logarithmic axis; give what is above its optimum")
    figure = style.figure(title, height=400)
    for index, (name, run) in enumerate(batches.items()):
        measured = np.cumsum([len(batch) for batch in run])
        lowest = np.minimum.accumulate([min(batch) for batch in run])
        look = dict(mode="lines+markers", line=style.line(index), marker=dict(size=6))
        figure.add_scatter(x=measured, y=lowest, name=name, hovertemplate="%{x} measured: %{y:.3~g}", **look)
    figure.update_layout(xaxis=dict(title="individuals measured", rangemode="tozero"), yaxis=dict(title=unit, type="log", dtick=1))
    panels.legend_below(figure)
    return figure


def fitted_and_held_out(search: Sequence[float], held_out: Sequence[float], reference: str) -> go.Figure:
    """The best of every generation minus a reference, on the texts of the search and on held-out text, in nats per token.

    Below zero is better than the reference. The first line cannot rise: the search chooses by it. What lies between the two lines
    was fitted to the search texts. Raises ValueError where the two do not have one number for every generation.
    """
    if not len(search) or len(search) != len(held_out):
        raise ValueError(f"{len(search)} numbers on search texts, {len(held_out)} on held-out text; give one each for every generation")
    figure = style.figure(f"Best of every generation minus {reference}", height=400)
    figure.add_hline(y=0, line=panels.guide("solid"))
    for index, (name, values) in enumerate((("search texts", search), ("held-out text", held_out))):
        look = dict(mode="lines+markers", line=style.line(index), marker=dict(size=6))
        figure.add_scatter(y=list(values), name=name, hovertemplate="generation %{x}: %{y:+.4f}", **look)
    figure.update_layout(xaxis=dict(title="generation"), yaxis=dict(title="difference (nats per token)"))
    panels.legend_below(figure)
    return figure


def held_out_by_length(curves: Mapping[str, Mapping[float, Sequence[float]]]) -> go.Figure:
    """Loss on held-out documents against length, from searches at several lengths: a line a method, each length a search of its own.

    `curves` maps a name to its losses by length in tokens, one for every recorded search of this length: a line through their means,
    bars from the lowest to the highest. Raises ValueError without a loss.
    """
    if not curves or not all(curve and all(curve.values()) for curve in curves.values()):
        raise ValueError("no loss given; pass {name: {length in tokens: [loss of every search, …]}}")
    figure = style.figure("Held-out documents, a search at every length", height=400)
    for (name, curve), look in zip(curves.items(), looks_of(curves).values(), strict=True):
        lengths = sorted(curve)
        means, lows, highs = (np.array([take(curve[length]) for length in lengths]) for take in (np.mean, min, max))
        bars = dict(array=highs - means, arrayminus=means - lows, thickness=1, width=3)
        look = dict(mode="lines+markers", line=look, marker=dict(size=7), error_y=bars)
        figure.add_scatter(x=lengths, y=means, name=name, hovertemplate="%{x} tokens: %{y:.3f}", **look)
    figure.update_layout(xaxis=style.log2_axis("length (tokens)"), yaxis=dict(title="loss (nats per token)"))
    panels.legend_below(figure)
    return figure


def start_tokens(paths: Mapping[str, Path], factor: float, pair: int, length: int, distances: Sequence[int]) -> go.Figure:
    """What one pair sees with start tokens: where a position counts as standing, and how far apart two positions count as.

    Left: the angle p·θ_j(t) divided by θ_j(1), in tokens, against the position p. Right: the same for a query minus its key, whose
    distance in the text is one of `distances`, against the query's position: level where attention is relative. Positions reach to
    `length`. Raises ValueError for a pair the paths do not have, and for distances outside 1 … length - 1.
    """
    if not paths or not all(0 <= pair < path.pairs for path in paths.values()):
        raise ValueError(f"pair is {pair}; give one that all {len(paths)} paths have, counted from 0")
    if not distances or not all(1 <= distance < length for distance in distances):
        raise ValueError(f"distances are {tuple(distances)}; they must be at least 1 and below the length of {length}")
    positions = torch.arange(length)
    figure = panels.row(("Where a position counts as standing", "How far apart two positions count as"), spacing=0.12)
    for index, (name, path) in enumerate(paths.items()):
        theta = float(path.inv_freq(1.0)[pair])
        places = (path.angles(positions, factor)[:, pair] / theta).numpy()
        look = dict(mode="lines", line=style.line(index), name=name, legendgroup=name)
        figure.add_scatter(x=positions.numpy(), y=places, hovertemplate="position %{x}: %{y:.4~g}", **look, row=1, col=1)
        queries, apart = zip(*((np.arange(d, length), places[d:] - places[:-d]) for d in distances), strict=True)
        # One trace for all distances, the pen lifted between them.
        x, y = (np.concatenate([np.append(part, np.nan) for part in parts]) for parts in (queries, apart))
        figure.add_scatter(x=x, y=y, hovertemplate="query at %{x}: %{y:.4~g}", **look, showlegend=False, row=1, col=2)
    figure.update_xaxes(title="position p", col=1)
    figure.update_xaxes(title="position of the query", col=2)
    figure.update_yaxes(title="counts as (tokens)", col=1)
    figure.update_yaxes(title="counts as apart (tokens)", col=2)
    panels.legend_below(figure)
    return figure
