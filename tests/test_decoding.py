"""Cached against uncached decoding: the short cuts against the honest run, exactness where it is promised, the stock bug."""

import copy

import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM

from clexlab import decoding, hf, ode, scaling

WINDOW, LENGTH = 16, 52
# Logits of these models have a standard deviation of 0.1; float32 rounding of 1e-6 in them is a KL of about 1e-13.
ROUNDING = 1e-11
SMALL = dict(head_dim=16, base=1e4, window=WINDOW)


@pytest.fixture
def tokens(generator):
    return torch.randint(97, (LENGTH,), generator=generator)


@pytest.fixture(params=[1, 3], ids=lambda layers: f"{layers} layers")
def model(request, generator):
    return decoding.random_llama(generator, request.param, WINDOW)


@pytest.fixture
def deep(generator):
    return decoding.random_llama(generator, 3, WINDOW)


def learned(generator):
    field = ode.fill_normal(ode.BoundedField(8, generator=generator), 0.3, generator)
    return scaling.CLEX(**SMALL, max_factor=8.0, field=field)


PATHS = [scaling.DynamicNTK(**SMALL), scaling.YaRN.default(**SMALL), learned(torch.Generator().manual_seed(1))]


def by_hand(model, path, tokens, semantics, schedule):
    """The honest run: a forward per length and no chunk. Uncached and cached logits, (tokens, vocabulary) each."""
    planned = schedule.factor(path, len(tokens)) if semantics is hf.Frozen else None
    factors = [planned or schedule.factor(path, n) for n in range(1, len(tokens) + 1)]
    uncached, cached, cache = [], [], DynamicCache()
    for factor in sorted(set(factors)):
        with hf.extended(model, path, factor=factor):
            for n in [n for n, each in enumerate(factors, start=1) if each == factor]:
                uncached.append(model(tokens[None, :n], use_cache=False).logits[0, -1])
    with hf.extended(model, path, cache="rerotate", factor=planned, schedule=schedule):
        if semantics is decoding.Stale:
            hf.rotary_of(model).cache = decoding.Stale
        for n in range(1, len(tokens) + 1):
            if semantics is hf.Refill and n > 1 and factors[n - 1] != factors[n - 2]:
                cache = DynamicCache()
            cached.append(model(tokens[None, cache.get_seq_length() : n], past_key_values=cache).logits[0, -1])
    return torch.stack(uncached), torch.stack(cached)


HONEST = [(path, schedule) for path in PATHS[:2] for schedule in (hf.Whole(), hf.Doubling())] + [(PATHS[2], hf.Doubling())]


