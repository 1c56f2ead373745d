"""NTK-by-parts: fast pairs stay, slow pairs are interpolated, those between are blended (arXiv 2309.00071 §3.2).

Two choices, each an object. The *ramp* says which share γ_j of a pair is kept: the paper's is linear in the number of
turns (`TurnsRamp`), the released code's is linear in the pair index (`IndexRamp`); they agree at both ends and differ by up
to 67 % in θ between. The *blend* says what is averaged: frequencies (paper and code) or wavelengths (PoSE's code, the
paper's footnote, LongRoPE's first guess).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.scaling.base import Scaling, check_positive


@dataclass(frozen=True)
class _Ramp:
    """γ goes from 0 at `slow` turns within the window to 1 at `fast` turns."""

    slow: float = 1.0
    fast: float = 32.0

    def __post_init__(self) -> None:
        check_positive(slow=self.slow, fast=self.fast)
        if self.slow >= self.fast:
            raise ValueError(f"slow is {self.slow} turns and fast {self.fast}; slow must be the smaller one")


class TurnsRamp(_Ramp):
    """The paper's ramp: γ = clip((r - slow)/(fast - slow), 0, 1), r_j = L·θ_j/2π turns (arXiv 2309.00071, eq. 18)."""

    def kept(self, head_dim: int, base: float, window: int) -> Float[Tensor, "pairs"]:
        """γ_j of every pair, in float64."""
        turns = frequencies.turns(frequencies.inv_freq(head_dim, base, torch.float64), window)
        return ((turns - self.slow) / (self.fast - self.slow)).clamp(0, 1)


class UnroundedIndexRamp(_Ramp):
    """The code's ramp without rounding its ends to whole pairs (transformers: `truncate: False`, as gpt-oss uses it)."""

    def _ends(self, head_dim: int, base: float, window: int) -> tuple[float, float]:
        def pair_with(turns: float) -> float:
            return head_dim * math.log(window / (turns * frequencies.TURN)) / (2 * math.log(base))

        return pair_with(self.fast), pair_with(self.slow)

    def kept(self, head_dim: int, base: float, window: int) -> Float[Tensor, "pairs"]:
        """γ_j of every pair, in float64; ValueError when no pair of this window lies on the ramp."""
        low, high = self._ends(head_dim, base, window)
        # The upper limit is d - 1, not d/2 - 1: so the released code has it, and every YaRN checkpoint was tuned with it.
        low, high = max(low, 0), min(high, head_dim - 1)
        if high < low:
            raise ValueError(
                f"no pair makes between {self.slow} and {self.fast} turns in a window of {window};"
                " choose a ramp that fits this window, or use TurnsRamp"
            )
        if high == low:
            high += 0.001
        index = torch.arange(head_dim // 2, dtype=torch.float64)
        return 1 - ((index - low) / (high - low)).clamp(0, 1)


class IndexRamp(UnroundedIndexRamp):
    """The released code's ramp: γ falls linearly in the pair index j, from the pair with `fast` turns to that with `slow`.

    low = ⌊j(fast)⌋, high = ⌈j(slow)⌉, j(r) = d·ln(L/2πr)/(2 ln base)   (jquesnelle/yarn; transformers `yarn`).
    Llama-2: (20, 46). All published YaRN checkpoints use it.
    """

    def _ends(self, head_dim: int, base: float, window: int) -> tuple[float, float]:
        low, high = super()._ends(head_dim, base, window)
        return math.floor(low), math.ceil(high)


@dataclass(frozen=True)
class FrequencyBlend:
    """θ(t) = θ·(γ + (1-γ)/t).  d ln θ/dt = -(1-γ)/(t(γt + 1-γ))."""

    def ratio(self, kept: Float[Tensor, "pairs"], t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        # γ + (1-γ)/t, written so that t = 1 gives exactly 1.
        return 1 - (1 - kept) * (1 - 1 / t)

    def velocity(self, kept: Float[Tensor, "pairs"], t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return -(1 - kept) / (t * (kept * t + 1 - kept))


@dataclass(frozen=True)
class WavelengthBlend:
    """θ(t) = θ/(γ + (1-γ)t): wavelengths are averaged instead.  d ln θ/dt = -(1-γ)/(γ + (1-γ)t)."""

    def ratio(self, kept: Float[Tensor, "pairs"], t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return 1 / (1 + (1 - kept) * (t - 1))

    def velocity(self, kept: Float[Tensor, "pairs"], t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return -(1 - kept) / (1 + (1 - kept) * (t - 1))


Ramp = TurnsRamp | IndexRamp | UnroundedIndexRamp
Blend = FrequencyBlend | WavelengthBlend


@dataclass(frozen=True, kw_only=True)
class ByParts(Scaling):
    """θ_j(t) = θ_j·(γ_j + (1-γ_j)/t), γ_j the share that is not interpolated; no temperature (arXiv 2309.00071, def. 2)."""

    name = "by_parts"
    title = "NTK by parts"
    paper = "https://arxiv.org/abs/2309.00071"

    ramp: Ramp = IndexRamp()
    blend: Blend = FrequencyBlend()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.ramp, (TurnsRamp, UnroundedIndexRamp)):
            raise ValueError(f"ramp is {self.ramp!r}; pass IndexRamp(), UnroundedIndexRamp() or TurnsRamp()")
        if not isinstance(self.blend, (FrequencyBlend, WavelengthBlend)):
            raise ValueError(f"blend is {self.blend!r}; pass FrequencyBlend() or WavelengthBlend()")
        self.kept()

    def kept(self) -> Float[Tensor, "pairs"]:
        """γ_j: the share of each pair that keeps its trained frequency, 1 for fast pairs, 0 for slow ones."""
        return self.ramp.kept(self.head_dim, self.base, self.window)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self.blend.ratio(self.kept(), t)

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self.blend.velocity(self.kept(), t)

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        # transformers' `yarn` has the index ramp and the frequency blend only.
        if isinstance(self.ramp, TurnsRamp) or isinstance(self.blend, WavelengthBlend):
            return super()._rope_parameters(t)
        return {
            "rope_type": "yarn",
            "rope_theta": self.base,
            "factor": t,
            "original_max_position_embeddings": self.window,
            "beta_slow": self.ramp.slow,
            "beta_fast": self.ramp.fast,
            "truncate": isinstance(self.ramp, IndexRamp),
            "attention_factor": self.attention_scale(t),
        }
