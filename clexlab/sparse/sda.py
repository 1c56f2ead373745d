"""Shifted dilated attention, SDA: tokens of one class modulo δ over the whole text, another class for every head (arXiv 2312.07305).

The paper names SDA-2 and SDA-4 and describes them as dilated attention joined with dilated neighbourhood attention. That has two
readings, and both are here. Neither is linear in the text's length: a constant factor is all that they save.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clexlab.sparse.base import Pattern, check_whole
from clexlab.sparse.empty import EmptyRows, ZeroOutput, check_empty


@dataclass(frozen=True, kw_only=True)
class SDA(Pattern):
    """Every query sees one class of keys, moved by the head's offset: M(i, j) = (i + o_h - j) mod δ = 0 and j ≤ i.

    o_h = (`first` + h) mod δ, so that δ heads together see every key; δ = `interval`. Costs about N²/(2δ) pairs a head. A query sees
    itself only in heads of offset 0, and the first δ - o_h rows of the others are empty. The reading like dilated neighbourhood
    attention: all but the first few queries have an output. The exact offsets are not public.
    """

    name: ClassVar[str] = "sda"
    title: ClassVar[str] = "SDA, class shift (parametric family)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2312.07305"
    interval: int
    first: int = 0
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        check_whole(interval=self.interval)
        check_whole(least=0, first=self.first)
        check_empty(self.empty)

    @classmethod
    def default(cls, length: int) -> "SDA":
        return cls(interval=4)

    def offset(self, head: Tensor) -> Tensor:
        """o_h of the equation."""
        return (self.first + head) % self.interval

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        # Classes are compared, not distances taken: whole numbers for all pairs of every head would be eight times the mask.
        return ((query + self.offset(head)) % self.interval == key % self.interval) & (key <= query)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        earliest = (query + self.offset(head)) % self.interval
        return torch.where(earliest > query, 0, (query - earliest) // self.interval + 1)


@dataclass(frozen=True, kw_only=True)
class SelectedSDA(SDA):
    """Only selected tokens attend, to selected tokens: M(i, j) = (i mod δ = o_h) and (j mod δ = o_h) and j ≤ i.

    The reading like LongNet's: a head has an output for one token in δ, and its other rows are empty. Costs about N²/(2δ²) pairs.
    """

    name: ClassVar[str] = "selected_sda"
    title: ClassVar[str] = "SDA, selection (parametric family)"

    @classmethod
    def default(cls, length: int) -> "SelectedSDA":
        return cls(interval=2)

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        offset = self.offset(head)
        return (query % self.interval == offset) & (key % self.interval == offset) & (key <= query)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return torch.where(query % self.interval == self.offset(head), query // self.interval + 1, 0)
