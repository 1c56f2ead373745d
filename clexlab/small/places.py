"""The size of a small model, and what it has in the places where position enters attention."""

from dataclasses import dataclass

from clexlab.biases.base import Bias, check_count
from clexlab.positions.maps.base import Map
from clexlab.scaling.base import Path
from clexlab.sparse.base import Pattern


@dataclass(frozen=True)
class Config:
    """`vocabulary` tokens, `hidden` numbers a token in `layers` layers of `heads` heads, trained on texts of `window` tokens."""

    vocabulary: int
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    window: int = 128

    def __post_init__(self) -> None:
        check_count(**vars(self))
        if self.hidden % self.heads:
            raise ValueError(f"hidden is {self.hidden} and heads {self.heads}; every head needs the same whole part of hidden")

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def inner(self) -> int:
        """Numbers a token between the two halves of a feed-forward layer, three times `hidden` as in the base model."""
        return 3 * self.hidden


@dataclass(frozen=True, kw_only=True)
class Places:
    """What angle (`scaling`), which index (`positions`), what is added (`bias`, a class) and what is masked (`pattern`); None: nothing.

    Without scaling and bias a model has no position but its causal mask's, NoPE; `scaling.Identity` is plain RoPE. A map changes
    angles, so it needs a scaling; it and the pattern both mask. Each layer builds its bias with `default`: for other options give a
    subclass with its own `default` and, as files of weights and records go by it, its own `name`.
    """

    scaling: Path | None = None
    bias: type[Bias] | None = None
    positions: Map | None = None
    pattern: Pattern | None = None

    def check(self, config: Config) -> None:
        """Refuse what is no scaling, bias, map or pattern, and what does not fit a model of this size."""
        kinds = (("scaling", Path, "scaling.YaRN(…)"), ("positions", Map, "ReRoPE(…)"), ("pattern", Pattern, "S2(…)"))
        for name, kind, example in kinds:
            if getattr(self, name) is not None and not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; pass an object such as {example}, or None")
        if self.bias is not None and not (isinstance(self.bias, type) and issubclass(self.bias, Bias)):
            raise ValueError(f"bias is {self.bias!r}; pass a class of clexlab.biases, for example biases.ALiBi: each layer builds its own")
        for name in ("scaling", "positions"):
            window = getattr(getattr(self, name), "window", config.window)
            if window != config.window:
                raise ValueError(f"{name} is built for a window of {window} tokens, the model for {config.window}")
        if self.scaling is not None and self.scaling.head_dim != config.head_dim:
            raise ValueError(f"scaling turns {self.scaling.head_dim} numbers a head; the model's heads have {config.head_dim}")
        if self.positions is not None:
            self._check_map(self.positions)

    def _check_map(self, positions: Map) -> None:
        if self.scaling is None:
            raise ValueError("positions is a map of rotary positions; give a scaling too, scaling.Identity(…) for plain RoPE")
        if self.scaling.start:
            raise ValueError(f"scaling keeps the angles of {self.scaling.start} first positions; under a map no token has one position")
        if getattr(positions, "noise", None) is not None:
            raise ValueError(f"{type(positions).__name__} draws noise, and this model none; build the map with noise=None")
