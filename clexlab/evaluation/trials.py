"""Texts with one thing to recall, at any length and depth: what far context is good for, where only far context helps.

    [ filler … ] needle [ … filler ] question answer          length tokens in all, the needle behind a share `depth` of the filler

    pass key   needle  "# The pass key of red fox is 48213."    question  "# The pass key of red fox is "    answer  4 8 2 1 3
    copy       needle  w_1 … w_24, random tokens                question  w_1 … w_8                          answer  w_9 … w_24

A trial is one needle in one document. At every length and depth it asks the same question for the same answer, behind the same last
tokens of filler: only what lies further back differs. Training rows with the same sentences and spans are in `clexlab.tasks`.
Trials and rows on tables are in `clexlab.lookup`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies, rows, tasks

# Random tokens in a span to copy: those that are shown again, and those that have to be recalled.
SHOWN, RECALLED = 8, 16
# So many draws for a needle that does not occur in its filler by chance.
DRAWS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One thing to recall: four runs of tokens, and the name of the task."""

    task: str
    filler: Int[Tensor, "_"]
    needle: Int[Tensor, "_"]
    question: Int[Tensor, "_"]
    answer: Int[Tensor, "_"]

    @property
    def shortest(self) -> int:
        """Tokens of a text without any filler."""
        return len(self.needle) + len(self.question) + len(self.answer)

    @property
    def longest(self) -> int:
        """Tokens of a text with all of the filler."""
        return self.shortest + len(self.filler)

    def text(self, length: int, depth: float) -> Int[Tensor, "length"]:
        """`length` tokens with the needle at `depth`: 0 is the beginning, 1 right before the question. ValueError for what does not fit."""
        self.check(length, depth)
        filler = self.filler[self.longest - length :]
        before = round(depth * len(filler))
        return torch.cat([filler[:before], self.needle, filler[before:], self.question, self.answer])

    def check(self, length: int, depth: float) -> None:
        """Refuse a text that this trial has not."""
        if not self.shortest <= length <= self.longest:
            raise ValueError(f"length is {length}; a text of this trial has {self.shortest} to {self.longest} tokens")
        check_depth(depth)


def passkeys(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Int[Tensor, "_"]],
    longest: int,
    count: int,
    generator: torch.Generator,
) -> tuple[Trial, ...]:
    """`count` trials for texts of up to `longest` tokens: a pass key of a drawn name, in filler drawn from `documents`.

    Every place of every document is equally likely. Raises ValueError where no document has `longest` tokens.
    """

    def draw(filler: Int[Tensor, "_"]) -> Trial:
        (name,) = tasks.draw_names(1, generator)
        said = tasks.statement(tokenizer, name, tasks.draw_key(generator))
        question, answer = said.tokens[: said.before], said.tokens[said.before : said.before + said.digits]
        return Trial(task=tasks.Passkey.name, filler=filler, needle=said.tokens, question=question, answer=answer)

    return draw_trials(draw, documents, longest, count, generator)


def copies(
    vocabulary: int, documents: Sequence[Int[Tensor, "_"]], longest: int, count: int, generator: torch.Generator
) -> tuple[Trial, ...]:
    """`count` trials for texts of up to `longest` tokens: a span of random tokens whose beginning comes again, in drawn filler.

    Raises ValueError where no document has `longest` tokens.
    """

    def draw(filler: Int[Tensor, "_"]) -> Trial:
        span = tasks.draw_span(SHOWN + RECALLED, vocabulary, generator)
        return Trial(task=tasks.Copy.name, filler=filler, needle=span, question=span[:SHOWN], answer=span[SHOWN:])

    return draw_trials(draw, documents, longest, count, generator)


def check_depth(depth: float) -> None:
    """Refuse what is no share of a text."""
    if not frequencies.is_finite(depth) or not 0 <= depth <= 1:
        raise ValueError(f"depth is {depth!r}; it is where the needle lies, from 0, the beginning of the text, to 1, its end")


def occurrences(text: Int[Tensor, "_"], piece: Int[Tensor, "_"]) -> int:
    """How often `piece` stands in `text`."""
    return int((text.unfold(0, len(piece), 1) == piece).all(1).sum()) if len(text) >= len(piece) else 0


def draw_trials(
    draw: Callable[[Tensor], Trial], documents: Sequence[Int[Tensor, "_"]], longest: int, count: int, generator: torch.Generator
) -> tuple[Trial, ...]:
    """`count` trials, each made by `draw` of `longest` tokens of filler, in which its question and its answer do not stand."""
    if not frequencies.is_whole(count) or count < 1:
        raise ValueError(f"count is {count!r}; it must be a whole number of trials, at least 1")
    text = rows.Text(documents, longest)
    return tuple(_unlike(draw, text.draw(generator)) for _ in range(count))


def _unlike(draw: Callable[[Tensor], Trial], filler: Int[Tensor, "_"]) -> Trial:
    """A trial whose question and answer do not stand in its filler by chance."""
    for _ in range(DRAWS):
        trial = draw(filler)
        if not occurrences(filler, trial.answer) and not occurrences(filler, trial.question):
            return trial
    raise ValueError(f"each of {DRAWS} drawn answers stands in the filler already; give another text")
