"""The one seam: a module in the place of a decoder's `rotary_emb` that hands the method's angles to every layer.

    cos, sin = A(t)·cos(p θ(t)), A(t)·sin(p θ(t))

How the two are laid out (half-split, interleaved, partial, one pair per layer type) stays the model's own business: the
stock forward is called, unwrapped of its `no_grad`, on a stand-in that carries our frequencies. *Which* factor each row
gets is decided in a hook before the decoder runs, where cache, mask and positions are all in sight.
"""

import inspect
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Cache

from clexlab.hf.caches import CacheSemantics
from clexlab.hf.schedules import Schedule
from clexlab.hf.state import Call, Running, State
from clexlab.positions.base import Draw, Sampler, draws_for
from clexlab.positions.diluted import bias
from clexlab.scaling.base import Path


@dataclass(frozen=True)
class Starts:
    """The first `count` positions turn by frequencies `theta` of their own, whatever the factor."""

    count: int
    theta: Float[Tensor, "pairs"]


@dataclass(frozen=True)
class Angles:
    """Frequencies of one forward: one line of `theta` and one temperature per distinct factor; `line` says which row has which.

    `line` is None where all rows share the first; a learned temperature is a tensor. In training only: `positions` replaces the model's
    own position ids, one row for all of the batch, or one for each; `mask`, if any, its attention mask, added to the logits.
    `starts`, if any, are the first positions that the path leaves as they were.
    """

    theta: Float[Tensor, "lines pairs"]
    scales: tuple[float, ...] | Float[Tensor, "lines"]
    line: tuple[int, ...] | None = None
    positions: Float[Tensor, "rows length"] | None = None
    mask: Float[Tensor, "rows 1 length length"] | None = None
    starts: Starts | None = None


class StandIn:
    """What the stock rotary forward reads of `self`: frequencies, temperature, config. A plain class, so that dynamo can trace it."""

    def __init__(self, theta: Tensor, scale: float | Tensor, config: object, layer_type: str | None) -> None:
        prefix = "" if layer_type is None else f"{layer_type}_"
        self.config = config
        setattr(self, f"{prefix}inv_freq", theta)
        setattr(self, f"{prefix}attention_scaling", scale)


