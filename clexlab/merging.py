"""A mean of models, and LongRecipe's three stages: simulate long text, replay the old data, merge with the base (arXiv 2409.00509).

    Θ = Σ λ_i Θ_i,  Σ λ_i = 1          weight by weight, for models of one shape
    LongRecipe:  Θ_0 → train on long simulations → train on data like the original → Θ_1;   ½ Θ_0 + ½ Θ_1

Half of what was learned stays, and half of what it cost in short texts; that their middle is a good model is a finding, not a theorem.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from clexlab import frequencies, training
from clexlab.objectives import NextToken, Objective
from clexlab.rows import Rows
from clexlab.training import Plan, Trained

# In the folder of a recipe: what is known of the model it began with.
BEGUN = "begun.sha256"


def merge(parts: Sequence[nn.Module | Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of models, or of their state dicts, as a state dict for `load_state_dict`; `parts` are left as they are.

    Computed as Θ_m + Σ λ_i (Θ_i - Θ_m) in float64, m the part of the largest weight: equal parts give themselves exactly, and so does
    a part of weight 1. Tensors of whole numbers cannot be averaged and must be equal. Weights below 0 or above 1 go beyond the parts
    and are allowed, as in task arithmetic. Raises ValueError for weights that do not add up to 1, and for parts with other names, shapes or
    precisions.
    """
    _check_weights(len(parts), weights)
    states = [part.state_dict() if isinstance(part, nn.Module) else part for part in parts]
    for state in states[1:]:
        _check_alike(states[0], state)
    return {name: _mean(name, [state[name] for state in states], weights) for name in states[0]}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of several that follow each other."""

    data: Rows
    plan: Plan
    objective: Objective = NextToken()


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What the three stages made: the merged `model`, and the log and cost of the two trainings, whose `model` is the same object."""

    model: nn.Module
    simulated: Trained
    replayed: Trained


def long_recipe(
    model: nn.Module,
    simulation: Stage,
    replay: Stage,
    *,
    folder: Path,
    weights: tuple[float, float] = (0.5, 0.5),
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = False,
) -> Merged:
    """Train `model` on the simulation, then on the replay, and merge with what it was before, in place; `weights` of before and after.

    The simulation: rows of `impact.Selected` with the objective `in_sentences.InSentences`, on a model extended with `scaling.ABF` and
    pinned at the factor. The replay: text as the base was trained on, ordinary positions, a tenth of the rate. Checkpoints go to two
    folders in `folder`. `resume` goes on in the stage that was interrupted; give it the model as it was before the first stage.
    Raises what `training.train` and `merge` raise.
    Source: the paper; SlimPajama and instruction data there. Differs: here the path of an extended model is merged with the rest.
    """
    _check_weights(2, weights)
    before = {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
    _check_begun(folder / BEGUN, before, resume)
    done = []
    for name, stage in (("simulation", simulation), ("replay", replay)):
        place = folder / name
        # The second stage may not have begun when the first was interrupted.
        begun = resume and (name == "simulation" or training.last_checkpoint(place) is not None)
        trained = training.train(
            model, stage.data, stage.plan, folder=place, objective=stage.objective, callbacks=callbacks, resume=begun
        )
        done.append(trained)
    model.load_state_dict(merge([before, model], weights))
    return Merged(model=model, simulated=done[0], replayed=done[1])


def _check_weights(parts: int, weights: Sequence[float]) -> None:
    if parts != len(weights) or not parts:
        raise ValueError(f"{parts} models and {len(weights)} weights; give one weight for each of one model or more")
    if not all(map(frequencies.is_finite, weights)) or not math.isclose(sum(weights), 1.0, abs_tol=1e-9):
        raise ValueError(f"weights are {list(weights)}; give finite numbers that add up to 1")


def _check_begun(file: Path, before: Mapping[str, Tensor], resume: bool) -> None:
    """Remember what the model was before the first stage; a resumed recipe has to begin with that one, or it would merge two others."""
    told = hashlib.sha256()
    for name, weight in sorted(before.items()):
        told.update(name.encode() + weight.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    if resume and file.is_file() and file.read_text(encoding="utf-8") != told.hexdigest():
        raise ValueError(f"{file.parent} was begun with a model of other weights; give the one from before the first stage")
    if not resume:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(told.hexdigest(), encoding="utf-8")


def _mean(name: str, values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    if not values[0].is_floating_point():
        if not all(torch.equal(values[0], value) for value in values[1:]):
            raise ValueError(f"{name} has whole numbers that differ; there is no mean of them, merge models that agree in it")
        return values[0].clone()
    most = max(range(len(values)), key=lambda index: weights[index])
    pivot = values[most].double()
    others = [(weight, value) for index, (weight, value) in enumerate(zip(weights, values, strict=True)) if index != most and weight]
    return sum((weight * (value.double() - pivot) for weight, value in others), pivot).to(values[0].dtype, copy=True)


def _check_alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Refuse models that are not of one shape, and say where they part."""
    strange = sorted(set(one) ^ set(other))
    if strange:
        raise ValueError(f"the models do not have the same weights: {', '.join(strange[:3])} in one only; merge models of one architecture")
    for name, value in one.items():
        if (value.shape, value.dtype) != (other[name].shape, other[name].dtype):
            told = [f"{tuple(each.shape)} in {str(each.dtype).removeprefix('torch.')}" for each in (value, other[name])]
            raise ValueError(f"{name} is {told[0]} and {told[1]}; merge models of one shape and precision")
