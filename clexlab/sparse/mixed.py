"""Several patterns in one layer: the heads are divided between them, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clexlab.sparse.base import Pattern, check_whole, quarter
from clexlab.sparse.empty import EmptyRows, ZeroOutput, check_empty
from clexlab.sparse.scca import SCCAFixed
from clexlab.sparse.sda import SDA
from clexlab.sparse.windows import Windows


class Divided(Pattern):
    """The first heads see the first part, the next ones the second …, each as if those heads were all there are."""

    parts: tuple[Pattern, ...]
    shares: tuple[int, ...]

    @property
    def causal(self) -> bool:
        return all(part.causal for part in self.parts)

    def groups(self, heads: int) -> list[tuple[Pattern, int, int]]:
        """Every part with its first head and how many it has. ValueError for heads that the shares do not divide."""
        total = sum(self.shares)
        if heads % total:
            raise ValueError(f"{heads} heads cannot be divided as {' : '.join(map(str, self.shares))}; use a multiple of {total}")
        counts = [share * heads // total for share in self.shares]
        return [(part, sum(counts[:number]), counts[number]) for number, part in enumerate(self.parts)]

    def check(self, heads: int, length: int) -> None:
        super().check(heads, length)
        for part, _, count in self.groups(heads):
            part.check(count, length)

    def at(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self._choose(head, heads, lambda part, own, count: part.at(own, query, key, count, length))

    def windows(self, heads: int) -> list[Windows]:
        """Those of every part; ValueError where one of them has none."""
        return [group.moved(start) for part, start, count in self.groups(heads) for group in part.windows(count)]

    def keys_at(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self._choose(head, heads, lambda part, own, count: part.keys_at(own, query, count, length))

    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self._choose(head, heads, lambda part, own, count: part._sees(own, query, key, count, length))

    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        return self._choose(head, heads, lambda part, own, count: part._count(own, query, count, length))

    def _choose(self, head: Tensor, heads: int, ask: Callable[[Pattern, Tensor, int], Tensor]) -> Tensor:
        """What each head's own part answers; a head of another part is asked as the nearest of this one, and not heard."""
        answers = [(start, ask(part, (head - start).clamp(0, count - 1), count)) for part, start, count in self.groups(heads)]
        chosen = answers[0][1]
        for start, answer in answers[1:]:
            chosen = torch.where(head >= start, answer, chosen)
        return chosen


@dataclass(frozen=True, kw_only=True)
class Mixed(Divided):
    """Any parts: Mixed(parts=(Local(chunk=4), SDA(interval=2)), shares=(1, 1)); empty rows are left to each part's own rule.

    Of no paper. It has no default and is not in PATTERNS, so `sparse.by_name` does not know its name.
    """

    name: ClassVar[str] = "mixed"
    title: ClassVar[str] = "mixed"
    paper: ClassVar[str] = ""
    parts: tuple[Pattern, ...]
    shares: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.parts or not all(isinstance(part, Pattern) for part in self.parts):
            raise ValueError(f"parts is {self.parts!r}; pass one pattern of clexlab.sparse, or more")
        if len(self.shares) != len(self.parts):
            raise ValueError(f"there are {len(self.parts)} parts and {len(self.shares)} shares; name one share for each")
        for share in self.shares:
            check_whole(share=share)

    @classmethod
    def default(cls, length: int) -> "Mixed":
        """ValueError: a mixture is what its parts are; `LongMixed` has a default."""
        raise ValueError("Mixed has no default; name its parts and shares, or use LongMixed")


@dataclass(frozen=True, kw_only=True)
class LongMixed(Divided):
    """SCCA fixed on half of the heads, SDA-2 and SDA-4 on a quarter each: local, moved and dilated heads in one layer.

    The heads of SDA-4 begin with offset 1, so that with four heads it is not a part of SDA-2. That the heads are divided between these
    three is what reviews of the paper say; proportions and offsets are ours.
    """

    name: ClassVar[str] = "long_mixed"
    title: ClassVar[str] = "LongMixed (parametric family)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2312.07305"
    shares: ClassVar[tuple[int, ...]] = (2, 1, 1)
    chunk: int
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        check_empty(self.empty)
        # Refuses a chunk without a half.
        SCCAFixed(chunk=self.chunk)

    @property
    def parts(self) -> tuple[Pattern, ...]:
        return (
            SCCAFixed(chunk=self.chunk, empty=self.empty),
            SDA(interval=2, empty=self.empty),
            SDA(interval=4, first=1, empty=self.empty),
        )

    @classmethod
    def default(cls, length: int) -> "LongMixed":
        return cls(chunk=quarter(length))
