"""LongRoPE's start tokens: the first n̂ positions keep their angles, in every layout, through caches, on disk, and nowhere else."""

import copy
import json
import math

import pytest
import torch
from hf_models import by_name, tokens

import clexlab
from clexlab import hf, positions, rope, scaling
from clexlab.hf import spec

L, TOP = 16, 4.0
# Logits have a spread of 1; roundings of angles and of sums stay below, wrong angles give above 0.5.
LOGITS = 2e-4
# Half-split, interleaved, partial, several layer types.
LAYOUTS = ("llama", "cohere", "gpt_neox", "gemma3")


def path_on(model, start=3, window=L, limit=TOP):
    """LongRoPE with divisors that rise from 1 to 5."""
    found = hf.geometry(model)
    factors = tuple(torch.linspace(1.0, 5.0, found.pairs).tolist())
    return scaling.LongRoPE(
        head_dim=found.head_dim, base=found.base, window=window, factors=factors, max_factor=limit, start=start
    )


def by_hand(path, count, factor):
    """Angles (count, pairs) by loops over positions and pairs."""
    rows = []
    for position in range(count):
        row = []
        for pair in range(path.pairs):
            theta = path.base ** (-2 * pair / path.head_dim)
            divisor = 1 + (path.factors[pair] - 1) * (factor - 1) / (path.max_factor - 1)
            row.append(position * theta / (1 if position < path.start else divisor))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def logits(model, ids, **inputs):
    with torch.no_grad():
        return model(ids, **inputs).logits


# ------------------------------------------------------------------------------------------------ angles


@pytest.mark.parametrize("start", [0, 1, 5, 16])
@pytest.mark.parametrize("factor", [1.0, 2.5, 4.0])
def test_angles_are_those_of_loops_over_positions_and_pairs(start, factor):
    path = path_on(by_name("llama").build(), start)
    torch.testing.assert_close(path.angles(torch.arange(40), factor), by_hand(path, 40, factor), rtol=3e-7, atol=0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_model_turns_by_the_angles_of_the_loops_in_every_layout(name):
    model = by_name(name).build(window=L)
    path = path_on(model)
    clexlab.extend(model, path, factor=TOP)
    rotary = hf.rotary_of(model)
    layer_type = () if rotary.scaled is None else rotary.scaled[:1]
    cos, sin = rotary(torch.zeros(1), torch.arange(40)[None], *layer_type)
    angles, scale = by_hand(path, 40, TOP), path.attention_scale(TOP)
    angles = angles.repeat_interleave(2, -1) if name == "cohere" else torch.cat((angles, angles), -1)
    # Float32 angles up to 40: half a unit of the last place, and cos and sin as much again.
    torch.testing.assert_close(cos[0].double(), scale * angles.cos(), rtol=0, atol=1e-5)
    torch.testing.assert_close(sin[0].double(), scale * angles.sin(), rtol=0, atol=1e-5)


def test_without_start_tokens_it_is_the_stock_longrope_of_transformers():
    tiny, (ids,) = by_name("llama"), tokens(48)
    model = tiny.build(window=L)
    path = path_on(model, start=0)
    stock = tiny.build(window=L, rope_parameters=path.rope_parameters(TOP), max_position_embeddings=L * 4)
    with clexlab.extended(model, path, factor=TOP):
        torch.testing.assert_close(logits(model, ids), logits(stock, ids), rtol=0, atol=LOGITS)


def test_a_text_of_start_tokens_alone_is_read_as_by_the_plain_model_with_the_temperature():
    model, (ids,) = by_name("llama").build(window=L), tokens(L)
    path = path_on(model, start=L)
    plain = path_on(model, start=0)
    plain = scaling.LongRoPE(**{**vars(plain), "factors": (1.0,) * plain.pairs})
    with clexlab.extended(model, plain, factor=TOP):
        wanted = logits(model, ids)
    with clexlab.extended(model, path, factor=TOP):
        torch.testing.assert_close(logits(model, ids), wanted, rtol=0, atol=LOGITS)


def test_start_tokens_change_what_a_long_text_is_read_as():
    model, (ids,) = by_name("llama").build(window=L), tokens(48)
    found = []
    for start in (0, 1, 4):
        with clexlab.extended(model, path_on(model, start), factor=TOP):
            found.append(logits(model, ids))
    # Position 0 has angle 0 either way.
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=LOGITS)
    assert (found[0] - found[2]).abs().max() > 0.1


