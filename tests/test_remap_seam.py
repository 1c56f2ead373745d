"""Models read through a map: what is scored, noise, the way in and out in any order, and what is refused."""

import copy
import gc
import math

import hf_models
import pytest
import torch
import transformers
from hf_models import tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from map_oracle import CLOSE, LENGTH, SMALL, built, named, oracle
from transformers.models.llama import modeling_llama

import clexlab
from clexlab import hf, positions, rope, scaling
from clexlab.hf import map_attention, map_plan, map_seam
from clexlab.hf.map_attention import Seen, Stock
from clexlab.positions.maps import GALI, MAPS, STRING, DistanceNoise, LeakyReRoPE, LMInfinite, RelativeNoise, ReRoPE, SelfExtend, Sinks

# ----------------------------------------------------------------------------------------- what is and is not scored


@settings(max_examples=30)
@given(index=st.integers(0, len(SMALL) - 1), length=st.integers(1, 60), first=st.integers(0, 59), size=st.integers(1, 20))
def test_every_key_seen_is_in_one_piece_of_its_block_and_no_other_is(index, length, first, size):
    m, first = SMALL[index], min(first, length - 1)
    spans = tuple(span for span in m.spans(length, first) if bool((span.low < span.high).any()))
    found = torch.zeros(length, length, dtype=torch.long)
    for block in map_plan._blocks(spans, first, length, size, torch.device("cpu")):
        assert block.end - block.begin <= size
        for piece in block.pieces:
            shown = torch.ones(block.end - block.begin, piece.high - piece.low, dtype=torch.bool)
            if piece.left is not None:
                shown[:, : piece.left.shape[1]] &= ~piece.left
            if piece.right is not None:
                shown[:, shown.shape[1] - piece.right.shape[1] :] &= ~piece.right
            found[block.begin : block.end, piece.low : piece.high] += shown.long()
    assert torch.equal(found[first:], m.visible(length)[first:].long())


@pytest.mark.parametrize("m", [Sinks(window=128, sinks=4, recent=60), LMInfinite(window=128, starts=4, local=60, limit=100)], ids=named)
def test_what_is_not_seen_is_not_scored(m):
    length = 2048
    plan = map_plan.group(m, (0,), 0, length, 0, torch.ones(1), 1)
    scored = sum((block.end - block.begin) * sum(piece.high - piece.low for piece in block.pieces) for block in plan.blocks)
    assert scored <= length * (4 + 60 + map_plan.BLOCK)
    assert sum(turn.end - turn.begin for turn in (made() for made in plan.keys) if turn.here is not None) <= 4


def test_a_block_of_queries_shrinks_where_a_text_is_long():
    plan = map_plan.group(ReRoPE(window=64, near=16), (0, 1), 0, 3000, 0, torch.ones(1), 64)
    widths = [(block.end - block.begin, sum(piece.high - piece.low for piece in block.pieces)) for block in plan.blocks]
    assert max(rows for rows, _ in widths) == map_plan.SCORES // (2 * 64 * 3000) < map_plan.BLOCK


@pytest.mark.parametrize("m", [*SMALL, GALI(window=16, tail=4, chunk=5, noise=None)], ids=named)
def test_turned_keys_are_held_no_longer_than_a_block_needs_them(m, monkeypatch):
    length, held, made = 300, [], []
    plan = map_plan.group(m, (0,), 0, length, 0, torch.ones(1), 1)
    usual = map_attention._scores
    turn = map_attention._turned_keys
    monkeypatch.setattr(map_attention, "_scores", lambda *given: held.append(len(given[5])) or usual(*given))
    monkeypatch.setattr(map_attention, "_turned_keys", lambda *given: made.append(None) or turn(*given))
    seen = Seen(m, (plan,), frozenset(), rope.HalfSplit, None, Stock("sdpa", lambda: None))
    map_attention.attention(seen, *torch.ones(3, 1, 1, length, 2), 1.0)
    # One copy for a chunk of GALI, two where near and far keys stand differently; none is made twice.
    assert max(held) <= (1 if isinstance(m, GALI) else 2) and len(made) == len(plan.keys)


