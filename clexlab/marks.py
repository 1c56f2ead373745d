"""Marks to find again: the plainest recall there is, which a model of a million parameters learns from nothing in a minute.

    row    … text ⟨b3⟩ text ⟨a7⟩ … text a? ⟨a7⟩ text … b? ⟨b3⟩ …      a mark of each kind, and behind them questions for each
    trial  [ … filler ] ⟨a7⟩ [ filler … ] a? → ⟨a7⟩

A mark is a token that says its kind and its value; a question is a token that asks for the mark of a kind. One head that looks for
tokens of that kind answers it, wherever they stand: no chain of heads has to form first, as pass keys and copies need. So what is left
to ask is how far a model's positions let it look. Tokens are of the alphabet of `tasks.Echo` with few of them, which text hardly has.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import tasks
from clexlab.evaluation.trials import Trial, draw_trials
from clexlab.rows import Text

# Kinds of marks, and values of each: with one question a kind they are all tokens of the alphabet.
KINDS, VALUES = 4, 8


class Marks:
    """Training rows: text with a mark of every kind and, behind all of them, questions for each, in drawn order at drawn places.

    Every kind is asked for equally often: once in some rows, in others so often that hardly any text is left, and anything between. In
    those a look at all tokens alike finds the values, and looking for the kind is learned from there; rows with one or with four
    questions each did not teach it in 240 steps. An answer is a mark too, so the first question of a kind asks furthest back.
    """

    name = "mark"

    def __init__(self, filler: Text, vocabulary: int) -> None:
        self.length, self.filler = filler.length, filler
        self.questions, self.marks = tokens(vocabulary)

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens; ValueError where the row has fewer than all marks and questions take."""
        values = torch.randint(VALUES, (KINDS,), generator=generator)
        said = self.marks[torch.arange(KINDS), values]
        often = int(torch.randint(1, max(1, (self.length - KINDS) // (2 * KINDS)) + 1, (), generator=generator))
        shown, asked = (torch.randperm(many, generator=generator) % KINDS for many in (KINDS, KINDS * often))
        pieces = [*said[shown][:, None], *torch.stack([self.questions, said], dim=1)[asked]]
        return tasks.plant(pieces, self.filler.draw(generator), generator)


def trials(
    vocabulary: int, documents: Sequence[Int[Tensor, "_"]], longest: int, count: int, generator: torch.Generator
) -> tuple[Trial, ...]:
    """`count` trials for texts of up to `longest` tokens: one mark in drawn text, and the question for its kind.

    Chance is one in eight for who knows the kind's marks. Raises ValueError where no document has `longest` tokens.
    """
    questions, marks = tokens(vocabulary)

    def draw(filler: Int[Tensor, "_"]) -> Trial:
        kind, value = (int(torch.randint(many, (), generator=generator)) for many in (KINDS, VALUES))
        mark = marks[kind, value : value + 1]
        return Trial(task=Marks.name, filler=filler, needle=mark, question=questions[kind : kind + 1], answer=mark)

    return draw_trials(draw, documents, longest, count, generator)


def tokens(vocabulary: int) -> tuple[Int[Tensor, "kinds"], Int[Tensor, "kinds values"]]:
    """The questions and the marks: always the same ones for a vocabulary."""
    alphabet = tasks.Echo("echo_few", 2, vocabulary, tasks.FEW).tokens
    return alphabet[:KINDS], alphabet[KINDS:].view(KINDS, VALUES)
