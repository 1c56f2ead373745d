"""Position Interpolation: squeeze all positions into the trained window (arXiv 2306.15595)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.scaling.base import Scaling


@dataclass(frozen=True, kw_only=True)
class Linear(Scaling):
    """θ_j(t) = θ_j / t, the same as dividing every position by t (arXiv 2306.15595, eq. 4).  d ln θ/dt = -1/t.

    No angle is ever larger than in training, but neighbours move closer together: it needs a short tuning. Equal to
    transformers' `linear` type.
    """

    name = "linear"
    title = "PI"
    paper = "https://arxiv.org/abs/2306.15595"

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return (1 / t) * torch.ones_like(self.index)

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return (-1 / t) * torch.ones_like(self.index)

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return {"rope_type": "linear", "rope_theta": self.base, "factor": t}