def test_each_row_has_its_own_factor_and_the_same_start_tokens():
    model, rows = by_name("llama").build(window=L), tokens(48, 40)
    clexlab.extend(model, path_on(model))
    padded = torch.cat((rows[0], torch.cat((torch.zeros(1, 8, dtype=torch.long), rows[1]), 1)))
    mask = (padded != 0).long()
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    together = logits(model, padded, attention_mask=mask, position_ids=places)
    torch.testing.assert_close(together[:1], logits(model, rows[0]), rtol=0, atol=LOGITS)
    torch.testing.assert_close(together[1:, 8:], logits(model, rows[1]), rtol=0, atol=LOGITS)


# ------------------------------------------------------------------------------------------------ relative, and not


def score(path, query, key, q, k):
    """The score of a query and a key at two positions."""
    angles = path.angles(torch.tensor([query, key]), path.max_factor)
    turned = rope.rotate(torch.stack((q, k)), angles)
    return float(turned[0] @ turned[1])


def test_scores_depend_on_distance_alone_on_either_side_of_the_boundary_and_not_across_it():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    path = scaling.LongRoPE(head_dim=64, base=1e4, window=4096, factors=(4.0,) * 32, max_factor=4.0, start=64)
    beyond = [score(path, place + 9, place, q, k) for place in (64, 65, 100, 5000)]
    below = [score(path, place + 9, place, q, k) for place in (0, 7, 54)]
    # Angles are float32 products of up to 5000: 3e-4 of a radian, times a score of about 8.
    assert max(beyond) - min(beyond) < 5e-3 and max(below) - min(below) < 5e-3
    across = [score(path, place + 9, place, q, k) for place in (55, 58, 60, 63)]
    assert max(across) - min(across) > 1
    assert all(abs(value - beyond[0]) > 0.1 and abs(value - below[0]) > 0.1 for value in across)


def test_the_effective_position_falls_at_the_boundary():
    path = scaling.LongRoPE(head_dim=64, base=1e4, window=4096, factors=(4.0,) * 32, max_factor=4.0, start=64)
    angles = path.angles(torch.tensor([63, 64]), 4.0)[:, 0]
    assert angles.tolist() == [63.0, 16.0]


# ------------------------------------------------------------------------------------------------ caches


def in_parts(model, ids, sizes):
    cache, outputs, start = None, [], 0
    with torch.no_grad():
        for size in sizes:
            out = model(ids[:, start : start + size], past_key_values=cache, use_cache=True)
            cache, start = out.past_key_values, start + size
            outputs.append(out.logits)
    return torch.cat(outputs, 1)


def test_parts_over_a_cache_are_read_as_the_whole_text_at_a_pinned_factor():
    model, (ids,) = by_name("llama").build(window=L), tokens(48)
    clexlab.extend(model, path_on(model), factor=TOP)
    torch.testing.assert_close(in_parts(model, ids, (2, 1, 1, 20, 1, 23)), logits(model, ids), rtol=0, atol=LOGITS)


@pytest.mark.parametrize("cache", ["frozen", "refill"])
def test_generation_with_a_cache_is_generation_without(cache):
    model, (ids,) = by_name("llama").build(window=L), tokens(14)
    path = path_on(model)
    clexlab.extend(model, path, cache=cache)
    options = dict(max_new_tokens=20, do_sample=False)
    cached = model.generate(ids, **options)
    if cache == "frozen":
        # Without a cache the factor would follow the length; frozen plans it for all 34 tokens, three windows.
        hf.restore(model)
        clexlab.extend(model, path, factor=3.0)
    assert torch.equal(cached, model.generate(ids, use_cache=False, **options))


@pytest.mark.parametrize("name", LAYOUTS)
def test_keys_are_turned_where_they_are_scaled_and_left_where_they_are_not(name):
    """In one layer `rerotate` is exact: the last token of every part is read as in the whole text."""
    model, (ids,) = by_name(name).build(layers=1, window=L), tokens(48)
    clexlab.extend(model, path_on(model), cache="rerotate")
    sizes = (14, 1, 1, 1, 13, 1, 1, 1, 15)
    parts, ends = in_parts(model, ids, sizes), torch.tensor(sizes).cumsum(0)
    for end in ends.tolist():
        torch.testing.assert_close(parts[:, end - 1], logits(model, ids[:, :end])[:, -1], rtol=0, atol=LOGITS)