class Rotary(nn.Module):
    """The method's angles in the model's layout. Built by `extend`, read through `rotary_of`.

    `scaling` the path, `cache` its cache semantics, `factor` a pinned factor or None, `schedule` the rule else, `positions` a
    sampler of training positions or None, `original` the module it replaces, `scaled` the layer types that follow the path (None:
    the model has one kind), `arguments` the names of the decoder's arguments in order, `running` what the
    calling thread is in the middle of. Sources: transformers 5.23 rotary forwards.
    """

    def __init__(
        self,
        original: nn.Module,
        config: object,
        scaled: tuple[str, ...] | None,
        scaling: Path,
        cache: type[CacheSemantics],
        factor: float | None,
        schedule: Schedule,
        positions: Sampler | None,
        arguments: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.original, self.scaling = original, scaling
        self.config, self.scaled = config, scaled
        self.cache, self.factor, self.schedule, self.positions = cache, factor, schedule, positions
        self.arguments = arguments
        # What this module's caches are known by; a copied model may go on with a copied cache.
        self.owner = uuid.uuid4().hex
        # Which layers keep keys that turn with the path; found by `rerotate` when the model is extended.
        self.following: tuple[bool, ...] = ()
        self.running = Running()
        # Whether the decoder has ever come here for its angles.
        self.asked = False
        # A closed form at a pinned factor is a constant; nothing else is ever kept in the module.
        self.constant = self.at([factor]) if factor is not None and not isinstance(scaling, nn.Module) else None
        # Without this mark a later `initialize_weights` of the model would draw the field anew.
        for module in self.modules():
            module._is_hf_initialized = True

    def forward(self, x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin for every layer (of one type), in the dtype of `x`, computed in float32."""
        if self.scaled is not None and layer_type not in self.scaled:
            return self.original(x, position_ids, layer_type)
        if not torch.compiler.is_compiling():
            self.asked = True
        angles = self.constant if self.constant is not None else self.current()
        if angles is None:
            raise ValueError(
                "the rotary module was called outside its decoder's forward, where no factor is chosen;"
                " call the model, or pin one: clexlab.extend(model, scaling, factor=...). If peft copied the module, train the field"
                " alone: modules_to_save=['field']"
            )
        if angles.positions is not None:
            position_ids = angles.positions.to(x.device)
        if angles.line is None:
            return self.turn(x, position_ids, angles.theta[0], angles.scales[0], layer_type, angles.starts)
        return self._by_row(x, position_ids, angles, layer_type)

    def _by_row(self, x: Tensor, position_ids: Tensor, angles: Angles, layer_type: str | None) -> tuple[Tensor, Tensor]:
        """Each row with the frequencies of its own factor: the stock forward of one row, mapped over all of them in one go."""
        theta = angles.theta
        line = torch.tensor(angles.line, device=theta.device)
        scales = torch.as_tensor(angles.scales, dtype=theta.dtype, device=theta.device)

        def one(ids: Tensor, theta: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            cos, sin = self.turn(x, ids[None], theta, scale, layer_type, angles.starts)
            return cos[0], sin[0]

        return torch.vmap(one)(position_ids.expand(len(line), -1), theta[line], scales[line])

    def turn(
        self,
        x: Tensor,
        position_ids: Tensor,
        theta: Tensor,
        scale: float | Tensor,
        layer_type: str | None,
        starts: Starts | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The stock layout of scale·cos(p θ), scale·sin(p θ), θ that of `starts` for first positions; differentiable in θ and scale."""
        if starts is not None:
            if position_ids.ndim != 2:
                raise ValueError(f"position_ids have {position_ids.ndim} axes; start tokens need one position a token: use start=0")
            first = self.turn(x, position_ids, starts.theta, scale, layer_type)
            others = self.turn(x, position_ids, theta, scale, layer_type)
            below = (position_ids < starts.count)[..., None]
            return torch.where(below, first[0], others[0]), torch.where(below, first[1], others[1])
        # The stock forward is under no_grad and may swap frequencies by length; neither belongs to the layout.
        stock = inspect.unwrap(type(self.original).forward)
        stand_in = StandIn(theta, scale, self.config, layer_type)
        return stock(stand_in, x, position_ids, *(() if layer_type is None else (layer_type,)))

    @torch.compiler.disable
    def current(self) -> Angles | None:
        """The angles chosen for this thread's forward."""
        return self.running.angles

    @property
    def device(self) -> torch.device:
        """Where the model's own frequencies live, and with them ours."""
        return next(self.original.buffers()).device

    def fixed(self, theta: Tensor) -> Angles:
        """These frequencies for every row, without temperature."""
        return Angles(theta[None].to(self.device), (1.0,))

    @torch.compiler.disable
    def at(self, factors: Sequence[float], positions: Tensor | None = None) -> Angles:
        """Angles for one factor per row: the path is asked once for all distinct factors, in float32 whatever autocast says."""
        if not isinstance(self.scaling, Path):
            raise ValueError(
                f"scaling was replaced by a {type(self.scaling).__name__}: a copy of the whole path cannot be asked; with peft train the"
                " field alone, modules_to_save=['field']"
            )
        distinct = sorted(set(factors))
        grid = torch.tensor(distinct, dtype=torch.float64)
        path = self.scaling
        # A path whose forward is inv_freq is called as the module it is: FSDP gathers a module's weights in its call.
        as_module = isinstance(path, nn.Module) and type(path).forward is type(path).inv_freq
        with torch.autocast(path.device_for(1.0).type, enabled=False):
            theta = path(grid) if as_module else path.inv_freq(grid)
            scales = path.attention_scales(distinct)
        if isinstance(scales, Tensor):
            scales = scales.to(self.device)
        line = None if len(distinct) == 1 else tuple(distinct.index(factor) for factor in factors)
        starts = Starts(path.start, path.inv_freq(1.0).detach().to(self.device)) if path.start else None
        return Angles(theta.to(self.device), scales, line, positions, starts=starts)

    def before(self, decoder: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        """Hook before the decoder's forward: choose this forward's angles, turn cached keys if the semantics say so."""
        given = {**dict(zip(self.arguments, args, strict=False)), **kwargs}
        lone = given.get("position_ids") is not None and given.get("attention_mask") is None and given.get("past_key_values") is None
        mask = full_mask_for_rising(given["position_ids"], _inputs(given)) if lone else None
        if self.constant is None:
            self.choose(decoder, given)
            diluted = None if self.running.angles is None else self.running.angles.mask
            mask = mask if diluted is None else diluted
        elif given.get("past_key_values") is not None:
            self.vouch(given["past_key_values"])
        return None if mask is None else ((), {**given, "attention_mask": mask})

    def after(self, decoder: nn.Module, args: tuple, kwargs: dict[str, Any], output: object) -> None:
        """Hook after the forward: a cache that the decoder made itself learns under which factors it was filled."""
        if output is not None and not (torch.compiler.is_compiling() or self.asked):
            raise ValueError(f"{type(decoder).__name__} ran without asking its rotary_emb for angles; clexlab cannot extend this model")
        # The forward is over, or failed: its angles must not wait for the next one.
        state = self._fixed_state() if self.constant is not None else self.finish()
        if state is None or output is None or kwargs.get("past_key_values") is not None:
            # A cache that was given knows already; and this is every decoding step.
            return
        made = output if isinstance(output, tuple) else (getattr(output, "past_key_values", None),)
        for cache in made:
            if isinstance(cache, Cache):
                state.attach(cache)

    @torch.compiler.disable
    def finish(self) -> State | None:
        """Close this thread's forward; the state for a cache the decoder made."""
        state, self.running.state, self.running.angles = self.running.state, None, None
        return state

    @torch.compiler.disable
    def choose(self, decoder: nn.Module, given: dict[str, Any]) -> None:
        """Set the angles of this forward from the length of each row, or in training from the sampler."""
        cache, inputs = given.get("past_key_values"), _inputs(given)
        new, cached = inputs.shape[1], 0 if cache is None else int(cache.get_seq_length())
        if self.training and self.positions is not None and cache is None and self.running.planned is None:
            draws = draws_for(self.positions, inputs.shape[0], new, torch.default_generator)
            if any(draw.learned is not None for draw in draws):
                raise ValueError("these draws leave tokens out of the loss, which the model does not compute; train with taken.TakenAt")
            angles = self.at([draw.factor for draw in draws], torch.stack([draw.positions for draw in draws]))
            angles = replace(angles, mask=dilution(draws, decoder, given))
            self.running.angles, self.running.state = angles, None
            return
        state = self._own(cache, cached)
        lengths = token_counts(given, inputs.shape[0], new, cached)
        if state is not None:
            state.check_rows(len(lengths))
        call = Call(decoder, cache, state, lengths, new, cached, given.get("position_ids"))
        self.running.angles, found = self.cache.step(self, call)
        if cache is None:
            self.running.state = found
        elif found is not state:
            found.attach(cache)

    def vouch(self, cache: Cache) -> None:
        """At a constant factor: mark an empty cache as ours, refuse one that others filled."""
        state = State.of(cache)
        if state is None or state.owner != self.owner:
            # A compiled graph cannot branch on what a cache holds.
            if not torch.compiler.is_compiling():
                self._own(cache, int(cache.get_seq_length()))
            self._fixed_state().attach(cache)

    def _fixed_state(self) -> State:
        """The state of every cache at a constant factor: it holds for all rows and any length."""
        return State((), self.constant, sys.maxsize, self.owner)

    def _own(self, cache: Cache | None, cached: int) -> State | None:
        """The state of a cache that this module filled, None of an empty one; ValueError for keys turned by others."""
        state = State.of(cache) if cached else None
        if cached and (state is None or state.owner != self.owner):
            raise ValueError(
                f"the cache holds {cached} keys that were not turned by this method: it was filled before clexlab.extend, by another"
                " model, or in training at drawn positions; start with an empty cache"
            )
        return state

    def factor_for(self, length: float) -> float:
        """The factor a row of `length` tokens gets: the pinned one, else the schedule's."""
        return self.factor if self.factor is not None else self.schedule.factor(self.scaling, length)

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        """Follow the model to its device, never to half precision: θ and the field stay in the precision they have."""

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor.new_empty(0))
            return tensor.to(moved.device) if moved.is_floating_point() and moved.dtype != tensor.dtype else fn(tensor)

        super()._apply(move, recurse)
        if self.constant is not None:
            starts = self.constant.starts
            starts = None if starts is None else replace(starts, theta=move(starts.theta))
            self.constant = replace(self.constant, theta=move(self.constant.theta), starts=starts)
        return self

    def extra_repr(self) -> str:
        pinned = f"factor={self.factor:g}" if self.factor is not None else f"schedule={self.schedule.name}"
        path = "" if isinstance(self.scaling, nn.Module) else f"scaling={self.scaling!r}, "
        return f"{path}cache={self.cache.name}, {pinned}"


def token_counts(given: dict[str, Any], batch: int, new: int, cached: int) -> list[int]:
    """How many tokens each row spans, cached ones included, without padding.

    The last real position + 1 where position ids are given (`generate` always does), else the count of the 2-D mask, else all.
    """
    mask, position_ids = given.get("attention_mask"), given.get("position_ids")
    if position_ids is not None and new == 1 and cached:
        # One more token of a text: the case of every decoding step, where each operation on tensors counts.
        counts = [max(1, int(row[-1]) + 1) for row in position_ids.tolist()]
        return counts * batch if len(counts) == 1 else counts
    mask = mask[:, : cached + new] if isinstance(mask, Tensor) and mask.ndim == 2 else None
    if mask is not None and mask.shape[1] < cached + new:
        raise ValueError(f"attention_mask has {mask.shape[1]} places for {cached} cached and {new} new tokens; give one for all of them")
    if position_ids is not None:
        last = position_ids.expand(batch, -1)
        if mask is not None:
            last = last.masked_fill(mask[:, cached:].to(last.device) == 0, 0)
        return [max(1, int(count)) for count in (last.amax(-1) + 1).tolist()]
    if mask is not None:
        return [max(1, int(count)) for count in (mask != 0).sum(-1).tolist()]
    return [cached + new] * batch


def dilution(draws: Sequence[Draw], decoder: nn.Module, given: dict[str, Any]) -> Float[Tensor, "rows 1 length length"] | None:
    """The causal mask in which far keys count as the draws say, in the decoder's dtype; None for draws that count every token once.

    Raises ValueError for a model with layers that see part of the text only, for an attention that takes no such mask, for rows that hold
    several texts, and where a mask with padding was given too.
    """
    if all(draw.counts is None for draw in draws):
        return None
    config, mask, inputs = decoder.config, given.get("attention_mask"), _inputs(given)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None) or config._attn_implementation not in ("sdpa", "eager"):
        raise ValueError(
            f"layers are {', '.join(sorted(kinds))} with sliding_window {getattr(config, 'sliding_window', None)} and"
            f" {config._attn_implementation} attention; Diluted positions need full attention in every layer, computed by sdpa or eager"
        )
    if mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 2 and bool((mask != 0).all())):
        raise ValueError("Diluted positions make the attention mask themselves; give none, and rows without padding")
    given_ids = given.get("position_ids")
    if given_ids is not None and bool((given_ids.diff(dim=-1) < 1).any()):
        raise ValueError("position_ids restart, so rows hold several texts; Diluted positions would join them, train on rows of one text")
    dtype = decoder.get_input_embeddings().weight.dtype
    return torch.stack([bias(draw, dtype) for draw in draws])[:, None].to(inputs.device)


@torch.compiler.disable
def full_mask_for_rising(position_ids: Tensor, inputs: Tensor) -> Tensor | None:
    """A mask of ones where positions rise by jumps, None where they are contiguous or fall.

    Without a mask and a cache transformers takes every jump in the position ids for the start of another packed text and cuts
    attention there. Texts that really are packed restart, that is fall; those are left alone.
    """
    steps = position_ids.diff(dim=-1)
    jumps, falls = (steps > 1).any(-1), (steps < 1).any(-1)
    if not bool(jumps.any()):
        return None
    if not bool(falls.any()):
        return torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device)
    if bool((jumps & ~falls).any()):
        raise ValueError(
            "some rows of position_ids rise by jumps and others restart: transformers would cut attention at the jumps; give an"
            " attention_mask, or keep packed rows in a batch of their own"
        )
    return None


def _inputs(given: dict[str, Any]) -> Tensor:
    return given["inputs_embeds"] if given.get("input_ids") is None else given["input_ids"]
