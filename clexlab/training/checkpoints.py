"""Which checkpoint an interrupted training goes on from, and whether it is the same training.

The Trainer writes a checkpoint's files one after the other into its place, the state last. Killed in between it leaves a folder
that looks like the newest checkpoint and cannot be loaded. So only whole ones count here. `training.json` beside them says what was
trained: a resumed training with another plan, other data or another model would be neither of the two.
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

from torch import nn
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from clexlab import hf
from clexlab.objectives import Objective
from clexlab.rows import Rows
from clexlab.small.model import Small
from clexlab.training.plan import Plan

ABOUT = "training.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")
# Where an object says nothing about itself but where it lies in this process.
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def last_checkpoint(folder: Path, processes: int = 1) -> Path | None:
    """The newest whole checkpoint in `folder`, written by a training of so many processes; None if there is none."""
    whole = [place for place in _places(folder) if is_whole(place, processes)]
    return max(whole, key=_step, default=None)


def is_whole(place: Path, processes: int = 1) -> bool:
    """Whether every file of a checkpoint is there to its end."""
    states = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    try:
        step = json.loads((place / TRAINER_STATE_NAME).read_text())["global_step"]
    except (OSError, ValueError, KeyError):
        return False
    # torch.save writes a zip archive, whose directory comes last.
    return step == _step(place) and all(zipfile.is_zipfile(place / name) for name in (OPTIMIZER_NAME, SCHEDULER_NAME, *states))


def remove_broken(folder: Path, processes: int = 1) -> None:
    """Remove what a kill left half-written: the Trainer counts it as a checkpoint when it removes old ones."""
    for place in _places(folder):
        if not is_whole(place, processes):
            shutil.rmtree(place, ignore_errors=True)


def describe(model: nn.Module, data: Rows, plan: Plan, objective: Objective, processes: int) -> dict[str, object]:
    """What makes two trainings the same: everything but the weights they start from."""
    text = "\n".join([*data.parts, *(f"{name} {weight.requires_grad}" for name, weight in model.named_parameters())])
    seams = [module for module in model.modules() if isinstance(module, hf.Rotary)]
    return {
        **{name: value for name, value in vars(plan).items()},
        "data": _digest(data.tokens.numpy().tobytes()),
        "parts_and_parameters": _digest(text.encode()),
        "model": type(model).__name__,
        **(_of_small(model) if isinstance(model, Small) else {}),
        "path": [hf.spec.describe(seam.scaling) for seam in seams],
        "positions": [_told(seam.positions) for seam in seams],
        "objective": _told(objective),
        "processes": processes,
    }


def _of_small(model: Small) -> dict[str, object]:
    """The same parameters are another model with other heads."""
    return {"shape": dict(vars(model.shape)), "places": {name: _told(value) for name, value in vars(model.places).items()}}


def write_about(folder: Path, about: dict[str, object]) -> None:
    """Say in `folder` what is trained there, in one go."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{ABOUT}.part"
    draft.write_text(json.dumps(about, indent=2))
    os.replace(draft, folder / ABOUT)


def check_about(folder: Path, about: dict[str, object]) -> None:
    """ValueError where the training in `folder` is another one, with what differs."""
    try:
        before = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError):
        raise ValueError(f"{folder} does not say what was trained there ({ABOUT}); start over in another folder") from None
    differs = [name for name in {**before, **about} if before.get(name) != about.get(name)]
    if differs:
        told = "; ".join(f"{name} was {_short(before.get(name))}, is {_short(about.get(name))}" for name in differs)
        raise ValueError(f"the interrupted training was another one: {told}; resume it as it was, or start over in another folder")


def _places(folder: Path) -> list[Path]:
    return [place for place in folder.glob("checkpoint-*") if place.is_dir() and CHECKPOINT.fullmatch(place.name)]


def _step(place: Path) -> int:
    return int(CHECKPOINT.fullmatch(place.name)[1])


def _told(thing: object) -> str:
    return ADDRESS.sub("", repr(thing))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
