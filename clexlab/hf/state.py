"""What a key cache has to remember beside its keys, what one thread's run does, and what a cache semantics sees of a forward."""

import threading
import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from clexlab.hf.rotary import Angles
    from clexlab.positions.base import Draw

_KEY = "_clexlab_state"


class Running(threading.local):
    """What one thread is in the middle of: a forward, and around it perhaps a `generate`. A copied model begins with nothing.

    `angles` of this forward, `state` for a cache that the decoder makes itself, `draws` that an objective made for it. Of this
    `generate`: `planned` the total length, `padding` what of it is padding, row by row, `floor` the plan of a run around it that it
    serves as assistant, `helper` its own assistant's.
    """

    def __init__(self) -> None:
        self.angles: Angles | None = None
        self.state: State | None = None
        self.draws: tuple[Draw, ...] | None = None
        self.planned: int | None = None
        self.padding: list[int] | None = None
        self.floor = 0
        self.helper: Running | None = None

    def __deepcopy__(self, memo: dict) -> "Running":
        return Running()


class Places:
    """The position of every key in a cache, row by row: what turning them needs. Grows by a list entry a step."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.count = 0

    def add(self, position_ids: Tensor | None, cached: int, new: int, device: torch.device) -> None:
        """Note the positions of `new` keys behind `cached` ones; those of keys that were cropped meanwhile are forgotten."""
        while self.parts and self.count - self.parts[-1].shape[1] >= cached:
            self.count -= self.parts.pop().shape[1]
        if self.count > cached:
            self.parts, self.count = [self.first(cached)], cached
        own = torch.arange(cached, cached + new, device=device)[None] if position_ids is None else position_ids
        self.parts.append(own)
        self.count += new

    def first(self, count: int) -> Tensor:
        """Positions of the first `count` keys, (rows or 1, count)."""
        if not self.parts:
            return torch.zeros(1, 0, dtype=torch.long)
        rows = max(part.shape[0] for part in self.parts)
        return torch.cat([part.expand(rows, -1) for part in self.parts], 1)[:, :count]

    def select(self, rows: list[int]) -> "Places":
        """For a cache whose rows are now these of the rows it had."""
        chosen = Places()
        chosen.count = self.count
        chosen.parts = [part if part.shape[0] == 1 else part[rows] for part in self.parts]
        return chosen


@dataclass(frozen=True)
class State:
    """Under which factors the keys of one cache were turned. Lives on the cache object itself, so it cannot outlast it.

    `slots` is the cache length up to which `factors` were planned, `owner` the `extend` that filled the cache, `places` where its
    keys stand, kept by `rerotate` alone.
    """

    factors: tuple[float, ...]
    angles: "Angles"
    slots: int
    owner: str
    places: Places | None = None

    @staticmethod
    def of(cache: object) -> "State | None":
        """The state a cache carries, None of a cache that no extended model has filled."""
        return getattr(cache, _KEY, None)

    def attach(self, cache: Any) -> None:
        """Leave this state on the cache, which from now on moves its rows and the state's together."""
        setattr(cache, _KEY, self)
        if self.factors and "reorder_cache" not in cache.__dict__:
            for name, method in _MOVES.items():
                setattr(cache, name, types.MethodType(method, cache))

    def select(self, rows: list[int]) -> "State":
        """For a cache whose rows are now these of the rows it had: reordered, chosen or repeated."""
        line = self.angles.line
        angles = self.angles if line is None else replace(self.angles, line=tuple(line[row] for row in rows))
        places = None if self.places is None else self.places.select(rows)
        return replace(self, factors=tuple(self.factors[row] for row in rows), angles=angles, places=places)

    def check_rows(self, rows: int) -> None:
        """ValueError where the input has another number of rows than the cache."""
        if self.factors and rows != len(self.factors):
            raise ValueError(f"the cache holds {len(self.factors)} rows and the input {rows}; give both the same batch")


def _reorder(cache: Any, beam_idx: Tensor) -> None:
    type(cache).reorder_cache(cache, beam_idx)
    _follow(cache, beam_idx.tolist())


def _choose(cache: Any, indices: Tensor) -> None:
    type(cache).batch_select_indices(cache, indices)
    _follow(cache, torch.as_tensor(indices).tolist())


def _repeat(cache: Any, repeats: int) -> None:
    type(cache).batch_repeat_interleave(cache, repeats)
    state = State.of(cache)
    _follow(cache, [row for row in range(len(state.factors) if state else 0) for _ in range(repeats)])


def _follow(cache: Any, rows: list[int]) -> None:
    state = State.of(cache)
    if state is not None and state.factors:
        setattr(cache, _KEY, state.select(rows))


# The three ways in which transformers' caches move their rows.
_MOVES = {"reorder_cache": _reorder, "batch_select_indices": _choose, "batch_repeat_interleave": _repeat}


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
