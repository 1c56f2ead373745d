"""LongLoRA's shifted sparse attention, S2-Attn: half of the heads in chunks, the other half in chunks moved by half a chunk."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clexlab.sparse.base import Pattern, check_even_heads, check_whole, quarter
from clexlab.sparse.windows import Windows


@dataclass(frozen=True, kw_only=True)
class S2(Pattern):
    """The first half of the heads is block local, the second half has its chunks moved by G/2, and nothing wraps around.

        M(i, j) = ⌊(i+o)/G⌋ = ⌊(j+o)/G⌋ and j ≤ i,   o = 0 in the first half of the heads, G/2 in the second

    The first group of the second half has G/2 tokens, and so has the last. For N a multiple of G it costs N(G+1)/2 and
    N(G+1)/2 - G²/4 pairs a head. The released code needs such an N, this pattern takes any. With
    G = `chunk` a fixed share of the text, a quarter by default, that is still quadratic in N.
    Source: arXiv 2309.12307, and the FlashAttention path of dvlab-research/LongLoRA (`llama_attn_replace.py`). Its other path rolls the
    text around: `RolledS2`, a different pattern. LongLoRA trains with this and reads with full attention.
    """

    name: ClassVar[str] = "s2"
    title: ClassVar[str] = "S2-Attn (LongLoRA)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.12307"
    chunk: int

    def __post_init__(self) -> None:
        check_whole(chunk=self.chunk)
        if self.chunk % 2:
            raise ValueError(f"chunk is {self.chunk}; half of the heads are moved by half a chunk, so it must be even")

    @classmethod
    def default(cls, length: int) -> "S2":
        return cls(chunk=quarter(length))

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        check_even_heads(self, heads)

    def offset(self, head: Tensor, heads: int) -> Tensor:
        """o of the equation: how far a head's chunks are moved to the left."""
        return torch.where(head < heads // 2, 0, self.chunk // 2)

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        offset = self.offset(head, heads)
        return ((query + offset) // self.chunk == (key + offset) // self.chunk) & (key <= query)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return torch.minimum((query + self.offset(head, heads)) % self.chunk, query) + 1

    def windows(self, heads: int) -> list[Windows]:
        first, second = tuple(range(heads // 2)), tuple(range(heads // 2, heads))
        return [Windows(heads=first, chunk=self.chunk), Windows(heads=second, chunk=self.chunk, offset=self.chunk // 2)]


@dataclass(frozen=True, kw_only=True)
class RolledS2(S2):
    """S2-Attn as the eager path of the released code has it: the second half rolls the text, and its first tokens see the last ones.

        slot(i) = (i - o) mod N,   M(i, j) = ⌊slot(i)/G⌋ = ⌊slot(j)/G⌋ and slot(j) ≤ slot(i)

    The last group then holds the last G/2 tokens and after them the first G/2, which see the future: a **leak**, here to be looked
    at. A model trained so has a loss that is too good to be true. N must be a multiple of G, and no cache can hold what comes later.
    Source: `llama_attn_replace.py` of dvlab-research/LongLoRA, roll by -G/2, in-chunk triangle, roll back.
    """

    name: ClassVar[str] = "rolled_s2"
    title: ClassVar[str] = "S2-Attn rolled (leaks)"
    causal: ClassVar[bool] = False

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        if length % self.chunk:
            raise ValueError(f"length is {length}; a text that is rolled in chunks of {self.chunk} must be a multiple of that")

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        offset = self.offset(head, heads)
        query, key = (query - offset) % length, (key - offset) % length
        return (query // self.chunk == key // self.chunk) & (key <= query)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return (query - self.offset(head, heads)) % length % self.chunk + 1

    def windows(self, heads: int) -> list[Windows]:
        raise ValueError("RolledS2 sees later tokens, of which chunks gather none; compute it by its mask, or use S2")
