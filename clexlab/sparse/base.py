"""What every sparse pattern answers: which keys each query of each head may look at, M_h(i, j).

A pattern writes down one pair at a time, in arithmetic on whole numbers: may query i of head h see key j, and how many keys has row i.
Everything else follows: dense masks, masks for flex attention, empty rows, costs. Positions are the tokens' own, before any chunking.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from clexlab import frequencies
from clexlab.sparse.empty import EmptyRows, ZeroOutput
from clexlab.sparse.windows import Windows


class Pattern(abc.ABC):
    """A boolean matrix per head: True where a query may look at a key.

    `causal` says that no query sees a later token. Rows of a causal pattern must not depend on the length of the text: what a token
    sees does not change when the text grows, so a cached generation sees what one pass over the whole text sees.
    `empty` says what a row without any key does instead; see `sparse.empty`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    causal: bool = True
    empty: EmptyRows = ZeroOutput()

    @classmethod
    @abc.abstractmethod
    def default(cls, length: int) -> "Pattern":
        """The pattern as its paper or code has it, scaled to texts of `length` tokens."""

    @abc.abstractmethod
    def _sees(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        """Whether a query sees a key, without the rule for empty rows; all numbers broadcast."""

    @abc.abstractmethod
    def _count(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        """How many keys a row has, without the rule for empty rows: 0 is an empty row."""

    def check(self, heads: int, length: int) -> None:
        """Refuse numbers of heads or tokens that the pattern is not defined for."""
        for name, value, unit in (("heads", heads, "heads"), ("length", length, "tokens")):
            if not frequencies.is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of {unit}, at least 1")

    def at(self, head: Tensor, query: Tensor, key: Tensor, heads: int, length: int | Tensor) -> Tensor:
        """Whether query `query` of head `head` sees key `key`, any numbers that broadcast; empty rows see what their rule says."""
        blank = self._count(head, query, heads, length) == 0
        return self._sees(head, query, key, heads, length) | (blank & self.empty.sees(query, key))

    def keys_at(self, head: Tensor, query: Tensor, heads: int, length: int | Tensor) -> Tensor:
        """How many keys query `query` of head `head` sees, by formula, in the same way; empty rows have those of their rule."""
        counts = self._count(head, query, heads, length)
        return torch.where(counts == 0, self.empty.count(query), counts)

    def visible(self, heads: int, length: int) -> Bool[Tensor, "heads length length"]:
        """The whole matrix of every head, entry [h, i, j]. ValueError for heads or lengths that the pattern is not defined for."""
        places = torch.arange(length) if frequencies.is_whole(length) and length > 0 else torch.zeros(0, dtype=torch.long)
        return self.sees(heads, places, places, length)

    def sees(
        self, heads: int, queries: Int[Tensor, "queries"], keys: Int[Tensor, "keys"], length: int
    ) -> Bool[Tensor, "heads queries keys"]:
        """The rows and columns of `visible` at the given places of a text of `length` tokens, on the device of `queries`."""
        self.check(heads, length)
        for name, places in (("queries", queries), ("keys", keys)):
            if len(places) and not (0 <= int(places.min()) and int(places.max()) < length):
                given = f"{int(places.min())} to {int(places.max())}"
                raise ValueError(f"{name} go from {given}; a text of {length} tokens has 0 … {length - 1}")
        head = torch.arange(heads, device=queries.device)[:, None, None]
        return self.at(head, queries[:, None], keys, heads, length).expand(heads, len(queries), len(keys))

    def mask_mod(self, heads: int, length: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """The pattern as torch's flex attention takes it: `create_block_mask(pattern.mask_mod(heads, length), None, heads, n, n)`."""
        self.check(heads, length)

        # A lambda, because torch counts the arguments a function is written with and tests wrap every function that has a name.
        return lambda row, head, query, key: self.at(head, query, key, heads, length)

    def windows(self, heads: int) -> list[Windows]:
        """The heads by where the keys of their chunks lie, for `sparse.attention`; ValueError for a pattern without chunks."""
        raise ValueError(f"{type(self).__name__} does not come in chunks of one window each; compute it by its mask")

    def keys_per_row(self, heads: int, length: int) -> Int[Tensor, "heads length"]:
        """How many keys every row has, by formula and not by counting; empty rows have those of their rule."""
        return self._rows(self.keys_at, heads, length)

    def empty_rows(self, heads: int, length: int) -> Bool[Tensor, "heads length"]:
        """The rows that the pattern alone leaves without a key: where the rule for empty rows decides."""
        return self._rows(self._count, heads, length) == 0

    def _rows(self, ask: Callable[[Tensor, Tensor, int, int], Tensor], heads: int, length: int) -> Tensor:
        self.check(heads, length)
        return ask(torch.arange(heads)[:, None], torch.arange(length), heads, length).expand(heads, length)


def check_whole(least: int = 1, **values: object) -> None:
    """Refuse an option that is no whole number of at least `least`."""
    for name, value in values.items():
        if not frequencies.is_whole(value) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least {least}")


def check_even_heads(pattern: Pattern, heads: int) -> None:
    """Refuse an odd number of heads where half of them do something else."""
    if heads % 2:
        raise ValueError(f"{type(pattern).__name__} gives each half of the heads its own pattern and {heads} heads have no half")


def quarter(length: int) -> int:
    """A chunk of a quarter of the text, LongLoRA's default; ValueError where that has no half."""
    if not frequencies.is_whole(length) or length < 8 or length % 8:
        raise ValueError(f"length is {length!r}; a quarter of it with a half needs a multiple of 8: name the chunk yourself")
    return length // 4
