"""Training under one protocol: transformers' Trainer on drawn rows, the same for every method that is compared.

The model comes as it shall be trained: plain, or extended with a path and a sampler of positions (`clexlab.extend(..., positions=)`).
What a method learns about θ(t) are the parameters of its path; they form a group of their own, with their own rate and no decay.
Because it is the Trainer, `accelerate launch`, resuming, logging and mixed precision come with it.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch
from torch import nn
from transformers import TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.utils import logging

from clexlab.objectives import NextToken, Objective
from clexlab.rows import Rows
from clexlab.training import checkpoints
from clexlab.training.checkpoints import last_checkpoint
from clexlab.training.plan import Plan
from clexlab.training.progress import Bar, Display, Lines
from clexlab.training.trainer import PATH, Diverged, PartTrainer, arguments, collate, own_group, path_parameters, sharing_draws

__all__ = ["PATH", "Bar", "Display", "Diverged", "Lines", "Plan", "Trained", "last_checkpoint", "own_group", "train"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training. `seconds` of training, those before an interruption too.

    `curve` has an entry per log: step, loss of all rows since the entry before, loss of every part and term, rate, seconds so far.
    """

    model: nn.Module
    curve: list[dict] = field(repr=False)
    seconds: float
    tokens: int


def train(
    model: nn.Module,
    data: Rows,
    plan: Plan,
    *,
    folder: Path,
    objective: Objective = NextToken(),  # noqa: B008 - an immutable value
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = False,
) -> Trained:
    """Train `model` on `data` as `plan` says, in place; checkpoints go to `folder`. A `Display` among `callbacks` replaces the bar.

    `resume` goes on from the last whole checkpoint in `folder`, to the same weights and the same log, bit for bit on a CPU, as a
    training that was never interrupted. The random numbers of Python, numpy and torch are afterwards what they were before.
    Started by `accelerate launch --multi_gpu --num_processes N` (on CPUs too: the plan names the device) the processes share the rows
    of a step, and one of them writes.
    Raises ValueError where the data have not exactly the rows the plan asks for or the processes cannot share them, where `folder`
    holds checkpoints that are not to be resumed, where resuming finds none or finds another training, and Diverged for a loss that
    is no number.
    """
    if len(data) != plan.steps * plan.rows:
        raise ValueError(f"the data have {len(data)} rows; {plan.steps} steps of {plan.rows} need exactly {plan.steps * plan.rows}")
    with own_random_numbers(), _without_bars_of_others():
        return _train(model, data, plan, folder, objective, callbacks, resume)


def _train(
    model: nn.Module,
    data: Rows,
    plan: Plan,
    folder: Path,
    objective: Objective,
    callbacks: Sequence[TrainerCallback],
    resume: bool,
) -> Trained:
    made = arguments(plan, folder, getattr(model.config, "use_cache", True))
    about = checkpoints.describe(model, data, plan, objective, made.world_size)
    place = _start(folder, about, resume, made.world_size, made.process_index == 0)
    with sharing_draws(model, made.process_index, made.world_size):
        trainer = PartTrainer(
            model=model, args=made, train_dataset=data, data_collator=collate, callbacks=_shown(callbacks), objective=objective
        )
        trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)
        path = path_parameters(model)
        if path:
            own_group(trainer.create_optimizer(), path, plan.path_rate)
        trainer.train(resume_from_checkpoint=None if place is None else str(place))
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    curve = trainer.state.log_history
    return Trained(model=model.to("cpu").eval(), curve=curve, seconds=curve[-1]["seconds"], tokens=data.tokens.numel())


def _start(folder: Path, about: dict[str, object], resume: bool, processes: int, writes: bool) -> Path | None:
    """The checkpoint to go on from, None at a beginning. What the folder holds is checked first, then made to fit."""
    found = last_checkpoint(folder, processes)
    if not resume:
        if found is not None:
            raise ValueError(f"{folder} holds {found.name} of an earlier training; resume it, or train in another folder")
        if writes:
            checkpoints.remove_broken(folder, processes)
            checkpoints.write_about(folder, about)
        return None
    if (folder / checkpoints.ABOUT).is_file() or found is not None:
        checkpoints.check_about(folder, about)
    if found is None:
        raise ValueError(f"{folder} holds no whole checkpoint to resume; train without resuming")
    if writes:
        checkpoints.remove_broken(folder, processes)
    return found


def _shown(callbacks: Sequence[TrainerCallback]) -> list[TrainerCallback]:
    return [*callbacks] if any(isinstance(callback, Display) for callback in callbacks) else [*callbacks, Bar()]


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """What seeds the global generators of Python, numpy and torch, as the Trainer does, seeds them for this block alone."""
    python, arrays = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            numpy.random.set_state(arrays)


@contextmanager
def _without_bars_of_others() -> Iterator[None]:
    """Every checkpoint would show a bar of its own while it is saved."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
