"""How much `clexlab search` spends: `smoke` shows that it runs, `cpu` is about ten minutes of one core, `gpu` is the paper's plan."""

from dataclasses import dataclass

from clexlab.search.genome import STARTS
from clexlab.search.history import Plan


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`plan` of the search at `factor`, on `texts` documents; the score is taken on `held_out` others, `batch` texts at once."""

    name: str
    plan: Plan
    factor: float = 8.0
    texts: int = 4
    held_out: int = 16
    batch: int = 4
    note: str = ""

    def starts(self, window: int) -> tuple[int, ...]:
        """The published n̂ up to a sixteenth of the window, as 256 is of 4096."""
        return tuple(start for start in STARTS if 16 * start <= window)


PROFILES = (
    Profile(
        name="smoke",
        plan=Plan(population=4, generations=2, parents=2, mutations=1, crossovers=1),
        factor=2.0,
        texts=1,
        held_out=2,
        note="six individuals on one text: it shows that the search runs, and nothing else",
    ),
    Profile(name="cpu", plan=Plan(population=16, generations=12, parents=8, mutations=4, crossovers=4)),
    Profile(name="gpu", plan=Plan(), texts=8, held_out=24, batch=8),
)


def by_name(name: str) -> Profile:
    """A profile by its name; ValueError lists the names."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    raise ValueError(f"no profile is named {name!r}; there are {', '.join(profile.name for profile in PROFILES)}")
