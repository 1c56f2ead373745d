"""ReRoPE and Leaky ReRoPE: exact positions near the query, far ones held or slowed down (Jianlin Su, 2023)."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.maps.base import Map, Span, check_tokens, far_span, near_span


@dataclass(frozen=True, kw_only=True)
class ReRoPE(Map):
    """P = min(i - j, near): no key seems farther than `near` tokens, at any length.

    Far keys keep their content and lose their order: their logits do not depend on where they stand. `default` has near = window/4, with
    which the published results were made (1024 of 4096; the patch file says 512). The optional log-n factor is a temperature and left out.
    Source: bojone/rerope.
    """

    name: ClassVar[str] = "rerope"
    title: ClassVar[str] = "ReRoPE"
    paper: ClassVar[str] = "https://github.com/bojone/rerope"
    near: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(near=self.near)

    @classmethod
    def default(cls, window: int) -> "ReRoPE":
        return cls(window=window, near=max(1, window // 4))

    @property
    def longest(self) -> float:
        return math.inf if self.near < self.window else self.window

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        held, none = torch.full((len(queries),), float(self.near)).double(), torch.zeros(length).double()
        return near_span(queries, length, self.near), far_span(queries, self.near, held, none)


@dataclass(frozen=True, kw_only=True)
class LeakyReRoPE(Map):
    """P = i - j for i - j < near, else near + (i - j - near)/slowing: far keys keep their order, in smaller steps.

    The longest safe text has slowing·(window - 1 - near) + near + 1 tokens. `default` has near = window/4 and the least whole slowing with
    which sixteen windows fit; the source names none. slowing = 1 is plain RoPE; slowing → ∞ is ReRoPE.
    Source: bojone/rerope. Its "inverse" form, trained with larger far steps, is not here.
    """

    name: ClassVar[str] = "leaky_rerope"
    title: ClassVar[str] = "Leaky ReRoPE"
    paper: ClassVar[str] = "https://github.com/bojone/rerope"
    near: int
    slowing: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(near=self.near)
        if not frequencies.is_finite(self.slowing) or self.slowing < 1:
            raise ValueError(f"slowing is {self.slowing!r}; far steps are 1/slowing, give a finite number of at least 1")

    @classmethod
    def default(cls, window: int) -> "LeakyReRoPE":
        near = max(1, window // 4)
        return cls(window=window, near=near, slowing=float(max(1, -(-(16 * window - 1 - near) // max(1, window - 1 - near)))))

    @property
    def longest(self) -> float:
        if self.near >= self.window:
            return self.window
        return math.floor(Fraction(self.slowing) * (self.window - 1 - self.near)) + self.near + 1

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        query = (queries.double() - self.near) / self.slowing + self.near
        key = torch.arange(length, dtype=torch.float64) / self.slowing
        return near_span(queries, length, self.near), far_span(queries, self.near, query, key)
