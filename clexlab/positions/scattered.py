"""CLEX's position extrapolation: a short text scattered over the positions of a long one (arXiv 2310.16450)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from clexlab import frequencies
from clexlab.positions.base import Draw, check_length
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """Sorted random positions from 0 to the end of t windows; order is kept, neighbours drift t tokens apart on average.

        t ~ factors,  M = ⌊length·t⌋,  c = max(1, length/window)
        p = {0, a sorted sample of length-2 from 1 … M-2, M-1} / c

    Whole positions for a text of one window (c = 1): p_0 = 0, p_last = t·window - 1, mean gap (t·window - 1)/(window - 1), and
    t = 1 is 0, 1, 2 … A longer text stands c times denser, a shorter one reaches length·t.
    Source: clex_layer.py of DAMO-NLP-SG/CLEX at 023709d, do_train=True, with `factors=WholeFactors(T)`. Differs for texts longer than
    a window: the code ends at ⌊length·t/c⌋ - 1, which may lie before the token in front of it, and rounds c down. Positions here
    always rise. Real-valued factors (`UniformFactors`, `LogUniformFactors`) are the paper's; the code has whole ones only.
    """

    name: ClassVar[str] = "scattered"
    title: ClassVar[str] = "scattered (CLEX)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.16450"
    window: int
    factors: Factors

    def __post_init__(self) -> None:
        if not frequencies.is_whole(self.window) or self.window < 1:
            raise ValueError(f"window is {self.window!r}; it must be a whole number of tokens, at least 1")
        check_factors(self.factors)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1."""
        check_length(length)
        factor = self.factors.draw(generator)
        slots = math.floor(length * factor)
        positions = scatter(length, slots, generator)
        return Draw(positions / max(1.0, length / self.window), factor)


def scatter(length: int, slots: int, generator: torch.Generator) -> torch.Tensor:
    """`length` of the whole numbers 0 … slots-1, both ends among them, every choice of the others equally likely; (length,) sorted."""
    if length == 1:
        return torch.zeros(1, device=generator.device)
    inner = 1 + torch.randperm(slots - 2, generator=generator, device=generator.device)[: length - 2].sort().values
    ends = torch.tensor([0, slots - 1], device=generator.device)
    return torch.cat((ends[:1], inner, ends[1:])).to(torch.float32)
