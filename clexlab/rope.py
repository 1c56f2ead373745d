"""Rotary position embedding: a token's position is the angle by which pairs of coordinates are rotated.

For a pair (a, b) and an angle φ = m·θ_j:  a' = a cos φ - b sin φ,  b' = b cos φ + a sin φ  (RoFormer, arXiv 2104.09864).
The dot product of a query rotated by m·θ and a key rotated by n·θ depends on m - n alone. Which coordinates form a pair
is a convention: neighbours (2j, 2j+1) in the paper, GPT-J and Meta's weights (`Interleaved`); the two halves (j, j+d/2)
in GPT-NeoX and transformers (`HalfSplit`). Same function up to a fixed permutation; mixing them runs and is garbage.
"""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from clexlab.frequencies import check_dtype


class HalfSplit:
    """Coordinate j forms a pair with coordinate j + d/2 (GPT-NeoX, transformers)."""

    @staticmethod
    def split(x: Float[Tensor, "*batch head_dim"]) -> tuple[Float[Tensor, "*batch pairs"], Float[Tensor, "*batch pairs"]]:
        first, second = x.chunk(2, dim=-1)
        return first, second

    @staticmethod
    def join(
        first: Float[Tensor, "*batch pairs"], second: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch head_dim"]:
        return torch.cat((first, second), dim=-1)


class Interleaved:
    """Coordinate 2j forms a pair with coordinate 2j + 1 (RoFormer, GPT-J, Meta's Llama weights)."""

    @staticmethod
    def split(x: Float[Tensor, "*batch head_dim"]) -> tuple[Float[Tensor, "*batch pairs"], Float[Tensor, "*batch pairs"]]:
        return x[..., 0::2], x[..., 1::2]

    @staticmethod
    def join(
        first: Float[Tensor, "*batch pairs"], second: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch head_dim"]:
        return torch.stack((first, second), dim=-1).flatten(-2)


PAIRINGS = (HalfSplit, Interleaved)
Pairing = type[HalfSplit] | type[Interleaved]


def angles(
    positions: Shaped[Tensor, "*batch seq"], inv_freq: Float[Tensor, "pairs"]
) -> Float[Tensor, "*batch seq pairs"]:
    """The rotation of every pair at every position: φ = position · θ_j, radians.

    Positions are whole or real numbers. Refuses half precision: at position 4096, bf16 frequencies are radians off.
    """
    check_dtype(inv_freq.dtype)
    if not positions.dtype.is_floating_point:
        positions = positions.to(inv_freq.dtype)
    check_dtype(positions.dtype)
    return positions[..., None] * inv_freq


def rotate(
    x: Float[Tensor, "*batch seq head_dim"],
    angles: Float[Tensor, "*angle_batch angle_seq pairs"],
    pairing: Pairing = HalfSplit,
) -> Float[Tensor, "*batch seq head_dim"]:
    """Turn every pair of coordinates of `x` by its angle: R(φ)x.

    `angles` is (…, seq, pairs) in radians and broadcasts over the leading axes of `x`; cos and sin are taken in the
    angles' precision and cast last to the dtype of `x`. Norms are kept. Raises ValueError when the shapes do not fit, for
    half-precision angles and for an unknown pairing.
    """
    check_dtype(angles.dtype)
    if not x.dtype.is_floating_point or x.ndim < 2 or angles.ndim < 2:
        raise ValueError(
            f"x is {x.dtype} of shape {tuple(x.shape)}, angles of shape {tuple(angles.shape)};"
            " give floating-point vectors (…, seq, head_dim) and angles (…, seq, pairs)"
        )
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing is {pairing!r}; pass rope.HalfSplit or rope.Interleaved")
    if x.shape[-1] != 2 * angles.shape[-1]:
        raise ValueError(
            f"x has head_dim {x.shape[-1]} and angles {angles.shape[-1]} pairs; head_dim must be twice the pairs:"
            " rotate only the rotary part of the head, or build inv_freq with this head_dim"
        )
    if angles.shape[-2] not in (1, x.shape[-2]):
        raise ValueError(f"x has {x.shape[-2]} positions and angles {angles.shape[-2]}; give one angle per position")
    leading = angles.shape[:-2]
    if len(leading) > x.ndim - 2 or any(a not in (1, b) for a, b in zip(leading[::-1], x.shape[-3::-1], strict=False)):
        raise ValueError(f"angles {tuple(angles.shape)} do not broadcast over x {tuple(x.shape)}; add axes of size 1 where they differ")
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = pairing.split(x)
    return pairing.join(first * cos - second * sin, second * cos + first * sin)


def permutation(head_dim: int) -> Int[Tensor, "head_dim"]:
    """Index that brings interleaved coordinates into half-split order: 2j goes to j, 2j+1 to j + d/2.

    `x[..., permutation(d)]` is the half-split form of an interleaved `x`. For weights apply it to the *output rows* of W_q
    and W_k of every head, never to W_v.
    """
    if head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim is {head_dim}; it must be even and at least 2")
    return torch.cat((torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)))


def to_half_split(x: Shaped[Tensor, "*batch head_dim"]) -> Shaped[Tensor, "*batch head_dim"]:
    """Reorder the last axis from interleaved to half-split pairs."""
    return x[..., permutation(x.shape[-1]).to(x.device)]


def to_interleaved(x: Shaped[Tensor, "*batch head_dim"]) -> Shaped[Tensor, "*batch head_dim"]:
    """Reorder the last axis from half-split to interleaved pairs; undoes `to_half_split`."""
    return x[..., permutation(x.shape[-1]).argsort().to(x.device)]


def scores(
    q: Float[Tensor, "head_dim"],
    k: Float[Tensor, "head_dim"],
    distances: Shaped[Tensor, "n"],
    inv_freq: Float[Tensor, "pairs"],
) -> Float[Tensor, "n"]:
    """Attention score before the softmax, without 1/√d, of a query and a key `distance` tokens apart (half-split pairs).

    a(s) = ⟨R(sθ)q, k⟩ = Σ_j (q_j·k_j) cos(sθ_j) + (q_a k_b - q_b k_a) sin(sθ_j)   (arXiv 2306.15595, eq. 2)
    """
    if not q.shape == k.shape == (2 * len(inv_freq),):
        raise ValueError(f"q is {tuple(q.shape)}, k {tuple(k.shape)} for {len(inv_freq)} pairs; both must be ({2 * len(inv_freq)},)")
    (q_a, q_b), (k_a, k_b) = HalfSplit.split(q), HalfSplit.split(k)
    q_a, q_b, k_a, k_b = (part.to(inv_freq.dtype) for part in (q_a, q_b, k_a, k_b))
    phi = angles(distances, inv_freq).to(inv_freq.dtype)
    return phi.cos() @ (q_a * k_a + q_b * k_b) + phi.sin() @ (q_a * k_b - q_b * k_a)
