"""What every sampler of training positions answers: which index each token of a short text gets, and at which factor."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """One drawn step of training: rising positions, one per token, in tokens of the long text, and the factor t they belong to."""

    positions: Float[Tensor, "length"]
    factor: float


@runtime_checkable
class Sampler(Protocol):
    """One verb: `draw` positions for a text of `length` tokens, from the given generator alone."""

    def draw(self, length: int, generator: torch.Generator) -> Draw: ...
