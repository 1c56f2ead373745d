"""Turning keys that are cached already, from the angle of one factor to that of another: what `rerotate` does.

    R(p θ_new) k = R(p (θ_new - θ_old)) R(p θ_old) k

Exact for the keys as they are; that keys of deeper layers should *be* others is beyond any turning.
"""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

from clexlab.hf.map_attention import NAME
from clexlab.hf.state import Call, State

if TYPE_CHECKING:
    from clexlab.hf.rotary import Angles, Rotary


def turn_keys(rotary: "Rotary", call: Call, fresh: State) -> None:
    """Turn every cached key of a scaled layer from the old factor's angle to the new one's, in place, in float32.

    The model's own `apply_rotary_pos_emb` does it, so the layout is right.
    """
    old, rows = call.state, len(fresh.factors)
    moves = sorted({pair for pair in zip(old.factors, fresh.factors, strict=True) if pair[0] != pair[1]})
    places = old.places.first(call.cached)
    if places.shape[1] != call.cached:
        raise ValueError(
            f"the cache holds {call.cached} keys and the positions of {places.shape[1]} are known: keys were put in or taken out by hand;"
            " start with an empty cache, or use cache='frozen'"
        )
    for layer in _followers(rotary, call):
        # A sliding layer holds its last keys only, in order; a static one has room behind them.
        held = min(layer.keys.shape[-2], call.cached)
        positions = places[:, places.shape[1] - held :].expand(rows, -1).to(layer.keys.device)
        if layer.keys.is_inference() and not torch.is_inference_mode_enabled():
            # Keys made under inference_mode may not be written to outside it.
            layer.keys = layer.keys.clone()
        for move in moves:
            chosen = [row for row in range(rows) if (old.factors[row], fresh.factors[row]) == move]
            _turn_rows(rotary, call, layer.keys, chosen, positions[chosen], fresh)


def _turn_rows(rotary: "Rotary", call: Call, keys: Tensor, rows: list[int], positions: Tensor, fresh: State) -> None:
    """The keys of rows that make the same move: one rotation by p·(θ_new - θ_old), scaled by A_new/A_old."""
    apply = getattr(sys.modules[type(call.decoder).__module__], "apply_rotary_pos_emb", None)
    if apply is None:
        raise ValueError(f"{type(call.decoder).__name__} has no apply_rotary_pos_emb beside it; use cache='frozen' or 'refill'")
    (theta_old, scale_old), (theta_new, scale_new) = _line(call.state.angles, rows[0]), _line(fresh.angles, rows[0])
    held, width = positions.shape[1], 2 * theta_new.shape[-1]
    part = keys[rows, :, :held, :width].float()
    delta = (theta_new.double() - theta_old.double()).float().to(keys.device)
    layer_type = rotary.scaled[0] if rotary.scaled else None
    starts = fresh.angles.starts
    # First positions keep their angle at every factor: they turn by nothing.
    starts = None if starts is None else replace(starts, theta=torch.zeros_like(delta))
    cos, sin = rotary.turn(part, positions, delta, scale_new / scale_old, layer_type, starts)
    keys[rows, :, :held, :width] = apply(part, part, cos, sin)[1].to(keys.dtype)


def _line(angles: "Angles", row: int) -> tuple[Tensor, float | Tensor]:
    """Frequencies and temperature of one row. Cached keys are turned, never trained."""
    line = 0 if angles.line is None else angles.line[row]
    scale = angles.scales[line]
    return angles.theta[line].detach(), scale.detach() if isinstance(scale, Tensor) else scale


def _followers(rotary: "Rotary", call: Call) -> list[Any]:
    """Layers whose keys follow the path and whose keys we can reach; ValueError for stores that keep them in another form."""
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
    if decoder.config._attn_implementation == NAME:
        raise ValueError("cached keys of a mapped model cannot be followed: call clexlab.unmap(model), extend first, then clexlab.remap")
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
