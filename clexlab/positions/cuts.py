"""Where skip-wise positions cut a text into runs: anywhere, as PoSE's paper says, or in the first half, as its code does."""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Cut(abc.ABC):
    """A distribution over the tokens at which later runs begin; `most` is the largest number of runs it can make."""

    most: ClassVar[float] = math.inf

    @abc.abstractmethod
    def draw(self, length: int, runs: int, generator: torch.Generator) -> Int[Tensor, "later"]:
        """The tokens at which the second and later of `runs` runs begin, rising, from the given generator alone."""

    @abc.abstractmethod
    def firsts(self, length: int) -> Float[Tensor, "firsts"]:
        """The chance that the first of two runs has l tokens, for l = 0 … length; a text of one token is one run."""


@dataclass(frozen=True)
class Anywhere(Cut):
    """Any choice of tokens but the first, all equally likely: the paper's "random lengths" of chunks, for any number of them."""

    def draw(self, length: int, runs: int, generator: torch.Generator) -> Int[Tensor, "later"]:
        return 1 + torch.randperm(length - 1, generator=generator, device=generator.device)[: runs - 1].sort().values

    def firsts(self, length: int) -> Float[Tensor, "firsts"]:
        return _uniform(length, 1, max(1, length - 1))


@dataclass(frozen=True)
class FirstHalf(Cut):
    """The first of two runs has 1 … ⌊(length+1)/2⌋ tokens, all equally likely: what PoSE's released code does.

    Source: dwzhu-pku/PoSE, src/train_pose.py at 43b43b3, `train_preprocess_function_pose`. So the second run is the longer one, every
    distance below half a window occurs within it, and two chunks are all there are.
    """

    most: ClassVar[float] = 2

    def draw(self, length: int, runs: int, generator: torch.Generator) -> Int[Tensor, "later"]:
        return torch.randint(1, (length + 1) // 2 + 1, (runs - 1,), generator=generator, device=generator.device)

    def firsts(self, length: int) -> Float[Tensor, "firsts"]:
        return _uniform(length, 1, (length + 1) // 2)


def _uniform(length: int, low: int, high: int) -> Float[Tensor, "firsts"]:
    shares = torch.zeros(length + 1, dtype=torch.float64)
    shares[low : high + 1] = 1 / (high + 1 - low)
    return shares