@torch.no_grad()
def test_what_sinks_evicted_no_longer_matters():
    model, (row,) = clexlab.remap(built(layers=1), Sinks(window=8, sinks=2, recent=5)), tokens(LENGTH)
    other = row.clone()
    other[:, 2:10] = other[:, 2:10].flip(-1)
    assert torch.equal(model(row).logits[:, 15:], model(other).logits[:, 15:])


@torch.no_grad()
def test_far_keys_of_rerope_have_no_order():
    model, (row,) = clexlab.remap(built(layers=1), ReRoPE(window=8, near=5)), tokens(LENGTH)
    other = row.clone()
    other[:, :10] = other[:, :10].flip(-1)
    torch.testing.assert_close(model(row).logits[:, 15:], model(other).logits[:, 15:], **CLOSE)


# ------------------------------------------------------------------------------------------------------------ noise


@pytest.mark.parametrize("noise", [DistanceNoise(), RelativeNoise()], ids=["code", "paper"])
def test_noise_has_the_spread_it_says_where_logits_are_mixed_and_none_elsewhere(noise):
    m = GALI(window=8, tail=2, chunk=16, noise=noise)
    plan = map_plan.group(m, (0,), 0, 24, 0, torch.ones(1), 1)
    block = plan.blocks[-1]
    seen = Seen(m, (plan,), frozenset(), rope.HalfSplit, torch.Generator().manual_seed(0), Stock("sdpa", lambda: None))
    (piece,) = block.pieces
    drawn = map_attention._noise(seen, plan, block, piece, torch.zeros(4000, 1, 1, block.end - block.begin, piece.high - piece.low))[
        :, 0, 0
    ]
    whole = plan.spans[piece.span].mix.share == 0
    apart = torch.arange(block.begin, block.end)[:, None] - torch.arange(24)
    relative = m.relative(24)[block.begin : block.end].nan_to_num().float()
    wanted = (apart / 24 if isinstance(noise, DistanceNoise) else relative / 8).abs() * ~whole
    # What comes after the query is drawn and hidden.
    drawn, wanted = (part.where(apart >= 0, 0.0) for part in (drawn, wanted))
    assert not bool(drawn[..., whole].any()) and bool((~whole).any())
    # The spread of 4000 draws is known to one part in √8000, four of those are room.
    torch.testing.assert_close(drawn.std(0), wanted, atol=1e-9, rtol=4 / math.sqrt(8000))


@torch.no_grad()
def test_noise_comes_from_its_generator_alone():
    model, (row,) = built(), tokens(LENGTH)
    noisy = GALI(window=8, tail=3, chunk=4)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        with clexlab.remapped(model, noisy, generator=torch.Generator().manual_seed(seed)):
            found.append(model(row).logits)
    with clexlab.remapped(model, GALI(window=8, tail=3, chunk=4, noise=None)):
        quiet = model(row).logits
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    # Within the window nothing is mixed, so nothing is noisy.
    assert torch.allclose(found[0][:, :8], quiet[:, :8], atol=1e-5) and not torch.allclose(found[0], quiet, atol=1e-3)


@pytest.mark.parametrize("generator", [None, torch.Generator()], ids=["torchs", "own"])
def test_a_checkpoint_reads_with_the_same_noise_again(generator):
    model, (row,) = clexlab.remap(built(), GALI(window=8, tail=3, chunk=4), generator=generator).train(), tokens(LENGTH)
    found = []
    for checkpoints in (False, True):
        if checkpoints:
            hf_models.checkpoint(model)
        model.zero_grad()
        (torch.default_generator if generator is None else generator).manual_seed(5)
        model(row, labels=row).loss.backward()
        found.append([weight.grad.clone() for weight in model.parameters()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))


