"""Cached keys under a changing factor: three semantics over architectures, cache classes and ways to generate.

Second sources: uncached runs of a stock model with the method's frequencies put in by hand, and `Official`, the un-rotated
cache of the official CLEX code, written here on `rope.rotate` alone.
"""

import copy
import math
import sys

import hf_models
import pytest
import torch
import transformers
from hf_models import MODELS, by_name
from test_hf_extend import close, logits, method_on, oracle
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, StaticCache
from transformers.masking_utils import eager_mask

import clexlab
from clexlab import hf, rope, scaling

L = 16
MANY = pytest.mark.parametrize("tiny", MODELS, ids=lambda tiny: tiny.name)
# A prompt, single tokens and chunks: the windows' ends at 16 and 32 are passed by a single token, that at 48 within a chunk.
SIZES = (14, 1, 1, 1, 13, 1, 1, 1, 9, 12, 1, 1)
LENGTH = sum(SIZES)
# Logits have a spread of 1; 2e-5 was the most seen, from roundings of angles and of sums. Stale keys give above 0.5.
LOGITS = 2e-4


def make(name, method=scaling.YaRN, layers=2, **options):
    """A tiny model extended with the method, and the path."""
    model = by_name(name).build(layers=layers, window=L)
    path = method_on(model, method, max_factor=8.0)
    return clexlab.extend(model, path, **options), path


def stock_at(name, path, factor, layers=2):
    return oracle(by_name(name), path, factor, layers=layers, window=L)


@torch.no_grad()
def in_parts(model, ids, sizes=SIZES, cache=None, **inputs):
    """Logits of every part, fed one after the other into one cache."""
    outputs, start = [], 0
    for size in sizes:
        out = model(ids[:, start : start + size], past_key_values=cache, use_cache=True, **inputs)
        cache, start = out.past_key_values, start + size
        outputs.append(out.logits)
    return outputs


def whole(n):
    """t = ⌈n/L⌉, written again."""
    return float(max(1, math.ceil(n / L)))


RULES = {"whole": whole, "doubling": lambda n: 2.0 ** math.ceil(math.log2(whole(n))), "exact": lambda n: max(1.0, n / L)}


# --- the official way ------------------------------------------------------------------------------------------------------


class Unturned(torch.nn.Module):
    """A rotary module that turns nothing: cos 1, sin 0, except in local layers, which keep their own angles."""

    def __init__(self, stock):
        super().__init__()
        self.stock = stock

    def forward(self, x, position_ids, layer_type=None):
        cos, sin = self.stock(x, position_ids, *([] if layer_type is None else [layer_type]))
        return (cos, sin) if layer_type == "sliding_attention" else (torch.ones_like(cos), torch.zeros_like(sin))


def turns_here(module):
    """Whether this attention layer follows the path; some layers have no rotary positions, Gemma-3's local ones their own."""
    kind = type(module).__name__
    if kind == "Cohere2Attention":
        return module.sliding_window is not None
    if kind == "Gemma3Attention":
        return module.sliding_window is None
    return bool(getattr(module, "use_rope", True))


