"""What happens to keys in the cache when the factor changes: three named semantics, chosen in `extend`.

A cached key was turned by p·θ(t_old); the query that meets it is turned by p·θ(t_new). Their score is wrong unless both
turns use one t. And in layer 2 and above the key itself was computed from hidden states under t_old, which no turning of
keys repairs: only `Frozen` and `Refill` equal an uncached run in a deep model.
"""

import abc
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from clexlab.hf.state import Call, Places, State, show
from clexlab.hf.turning import following, turn_keys

if TYPE_CHECKING:
    from clexlab.hf.rotary import Angles, Rotary


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
        planned, padding = rotary.running.planned, rotary.running.padding
        wanted = call.slots if planned is None else planned
        if call.state is None:
            # Rows grow together: each will have its own tokens and what is still to come, all but its padding.
            rows = padding is not None and len(padding) == len(call.lengths)
            lengths = [wanted - gap for gap in padding] if rows else [length + wanted - call.slots for length in call.lengths]
            return _begin(rotary, lengths, wanted)
        if wanted > call.state.slots:
            raise ValueError(
                f"{wanted} tokens, but the factor of this cache was fixed for {call.state.slots}; pin one for the whole text with"
                " clexlab.extend(model, scaling, factor=...), or let generate() plan it, or use cache='rerotate'"
            )
        return call.state.angles, call.state


class Rerotate(CacheSemantics):
    """The factor follows the length; at a change cached keys are turned by p·(θ_new - θ_old), times A_new/A_old. Exact for one layer only.

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
            call.state.places.add(call.position_ids, call.cached, call.new, call.state.angles.theta.device)
            return call.state.angles, call.state
        angles, fresh = _begin(rotary, call.lengths, call.slots)
        if call.state is not None:
            turn_keys(rotary, call, fresh)
        fresh = replace(fresh, places=Places() if call.state is None else call.state.places)
        fresh.places.add(call.position_ids, call.cached, call.new, angles.theta.device)
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
            if rotary.running.planned is not None:
                raise ValueError(
                    "cache='refill' sends the whole text again at a change of factor, which a prompt filled in chunks does not allow;"
                    " leave prefill_chunk_size out, or choose cache='frozen'"
                )
            raise ValueError(
                f"the factor changes from {show(call.state.factors)} to {show(factors)} and cache='refill' must see the whole text again:"
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
