"""What a key cache has to remember beside its keys, and what a cache semantics sees of one forward."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from clexlab.hf.rotary import Angles

_KEY = "_clexlab_state"


@dataclass(frozen=True)
class State:
    """Under which factors the keys of one cache were turned. Lives on the cache object itself, so it cannot outlast it.

    `slots` is the cache length up to which `factors` were planned, `owner` the `extend` that filled the cache.
    """

    factors: tuple[float, ...]
    angles: "Angles"
    slots: int
    owner: str

    @staticmethod
    def of(cache: object) -> "State | None":
        return getattr(cache, _KEY, None)

    def attach(self, cache: object) -> None:
        setattr(cache, _KEY, self)

    def spread(self, rows: int) -> "State":
        """For a cache whose rows were repeated or selected since it was filled; ValueError where rows have factors of their own."""
        if rows == len(self.factors):
            return self
        if len(set(self.factors)) > 1:
            raise ValueError(
                f"the cache holds {len(self.factors)} rows with factors {show(self.factors)} and the input {rows}; give both the same"
                " batch, or pin one factor with clexlab.extend(model, scaling, factor=...)"
            )
        return replace(self, factors=self.factors[:1] * rows)


@dataclass(frozen=True)
class Call:
    """What a semantics sees of one forward. `lengths` counts the tokens of each row, the cached ones included, without padding."""

    decoder: nn.Module
    cache: Any
    state: State | None
    lengths: list[int]
    new: int
    cached: int
    position_ids: Tensor | None

    @property
    def slots(self) -> int:
        """Places of the cache after this forward, padding included."""
        return self.cached + self.new


def empty(cache: Any) -> None:
    """Forget every key and the state with them, whatever the cache class keeps after `reset`."""
    cache.reset()
    for layer in cache.layers:
        # Some versions keep the length of a dynamic layer after reset; without keys there is none.
        if getattr(layer, "keys", None) is not None and getattr(layer, "max_cache_len", None) is None:
            layer.keys = layer.values = None
            layer.is_initialized = False
    setattr(cache, _KEY, None)


def show(factors: tuple[float, ...]) -> str:
    """The distinct factors, for a message."""
    return ", ".join(f"{factor:g}" for factor in sorted(set(factors)))
