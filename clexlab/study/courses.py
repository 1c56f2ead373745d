"""How a tuning of the study spends its steps: all of them on one kind of rows, or in LongRecipe's three stages.

A course gets the model and a `Work`, and gives the training and what else there is to tell of it. However it divides the steps, their
number, the rows of other methods and the tokens stay the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from transformers import TrainerCallback

from clexlab import base, bpe, impact, in_sentences, merging, training
from clexlab.objectives import Objective
from clexlab.rows import Rows
from clexlab.study.material import Material
from clexlab.training import Plan, Trained

# How many of the tokens with the largest impact a record names.
NAMED = 24


@dataclass(frozen=True, kw_only=True)
class Work:
    """What there is to train with: material, plan and objective of the row, a folder for checkpoints, and a model tuned earlier, if any."""

    material: Material
    seed: int
    plan: Plan
    objective: Objective
    folder: Path
    span: int = 1
    shares: Mapping[str, float] | None = None
    earlier: nn.Module | None = field(default=None, repr=False)
    callbacks: Sequence[TrainerCallback] = ()
    resume: bool = False

    def rows(self) -> Rows:
        """Rows for all steps: the same ones for every method of a seed with such rows."""
        return self.material.rows(self.seed, self.plan.steps * self.plan.rows, self.span, self.shares)


@runtime_checkable
class Course(Protocol):
    """One way to train; a frozen dataclass, whose repr stands in the record."""

    def begun(self, folder: Path) -> bool:
        """Whether there is a checkpoint to go on from."""
        ...

    def __call__(self, model: nn.Module, work: Work) -> tuple[Trained, dict[str, Any]]: ...


@dataclass(frozen=True)
class AtOnce:
    """One training, from the first step to the last."""

    def begun(self, folder: Path) -> bool:
        return training.last_checkpoint(folder) is not None

    def __call__(self, model: nn.Module, work: Work) -> tuple[Trained, dict[str, Any]]:
        done = training.train(
            model,
            work.rows(),
            work.plan,
            folder=work.folder,
            objective=work.objective,
            callbacks=work.callbacks,
            resume=work.resume,
        )
        return done, {}


@dataclass(frozen=True)
class ThreeStages:
    """LongRecipe whole: which tokens long tuning moves, simulation on sentences that hold them, replay, and half of each model.

    The impact is that of `work.earlier` on `texts` training texts of 16 windows, the base reading them as it is; the simulation reads
    rows of `impact.Selected` where other methods read text, with the row's own objective. The last `replayed` of the steps are ordinary
    rows at ordinary positions and a tenth of the rate. What is tuned of the model and its base are then merged half and half. Seconds
    are those of the two trainings: neither the impact nor the tuning of `earlier` is among them, so the recipe costs more than they say.
    Source: arXiv 2409.00509; it replays 68 of about 310 million tokens, its path has a larger base and here the row's own.
    """

    texts: int = 4
    replayed: float = 0.22

    def begun(self, folder: Path) -> bool:
        return training.last_checkpoint(folder / "simulation") is not None

    def __call__(self, model: nn.Module, work: Work) -> tuple[Trained, dict[str, Any]]:
        if work.earlier is None:
            raise ValueError("LongRecipe looks at a model that was tuned on long text; give the tuning one to come `after`")
        replayed = max(1, round(self.replayed * work.plan.steps))
        if replayed >= work.plan.steps:
            raise ValueError(f"{work.plan.steps} steps have no room for a simulation and a replay; use 2 or more")
        anchors, told = self.anchors(work)
        rows, simulated = work.rows(), work.plan.steps - replayed
        cut = simulated * work.plan.rows
        far, near = (Rows(rows.tokens[part], rows.parts[part]) for part in (slice(cut), slice(cut, None)))
        simulation = merging.Stage(
            data=_selected(far, work, anchors), plan=replace(work.plan, steps=simulated), objective=work.objective
        )
        replay = merging.Stage(data=near, plan=replace(work.plan, steps=replayed, rate=work.plan.rate / 10, warmup=0))
        done = merging.long_recipe(
            model, simulation, replay, folder=work.folder, callbacks=work.callbacks, resume=work.resume
        )
        stages = (done.simulated, done.replayed)
        whole = Trained(
            model=done.model,
            curve=[entry for stage in stages for entry in stage.curve],
            seconds=sum(stage.seconds for stage in stages),
            tokens=sum(stage.tokens for stage in stages),
        )
        return whole, told

    def anchors(self, work: Work) -> tuple[torch.Tensor, dict[str, Any]]:
        """The token types with the largest impact, and what a record says of them."""
        longest = round(16 * work.material.window)
        texts = torch.stack(base.cut(work.material.train, self.texts, longest))[:, :longest]
        found = impact.impact(work.material.model(), work.earlier.eval(), texts, batch=1)
        top = found.top()
        ends = in_sentences.sentence_ends(bpe.load())
        kept = sum(len(sentence) for text in texts for sentence in impact.anchored(text, ends, top))
        names = [work.material.tokenizer.decode([token]) for token in top[:NAMED].tolist()]
        told = {"anchors": len(top), "first_anchors": names, "kept": kept / texts.numel(), "types": int((found.counts > 0).sum())}
        return top, told


def _selected(rows: Rows, work: Work, anchors: torch.Tensor) -> Rows:
    """The rows, those of text replaced by sentences that hold an anchor."""
    ends = in_sentences.sentence_ends(bpe.load())
    source = impact.Selected(work.material.train, rows.tokens.shape[1], ends, anchors)
    generator = torch.Generator().manual_seed(work.seed)
    tokens = [source.draw(generator) if part == "text" else row for row, part in zip(rows.tokens, rows.parts, strict=True)]
    return Rows(torch.stack(tokens), [source.name if part == "text" else part for part in rows.parts])
