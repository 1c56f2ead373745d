"""Objectives that draw with an eye on the tokens: each row at its own sentences and factor, the path follows, and what is refused."""

import pytest
import torch
from hf_training import FIELD, LENGTH, WINDOW, build, learner, lively
from torch import nn

import clexlab
from clexlab import bpe, hf, pocket, scaling
from clexlab.in_sentences import InSentences, sentence_ends
from clexlab.objectives import Objective, next_token_loss
from clexlab.placed import logits_at
from clexlab.positions import (
    ChunkSegments,
    Contiguous,
    Diluted,
    Draw,
    FixedFactor,
    LogUniformFactors,
    PerRow,
    Scattered,
    SkipWise,
    sentence_lengths,
)
from clexlab.taken import TakenAt

ROUNDING = dict(rtol=1e-4, atol=2e-5)
END = 7


def texts(rows: int = 3, length: int = LENGTH) -> torch.Tensor:
    """Rows whose sentences end elsewhere: after 4 and 8 tokens, after 6, nowhere."""
    tokens = torch.randint(10, 60, (rows, length), generator=torch.Generator().manual_seed(0))
    for row, places in zip(tokens, [(3, 7), (5,), ()], strict=False):
        row[list(places)] = END
    return tokens


def objective(factors=LogUniformFactors(4.0), ends: tuple[int, ...] = (END,)) -> InSentences:  # noqa: B008 - an immutable value
    return InSentences(window=WINDOW, factors=factors, ends=ends)


def path(kind: type[scaling.Path] = scaling.YaRN) -> scaling.Path:
    return hf.scaling_for(build(), kind)


