"""Which factor t a step of training gets: whole numbers as CLEX's code draws them, real ones as its paper says, or one fixed."""

import abc
import math
from dataclasses import dataclass

import torch

from clexlab import frequencies


class Factors(abc.ABC):
    """A distribution of factors between 1 and `limit`."""

    @property
    @abc.abstractmethod
    def limit(self) -> float:
        """The largest factor ever drawn; a path trained with these factors has to reach it."""

    @abc.abstractmethod
    def draw(self, generator: torch.Generator) -> float:
        """One factor, from the given generator alone."""


@dataclass(frozen=True)
class _UpTo(Factors):
    """Factors from 1 to `max_factor`, both included."""

    max_factor: float

    def __post_init__(self) -> None:
        _check(max_factor=self.max_factor)

    @property
    def limit(self) -> float:
        return float(self.max_factor)

    def share(self, generator: torch.Generator) -> float:
        """A number from [0, 1), all equally likely."""
        return torch.rand((), dtype=torch.float64, generator=generator, device=generator.device).item()


class WholeFactors(_UpTo):
    """t ∈ {1, 2, … T}, all equally likely: CLEX's official code (clex_layer.py, since January 2024; first release from 2 on)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_factor != math.floor(self.max_factor):
            raise ValueError(f"max_factor is {self.max_factor}; whole factors end at a whole number, or use UniformFactors")

    def draw(self, generator: torch.Generator) -> float:
        return float(torch.randint(1, int(self.max_factor) + 1, (), generator=generator, device=generator.device).item())


class UniformFactors(_UpTo):
    """t real, uniform in [1, T]: CLEX as its paper puts it."""

    def draw(self, generator: torch.Generator) -> float:
        return 1 + (self.max_factor - 1) * self.share(generator)


class LogUniformFactors(_UpTo):
    """t real, ln t uniform in [0, ln T]: every doubling of the length is trained equally often."""

    def draw(self, generator: torch.Generator) -> float:
        return min(float(self.max_factor) ** self.share(generator), float(self.max_factor))


@dataclass(frozen=True)
class FixedFactor(Factors):
    """Always the same t; draws nothing from the generator."""

    factor: float = 1.0

    def __post_init__(self) -> None:
        _check(factor=self.factor)

    @property
    def limit(self) -> float:
        return float(self.factor)

    def draw(self, generator: torch.Generator) -> float:
        return float(self.factor)


FACTORS = (WholeFactors, UniformFactors, LogUniformFactors, FixedFactor)


def check_factors(factors: object) -> None:
    """Refuse what is no distribution of factors."""
    if not isinstance(factors, Factors):
        raise ValueError(f"factors is {factors!r}; pass one of {', '.join(kind.__name__ for kind in FACTORS)}, for example WholeFactors(8)")


def _check(**value: object) -> None:
    ((name, number),) = value.items()
    if not frequencies.is_finite(number) or number < 1:
        raise ValueError(f"{name} is {number!r}; a factor is length / window, finite and at least 1")
