"""No scaling: the trained frequencies at every length. The baseline that fails beyond the window."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.scaling.base import Scaling


@dataclass(frozen=True, kw_only=True)
class Identity(Scaling):
    """θ_j(t) = θ_j: plain extrapolation (RoFormer, arXiv 2104.09864). Velocity 0."""

    name = "identity"
    title = "no scaling"
    paper = "https://arxiv.org/abs/2104.09864"

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return torch.ones_like(t * self.index)

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return torch.zeros_like(t * self.index)

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return {"rope_type": "default", "rope_theta": float(self.base)}
