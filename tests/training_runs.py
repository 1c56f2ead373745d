"""What tests of training share, importable in processes that are killed or launched: tiny models, rows, plans.

    python training_runs.py killed FOLDER         train until the process kills itself in the middle of writing checkpoint 6
    accelerate launch --multi_gpu training_runs.py launched FOLDER      one of two processes
"""

import os
import signal
import sys
from pathlib import Path

import torch
from hf_training import Stretched, build, learner
from torch import Tensor, nn

from clexlab import positions, rows, training
from clexlab.training import Plan

LENGTH, VOCABULARY = 12, 99
# A log that does not fall together with checkpoints: sums between entries must survive a kill.
PLAN = Plan(steps=8, rows=4, rate=1e-2, path_rate=1e-2, warmup=2, seed=3, log_every=3, save_every=2)


def data(plan: Plan = PLAN, seed: int = 0) -> rows.Rows:
    """Random rows of two parts."""
    count = plan.steps * plan.rows
    tokens = torch.randint(2, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return rows.Rows(tokens, [("text", "copy")[index % 3 == 0] for index in range(count)])


def plain() -> nn.Module:
    return build(layers=1)


def extended() -> nn.Module:
    """CLEX and a sampler that draws from torch's global generator."""
    return learner(layers=1)


def by_row() -> nn.Module:
    return learner(positions.PerRow(Stretched()), layers=1)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def told(done: training.Trained) -> list[dict]:
    """The log without the clock."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in done.curve]


def killed(folder: Path) -> None:
    """Body of a process that dies by SIGKILL with half of checkpoint 6 on the disk."""
    save = torch.save

    def save_half(content: object, place: str) -> None:
        save(content, place)
        if "checkpoint-6" in str(place) and "optimizer" in str(place):
            os.truncate(place, os.path.getsize(place) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half
    training.train(extended(), data(), PLAN, folder=folder)


def launched(folder: Path) -> None:
    """Body of one of two processes: what they train, what they log, and what is refused; the first keeps it."""
    found = {}
    for name, make in (("extended", extended), ("by_row", by_row)):
        done = training.train(make(), data(), PLAN, folder=folder / name)
        found[name] = (told(done), weights(done.model))
    odd = Plan(steps=1, rows=3)
    try:
        training.train(plain(), data(odd), odd, folder=folder / "odd")
    except ValueError as error:
        found["refusal"] = str(error)
    torch.save(found, folder / f"found_{os.environ['RANK']}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"killed": killed, "launched": launched}[sys.argv[1]](Path(sys.argv[2]))
