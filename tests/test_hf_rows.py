"""Every row of a batch at positions and a factor of its own: each row is what it would be alone, forward and backward."""

from dataclasses import dataclass

import hf_models
import pytest
import torch
from hf_training import FIELD, WINDOW, Stretched, batch, build, gradients, learner, lively, loss
from torch import nn

import clexlab
from clexlab import hf, scaling
from clexlab.positions import Contiguous, Draw, LogUniformFactors, PerRow, SkipWise
from clexlab.scaling import CLEX

# The same float32 sums in batches of another size.
ROUNDING = dict(rtol=1e-4, atol=2e-5)
ROWS = 4


@dataclass
class Replayed:
    """A sampler that gives what was drawn before."""

    drawn: Draw

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        return self.drawn


@dataclass
class Given:
    """Draws that are given, one for each row."""

    drawn: list[Draw]

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        return self.drawn[0]

    def draw_rows(self, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
        return self.drawn


def draws(window: int, length: int, rows: int = ROWS) -> list[Draw]:
    """Four factors; the last row has that of the second, so that there are fewer factors than rows."""
    sampler = SkipWise(window=window, factors=LogUniformFactors(4.0))
    drawn = [sampler.draw(length, torch.Generator().manual_seed(seed)) for seed in range(rows)]
    return [*drawn[:-1], Draw(drawn[-1].positions, drawn[1].factor)]


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
@torch.no_grad()
def test_every_row_of_every_architecture_is_what_it_is_alone(tiny):
    window, length = hf_models.WINDOW, 20
    tokens = torch.cat(hf_models.tokens(*[length] * ROWS))
    drawn = draws(window, length)
    model = tiny.build(2)
    path = hf.scaling_for(model, scaling.YaRN)

    def logits(tokens, sampler):
        with clexlab.extended(model, path, positions=sampler):
            return model.train()(input_ids=tokens, use_cache=False).logits

    together = logits(tokens, Given(drawn))
    alone = torch.cat([logits(tokens[[row]], Replayed(draw)) for row, draw in enumerate(drawn)])
    torch.testing.assert_close(together, alone, **ROUNDING)
    # And it matters: with the first row's draw for all of them the others are far off.
    shared = logits(tokens, Replayed(drawn[0]))
    assert bool(((shared - together)[1:].abs().amax((1, 2)) > 0.02).all())


def extended(sampler, path: scaling.Path | None = None) -> nn.Module:
    return clexlab.extend(build(), lively() if path is None else path, positions=sampler).train()


def test_gradients_are_the_mean_of_the_rows_own():
    tokens, drawn = batch(rows=ROWS), draws(WINDOW, 12)
    together = extended(Given(drawn))
    loss(together, tokens).backward()
    alone = [extended(Replayed(draw)) for draw in drawn]
    for row, model in enumerate(alone):
        loss(model, tokens[[row]]).backward()
    found, each = gradients(together), [gradients(model) for model in alone]
    assert any(FIELD in name for name in found)
    for name, gradient in found.items():
        # Sharp scores multiply the rounding of float32 by about ten on the way back.
        torch.testing.assert_close(gradient, sum(one[name] for one in each) / ROWS, rtol=1e-3, atol=2e-4)


def test_all_factors_of_a_batch_are_one_solve(monkeypatch):
    asked, residual = [], CLEX.residual
    monkeypatch.setattr(CLEX, "residual", lambda path, factor: asked.append(factor) or residual(path, factor))
    loss(extended(Given(draws(WINDOW, 12))), batch(rows=ROWS))
    assert [len(factor) for factor in asked[-1:]] == [ROWS - 1]
    before = len(asked)
    model = learner(PerRow(Stretched()))
    checks = len(asked) - before
    loss(model, batch(rows=ROWS))
    # What `extend` asks of a path, and one solve for the step.
    assert len(asked) - before - checks == 1


def test_gradient_checkpointing_changes_no_bit():
    plain, saving = (learner(PerRow(Stretched())) for _ in range(2))
    saving.gradient_checkpointing_enable()
    for model in (plain, saving):
        loss(model, batch(rows=ROWS)).backward()
    found, wanted = gradients(saving), gradients(plain)
    assert found.keys() == wanted.keys() and any(FIELD in name for name in found)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_draws_follow_the_global_generator_in_training_and_are_off_in_eval():
    model = learner(PerRow(Stretched()))
    tokens = batch(rows=ROWS)
    assert loss(model, tokens, seed=1) == loss(model, tokens, seed=1) != loss(model, tokens, seed=2)
    model.eval()
    assert loss(model, tokens, seed=1) == loss(model, tokens, seed=2)


def test_one_row_and_rows_that_happen_to_agree_are_the_shared_draw():
    row, tokens = PerRow(Stretched((3.0,))), batch(rows=1)
    assert loss(learner(row), tokens, seed=4) == loss(learner(Stretched((3.0,))), tokens, seed=4)
    drawn = draws(WINDOW, 12)[0]
    found = loss(extended(Given([drawn] * ROWS)), batch(rows=ROWS))
    torch.testing.assert_close(found, loss(extended(Replayed(drawn)), batch(rows=ROWS)), **ROUNDING)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows_have_their_own_draws_too(side):
    """The mask hides the padding; what is seen is the row at the drawn positions of its own places."""
    drawn = draws(WINDOW, 12, rows=2)
    long, short = hf_models.tokens(12, 7)
    model = extended(Given(drawn))
    logits = model(**hf_models.pad([long, short], side), use_cache=False).logits
    seen = slice(5, 12) if side == "left" else slice(0, 7)
    cut = Draw(drawn[1].positions[seen], drawn[1].factor)
    alone = extended(Replayed(cut))(input_ids=short, use_cache=False).logits
    torch.testing.assert_close(logits[1:, seen], alone, **ROUNDING)


def test_a_cast_model_keeps_angles_of_its_rows_in_float32():
    model = learner(PerRow(Stretched((3.0, 2.0)))).to(torch.bfloat16)
    value = loss(model, batch(rows=ROWS))
    value.backward()
    field = {name: weight for name, weight in model.named_parameters() if FIELD in name}
    assert value.isfinite() and all(weight.grad.dtype == torch.float32 and weight.grad.any() for weight in field.values())


def test_a_sampler_that_reaches_beyond_the_path_or_another_window_is_refused_inside_perrow_too():
    for wrong in (SkipWise(window=WINDOW, factors=LogUniformFactors(64.0)), SkipWise(window=8, factors=LogUniformFactors(2.0))):
        with pytest.raises(ValueError, match="build both on the same numbers"):
            extended(PerRow(wrong))


def test_a_wrong_number_of_draws_is_refused():
    with pytest.raises(ValueError, match="Given gave 3 draws for 4 rows"):
        loss(extended(Given(draws(WINDOW, 12, rows=3))), batch(rows=4))


def test_contiguous_rows_at_factors_of_their_own_train():
    model = extended(PerRow(Contiguous(factors=LogUniformFactors(4.0))))
    loss(model, batch(rows=ROWS)).backward()
    assert all(weight.grad.any() for name, weight in model.named_parameters() if FIELD in name)
