"""LongRoPE: one searched divisor per pair (arXiv 2402.13753); here the factors are given, the search comes later."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.scaling.base import Scaling, check_positive
from clexlab.scaling.by_parts import ByParts, WavelengthBlend


@dataclass(frozen=True, kw_only=True)
class LongRoPE(Scaling):
    """θ_j(t) = θ_j/λ_j(t), λ_j(t) = 1 + (λ_j - 1)(t - 1)/(s - 1), s = max_factor.  A(t) = √(1 + ln t/ln L).

    d ln θ/dt = -(λ_j - 1)/((s - 1) + (λ_j - 1)(t - 1)). `factors` are the searched λ_j, valid at t = s; between 1 and s the
    path is that of the released code's "dynamic" class. The temperature is not in the paper: it is the code's and
    transformers' default. Start tokens with unscaled positions (n̂ > 0) are a position map and not part of this path.
    """

    name = "longrope"
    title = "LongRoPE"
    paper = "https://arxiv.org/abs/2402.13753"

    factors: tuple[float, ...]
    max_factor: float

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
        # λ(t) is linear in t and 1 at t = 1, so it stays positive wherever both ends are.
        object.__setattr__(self, "factors", tuple(float(factor) for factor in self.factors))

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


def _brief(factors: object) -> str:
    return f"a sequence of {len(factors)}" if isinstance(factors, (tuple, list)) else repr(factors)