# ------------------------------------------------------------------------------------------------------ in and out


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_a_text_that_the_map_leaves_as_it_is_is_read_bit_for_bit_as_before(m):
    model, (row,), (short,) = built(), tokens(LENGTH), tokens(5)
    before, short_before = model(row).logits, model(short).logits
    with clexlab.remapped(model, m):
        short_mapped = model(short).logits
        assert not torch.allclose(model(row).logits, before, atol=1e-2)
    # Self-Extend's near keys end earlier than the others'.
    assert torch.equal(short_mapped, short_before) or isinstance(m, SelfExtend | LeakyReRoPE)
    assert torch.equal(model(row).logits, before)


@pytest.mark.parametrize(
    "m", [STRING(window=8, shift=LENGTH, local=3), STRING(window=8, shift=4, local=4), SelfExtend(window=8, near=4, group=1)]
)
@torch.no_grad()
def test_a_map_that_is_the_identity_changes_no_bit(m):
    model, (row,) = built(), tokens(LENGTH)
    before = model(row).logits
    assert torch.equal(clexlab.remap(model, m)(row).logits, before)


def test_another_model_of_the_same_config_keeps_its_attention():
    config = hf_models.by_name("llama").make_config()
    one, other = (hf_models.sharpen(type(built())(config)).eval() for _ in range(2))
    with clexlab.remapped(one, SMALL[0]):
        assert other.config._attn_implementation == "sdpa" and one.config is not other.config
        one.config.use_cache = False
    assert one.config is other.config and one.config._attn_implementation == "sdpa" and one.config.use_cache is False


@pytest.mark.parametrize("order", ["unmap first", "restore first"])
@pytest.mark.parametrize("begin", ["map", "path"])
@torch.no_grad()
def test_map_and_path_come_and_go_in_any_order(begin, order):
    model, (row,) = built(), tokens(LENGTH)
    path = scaling.Linear.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    before = model(row).logits
    if begin == "map":
        clexlab.extend(clexlab.remap(model, SMALL[0]), path)
    else:
        clexlab.remap(clexlab.extend(model, path), SMALL[0])
    both = model(row).logits
    if order == "unmap first":
        clexlab.unmap(model)
        alone = model(row).logits
        clexlab.restore(model)
    else:
        clexlab.restore(model)
        alone = model(row).logits
        clexlab.unmap(model)
    assert not torch.allclose(both, alone, atol=1e-2) and not torch.allclose(alone, before, atol=1e-2)
    assert torch.equal(model(row).logits, before) and model.config._attn_implementation == "sdpa"
    assert "clexlab" not in str(model.config.to_dict())


@torch.no_grad()
def test_a_copy_of_a_mapped_model_is_mapped_and_independent():
    model, (row,) = clexlab.remap(built(), SMALL[2]), tokens(LENGTH)
    mapped = model(row).logits
    copied = copy.deepcopy(model)
    clexlab.unmap(model)
    assert torch.equal(copied(row).logits, mapped) and not torch.allclose(model(row).logits, mapped, atol=1e-2)
    assert torch.equal(clexlab.unmap(copied)(row).logits, model(row).logits)


def test_a_mapped_model_is_saved_as_the_plain_one(tmp_path):
    model, (row,) = built(), tokens(LENGTH)
    plain = model(row).logits
    clexlab.remap(model, SMALL[0]).save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path).eval()(row).logits, plain)


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
@torch.no_grad()
def test_every_architecture_is_mapped_or_refused_with_a_reason_and_left_as_it_was(tiny):
    model, (row,) = tiny.build(), tokens(LENGTH)
    before, config = model(row).logits, model.config
    if tiny.name in ("mistral_sliding", "cohere2", "falcon"):
        falcon = tiny.name == "falcon"
        says = "cannot run with another attention function" if falcon else "no layer with rotary positions and full causal attention"
        with pytest.raises(ValueError, match=says):
            clexlab.remap(model, SMALL[0])
    else:
        assert not torch.allclose(clexlab.remap(model, SMALL[0])(row).logits, before, atol=1e-2)
        clexlab.unmap(model)
    assert torch.equal(model(row).logits, before) and model.config is config
    assert not model.get_decoder()._forward_pre_hooks and not model.get_decoder()._forward_hooks


