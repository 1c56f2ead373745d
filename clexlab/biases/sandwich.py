"""Sandwich: the dot product of two sinusoidal position embeddings as a bias, compressed by head (arXiv 2212.10356)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from clexlab.biases.base import Bias, check_count, distances, per_head


class Sandwich(Bias):
    """B_h(n) = (1/κ_h) · Σ_{k=1}^{D/2} cos(n / 10000^(2k/D)), κ_h = 8h/H, h = 1 … H; D = `width`, no dimension of the model.

    What is left of (x_i + p_i)·(x_j + p_j) when only p_i·p_j is kept. It falls about as ln n, then oscillates. B_h(0) = D/(2κ_h); the
    constant does not matter to a softmax, the compression by κ does. No 1/√d, once or twice.
    Source: NVIDIA/NeMo at 000b931 (…/megatron/position_embedding/sandwich_relative_position_embedding.py): the cosines, k = 1 … D/2 and
    κ_h = 8h/H as here; differs: there D/2 is taken off first, so B_h(0) = 0, the same after softmax; and D is the
    model's `hidden_size`. Its state at c42ec1b lacks the cosine. The paper itself was not read; a listing that sums k = 0 … D/2-1 is
    ascribed to it from memory, with 62.094 for 62.553 at n = 1 and 14.043 for 16.039 at n = 512 (D = 128, κ = 1).
    """

    name: ClassVar[str] = "sandwich"
    title: ClassVar[str] = "Sandwich"
    paper: ClassVar[str] = "https://arxiv.org/abs/2212.10356"
    learned: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def __init__(self, *, heads: int, width: int = 128) -> None:
        super().__init__(heads=heads)
        check_count(width=width)
        if width % 2:
            raise ValueError(f"width is {width}; it must be even: a sine and a cosine for each of its {width / 2:g} frequencies")
        self.width = int(width)

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """Σ cos / κ_h."""
        n = distances(query_positions, key_positions)
        # One product of matrices where the sum of cosines would take D/2 of them for every pair of tokens.
        queries, keys = (self.embedding(positions).to(n) for positions in (query_positions, key_positions))
        # Autocast would round it to half precision, where 62.553 is 62.5.
        with torch.autocast(n.device.type, enabled=False):
            gram = queries @ keys.mT
        total = torch.where(n > 0, gram, n.new_tensor(self.width / 2))
        return total[..., None, :, :] / per_head(self.compressions().to(n.device), n)

    def embedding(self, positions: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """p_i in float64, cosines then sines: the sinusoidal embedding of width D, its frequencies those of k = 1 … D/2."""
        k = torch.arange(1, self.width // 2 + 1, dtype=torch.float64, device=positions.device)
        angles = positions.double()[..., None] * 10_000 ** (-2 * k / self.width)
        return torch.cat((angles.cos(), angles.sin()), dim=-1)

    def compressions(self) -> Float[Tensor, "heads"]:
        """κ_h in float64."""
        return 8 * torch.arange(1, self.heads + 1, dtype=torch.float64) / self.heads
