"""What every path θ(t) has in common: a method is its own configuration and answers for any factor t ≥ 1.

    θ_j(t) = ratio_j(t) · θ_j(1),   θ_j(1) = base^(-2j/d),   velocity_j(t) = d ln θ_j / dt

A method writes down its ratio and its velocity in float64; the cast to the wanted precision comes last, so that t = 1
returns the base frequencies bit for bit.
"""

import abc
import inspect
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from clexlab import frequencies

Factor = float | int | Shaped[Tensor, ""] | Shaped[Tensor, "factors"]


class _Options(abc.ABCMeta):
    """Turns a misspelt, missing or positional option into a ValueError that lists the options of the method."""

    def __call__(cls, *arguments: object, **options: object) -> object:
        known = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        needed = [
            name
            for name, parameter in inspect.signature(cls.__init__).parameters.items()
            if name != "self" and parameter.default is inspect.Parameter.empty
        ]
        unknown, missing = sorted(set(options) - set(known)), [name for name in needed if name not in options]
        if arguments or unknown or missing:
            given = f"{len(arguments)} unnamed value(s)" if arguments else f"unknown {unknown}" if unknown else f"no {missing}"
            raise ValueError(f"{cls.__name__} was given {given}; its options, all by name, are {', '.join(known)}")
        return super().__call__(**options)