@torch.no_grad()
def test_layers_with_a_sliding_window_keep_their_own_attention():
    model, (row,) = built("gemma3"), tokens(LENGTH)
    seen = []
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(lambda module, args, out: seen.append(out[0]))
    model(row)
    clexlab.remap(model, ReRoPE(window=8, near=3))
    seen.clear()
    model(row)
    mapped = list(seen)
    clexlab.unmap(model)
    seen.clear()
    model(row)
    assert torch.equal(mapped[0], seen[0]) and not torch.allclose(mapped[1], seen[1], atol=1e-3)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("refused", [case for case in hf_models.REFUSED if case.name not in ("yarn", "llama3")], ids=lambda case: case.name)
def test_models_without_one_steady_rotary_module_are_refused(refused):
    with pytest.raises(ValueError, match="|".join(refused.says)):
        clexlab.remap(refused.build(), SMALL[0])


@torch.no_grad()
def test_stock_frequencies_that_do_not_change_with_the_length_are_mapped():
    parameters = {"rope_theta": 1e4, "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8}
    model, (row,) = built(rope_parameters=parameters), tokens(LENGTH)
    rotary = model.get_decoder().rotary_emb
    wanted = oracle(model, SMALL[2].relative(LENGTH), row, theta=rotary.inv_freq, scale=rotary.attention_scaling)
    torch.testing.assert_close(clexlab.remap(model, SMALL[2])(row).logits, wanted, **CLOSE)


def test_what_is_no_map_and_what_is_no_model_is_refused(unchecked):
    model = built()
    for m in (None, ReRoPE, "rerope", scaling.Linear):
        with pytest.raises(ValueError, match="pass one of clexlab.positions"):
            clexlab.remap(model, m)
    with pytest.raises(ValueError, match="model is None"):
        clexlab.remap(None, SMALL[0])
    with pytest.raises(ValueError, match="not mapped"):
        clexlab.unmap(model)
    with pytest.raises(ValueError, match="mapped already"):
        clexlab.remap(clexlab.remap(model, SMALL[0]), SMALL[1])


def test_training_positions_and_start_tokens_are_refused():
    path = scaling.YaRN(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    sampler = positions.SkipWise(window=8, factors=positions.FixedFactor(2.0))
    with pytest.raises(ValueError, match="without positions"):
        clexlab.remap(clexlab.extend(built(), path, positions=sampler), SMALL[0])
    model = clexlab.extend(clexlab.remap(built(), SMALL[0]), path, positions=sampler).train()
    with pytest.raises(ValueError, match="positions are drawn"):
        model(tokens(8)[0])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2]]), "use_cache": False}, "several texts"),
        ({"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2]])}, "a row of its own"),
        ({"position_ids": torch.tensor([[3, 4, 5, 6, 7, 8]]), "attention_mask": torch.ones(1, 6)}, "leave position_ids out"),
        ({"attention_mask": torch.tensor([[1, 1, 0, 0, 1, 1]])}, "holes"),
        ({"attention_mask": torch.zeros(1, 1, 6, 6)}, "one entry per token"),
        ({"attention_mask": torch.eye(6, dtype=torch.bool)[None, None]}, "not causal"),
    ],
)
def test_rows_that_are_not_one_text_from_its_start_are_refused_and_the_model_goes_on(given, says):
    model, (row,) = clexlab.remap(built(), SMALL[0]), tokens(6)
    with pytest.raises(ValueError, match=says):
        model(row, **given)
    assert bool(model(row).logits.isfinite().all())


def test_a_model_with_another_attention_of_clexlabs_is_refused():
    model = built()
    model.config._attn_implementation = "clexlab_sparse"
    with pytest.raises(ValueError, match="unsparsify"):
        clexlab.remap(model, SMALL[0])


