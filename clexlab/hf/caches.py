"""What happens to keys in the cache when the factor changes: three named semantics, chosen in `extend`.

A cached key was turned by p·θ(t_old); the query that meets it is turned by p·θ(t_new). Their score is wrong unless both
turns use one t. And in layer 2 and above the key itself was computed from hidden states under t_old, which no turning of
keys repairs: only `Frozen` and `Refill` equal an uncached run in a deep model.
"""

import abc
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from clexlab.hf.rotary import Angles, Rotary

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
                f"the cache holds {len(self.factors)} rows with factors {_show(self.factors)} and the input {rows}; give both the same"
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


class CacheSemantics(abc.ABC):
    """One way to treat cached keys: `step` returns the angles of this forward and the state to leave on the cache."""

    name: ClassVar[str]

    @staticmethod
    def prepare(rotary: "Rotary", decoder: nn.Module) -> None:
        """Look at the model once, when it is extended; ValueError for one that these semantics cannot serve."""
        # Only keys that are turned again need to be known.
        rotary.following = ()

    @staticmethod
    @abc.abstractmethod
    def step(rotary: "Rotary", call: Call) -> tuple["Angles", State]:
        """Choose, and turn keys if need be; ValueError where the semantics cannot serve the call."""


class Frozen(CacheSemantics):
    """The factor is fixed when the cache starts, for the planned total length. Exact at any depth; costs nothing per token.

    `generate` plans prompt + new tokens by itself. A hand-written loop gets the factor of its first call; text beyond that is
    refused: plan ahead with `extend(..., factor=...)`. The only semantics under which assisted decoding is exact.
    """

    name = "frozen"

    @staticmethod
    def step(rotary: "Rotary", call: Call) -> tuple["Angles", State]:
        # Tokens guessed beyond the plan, in assisted decoding, are thrown away and need no factor.
        wanted = call.slots if rotary.planned is None else rotary.planned
        if call.state is None:
            # Rows grow together: each will have its own tokens and what is still to come, all but its padding.
            to_come = wanted - call.slots
            rows = rotary.padding is not None and len(rotary.padding) == len(call.lengths)
            lengths = [wanted - padding for padding in rotary.padding] if rows else [length + to_come for length in call.lengths]
            return _begin(rotary, lengths, wanted)
        if wanted > call.state.slots:
            raise ValueError(
                f"{wanted} tokens, but the factor of this cache was fixed for {call.state.slots}; pin one for the whole text with"
                " clexlab.extend(model, scaling, factor=...), or let generate() plan it, or use cache='rerotate'"
            )
        return call.state.angles, call.state


class Rerotate(CacheSemantics):
    """The factor follows the length; at a change cached keys are turned on by p·(θ_new - θ_old) and scaled by A_new/A_old.

    Equal to the official CLEX cache, which keeps keys un-rotated and turns all of them at every step, at the price of static
    RoPE. *Not* an uncached run beyond one layer: deeper keys come from hidden states of the old factor (lesson 07 measures it).
    """

    name = "rerotate"

    @staticmethod
    def prepare(rotary: "Rotary", decoder: nn.Module) -> None:
        rotary.following = following(rotary, decoder)

    @staticmethod
    def step(rotary: "Rotary", call: Call) -> tuple["Angles", State]:
        if call.state is not None and _factors(rotary, call) == call.state.factors:
            return call.state.angles, call.state
        angles, fresh = _begin(rotary, call.lengths, call.slots)
        if call.state is not None:
            turn_keys(rotary, call, fresh)
        return angles, fresh


class Refill(CacheSemantics):
    """The factor follows the length; at a change `generate` sends the whole text again. Exact at any depth, and costs a prefill.

    Only `generate` knows the earlier tokens: a hand-written loop is refused at the first change of factor.
    """

    name = "refill"

    @staticmethod
    def step(rotary: "Rotary", call: Call) -> tuple["Angles", State]:
        if call.state is None:
            return _begin(rotary, call.lengths, call.slots)
        factors = _factors(rotary, call)
        if factors != call.state.factors:
            raise ValueError(
                f"the factor changes from {_show(call.state.factors)} to {_show(factors)} and cache='refill' must see the whole text again:"
                " use generate(), or call the model without a cache, or choose cache='frozen'"
            )
        return call.state.angles, call.state


