"""The look-back model: its weights give its scores, its task is what it says, and it learns it."""

import math

import pytest
import torch

from clexlab import bounds, toy


@pytest.fixture(scope="module")
def trained() -> toy.LookBack:
    return toy.train_look_back(torch.Generator().manual_seed(0), window=16, steps=400)


def test_coefficients_reproduce_the_scores_of_the_forward_pass(generator):
    """Softmax weights recomputed from bounds.scores and the coefficients give the same logits at every position."""
    model = toy.LookBack(generator, reach=8)
    tokens = torch.randint(16, (1, 8), generator=generator)
    questions = torch.randint(8, (1, 8), generator=generator)
    h = model.coefficients()
    for position in range(8):
        scores = torch.stack(
            [
                bounds.scores(h[questions[0, position], tokens[0, key]], torch.tensor([float(position - key)]), model.inv_freq)[0]
                for key in range(position + 1)
            ]
        )
        expected = scores.softmax(-1).float() @ model.values[tokens[0, : position + 1]]
        # float32 attention against float64 scores of size up to 10.
        torch.testing.assert_close(model(tokens, questions)[0, position], expected, rtol=1e-4, atol=1e-4)


def test_answers_stand_as_many_tokens_back_as_the_question_says(generator):
    model = toy.LookBack(generator, reach=5)
    tokens, questions, answers, exists = toy.look_back_batch(generator, model, 4, 9)
    for text in range(4):
        for position in range(9):
            source = position - questions[text, position].item()
            assert exists[text, position].item() is (source >= 0)
            if source >= 0:
                assert answers[text, position] == tokens[text, source]


def test_training_learns_the_task_within_its_window(generator, trained):
    assert toy.accuracy(generator, trained, 16) > 0.95
    assert toy.accuracy(generator, toy.LookBack(generator, 16), 16) < 0.5


def test_trained_scores_crest_at_the_distance_they_ask_for(trained):
    scores = bounds.scores(trained.coefficients().mean(1), torch.arange(16.0), trained.inv_freq)
    assert (scores.argmax(-1) == torch.arange(16)).float().mean() > 0.9


def test_trained_coefficients_keep_the_sharp_bound(trained):
    h = trained.coefficients().flatten(0, 1)
    fine = torch.arange(0, 15 * 8, dtype=torch.float64) / 8
    deviation = bounds.scores(h, fine, trained.inv_freq) - bounds.linear_interpolation(h, fine, trained.inv_freq)
    limit = bounds.sharp(torch.tensor([0.5]), trained.inv_freq) * h.abs().amax(-1)
    assert (deviation.abs().amax(-1) <= limit + 1e-12).all()


def test_factor_divides_the_positions(generator):
    model = toy.LookBack(generator, reach=8)
    tokens, questions, _, _ = toy.look_back_batch(generator, model, 2, 16)
    halved = toy.LookBack(torch.Generator(), reach=8)
    halved.load_state_dict(model.state_dict())
    halved.inv_freq = model.inv_freq / 2
    torch.testing.assert_close(model(tokens, questions, factor=2.0), halved(tokens, questions))


def test_two_runs_from_one_seed_are_equal():
    first, second = (toy.train_look_back(torch.Generator().manual_seed(1), 8, 5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("options", [dict(reach=0), dict(reach=4, vocabulary=1), dict(reach=4, head_dim=7), dict(reach=4, base=1.0)])
def test_bad_sizes_are_refused(generator, options):
    with pytest.raises(ValueError, match="must be"):
        toy.LookBack(generator, **options)


@pytest.mark.parametrize("factor", [0.5, math.nan])
def test_bad_factors_are_refused(generator, factor):
    model = toy.LookBack(generator, reach=4)
    tokens, questions, _, _ = toy.look_back_batch(generator, model, 1, 4)
    with pytest.raises(ValueError, match="factor"):
        model(tokens, questions, factor)
