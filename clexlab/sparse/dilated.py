"""Dilated patterns: every r-th token of a segment (LongNet), or the nearest tokens of the query's own class (DiNAT)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clexlab.sparse.base import Pattern, check_whole
from clexlab.sparse.empty import EmptyRows, ZeroOutput, check_empty


@dataclass(frozen=True, kw_only=True)
class Dilated(Pattern):
    """LongNet's dilated attention with one segment length w and one ratio r: every r-th token of a segment attends to every r-th.

        sel_h(i) = ((i mod w) mod r = o_h),   o_h = ⌊h / (heads/r)⌋
        M(i, j) = ⌊i/w⌋ = ⌊j/w⌋ and sel_h(i) and sel_h(j) and j ≤ i

    Each head has an output for one token in r, the other rows are empty; r groups of heads share the tokens out. Costs about N·w/(2r²)
    pairs a head. Source: arXiv 2307.02486; offsets as in microsoft/torchscale (`component/dilated_attention.py`); the paper's text, as
    remembered and unverified, has o_h = h mod r. LongNet mixes several pairs (w, r) by the sums of their softmaxes, where a key of
    two pairs counts twice: no boolean matrix says that, and it is not here.
    """

    name: ClassVar[str] = "dilated"
    title: ClassVar[str] = "dilated (LongNet)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2307.02486"
    segment: int
    ratio: int
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        check_whole(segment=self.segment, ratio=self.ratio)
        check_empty(self.empty)

    @classmethod
    def default(cls, length: int) -> "Dilated":
        check_whole(least=2, length=length)
        return cls(segment=length // 2, ratio=2)

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        if heads % self.ratio:
            raise ValueError(f"{heads} heads cannot be shared by {self.ratio} offsets equally; use a multiple of the ratio")

    def _selected(self, head: Tensor, place: Tensor, heads: int) -> Tensor:
        return place % self.segment % self.ratio == head // (heads // self.ratio)

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        together = (query // self.segment == key // self.segment) & (key <= query)
        return together & self._selected(head, query, heads) & self._selected(head, key, heads)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return torch.where(self._selected(head, query, heads), query % self.segment // self.ratio + 1, 0)


@dataclass(frozen=True, kw_only=True)
class DilatedNeighbourhood(Pattern):
    """A query sees the k nearest earlier tokens of its own class modulo δ, itself included: i - j ∈ {0, δ, 2δ, … (k-1)δ}.

    k = `neighbours`, δ = `dilation`. Costs at most N·k pairs a head: linear in N. Tokens of two classes never meet, in no layer, unless
    other heads or layers see near ones; DiNAT has layers with δ = 1 in between. Source: arXiv 2209.15001 and SHI-Labs' NATTEN, its causal
    form; the images' own form looks both ways: `TwoSidedNeighbourhood`.
    """

    name: ClassVar[str] = "dilated_neighbourhood"
    title: ClassVar[str] = "dilated neighbourhood (DiNAT)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2209.15001"
    neighbours: int
    dilation: int

    def __post_init__(self) -> None:
        check_whole(neighbours=self.neighbours, dilation=self.dilation)

    @classmethod
    def default(cls, length: int) -> "DilatedNeighbourhood":
        check_whole(least=8, length=length)
        return cls(neighbours=length // 8, dilation=4)

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        # Classes are compared, not distances taken, as in SDA.
        near = (key <= query) & (key > query - self.neighbours * self.dilation)
        return near & (query % self.dilation == key % self.dilation)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return (query // self.dilation + 1).clamp(max=self.neighbours)


@dataclass(frozen=True, kw_only=True)
class TwoSidedNeighbourhood(DilatedNeighbourhood):
    """The nearest tokens of the class on both sides, k in all, as for images: it **leaks** in a language model.

        t = ⌊i/δ⌋, m tokens in the class:   keys of rank s … s+k-1,   s = clamp(t - ⌊k/2⌋, 0, m - k)

    At the border the window slides and keeps its k keys, so k·δ ≤ N is needed.
    """

    name: ClassVar[str] = "two_sided_neighbourhood"
    title: ClassVar[str] = "dilated neighbourhood, both sides (leaks)"
    causal: ClassVar[bool] = False

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        if self.neighbours * self.dilation > length:
            raise ValueError(
                f"{self.neighbours} neighbours at a dilation of {self.dilation} need {self.neighbours * self.dilation} tokens;"
                f" the text has {length}"
            )

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        size = (length - query % self.dilation + self.dilation - 1) // self.dilation
        start = torch.minimum((query // self.dilation - self.neighbours // 2).clamp(min=0), size - self.neighbours)
        rank = key // self.dilation
        return (query % self.dilation == key % self.dilation) & (rank >= start) & (rank < start + self.neighbours)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return torch.full_like(query, self.neighbours)
