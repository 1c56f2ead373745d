"""Far in two steps, and back again: search, tune, search once more; then divisors of their own for short texts.

    λ¹ = search at s_1 on the model;   the model is tuned at s_1 under λ¹;   λ² = search at s_2 on the tuned model, without tuning
    short texts: a search with a smaller limit on the tuned model, used where the input is short

LongRoPE (arXiv 2402.13753, §3.3) searches 128k and 256k on the base, tunes at 128k and 256k, searches 2048k on the tuned model,
and 4k and 8k at last. The code of its tuning is not released.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from clexlab import frequencies, hf, scaling, training
from clexlab.frequencies import Geometry
from clexlab.rows import Rows
from clexlab.search.evolution import search
from clexlab.search.fitness import TextLoss
from clexlab.search.genome import STARTS, Genome, Space, starts_from
from clexlab.search.history import History, Plan
from clexlab.search.progress import Report

# A search space goes so far beyond the extension: 1.25 s in the paper.
ROOM = 1.25
# Changes the model in place under a path, and leaves it as it came otherwise: plain, not extended.
Tune = Callable[[nn.Module, scaling.LongRoPE], None]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Tune on rows of full length, next-token loss, the path's own factor pinned: what the paper does between two searches."""

    data: Rows
    plan: training.Plan
    folder: Path

    def __call__(self, model: nn.Module, path: scaling.LongRoPE) -> None:
        with hf.extended(model, path, factor=path.max_factor):
            training.train(model, self.data, self.plan, folder=self.folder)


@dataclass(frozen=True)
class Stage:
    """One search of an extension: how far, what was found, and the path that it is."""

    factor: float
    history: History
    path: scaling.LongRoPE


def extend_progressively(
    fitness: Callable[[float], TextLoss],
    factors: Sequence[float],
    plan: Plan,
    tune: Tune,
    generator: torch.Generator,
    *,
    starts: Sequence[int] = STARTS,
    folder: Path | None = None,
    report: Report | None = None,
) -> tuple[Stage, ...]:
    """Search at the first factor, tune the model there, search at the next one; the last search is not followed by tuning.

    `fitness(factor)` measures texts of that many windows on the model that is tuned, the same object at every factor; all are asked
    for before the first search. `starts` are the n̂ to choose from. A later search begins with what was tuned for, extended once
    more: λ¹_j times the divisor of PI, NTK and YaRN for s_2/s_1 on a window that is now s_1 · L long. (So we read the paper's "second
    positional interpolation"; it prints no formula.) `folder` keeps each search under stage-1, stage-2 …; tuning is not kept there.
    Returns one `Stage` a factor. Raises ValueError for factors that do not rise from above 1, for a fitness that measures another
    model at another factor (its tuning would be lost), and as `search` does.
    """
    rises = all(map(frequencies.is_finite, factors)) and all(a < b for a, b in pairwise([1.0, *factors]))
    if not factors or not rises:
        raise ValueError(f"factors are {list(factors)}; give extensions that rise from above 1, for example (4, 8)")
    losses = [fitness(factor) for factor in factors]
    others = [factor for factor, loss in zip(factors, losses, strict=True) if loss.model is not losses[0].model]
    if others:
        raise ValueError(
            f"fitness({others[0]:g}) measures another model than fitness({factors[0]:g}), which is the one that is tuned; give every"
            " TextLoss the same model object"
        )
    stages: list[Stage] = []
    for number, (factor, measured) in enumerate(zip(factors, losses, strict=True), 1):
        if stages:
            tune(measured.model, stages[-1].path)
        space = Space(measured.shape["head_dim"] // 2, ROOM * factor, starts=tuple(starts))
        first = further(stages[-1], factor, space) if stages else starts_from(Geometry("the model", **measured.shape, source=""), factor)
        kept = None if folder is None else folder / f"stage-{number}"
        history = search(measured, space, plan, first, generator, kept, report)
        stages.append(Stage(float(factor), history, measured.path(history.best)))
    return tuple(stages)


def further(stage: Stage, factor: float, space: Space) -> tuple[Genome, ...]:
    """What a search of `space` at `factor` begins with on a model that was tuned in `stage`: its best, times PI, NTK and YaRN.

    A divisor of 1.25 s_1 becomes 1.25 s_2, which may lie between the last point of the grid and where the next would be. Such a
    divisor is the last point: the nearest one may be above the limit. What is further out is left as it is, and the space refuses it.
    """
    path, best = stage.path, stage.history.best
    longer = Geometry("the tuned model", path.head_dim, path.base, round(path.window * stage.factor), "")
    more = starts_from(longer, factor / stage.factor)
    last = 1 + space.top * space.step

    def kept(divisor: float) -> float:
        return min(divisor, last) if divisor < last + space.step else divisor

    return tuple(
        replace(best, factors=tuple(kept(a * b) for a, b in zip(best.factors, step.factors, strict=True))) for step in more
    )


def readjust(
    fitness: TextLoss,
    long: Genome,
    plan: Plan,
    generator: torch.Generator,
    *,
    starts: Sequence[int] = STARTS,
    folder: Path | None = None,
    report: Report | None = None,
) -> History:
    """Divisors for short texts of a model that was extended with `long`: a search of its own, up to 1.25 times `fitness.at`.

    Begins with no scaling at all, with `long` shrunk (λ_j - 1 in proportion, the largest λ to `fitness.at`) and with PI, NTK and YaRN
    at `fitness.at`. For texts of one window give `TextLoss(..., 1, at=1.25)` or so: at t = 1 every path is plain RoPE and nothing
    could be searched. Raises ValueError as `search` does.
    """
    pairs, limit = len(long.factors), ROOM * fitness.at
    space = Space(pairs, limit, starts=tuple(starts))
    shrink = min(1.0, (fitness.at - 1) / (max(long.factors) - 1)) if max(long.factors) > 1 else 1.0
    shrunk = replace(long, factors=tuple(1 + (factor - 1) * shrink for factor in long.factors))
    methods = starts_from(Geometry("the model", **fitness.shape, source=""), fitness.at)
    # Different vectors may be one on the grid where the limit is small.
    first = tuple(dict.fromkeys(map(space.nearest, (Genome((1.0,) * pairs), shrunk, *methods))))
    return search(fitness, space, plan, first, generator, folder, report)


@dataclass(frozen=True)
class Readjusted:
    """Paths for texts up to different lengths: the first that reaches a text is used for it, the longest last."""

    paths: tuple[scaling.LongRoPE, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.paths or len(self.paths) != len(self.lengths) or list(self.lengths) != sorted(set(self.lengths)):
            raise ValueError(f"{len(self.paths)} paths for lengths {list(self.lengths)}; give each path its largest length, rising")

    def path_for(self, length: int) -> scaling.LongRoPE:
        """The path for a text of so many tokens; ValueError beyond the longest. Pin it: extend(model, path, factor=path.max_factor)."""
        for path, longest in zip(self.paths, self.lengths, strict=True):
            if length <= longest:
                return path
        raise ValueError(f"length {length} exceeds {self.lengths[-1]}, the longest that was searched; shorten the input")
