"""Objectives: explicit loops, no divergence from oneself, gradients for the pupil alone, bad input."""

import copy
import math

import hf_models
import pytest
import torch
from hf_training import WINDOW, Stretched, batch, build, lively

import clexlab
from clexlab.objectives import Distilled, NextToken, Objective
from clexlab.positions import FixedFactor, PerRow, SkipWise


def pupil(sampler: object):
    return clexlab.extend(build(1), lively(), positions=sampler).train()


def terms(objective, model, tokens, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return objective(model, tokens)


def log_softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    total = math.log(sum(math.exp(score - top) for score in scores)) + top
    return [score - total for score in scores]


@torch.no_grad()
def test_both_terms_are_the_sums_written_out():
    teacher, model, tokens = build(1), pupil(Stretched((3.0,))), batch(rows=2)[:, :5]
    found = terms(Distilled(teacher, weight=0.5), model, tokens)
    torch.manual_seed(0)
    logits, wanted = model(input_ids=tokens, use_cache=False).logits.tolist(), teacher(input_ids=tokens, use_cache=False).logits.tolist()
    for row in range(2):
        loss, kl = 0.0, 0.0
        for place in range(4):
            p, q = log_softmax(wanted[row][place]), log_softmax(logits[row][place])
            loss -= q[int(tokens[row, place + 1])] / 4
            kl += sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True)) / 4
        assert found["next"][row].item() == pytest.approx(loss, rel=1e-5)
        assert found["distilled"][row].item() == pytest.approx(0.5 * kl, rel=1e-4)
    assert found["distilled"].min() > 0.01


@pytest.mark.parametrize("sampler", [SkipWise(window=WINDOW, factors=FixedFactor(1)), PerRow(Stretched((1.0,)))], ids=["shared", "rows"])
def test_a_model_at_factor_one_and_ordinary_positions_is_its_own_teacher(sampler):
    model, ordinary = pupil(sampler), isinstance(sampler, SkipWise)
    found = terms(Distilled(build(1)), model, batch())["distilled"]
    # Positions of another kind are another text to the model, even at factor 1.
    assert bool((found < 1e-6).all()) == ordinary and bool((found > 1e-3).all()) != ordinary
    found.mean().backward()
    worst = max(weight.grad.abs().max().item() for weight in model.parameters() if weight.grad is not None)
    # At its minimum a divergence is flat.
    assert (worst < 1e-5) == ordinary


def test_gradients_reach_the_model_and_its_path_and_never_the_teacher():
    teacher, model = build(1), pupil(Stretched((3.0,)))
    before = copy.deepcopy(teacher.state_dict())
    terms(Distilled(teacher.train()), model, batch())["distilled"].mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for name, weight in model.named_parameters())
    assert all(weight.grad is None for weight in teacher.parameters()) and not teacher.training
    assert all(torch.equal(before[name], weight) for name, weight in teacher.state_dict().items())


def test_the_next_token_term_and_the_draws_are_those_of_plain_training():
    model, tokens = pupil(PerRow(Stretched())), batch()
    plain = terms(NextToken(), model, tokens, seed=3)["next"]
    assert torch.equal(terms(Distilled(build(1)), model, tokens, seed=3)["next"], plain)
    assert isinstance(Distilled(build(1)), Objective)


def test_a_step_down_its_slope_brings_the_model_closer_to_the_teacher():
    model, objective = pupil(Stretched((3.0,))), Distilled(build(1))
    before = terms(objective, model, batch())["distilled"].mean()
    before.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 1e-3 * weight.grad
        assert terms(objective, model, batch())["distilled"].mean() < before


def test_bad_teachers_weights_and_rows_are_refused(unchecked):
    model = build(1)
    with pytest.raises(ValueError, match="teacher is 'base'; pass a loaded model"):
        Distilled("base")
    for weight in (0, -1.0, math.nan, "1"):
        with pytest.raises(ValueError, match="weight is .*or use NextToken"):
            Distilled(model, weight=weight)
    with pytest.raises(ValueError, match="teacher is the model itself"):
        Distilled(model)(model, batch())
    with pytest.raises(ValueError, match=f"17 tokens and the teacher's window is {WINDOW}"):
        Distilled(build(1))(model, hf_models.tokens(17)[0])