class Official:
    """Keys cached un-rotated; at every step all of them and the queries turned with the current θ(t), row by row.

    Its cache always is transformers' DynamicCache; the attention itself stays the architecture's own eager function.
    """

    NAME = "clexlab_test_official"
    now = None

    def __init__(self, tiny, path, layers, rule=whole):
        self.model, self.path, self.rule = tiny.build(layers=layers, window=L), path, rule
        self.pairing = rope.Interleaved if tiny.name in ("cohere", "cohere2", "glm") else rope.HalfSplit
        decoder = next(module for module in self.model.modules() if isinstance(getattr(module, "rotary_emb", None), torch.nn.Module))
        decoder.rotary_emb = Unturned(decoder.rotary_emb)
        AttentionInterface.register(self.NAME, self.attend)
        AttentionMaskInterface.register(self.NAME, eager_mask)
        self.model.set_attn_implementation(self.NAME)
        self.cache = DynamicCache(config=self.model.config)

    @staticmethod
    def attend(module, query, key, value, attention_mask, **options):
        if turns_here(module):
            me, positions, theta, scale = Official.now
            keys = positions[:, -1:] - torch.arange(key.shape[-2] - 1, -1, -1)
            query, key = (me.turned(x, where, theta, scale) for x, where in ((query, positions), (key, keys)))
        return sys.modules[type(module).__module__].eager_attention_forward(module, query, key, value, attention_mask, **options)

    def turned(self, x, positions, theta, scale):
        angles = positions[:, None, :, None] * theta[:, None, None, :]
        width = 2 * theta.shape[-1]
        turned = rope.rotate(x[..., :width], angles.expand(*x.shape[:-1], -1), pairing=self.pairing)
        return torch.cat(((scale[:, None, None, None] * turned).to(x.dtype), x[..., width:]), -1)

    @torch.no_grad()
    def __call__(self, ids, positions, **inputs):
        factors = [self.rule(n) for n in (positions[:, -1] + 1).tolist()]
        theta = torch.stack([self.path.inv_freq(factor).detach() for factor in factors])
        Official.now = (self, positions, theta, torch.tensor([self.path.attention_scale(factor) for factor in factors]))
        return self.model(ids, position_ids=positions, past_key_values=self.cache, **inputs).logits


# Falcon's attention cannot be replaced by a registered function; it is compared with its uncached run below.
REPLACEABLE = pytest.mark.parametrize("tiny", [tiny for tiny in MODELS if tiny.name != "falcon"], ids=lambda tiny: tiny.name)


def compare_with_official(tiny, method, layers, cache=None, schedule=None):
    schedule = schedule or hf.Whole()
    model = tiny.build(layers=layers, window=L)
    # The same attention on both sides: some versions leave Gemma-2's soft cap out of the fused one.
    model.set_attn_implementation("eager")
    path = method_on(model, method, max_factor=8.0)
    clexlab.extend(model, path, cache="rerotate", schedule=schedule)
    official, start = Official(tiny, path, layers, RULES[schedule.name]), 0
    ids = hf_models.tokens(LENGTH)[0]
    for size, given in zip(SIZES, in_parts(model, ids, cache=cache and cache(model.config)), strict=True):
        positions = torch.arange(start, start + size)[None].expand(ids.shape[0], -1)
        close(given, official(ids[:, start : start + size], positions), LOGITS)
        start += size


@REPLACEABLE
def test_rerotate_is_the_official_un_rotated_cache(tiny):
    compare_with_official(tiny, scaling.YaRN, layers=3)


def test_rerotate_is_the_official_un_rotated_cache_in_one_layer():
    compare_with_official(by_name("llama"), scaling.YaRN, layers=1)


@pytest.mark.parametrize("schedule", hf.SCHEDULES)
def test_rerotate_is_the_official_un_rotated_cache_under_every_schedule(schedule):
    compare_with_official(by_name("phi"), scaling.YaRN, layers=2, schedule=schedule())


def test_rerotate_follows_a_text_that_is_cut_back():
    tiny = by_name("llama")
    model, path = make("llama", layers=3, cache="rerotate")
    ids, cache, official = hf_models.tokens(40)[0], DynamicCache(), Official(tiny, path, 3)
    in_parts(model, ids, (14, 10, 16), cache)
    for start, end in ((0, 14), (14, 24), (24, 40)):
        official(ids[:, start:end], torch.arange(start, end)[None])
    # Back to the first window: keys are turned back too.
    cache.crop(-26)
    official.cache.crop(-26)
    given = in_parts(model, ids[:, 14:16], (2,), cache)[0]
    close(given, official(ids[:, 14:16], torch.arange(14, 16)[None]), LOGITS)


@pytest.mark.parametrize("method", [method for method in scaling.SCALINGS if method not in (scaling.Identity, scaling.YaRN)])
def test_rerotate_is_the_official_un_rotated_cache_under_every_method(method):
    compare_with_official(by_name("llama"), method, 2)


CACHES = {
    "dynamic": lambda config: DynamicCache(),
    "dynamic of the config": lambda config: DynamicCache(config=config),
    "static": lambda config: StaticCache(config=config, max_cache_len=LENGTH + 4),
}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("name", ["llama", "mistral_sliding", "gemma3", "cohere2"])
def test_rerotate_is_the_official_cache_in_every_cache_class(name, kind):
    compare_with_official(by_name(name), scaling.YaRN, 2, CACHES[kind])