CACHES = (Frozen, Rerotate, Refill)


def by_name(name: str) -> type[CacheSemantics]:
    """A cache semantics by its name; ValueError lists the names."""
    for cache in CACHES:
        if cache.name == name:
            return cache
    raise ValueError(f"no cache semantics is named {name!r}; there are {', '.join(cache.name for cache in CACHES)}")


def _factors(rotary: "Rotary", call: Call) -> tuple[float, ...]:
    return tuple(rotary.factor_for(length) for length in call.lengths)


def _begin(rotary: "Rotary", lengths: list[int], slots: int) -> tuple["Angles", State]:
    """Factors for rows of these lengths. The state also says how far they reach, counted in places of the cache."""
    factors = tuple(rotary.factor_for(length) for length in lengths)
    angles = rotary.at(factors)
    if rotary.factor is not None:
        return angles, State(factors, angles, sys.maxsize, rotary.owner)
    spare = min(math.floor(factor * rotary.scaling.window + 1e-6) - length for factor, length in zip(factors, lengths, strict=True))
    return angles, State(factors, angles, slots + max(0, spare), rotary.owner)


def turn_keys(rotary: "Rotary", call: Call, fresh: State) -> None:
    """Turn every cached key of a scaled layer from the old factor's angle to the new one's, in place, in float32.

    R(p θ_new) k = R(p (θ_new - θ_old)) R(p θ_old) k. The model's own `apply_rotary_pos_emb` does it, so the layout is right.
    """
    old, rows = call.state, len(fresh.factors)
    moves = sorted({pair for pair in zip(old.factors, fresh.factors, strict=True) if pair[0] != pair[1]})
    for layer in _followers(rotary, call):
        # A sliding layer holds its last keys only, in order; a static one has room behind them.
        held = min(layer.keys.shape[-2], call.cached)
        positions = _positions(call, rows, held, layer.keys.device)
        for move in moves:
            chosen = [row for row in range(rows) if (old.factors[row], fresh.factors[row]) == move]
            _turn_rows(rotary, call, layer.keys, chosen, positions[chosen], fresh)


def _positions(call: Call, rows: int, held: int, device: torch.device) -> Tensor:
    """Positions of the last `held` keys: they lead up to the first new token's, row by row."""
    first = torch.full((rows, 1), call.cached) if call.position_ids is None else call.position_ids[:, :1].expand(rows, 1)
    return first.to(device) - torch.arange(held, 0, -1, device=device)


def _turn_rows(rotary: "Rotary", call: Call, keys: Tensor, rows: list[int], positions: Tensor, fresh: State) -> None:
    """The keys of rows that make the same move: one rotation by p·(θ_new - θ_old), scaled by A_new/A_old."""
    apply = getattr(sys.modules[type(call.decoder).__module__], "apply_rotary_pos_emb", None)
    if apply is None:
        raise ValueError(f"{type(call.decoder).__name__} has no apply_rotary_pos_emb beside it; use cache='frozen' or 'refill'")
    (theta_old, scale_old), (theta_new, scale_new) = _line(call.state.angles, rows[0]), _line(fresh.angles, rows[0])
    held, width = positions.shape[1], 2 * theta_new.shape[-1]
    part = keys[rows, :, :held, :width].float()
    delta = (theta_new.double() - theta_old.double()).detach().float().to(keys.device)
    layer_type = rotary.scaled[0] if rotary.scaled else None
    cos, sin = rotary.turn(part, positions, delta, scale_new / scale_old, layer_type)
    keys[rows, :, :held, :width] = apply(part, part, cos, sin)[1].to(keys.dtype)


def _line(angles: "Angles", row: int) -> tuple[Tensor, float]:
    line = 0 if angles.line is None else angles.line[row]
    return angles.theta[line], angles.scales[line]


