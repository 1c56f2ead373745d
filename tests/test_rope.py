"""Rotation of vectors: properties first, then complex numbers and transformers as second sources, then bad input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from clexlab import frequencies, rope

HEAD_DIM = 16
# Double-precision trigonometry of angles up to a few thousand radians keeps about 12 digits.
EXACT = dict(rtol=1e-10, atol=1e-10)


def vectors(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, HEAD_DIM, generator=generator, dtype=dtype)


def turned(x: torch.Tensor, positions: torch.Tensor, pairing: rope.Pairing = rope.HalfSplit) -> torch.Tensor:
    return rope.rotate(x, rope.angles(positions, frequencies.inv_freq(HEAD_DIM, dtype=torch.float64)), pairing)


@pytest.mark.parametrize("pairing", rope.PAIRINGS)
def test_rotation_keeps_norms_and_position_zero(pairing, generator):
    x = vectors(32, generator)
    y = turned(x, torch.arange(32), pairing)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), **EXACT)
    assert torch.equal(y[0], x[0])


@pytest.mark.parametrize("pairing", rope.PAIRINGS)
@given(m=st.integers(0, 4096), n=st.integers(0, 4096), shift=st.integers(-4096, 4096))
def test_scores_depend_only_on_distance(pairing, m, n, shift):
    generator = torch.Generator().manual_seed(m + n)
    q, k = vectors(1, generator), vectors(1, generator)

    def score(a: int, b: int) -> torch.Tensor:
        return (turned(q, torch.tensor([a]), pairing) * turned(k, torch.tensor([b]), pairing)).sum()

    torch.testing.assert_close(score(m, n), score(m + shift, n + shift), **EXACT)


@pytest.mark.parametrize("pairing", rope.PAIRINGS)
def test_rotations_add_up(pairing, generator):
    x = vectors(8, generator)
    first, second = torch.arange(8), torch.arange(8) * 7
    twice = turned(turned(x, first, pairing), second, pairing)
    torch.testing.assert_close(twice, turned(x, first + second, pairing), **EXACT)


def test_rotation_is_complex_multiplication(generator):
    x = vectors(64, generator)
    positions = torch.arange(64)
    theta = frequencies.inv_freq(HEAD_DIM, dtype=torch.float64)
    numbers = torch.view_as_complex(x.reshape(64, -1, 2).contiguous())
    expected = torch.view_as_real(numbers * torch.exp(1j * positions[:, None] * theta)).reshape(64, HEAD_DIM)
    torch.testing.assert_close(turned(x, positions, rope.Interleaved), expected, **EXACT)


def test_the_two_pairings_are_one_function_up_to_a_permutation(generator):
    x = vectors(16, generator)
    positions = torch.arange(16)
    through_half = rope.to_interleaved(turned(rope.to_half_split(x), positions, rope.HalfSplit))
    torch.testing.assert_close(turned(x, positions, rope.Interleaved), through_half, rtol=0, atol=0)
    # And mixing them up is not harmless: this test would not notice a permutation that does nothing.
    assert not torch.allclose(turned(x, positions, rope.Interleaved), turned(x, positions, rope.HalfSplit), atol=0.1)


def test_weights_moved_by_the_permutation_give_the_same_scores(generator):
    hidden = vectors(8, generator)
    w_q, w_k = vectors(HEAD_DIM, generator), vectors(HEAD_DIM, generator)
    order = rope.permutation(HEAD_DIM)
    positions = torch.arange(8)
    before = turned(hidden @ w_q.T, positions, rope.Interleaved) @ turned(hidden @ w_k.T, positions, rope.Interleaved).T
    after = turned(hidden @ w_q[order].T, positions) @ turned(hidden @ w_k[order].T, positions).T
    torch.testing.assert_close(before, after, **EXACT)


def test_half_split_matches_transformers(generator):
    q, k = (torch.randn(2, 3, 10, HEAD_DIM, generator=generator) for _ in range(2))
    phi = rope.angles(torch.arange(10), frequencies.inv_freq(HEAD_DIM))
    cos, sin = (torch.cat((part, part), dim=-1)[None] for part in (phi.cos(), phi.sin()))
    expected_q, expected_k = apply_rotary_pos_emb(q, k, cos, sin)
    # The same float32 products, added in another order: one rounding.
    torch.testing.assert_close(rope.rotate(q, phi), expected_q, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rope.rotate(k, phi), expected_k, rtol=1e-6, atol=1e-6)


def test_scores_equal_the_product_of_rotated_vectors(generator):
    q, k = vectors(2, generator)
    theta = frequencies.inv_freq(HEAD_DIM, dtype=torch.float64)
    distances = torch.arange(-50, 50)
    rotated = torch.stack([turned(q[None], torch.tensor([100 + s]))[0] @ turned(k[None], torch.tensor([100]))[0] for s in distances])
    torch.testing.assert_close(rope.scores(q, k, distances, theta), rotated, **EXACT)


def test_result_keeps_the_dtype_of_x_while_angles_stay_precise(generator):
    x = torch.randn(4, HEAD_DIM, generator=generator).to(torch.bfloat16)
    phi = rope.angles(torch.arange(4) + 4000, frequencies.inv_freq(HEAD_DIM))
    assert rope.rotate(x, phi).dtype == torch.bfloat16
    # bf16 keeps 8 bits; cos, sin, two products and a sum round once each: five halves of 2^-8 of a coordinate of up to 3.
    torch.testing.assert_close(rope.rotate(x, phi).float(), rope.rotate(x.float(), phi), rtol=0, atol=3 * 5 / 2 / 256)


def test_integer_vectors_are_refused(unchecked):
    with pytest.raises(ValueError, match="floating-point vectors"):
        rope.rotate(torch.ones(4, HEAD_DIM, dtype=torch.int64), rope.angles(torch.arange(4), frequencies.inv_freq(HEAD_DIM)))


def test_bad_input_is_refused_with_the_way_out(generator, unchecked):
    theta = frequencies.inv_freq(HEAD_DIM)
    x, phi = torch.randn(4, HEAD_DIM, generator=generator), rope.angles(torch.arange(4), theta)
    with pytest.raises(ValueError, match="twice the pairs"):
        rope.rotate(x[:, :-2], phi)
    with pytest.raises(ValueError, match="one angle per position"):
        rope.rotate(x, phi[:3])
    with pytest.raises(ValueError, match="float32 or float64"):
        rope.rotate(x, phi.to(torch.bfloat16))
    with pytest.raises(ValueError, match="float32 or float64"):
        rope.angles(torch.arange(4), theta.half())
    with pytest.raises(ValueError, match="floating-point vectors"):
        rope.rotate(x[0], phi)
    with pytest.raises(ValueError, match="do not broadcast"):
        rope.rotate(x, phi.expand(5, 4, -1))
    with pytest.raises(ValueError, match="even"):
        rope.permutation(7)
    with pytest.raises(ValueError, match="both must be"):
        rope.scores(x[0, :-2], x[0, :-2], torch.arange(3), theta)
