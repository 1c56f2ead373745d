"""FIRE: a small network reads the distance as a share of the longest one the query has (arXiv 2310.04418)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from clexlab import frequencies
from clexlab.biases.base import Bias, check_count, distances, exact

# Keeps 0/0 out where c or both positions are 0.
TINY = 1e-6


class FIRE(Bias):
    """B_h(i, j) = f_h( ψ(i - j) / (ψ(max(L, i)) + 1e-6) ), ψ(x) = ln(|c·x| + 1), f: 1 → hidden → H with a ReLU between.

    The share lies in 0 … 1 for any length: that is what carries over to longer texts. So B depends on i beyond L and is not relative.
    c is learned from `rate`, L = |m · threshold| with m learned from 1. i is the query's position in its text.
    Memory: f keeps `hidden` numbers for every pair of tokens until the backward pass, in every layer: 134 MB for 32 of 1024² pairs.
    Source: the paper as re-used in chuanyang-Zheng/DAPE (megatron/model/positional_embeddings.py, third-party), which halves the
    initial L. The survey's f((i-j)/i) is without ψ and L. Code that divides by a learned constant instead of max(L, i) is in
    circulation and lacks what FIRE is about.
    """

    name: ClassVar[str] = "fire"
    title: ClassVar[str] = "FIRE"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.04418"
    learned: ClassVar[bool] = True

    def __init__(self, *, heads: int, threshold: float = 512, rate: float = 0.1, hidden: int = 32) -> None:
        super().__init__(heads=heads)
        check_count(hidden=hidden)
        for name, value in (("threshold", threshold), ("rate", rate)):
            if not frequencies.is_finite(value) or value <= 0:
                raise ValueError(f"{name} is {value!r}; it must be a finite number above 0")
        self.threshold, self.rate, self.hidden = float(threshold), float(rate), int(hidden)
        self.c = nn.Parameter(torch.tensor(self.rate))
        self.multiplier = nn.Parameter(torch.tensor(1.0))
        self.first, self.second = nn.Linear(1, self.hidden), nn.Linear(self.hidden, self.heads)

    @classmethod
    def published(cls, head_dim: int, window: int) -> dict[str, object]:
        """L starts at a quarter of the window: 512 of the 2048 tokens the paper trains on (the 2048 from memory, unverified)."""
        return {"threshold": max(1.0, window / 4)}

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """f of every share."""
        shares = self.shares(query_positions, key_positions)[..., None]
        first, second = ([part.to(shares.dtype) for part in (layer.weight, layer.bias)] for layer in (self.first, self.second))
        # Autocast would run the network in half precision, where neighbouring distances are one.
        with torch.autocast(shares.device.type, enabled=False):
            values = nn.functional.linear(nn.functional.linear(shares, *first).relu(), *second)
        return values.movedim(-1, -3)

    def shares(self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]) -> Float[Tensor, "*rows q k"]:
        """ψ(i - j) / ψ(max(L, i)): 0 at the query itself, 1 at the first token once i ≥ L."""
        n = distances(query_positions, key_positions)
        i = query_positions.to(exact(query_positions.dtype))
        longest = torch.maximum((self.multiplier.to(n.dtype) * self.threshold).abs(), i)[..., :, None]
        return self.psi(n) / (self.psi(longest) + TINY)

    def psi(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """ln(|c·x| + 1)."""
        return torch.log1p((self.c.to(x.dtype) * x).abs())
