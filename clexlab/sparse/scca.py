"""Shifted cross chunk attention: keys and values move, queries stay, so a chunk looks at *another* chunk (SCCA, arXiv 2312.07305).

The paper's exact shifts and masks are not public and no code is known. What is here is the parametric family that its abstract
describes. What could not be confirmed is an option: how far keys are moved, which mask, what empty rows do. Unverified too, and no
option, is which half of the heads moves: here the second, as in S2-Attn.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clexlab.sparse.base import Pattern, check_even_heads, check_whole, quarter
from clexlab.sparse.empty import EmptyRows, ZeroOutput, check_empty
from clexlab.sparse.windows import Windows


class ShiftMask(abc.ABC):
    """Which keys of the moved window {cG - σ, … cG - σ + G - 1} a query of chunk c sees; σ = `shift` tokens, G = `chunk`."""

    causal: ClassVar[bool] = True

    @abc.abstractmethod
    def sees(self, query: Tensor, key: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor: ...

    @abc.abstractmethod
    def count(self, query: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor: ...


@dataclass(frozen=True)
class TruePosition(ShiftMask):
    """Every key of the window that is not later than the query: 0 ≤ j ≤ i. No leak; rows whose window lies before the text are empty."""

    def sees(self, query: Tensor, key: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        return ((key + shift) // chunk == query // chunk) & (key <= query)

    def count(self, query: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        start = query // chunk * chunk - shift
        return (torch.minimum(query, start + chunk - 1) - start.clamp(min=0) + 1).clamp(min=0)


@dataclass(frozen=True)
class SlotTriangle(ShiftMask):
    """And j ≤ i - σ: what moving K and V under the unchanged in-chunk triangle gives, without its wrap. No query sees itself if σ > 0."""

    def sees(self, query: Tensor, key: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        return ((key + shift) // chunk == query // chunk) & (key + shift <= query)

    def count(self, query: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        start = query // chunk * chunk - shift
        return (query - shift - start.clamp(min=0) + 1).clamp(min=0)


@dataclass(frozen=True)
class WrappedTriangle(ShiftMask):
    """The same with `torch.roll` as it is: keys before the text are taken from its end, which is the future. It **leaks**."""

    causal: ClassVar[bool] = False

    def sees(self, query: Tensor, key: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        slot = (key + shift) % length
        return (slot // chunk == query // chunk) & (slot <= query)

    def count(self, query: Tensor, chunk: int, shift: Tensor, length: int | Tensor) -> Tensor:
        return query % chunk + 1


class Shifted(Pattern):
    """Head h looks at the window {cG - σ_h, … cG - σ_h + G - 1} of its query's chunk c; what SCCA's two patterns share.

    Keys move to the right only: moved to the left they are mostly future tokens, of which the mask leaves little.
    """

    chunk: int
    mask: ShiftMask

    def __post_init__(self) -> None:
        check_whole(chunk=self.chunk)
        if not isinstance(self.mask, ShiftMask):
            raise ValueError(f"mask is {self.mask!r}; pass TruePosition(), SlotTriangle() or WrappedTriangle()")
        check_empty(self.empty)

    @property
    def causal(self) -> bool:
        return self.mask.causal

    @abc.abstractmethod
    def shift(self, head: Tensor, heads: int) -> Tensor:
        """σ_h: by how many tokens a head's keys are moved to the right."""

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        if not self.causal and length % self.chunk:
            raise ValueError(f"length is {length}; a text that is rolled in chunks of {self.chunk} must be a multiple of that")

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self.mask.sees(query, key, self.chunk, self.shift(head, heads), length)

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self.mask.count(query, self.chunk, self.shift(head, heads), length)

    def windows(self, heads: int) -> list[Windows]:
        """One group a shift. ValueError for the wrapped mask, and where a chunk has rows with keys and rows that a rule has to fill."""
        alone = isinstance(self.empty, ZeroOutput)
        if not self.causal or not (alone or isinstance(self.mask, TruePosition)):
            raise ValueError(f"{self.mask!r} with {self.empty!r} has no one window for the rows of a chunk; compute it by its mask")
        shifts = self.shift(torch.arange(heads), heads).tolist()
        return [
            Windows(heads=tuple(head for head, own in enumerate(shifts) if own == shift), chunk=self.chunk, shift=shift, empty=self.empty)
            for shift in sorted(set(shifts))
        ]


@dataclass(frozen=True, kw_only=True)
class SCCAFixed(Shifted):
    """One fixed shift: keys of the second half of the heads are moved by σ = `shift_by` tokens, half a chunk unless named.

    With the true-position mask and σ = G/2 it costs (n-1)(3G²/4 + G(G+2)/8) + G²/4 + G(G+2)/8 pairs a moved head, n = N/G: about
    7NG/8, more than a local head's NG/2, because a query sees *all* earlier keys of its window. One shift for half of the heads is
    what reviews of the paper say; that it is half a chunk, and the second half of the heads, is taken over from S2-Attn, unverified.
    """

    name: ClassVar[str] = "scca_fixed"
    title: ClassVar[str] = "SCCA fixed (parametric family)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2312.07305"
    chunk: int
    shift_by: int | None = None
    mask: ShiftMask = TruePosition()
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift_by is not None:
            check_whole(least=0, shift_by=self.shift_by)
        elif self.chunk % 2:
            raise ValueError(f"chunk is {self.chunk} and has no half to move keys by; make it even, or name shift_by")

    @classmethod
    def default(cls, length: int) -> "SCCAFixed":
        return cls(chunk=quarter(length))

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        check_even_heads(self, heads)

    def shift(self, head: Tensor, heads: int) -> Tensor:
        return torch.where(head < heads // 2, 0, self.chunk // 2 if self.shift_by is None else self.shift_by)


@dataclass(frozen=True, kw_only=True)
class SCCAFlow(Shifted):
    """Every head its own shift, whole chunks: σ_h = G·(h mod `chunks`), so that the heads together see all chunks.

    With the true-position mask and as many heads as the text has chunks (n = N/G = `chunks` ≤ heads) their union is exactly the causal
    triangle. A head moved by m chunks costs (n-m)G² pairs, m ≥ 1, and leaves the first m chunks empty: see `empty`. That shifts differ
    by head and nearly cover everything is what reviews of the paper say; these shifts are a guess.
    """

    name: ClassVar[str] = "scca_flow"
    title: ClassVar[str] = "SCCA flow (parametric family)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2312.07305"
    chunk: int
    chunks: int
    mask: ShiftMask = TruePosition()
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(chunks=self.chunks)

    @classmethod
    def default(cls, length: int) -> "SCCAFlow":
        return cls(chunk=quarter(length), chunks=4)

    def shift(self, head: Tensor, heads: int) -> Tensor:
        return head % self.chunks * self.chunk
