"""CLEX's position extrapolation: a short text scattered over the positions of a long one (arXiv 2310.16450)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.positions.base import Draw, check_length, check_window
from clexlab.positions.coverage import apart, residues, room_for
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
        check_window(self.window)
        check_factors(self.factors)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1."""
        check_length(length)
        factor = self.factors.draw(generator)
        slots = math.floor(length * factor)
        positions = scatter(length, slots, generator)
        return Draw(positions / max(1.0, length / self.window), factor)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one t, entry δ = 0 … M-1, for texts of at most one window; 1 at M-1, the distance of the fixed ends."""
        check_length(length)
        if length > self.window:
            raise ValueError(f"length is {length} and the window {self.window}; positions of longer texts are no whole numbers")
        slots = length + room_for(length, factor)
        if length == 1:
            return torch.ones(1, dtype=torch.float64)
        met = [1 - both_ends_apart(slots, distance, length - 2) for distance in range(1, slots - 1)]
        return torch.tensor([1.0, *met, 1.0], dtype=torch.float64)


def both_ends_apart(slots: int, distance: int, inner: int) -> float:
    """The chance of no pair at `distance` < slots-1 where slot 0, the last one and `inner` others are chosen. See `coverage.apart`."""
    paths = residues(slots, distance)
    # Both ends lie on paths of this length, or on one; where an end is taken, its neighbour must be empty.
    size = math.ceil(slots / distance)
    if (slots - 1) % distance == 0:
        ends, left, empty = 1, size - 4, 1 if size == 3 else 2
    else:
        ends, left, empty = 2, size - 2, 0 if size == 1 else 2
    paths[size] -= ends
    paths[max(0, left)] = paths.get(max(0, left), 0) + ends
    return apart(paths, empty, inner)


def scatter(length: int, slots: int, generator: torch.Generator) -> torch.Tensor:
    """`length` of the whole numbers 0 … slots-1, both ends among them, every choice of the others equally likely; (length,) sorted."""
    if length == 1:
        return torch.zeros(1, device=generator.device)
    inner = 1 + torch.randperm(slots - 2, generator=generator, device=generator.device)[: length - 2].sort().values
    ends = torch.tensor([0, slots - 1], device=generator.device)
    return torch.cat((ends[:1], inner, ends[1:])).to(torch.float32)
