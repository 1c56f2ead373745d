"""A search on disk: after every generation all that is needed to go on, in one file that appears whole or not at all."""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clexlab.search.genome import Genome, Space
from clexlab.search.history import Generation, Plan

FILE = "search.json"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What a search was begun with: only the same may be gone on with. `random` is the generator's state before the first draw.

    `fitness` is what the fitness says of itself, None if nothing.
    """

    space: Space
    plan: Plan
    first: tuple[Genome, ...]
    fitness: dict[str, Any] | None
    random: str

    def to_dict(self) -> dict[str, Any]:
        first = [genome.to_dict() for genome in self.first]
        given = {"space": self.space.to_dict(), "plan": self.plan.to_dict(), "first": first}
        return {**given, "fitness": self.fitness, "random": self.random}


def random_state(generator: torch.Generator) -> str:
    """The state of a generator as text."""
    return base64.b64encode(bytes(generator.get_state().tolist())).decode()


def write(folder: Path, begun: Begun, done: Sequence[Generation], generator: torch.Generator) -> None:
    """Replace the file in `folder` by the search up to here."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "begun": begun.to_dict(),
        "generations": [generation.to_dict() for generation in done],
        "random": random_state(generator),
    }
    draft = folder / f".{FILE}"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / FILE)


def exists(folder: Path) -> bool:
    """Whether `folder` holds a search."""
    return (folder / FILE).is_file()


def read(folder: Path, begun: Begun, generator: torch.Generator) -> list[Generation]:
    """The generations in `folder`, none if it holds no search; `generator` then goes on where that search stopped.

    Raises ValueError where the search was begun otherwise, or the file was not written by `write`.
    """
    if not exists(folder):
        return []
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        before, done = content["begun"], [Generation.from_dict(generation) for generation in content["generations"]]
        state = torch.tensor(list(base64.b64decode(content["random"])), dtype=torch.uint8)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / FILE} is not a search ({error}); remove it, or search in another folder") from None
    now = json.loads(json.dumps(begun.to_dict()))
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        names = ", ".join("seed" if name == "random" else name for name in other)
        raise ValueError(f"{folder / FILE} holds a search of another {names}; go on with the same, or search in another folder")
    generator.set_state(state)
    return done
