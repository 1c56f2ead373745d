"""A temperature that is learned with the path: how much sharper, or softer, attention is than under the prior at factor t."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clexlab import frequencies


class Temperature(nn.Module):
    """ln A(t) - ln A_prior(t) = bound · u · tanh(c_0 + c_1 u),  u = ln t: two numbers, both 0 at first.

    So A(1) = 1 whatever is learned, and A(t)/A_prior(t) stays between t^-bound and t^bound; logits grow with A². YaRN's own
    temperature, 1 + 0.1 ln t, is about t^0.1: with bound = 0.1 on its path the temperature can be undone, or doubled.
    """

    def __init__(self, bound: float = 0.1) -> None:
        super().__init__()
        if not frequencies.is_finite(bound) or bound <= 0:
            raise ValueError(f"bound is {bound!r}; it must be a finite number above 0")
        self.bound = bound
        self.coefficients = nn.Parameter(torch.zeros(2))

    def forward(self, log_factor: Float[Tensor, "*factors"]) -> Float[Tensor, "*factors"]:
        """ln A(t) - ln A_prior(t) at u = ln t."""
        level, slope = self.coefficients
        return self.bound * log_factor * (level + slope * log_factor).tanh()

    def extra_repr(self) -> str:
        return f"bound={self.bound:g}"
