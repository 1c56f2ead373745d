"""NTK-aware scaling: spread the squeeze, nothing on the fastest pair, all of it on the slowest (bloc97; arXiv 2309.00071 §3.1)."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from clexlab.scaling.base import Scaling


@dataclass(frozen=True, kw_only=True)
class NTK(Scaling):
    """θ_j(t) = θ_j · t^(-2j/(d-2)), that is base(t) = base · t^(d/(d-2)).  d ln θ/dt = -2j/((d-2) t).

    Only the last pair is divided by t, so texts of t·L tokens still take other slow pairs out of their trained range: a
    nominal t reaches less than t·L. The CLEX paper calls this path "YaRN". Should not be confused with `DynamicNTK`.
    """

    name = "ntk"
    title = "NTK"
    paper = "https://arxiv.org/abs/2309.00071"

    @property
    def _exponent(self) -> Float[Tensor, "pairs"]:
        return -2 * self.index / (self.head_dim - 2)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return t**self._exponent

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self._exponent / t

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return {"rope_type": "default", "rope_theta": self.base * t ** (self.head_dim / (self.head_dim - 2))}
