"""NoPE: no position at all; the causal mask alone tells tokens where they are (arXiv 2203.16634, 2305.19466)."""

from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from clexlab.biases.base import Bias, distances


class NoPE(Bias):
    """B = 0.

    A first layer that attends evenly gives the share 1/(i+1) to the first token, from which later layers can tell i; without a causal
    mask they could not. Source: Kazemnejad et al., theorems 1 and 2. Nothing to set and nothing to learn.
    """

    name: ClassVar[str] = "nope"
    title: ClassVar[str] = "NoPE"
    paper: ClassVar[str] = "https://arxiv.org/abs/2305.19466"
    learned: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """Zeros."""
        n = distances(query_positions, key_positions)[..., None, :, :]
        return n.new_zeros(()).expand(*n.shape[:-3], self.heads, *n.shape[-2:])
