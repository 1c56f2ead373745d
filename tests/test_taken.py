"""Tokens taken at drawn positions: the model reads what stands there, at that distance; the loss is of learned tokens; bad input."""

import pytest
import torch
from hf_training import LENGTH, WINDOW, build, learner, lively
from torch.nn import functional

import clexlab
from clexlab.objectives import Objective
from clexlab.positions import ChunkSegments, Contiguous, Draw, FixedFactor, PerRow, PrefixSegments, SkipWise
from clexlab.taken import TakenAt

LONG = 3 * WINDOW
CHUNKS, PREFIX = (kind(window=WINDOW, factors=FixedFactor(3.0)) for kind in (ChunkSegments, PrefixSegments))


def texts(rows: int = 2) -> torch.Tensor:
    return torch.randint(2, 60, (rows, LONG), generator=torch.Generator().manual_seed(0))


def losses(objective: TakenAt, model: torch.nn.Module, tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return objective(model, tokens)["next"]


@pytest.mark.parametrize("sampler", [CHUNKS, PREFIX, PerRow(CHUNKS)], ids=["chunks", "prefix", "per_row"])
def test_the_loss_is_that_of_the_tokens_at_their_positions_in_a_loop(sampler):
    model, tokens = clexlab.extend(build(), lively(), factor=3.0).train(), texts()
    found = losses(TakenAt(sampler, LENGTH), model, tokens, seed=3)
    torch.manual_seed(3)
    each = sampler.draw_rows(2, LENGTH, torch.default_generator) if isinstance(sampler, PerRow) else None
    draws = each or [sampler.draw(LENGTH, torch.default_generator)] * 2
    for row, draw, loss in zip(tokens, draws, found, strict=True):
        places = [int(p) for p in draw.positions]
        # Real tokens follow their positions.
        taken = torch.stack([row[p] for p in places])[None]
        logits = model(input_ids=taken, position_ids=torch.tensor([places]), attention_mask=torch.ones_like(taken)).logits[0]
        targets = [k for k in range(1, LENGTH) if draw.learned is None or draw.learned[k]]
        alone = [functional.cross_entropy(logits[k - 1], taken[0, k]) for k in targets]
        torch.testing.assert_close(loss, torch.stack(alone).mean(), rtol=1e-4, atol=1e-5)


def test_attention_is_not_cut_at_the_jumps():
    # A changed first piece must change what follows the jump.
    model, tokens, changed = build().train(), texts(1), texts(1)
    positions = torch.tensor([0.0, 1.0, 20.0, 21.0])

    class Given:
        def draw(self, length: int, generator: torch.Generator) -> Draw:
            return Draw(positions, 3.0, learned=torch.tensor([False, False, False, True]))

    changed[0, 0] = (changed[0, 0] + 1) % 60
    assert losses(TakenAt(Given(), 4), model, tokens) != losses(TakenAt(Given(), 4), model, changed)


def test_contiguous_positions_are_plain_training():
    model, tokens = build().train(), texts()[:, :LENGTH]
    objective = TakenAt(Contiguous(), LENGTH)
    assert isinstance(objective, Objective)
    plain = torch.stack([model(input_ids=row[None], labels=row[None]).loss for row in tokens])
    torch.testing.assert_close(losses(objective, model, tokens), plain, rtol=1e-4, atol=1e-5)


def test_a_model_that_draws_positions_itself_is_refused():
    with pytest.raises(ValueError, match="extend it without positions"):
        losses(TakenAt(CHUNKS, LENGTH), learner(), texts())


def test_a_text_that_ends_before_the_positions_is_refused():
    skipping = SkipWise(window=WINDOW, factors=FixedFactor(200.0))
    with pytest.raises(ValueError, match="give longer rows"):
        losses(TakenAt(skipping, LENGTH), build(), texts())


def test_a_mask_of_the_loss_is_refused_where_nothing_minds_it():
    with pytest.raises(ValueError, match="train with taken.TakenAt"):
        learner(PREFIX)(input_ids=texts()[:, :LENGTH])


@pytest.mark.parametrize("sampler, length", [(None, 4), (CHUNKS, 1), (CHUNKS, 4.0)])
def test_what_takes_no_tokens_is_refused(sampler, length, unchecked):
    with pytest.raises(ValueError, match="pass a sampler|length is"):
        TakenAt(sampler, length)
