"""Marks to find again: rows that can be answered, trials that ask for what they hold."""

import pytest
import torch

from clexlab import marks, rows

VOCABULARY, LENGTH = 500, 64


@pytest.fixture(scope="module")
def text():
    questions, said = marks.tokens(VOCABULARY)
    plain = [token for token in range(1, VOCABULARY) if token not in {*questions.tolist(), *said.flatten().tolist()}]
    generator = torch.Generator().manual_seed(0)
    return [torch.tensor(plain)[torch.randint(len(plain), (300,), generator=generator)] for _ in range(3)]


def draws(text, count=40, length=LENGTH):
    source, generator = marks.Marks(rows.Text(text, length), VOCABULARY), torch.Generator().manual_seed(1)
    return [source.draw(generator).tolist() for _ in range(count)]


def test_tokens_are_distinct_and_always_the_same():
    questions, said = marks.tokens(VOCABULARY)
    every = [*questions.tolist(), *said.flatten().tolist()]
    assert len(set(every)) == marks.KINDS * (1 + marks.VALUES) and 0 not in every
    assert torch.equal(marks.tokens(VOCABULARY)[1], said)


def test_a_question_is_answered_with_the_mark_of_its_kind_that_came_before(text):
    questions, said = (part.tolist() for part in marks.tokens(VOCABULARY))
    for row in draws(text):
        asked = [place for place, token in enumerate(row) if token in questions]
        assert asked
        for place in asked:
            kind = said[questions.index(row[place])]
            shown = {token for token in row[:place] if token in kind}
            assert shown == {row[place + 1]}


def test_every_kind_is_shown_before_any_is_asked_for_and_asked_for_equally_often(text):
    questions, said = (part.tolist() for part in marks.tokens(VOCABULARY))
    often = set()
    for row in draws(text):
        first = min(row.index(question) for question in questions)
        assert all(any(token in kind for token in row[:first]) for kind in said)
        counts = {row.count(question) for question in questions}
        assert len(counts) == 1 and len(row) == LENGTH
        often |= counts
    assert min(often) == 1 and max(often) == (LENGTH - marks.KINDS) // (2 * marks.KINDS)


def test_a_trial_has_one_mark_and_asks_for_it(text):
    questions, said = marks.tokens(VOCABULARY)
    for trial in marks.trials(VOCABULARY, text, 200, 12, torch.Generator().manual_seed(2)):
        kind = questions.tolist().index(int(trial.question))
        assert trial.task == "mark" and int(trial.answer) == int(trial.needle) and int(trial.answer) in said[kind].tolist()
        for depth in (0.0, 0.5, 0.95):
            whole = trial.text(200, depth)
            assert len(whole) == 200 and torch.isin(whole, said).sum() == 2
            assert int(torch.isin(whole[:-1], said).nonzero()) == round(depth * (200 - 3))


def test_the_same_generator_draws_the_same(text):
    assert draws(text, 3) == draws(text, 3)
    first, second = (marks.trials(VOCABULARY, text, 100, 2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a.text(100, 0.5), b.text(100, 0.5)) for a, b in zip(first, second, strict=True))


def test_a_row_that_is_too_short_is_refused(text):
    with pytest.raises(ValueError, match="use longer rows"):
        draws(text, 1, length=8)