@pytest.mark.parametrize(("path", "schedule"), HONEST, ids=lambda item: item.name)
@pytest.mark.parametrize("semantics", decoding.SEMANTICS, ids=lambda semantics: semantics.name)
@torch.no_grad()
def test_one_forward_and_one_chunk_a_step_give_what_a_forward_per_token_gives(deep, tokens, path, semantics, schedule):
    # CLEX solves its flow at every forward: two steps of the factor must do.
    tokens = tokens[:36] if path.name == "clex" else tokens
    found = decoding.compare(deep, path, tokens, semantics, schedule)
    uncached, cached = (logits.double().log_softmax(-1) for logits in by_hand(deep, path, tokens[:-1], semantics, schedule))
    expected = (uncached.exp() * (uncached - cached)).sum(-1)
    # A difference of 1e-6 in logits moves a KL of 1e-2 by about 1e-6 · its square root.
    torch.testing.assert_close(found.divergence, expected.clamp(min=0), rtol=1e-3, atol=1e-8)
    follows = tokens[1:, None]
    torch.testing.assert_close(found.loss_uncached, -uncached.gather(-1, follows)[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.loss_cached, -cached.gather(-1, follows)[:, 0], rtol=0, atol=1e-5)
    assert torch.equal(found.same, uncached.argmax(-1) == cached.argmax(-1))


@pytest.mark.parametrize("semantics", [hf.Frozen, hf.Refill], ids=lambda semantics: semantics.name)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_frozen_and_refill_are_exact_at_any_depth(model, tokens, path, semantics):
    found = decoding.compare(model, path, tokens, semantics)
    assert found.divergence.max() < ROUNDING and found.same.all()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_turned_keys_are_exact_in_one_layer_and_not_in_three(generator, tokens, path):
    shallow, deep = (decoding.random_llama(generator, layers, WINDOW) for layers in (1, 3))
    assert decoding.compare(shallow, path, tokens, hf.Rerotate).divergence.max() < ROUNDING
    found = decoding.compare(deep, path, tokens, hf.Rerotate)
    assert found.divergence[WINDOW:].mean() > 1e-4
    assert found.divergence[WINDOW:].mean() < decoding.compare(deep, path, tokens, decoding.Stale).divergence[WINDOW:].mean()


def test_within_the_window_nothing_disagrees_and_past_it_stale_keys_do(model, tokens):
    found = decoding.compare(model, PATHS[0], tokens, decoding.Stale)
    assert found.divergence[:WINDOW].max() < ROUNDING < 1e-4 < found.divergence[WINDOW:].mean()


def test_stale_keys_are_what_stock_transformers_does(deep, tokens):
    config = copy.deepcopy(deep.config)
    config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    stock = LlamaForCausalLM(config).eval()
    stock.load_state_dict(deep.state_dict())
    honest = decoding.token_by_token(stock, tokens)
    # Its factor follows every token, t = n/L: the schedule `Exact` and the path with rate 2.
    ours = decoding.compare(deep, scaling.DynamicNTK(**SMALL, rate=2.0), tokens, decoding.Stale, hf.Exact())
    assert honest.divergence[WINDOW:].mean() > 1e-3
    torch.testing.assert_close(ours.divergence, honest.divergence, rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(ours.loss_uncached, honest.loss_uncached, rtol=0, atol=1e-5)


def test_a_model_as_it_stands_agrees_with_itself(deep, tokens):
    assert decoding.token_by_token(deep, tokens).divergence.max() < ROUNDING


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (hf.Whole(), [(0, 16, 1.0), (16, 32, 2.0), (32, 48, 3.0), (48, 64, 4.0), (64, 70, 5.0)]),
        (hf.Doubling(), [(0, 16, 1.0), (16, 32, 2.0), (32, 64, 4.0), (64, 70, 8.0)]),
    ],
)
def test_steps_share_a_factor_and_cover_the_text(schedule, expected):
    assert [(step.start, step.stop, step.factor) for step in decoding.steps(PATHS[0], schedule, 70)] == expected


def test_every_length_but_the_last_is_compared_and_the_changes_are_named(deep, tokens):
    found = decoding.compare(deep, PATHS[1], tokens[:49], hf.Rerotate, top=3)
    assert found.lengths.tolist() == list(range(1, 49))
    assert found.changes == [17, 33] and found.factors[[15, 16, 47]].tolist() == [1, 2, 3]
    assert found.top_cached.shape == found.weight_uncached.shape == (48, 3)
    assert (found.same == (found.top_cached[:, 0] == found.top_uncached[:, 0])).all()
    assert found.among(found.lengths > 40).lengths.tolist() == list(range(41, 49))


def test_the_last_token_is_looked_for_and_not_read(deep, tokens):
    path = scaling.CLEX(**SMALL, max_factor=3.0)
    for semantics in decoding.SEMANTICS:
        found = decoding.compare(deep, path, tokens[: 3 * WINDOW + 1], semantics)
        assert len(found.lengths) == 3 * WINDOW and found.factors[-1] == 3


def test_the_model_is_left_as_it_was_also_after_an_error(deep, tokens):
    before = deep(tokens[None]).logits
    decoding.compare(deep, PATHS[0], tokens, decoding.Stale)
    with pytest.raises(ValueError, match="max_factor"):
        decoding.compare(deep, learned(torch.Generator()), tokens.repeat(3), hf.Rerotate)
    assert torch.equal(deep(tokens[None]).logits, before)
    with pytest.raises(ValueError, match="not extended"):
        hf.rotary_of(deep)


def test_what_cannot_be_compared_is_refused(deep, tokens):
    with pytest.raises(ValueError, match="at least two"):
        decoding.compare(deep, PATHS[0], tokens[:1], hf.Frozen)
    with pytest.raises(ValueError, match="model.eval()"):
        decoding.compare(deep.train(), PATHS[0], tokens, hf.Frozen)
    with pytest.raises(ValueError, match="length is 0"):
        decoding.steps(PATHS[0], hf.Whole(), 0)


def test_extend_does_not_take_the_bug(deep):
    for bug in (decoding.Stale, "stale"):
        with pytest.raises(ValueError, match="frozen"):
            hf.extend(deep, PATHS[0], cache=bug)
