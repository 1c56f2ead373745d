"""One matrix over SCALINGS for what every path promises, then parity with transformers and examples per method."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from clexlab import frequencies, scaling
from clexlab.scaling import SCALINGS

GEOMETRIES = [(128, 1e4, 4096), (64, 5e5, 8192), (96, 1e4, 2048)]
FACTORS = torch.tensor([1.0, 1.5, 2.0, 4.0, 7.3, 16.0], dtype=torch.float64)
CLOSED = tuple(method for method in SCALINGS if method is not scaling.CLEX)
# float32 pow of exponents up to ln(1e6): half a dozen roundings of 6e-8.
FLOAT32 = 1e-6


def on(method, geometry):
    head_dim, base, window = geometry
    return method.default(head_dim=head_dim, base=base, window=window)


def config(path, factor, rope_parameters, length=None):
    return LlamaConfig(
        hidden_size=path.head_dim,
        num_attention_heads=1,
        head_dim=path.head_dim,
        max_position_embeddings=length or int(path.window * factor),
        rope_parameters=dict(rope_parameters),
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("method", SCALINGS)
def test_factor_one_returns_the_base_frequencies_bit_for_bit(method, geometry):
    path = on(method, geometry)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(path.inv_freq(1.0, dtype), frequencies.inv_freq(geometry[0], geometry[1], dtype))
    assert path.attention_scale(1.0) == 1.0


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("method", SCALINGS)
def test_a_grid_is_its_factors_one_by_one(method, geometry):
    path = on(method, geometry)
    grid = path.inv_freq(FACTORS)
    assert grid.shape == (len(FACTORS), geometry[0] // 2) and grid.dtype == torch.float32
    one_by_one = torch.stack([path.inv_freq(float(factor)) for factor in FACTORS])
    torch.testing.assert_close(grid, one_by_one, rtol=FLOAT32, atol=0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("method", SCALINGS)
def test_velocity_agrees_with_finite_differences(method, geometry):
    path = on(method, geometry)
    t, h = FACTORS[1:-1], 1e-5
    differences = (path.ratio(t + h).log() - path.ratio(t - h).log()) / (2 * h)
    # Central differences of float64: h² = 1e-10 of the third derivative plus 1e-16/h of rounding.
    torch.testing.assert_close(path.velocity(t, torch.float64), differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", SCALINGS)
def test_velocity_integrated_from_one_gives_the_path(method):
    path = on(method, GEOMETRIES[0])
    nodes, weights = torch.tensor([-0.9061798459, -0.5384693101, 0.0, 0.5384693101, 0.9061798459]), torch.tensor(
        [0.2369268851, 0.4786286705, 0.5688888889, 0.4786286705, 0.2369268851]
    )
    total = torch.zeros(64, dtype=torch.float64)
    for start, end in zip(torch.linspace(0, math.log(8), 33)[:-1], torch.linspace(0, math.log(8), 33)[1:], strict=True):
        u = ((start + end) / 2 + (end - start) / 2 * nodes).double()
        total += ((end - start) / 2 * weights.double()) @ (path.velocity(u.exp(), torch.float64) * u.exp()[:, None])
    # Five-point Gauss on 32 pieces is exact to the ten digits its nodes are typed with.
    torch.testing.assert_close(total, path.ratio(8.0).log(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("method", CLOSED)
def test_hand_made_paths_slow_down_and_keep_their_order(method, geometry):
    path = on(method, geometry)
    grid = torch.linspace(1, 16, 61, dtype=torch.float64)
    theta = path.inv_freq(grid, torch.float64)
    assert bool((path.velocity(grid, torch.float64) <= 0).all())
    assert bool((theta.diff(dim=0) <= 1e-15).all()) and bool((theta.diff(dim=1) <= 0).all())


@pytest.mark.parametrize("method", [m for m in CLOSED if m.name in ("linear", "ntk", "by_parts", "yarn", "llama3")])
def test_these_methods_stay_between_full_interpolation_and_none(method):
    path = on(method, GEOMETRIES[0])
    ratio = path.ratio(FACTORS)
    assert bool((ratio <= 1 + 1e-12).all()) and bool((ratio >= 1 / FACTORS[:, None] - 1e-12).all())


def test_the_others_go_below_full_interpolation_as_published():
    for method in (scaling.DynamicNTK, scaling.ABF):
        assert bool((on(method, GEOMETRIES[0]).ratio(8.0) < 1 / 8 - 1e-3).any())


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("factor", [1.0, 2.0, 4.5, 16.0])
@pytest.mark.parametrize("method", SCALINGS)
def test_the_config_it_writes_makes_transformers_build_the_same_angles(method, geometry, factor):
    path = on(method, geometry)
    rotary = LlamaRotaryEmbedding(config(path, factor, path.rope_parameters(factor)))
    torch.testing.assert_close(rotary.inv_freq, path.inv_freq(factor).detach(), rtol=FLOAT32, atol=0)
    assert math.isclose(rotary.attention_scaling, path.attention_scale(factor), rel_tol=1e-6)


# --- parity of every closed form with transformers, over hundreds of settings ------------------------------------------
pairs = st.integers(4, 128).map(lambda n: 2 * n)
bases = st.floats(1e3, 2e6)
windows = st.sampled_from([512, 2048, 4096, 8192, 32768])
factors = st.floats(1.0, 64.0)


def stock(kind, path, parameters, length=None):
    settings_ = config(path, parameters.get("factor", 1.0), {"rope_type": kind, "rope_theta": path.base, **parameters}, length)
    return ROPE_INIT_FUNCTIONS[kind](settings_, device="cpu", seq_len=length)


@settings(max_examples=100)
@given(head_dim=pairs, base=bases, window=windows, factor=factors)
def test_linear_is_transformers_linear(head_dim, base, window, factor):
    path = scaling.Linear(head_dim=head_dim, base=base, window=window)
    expected, _ = stock("linear", path, {"factor": factor})
    torch.testing.assert_close(path.inv_freq(factor), expected, rtol=FLOAT32, atol=0)


@settings(max_examples=100)
@given(head_dim=pairs, base=bases, window=windows, factor=st.floats(1.0, 16.0), rate=st.sampled_from([1.0, 2.0, 4.0]))
def test_dynamic_ntk_is_transformers_dynamic_at_that_length(head_dim, base, window, factor, rate):
    path = scaling.DynamicNTK(head_dim=head_dim, base=base, window=window, rate=rate)
    length = int(factor * window)
    settings_ = config(path, 1.0, {"rope_type": "dynamic", "rope_theta": base, "factor": rate})
    expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](settings_, device="cpu", seq_len=length)
    # A fresh base is raised to the power here; one more rounding of a logarithm of up to 20.
    torch.testing.assert_close(path.inv_freq(path.factor_for(length)), expected, rtol=4e-6, atol=0)


@settings(max_examples=100)
@given(head_dim=pairs, base=bases, window=windows, factor=factors)
def test_yarn_is_transformers_yarn(head_dim, base, window, factor):
    path = scaling.YaRN(head_dim=head_dim, base=base, window=window)
    expected, attention = stock("yarn", path, {"factor": factor, "original_max_position_embeddings": window})
    torch.testing.assert_close(path.inv_freq(factor), expected, rtol=4e-6, atol=0)
    assert math.isclose(attention, path.attention_scale(factor), rel_tol=1e-12)


@settings(max_examples=100)
@given(head_dim=pairs, base=bases, window=windows, factor=factors, low=st.floats(0.5, 2), high=st.floats(3, 8))
def test_llama3_is_transformers_llama3(head_dim, base, window, factor, low, high):
    path = scaling.Llama3(head_dim=head_dim, base=base, window=window, ramp=scaling.TurnsRamp(low, high))
    expected, _ = stock(
        "llama3",
        path,
        {"factor": factor, "low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": window},
    )
    # The blend subtracts float32 numbers of order L/λ; near the ramp's ends that leaves five digits.
    torch.testing.assert_close(path.inv_freq(factor), expected, rtol=2e-5, atol=0)


@settings(max_examples=100)
@given(head_dim=pairs, base=bases, window=windows, data=st.data())
def test_longrope_at_its_own_factor_is_transformers_longrope(head_dim, base, window, data):
    divisors = data.draw(st.lists(st.floats(1.0, 60.0), min_size=head_dim // 2, max_size=head_dim // 2))
    path = scaling.LongRoPE(head_dim=head_dim, base=base, window=window, factors=tuple(divisors), max_factor=32.0)
    expected, attention = stock(
        "longrope",
        path,
        {"factor": 32.0, "long_factor": divisors, "short_factor": [1.0] * len(divisors), "original_max_position_embeddings": window},
        length=32 * window,
    )
    torch.testing.assert_close(path.inv_freq(32.0), expected, rtol=FLOAT32, atol=0)
    assert math.isclose(attention, path.attention_scale(32.0), rel_tol=1e-12)


# --- examples and identities -------------------------------------------------------------------------------------------
def test_ntk_leaves_the_first_pair_divides_the_last_by_t_and_is_linear_between():
    path = on(scaling.NTK, GEOMETRIES[0])
    log_ratio = path.ratio(8.0).log()
    assert log_ratio[0] == 0 and math.isclose(log_ratio[-1], -math.log(8), rel_tol=1e-12)
    torch.testing.assert_close(log_ratio.diff(), log_ratio[1].expand(63), rtol=1e-9, atol=1e-12)


def test_dynamic_ntk_at_rate_one_is_ntk():
    one = scaling.DynamicNTK(head_dim=128, base=1e4, window=4096, rate=1.0)
    torch.testing.assert_close(one.ratio(FACTORS), on(scaling.NTK, GEOMETRIES[0]).ratio(FACTORS), rtol=1e-12, atol=0)


def test_abf_with_the_power_of_ntk_is_ntk():
    power = 128 / 126
    path = scaling.ABF(head_dim=128, base=1e4, window=4096, new_base=1e4 * 8**power, at_factor=8.0)
    torch.testing.assert_close(path.ratio(FACTORS), on(scaling.NTK, GEOMETRIES[0]).ratio(FACTORS), rtol=1e-12, atol=0)
    published = on(scaling.ABF, GEOMETRIES[0])
    # 500 000 from 10 000: NTK at s = 50^(126/128) = 47.04, scaling.md §8.
    assert math.isclose(1 / published.ratio(8.0)[-1], 47.04, rel_tol=1e-3)


@pytest.mark.parametrize("window, base, ends", [(4096, 1e4, (20, 46)), (2048, 1e4, (16, 41)), (8192, 5e5, (18, 35))])
def test_yarns_index_ramp_has_the_published_ends(window, base, ends):
    kept = scaling.YaRN(head_dim=128, base=base, window=window).kept()
    low, high = ends
    assert kept[low] == 1 and kept[low + 1] < 1 and kept[high] == 0 and kept[high - 1] > 0


@pytest.mark.parametrize("window, factor, base, gap", [(4096, 16, 1e4, 0.67), (2048, 4, 1e4, 0.43), (8192, 8, 5e5, 0.56)])
def test_the_two_yarn_ramps_differ_by_the_stated_share(window, factor, base, gap):
    code = scaling.YaRN(head_dim=128, base=base, window=window)
    paper = scaling.YaRN(head_dim=128, base=base, window=window, ramp=scaling.TurnsRamp())
    worst = (1 - paper.ratio(factor) / code.ratio(factor)).abs().max()
    assert math.isclose(worst, gap, abs_tol=0.005)


def test_frequency_and_wavelength_blend_differ_most_by_two_and_a_half():
    frequency = scaling.YaRN(head_dim=128, base=1e4, window=4096)
    wavelength = scaling.YaRN(head_dim=128, base=1e4, window=4096, blend=scaling.WavelengthBlend())
    assert math.isclose((frequency.ratio(8.0) / wavelength.ratio(8.0)).max(), 2.5, abs_tol=0.05)


def test_llama3_is_the_papers_ramp_between_one_and_four_turns():
    llama = scaling.Llama3(head_dim=128, base=5e5, window=8192)
    by_parts = scaling.ByParts(head_dim=128, base=5e5, window=8192, ramp=scaling.TurnsRamp(1, 4))
    assert torch.equal(llama.ratio(FACTORS), by_parts.ratio(FACTORS))
    ratio = llama.ratio(8.0)
    assert (int((ratio == 1).sum()), int((ratio == 1 / 8).sum())) == (29, 29)


def test_longrope_contains_pi_ntk_and_identity():
    def with_factors(factors):
        return scaling.LongRoPE(head_dim=128, base=1e4, window=4096, factors=tuple(factors), max_factor=8.0)

    ntk = on(scaling.NTK, GEOMETRIES[0])
    torch.testing.assert_close(with_factors([8.0] * 64).ratio(8.0), torch.full((64,), 1 / 8, dtype=torch.float64))
    torch.testing.assert_close(with_factors([1.0] * 64).ratio(8.0), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(with_factors((1 / ntk.ratio(8.0)).tolist()).ratio(8.0), ntk.ratio(8.0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("factor, scale", [(2, 1.0693), (4, 1.1386), (8, 1.2079), (16, 1.2773), (32, 1.3466)])
def test_yarns_temperature_is_the_published_one(factor, scale):
    assert math.isclose(on(scaling.YaRN, GEOMETRIES[0]).attention_scale(factor), scale, abs_tol=5e-5)
    assert math.isclose(scaling.LongRoPE.default(head_dim=128, base=1e4, window=4096).attention_scale(16.0), math.sqrt(1 + 4 / 12))


def test_deepseeks_two_constants_give_its_ratio():
    path = scaling.YaRN(head_dim=64, base=1e4, window=4096, mscale=1.0, mscale_all_dim=1.0)
    assert path.attention_scale(40.0) == 1.0


# --- bad input ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", SCALINGS)
@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("nan"), float("inf"), 10**400, True, "4", torch.tensor([True])])
def test_factors_that_are_none_are_refused(method, factor, unchecked):
    path = on(method, GEOMETRIES[0])
    with pytest.raises(ValueError, match="factor"):
        path.check_factor(factor)
    for verb in (path.inv_freq, path.velocity, path.attention_scale, path.rope_parameters):
        with pytest.raises(ValueError, match="factor"):
            verb(factor)


@pytest.mark.parametrize("method", SCALINGS)
def test_bad_grids_dtypes_and_lengths_are_refused(method, unchecked):
    path = on(method, GEOMETRIES[0])
    with pytest.raises(ValueError, match="one-dimensional"):
        path.check_factor(torch.ones(2, 2))
    with pytest.raises(ValueError, match="one-dimensional"):
        path.check_factor(torch.ones(0))
    for verb in (path.attention_scale, path.rope_parameters):
        with pytest.raises(ValueError, match="one factor at a time"):
            verb(torch.tensor([2.0, 4.0]))
    with pytest.raises(ValueError, match="float32 or float64"):
        path.inv_freq(2.0, torch.bfloat16)
    with pytest.raises(ValueError, match="positive number of tokens"):
        path.factor_for(0)
    assert path.factor_for(100) == 1.0 and path.factor_for(2 * path.window) == 2.0


@pytest.mark.parametrize("method", SCALINGS)
def test_unknown_missing_unnamed_and_impossible_options_are_refused(method, unchecked):
    with pytest.raises(ValueError, match=r"unknown \['speed'\]; its options"):
        method(head_dim=128, base=1e4, window=4096, speed=2)
    with pytest.raises(ValueError, match="no .*window"):
        method(head_dim=128, base=1e4)
    with pytest.raises(ValueError, match="by name"):
        method(128, 1e4, 4096)
    for broken in ({"head_dim": 127}, {"base": 0.0}, {"base": float("nan")}, {"window": 0}, {"window": 4096.5}):
        with pytest.raises(ValueError, match="|".join(broken)):
            on(method, tuple({"head_dim": 128, "base": 1e4, "window": 4096, **broken}.values()))


def test_options_of_single_methods_are_checked(unchecked):
    geometry = dict(head_dim=128, base=1e4, window=4096)
    with pytest.raises(ValueError, match="smaller one"):
        scaling.TurnsRamp(slow=32, fast=1)
    with pytest.raises(ValueError, match="rate"):
        scaling.DynamicNTK(**geometry, rate=0.0)
    with pytest.raises(ValueError, match="larger than the trained base"):
        scaling.ABF(**geometry, new_base=1e3)
    with pytest.raises(ValueError, match="one divisor per pair"):
        scaling.LongRoPE(**geometry, factors=(1.0, 2.0), max_factor=4.0)
    with pytest.raises(ValueError, match="factors is None"):
        scaling.LongRoPE(**geometry, factors=None, max_factor=4.0)
    with pytest.raises(ValueError, match="ramp is"):
        scaling.YaRN(**geometry, ramp="paper")
    with pytest.raises(ValueError, match=r"factors\[3\]"):
        scaling.LongRoPE(**geometry, factors=(1.0,) * 3 + (0.0,) + (1.0,) * 60, max_factor=4.0)
    with pytest.raises(ValueError, match="larger max_factor"):
        scaling.LongRoPE(**geometry, factors=(2.0,) * 64, max_factor=4.0).inv_freq(5.0)
    with pytest.raises(ValueError, match="raise max_factor or shorten"):
        scaling.LongRoPE(**geometry, factors=(2.0,) * 64, max_factor=4.0).factor_for(5 * 4096)
    with pytest.raises(ValueError, match="use ByParts"):
        scaling.Llama3(**geometry, ramp=scaling.IndexRamp())
    with pytest.raises(ValueError, match="mscale"):
        scaling.YaRN(**geometry, mscale=-1.0)
    with pytest.raises(ValueError, match="fits this window"):
        scaling.YaRN(head_dim=128, base=1e4, window=2)


@pytest.mark.parametrize("method", CLOSED)
def test_closed_forms_are_values(method):
    path, same = on(method, GEOMETRIES[0]), on(method, (128, 10_000, 4096))
    assert path == same and hash(path) == hash(same) and path != on(method, GEOMETRIES[1])
    assert pickle.loads(pickle.dumps(path)) == copy.deepcopy(path) == path


@pytest.mark.parametrize("method", SCALINGS)
def test_factors_may_be_whole_numbers_and_whole_tensors(method):
    path = on(method, GEOMETRIES[0])
    assert torch.equal(path.inv_freq(4), path.inv_freq(4.0))
    assert torch.equal(path.inv_freq(torch.arange(1, 5)), path.inv_freq(torch.arange(1.0, 5.0)))
    assert torch.equal(path.inv_freq(torch.tensor(4)), path.inv_freq(4.0))


def test_names_are_unique_and_lead_back_to_the_class():
    assert [scaling.by_name(method.name) for method in SCALINGS] == list(SCALINGS)
    with pytest.raises(ValueError, match="yarn"):
        scaling.by_name("yearn")


@pytest.mark.parametrize("method", scaling.SCALINGS)
def test_every_method_has_its_frequencies_as_longrope_too(method):
    path = method.default(head_dim=16, base=1e4, window=32)
    entry = path.longrope_parameters(3.0)
    assert entry["rope_type"] == "longrope" and entry["short_factor"] == entry["long_factor"]
    divisors = torch.tensor(entry["long_factor"], dtype=torch.float64)
    torch.testing.assert_close(frequencies.inv_freq(16, 1e4, torch.float64) / divisors, path.inv_freq(3.0, torch.float64).detach())
    assert entry["attention_factor"] == path.attention_scale(3.0)
    with pytest.raises(ValueError, match="outside 1"):
        path.longrope_parameters(0.5)