def test_an_attention_set_over_the_map_is_refused_until_the_map_is_out():
    model, (row,) = clexlab.remap(built(), SMALL[0]), tokens(LENGTH)
    model.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="'eager', which leaves the map out"):
        model(row)
    clexlab.unmap(model).set_attn_implementation("eager")
    assert bool(clexlab.remap(model, SMALL[0])(row).logits.isfinite().all())
    assert clexlab.unmap(model).config._attn_implementation == "eager"


@pytest.mark.parametrize("how", ["call", "config"])
def test_weights_that_a_mapped_model_never_holds_are_refused(how):
    model, (row,) = built(), tokens(LENGTH)
    model.set_attn_implementation("eager")
    clexlab.remap(model, SMALL[0])
    given = {"output_attentions": True} if how == "call" else {}
    model.get_decoder().config.__dict__["_output_attentions"] = how == "config"
    with pytest.raises(ValueError, match="m.relative"):
        model(row, **given)


def test_a_mask_that_leaves_out_the_cache_is_refused():
    model, (row,) = clexlab.remap(built(), SMALL[0]), tokens(LENGTH)
    cache = model(row[:, :12]).past_key_values
    with pytest.raises(ValueError, match="5 entries where 12 tokens are cached and 5 are new"):
        model(row[:, 12:], attention_mask=torch.ones(1, 5), past_key_values=cache)


def test_an_encoder_is_refused_in_words():
    config = transformers.EuroBertConfig(**hf_models.COMMON, num_hidden_layers=1, num_key_value_heads=2)
    with pytest.raises(ValueError, match="encoders, which look both ways"):
        clexlab.remap(transformers.EuroBertModel(config), SMALL[0])


def test_queries_turned_in_another_pairing_than_keys_are_refused(monkeypatch):
    usual, model = modeling_llama.apply_rotary_pos_emb, built()

    def crossed(query, key, cos, sin, **given):
        half = cos.shape[-1] // 2
        first, second = rope.Interleaved.split(query)
        cosine, sine = cos[:, None, :, :half], sin[:, None, :, :half]
        query = rope.Interleaved.join(first * cosine - second * sine, second * cosine + first * sine)
        return query, usual(key, key, cos, sin, **given)[1]

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", crossed)
    with pytest.raises(ValueError, match="queries and keys of LlamaModel are not both turned"):
        clexlab.remap(model, SMALL[0])


def test_keys_that_follow_the_factor_need_the_path_before_the_map():
    model, path = built(), scaling.YaRN.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    with clexlab.remapped(model, SMALL[0]), pytest.raises(ValueError, match=r"extend first, then clexlab\.remap"):
        clexlab.extend(model, path, cache="rerotate")
    clexlab.remap(clexlab.extend(model, path, cache="rerotate"), SMALL[0])


def test_a_forward_that_was_interrupted_leaves_nothing_behind():
    def interrupt(*given):
        raise KeyboardInterrupt

    broken, other, (row,) = clexlab.remap(built(), SMALL[0]), clexlab.remap(built(), SMALL[2]), tokens(9)
    broken.model.layers[0].register_forward_pre_hook(interrupt)
    wanted = other.generate(row, max_new_tokens=3, do_sample=False)
    with pytest.raises(KeyboardInterrupt):
        broken(row)
    left = map_seam.RUNNING.seam
    assert left is not None
    found = other.generate(row, max_new_tokens=3, do_sample=False, cache_implementation="static")
    assert torch.equal(found, wanted)
    with pytest.raises(KeyboardInterrupt):
        broken(row)
    del broken, left
    gc.collect()
    assert map_seam.RUNNING.seam is None


def test_a_layer_shared_with_a_mapped_model_is_refused_in_words():
    one, other = built(), built()
    clexlab.remap(one, SMALL[0])
    other.model.layers[0].self_attn = one.model.layers[0].self_attn
    with pytest.raises(ValueError, match="not one that shares its layers"):
        other(tokens(6)[0])


def test_all_maps_are_tested_here():
    assert {type(m) for m in SMALL} == set(MAPS)
    assert {"remap", "remapped", "unmap"} <= set(dir(clexlab)) and {"remap", "remapped", "unmap"} <= set(hf.__all__)