class Path(metaclass=_Options):
    """A curve θ(t) in the space of rotary frequencies, with a temperature A(t); the interface of every method."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    head_dim: int
    base: float
    window: int
    # The largest factor the path is defined for; closed forms have none.
    limit: float = math.inf
    # How many first positions keep the angles of factor 1; only LongRoPE's can be more than none.
    start: int = 0

    @classmethod
    def default(cls, *, head_dim: int, base: float, window: int) -> "Path":
        """The method with its published options, on this geometry."""
        return cls(head_dim=head_dim, base=base, window=window)

    @property
    def pairs(self) -> int:
        return self.head_dim // 2

    @abc.abstractmethod
    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        """θ(t)/θ(1) in float64."""

    @abc.abstractmethod
    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        """d ln θ/dt in float64."""

    def ratio(self, factor: Factor) -> Float[Tensor, "*factors pairs"]:
        """θ(t)/θ(1) in float64: what the method multiplies the frequencies by. One row per factor."""
        return self._ratio(self.check_factor(factor)[..., None])

    def inv_freq(self, factor: Factor, dtype: torch.dtype = torch.float32) -> Float[Tensor, "*factors pairs"]:
        """Frequencies θ(t) in radians per token: (pairs,) for a number, (factors, pairs) for a grid of them.

        t = 1 returns `frequencies.inv_freq` bit for bit. Raises ValueError for a factor below 1, above the path's limit or
        not finite, and for half precision.
        """
        start = frequencies.inv_freq(self.head_dim, self.base, dtype)
        return (start.double() * self.ratio(factor)).to(dtype).to(self.device_for(factor))

    def angles(self, positions: Shaped[Tensor, "*positions"], factor: float) -> Float[Tensor, "*positions pairs"]:
        """p·θ(t) in float64 for every position at one factor; p·θ(1) below `start`. What a model extended with this path turns by."""
        theta = self.inv_freq(self.check_single(factor)).detach().double().cpu()
        places = positions.double().cpu()[..., None]
        return places * torch.where(places < self.start, self.inv_freq(1.0).detach().double().cpu(), theta)

    def velocity(self, factor: Factor, dtype: torch.dtype = torch.float32) -> Float[Tensor, "*factors pairs"]:
        """Speed of the path, d ln θ_j/dt, per unit of t; integrated from 1 to t it gives ln ratio(t)."""
        frequencies.check_dtype(dtype)
        return self._velocity(self.check_factor(factor)[..., None]).to(dtype).to(self.device_for(factor))

    def device_for(self, factor: Factor) -> torch.device:
        """Where frequencies and velocities live: beside the factor; a plain number means the CPU."""
        return factor.device if isinstance(factor, Tensor) else torch.device("cpu")

    def attention_scale(self, factor: float) -> float:
        """A(t): multiplies cos and sin, hence logits by A². 1 unless the method has a temperature. One factor, no grid."""
        return self._attention_scale(self.check_single(factor))

    def _attention_scale(self, t: float) -> float:
        return 1.0

    def attention_scales(self, factors: Sequence[float]) -> tuple[float, ...] | Float[Tensor, "factors"]:
        """A(t) for several factors as a model uses it: numbers, or where the temperature is learned a tensor, differentiable."""
        return tuple(self.attention_scale(factor) for factor in factors)

    def factor_for(self, length: float) -> float:
        """The factor a text of `length` tokens needs: t = max(1, length/window). ValueError beyond the path's limit."""
        if not frequencies.is_finite(length) or length <= 0:
            raise ValueError(f"length is {length!r}; it must be a positive number of tokens")
        factor = max(1.0, float(length) / self.window)
        if factor > self.limit:
            raise ValueError(
                f"length {length} exceeds window * max_factor = {self.window * self.limit:g};"
                " raise max_factor or shorten the input"
            )
        return factor

    def rope_parameters(self, factor: float) -> dict[str, Any]:
        """The `rope_parameters` of a transformers 5 config that give exactly these frequencies, frozen at this factor.

        A stock type of transformers where the method has one, else `longrope_parameters`.
        """
        return self._rope_parameters(self.check_single(factor))

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return self.longrope_parameters(t)

    def longrope_parameters(self, factor: float) -> dict[str, Any]:
        """The same frequencies as transformers' `longrope`, which every method has: it takes any divisor per pair, θ(1)/θ(t).

        The short and the long list are equal, so that the angles do not depend on the input's length.
        """
        t = self.check_single(factor)
        divisors = (1.0 / self.ratio(t).detach()).tolist()
        return {
            "rope_type": "longrope",
            "rope_theta": float(self.base),
            "factor": t,
            "original_max_position_embeddings": self.window,
            "short_factor": divisors,
            "long_factor": divisors,
            "attention_factor": self.attention_scale(t),
        }

    def check_single(self, factor: Factor) -> float:
        """One factor as a float; ValueError for a grid and for what `check_factor` refuses."""
        t = self.check_factor(factor)
        if t.ndim:
            raise ValueError(f"factor has shape {tuple(t.shape)}; this question is asked of one factor at a time")
        return t.item()

    def check_factor(self, factor: Factor) -> Float[Tensor, "*factors"]:
        """The factor as float64 on the CPU; ValueError unless every value is finite, ≥ 1 and within the path's limit."""
        is_tensor = isinstance(factor, Tensor) and not (factor.dtype.is_complex or factor.dtype == torch.bool)
        if not is_tensor and (isinstance(factor, bool) or not isinstance(factor, numbers.Real)):
            raise ValueError(f"factor is {factor!r}; pass a number or a one-dimensional tensor of numbers")
        if not is_tensor:
            try:
                factor = float(factor)
            except OverflowError:
                # A whole number of Python may be too large for a float; it is refused like infinity.
                factor = math.inf
        exact = factor if isinstance(factor, Tensor) else torch.tensor(float(factor), dtype=torch.float64)
        t = exact.detach().to("cpu", torch.float64)
        if t.ndim > 1 or t.numel() == 0:
            raise ValueError(f"factor has shape {tuple(t.shape)}; pass a number or a one-dimensional tensor of numbers")
        bad = t[~(torch.isfinite(t) & (t >= 1) & (t <= self.limit))]
        if len(bad):
            raise ValueError(
                f"factor {bad[0].item()!r} is outside 1 … {self.limit:g};"
                " t = length / window, and texts within the window need t = 1"
                + ("" if math.isinf(self.limit) else f"; build {type(self).__name__} with a larger max_factor")
            )
        return t

    @property
    def index(self) -> Float[Tensor, "pairs"]:
        """j = 0 … pairs-1 in float64."""
        return torch.arange(self.pairs, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Scaling(Path):
    """A closed-form path: a frozen dataclass of geometry and options, all by name."""

    head_dim: int
    base: float
    window: int

    def __post_init__(self) -> None:
        frequencies.check_geometry(self.head_dim, self.base, self.window)
        # One form, so that paths built from 10_000, 1e4 and numpy's numbers are equal.
        for name, kind in (("head_dim", int), ("base", float), ("window", int)):
            object.__setattr__(self, name, kind(getattr(self, name)))


def check_positive(**values: object) -> None:
    """Refuse an option that is not a finite number above 0."""
    for name, value in values.items():
        if not frequencies.is_finite(value) or value <= 0:
            raise ValueError(f"{name} is {value!r}; it must be a finite number above 0")