def test_rerotate_is_the_official_cache_for_each_row_of_a_left_padded_batch():
    tiny, lengths, new = by_name("llama"), (5, 14, 30), 14
    model, path = make("llama", layers=3, cache="rerotate")
    official = Official(tiny, path, 3)
    rows = hf_models.tokens(*[length + new for length in lengths])
    batch = hf_models.pad([row[:, :length] for row, length in zip(rows, lengths, strict=True)], "left")
    ids, mask, cache = batch["input_ids"], batch["attention_mask"], None
    for step in range(new):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.no_grad():
            out = model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
        cache = out.past_key_values
        wanted = official(ids, positions, attention_mask=mask)
        real = mask[:, -ids.shape[1] :].bool()
        close(out.logits[real], wanted[real], LOGITS)
        ids = torch.cat([row[:, length + step : length + step + 1] for row, length in zip(rows, lengths, strict=True)])
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)


def prefixes(model, ids, sizes=SIZES):
    """The same parts from uncached runs of each prefix: what a cache should equal."""
    start = 0
    for size in sizes:
        yield logits(model, ids[:, : start + size], use_cache=False)[:, start:]
        start += size


@MANY
def test_rerotate_equals_an_uncached_run_in_one_layer(tiny):
    model, _ = make(tiny.name, layers=1, cache="rerotate")
    ids = hf_models.tokens(LENGTH)[0]
    for given, wanted in zip(in_parts(model, ids), prefixes(model, ids), strict=True):
        close(given, wanted, LOGITS)


def test_rerotate_is_not_an_uncached_run_in_three_layers():
    # The statement of the page: deeper keys come from hidden states of the old factor, and no turning repairs that.
    model, _ = make("llama", layers=3, cache="rerotate")
    ids = hf_models.tokens(LENGTH)[0]
    gaps = [(given - wanted).abs().max().item() for given, wanted in zip(in_parts(model, ids), prefixes(model, ids), strict=True)]
    ends = torch.tensor(SIZES).cumsum(0)
    assert all(gap < LOGITS for gap, end in zip(gaps, ends, strict=True) if end <= L)
    assert all(gap > 1e-3 for gap, end in zip(gaps, ends, strict=True) if end > L)


def test_rerotate_keeps_keys_in_the_caches_precision():
    model, path = make("llama", cache="rerotate", layers=1)
    model.to(torch.bfloat16)
    ids, cache = hf_models.tokens(L + 1)[0], DynamicCache()
    in_parts(model, ids, (L, 1), cache)
    raw = Official(by_name("llama"), path, 1)
    raw.model.to(torch.bfloat16)
    raw(ids, torch.arange(L + 1)[None])
    wanted = raw.turned(
        raw.cache.layers[0].keys.float(), torch.arange(L + 1)[None], path.inv_freq(2.0)[None], torch.tensor([path.attention_scale(2.0)])
    )
    given = cache.layers[0].keys
    assert given.dtype == torch.bfloat16
    # Two roundings to 8 bits instead of one.
    assert (given.float() - wanted).norm() / wanted.norm() < 2 * 2**-8


def test_rerotate_refuses_keys_it_cannot_turn():
    # DeepSeek-V3 caches a compressed form of its keys, with the positions apart; `frozen` does not touch them.
    config = transformers.DeepseekV3Config(
        **hf_models.COMMON,
        **{"num_hidden_layers": 2, "max_position_embeddings": L, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16},
        **{"qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "first_k_dense_replace": 2},
    )
    model = hf_models.sharpen(transformers.AutoModelForCausalLM.from_config(config)).eval()
    ids, path = hf_models.tokens(LENGTH)[0], hf.scaling_for(model, scaling.YaRN)
    stock = logits(model, ids)
    with pytest.raises(ValueError, match="DeepseekV3Model.*frozen"):
        clexlab.extend(model, path, cache="rerotate")
    assert torch.equal(logits(model, ids), stock)
    clexlab.extend(model, path, factor=4.0)
    close(torch.cat(in_parts(model, ids), 1), logits(model, ids, use_cache=False), LOGITS)


# --- frozen ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tiny, layers", [(by_name("llama"), 1), *((tiny, 3) for tiny in MODELS)], ids=lambda value: getattr(value, "name", value)
)
def test_frozen_equals_an_uncached_run_over_windows_and_chunks(tiny, layers):
    model, path = make(tiny.name, layers=layers, factor=4.0)
    ids = hf_models.tokens(LENGTH)[0]
    given = torch.cat(in_parts(model, ids), 1)
    close(given, logits(model, ids, use_cache=False), LOGITS)
    close(given, logits(stock_at(tiny.name, path, 4.0, layers), ids), LOGITS)


