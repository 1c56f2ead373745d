"""Tokens per second of `training.train` over those of a bare torch loop that does the same steps, on the base model: at least 0.95.

Same model, rows in the same order, optimizer, clipping and schedule; both must log the same losses before they are compared. They
take turns; the clock is the CPU time of one thread, the first step of every run is left out, so that building things is not counted.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import nn

from benchmarks.timing import ratio
from clexlab import base, bpe, rows, training
from clexlab.objectives import NextToken

STEPS, ROUNDS, TARGET = 7, 10, 0.95
PLAN = training.Plan(steps=STEPS, rows=8, rate=2e-3, warmup=2, log_every=25)
# float32 sums in another order: the loop clips by norms that are added up in another grouping.
TOLERANCE = 1e-4
CONFIG = {"steps": STEPS, "rounds": ROUNDS, "rows": PLAN.rows, "length": base.WINDOW, "target": TARGET, "clock": "CPU time of one thread"}


@dataclass(frozen=True)
class Run:
    """Seconds of every step but the first, and the loss of the first and the mean of all others."""

    seconds: list[float]
    losses: tuple[float, float]


class Times(training.Display):
    """The clock at the end of every step."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.at.append(time.thread_time())


def run() -> dict:
    """Ratio of throughputs, median over rounds with its interval; `met` where it reaches the target."""
    torch.set_num_threads(1)
    data = drawn()
    check_equal(ours(base.fresh(0), data, PLAN), bare(base.fresh(0), data, PLAN))
    medians = {"ours": [], "bare": []}
    load = os.getloadavg()[0]
    for turn in range(ROUNDS):
        pair = (("ours", ours), ("bare", bare))
        for name, train in pair if turn % 2 else pair[::-1]:
            medians[name].append(statistics.median(train(base.fresh(0), data, PLAN).seconds))
    found = ratio(medians["bare"], medians["ours"])
    tokens = PLAN.rows * base.WINDOW
    speeds = {f"{name}_tokens_per_second": round(tokens / statistics.median(times)) for name, times in medians.items()}
    return {"met": found["ratio"] >= TARGET, "target": TARGET, **found, **speeds, "load": load, "load_after": os.getloadavg()[0]}


def drawn() -> rows.Rows:
    """Random tokens: what they are does not matter to the clock."""
    tokens = torch.randint(1, bpe.SIZE, (PLAN.steps * PLAN.rows, base.WINDOW), generator=torch.Generator().manual_seed(0))
    return rows.Rows(tokens, ["text", "copy"] * (len(tokens) // 2))


def ours(model: nn.Module, data: rows.Rows, plan: training.Plan) -> Run:
    """`training.train`."""
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        done = training.train(model, data, plan, folder=Path(folder), callbacks=[times])
    gaps = [later - earlier for earlier, later in zip(times.at, times.at[1:], strict=False)]
    return Run(gaps, tuple(entry["loss"] for entry in done.curve))


def bare(model: nn.Module, data: rows.Rows, plan: training.Plan) -> Run:
    """The same training as a loop: what the Trainer's arguments come to, and nothing else."""
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    kept = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, plan.warmup, plan.steps)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(plan.seed)).split(plan.rows)
    objective, losses, at = NextToken(), [], []
    model.train()
    for step in order:
        loss = objective(model, data.tokens[step])["next"].mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        at.append(time.thread_time())
    gaps = [later - earlier for earlier, later in zip(at, at[1:], strict=False)]
    return Run(gaps, (losses[0], statistics.mean(losses[1:])))


def check_equal(one: Run, other: Run) -> None:
    """Both must have done the same, else their times compare different things."""
    if not all(abs(a - b) < TOLERANCE for a, b in zip(one.losses, other.losses, strict=True)):
        raise RuntimeError(f"the losses are {one.losses} and {other.losses}; the two are not the same training")
