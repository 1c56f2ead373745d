"""LongRoPE: one searched divisor per pair, and first positions that keep their angles (arXiv 2402.13753); `clexlab.search` finds both."""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.scaling.base import Scaling, check_positive
from clexlab.scaling.by_parts import ByParts, WavelengthBlend


@dataclass(frozen=True, kw_only=True)
class LongRoPE(Scaling):
    """θ_j(t) = θ_j/λ_j(t), λ_j(t) = 1 + (λ_j - 1)(t - 1)/(s - 1), s = max_factor.  A(t) = √(1 + ln t/ln L).

    d ln θ/dt = -(λ_j - 1)/((s - 1) + (λ_j - 1)(t - 1)). `factors` are the searched λ_j, valid at t = s; between 1 and s the
    path is that of the released code's "dynamic" class. The temperature is not in the paper: it is the code's and
    transformers' default.

    `start` is n̂: positions below it keep the angles p θ_j(1), all others have p θ_j(t). Scores between tokens on one side of n̂
    depend on their distance alone, scores across it do not, and with λ = 4, n̂ = 64 the effective position falls from 63 to 16.
    In training, rows whose drawn positions do not begin at 0 (RandomPos, segments) hardly show them.
    The temperature is that of all positions. No stock rope type has start tokens (the released code left them unused), so such a
    path cannot be written as one. Cache semantics: start tokens stay where they are, all three serve.
    """

    name = "longrope"
    title = "LongRoPE"
    paper = "https://arxiv.org/abs/2402.13753"

    factors: tuple[float, ...]
    max_factor: float
    start: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(max_factor=self.max_factor)
        if self.max_factor <= 1:
            raise ValueError(f"max_factor is {self.max_factor:g}; the factors were searched for a factor above 1")
        if isinstance(self.factors, Tensor):
            object.__setattr__(self, "factors", tuple(self.factors.tolist()))
        if not isinstance(self.factors, (tuple, list)) or len(self.factors) != self.pairs:
            raise ValueError(f"factors is {_brief(self.factors)} for {self.pairs} pairs; give one divisor per pair")
        for index, factor in enumerate(self.factors):
            check_positive(**{f"factors[{index}]": factor})
        if not frequencies.is_whole(self.start) or not 0 <= self.start <= self.window:
            raise ValueError(f"start is {self.start!r}; it counts first positions, a whole number from 0 to the window of {self.window}")
        object.__setattr__(self, "start", int(self.start))
        # λ(t) is linear in t and 1 at t = 1, so it stays positive wherever both ends are.
        object.__setattr__(self, "factors", tuple(float(factor) for factor in self.factors))

    def __repr__(self) -> str:
        """Without start tokens their number is left out: stored records hold it so."""
        shown = [one.name for one in fields(self) if one.name != "start" or self.start]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @classmethod
    def default(cls, *, head_dim: int, base: float, window: int) -> "LongRoPE":
        """What the released search starts from at 16 times: the wavelength blend of NTK by parts. Not a search result."""
        guess = ByParts(head_dim=head_dim, base=base, window=window, blend=WavelengthBlend())
        return cls(
            head_dim=head_dim,
            base=base,
            window=window,
            factors=tuple((1 / guess.ratio(16.0)).tolist()),
            max_factor=16.0,
        )

    @property
    def limit(self) -> float:
        return self.max_factor

    @property
    def _growth(self) -> Float[Tensor, "pairs"]:
        return (torch.tensor(self.factors, dtype=torch.float64) - 1) / (self.max_factor - 1)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return 1 / (1 + self._growth * (t - 1))

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return -self._growth / (1 + self._growth * (t - 1))

    def _attention_scale(self, t: float) -> float:
        if self.window < 2:
            raise ValueError(f"window is {self.window}; √(1 + ln t/ln L) needs a window of at least 2 tokens")
        return math.sqrt(1 + math.log(t) / math.log(self.window))

    def longrope_parameters(self, factor: float) -> dict[str, Any]:
        """As every path's; ValueError with start tokens, which transformers' `longrope` does not have."""
        if self.start:
            raise ValueError(
                f"start is {self.start}: no stock rope type keeps the angles of first positions; search with starts=(0,), or run the"
                " model with clexlab"
            )
        return super().longrope_parameters(factor)


def _brief(factors: object) -> str:
    return f"a sequence of {len(factors)}" if isinstance(factors, (tuple, list)) else repr(factors)
