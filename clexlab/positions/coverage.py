"""Which distances a draw holds: C(δ), the chance that some two of its tokens are δ positions apart, exactly or by counting draws.

Samplers with a formula have `coverage(length, factor)`, built of what is here: `apart` for positions chosen at random, `two_runs`
and `three_runs` for a text in contiguous runs, `pieces_in_place` for runs that lie anywhere. Only differences of positions reach a
rotary model, so C says which of them it was ever shown; not how often (a thousand pairs count as one), and not whether the
*content* at that distance had anything to do with it.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Sampler

# Some seconds of adding up; whoever wants more counts draws, which is as good to a few per cent.
STEPS = 3 * 10**8


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


def three_runs(length: int, room: int) -> Float[Tensor, "slots"]:
    """C(δ) of a text in three runs, cut at any tokens s_1 < s_2, the runs moved by 0, u ~ {0 … room}, u + v ~ {u … room}.

        within runs: δ below the longest.    across: δ - u is one of 1 … s_2-1, or δ - v one of 1 … length-s_1-1,
        or δ - u - v one of s_2-s_1+1 … length-1
    For all cuts and every u the v that hold none of these are counted: length²·(length + room)² steps. Ours, checked against all choices.
    """
    _check_steps(math.comb(length - 1, 2) * (room + 1) * (length + room))
    first, distance = torch.arange(room + 1)[:, None], torch.arange(length + room)
    met = torch.zeros(length + room, dtype=torch.float64)
    for one, other in itertools.combinations(range(1, length), 2):
        low, high = (distance - length + one + 1).clamp(min=0), (distance - 1).minimum(room - first)
        far_low, far_high = (distance - first - length + 1).clamp(min=0), (distance - first - other + one - 1).minimum(room - first)
        both = (high.minimum(far_high) - low.maximum(far_low) + 1).clamp(min=0)
        held = (high - low + 1).clamp(min=0) + (far_high - far_low + 1).clamp(min=0) - both
        near = (distance - first >= 1) & (distance - first < other)
        share = torch.where(near, 1.0, held / (room - first + 1).double()).mean(0)
        met += torch.where(distance < max(one, other - one, length - other), 1.0, share)
    return met / math.comb(length - 1, 2)


def pieces_in_place(slots: int, pieces: int, size: int) -> Float[Tensor, "slots"]:
    """C(δ) of `pieces` runs of `size` tokens each in `slots` slots, every placement without overlap equally likely; δ = 0 … slots-1.

    Two runs that begin D apart hold every δ from D-size+1 to D+size-1, one run those below size. The first run put at 0, all places
    of the others are gone through, C(Y-1, pieces-1) of them at Y = slots - pieces·size + pieces, and counted Y - y times, y the
    last one's; the runs stay apart by the map of distinct numbers to gaps (see `ChunkSegments`).
    """
    free = slots - pieces * (size - 1)
    _check_steps(pieces**2 * math.comb(free - 1, pieces - 1))
    changes = torch.zeros(slots + 1, dtype=torch.float64)
    pairs = torch.combinations(torch.arange(pieces)) if pieces > 1 else torch.zeros(0, 2, dtype=torch.long)
    for second in range(1, free) if pieces > 1 else ():
        others = torch.combinations(torch.arange(second + 1, free), pieces - 2) if pieces > 2 else torch.zeros(1, 0, dtype=torch.long)
        drawn = torch.cat((torch.tensor([0, second]).expand(len(others), 2), others), 1)
        starts = drawn + torch.arange(pieces) * (size - 1)
        apart, last = (starts[:, pairs[:, 1]] - starts[:, pairs[:, 0]]).sort(1).values, torch.zeros(len(starts), dtype=torch.long)
        times = (free - drawn[:, -1]).double()
        for distance in apart.unbind(1):
            # From where the one before ended, so that no δ counts twice.
            changes.index_add_(0, (distance - size + 1).maximum(last + size), times)
            changes.index_add_(0, distance + size, -times)
            last = distance
    met = changes.cumsum(0)[:slots] / math.comb(free, pieces)
    met[:size] = 1
    return met


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


def _check_steps(steps: int) -> None:
    """Refuse to go through more choices than some seconds allow."""
    if steps > STEPS:
        raise ValueError(f"the exact coverage takes {steps:.0e} steps, at most {STEPS:.0e} are taken; use positions.sampled_coverage")


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
