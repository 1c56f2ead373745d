"""Things to recall, planted in text: pass keys with a name, and spans to copy. What far context is good for, and can be scored.

    pass key   … # The pass key of red fox is 48213. … # The pass key of red fox is 4 8 2 1 3
    copy       … w_1 w_2 … w_n … w_1 w_2 … w_n                            w random tokens

In a training row everything is said twice, at drawn places: the second time it can be known. So ordinary next-token training on a
short row teaches the recall that is then tested at many times the length. The filler is ordinary text of the corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies
from clexlab.rows import Text, check_length

COLOURS = tuple("red blue green black white brown grey pink gold dark light pale warm cold old new".split())
THINGS = tuple("fox tree stone river house table bird cloud door lamp ship field horse wheel book ring".split())
DIGITS = 5
# Distinct tokens of `Echo` with few of them: as many as letters and digits.
FEW = 36
# One statement of a pass key in so many tokens of a training row, and as many tokens in one span to copy.
TOKENS_PER_PASSKEY, TOKENS_PER_DENSE_PASSKEY, TOKENS_PER_COPY = 64, 40, 128


@dataclass(frozen=True)
class Statement:
    """A sentence that ends in a number, and how many of its tokens stand before the digits and are the digits."""

    tokens: Int[Tensor, "_"]
    before: int
    digits: int


def statement(tokenizer: PreTrainedTokenizerBase, name: str, key: str) -> Statement:
    """"# The pass key of {name} is {key}." as a line of its own; ValueError as `sentence`."""
    return sentence(tokenizer, f"\n# The pass key of {name} is ", key)


def sentence(tokenizer: PreTrainedTokenizerBase, said: str, key: str) -> Statement:
    """What is `said` before the digits of `key`, and a full stop; ValueError where the tokenizer joins digits with what is around them."""
    start = _encode(tokenizer, said)
    digits = [token for digit in key for token in _encode(tokenizer, digit)]
    whole = _encode(tokenizer, f"{said}{key}.\n")
    if whole[: len(start) + len(digits)] != start + digits:
        raise ValueError("this tokenizer joins digits with their neighbours; pass keys need digits that stand alone (clexlab.bpe has them)")
    return Statement(torch.tensor(whole), len(start), len(digits))


def draw_key(generator: torch.Generator) -> str:
    """Five digits, all equally likely."""
    return "".join(str(digit) for digit in torch.randint(10, (DIGITS,), generator=generator).tolist())


def draw_names(count: int, generator: torch.Generator) -> list[str]:
    """`count` different names of 256; ValueError for more."""
    if count > len(COLOURS) * len(THINGS):
        raise ValueError(f"count is {count}; there are {len(COLOURS) * len(THINGS)} names, use shorter rows")
    drawn = torch.randperm(len(COLOURS) * len(THINGS), generator=generator)[:count].tolist()
    return [f"{COLOURS[index // len(THINGS)]} {THINGS[index % len(THINGS)]}" for index in drawn]


class Passkey:
    """Training rows: text with a pass key per `spacing` tokens, each said twice; all first times before all second times.

    `Passkey.dense` has hardly any text between them. Ten digits are everywhere, so what follows a digit is known from more than the token
    before it: heads that copy random spans have to learn this apart, and rows with a few pass keys teach it too slowly.
    """

    name = "passkey"

    def __init__(
        self, filler: Text, tokenizer: PreTrainedTokenizerBase, spacing: int = TOKENS_PER_PASSKEY, name: str = "passkey"
    ) -> None:
        if not frequencies.is_whole(spacing) or spacing < 1:
            raise ValueError(f"spacing is {spacing!r}; it must be a whole number of tokens, at least 1, for every pass key")
        self.length, self.filler, self.tokenizer, self.spacing, self.name = filler.length, filler, tokenizer, spacing, name

    @classmethod
    def dense(cls, filler: Text, tokenizer: PreTrainedTokenizerBase) -> "Passkey":
        """Rows of the part "keys": a pass key per 40 tokens, which is about what one said twice takes."""
        return cls(filler, tokenizer, TOKENS_PER_DENSE_PASSKEY, "keys")

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens, with as many of the pass keys as fit; ValueError where not one does."""
        count = max(1, self.length // self.spacing)
        names = draw_names(count, generator)
        said = [statement(self.tokenizer, name, draw_key(generator)).tokens for name in names]
        # Names take one to four tokens more or less.
        while len(said) > 1 and 2 * sum(map(len, said)) > self.length:
            said.pop()
        again = [said[index] for index in torch.randperm(len(said), generator=generator).tolist()]
        return plant([*said, *again], self.filler.draw(generator), generator)


class Copy:
    """Training rows: text with one span of 16 to 32 random tokens per 128 tokens, each there twice."""

    name = "copy"

    def __init__(self, filler: Text, vocabulary: int) -> None:
        self.length, self.filler, self.vocabulary = filler.length, filler, vocabulary

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens; ValueError where the row is too short for a span."""
        count = max(1, self.length // TOKENS_PER_COPY)
        spans = [draw_span(int(torch.randint(16, 33, (), generator=generator)), self.vocabulary, generator) for _ in range(count)]
        again = [spans[index] for index in torch.randperm(count, generator=generator).tolist()]
        return plant([*spans, *again], self.filler.draw(generator), generator)


class Echo:
    """Rows that say one span of 6 to 27 distinct tokens again and again: the plainest exercise in "what came after this before?".

    `alphabet` tokens take part, the same in every row (the first of one fixed shuffle of the vocabulary, without the separator).
    With few of them the heads that look back and copy form within some hundred steps; on ordinary text alone they did not in 3
    million tokens, nor in pass keys and copied spans of random tokens.
    """

    def __init__(self, name: str, length: int, vocabulary: int, alphabet: int) -> None:
        check_length(length)
        if not 28 <= alphabet < vocabulary:
            raise ValueError(f"alphabet is {alphabet}; it must have at least 28 tokens and fewer than the vocabulary's {vocabulary}")
        self.name, self.length = name, length
        self.tokens = 1 + torch.randperm(vocabulary - 1, generator=torch.Generator().manual_seed(0))[:alphabet]

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens."""
        many = int(torch.randint(6, 28, (), generator=generator))
        span = self.tokens[torch.randperm(len(self.tokens), generator=generator)[:many]]
        return span.repeat(self.length // many + 1)[: self.length]


def draw_span(length: int, vocabulary: int, generator: torch.Generator) -> Int[Tensor, "length"]:
    """Random tokens, never the separator (token 0)."""
    return torch.randint(1, vocabulary, (length,), generator=generator)


def plant(
    pieces: Sequence[Int[Tensor, "_"]], filler: Int[Tensor, "length"], generator: torch.Generator
) -> Int[Tensor, "length"]:
    """The pieces in their order at drawn places of the filler, which gives up its end for them: as many tokens as before."""
    room = len(filler) - sum(len(piece) for piece in pieces)
    if room < 0:
        raise ValueError(f"the pieces have {len(filler) - room} tokens, the row {len(filler)}; use longer rows")
    places = torch.randint(room + 1, (len(pieces),), generator=generator).sort().values.tolist()
    parts, done = [], 0
    for piece, place in zip(pieces, places, strict=True):
        parts += [filler[done:place], piece]
        done = place
    return torch.cat([*parts, filler[done:room]])


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
