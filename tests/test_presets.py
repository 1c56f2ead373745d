"""Presets against transformers: every model's published settings, built twice, must be the same frequencies."""

import copy

import pytest
import torch
from transformers import GptOssConfig, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from clexlab import frequencies, presets, scaling

NAMES = [geometry.name for geometry in presets.PRESETS]
SCALED = [geometry for geometry in presets.PRESETS if geometry.rope_parameters]


def transformers_rope(geometry, length):
    """What transformers makes of the model's rope_parameters: (inverse frequencies, attention factor)."""
    config = LlamaConfig(
        hidden_size=4 * geometry.head_dim,
        num_attention_heads=4,
        head_dim=geometry.head_dim,
        max_position_embeddings=length,
        # transformers writes into the dictionary it is given.
        rope_parameters=copy.deepcopy(geometry.rope_parameters),
    )
    return ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, seq_len=length)


def test_names_are_unique_and_found_again():
    assert len(set(NAMES)) == len(NAMES) >= 20
    for geometry in presets.PRESETS:
        assert presets.by_name(geometry.name) is geometry


@pytest.mark.parametrize("geometry", presets.PRESETS, ids=NAMES)
def test_every_preset_says_where_its_numbers_can_be_checked(geometry):
    assert any(word in geometry.source for word in ("config.json", ".py", "arXiv", "docs/")), geometry.source
    assert geometry.window >= 2048 and geometry.head_dim % 2 == 0


@pytest.mark.parametrize("geometry", SCALED, ids=[geometry.name for geometry in SCALED])
def test_published_settings_give_transformers_frequencies(geometry):
    factor = presets.published_factor(geometry)
    expected, attention = transformers_rope(geometry, int(factor * geometry.window))
    path = presets.published_scaling(geometry)
    # Ours is float64 rounded once; transformers rounds to float32 after each of at most eight operations, 2^-24 each.
    torch.testing.assert_close(path.inv_freq(factor), expected, rtol=8 * 2**-24, atol=0)
    assert path.attention_scale(factor) == pytest.approx(attention, rel=1e-12)


@pytest.mark.parametrize("geometry", SCALED, ids=[geometry.name for geometry in SCALED])
def test_the_path_writes_back_what_the_model_published(geometry):
    written = presets.published_scaling(geometry).rope_parameters(presets.published_factor(geometry))
    rewritten = frequencies.Geometry(geometry.name, geometry.head_dim, geometry.base, geometry.window, geometry.source, written)
    length = int(presets.published_factor(geometry) * geometry.window)
    torch.testing.assert_close(transformers_rope(rewritten, length), transformers_rope(geometry, length), rtol=1e-6, atol=0)


@pytest.mark.parametrize("geometry", presets.PRESETS, ids=NAMES)
def test_every_path_starts_at_the_trained_frequencies(geometry):
    path = presets.published_scaling(geometry)
    assert torch.equal(path.inv_freq(1.0), geometry.inv_freq())
    assert path.attention_scale(1.0) == 1.0


def test_models_without_settings_are_unscaled():
    llama = presets.by_name("Llama-2-7B")
    assert isinstance(presets.published_scaling(llama), scaling.Identity)
    assert presets.published_factor(llama) == 1.0


def test_gpt_oss_is_what_transformers_ships():
    ours, theirs = presets.by_name("gpt-oss-20b"), GptOssConfig()
    assert (ours.head_dim, ours.base) == (theirs.head_dim, theirs.default_theta)
    assert {key: theirs.rope_parameters[key] for key in ours.rope_parameters} == ours.rope_parameters
    # Its ramp's ends are not whole pairs; rounding them changes the frequencies visibly.
    rounded = scaling.YaRN(head_dim=ours.head_dim, base=ours.base, window=ours.window)
    path = presets.published_scaling(ours)
    assert (path.inv_freq(32.0) / rounded.inv_freq(32.0) - 1).abs().max() > 0.05


def test_deepseek_keeps_its_temperature_out_of_the_rotation():
    for name in ("DeepSeek-V2", "DeepSeek-V3"):
        assert presets.published_scaling(presets.by_name(name)).attention_scale(40.0) == 1.0


def test_phi3_long_factors_fill_every_pair_and_never_fall():
    phi = presets.by_name("Phi-3-mini-128k")
    long, short = phi.rope_parameters["long_factor"], phi.rope_parameters["short_factor"]
    assert len(long) == len(short) == phi.pairs
    assert long == sorted(long) and short == sorted(short)
    # The temperature its authors' file implies, 1.1902 (general metadata of published conversions: 1.190238).
    assert presets.published_scaling(phi).attention_scale(32.0) == pytest.approx(1.190238, abs=1e-6)


def test_factor_times_window_is_the_length_the_model_is_sold_with():
    for name in ("Phi-3-mini-128k", "gpt-oss-20b", "Qwen2.5-7B", "Qwen3-8B"):
        geometry = presets.by_name(name)
        assert presets.published_factor(geometry) * geometry.window == 131072, name


def test_an_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="Llama-2-7B.*Qwen3-8B"):
        presets.by_name("Llama-7")


def test_an_unknown_rope_type_is_refused():
    geometry = frequencies.Geometry("made up", 64, 1e4, 4096, "none", {"rope_type": "axial"})
    with pytest.raises(ValueError, match="axial.*linear, llama3, yarn, longrope"):
        presets.published_scaling(geometry)


@pytest.mark.parametrize(
    "rope_type, missing", [("linear", "factor"), ("longrope", "long_factor"), ("llama3", "low_freq_factor"), ("yarn", "factor")]
)
def test_a_missing_setting_is_named(rope_type, missing):
    geometry = frequencies.Geometry("made up", 64, 1e4, 4096, "none", {"rope_type": rope_type})
    with pytest.raises(ValueError, match=missing):
        presets.published_scaling(geometry).inv_freq(presets.published_factor(geometry))


@pytest.mark.parametrize("key, value", [("original_max_position_embeddings", 131072), ("rope_theta", 1e6)])
def test_settings_that_contradict_the_geometry_are_refused(key, value):
    parameters = {"rope_type": "linear", "factor": 4.0, key: value}
    with pytest.raises(ValueError, match="make them agree"):
        presets.published_scaling(frequencies.Geometry("made up", 64, 1e4, 4096, "none", parameters))


def test_settings_that_change_the_answer_are_not_ignored():
    def geometry(**changes: object) -> frequencies.Geometry:
        parameters = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, **changes}
        return frequencies.Geometry("made up", 128, 1e4, 4096, "nowhere", parameters)

    own = presets.published_scaling(geometry()).rope_parameters(4.0)
    assert presets.published_scaling(geometry(attention_factor=own["attention_factor"])) == presets.published_scaling(geometry())
    with pytest.raises(ValueError, match="attention_factor 1.0"):
        presets.published_scaling(geometry(attention_factor=1.0))
    with pytest.raises(ValueError, match="at least 1"):
        presets.published_factor(geometry(factor=0.5))
