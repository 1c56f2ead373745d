"""LM-Infinite: the first tokens at one fixed distance and the last at their own (arXiv 2308.16137)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Span, check_tokens, near_span


@dataclass(frozen=True, kw_only=True)
class LMInfinite(Map):
    """Seen are j < starts and i - j < local; P = i - j for i - j < local, else limit.

    It sees what `Sinks` with recent = local sees; there the first tokens have ordered distances, here all have one. `default` has the
    released call's ten starts and local = window. That call has limit = local, one more than any trained distance; the default keeps
    limit = window - 1.
    Source: Glaciohound/LM-Infinite. Its option to attend again to the best of the middle tokens, in some layers, is not here.
    """

    name: ClassVar[str] = "lm_infinite"
    title: ClassVar[str] = "LM-Infinite"
    paper: ClassVar[str] = "https://arxiv.org/abs/2308.16137"
    starts: int
    local: int
    limit: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(0, starts=self.starts, limit=self.limit)
        check_tokens(local=self.local)

    @classmethod
    def default(cls, window: int) -> "LMInfinite":
        return cls(window=window, starts=10, local=window, limit=window - 1)

    @property
    def longest(self) -> float:
        if self.local > self.window:
            return self.window
        return math.inf if self.limit < self.window or not self.starts else self.local

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        ends = (queries - self.local + 1).clamp(min=0, max=self.starts)
        held, none = torch.full((len(queries),), float(self.limit)).double(), torch.zeros(length).double()
        return (
            near_span(queries, length, self.local),
            Span(int(queries[0]), torch.zeros_like(queries), ends, held, none),
        )
