"""Frequencies, wavelengths and turns: explicit loops and transformers as second sources."""

import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from clexlab import frequencies


@pytest.mark.parametrize("head_dim, base", [(32, 1e4), (64, 5e5), (128, 1e4), (128, 1e6), (256, 1e4)])
def test_float32_frequencies_are_transformers_own_bit_for_bit(head_dim, base):
    parameters = {"rope_type": "default", "rope_theta": base}
    config = LlamaConfig(hidden_size=head_dim, num_attention_heads=1, head_dim=head_dim, rope_parameters=parameters)
    assert torch.equal(frequencies.inv_freq(head_dim, base), LlamaRotaryEmbedding(config).inv_freq)


@given(pairs=st.integers(2, 128), base=st.floats(2, 1e7))
def test_frequencies_match_the_formula_pair_by_pair(pairs, base):
    expected = [math.exp(-2 * j / (2 * pairs) * math.log(base)) for j in range(pairs)]
    # exp(log) against pow in double precision.
    theta = frequencies.inv_freq(2 * pairs, base, torch.float64)
    torch.testing.assert_close(theta, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@given(pairs=st.integers(2, 64), base=st.floats(10, 1e6), window=st.integers(8, 200_000))
def test_critical_pair_counts_the_wavelengths_that_fit(pairs, base, window):
    theta = frequencies.inv_freq(2 * pairs, base, torch.float64)
    critical = frequencies.critical_pair(theta, window)
    assert all(2 * math.pi / t <= window for t in theta[:critical].tolist())
    assert all(2 * math.pi / t > window for t in theta[critical:].tolist())


def test_eighteen_of_llama_2s_pairs_never_complete_a_turn():
    theta = frequencies.inv_freq(128, 1e4)
    assert frequencies.critical_pair(theta, 4096) == 46
    assert 64 - frequencies.critical_pair(theta, 4096) == 18


def test_a_turn_is_one_wavelength():
    theta = frequencies.inv_freq(64, 1e4, torch.float64)
    for wavelength, frequency in zip(frequencies.wavelengths(theta), theta, strict=True):
        assert math.isclose(float(frequencies.turns(frequency[None], float(wavelength))), 1.0, rel_tol=1e-12)


def test_coverage_is_one_when_interpolated_and_t_when_not():
    theta = frequencies.inv_freq(128, 1e4, torch.float64)
    same, squeezed = theta, theta / 8
    assert torch.allclose(frequencies.phase_coverage(same, theta, 4096, 8 * 4096), torch.full((64,), 8.0, dtype=torch.float64))
    assert torch.allclose(frequencies.phase_coverage(squeezed, theta, 4096, 8 * 4096), torch.ones(64, dtype=torch.float64))
    assert not frequencies.meets_new_angles(squeezed, theta, 4096, 8 * 4096).any()
    assert int(frequencies.meets_new_angles(same, theta, 4096, 8 * 4096).sum()) == 18


@pytest.mark.parametrize(
    "head_dim, base, dtype, words",
    [
        (127, 1e4, torch.float32, "even"),
        (2, 1e4, torch.float32, "at least 4"),
        (128, 1.0, torch.float32, "above 1"),
        (128, float("nan"), torch.float32, "finite"),
        (128, 10**400, torch.float32, "finite"),
        (128, 1e4, torch.bfloat16, "float32 or float64"),
    ],
)
def test_bad_geometry_is_refused(head_dim, base, dtype, words):
    with pytest.raises(ValueError, match=words):
        frequencies.inv_freq(head_dim, base, dtype)


def test_python_and_numpy_numbers_give_the_same_frequencies(unchecked):
    expected = frequencies.inv_freq(64, 1e4)
    for head_dim, base in [(64, 10_000), (numpy.int64(64), numpy.float32(1e4)), (numpy.int32(64), numpy.float64(1e4))]:
        assert torch.equal(frequencies.inv_freq(head_dim, base), expected)


def test_bad_lengths_and_frequencies_are_refused(unchecked):
    theta = frequencies.inv_freq(16)
    with pytest.raises(ValueError, match="positive number of tokens"):
        frequencies.turns(theta, 0)
    with pytest.raises(ValueError, match="positive number of tokens"):
        frequencies.phase_coverage(theta, theta, float("nan"), 8)
    with pytest.raises(ValueError, match="finite and positive"):
        frequencies.wavelengths(theta * float("nan"))
    with pytest.raises(ValueError, match="rises"):
        frequencies.critical_pair(theta.flip(0), 8)
    with pytest.raises(ValueError, match="both must come from one head_dim"):
        frequencies.phase_coverage(theta[:3], theta, 8, 8)
    with pytest.raises(ValueError, match="whole number of tokens"):
        frequencies.Geometry("broken", 128, 1e4, 0, "nowhere")


def test_values_of_the_wrong_kind_are_refused(unchecked):
    theta = frequencies.inv_freq(16)
    with pytest.raises(ValueError, match="one model at one factor"):
        frequencies.critical_pair(torch.stack([theta, theta]), 8)
    for length in ("a", True, None):
        with pytest.raises(ValueError, match="positive number of tokens"):
            frequencies.turns(theta, length)
