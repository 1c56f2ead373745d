"""Reading in chunks: the numbers of an uncached run for every kind of model, and a cache that does not copy itself."""

import hf_models
import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM

from clexlab import evaluation, hf, ode, scaling
from clexlab.evaluation import prefill
from clexlab.hf.state import State

WINDOW = 16
# Float32 attention over other blocks of keys rounds otherwise: some 1e-6 for losses of a few nats.
ROUNDING = dict(abs=2e-5)


def losses(model, factors=(3,), **options):
    texts = [row[0] for row in hf_models.tokens(70, 80, 75)]
    row = evaluation.loss_by_length(model, texts, WINDOW, factors, batch=2, **options).rows[-1]
    return row.whole_by_document + row.last_by_document


@pytest.fixture
def small(monkeypatch):
    """Texts of more than 20 tokens are read in chunks of a few tokens, logits three positions at a time."""
    monkeypatch.setattr(prefill, "AT_ONCE", 20)
    monkeypatch.setattr(prefill, "TOKENS", 13)
    monkeypatch.setattr(prefill, "PAIRS", 2 * 7 * 40)
    monkeypatch.setattr(prefill, "FEW_LOGITS", 2 * 3 * hf_models.VOCABULARY)


def lively_clex(model):
    field = ode.fill_normal(ode.BoundedField(8), 0.3, torch.Generator().manual_seed(0))
    return scaling.CLEX(head_dim=16, base=1e4, window=WINDOW, max_factor=8.0, field=field)


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
def test_chunks_give_the_loss_of_one_reading_on_every_architecture(tiny, monkeypatch, request):
    model = tiny.build(window=WINDOW)
    at_once = losses(model)
    request.getfixturevalue("small")
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    assert losses(model) == pytest.approx(at_once, **ROUNDING)
    assert max(seen) <= 13


# Every semantics with the schedule that changes the factor at every token, every schedule with the semantics read with.
WAYS = [dict(cache=cache.name, schedule=hf.Exact()) for cache in hf.CACHES] + [dict(schedule=schedule()) for schedule in hf.SCHEDULES]
WAYS += [dict(factor=4.0), dict(cache="rerotate", factor=4.0)]


@pytest.mark.parametrize("path", [lambda model: hf.scaling_for(model, scaling.YaRN), lively_clex], ids=["yarn", "clex"])
def test_chunks_give_the_uncached_loss_under_all_semantics_and_schedules(path, request):
    model = hf_models.by_name("llama").build(window=WINDOW)
    plain, path, runs = losses(model, (2.5,)), path(model), []
    for name in ("at once", "small"):
        if name == "small":
            request.getfixturevalue("small")
        found = []
        for way in WAYS:
            with hf.extended(model, path, **way):
                found.append(losses(model, (2.5,)))
                rotary = hf.rotary_of(model)
                # The reading's plan and semantics end with it.
                assert rotary.cache.name == way.get("cache", "frozen") and rotary.running.planned is None
        runs.append(found)
    for way, one, other in zip(WAYS, *runs, strict=True):
        assert other == pytest.approx(one, **ROUNDING), way
        # The factor matters here: a run at another one would be told apart.
        assert max(abs(a - b) for a, b in zip(one, plain, strict=True)) > 1e-3


def test_recall_in_chunks_is_recall_at_once(request):
    model = hf_models.by_name("llama").build(window=32, vocab_size=200)
    filler = torch.randint(1, 200, (300,), generator=torch.Generator().manual_seed(0))
    trials = evaluation.copies(200, [filler], 128, 3, torch.Generator().manual_seed(0))
    with hf.extended(model, hf.scaling_for(model, scaling.YaRN), cache="rerotate"):
        ask = lambda: evaluation.recall(model, trials, 32, (2, 4), (0.2, 0.9), batch=2)  # noqa: E731
        at_once = ask()
        request.getfixturevalue("small")
        in_chunks = ask()
    for one, other in zip(at_once.rows, in_chunks.rows, strict=True):
        assert other.loss_by_trial == pytest.approx(one.loss_by_trial, **ROUNDING) and other.accuracy_by_trial == one.accuracy_by_trial


def test_an_error_in_the_middle_leaves_the_model_as_it_was(small, monkeypatch):
    model = hf_models.by_name("llama").build(window=WINDOW)

    def fail(part, logits):
        raise KeyboardInterrupt

    with hf.extended(model, hf.scaling_for(model, scaling.YaRN), cache="refill"):
        with torch.no_grad(), pytest.raises(KeyboardInterrupt):
            prefill.read(model, hf_models.tokens(48)[0], range(48), fail)
        rotary = hf.rotary_of(model)
        assert rotary.cache is hf.Refill and rotary.running.planned is None and "forward" not in vars(model.model)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_stock_rope_that_follows_the_length_is_read_at_once(kind, small):
    parameters = {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": WINDOW}
    if kind == "longrope":
        parameters |= {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    config = hf_models.by_name("llama").make_config(window=4 * WINDOW, rope_parameters=parameters)
    model = hf_models.sharpen(LlamaForCausalLM(config)).eval()
    assert not prefill.can_chunk(model) and prefill.can_chunk(hf_models.by_name("llama").build())
    text = hf_models.tokens(49)[0]
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(text[:, :-1]).logits[0], text[0, 1:]).item()
    row = evaluation.loss_by_length(model, [text[0]], WINDOW, (3,)).rows[0]
    assert row.whole == pytest.approx(expected, **ROUNDING)


@pytest.mark.parametrize(("rows", "length"), [(1, 32_768), (4, 10_000), (3, 4097), (1, 1), (512, 5000)])
def test_chunks_cover_the_text_and_keep_their_pairs(rows, length):
    sizes = prefill.chunks(rows, length)
    assert sum(sizes) == length and min(sizes) >= 1 and max(sizes) <= prefill.TOKENS
    end = 0
    for size in sizes:
        end += size
        # One token of every row is the least.
        assert rows * size * end <= prefill.PAIRS or size == 1


def test_a_room_holds_what_transformers_cache_holds_without_moving_it():
    generator = torch.Generator().manual_seed(0)
    cache, room = DynamicCache(), DynamicCache()
    room.layers = [prefill.Room(12)]
    places = set()
    for new in (5, 1, 6):
        keys, values = torch.randn(2, 2, 3, new, 4, generator=generator)
        for one, other in zip(cache.update(keys, values, 0), room.update(keys, values, 0), strict=True):
            assert torch.equal(one, other)
        places.add(room.layers[0].keys.data_ptr())
        assert cache.get_seq_length() == room.get_seq_length() and cache.get_mask_sizes(3, 0) == room.get_mask_sizes(3, 0)
    assert len(places) == 1 and State.of(room) is None
