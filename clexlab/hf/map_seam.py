"""What a map hangs on one model: two functions of its own, registered with transformers, hooks that tell them which model runs, a config.

The layers' attention and its mask are looked up by a name that the model's config, its own copy of it, holds while the map is in. The seam
finds out which layers turn their keys and how, and checks that a change of nothing changes nothing.
"""

import copy
import inspect
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function, sdpa_mask

from clexlab import rope
from clexlab.hf import attach
from clexlab.hf.map_attention import NAME, Seen, Stock, attention, stock_attention, stock_mask
from clexlab.hf.map_plan import group
from clexlab.hf.map_rows import as_padding, check_places
from clexlab.hf.marking import Copies
from clexlab.hf.padding import texts
from clexlab.hf.rotary import Angles, Rotary
from clexlab.positions.maps import Map, Span
from clexlab.positions.maps.base import near_span

# Where a decoder keeps its seam.
KEY = "_clexlab_map"
# Tokens of the check when a map is put in, and how far outputs may be off, as a share of their size, in single and in half precision.
TOKENS, ROOM, HALF_ROOM = 5, 1e-3, 0.05


@dataclass(frozen=True, kw_only=True)
class _Same(Map):
    """P = i - j, with every key but the query's own reached by turning both: what a model must not notice."""

    @classmethod
    def default(cls, window: int) -> "_Same":
        return cls(window=window)

    @property
    def longest(self) -> float:
        return self.window

    def _spans(self, queries: Tensor, length: int) -> tuple[Span, ...]:
        far = Span(int(queries[0]), torch.zeros_like(queries), queries, queries.double() + 2.5, torch.arange(length).double() + 2.5)
        return near_span(queries, length, 1), far


@dataclass
class _Traced:
    """One layer's queries and keys in a forward of one token."""

    module: nn.Module
    full: bool
    query: Tensor
    key: Tensor


class _Running(threading.local):
    """The seam whose decoder this thread is running, and the position ids it was given.

    Hooks do not run after a KeyboardInterrupt, so a seam can stay here; it must not keep its model in memory.
    """

    held: "weakref.ref[Seam] | None" = None
    position_ids: Tensor | None = None

    @property
    def seam(self) -> "Seam | None":
        return None if self.held is None else self.held()


RUNNING = _Running()


