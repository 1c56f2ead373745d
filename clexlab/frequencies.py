"""Rotary frequencies and what a model saw of them in training.

A head of rotary dimension d holds d/2 pairs of coordinates; pair j turns by θ_j = base^(-2j/d) radians per token
(RoFormer, arXiv 2104.09864, eq. 15). In a window of L tokens it makes L·θ_j / 2π turns. Pairs that never complete one
turn meet new angles as soon as the text is longer than the window: that is where extrapolation fails first.
"""

import math
import numbers
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TURN = 2 * math.pi


@dataclass(frozen=True)
class Geometry:
    """What a model's positions are made of: rotary dimension, base, trained window, and where these numbers are published.

    `head_dim` is the *rotary* dimension (a quarter of the head in GPT-NeoX-20B), `window` the *trained* length, never the
    extended one. `rope_parameters` is the model's own published scaling as transformers writes it, None without scaling.
    """

    name: str
    head_dim: int
    base: float
    window: int
    source: str
    rope_parameters: dict[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_geometry(self.head_dim, self.base, self.window)

    @property
    def pairs(self) -> int:
        return self.head_dim // 2

    def inv_freq(self) -> Float[Tensor, "pairs"]:
        return inv_freq(self.head_dim, self.base)


def is_whole(value: object) -> bool:
    """A whole number of Python or numpy, and not True or False."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """A real number of Python or numpy that a float can hold, and not True or False."""
    try:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_geometry(head_dim: int, base: float, window: int) -> None:
    """Refuse what is no rotary geometry: odd or too small `head_dim`, `base` ≤ 1, `window` < 1."""
    if not is_whole(head_dim) or head_dim < 4 or head_dim % 2:
        raise ValueError(f"head_dim is {head_dim!r}; it must be an even whole number of at least 4: the rotary part of a head")
    if not is_finite(base) or base <= 1:
        raise ValueError(f"base is {base!r}; it must be a finite number above 1 (10_000 for Llama-2)")
    if not is_whole(window) or window < 1:
        raise ValueError(f"window is {window!r}; it must be a whole number of tokens, at least 1: the length the model was trained at")


def check_dtype(dtype: torch.dtype) -> None:
    """Refuse half precision: bf16 rounds a frequency by up to 0.4 %, whole turns at a few thousand tokens."""
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype is {dtype}; frequencies are float32 or float64, cast cos and sin instead")


def inv_freq(head_dim: int, base: float = 10_000.0, dtype: torch.dtype = torch.float32) -> Float[Tensor, "pairs"]:
    """The angle each pair turns per token: θ_j = base^(-2j/d), radians, j = 0 … d/2-1, from 1 downwards.

    In float32 the operations are transformers' own (`_compute_default_rope_parameters`), so the result is the same bit
    for bit. Raises ValueError for an odd head_dim, a base of at most 1 and half precision.
    """
    check_geometry(head_dim, base, 1)
    check_dtype(dtype)
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).to(dtype) / head_dim
    return 1.0 / (float(base) ** exponents)


def check_inv_freq(inv_freq: Tensor) -> None:
    """Refuse frequencies that are no angles per token: half precision, not finite, or not positive."""
    check_dtype(inv_freq.dtype)
    if not bool(torch.isfinite(inv_freq).all()) or not bool((inv_freq > 0).all()):
        raise ValueError("inv_freq holds a value that is not finite and positive; every pair must turn by a positive angle per token")


def _check_length(name: str, length: float) -> None:
    if not is_finite(length) or length <= 0:
        raise ValueError(f"{name} is {length!r}; it must be a positive number of tokens")


def wavelengths(inv_freq: Float[Tensor, "*grid pairs"]) -> Float[Tensor, "*grid pairs"]:
    """How many tokens one full turn takes: λ_j = 2π / θ_j."""
    check_inv_freq(inv_freq)
    return TURN / inv_freq


def turns(inv_freq: Float[Tensor, "*grid pairs"], length: float) -> Float[Tensor, "*grid pairs"]:
    """How many turns each pair makes within `length` tokens: length · θ_j / 2π (r_j of the YaRN paper at length L)."""
    check_inv_freq(inv_freq)
    _check_length("length", length)
    return length * inv_freq / TURN


def critical_pair(inv_freq: Float[Tensor, "pairs"], window: float) -> int:
    """The first pair that never completes a turn in training (λ_j > window); `pairs` when every pair does.

    Llama-2 (d = 128, base 10⁴, window 4096): 46, so 18 of 64 pairs. Frequencies must fall with j, as θ_j does.
    """
    if inv_freq.ndim != 1:
        raise ValueError(f"inv_freq has shape {tuple(inv_freq.shape)}; the critical pair is asked of one model at one factor, (pairs,)")
    if bool((inv_freq.diff() > 0).any()):
        raise ValueError("inv_freq rises with the pair index; the critical pair is defined for falling frequencies")
    return int((turns(inv_freq, window) >= 1).sum())


def phase_coverage(
    scaled: Float[Tensor, "*grid pairs"], inv_freq: Float[Tensor, "pairs"], window: float, length: float
) -> Float[Tensor, "*grid pairs"]:
    """Largest angle at `length` with the `scaled` frequencies ÷ largest angle of training: length·θ_j(t) / (window·θ_j).

    At most 1: every angle was met in training. Above 1 the angle is new, *if* training never went all the way round (pairs
    from `critical_pair` on); a pair that did complete a turn has met the whole circle, up to the small gaps that whole distances
    leave (lesson 02), and only laps. See `meets_new_angles`.
    """
    _check_length("window", window)
    _check_length("length", length)
    check_inv_freq(scaled)
    check_inv_freq(inv_freq)
    if scaled.shape[-1] != inv_freq.shape[-1]:
        raise ValueError(f"scaled has {scaled.shape[-1]} pairs and inv_freq {inv_freq.shape[-1]}; both must come from one head_dim")
    return (length * scaled) / (window * inv_freq)


def meets_new_angles(
    scaled: Float[Tensor, "*grid pairs"], inv_freq: Float[Tensor, "pairs"], window: float, length: float
) -> Bool[Tensor, "*grid pairs"]:
    """Which pairs turn to angles training never showed: coverage above 1 and less than one full turn in training."""
    # Rounding of θ·t/t must not count as new: a millionth is far above float32 noise and far below any real stretch.
    beyond = phase_coverage(scaled, inv_freq, window, length) > 1 + 1e-6
    return beyond & (turns(inv_freq, window) < 1)
