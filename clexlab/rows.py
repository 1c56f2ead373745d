"""Rows of training: token sequences of one length, drawn up front from several sources, so that every method reads the same ones.

A source draws one row at a time from a generator. `Text` cuts rows out of documents; `tasks.Passkey` and `tasks.Copy` plant
things to recall in such a text. `mix` draws rows from several sources in given shares and shuffles them: its result is the data
and the data order of a run, the same for every method with this seed.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies


@runtime_checkable
class Source(Protocol):
    """Draws rows. `name` is the part of the loss they are logged under, `length` their tokens."""

    name: str
    length: int

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]: ...


class Text:
    """Rows that lie inside one document each, every place of every document equally likely.

    No row crosses from one document into another, so attention never reaches across a boundary, and positions start at 0 in every
    row. Documents shorter than a row have no place and are never drawn: `never_drawn` counts them. ValueError when all are.
    """

    name = "text"

    def __init__(self, documents: Sequence[Int[Tensor, "_"]], length: int) -> None:
        check_length(length)
        self.length, self.documents = length, tuple(document for document in documents if len(document) >= length)
        self.never_drawn = len(documents) - len(self.documents)
        if not self.documents:
            raise ValueError(f"none of {len(documents)} documents has {length} tokens; give longer texts or shorter rows")
        self._ends = torch.tensor([len(document) - length + 1 for document in self.documents]).cumsum(0)

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens in a row."""
        drawn = int(torch.randint(int(self._ends[-1]), (), generator=generator))
        owner = int(torch.searchsorted(self._ends, drawn, right=True))
        document = self.documents[owner]
        start = drawn - (int(self._ends[owner]) - (len(document) - self.length + 1))
        return document[start : start + self.length]


class Rows(Dataset):
    """Drawn rows in their order, with the name of the source of each: what the Trainer reads."""

    def __init__(self, tokens: Int[Tensor, "rows length"], parts: Sequence[str]) -> None:
        self.tokens, self.parts = tokens, tuple(parts)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"input_ids": self.tokens[index], "part": self.parts[index]}


def mix(sources: Mapping[Source, float], count: int, generator: torch.Generator) -> Rows:
    """`count` rows, of every source its share (whole rows, the first source takes what rounding leaves), in a drawn order.

    Raises ValueError for shares that do not add up to 1 and for sources of different lengths.
    """
    if not frequencies.is_whole(count) or count < 1:
        raise ValueError(f"count is {count!r}; it must be a whole number of rows, at least 1")
    if not sources or any(share < 0 for share in sources.values()) or abs(sum(sources.values()) - 1) > 1e-9:
        raise ValueError(f"shares are {list(sources.values())}; give numbers of 0 or more that add up to 1")
    if len({source.length for source in sources}) != 1:
        raise ValueError(f"sources draw rows of {sorted({source.length for source in sources})} tokens; build all for one length")
    counts = [int(count * share) for share in sources.values()]
    counts[0] += count - sum(counts)
    drawn = [(source.name, source.draw(generator)) for source, many in zip(sources, counts, strict=True) for _ in range(many)]
    order = torch.randperm(count, generator=generator).tolist()
    return Rows(torch.stack([drawn[index][1] for index in order]), [drawn[index][0] for index in order])


def encode(documents: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Int[Tensor, "_"]]:
    """Tokens of every document with the separator before and after it; nothing in a document is read as a special token.

    The separator is the tokenizer's token that begins a text, or else ends one; ValueError where it has neither.
    """
    separator = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if separator is None:
        raise ValueError("this tokenizer has no token that begins or ends a text; documents need one between them")
    coded = tokenizer(list(documents), add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return [torch.tensor([separator, *tokens, separator]) for tokens in coded]


def check_length(length: int) -> None:
    """Refuse a row without tokens to predict."""
    if not frequencies.is_whole(length) or length < 2:
        raise ValueError(f"length is {length!r}; a row is a whole number of tokens, at least 2")
