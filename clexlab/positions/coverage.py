"""Which distances a draw holds: C(δ), the chance that some two of its tokens are δ positions apart, exactly or by counting draws.

Samplers with a formula have `coverage(length, factor)`, built of what is here: `apart` for positions chosen at random, `two_runs` for
a text in two contiguous runs. Only differences of positions reach a rotary model, so C says which of them it was ever shown; not
how often (a thousand pairs count as one), and not whether the *content* at that distance had anything to do with it.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Sampler


def sampled_coverage(sampler: Sampler, length: int, draws: int, generator: torch.Generator) -> Float[Tensor, "distances"]:
    """C(δ) of any sampler with whole positions, counted in `draws` draws; entry δ, as far as the longest distance met.

    A share c is off by sqrt(c(1-c)/draws), one standard error. ValueError for positions between whole numbers.
    """
    if not frequencies.is_whole(draws) or draws < 1:
        raise ValueError(f"draws is {draws!r}; it must be a whole number, at least 1")
    counts = torch.zeros(0, dtype=torch.float64)
    for _ in range(draws):
        positions = sampler.draw(length, generator).positions.double()
        if not torch.equal(positions, positions.round()):
            raise ValueError("these positions are no whole numbers, so distances never repeat; count rows of at most one window")
        met = (positions[:, None] - positions).long().unique()
        met = met[met >= 0].cpu()
        counts = torch.nn.functional.pad(counts, (0, max(0, int(met[-1]) + 1 - len(counts))))
        counts[met] += 1
    return counts / draws


def apart(paths: Mapping[int, int], empty: int, chosen: int) -> float:
    """The chance that `chosen` slots, every choice equally likely, hold no two neighbours of a path and none of the `empty` slots.

    `paths` says how many paths there are of each length. Slots δ apart are neighbours: the residues modulo δ are the paths, so
    this is the chance that a random choice holds no pair at distance δ. Were every slot taken on its own with chance p, one path of m
    slots would hold k, no neighbours, with chance a_m[k] = (1-p) a_(m-1)[k] + p(1-p) a_(m-2)[k-1]; paths multiply as polynomials, and
        P = coefficient `chosen` of (1-p)^empty Π a_m / P(`chosen` taken)
    for any p. All terms are positive, so float64 is exact to some 1e-12. ValueError for more chosen slots than there are.
    """
    slots = empty + sum(length * count for length, count in paths.items())
    if chosen > slots:
        raise ValueError(f"{chosen} slots cannot be chosen out of {slots}")
    # Close to the share that is taken, where the coefficient is large, and never 0 or 1.
    share = (chosen + 0.5) / (slots + 1)
    product = np.ones(1)
    for length, count in paths.items():
        product = np.convolve(product, _power(_path(length, share), count, chosen + 1))[: chosen + 1]
    if len(product) <= chosen:
        return 0.0
    ways = math.lgamma(slots + 1) - math.lgamma(chosen + 1) - math.lgamma(slots - chosen + 1)
    taken = math.exp(ways + chosen * math.log(share) + (slots - chosen) * math.log1p(-share))
    return min(1.0, float(product[chosen]) * (1 - share) ** empty / taken)


def residues(slots: int, distance: int) -> dict[int, int]:
    """The paths of `slots` slots whose neighbours are `distance` apart: how many of each length."""
    whole, more = divmod(slots, distance)
    return {whole: distance - more, whole + 1: more}


def two_runs(firsts: Float[Tensor, "firsts"], room: int) -> Float[Tensor, "slots"]:
    """C(δ) of a text in two contiguous runs, the second moved by u ~ {0 … room}, all equally likely; entry δ = 0 … length+room-1.

    `firsts[l]` is the chance that the first run has l of the length tokens, l = 0 … length; l = 0 and l = length are one run.
        within runs: δ ≤ max(l, length-l) - 1.    across: δ - u is one of 1 … length-1, whatever l is
    The two are independent given l. Source: PoSE's coverage (arXiv 2309.10400), for any distribution of l.
    """
    length, firsts = len(firsts) - 1, firsts.double()
    first, distance = torch.arange(length + 1), torch.arange(length + room)
    longest = torch.maximum(first, length - first)

    def within(shares: Tensor) -> Tensor:
        """How much of `shares` has a run that is longer than δ."""
        counts = torch.zeros(length + room + 1, dtype=torch.float64).index_add(0, longest, shares)
        return counts.flip(0).cumsum(0).flip(0)[1:]

    moves = (distance - 1).clamp(max=room) - (distance - length + 1).clamp(min=0) + 1
    across = moves.clamp(min=0).double() / (room + 1)
    both = firsts * ((first > 0) & (first < length))
    return within(firsts) + (both.sum() - within(both)) * across


def two_runs_pairs(firsts: Float[Tensor, "firsts"], room: int) -> Float[Tensor, "slots"]:
    """The expected number of pairs δ apart in the same text as `two_runs`: C(δ) counts them as one, however many there are.

    Within runs of l and length-l tokens there are (l-δ)⁺ + (length-l-δ)⁺; across there are min(d, l, length-l, length-d)⁺ at d = δ - u.
    """
    length, shares = len(firsts) - 1, firsts[firsts > 0].double()
    # Of a text that is always cut at one place the others need no look.
    first, distance = firsts.nonzero(), torch.arange(length + room)
    within = (first - distance).clamp(min=0) + (length - first - distance).clamp(min=0)
    near = torch.arange(length)
    across = torch.minimum(torch.minimum(near, length - near), torch.minimum(first, length - first))
    spread = np.convolve((shares @ across.double()).numpy(), np.full(room + 1, 1 / (room + 1)))
    return shares @ within.double() + torch.from_numpy(spread)


def room_for(window: int, factor: float) -> int:
    """How far a text of one window may be moved within `factor` windows. ValueError for a factor below 1."""
    if not frequencies.is_finite(factor) or factor < 1:
        raise ValueError(f"factor is {factor!r}; it must be finite and at least 1")
    return math.floor(window * factor) - window


def _path(length: int, share: float) -> np.ndarray:
    """a_m of `apart`: the chance of k slots taken, no two of them neighbours, for k = 0 … ⌈m/2⌉."""
    before, now = np.ones(1), np.array([1 - share, share])
    if length == 0:
        return before
    for _ in range(length - 1):
        longer = np.zeros(max(len(now), len(before) + 1))
        longer[: len(now)] = (1 - share) * now
        longer[1 : len(before) + 1] += share * (1 - share) * before
        before, now = now, longer
    return now


def _power(polynomial: np.ndarray, exponent: int, size: int) -> np.ndarray:
    """The first `size` coefficients of polynomial^exponent, by squaring."""
    result = np.ones(1)
    while exponent:
        if exponent % 2:
            result = np.convolve(result, polynomial)[:size]
        polynomial = np.convolve(polynomial, polynomial)[:size]
        exponent //= 2
    return result
