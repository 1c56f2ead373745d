"""Dual Chunk Attention: positions begin anew in every chunk, and the query's place says which chunk it looks at (arXiv 2402.17463)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Span, check_tokens


@dataclass(frozen=True, kw_only=True)
class DualChunk(Map):
    """Keys at j mod chunk; the query at i mod chunk for its own chunk, min(i mod chunk + chunk, ceiling) for the one before, else ceiling.

    Here ceiling = window - 1, the largest distance the model was trained at: no P is larger. The first window - chunk queries of a chunk
    see the chunk before at true distances. `default` is the paper's chunk = 3·window/4.
    Source: HKUNLP/ChunkLlama. Its code has chunks of 5·window/8 and a ceiling of 3·window/4, `DualChunk(window=4096, chunk=2560,
    ceiling=3072)`, and a temperature of 0.05 ln(scale) + 1 on cos and sin that the paper does not have; here there is none.
    """

    name: ClassVar[str] = "dual_chunk"
    title: ClassVar[str] = "Dual Chunk (DCA)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2402.17463"
    chunk: int
    ceiling: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(chunk=self.chunk)
        if self.ceiling is not None:
            check_tokens(0, ceiling=self.ceiling)
        if self.chunk > self.top + 1 or self.top >= self.window:
            raise ValueError(
                f"chunk is {self.chunk}, ceiling {self.top} and window {self.window}; P needs chunk - 1 ≤ ceiling ≤ window - 1: use"
                " smaller chunks"
            )

    @property
    def top(self) -> int:
        """The largest P: `ceiling`, or what the window allows."""
        return self.window - 1 if self.ceiling is None else self.ceiling

    @classmethod
    def default(cls, window: int) -> "DualChunk":
        return cls(window=window, chunk=max(1, 3 * window // 4))

    @property
    def longest(self) -> float:
        return math.inf

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        first, begins, nothing = int(queries[0]), queries // self.chunk * self.chunk, torch.zeros_like(queries)
        before = (begins - self.chunk).clamp(min=0)
        inside = (queries - begins).double()
        key = (torch.arange(length) % self.chunk).double()
        return (
            Span(first, begins, queries + 1, inside, key),
            Span(first, before, begins, (inside + self.chunk).clamp(max=self.top), key),
            Span(first, nothing, before, torch.full_like(inside, self.top), key),
        )
