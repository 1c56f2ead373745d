"""ABF: train on with a larger base (arXiv 2309.16039), here as a path that grows the base with the factor."""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.scaling.base import Scaling, check_positive


@dataclass(frozen=True, kw_only=True)
class ABF(Scaling):
    """θ_j(t) = base(t)^(-2j/d), base(t) = base · t^κ, κ = ln(new_base/base)/ln(at_factor).  d ln θ/dt = -2jκ/(d t).

    Published as a point, not a path: base 10 000 → 500 000 for 32k tokens from 4k. Our path is the power law in t that starts
    at the trained base and reaches `new_base` at t = `at_factor`; κ = d/(d-2) would be NTK. Needs training on long text.
    """

    name = "abf"
    title = "ABF"
    paper = "https://arxiv.org/abs/2309.16039"

    new_base: float = 500_000.0
    at_factor: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(new_base=self.new_base, at_factor=self.at_factor)
        if self.new_base <= self.base:
            raise ValueError(f"new_base is {self.new_base:g}; it must be larger than the trained base {self.base:g}")
        if self.at_factor <= 1:
            raise ValueError(f"at_factor is {self.at_factor:g}; the new base is reached at a factor above 1")

    @classmethod
    def default(cls, *, head_dim: int, base: float, window: int) -> "ABF":
        """The published ratio, 50 times the trained base at a factor of 8 (500 000 for a base of 10 000)."""
        frequencies.check_geometry(head_dim, base, window)
        return cls(head_dim=head_dim, base=base, window=window, new_base=50 * base)

    @property
    def _power(self) -> float:
        return math.log(self.new_base / self.base) / math.log(self.at_factor)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return t ** (-2 * self.index * self._power / self.head_dim)

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return -2 * self.index * self._power / (self.head_dim * t)

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return {"rope_type": "default", "rope_theta": self.base * t**self._power}
