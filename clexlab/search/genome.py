"""What LongRoPE searches over: a divisor for every pair, and how many first positions are not divided at all.

    angle_j(p) = p θ_j          for p < n̂
                 p θ_j / λ_j    else,      1 ≤ λ_0 ≤ λ_1 ≤ … ≤ λ_last ≤ limit

An individual of the search is a `Genome`, the set of all that are allowed a `Space`: a grid, so that "seen before" is exact.
LongRoPE (arXiv 2402.13753, §3.2), table of the search space.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clexlab import frequencies
from clexlab.frequencies import Geometry
from clexlab.scaling import NTK, Linear, YaRN

# n̂ as published, for windows of 4096 tokens.
STARTS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 64, 128, 256)
# Divisors are compared after this many decimals, so that 1 + 12 · 0.01 is 1.12 and nothing near it.
_DECIMALS = 10


@dataclass(frozen=True)
class Genome:
    """`factors` λ_j by which the pairs' frequencies are divided, and `start` n̂, how many first positions keep the original angles."""

    factors: tuple[float, ...]
    start: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.factors, (tuple, list)) or not self.factors or not all(map(frequencies.is_finite, self.factors)):
            raise ValueError(f"factors is {self.factors!r}; give a finite divisor for every pair")
        if not frequencies.is_whole(self.start) or self.start < 0:
            raise ValueError(f"start is {self.start!r}; it must be a whole number of first positions, 0 for none")
        object.__setattr__(self, "factors", tuple(float(factor) for factor in self.factors))
        object.__setattr__(self, "start", int(self.start))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; `from_dict` makes an equal genome of it."""
        return {"factors": list(self.factors), "start": self.start}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Genome":
        return cls(factors=tuple(given["factors"]), start=given["start"])


@dataclass(frozen=True)
class Space:
    """All genomes of `pairs` divisors 1, 1 + step, … up to `limit` that never fall from pair to pair, with n̂ one of `starts`.

    The paper's: limit 1.25 s for an extension by s, step 0.01, `STARTS`. The released code goes up to about 1 + s and has no n̂:
    Space(pairs, 1 + s, starts=(0,)).
    """

    pairs: int
    limit: float
    step: float = 0.01
    starts: tuple[int, ...] = STARTS

    def __post_init__(self) -> None:
        if not frequencies.is_whole(self.pairs) or self.pairs < 1:
            raise ValueError(f"pairs is {self.pairs!r}; it must be a whole number of rotary pairs, head_dim // 2")
        if not frequencies.is_finite(self.limit) or self.limit <= 1:
            raise ValueError(f"limit is {self.limit!r}; divisors begin at 1, the largest must be finite and above that")
        if not frequencies.is_finite(self.step) or not 0 < self.step <= self.limit - 1:
            raise ValueError(f"step is {self.step!r}; divisors from 1 to {self.limit:g} need a step above 0, at most {self.limit - 1:g}")
        starts = self.starts
        if not starts or not all(frequencies.is_whole(start) and start >= 0 for start in starts) or len(set(starts)) < len(starts):
            raise ValueError(f"starts is {starts!r}; give whole numbers of first positions, each once, (0,) for none")
        object.__setattr__(self, "starts", tuple(int(start) for start in starts))

    @property
    def top(self) -> int:
        """Steps from 1 to the largest divisor."""
        return math.floor((self.limit - 1) / self.step + 1e-6)

    @property
    def size(self) -> int:
        """How many genomes there are: choices of `pairs` of the grid's divisors, in order, repetition allowed, times n̂."""
        return math.comb(self.top + self.pairs, self.pairs) * len(self.starts)

    def genome(self, steps: Sequence[int], start: int = 0) -> Genome:
        """The genome whose divisors are so many steps above 1."""
        return Genome(tuple(round(1 + count * self.step, _DECIMALS) for count in steps), start)

    def steps(self, genome: Genome) -> tuple[int, ...]:
        """The nearest number of steps of every divisor: the inverse of `genome`."""
        return tuple(round((factor - 1) / self.step) for factor in genome.factors)

    def nearest(self, genome: Genome) -> Genome:
        """The genome on the grid that is nearest; ValueError where that is outside the space."""
        found = self.genome(self.steps(genome), genome.start)
        self.check(found)
        return found

    def check(self, genome: Genome) -> None:
        """Refuse a genome of other pairs, off the grid, beyond the limit, falling somewhere, or with another n̂."""
        if len(genome.factors) != self.pairs:
            raise ValueError(f"a genome has {len(genome.factors)} divisors, the space {self.pairs} pairs; give one divisor a pair")
        if genome.start not in self.starts:
            raise ValueError(f"start {genome.start} is none of {', '.join(map(str, self.starts))}; put it among the space's starts")
        steps = self.steps(genome)
        if min(steps) < 0 or max(steps) > self.top:
            worst = min(genome.factors) if min(steps) < 0 else max(genome.factors)
            raise ValueError(f"divisor {worst:g} is outside 1 … {self.limit:g}; give the space another limit")
        for pair, (count, factor) in enumerate(zip(steps, genome.factors, strict=True)):
            if round(1 + count * self.step, _DECIMALS) != factor:
                raise ValueError(f"divisor {factor!r} of pair {pair} is off the grid of {self.step:g}; use space.nearest(genome)")
            if pair and count < steps[pair - 1]:
                raise ValueError(f"divisors fall from pair {pair - 1} to {pair}, {genome.factors[pair - 1]:g} to {factor:g}; they may not")

    def to_dict(self) -> dict[str, Any]:
        return {"pairs": self.pairs, "limit": self.limit, "step": self.step, "starts": list(self.starts)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Space":
        return cls(pairs=given["pairs"], limit=given["limit"], step=given["step"], starts=tuple(given["starts"]))


def starts_from(geometry: Geometry, factor: float) -> tuple[Genome, ...]:
    """What the paper's search begins with, as divisors θ_j/θ_j(t) at this factor: PI, NTK and YaRN, all without start tokens.

    Not rounded to a grid: `search` takes the nearest genomes of its space. YaRN is that of its code (`scaling.YaRN`). Temperatures
    are no part of a genome. The released search begins with one vector, the wavelength blend of NTK by parts
    (`scaling.LongRoPE.default`). ValueError for a factor of 1 or less, where all three are one.
    """
    shape = {"head_dim": geometry.head_dim, "base": geometry.base, "window": geometry.window}
    if not frequencies.is_finite(factor) or factor <= 1:
        raise ValueError(f"factor is {factor!r}; it must be above 1, where PI, NTK and YaRN differ")
    return tuple(Genome(tuple((1 / method.default(**shape).ratio(factor)).tolist())) for method in (Linear, NTK, YaRN))