@pytest.mark.parametrize(
    "method, kind", [*((method, "dynamic of the config") for method in scaling.SCALINGS), *((scaling.CLEX, kind) for kind in CACHES)]
)
def test_frozen_equals_an_uncached_run_under_every_method_and_in_every_cache_class(method, kind):
    model, path = make("gemma2", method, factor=3.75)
    ids = hf_models.tokens(LENGTH)[0]
    given = torch.cat(in_parts(model, ids, cache=CACHES[kind](model.config)), 1)
    close(given, logits(stock_at("gemma2", path, 3.75), ids), LOGITS)


@pytest.mark.parametrize("schedule", hf.SCHEDULES)
@pytest.mark.parametrize("prompt", [5, L, L + 1, 40])
def test_a_loop_keeps_the_factor_of_its_first_call_and_is_refused_beyond_it(schedule, prompt):
    model, path = make("llama", schedule=schedule())
    ids = hf_models.tokens(100)[0]
    factor = RULES[schedule.name](prompt)
    end = int(factor * L)
    cache = DynamicCache()
    given = torch.cat(in_parts(model, ids, (prompt, *[1] * (end - prompt)), cache), 1)
    close(given, logits(stock_at("llama", path, factor), ids[:, :end]), LOGITS)
    with pytest.raises(ValueError) as said:
        model(ids[:, end : end + 1], past_key_values=cache)
    assert all(word in str(said.value) for word in (str(end + 1), str(end), "factor=", "generate"))
    # The refused token left nothing in the cache.
    assert cache.get_seq_length() == end


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
@pytest.mark.parametrize("factor", [None, 4.0])
def test_a_cache_filled_before_extending_is_refused(cache, factor):
    model, ids = by_name("llama").build(window=L), hf_models.tokens(12)[0]
    with torch.no_grad():
        stale = model(ids).past_key_values
    clexlab.extend(model, method_on(model, scaling.YaRN), cache=cache, factor=factor)
    with pytest.raises(ValueError, match="before clexlab.extend"):
        model(ids[:, :1], past_key_values=stale)


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
@pytest.mark.parametrize("factor", [None, 2.0])
def test_a_cache_filled_under_another_method_is_refused(cache, factor):
    model, ids = by_name("llama").build(window=L), hf_models.tokens(20)[0]
    with clexlab.extended(model, method_on(model, scaling.Linear), cache=cache), torch.no_grad():
        stale = model(ids).past_key_values
    clexlab.extend(model, method_on(model, scaling.YaRN), cache=cache, factor=factor)
    with pytest.raises(ValueError, match="cache"):
        model(ids[:, :1], past_key_values=stale)


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_that_was_reset_starts_anew(cache, kind):
    model, _ = make("llama", cache=cache)
    ids, store = hf_models.tokens(40)[0], CACHES[kind](model.config)
    wanted = in_parts(model, ids[:, :5], (5,), CACHES[kind](model.config))
    in_parts(model, ids, (40,), store)
    store.reset()
    if store.get_seq_length():
        pytest.skip("this transformers keeps the length of a dynamic cache after reset")
    for given, expected in zip(in_parts(model, ids[:, :5], (5,), store), wanted, strict=True):
        assert torch.equal(given, expected)


