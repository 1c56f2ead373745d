"""Dynamic NTK: NTK scaling whose strength grows at a chosen rate with the length (arXiv 2309.00071 §3.3; transformers)."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from clexlab.scaling.base import Scaling, check_positive


@dataclass(frozen=True, kw_only=True)
class DynamicNTK(Scaling):
    """θ_j(t) = θ_j · a^(-2j/(d-2)), a = 1 + rate·(t - 1).  d ln θ/dt = -2j·rate/((d-2) a).

    transformers calls the rate `factor` and takes t = n/L from the current length n (type `dynamic`, equal to this path).
    rate = 1 is NTK at t = n/L; rate = 2 gives a = 2t - 1, the path of CLEX before any training.
    """

    name = "dynamic_ntk"
    title = "dynamic NTK"
    paper = "https://arxiv.org/abs/2309.00071"

    rate: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(rate=self.rate)

    @property
    def _exponent(self) -> Float[Tensor, "pairs"]:
        return -2 * self.index / (self.head_dim - 2)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return (1 + self.rate * (t - 1)) ** self._exponent

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self._exponent * self.rate / (1 + self.rate * (t - 1))

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        # Not transformers' `dynamic`: it changes the frequencies while text is generated and leaves the cached keys behind.
        strength = 1 + self.rate * (t - 1)
        return {"rope_type": "default", "rope_theta": self.base * strength ** (self.head_dim / (self.head_dim - 2))}
