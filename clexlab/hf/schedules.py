"""Which factor t a text of n tokens gets: the paper's t = n/L is continuous, a key cache prefers few changes.

A schedule answers `factor(path, length)`. All refuse what the path refuses: more tokens than window · max_factor.
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

from clexlab.scaling.base import Path

# n/L of a whole number of windows may come out as 3.0000000000000004; that is still three windows.
ROUNDING = 1e-9


class Schedule(abc.ABC):
    """A name, and a factor for a path and a length in tokens, never less than length / window."""

    name: ClassVar[str]

    @abc.abstractmethod
    def factor(self, path: Path, length: float) -> float:
        """t for a text of `length` tokens; ValueError beyond window · max_factor."""


@dataclass(frozen=True)
class Exact(Schedule):
    """t = n/L, at least 1: a new factor for every token beyond the window."""

    name: ClassVar[str] = "exact"

    def factor(self, path: Path, length: float) -> float:
        return path.factor_for(length)


@dataclass(frozen=True)
class Whole(Schedule):
    """t = ⌈n/L⌉, as CLEX decodes (official code, inference step 2): one change a window. The last step ends at the path's limit."""

    name: ClassVar[str] = "whole"

    def factor(self, path: Path, length: float) -> float:
        return min(float(math.ceil(path.factor_for(length) - ROUNDING)), path.limit)


@dataclass(frozen=True)
class Doubling(Schedule):
    """t = 1, 2, 4, 8 …, the next power of two: log₂ t changes in all. The last step ends at the path's limit."""

    name: ClassVar[str] = "doubling"

    def factor(self, path: Path, length: float) -> float:
        return min(2.0 ** math.ceil(math.log2(path.factor_for(length)) - ROUNDING), path.limit)


SCHEDULES = (Whole, Doubling, Exact)
WHOLE = Whole()


def by_name(name: str) -> Schedule:
    """A schedule by its name; ValueError lists the names."""
    for schedule in SCHEDULES:
        if schedule.name == name:
            return schedule()
    raise ValueError(f"no schedule is named {name!r}; there are {', '.join(schedule.name for schedule in SCHEDULES)}")