@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
@pytest.mark.parametrize("method", [scaling.YaRN, scaling.CLEX])
def test_a_copied_cache_continues_by_itself(cache, method):
    model, _ = make("llama", method, cache=cache)
    ids = hf_models.tokens(30)[0]
    first = DynamicCache()
    in_parts(model, ids[:, :20], (20,), first)
    second = copy.deepcopy(first)
    parts = in_parts(model, ids[:, 20:], (5, 5), first)
    for given, wanted in zip(in_parts(model, ids[:, 20:], (5, 5), second), parts, strict=True):
        assert torch.equal(given, wanted)


@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
def test_a_prompts_cache_can_be_repeated_for_several_continuations(cache):
    model, _ = make("llama", cache=cache)
    start, ends = hf_models.tokens(20)[0], torch.cat(hf_models.tokens(15, 15, 15, seed=8))
    store = DynamicCache()
    in_parts(model, start, (20,), store)
    store.batch_repeat_interleave(3)
    together = torch.cat(in_parts(model, ends, (10, 2), store), 1)
    for row, end in enumerate(ends):
        alone = DynamicCache()
        in_parts(model, start, (20,), alone)
        close(together[row], torch.cat(in_parts(model, end[None], (10, 2), alone), 1)[0], LOGITS)


@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
@pytest.mark.parametrize(
    ("move", "rows"),
    [
        (lambda store: store.batch_repeat_interleave(2), [0, 0, 1, 1]),
        (lambda store: store.reorder_cache(torch.tensor([1, 0])), [1, 0]),
        (lambda store: store.batch_select_indices(torch.tensor([1])), [1]),
    ],
    ids=["repeated", "reordered", "chosen"],
)
def test_rows_with_factors_of_their_own_keep_them_when_a_cache_moves_its_rows(cache, move, rows):
    model, _ = make("llama", cache=cache)
    texts, more = hf_models.tokens(10, 20), hf_models.tokens(1, seed=3)[0]
    store = DynamicCache()
    padded = hf_models.pad(texts)
    with torch.no_grad():
        model(**padded, position_ids=(padded["attention_mask"].cumsum(-1) - 1).clamp(min=0), past_key_values=store)
        move(store)
        mask = torch.nn.functional.pad(padded["attention_mask"][rows], (0, 1), value=1)
        places = torch.tensor([[texts[row].shape[1]] for row in rows])
        given = model(more.expand(len(rows), 1), attention_mask=mask, position_ids=places, past_key_values=store).logits
        for index, row in enumerate(rows):
            alone = in_parts(model, torch.cat([texts[row], more], 1), (texts[row].shape[1], 1))[-1]
            close(given[index], alone[0], LOGITS)


def test_another_number_of_rows_than_the_cache_holds_is_refused():
    model, _ = make("llama", cache="rerotate")
    store = DynamicCache()
    with torch.no_grad():
        model(**prompt(10, 20), past_key_values=store)
    with pytest.raises(ValueError, match="2 rows and the input 4"):
        model(torch.full((4, 1), 5), past_key_values=store)


def test_two_texts_in_turn_do_not_disturb_each_other():
    # Each cache carries its own factor; the module carries none.
    model, _ = make("llama", layers=3, cache="rerotate")
    long, short = hf_models.tokens(40, 12)
    alone = [in_parts(model, long, (20, 10, 10)), in_parts(model, short, (4, 4, 4))]
    caches = [DynamicCache(), DynamicCache()]
    for step in range(3):
        for row, ids, sizes in ((0, long, (20, 10, 10)), (1, short, (4, 4, 4))):
            start = sum(sizes[:step])
            given = in_parts(model, ids[:, start : start + sizes[step]], (sizes[step],), caches[row])[0]
            assert torch.equal(given, alone[row][step])


# --- refill ------------------------------------------------------------------------------------------------------------------


def test_a_loop_under_refill_is_refused_at_the_change_and_works_before_it():
    model, _ = make("llama", cache="refill")
    ids, cache = hf_models.tokens(40)[0], DynamicCache()
    given = torch.cat(in_parts(model, ids, (10, *[1] * 6), cache), 1)
    close(given, logits(model, ids[:, :L]), LOGITS)
    with pytest.raises(ValueError) as said:
        model(ids[:, L : L + 1], past_key_values=cache)
    assert all(word in str(said.value) for word in ("refill", "generate()", "frozen"))


