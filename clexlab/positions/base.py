"""What every sampler of training positions answers: which index each token of a short text gets, and at which factor."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies


@dataclass(frozen=True)
class Draw:
    """One drawn step of training: rising positions, one per token, in tokens of the long text, and the factor t they belong to."""

    positions: Float[Tensor, "length"]
    factor: float


@runtime_checkable
class Sampler(Protocol):
    """One verb: `draw` positions for a text of `length` tokens, from the given generator alone.

    Every row of a batch shares the draw, as in CLEX's code: a step has one factor.
    """

    def draw(self, length: int, generator: torch.Generator) -> Draw: ...


def check_length(length: int) -> None:
    """Refuse a text without tokens, and a length that is no whole number."""
    if not frequencies.is_whole(length) or length < 1:
        raise ValueError(f"length is {length!r}; it must be a whole number of tokens, at least 1")