def losses(each: Objective, model: nn.Module, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return each(model, tokens)["next"]


class Replayed:
    """A sampler that gives what was drawn before."""

    def __init__(self, *drawn: Draw) -> None:
        self.drawn = list(drawn)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        return self.drawn[0]

    def draw_rows(self, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
        return self.drawn


# ------------------------------------------------------------------------------------------------ draws


def test_every_row_jumps_where_its_own_sentences_begin_at_a_factor_of_its_own():
    tokens, each = texts(), objective()
    for seed in range(5):
        torch.manual_seed(seed)
        draws = each.draws(tokens)
        assert len({draw.factor for draw in draws}) == 3
        for row, draw in zip(tokens, draws, strict=True):
            begins, here = set(), 0
            for size in sentence_lengths(row, each.ends):
                begins.add(here := here + size)
            jumps = {k for k in range(1, LENGTH) if draw.positions[k] - draw.positions[k - 1] > 1}
            # The token where the contiguous part ends may stand alone.
            assert len(jumps - begins) <= 1 and draw.positions[-1] < draw.factor * WINDOW
        assert draws[2].positions.tolist() == list(range(LENGTH))


def test_a_rows_draw_does_not_hang_on_the_rows_before_it():
    tokens, changed = texts(), texts()
    changed[0] = END
    torch.manual_seed(3)
    before = objective().draws(tokens)
    torch.manual_seed(3)
    after = objective().draws(changed)
    assert torch.equal(before[1].positions, after[1].positions) and before[1].factor == after[1].factor
    assert not torch.equal(before[0].positions, after[0].positions)


def test_two_processes_draw_for_their_own_rows_what_one_would(monkeypatch):
    tokens, skipping = texts(4), PerRow(SkipWise(window=WINDOW, factors=LogUniformFactors(4.0)))
    drawn = []

    def kept(model: nn.Module, taken: torch.Tensor, draws: list[Draw], sampler: object) -> torch.Tensor:
        drawn.extend(draws)
        return torch.zeros(*taken.shape, 64)

    monkeypatch.setattr("clexlab.taken.logits_at", kept)
    torch.manual_seed(0)
    alone = objective().draws(tokens)
    losses(TakenAt(skipping, LENGTH), build(), texts(4, 4 * WINDOW))
    taken, found, sharing = list(drawn), [], torch.distributed
    monkeypatch.setattr(sharing, "is_initialized", lambda: True)
    monkeypatch.setattr(sharing, "get_world_size", lambda: 2)
    drawn.clear()
    for rank in range(2):
        monkeypatch.setattr(sharing, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        found += objective().draws(tokens[2 * rank : 2 * rank + 2])
        losses(TakenAt(skipping, LENGTH), build(), texts(4, 4 * WINDOW)[2 * rank : 2 * rank + 2])
    for one, other in ((alone, found), (taken, drawn)):
        assert [(draw.positions.tolist(), draw.factor) for draw in one] == [(draw.positions.tolist(), draw.factor) for draw in other]


# ------------------------------------------------------------------------------------------------ what the model gets


@pytest.mark.parametrize("factors", [LogUniformFactors(4.0), FixedFactor(3.0)], ids=["drawn", "fixed"])
@pytest.mark.parametrize("learned", [True, False], ids=["clex", "yarn"])
def test_a_row_is_what_it_is_alone_at_its_positions_and_factor(factors, learned):
    given = lively() if learned else path()
    tokens, each, model = texts(), objective(factors), clexlab.extend(build(), given).train()
    found = losses(each, model, tokens)
    torch.manual_seed(0)
    for row, draw, loss in zip(tokens, each.draws(tokens), found, strict=True):
        # The other way in: a sampler inside the model, and a row alone.
        alone = clexlab.extend(build(), given, positions=Replayed(draw)).train()
        torch.testing.assert_close(loss, next_token_loss(alone(input_ids=row[None]).logits, row[None])[0], **ROUNDING)
        # And a pinned factor with the positions as position ids.
        pinned = clexlab.extend(build(), given, factor=draw.factor)
        logits = pinned(input_ids=row[None], position_ids=draw.positions.long()[None], attention_mask=torch.ones_like(row[None])).logits
        torch.testing.assert_close(loss, next_token_loss(logits, row[None])[0], **ROUNDING)


def test_taken_tokens_too_stand_at_the_factor_of_their_draw():
    sampler = PerRow(ChunkSegments(window=WINDOW, factors=LogUniformFactors(4.0)))
    tokens, model = texts(2, 4 * WINDOW), clexlab.extend(build(), lively()).train()
    found = losses(TakenAt(sampler, LENGTH), model, tokens)
    torch.manual_seed(0)
    for row, draw, loss in zip(tokens, sampler.draw_rows(2, LENGTH, torch.default_generator), found, strict=True):
        taken = row[draw.positions.long()][None]
        alone = clexlab.extend(build(), lively(), positions=Replayed(draw)).train()
        torch.testing.assert_close(loss, next_token_loss(alone(input_ids=taken).logits, taken)[0], **ROUNDING)


@pytest.mark.parametrize("each", [objective(), TakenAt(SkipWise(window=WINDOW, factors=LogUniformFactors(4.0)), LENGTH)], ids=type)
def test_the_field_learns_and_nothing_stays_behind(each):
    model = clexlab.extend(build(), lively()).train()
    losses(each, model, texts(2, LENGTH if isinstance(each, InSentences) else 4 * WINDOW)).mean().backward()
    assert all(weight.grad.any() for name, weight in model.named_parameters() if FIELD in name)
    assert hf.rotary_of(model).running.draws is None
    plain = clexlab.extend(build(), lively()).train()
    assert torch.equal(model(input_ids=texts()).logits, plain(input_ids=texts()).logits)


def test_far_keys_of_taken_tokens_count_as_often_as_they_would_occur():
    chunks, tokens = ChunkSegments(window=WINDOW, factors=FixedFactor(3.0)), texts(2, 3 * WINDOW)
    model = clexlab.extend(build(), path()).train()
    found = losses(TakenAt(Diluted(chunks), LENGTH), model, tokens)
    torch.manual_seed(0)
    draw = Diluted(chunks).draw(LENGTH, torch.default_generator)
    taken = tokens[:, draw.positions.long()]
    inside = clexlab.extend(build(), path(), positions=Replayed(draw, draw)).train()
    torch.testing.assert_close(found, next_token_loss(inside(input_ids=taken).logits, taken), **ROUNDING)
    assert not torch.allclose(found, losses(TakenAt(chunks, LENGTH), model, tokens), **ROUNDING)


def test_a_model_without_a_path_gets_the_positions_alone():
    tokens, each, model = texts(), objective(), build().train()
    found = losses(each, model, tokens)
    # θ(1) at every factor.
    same = clexlab.extend(build(), path(scaling.Identity)).train()
    torch.testing.assert_close(found, losses(each, same, tokens), **ROUNDING)


def test_one_sentence_is_plain_training_at_factor_one():
    tokens = texts()[2:]
    plain = next_token_loss(build()(input_ids=tokens).logits, tokens)
    torch.testing.assert_close(losses(objective(FixedFactor(1.0)), clexlab.extend(build(), lively()), tokens), plain, **ROUNDING)


def test_an_objective_can_be_told_from_another_by_its_text():
    assert repr(objective()) == f"InSentences(window={WINDOW}, factors=LogUniformFactors(max_factor=4.0), ends=(7,))"
    assert isinstance(objective(), Objective)


# ------------------------------------------------------------------------------------------------ tokenizers


def test_ends_of_the_shipped_tokenizer_cut_a_text_into_its_sentences():
    coder = bpe.load()
    ends = sentence_ends(coder)
    assert sorted(set(ends)) == list(ends) and coder.bos_token_id not in ends
    assert all(coder.decode([token]).rstrip(" \t")[-1] in ".!?\n" for token in ends)
    text = "Is it long? It is! So.\n    if found:\n        return 3.5\n"
    tokens, pieces = torch.tensor(coder(text, add_special_tokens=False)["input_ids"]), []
    for part in tokens.split(list(sentence_lengths(tokens, ends))):
        pieces.append(coder.decode(part.tolist()))
    assert "".join(pieces) == text
    assert [piece.strip() for piece in pieces if piece.strip()] == ["Is it long?", "It is!", "So.", "if found:", "return 3.", "5"]


def test_ends_of_bytes_are_the_marks():
    assert sentence_ends(pocket.tokenizer()) == tuple(sorted(ord(mark) for mark in ".!?\n"))


def test_a_tokenizer_without_marks_has_no_ends(unchecked):
    class Letters:
        all_special_ids = [2]

        def __len__(self) -> int:
            return 3

        def decode(self, tokens: list[int]) -> str:
            return ("a", "b.c", "!")[tokens[0]]

    with pytest.raises(ValueError, match="give the tokens that end a sentence yourself"):
        sentence_ends(Letters())


# ------------------------------------------------------------------------------------------------ refused


BAD = {
    "extend it without positions": (lambda: learner(), objective()),
    "pinned at factor 2 and positions were drawn for 3: extend it without factor, or draw with FixedFactor.2": (
        lambda: clexlab.extend(build(), path(), factor=2.0),
        objective(FixedFactor(3.0)),
    ),
    "factors up to 8; the path has window 16 and ends at 4": (lambda: clexlab.extend(build(), lively()), objective(LogUniformFactors(8.0))),
    "window 12 and factors": (
        lambda: clexlab.extend(build(), path()),
        InSentences(window=12, factors=FixedFactor(2.0), ends=(END,)),
    ),
    "length is 12 and the window 8": (lambda: build(), InSentences(window=8, factors=FixedFactor(2.0), ends=(END,))),
    "need a path that reads their counts": (lambda: build(), TakenAt(Diluted(SkipWise(window=4, factors=FixedFactor(3.0))), 4)),
    "Diluted positions change the attention at every step": (
        lambda: clexlab.extend(build(), path(), factor=3.0),
        TakenAt(Diluted(SkipWise(window=WINDOW, factors=FixedFactor(3.0))), 4),
    ),
    "between whole numbers": (lambda: build(), TakenAt(Scattered(window=8, factors=FixedFactor(1.0)), LENGTH)),
}


@pytest.mark.parametrize("message", BAD)
def test_what_the_model_cannot_follow_is_refused(message):
    model, each = BAD[message]
    with pytest.raises(ValueError, match=message):
        losses(each, model(), texts(2, LENGTH if isinstance(each, InSentences) else 4 * WINDOW))


def test_an_error_in_the_forward_leaves_no_draws_behind():
    model = clexlab.extend(build(), path())
    with pytest.raises(IndexError):
        logits_at(model, torch.full((1, 4), 10_000), [Contiguous().draw(4, torch.Generator())], Contiguous())
    assert hf.rotary_of(model).running.draws is None


@pytest.mark.parametrize("ends", [(), (3, -1), (2.5,)])
def test_what_ends_no_sentence_is_refused(ends, unchecked):
    with pytest.raises(ValueError, match="as sentence_ends.tokenizer. does"):
        objective(ends=ends)
