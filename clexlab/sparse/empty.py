"""What a row does that its pattern leaves without a key: softmax over nothing is no number, so somebody has to say.

The papers do not. LongNet's implementation gives zero, which is what a head adds to the residual stream when it is off, and so do all
patterns here unless told otherwise. Other results shown for SCCA's empty rows may be of another rule: the pilot that clexlab's notes
rest on let them see their own chunk, `empty=OwnChunk(chunk=…)`.
"""

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from clexlab import frequencies


class EmptyRows(abc.ABC):
    """Which keys an empty row sees instead, and how many they are. No rule lets a query see a later token."""

    @abc.abstractmethod
    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether a query in an empty row sees a key."""

    @abc.abstractmethod
    def count(self, query: Tensor) -> Tensor:
        """How many keys that are."""

    def fits(self, chunk: int) -> bool:
        """Whether one window of `chunk` keys holds what the rows of a whole empty chunk see instead."""
        return True

    @abc.abstractmethod
    def window(self, start: Tensor) -> Tensor:
        """Where that window begins, for chunks that begin at `start`."""


@dataclass(frozen=True)
class ZeroOutput(EmptyRows):
    """None: the row stays empty and the head's output there is zero, as is every gradient through it."""

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        # Never, in the shape that query and key broadcast to and on their device.
        return (key < query) & (key > query)

    def count(self, query: Tensor) -> Tensor:
        return torch.zeros_like(query)

    def window(self, start: Tensor) -> Tensor:
        return start


@dataclass(frozen=True)
class Itself(EmptyRows):
    """The token itself: the head passes on its own value."""

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        return key == query

    def count(self, query: Tensor) -> Tensor:
        return torch.ones_like(query)

    def window(self, start: Tensor) -> Tensor:
        return start


@dataclass(frozen=True, kw_only=True)
class OwnChunk(EmptyRows):
    """The tokens of its own chunk up to itself, as if the head were block local there."""

    chunk: int

    def __post_init__(self) -> None:
        _check_chunk(self.chunk)

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        return (key // self.chunk == query // self.chunk) & (key <= query)

    def count(self, query: Tensor) -> Tensor:
        return query % self.chunk + 1

    def fits(self, chunk: int) -> bool:
        return chunk % self.chunk == 0

    def window(self, start: Tensor) -> Tensor:
        return start


@dataclass(frozen=True, kw_only=True)
class FirstChunk(EmptyRows):
    """The tokens of the first chunk, up to itself."""

    chunk: int

    def __post_init__(self) -> None:
        _check_chunk(self.chunk)

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        return (key >= 0) & (key < self.chunk) & (key <= query)

    def count(self, query: Tensor) -> Tensor:
        return (query + 1).clamp(max=self.chunk)

    def fits(self, chunk: int) -> bool:
        return self.chunk <= chunk

    def window(self, start: Tensor) -> Tensor:
        return torch.zeros_like(start)


RULES = (ZeroOutput, Itself, OwnChunk, FirstChunk)


def check_empty(rule: object) -> None:
    """Refuse what is no rule: a class instead of an object, a word."""
    if not isinstance(rule, EmptyRows):
        raise ValueError(f"empty is {rule!r}; pass one of {', '.join(kind.__name__ for kind in RULES)}, for example ZeroOutput()")


def _check_chunk(chunk: object) -> None:
    if not frequencies.is_whole(chunk) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}; it must be a whole number of tokens, at least 1")
