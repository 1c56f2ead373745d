"""What every map answers: how far away, in rotary positions, each key seems to a query; and which keys it sees at all."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import check_length, check_window
from clexlab.positions.maps.noise import Noise


@dataclass(frozen=True)
class Mix:
    """Keys between two whole positions: a logit is (1 - share) of the one at the span's `key` and share of the one at `below`."""

    below: Float[Tensor, "keys"]
    share: Float[Tensor, "keys"]


@dataclass(frozen=True)
class Span:
    """For the queries first, first + 1 …: keys low[i] ≤ j < high[i] stand at the distance P = query[i] - key[j].

    So one rotation of the queries and one of the keys serve all of them. `low` and `high` never fall from one query to the next, and
    no key of a query's stands before key[low[i]]. `key` has an entry for every key from 0 on. Where keys are mixed, P = query[i] -
    key[j] + share[j], and `noise`, if any, is added to the logits with a share.
    """

    first: int
    low: Int[Tensor, "queries"]
    high: Int[Tensor, "queries"]
    query: Float[Tensor, "queries"]
    key: Float[Tensor, "keys"]
    mix: Mix | None = None
    noise: Noise | None = None

    @property
    def last(self) -> int:
        """One more than the last query."""
        return self.first + len(self.low)

    def shown(self, queries: slice, keys: slice) -> Bool[Tensor, "queries keys"]:
        """Which keys these queries see; both are counted from token 0."""
        rows = slice(queries.start - self.first, queries.stop - self.first)
        key = torch.arange(keys.start, keys.stop, device=self.low.device)
        return (key >= self.low[rows, None]) & (key < self.high[rows, None])

    def distances(self, queries: slice, keys: slice) -> Float[Tensor, "queries keys"]:
        """P of these queries and keys, seen or not."""
        rows = slice(queries.start - self.first, queries.stop - self.first)
        apart = self.query[rows, None] - self.key[keys]
        return apart if self.mix is None else apart + self.mix.share[keys]


@dataclass(frozen=True, kw_only=True)
class Map(abc.ABC):
    """A change of the relative positions of a trained model that leaves its weights alone. `window` is the trained length.

    score(i, j) = ⟨R(P_ij·θ) q_i, k_j⟩ / √d over the keys that i sees; plain RoPE is P_ij = i - j. A subclass says what its
    `spans` are; matrix, mask and `clexlab.remap` are made of them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    window: int

    def __post_init__(self) -> None:
        check_window(self.window)

    @classmethod
    @abc.abstractmethod
    def default(cls, window: int) -> "Map":
        """The method with its published options, scaled to this window."""

    @property
    @abc.abstractmethod
    def longest(self) -> float:
        """The greatest length whose largest P is at most window - 1; infinite where every length is."""

    def spans(self, length: int, first: int = 0) -> tuple[Span, ...]:
        """The spans of queries first … length-1, sent in one call, among keys 0 … length-1: every key seen is in one of them.

        ValueError for a length that is no number of tokens and a first query that is not among them.
        """
        check_length(length)
        if not frequencies.is_whole(first) or not 0 <= first < length:
            raise ValueError(f"first is {first!r} of {length} tokens; it must be a whole number, 0 … {length - 1}")
        return self._spans(torch.arange(first, length), length)

    @abc.abstractmethod
    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]: ...

    def relative(self, length: int) -> Float[Tensor, "length length"]:
        """P, query by key, in float64; nan where the key is not seen. Fractions are positions, in GALI mixes of two logits."""
        found = torch.full((length, length), torch.nan, dtype=torch.float64)
        for queries, keys, shown, span in self._pieces(length):
            found[queries, keys] = torch.where(shown, span.distances(queries, keys), found[queries, keys])
        return found

    def visible(self, length: int) -> Bool[Tensor, "length length"]:
        """Which keys each query sees, later ones never."""
        found = torch.zeros(length, length, dtype=torch.bool)
        for queries, keys, shown, _ in self._pieces(length):
            found[queries, keys] |= shown
        return found

    def largest(self, length: int) -> float:
        """The largest P that occurs in a text of `length` tokens."""
        tops = []
        for span in self.spans(length):
            sees = span.low < span.high
            key = span.key if span.mix is None else span.key - span.mix.share
            tops += (span.query - key[span.low.clamp(max=len(key) - 1)])[sees].tolist()
        return max(tops)

    def _pieces(self, length: int) -> list[tuple[slice, slice, Bool[Tensor, "queries keys"], Span]]:
        found = []
        for span in self.spans(length):
            queries, keys = slice(span.first, span.last), slice(0, len(span.key))
            found.append((queries, keys, span.shown(queries, keys), span))
        return found


def near_span(queries: Int[Tensor, "queries"], length: int, near: int) -> Span:
    """The last `near` keys, the query's own among them, at their true distance."""
    places = torch.arange(length, dtype=torch.float64)
    return Span(int(queries[0]), (queries - near + 1).clamp(min=0), queries + 1, queries.double(), places)


def far_span(queries: Int[Tensor, "queries"], near: int, query: Float[Tensor, "queries"], key: Float[Tensor, "keys"]) -> Span:
    """All keys `near` tokens back and more, at the given places."""
    return Span(int(queries[0]), torch.zeros_like(queries), (queries - near + 1).clamp(min=0), query, key)


def check_tokens(least: int = 1, **given: int) -> None:
    """Refuse options that are no number of tokens, or fewer than `least`."""
    for name, value in given.items():
        if not frequencies.is_whole(value) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of tokens, at least {least}")