@dataclass(eq=False)
class Seam:
    """Everything that `remap` hangs on one model, and `lift`, which takes it away again."""

    model: nn.Module
    decoder: nn.Module
    m: Map
    generator: torch.Generator | None
    pairing: rope.Pairing = rope.HalfSplit
    turning: frozenset[nn.Module] = frozenset()
    traced: list[_Traced] | None = None
    copies: Copies | None = None
    # The attention that the config has to name in a forward: ours, but in a check what was there before.
    wanted: str = NAME
    handles: tuple = field(default=(), repr=False)

    def __post_init__(self) -> None:
        kind = "default" if self.rotary is not None else attach.rope_type(self.decoder)
        if "dynamic" in kind or kind == "longrope":
            raise ValueError(
                f"rope_type {kind!r} changes its frequencies with the length; load the model with plain RoPE and use clexlab.extend"
            )
        if self.rotary is not None and (self.rotary.positions is not None or self.rotary.scaling.start):
            raise ValueError(
                "the model is extended with training positions or start tokens of its own, and a map counts from the first token at one"
                " set of frequencies: extend it without positions, with start=0"
            )
        self.previous = self.decoder.config._attn_implementation
        if str(self.previous).startswith("clexlab"):
            raise ValueError(
                f"the attention of this model is {self.previous!r} already, and it can have only one of clexlab's: undo that first, a"
                " sparse pattern with clexlab.unsparsify(model)"
            )
        self.arguments = tuple(inspect.signature(self.decoder.forward).parameters)

    @property
    def rotary(self) -> Rotary | None:
        """The seam of `clexlab.extend`, in a model that is extended now."""
        found = self.decoder.rotary_emb
        return found if isinstance(found, Rotary) else None

    def attach(self) -> None:
        """Name our functions in the config and hook the decoder. An extended model has a config of its own already."""
        if self.rotary is None:
            config = self.decoder.config
            self.copies = Copies(self.model, config, copy.copy(config))
        self.decoder.config._attn_implementation = NAME
        self.handles = (
            self.decoder.register_forward_pre_hook(self.before, with_kwargs=True),
            self.decoder.register_forward_hook(self.after, always_call=True),
        )
        self.decoder.__dict__[KEY] = self

    def lift(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.decoder.__dict__.pop(KEY, None)
        self.decoder.config._attn_implementation = self.previous
        # Extended meanwhile, the model holds a copy of our copy; then that is what it keeps.
        if self.copies is not None and self.rotary is None:
            self.copies.lift(self.model)

    def before(self, decoder: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        """Hook before the decoder's forward: our functions learn whose forward this is."""
        given = {**dict(zip(self.arguments, args, strict=False)), **kwargs}
        if decoder.config._attn_implementation != self.wanted:
            raise ValueError(
                f"the attention of this mapped model was set to {decoder.config._attn_implementation!r}, which leaves the map out: call"
                " clexlab.unmap(model), then set it, then clexlab.remap(model, m)"
            )
        if given.get("output_attentions") or getattr(decoder.config, "output_attentions", False):
            raise ValueError(
                "output_attentions asks for whole matrices of weights, which a mapped model never makes; look at m.relative(length) and"
                " m.visible(length), or call clexlab.unmap(model) for those of plain attention"
            )
        RUNNING.held, RUNNING.position_ids = weakref.ref(self), given.get("position_ids")
        mask = given.get("attention_mask")
        if isinstance(mask, dict):
            # `generate` makes one for every kind of layer ahead of a static cache; the decoder makes them again of the padding.
            mask = mask.get("full_attention")
        if isinstance(mask, Tensor) and mask.ndim == 4 and mask.dtype == torch.bool:
            return (), {**given, "attention_mask": as_padding(mask, given.get("past_key_values"))}
        return None

    def after(self, *_: object) -> None:
        RUNNING.held = RUNNING.position_ids = None

    def theta(self, row: int) -> Float[Tensor, "pairs"]:
        """The frequencies of one row in this forward."""
        if self.rotary is None:
            layer_type = (attach.scaled_types(self.decoder) or (None,))[0]
            return getattr(self.decoder.rotary_emb, "inv_freq" if layer_type is None else f"{layer_type}_inv_freq")
        angles = self._angles()
        if angles.positions is not None or angles.starts is not None:
            raise ValueError(
                "positions are drawn for these rows, or their first tokens have frequencies of their own, and a map counts all tokens from"
                " the first, at one set of frequencies; use the map without either"
            )
        return angles.theta[0 if angles.line is None else angles.line[row]]

    def line(self, row: int) -> int:
        """Rows of one number have the same frequencies."""
        line = None if self.rotary is None else self._angles().line
        return 0 if line is None else line[row]

    def _angles(self) -> Angles:
        """Those of the forward that runs, chosen before the decoder began."""
        return self.rotary.current() if self.rotary.constant is None else self.rotary.constant

    def seen(self, rows: int, new: int, cached: int, padding: Tensor | None, stock: Stock) -> Seen:
        """The plan of this forward: rows with equal padding and frequencies together."""
        total = cached + new
        if padding is not None and padding.shape[1] < total:
            raise ValueError(
                f"attention_mask has {padding.shape[1]} entries where {cached} tokens are cached and {new} are new; give one for each of"
                f" the {total}"
            )
        starts, ends = [0] * rows, [total] * rows
        if padding is not None:
            starts, ends = (places.tolist() for places in texts(padding[:, :total].bool()))
        if self.traced is None and RUNNING.position_ids is not None:
            check_places(RUNNING.position_ids.expand(rows, -1), starts, ends, cached)
        alike: dict[tuple[int, int, int], list[int]] = {}
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            alike.setdefault((start, end, self.line(row)), []).append(row)
        heads = getattr(self.decoder.config, "num_attention_heads", 1)
        groups = tuple(
            group(self.m, tuple(chosen), start, end, cached, self.theta(chosen[0]), heads) for (start, end, _), chosen in alike.items()
        )
        return Seen(self.m, groups, self.turning, self.pairing, self.generator, stock)

    @torch.no_grad()
    def find_layers(self) -> None:
        """Which layers turn their queries and keys, and in which pairing, found by trial with one token at positions 0 and 1.

        It attends to itself at any position, so its queries and keys in both forwards differ by their turning alone.
        """
        name = type(self.decoder).__name__
        first, second = (self._trace(position) for position in (0, 1))
        if not first:
            raise ValueError(f"{name} does not use transformers' attention functions; clexlab cannot map it")
        theta = self._theta_of_one_token()
        pairings, turning = set(), set()
        for still, moved in zip(first, second, strict=True):
            if not still.full or _close(still.key, moved.key):
                continue
            both = (still.key, moved.key), (still.query, moved.query)
            fits = [pairing for pairing in rope.PAIRINGS if all(_close(_rotated(old, theta, pairing), new) for old, new in both)]
            if not fits:
                raise ValueError(
                    f"queries and keys of {name} are not both turned by its frequencies in one known pairing; clexlab cannot map it"
                )
            pairings.add(fits[0])
            turning.add(still.module)
        if len(pairings) != 1:
            raise ValueError(
                f"{name} has no layer with rotary positions and full causal attention; a map changes how far back keys seem, which sliding"
                " windows, layers without positions, and encoders, which look both ways, do not have"
            )
        self.pairing, self.turning = pairings.pop(), frozenset(turning)

    @torch.no_grad()
    def verify(self) -> None:
        """A map that turns queries and keys alike and changes no distance must leave the outputs as they were; ValueError if not.

        So mask, scale, cap, shared keys and the order of heads are the model's. That the rotation is the model's own is not seen here,
        any other would cancel as well: `find_layers` has compared it.
        """
        tokens = torch.arange(1, TOKENS + 1, device=self._device)[None]
        wanted_by, self.m = self.m, _Same(window=TOKENS)
        try:
            mapped = self._run(input_ids=tokens)
            self.decoder.config._attn_implementation = self.wanted = self.previous
            plain = self._run(input_ids=tokens)
        finally:
            self.m, self.decoder.config._attn_implementation, self.wanted = wanted_by, NAME, NAME
        if not _close(mapped, plain):
            raise ValueError(f"{type(self.decoder).__name__} gives other outputs at the same distances; clexlab cannot map it")

    @property
    def _device(self) -> torch.device:
        return next(self.decoder.parameters()).device

    def _run(self, **given: Tensor) -> Tensor:
        modes = [(module, module.training) for module in self.decoder.modules()]
        try:
            return self.decoder.eval()(**given, use_cache=False)[0]
        finally:
            for module, training in modes:
                module.training = training

    def _trace(self, position: int) -> list[_Traced]:
        token = torch.ones(1, 1, dtype=torch.long, device=self._device)
        self.traced = []
        try:
            self._run(input_ids=token, attention_mask=token, position_ids=token * position)
            return self.traced
        except Exception as error:
            name = type(self.decoder).__name__
            raise ValueError(f"{name} cannot run with another attention function ({error}); clexlab cannot map it") from error
        finally:
            self.traced = None

    def _theta_of_one_token(self) -> Float[Tensor, "pairs"]:
        return self.theta(0) if self.rotary is None else self.rotary.at([self.rotary.factor_for(2)]).theta[0]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """The registered attention function. Tensors (rows, heads, tokens, head_dim), out (rows, tokens, heads, head_dim)."""
    seam = RUNNING.seam
    if seam is not None and seam.traced is not None:
        seam.traced.append(_Traced(module, isinstance(attention_mask, Seen), query.detach().clone(), key.detach().clone()))
    if not isinstance(attention_mask, Seen | Stock):
        raise ValueError(
            "a mapped model makes its attention masks itself, of a mask with one entry per token: give that, not one per pair of tokens,"
            " and call the model that was mapped, not one that shares its layers or config"
        )
    stock = attention_mask.stock if isinstance(attention_mask, Seen) else attention_mask
    if isinstance(attention_mask, Stock) and module in stock.turning:
        raise ValueError("these rows hold several texts, or a mask that is not causal; a map counts the tokens of one text from its start")
    if isinstance(attention_mask, Stock) or module not in attention_mask.turning or attention_mask.plain:
        options |= {"scaling": scaling, "dropout": dropout} | ({} if softcap is None else {"softcap": softcap})
        return stock_attention(stock, module, query, key, value, options)
    if options.get("s_aux") is not None:
        raise ValueError(f"{type(module).__name__} has learned sinks beside its keys, which the mapped attention does not know")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attention(attention_mask.of_layer(module), query, key, value, scaling, dropout, softcap), None


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    **options: Any,
) -> object:
    """The registered mask function: the plan of this forward for full causal attention, the stock mask for any other."""
    given = {
        "batch_size": batch_size,
        "q_length": q_length,
        "kv_length": kv_length,
        "q_offset": q_offset,
        "kv_offset": kv_offset,
        "mask_function": mask_function,
        "attention_mask": attention_mask,
        **options,
    }
    seam = RUNNING.seam
    if seam is None or options.get("config") is not seam.decoder.config:
        # `generate` makes masks for static caches ahead of the forward, where they are read again; a seam may be left of another model.
        return sdpa_mask(**(given | {"allow_is_causal_skip": False}))
    stock = Stock(seam.previous, lambda: stock_mask(seam.previous, **given), seam.turning)
    if mask_function is not causal_mask_function:
        return stock
    return seam.seen(batch_size, q_length, int(q_offset), attention_mask, stock)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, make_mask)


def _rotated(key: Tensor, theta: Tensor, pairing: rope.Pairing) -> Tensor:
    width = 2 * len(theta)
    turned = rope.rotate(key[..., :width].float(), theta.float()[None], pairing)
    return torch.cat((turned, key[..., width:].float()), -1)


def _close(given: Tensor, wanted: Tensor) -> bool:
    room = ROOM if wanted.dtype in (torch.float32, torch.float64) and given.dtype in (torch.float32, torch.float64) else HALF_ROOM
    return bool((given.float() - wanted.float()).norm() <= room * wanted.float().norm())