def _followers(rotary: "Rotary", call: Call) -> list[Any]:
    """Layers whose keys follow the path and whose keys we can reach; ValueError for stores that keep them in another form."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

    layers = [layer for layer, follows in zip(call.cache.layers, rotary.following, strict=True) if follows]
    for layer in layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer):
            raise ValueError(
                f"cached keys in a {type(layer).__name__} cannot be turned; use a dynamic or static cache, or cache='frozen'"
            )
    return [layer for layer in layers if layer.is_initialized]


@torch.no_grad()
def following(rotary: "Rotary", decoder: nn.Module) -> tuple[bool, ...]:
    """Which layers keep keys that turn with the path, found by trial, with one token: it attends to itself under any angle.

    So its keys under two sets of frequencies differ by the turning alone, in every layer. Where they do not differ, the layer has
    no rotary positions, or its own. ValueError where turning the first does not give the second: keys are then laid out, normalised
    or compressed in a way that `rerotate` cannot serve.
    """
    pairs = rotary.scaling.pairs
    first, second = torch.linspace(0.3, 2.5, pairs), torch.linspace(1.7, 0.4, pairs)
    states = [State((1.0,), rotary.fixed(theta), 1, rotary.owner) for theta in (first, second)]
    try:
        old, new = (_of_one_token(rotary, decoder, state) for state in states)
        if any(_differ(before.values, after.values) for before, after in zip(old, new, strict=True)):
            raise ValueError("its cached values hold positions")
        old, new = [layer.keys for layer in old], [layer.keys for layer in new]
        turned = [keys.clone() for keys in old]
        call = Call(decoder, None, states[0], [1], 0, 0, None)
        follows = tuple(_differ(before, after) for before, after in zip(old, new, strict=True))
        if not any(follows):
            raise ValueError("no layer keeps keys that turn")
        for keys in (keys for keys, moves in zip(turned, follows, strict=True) if moves):
            _turn_rows(rotary, call, keys, [0], torch.ones(1, 1, dtype=torch.long, device=keys.device), states[1])
    except Exception as error:
        raise ValueError(f"cached keys of {type(decoder).__name__} cannot be turned ({error}); use cache='frozen' or 'refill'") from error
    for index, (given, wanted) in enumerate(zip(turned, new, strict=True)):
        if _differ(given, wanted):
            raise ValueError(
                f"turning cached keys of {type(decoder).__name__}, layer {index}, does not give the keys of the other frequencies; use"
                " cache='frozen' or 'refill'"
            )
    return follows


def _differ(given: Tensor, wanted: Tensor) -> bool:
    """By more than the half percent to which bf16 knows them; keys turned in another way are far apart."""
    return bool((given - wanted).float().norm() > 0.02 * wanted.float().norm())


def _of_one_token(rotary: "Rotary", decoder: nn.Module, state: State) -> list[Any]:
    """What every layer caches of one token at position 1, under the frequencies of `state`."""
    from transformers import DynamicCache

    modes = [(module, module.training) for module in decoder.modules()]
    constant, rotary.constant = rotary.constant, state.angles
    try:
        token = torch.ones(1, 1, dtype=torch.long, device=next(decoder.parameters()).device)
        cache = DynamicCache(config=decoder.config)
        decoder.eval()(input_ids=token, position_ids=token, past_key_values=cache, use_cache=True)
        return cache.layers
    finally:
        rotary.constant = constant
        for module, training in modes:
            module.training = training


def empty(cache: Any) -> None:
    """Forget every key and the state with them, whatever the cache class keeps after `reset`."""
    cache.reset()
    for layer in cache.layers:
        # Some versions keep the length of a dynamic layer after reset; without keys there is none.
        if getattr(layer, "keys", None) is not None and getattr(layer, "max_cache_len", None) is None:
            layer.keys = layer.values = None
            layer.is_initialized = False
    setattr(cache, _KEY, None)


def _show(factors: tuple[float, ...]) -> str:
    return ", ".join(f"{factor:g}" for factor in sorted(set(factors)))


__all__ = ["CACHES", "CacheSemantics", "Call", "Frozen", "Refill", "Rerotate", "State", "by_name", "empty", "turn_keys"]