# --- generate ------------------------------------------------------------------------------------------------------------------

PROMPT, NEW = 12, 22
# Enough to pass the end of the first window.
FEW = 7


def prompt(*lengths):
    return hf_models.pad(hf_models.tokens(*(lengths or (PROMPT,)), seed=5), "left")


@torch.no_grad()
def greedy(model_at, ids, new=NEW):
    """Greedy decoding without cache and without generate(): `model_at(n)` is the model for a text of n tokens."""
    for _ in range(new):
        out = model_at(ids.shape[1])(ids, use_cache=False).logits[:, -1]
        ids = torch.cat((ids, out.argmax(-1, keepdim=True)), 1)
    return ids


WAYS = {
    "greedy": {},
    "beam": {"num_beams": 3},
    "several beams back": {"num_beams": 3, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "top_k": 5},
    "several samples": {"do_sample": True, "top_k": 5, "num_return_sequences": 3},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 5},
}


def run(model, batch, **options):
    """generate() from a fixed seed, NEW tokens."""
    torch.manual_seed(1)
    return model.generate(**batch, max_new_tokens=NEW, **options)


@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
def test_a_prompt_of_several_windows_may_be_filled_in_chunks(cache):
    model, _ = make("llama", layers=1, cache=cache)
    for batch in (prompt(40), prompt(3, 40, 20)):
        assert torch.equal(run(model, batch, prefill_chunk_size=7), run(model, batch, use_cache=False))


def without_cache(options):
    return {key: value for key, value in options.items() if key not in ("cache_implementation", "prefill_chunk_size")} | {
        "use_cache": False
    }


@MANY
def test_frozen_generates_what_the_stock_model_at_the_planned_factor_generates(tiny):
    model, path = make(tiny.name)
    stock = stock_at(tiny.name, path, whole(PROMPT + FEW))
    ids = prompt()["input_ids"]
    wanted = greedy(lambda n: stock, ids, FEW)
    assert torch.equal(model.generate(ids, max_new_tokens=FEW), wanted)
    assert torch.equal(model.generate(ids, max_length=PROMPT + FEW, use_cache=False), wanted)


@MANY
def test_refill_generates_what_uncached_steps_generate(tiny):
    model, path = make(tiny.name, cache="refill")
    stock = {factor: stock_at(tiny.name, path, factor) for factor in (1.0, 2.0)}
    ids = prompt()["input_ids"]
    wanted = greedy(lambda n: stock[whole(n)], ids, FEW)
    assert torch.equal(model.generate(ids, max_new_tokens=FEW), wanted)
    assert torch.equal(model.generate(ids, max_new_tokens=FEW, use_cache=False), wanted)


