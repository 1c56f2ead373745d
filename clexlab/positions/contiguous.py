"""Ordinary positions 0, 1, 2 …: plain training, the control of every other sampler."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.positions.base import Draw, check_length
from clexlab.positions.factors import Factors, FixedFactor, check_factors


@dataclass(frozen=True, kw_only=True)
class Contiguous:
    """p_k = k. By default at t = 1, which is plain fine-tuning; other `factors` train θ(t) on distances within the window alone."""

    name: ClassVar[str] = "contiguous"
    title: ClassVar[str] = "contiguous"
    paper: ClassVar[str] = ""
    factors: Factors = FixedFactor(1.0)

    def __post_init__(self) -> None:
        check_factors(self.factors)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1."""
        check_length(length)
        return Draw(torch.arange(length, dtype=torch.float32, device=generator.device), self.factors.draw(generator))

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ), entry δ = 0 … length-1: all 1, whatever the factor."""
        check_length(length)
        return torch.ones(length, dtype=torch.float64)
