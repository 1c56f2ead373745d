"""Block local attention: a text in chunks that never look at one another, the base line of every pattern here."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from clexlab.sparse.base import Pattern, check_whole, quarter
from clexlab.sparse.windows import Windows


@dataclass(frozen=True, kw_only=True)
class Local(Pattern):
    """A query sees its own chunk, up to itself: M(i, j) = ⌊i/G⌋ = ⌊j/G⌋ and j ≤ i, with G = `chunk` tokens.

    Costs N(G+1)/2 pairs a head in a text of N tokens, a multiple of G, instead of N(N+1)/2. No layer ever carries anything from one
    chunk to the next. The unshifted half of LongLoRA's S2-Attn.
    """

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "block local"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.12307"
    chunk: int

    def __post_init__(self) -> None:
        check_whole(chunk=self.chunk)

    @classmethod
    def default(cls, length: int) -> "Local":
        return cls(chunk=quarter(length))

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return (query // self.chunk == key // self.chunk) & (key <= query)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return query % self.chunk + 1

    def windows(self, heads: int) -> list[Windows]:
        return [Windows(heads=tuple(range(heads)), chunk=self.chunk)]
