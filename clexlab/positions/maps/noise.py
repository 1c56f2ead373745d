"""GALI's noise on interpolated logits: as its paper writes it, and as its code draws it."""

import abc
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


class Noise(abc.ABC):
    """A normal law with mean 0 for every pair; `deviation` is its spread, in logits after 1/√d."""

    @abc.abstractmethod
    def deviation(
        self, apart: Int[Tensor, "queries keys"], relative: Float[Tensor, "queries keys"], keys: int, window: int
    ) -> Float[Tensor, "queries keys"]:
        """For tokens `apart` places apart that seem `relative` positions apart, among `keys` keys, in a model trained at `window`."""


@dataclass(frozen=True)
class RelativeNoise(Noise):
    """P/window: the paper's equation 3."""

    def deviation(
        self, apart: Int[Tensor, "queries keys"], relative: Float[Tensor, "queries keys"], keys: int, window: int
    ) -> Float[Tensor, "queries keys"]:
        return relative / window


@dataclass(frozen=True)
class DistanceNoise(Noise):
    """(i - j)/keys: the paper's algorithm 3 and the released code: from 1/(extension ratio) of equation 3 to half more."""

    def deviation(
        self, apart: Int[Tensor, "queries keys"], relative: Float[Tensor, "queries keys"], keys: int, window: int
    ) -> Float[Tensor, "queries keys"]:
        return apart.to(relative.dtype) / keys
