"""Segmented sequences, chunk-α: a few pieces of a long text, kept where they stood (arXiv 2310.14633)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_one_window, check_window
from clexlab.positions.coverage import pieces_in_place, room_for
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class ChunkSegments:
    """`pieces` contiguous runs of length/pieces tokens, α = 1/pieces, that do not overlap; every placement equally likely.

        t ~ factors,  M = ⌊t·window⌋,  k = pieces,  w = length/k
        y_1 < … < y_k: any k of {0 … M-length+k-1},   piece i = 1 … k begins at y_i + (i-1)(w-1)

    The token at p is to be token p of the long text, so content and distance agree, which in PoSE they do not:
    `clexlab.taken.TakenAt` trains so. The first piece may begin anywhere; pieces may touch.
    Source: the method as its abstract and third parties describe it, which recommend four pieces; no code. Unverified: the paper's own
    distribution of the places. This one is uniform, by the map of distinct numbers to gaps.
    """

    name: ClassVar[str] = "chunk_segments"
    title: ClassVar[str] = "pieces in place (chunk-α)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.14633"
    window: int
    factors: Factors
    pieces: int = 4

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)
        if not frequencies.is_whole(self.pieces) or self.pieces < 1:
            raise ValueError(f"pieces is {self.pieces!r}; it must be a whole number of runs, at least 1")

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length beyond the window or no multiple of `pieces`."""
        size = self._size(length)
        factor = self.factors.draw(generator)
        free = room_for(self.window, factor) + self.window - length + self.pieces
        device = generator.device
        drawn = torch.randperm(free, generator=generator, device=device)[: self.pieces].sort().values
        starts = drawn + torch.arange(self.pieces, device=device) * (size - 1)
        return Draw((starts[:, None] + torch.arange(size, device=device)).flatten().float(), factor)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one t, entry δ = 0 … M-1: see `coverage.pieces_in_place`, whose steps grow as M^(pieces-1); ValueError for too many."""
        size = self._size(length)
        return pieces_in_place(self.window + room_for(self.window, factor), self.pieces, size)

    def pairs(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """The expected number of pairs δ apart at one t, entry δ = 0 … M-1.

        k(w-δ)⁺ within pieces; pieces m apart in order begin e + m(w-1) apart with chance C(e-1, m-1) C(Y-e, k-m) / C(Y, k), where
        Y = M-length+k, for each of k-m pairs of them, and then have (w - |δ - e - m(w-1)|)⁺ pairs of tokens δ apart.
        """
        size, pieces = self._size(length), self.pieces
        slots = room_for(self.window, factor) + self.window
        free, distance = slots - length + pieces, torch.arange(slots)
        found = pieces * (size - distance).clamp(min=0).double()
        for order in range(1, pieces):
            for apart in range(order, free):
                ways = math.comb(apart - 1, order - 1) * math.comb(free - apart, pieces - order)
                near = (size - (distance - apart - order * (size - 1)).abs()).clamp(min=0).double()
                found += (pieces - order) * (ways / math.comb(free, pieces)) * near
        return found

    def _size(self, length: int) -> int:
        check_one_window(length, self.window)
        if length % self.pieces:
            raise ValueError(f"length is {length} and pieces {self.pieces}; pieces are of one size, give rows of a multiple")
        return length // self.pieces
