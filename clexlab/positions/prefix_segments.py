"""Segmented sequences, prefix-α: one run of a long text behind tokens scattered over all that came before (arXiv 2310.14633)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_one_window, check_window
from clexlab.positions.coverage import apart, residues, room_for
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class PrefixSegments:
    """The last α·length tokens are one contiguous run, those before it any positions in front of the run; loss on the run only.

        t ~ factors,  M = ⌊t·window⌋,  w = α·length
        i ~ {length-w … M-w}, all equally likely:   p = (sorted sample of length-w from {0 … i-1},  i … i+w-1)

    `learned` of a draw is true for the tokens of the run, the first of them too, which is predicted from a token that stood elsewhere.
    The token at p is to be token p of the long text: `clexlab.taken.TakenAt` trains so, and minds `learned`.
    Source: the method as third parties describe it; no code. Unverified: the paper's distribution of i, and whether the run's first
    token is a target.
    """

    name: ClassVar[str] = "prefix_segments"
    title: ClassVar[str] = "run behind scattered tokens (prefix-α)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.14633"
    window: int
    factors: Factors
    alpha: float = 0.25

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)
        if not frequencies.is_finite(self.alpha) or not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha!r}; it is the share of the run, above 0 and at most 1")

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions, a factor and what is in the loss; ValueError for a length beyond the window or without a whole run."""
        before, run = self._sizes(length)
        factor = self.factors.draw(generator)
        device = generator.device
        last = self.window + room_for(self.window, factor) - run
        start = int(torch.randint(before, last + 1, (), generator=generator, device=device))
        prefix = torch.randperm(start, generator=generator, device=device)[:before].sort().values
        places = torch.cat((prefix, start + torch.arange(run, device=device)))
        return Draw(places.float(), factor, learned=torch.arange(length, device=device) >= before)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one t, entry δ = 0 … M-1: 1 within the run, else the mean over i of the chance of no pair. See `coverage.apart`.

        Takes M² steps: for a few hundred positions.
        """
        before, run = self._sizes(length)
        slots = self.window + room_for(self.window, factor)
        starts = range(before, slots - run + 1)
        met = [sum(1 - prefix_apart(start, distance, before, run) for start in starts) / len(starts) for distance in range(run, slots)]
        return torch.tensor([1.0] * run + met, dtype=torch.float64)

    def _sizes(self, length: int) -> tuple[int, int]:
        check_one_window(length, self.window)
        run = round(self.alpha * length)
        if run < 1 or abs(run - self.alpha * length) > 1e-9:
            raise ValueError(f"length is {length} and alpha {self.alpha}: their product is no whole run of tokens; change one")
        return length - run, run


def prefix_apart(start: int, distance: int, before: int, run: int) -> float:
    """The chance that `before` positions below `start` hold no pair at `distance` ≥ run, and none with the run that begins there."""
    paths = residues(start, distance)
    whole, more = divmod(start, distance)
    # What lies `distance` before the run is the last slot of its path: of the shorter paths first, then of those one longer.
    short = min(run, distance - more)
    taken = {whole: short if whole else 0, whole + 1: run - short}
    for size, count in taken.items():
        paths[size] -= count
        if count:
            paths[size - 1] = paths.get(size - 1, 0) + count
    return apart(paths, sum(taken.values()), before)