@pytest.mark.parametrize("cache", ["frozen", "refill"])
@pytest.mark.parametrize("schedule", [hf.Doubling(), hf.Exact()], ids=lambda schedule: schedule.name)
def test_other_schedules_generate_the_tokens_of_the_run_without_cache(cache, schedule):
    model, path = make("llama", cache=cache, schedule=schedule)
    ids, rule = prompt()["input_ids"], RULES[schedule.name]
    stock = {n: stock_at("llama", path, rule(n if cache == "refill" else PROMPT + NEW)) for n in range(PROMPT, PROMPT + NEW)}
    wanted = greedy(stock.get, ids)
    assert torch.equal(model.generate(ids, max_new_tokens=NEW), wanted)
    assert torch.equal(model.generate(ids, max_new_tokens=NEW, use_cache=False), wanted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cache", ["frozen", "refill"])
@pytest.mark.parametrize("lengths", [(PROMPT,), (3, 15, 10)], ids=["one", "left padded"])
def test_every_way_to_generate_gives_the_tokens_of_the_run_without_cache(cache, way, lengths):
    model, _ = make("llama", cache=cache)
    batch = prompt(*lengths)
    options = WAYS[way]
    assert torch.equal(run(model, batch, **options), run(model, batch, **without_cache(options)))


@pytest.mark.parametrize("name", ["mistral_sliding", "gemma3", "falcon"])
@pytest.mark.parametrize("way", ["beam", "static cache"])
@pytest.mark.parametrize("cache", ["frozen", "refill"])
def test_other_architectures_generate_the_tokens_of_the_run_without_cache(name, way, cache):
    model, _ = make(name, cache=cache)
    batch = prompt(3, 15)
    options = WAYS[way]
    assert torch.equal(run(model, batch, **options), run(model, batch, **without_cache(options)))


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_rows_of_a_left_padded_batch_generate_what_each_row_generates_alone(cache, way):
    model, _ = make("llama", cache=cache)
    lengths = (3, 15, 21)
    together = run(model, prompt(*lengths), **WAYS[way])
    for index, row in enumerate(hf_models.tokens(*lengths, seed=5)):
        alone = run(model, {"input_ids": row}, **WAYS[way])
        assert torch.equal(together[index, -NEW:], alone[0, -NEW:])


@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_rerotate_generates_the_same_in_every_cache_class(way):
    model, _ = make("mistral_sliding", layers=3, cache="rerotate")
    batch = prompt(3, 15)
    assert torch.equal(run(model, batch, **WAYS[way]), run(model, batch, **WAYS[way], cache_implementation="static"))


def test_rerotate_generates_what_the_official_way_generates():
    tiny = by_name("llama")
    model, path = make("llama", layers=3, cache="rerotate")
    ids = prompt()["input_ids"]
    official, wanted = Official(tiny, path, 3), ids
    step, start = ids, 0
    for _ in range(NEW):
        out = official(step, torch.arange(start, start + step.shape[1])[None])
        start += step.shape[1]
        step = out[:, -1].argmax(-1, keepdim=True)
        wanted = torch.cat((wanted, step), 1)
    assert torch.equal(model.generate(ids, max_new_tokens=NEW), wanted)


REPEATING = torch.cat([hf_models.tokens(6, seed=7)[0]] * 3, 1)


def assistants():
    """What proposes tokens: a lookup in the prompt, a stock model, and a model extended itself."""
    extended, _ = make("llama", scaling.Linear, layers=1)
    return {
        "prompt lookup": {"prompt_lookup_num_tokens": 4},
        "assistant": {"assistant_model": by_name("llama").build(layers=1, window=L)},
        "extended assistant": {"assistant_model": extended},
    }


@pytest.mark.parametrize("name, factor", [("llama", None), ("llama", 4.0), ("mistral_sliding", None), ("gpt_neox", None)])
@pytest.mark.parametrize("way", assistants())
def test_assisted_decoding_under_frozen_gives_the_greedy_tokens(name, way, factor):
    model, path = make(name, factor=factor)
    stock = stock_at(name, path, whole(REPEATING.shape[1] + NEW) if factor is None else factor)
    given = model.generate(REPEATING, max_new_tokens=NEW, **assistants()[way])
    assert torch.equal(given, greedy(lambda n: stock, REPEATING))


@pytest.mark.parametrize("way", assistants())
@pytest.mark.parametrize("cache", ["rerotate", "refill"])
def test_assisted_decoding_under_a_moving_factor_is_refused(cache, way):
    model, _ = make("llama", cache=cache)
    with pytest.raises(ValueError, match="frozen"):
        model.generate(REPEATING, max_new_tokens=NEW, **assistants()[way])
    # And the model still generates.
    model.generate(REPEATING, max_new_tokens=2)


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
def test_a_prompt_given_as_embeddings_generates_the_same_tokens(cache):
    model, _ = make("llama", cache=cache)
    ids = prompt()["input_ids"]
    embeds = model.get_input_embeddings()(ids)
    if cache == "refill":
        # The new tokens alone cannot be sent again: where the factor changes, the text is not there.
        with pytest.raises(ValueError, match="input_ids"):
            model.generate(inputs_embeds=embeds, max_new_tokens=NEW)
        return
    given = model.generate(inputs_embeds=embeds, max_new_tokens=NEW)
    assert torch.equal(given[:, -NEW:], model.generate(ids, max_new_tokens=NEW)[:, -NEW:])


def turn(model, ids, cache, new):
    """A further turn of a conversation. With a mask: generate() would take the padding token, where it was said, for padding."""
    return model.generate(ids, attention_mask=torch.ones_like(ids), past_key_values=cache, max_new_tokens=new)


def test_a_second_turn_continues_the_firsts_cache_within_the_plan_and_is_refused_beyond():
    model, path = make("llama", layers=3)
    ids = prompt()["input_ids"]
    first = model.generate(ids, max_new_tokens=8, return_dict_in_generate=True)
    # 20 tokens were planned, hence t = 2: the cache reaches 32.
    stock = stock_at("llama", path, 2.0, layers=3)
    question = torch.cat((first.sequences, hf_models.tokens(4)[0]), 1)
    wanted = greedy(lambda n: stock, question, 8)
    # A copy, because a turn fills the cache it is given.
    given = turn(model, question, copy.deepcopy(first.past_key_values), 8)
    assert torch.equal(given, wanted)
    with pytest.raises(ValueError) as said:
        turn(model, question, first.past_key_values, 20)
    assert all(word in str(said.value) for word in ("factor=", "32"))


@pytest.mark.parametrize("cache", ["rerotate", "refill"])
def test_a_second_turn_follows_the_length_under_the_other_semantics(cache):
    model, path = make("llama", layers=3, cache=cache)
    ids = prompt()["input_ids"]
    first = model.generate(ids, max_new_tokens=8, return_dict_in_generate=True)
    question = torch.cat((first.sequences, hf_models.tokens(20)[0]), 1)
    given = turn(model, question, first.past_key_values, 12)
    if cache == "refill":
        stock = {factor: stock_at("llama", path, factor, layers=3) for factor in (3.0, 4.0)}
        assert torch.equal(given, greedy(lambda n: stock[whole(n)], question, 12))
    else:
        official = Official(by_name("llama"), path, 3)
        seen = 0
        for size in (PROMPT, *[1] * 7):
            official(question[:, seen : seen + size], torch.arange(seen, seen + size)[None])
            seen += size
        for _ in range(12):
            out = official(question[:, seen:], torch.arange(seen, question.shape[1])[None])
            seen, question = question.shape[1], torch.cat((question, out[:, -1].argmax(-1, keepdim=True)), 1)
        assert torch.equal(given, question)


def test_a_plan_ends_with_its_generate():
    # A long generation must not leave its factor behind for the next short text.
    model, path = make("llama")
    ids = prompt()["input_ids"]
    model.generate(ids, max_new_tokens=40)
    close(logits(model, ids), logits(stock_at("llama", path, 1.0), ids), LOGITS)

    def fails(ids, scores):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        model.generate(ids, max_new_tokens=40, logits_processor=[fails])
    close(logits(model, ids), logits(stock_at("llama", path, 1.0), ids), LOGITS)


@pytest.mark.parametrize("cache", ["frozen", "rerotate", "refill"])
def test_generation_beyond_the_largest_factor_is_refused(cache):
    model, _ = make("llama", scaling.CLEX, cache=cache)
    ids = hf_models.tokens(120)[0]
    # max_factor is 8: 128 tokens.
    assert model.generate(ids, max_new_tokens=8).shape[1] == 128
    with pytest.raises(ValueError, match="max_factor"):
        # The last token is only said, never read: the second one beyond is the first that needs an angle.
        model.generate(ids, max_new_tokens=10)


# --- why this exists -----------------------------------------------------------------------------------------------------------


def test_stock_dynamic_ntk_with_a_cache_differs_from_its_own_uncached_run_past_the_window():
    tiny, ids = by_name("llama"), hf_models.tokens(40)[0]
    parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    cached = in_parts(tiny.build(window=L, rope_parameters=dict(parameters)), ids, (10, *[1] * 30))
    for part, end in zip(cached, range(10, 41), strict=True):
        # A fresh model for every length: the stock type also remembers the longest text it has seen.
        alone = logits(tiny.build(window=L, rope_parameters=dict(parameters)), ids[:, :end])[:, -1]
        gap = (part[:, -1] - alone).abs().max()
        assert gap < LOGITS if end <= L else gap > 100 * LOGITS