# ------------------------------------------------------------------------------------------------ training, moving, saving


def test_in_training_drawn_positions_below_n_keep_their_angles():
    model, (ids,) = by_name("llama").build(window=L), tokens(L)
    path = path_on(model)
    sampler = positions.SkipWise(window=L, factors=positions.FixedFactor(TOP))
    clexlab.extend(model, path, positions=sampler)
    model.train()
    torch.manual_seed(0)
    found = model(ids).logits
    torch.manual_seed(0)
    draw = sampler.draw(L, torch.default_generator)
    hf.restore(model).eval()
    with clexlab.extended(model, path, factor=TOP):
        wanted = logits(model, ids, position_ids=draw.positions[None].long(), attention_mask=torch.ones(1, L, dtype=torch.long))
    torch.testing.assert_close(found, wanted, rtol=0, atol=LOGITS)


def test_a_pinned_model_can_be_copied_and_cast_with_its_start_tokens_in_float32():
    model, (ids,) = by_name("llama").build(window=L), tokens(40)
    clexlab.extend(model, path_on(model), factor=TOP)
    wanted = logits(model, ids)
    torch.testing.assert_close(logits(copy.deepcopy(model), ids), wanted, rtol=0, atol=0)
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert hf.rotary_of(half).constant.starts.theta.dtype == torch.float32
    assert torch.equal(hf.rotary_of(half).constant.starts.theta, hf.rotary_of(model).constant.starts.theta)


def test_a_saved_model_comes_back_with_its_start_tokens(tmp_path):
    model, (ids,) = by_name("llama").build(window=L), tokens(40)
    path = path_on(model)
    clexlab.extend(model, path)
    model.save_pretrained(tmp_path / "saved")
    again = clexlab.load(tmp_path / "saved")
    assert hf.rotary_of(again).scaling == path
    assert torch.equal(logits(again, ids), logits(model, ids))


def test_a_description_names_start_tokens_only_where_there_are_some():
    model = by_name("llama").build(window=L)
    without, some = spec.describe(path_on(model, 0)), spec.describe(path_on(model, 3))
    assert list(without) == ["name", "head_dim", "base", "window", "factors", "max_factor"]
    assert some == without | {"start": 3}
    assert "start" not in repr(path_on(model, 0)) and repr(path_on(model, 3)).endswith(", max_factor=4.0, start=3)")
    for described in (without, some):
        path = spec.build(json.loads(json.dumps(described)))
        assert spec.describe(path) == described and eval(repr(path), {"LongRoPE": scaling.LongRoPE}) == path
    assert path_on(model, 0) != path_on(model, 3)


# ------------------------------------------------------------------------------------------------ refusals


def test_what_no_stock_program_can_do_is_not_exported(tmp_path):
    model = by_name("llama").build(window=L)
    clexlab.extend(model, path_on(model))
    for ask in (
        lambda: clexlab.export(model, factor=4, path=tmp_path / "out"),
        lambda: hf.stock_config(model, 4.0),
        lambda: hf.rotary_of(model).scaling.rope_parameters(4.0),
        lambda: hf.rotary_of(model).scaling.longrope_parameters(4.0),
    ):
        with pytest.raises(ValueError, match="start is 3: no stock rope type keeps the angles of first positions"):
            ask()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("start", [-1, 2.5, True, L + 1, "4", math.nan, None])
def test_what_is_no_number_of_first_positions_is_refused(start, unchecked):
    with pytest.raises(ValueError, match="start is .*from 0 to the window of 16"):
        path_on(by_name("llama").build(), start)


def test_a_learned_path_takes_no_prior_with_start_tokens():
    prior = path_on(by_name("llama").build(window=L))
    with pytest.raises(ValueError, match="leaves 3 start tokens unscaled"):
        scaling.CLEX(head_dim=16, base=1e4, window=L, max_factor=4.0, prior=prior)


def test_positions_of_several_axes_are_refused():
    model = by_name("llama").build(window=L)
    clexlab.extend(model, path_on(model), factor=TOP)
    with pytest.raises(ValueError, match="one position a token"):
        hf.rotary_of(model)(torch.zeros(1), torch.zeros(3, 1, 8, dtype=torch.long))
