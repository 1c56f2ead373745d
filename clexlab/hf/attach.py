"""extend, extended, restore: put a path in the place of a model's rotary frequencies, verified, and take it out again.

One seam for every architecture: the decoder's single `rotary_emb` module. No modelling code is copied and no class of
transformers is changed; everything added hangs on the one model instance.
"""

import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from clexlab import frequencies
from clexlab.frequencies import Geometry
from clexlab.hf import caches, generation, spec
from clexlab.hf.caches import CacheSemantics
from clexlab.hf.marking import FULL, Mark
from clexlab.hf.rotary import Rotary
from clexlab.hf.schedules import WHOLE, Schedule
from clexlab.positions.base import Sampler, check_reach, check_sampler
from clexlab.scaling.base import Path

# Angles are compared at these positions. A float32 product p·θ is off by half a unit in its last place, and cos and sin by as
# much again; four units of the largest angle are room for both and far below any other frequency.
PROBES, UNITS = (0, 1, 2, 5, 17, 63), 4 * 2.0**-24


def extend(
    model: nn.Module,
    scaling: Path,
    *,
    cache: str | type[CacheSemantics] = "frozen",
    factor: float | None = None,
    schedule: Schedule = WHOLE,
    positions: Sampler | None = None,
) -> nn.Module:
    """Give `model` the angles of `scaling`, in place, and return it; `restore` undoes it exactly.

    Any model of transformers with one `rotary_emb` and unscaled rotary frequencies. `factor` pins t; without it each row of an
    uncached forward gets schedule(its tokens), and `cache` names what happens to cached keys: "frozen" (fixed for the planned
    length, exact), "rerotate", "refill"; see `hf.caches`. `positions` draws training positions and factors, in train mode only.
    In a model with several layer types only full attention follows the path: local layers never see a long distance. Texts packed
    into one row share the factor of the longest.
    Raises ValueError: no or several rotary modules, a model already scaled or extended, a geometry that is not the model's, an
    unknown cache, a factor the path refuses, or angles that do not come out as the method's (the model is then left as it was).
    """
    decoder, host = _decoder(model), _generator(model)
    cache = caches.by_name(cache) if isinstance(cache, str) else cache
    if cache not in caches.CACHES:
        raise ValueError(f"cache is {cache!r}; pass one of {', '.join(repr(known.name) for known in caches.CACHES)}")
    _check(geometry(model), scaling, factor, schedule, positions)
    factor = None if factor is None else scaling.check_single(factor)
    entry = {"scaling": spec.describe(scaling), "cache": cache.name, "factor": factor, "schedule": schedule.name}
    arguments = tuple(inspect.signature(decoder.forward).parameters)
    rotary = Rotary(decoder.rotary_emb, decoder.config, _scaled(decoder), scaling, cache, factor, schedule, positions, arguments)
    rotary.train(decoder.training).to(rotary.device)
    rotary.patch = Patch(model, host, decoder, rotary, entry)
    try:
        verify(model)
        cache.prepare(rotary, decoder)
    except BaseException:
        restore(model)
        raise
    return model


class Patch:
    """Everything that `extend` hangs on one model, and `lift`, which takes it away again."""

    def __init__(self, model: nn.Module, host: nn.Module, decoder: nn.Module, rotary: Rotary, entry: dict) -> None:
        self.model, self.host, self.decoder = model, host, decoder
        decoder.rotary_emb = rotary
        self.handles = (
            decoder.register_forward_pre_hook(rotary.before, with_kwargs=True),
            decoder.register_forward_hook(rotary.after, with_kwargs=True, always_call=True),
        )
        self.mark = Mark(model, decoder.config, entry)
        self.methods = generation.hooks(host)
        for name, function in self.methods.items():
            setattr(host, name, types.MethodType(function, host))

    def lift(self, rotary: Rotary) -> None:
        for handle in self.handles:
            handle.remove()
        self.mark.lift(self.model)
        for name in self.methods:
            self.host.__dict__.pop(name, None)
        self.decoder.rotary_emb = rotary.original
        rotary.original.train(self.decoder.training)


def restore(model: nn.Module) -> nn.Module:
    """Undo `extend`: module, hooks, methods and config are those of before.

    ValueError if the model is not extended, or was sparsified since: changes are undone in the reverse order.
    """
    rotary = rotary_of(model)
    rotary.patch.mark.check(rotary.patch.model)
    rotary.patch.lift(rotary)
    return model


@contextmanager
def extended(
    model: nn.Module,
    scaling: Path,
    *,
    cache: str | type[CacheSemantics] = "frozen",
    factor: float | None = None,
    schedule: Schedule = WHOLE,
    positions: Sampler | None = None,
) -> Iterator[nn.Module]:
    """`extend` for the length of a with-block; undone on exit, also after an error."""
    extend(model, scaling, cache=cache, factor=factor, schedule=schedule, positions=positions)
    ours = rotary_of(model)
    try:
        yield model
    finally:
        # The block may have restored the model itself, or extended it anew.
        if any(module is ours for module in model.modules()):
            restore(model)


def rotary_of(model: nn.Module) -> Rotary:
    """The seam of an extended model; ValueError if it is not extended."""
    _check_model(model)
    found = [module for module in model.modules() if isinstance(module, Rotary)]
    if len(found) != 1:
        raise ValueError(f"this {type(model).__name__} is not extended; call clexlab.extend(model, scaling) first")
    return found[0]


def geometry(model: nn.Module) -> Geometry:
    """The model's rotary dimension, base and window, read from the module that makes its angles.

    `window` is `max_position_embeddings`, the largest length the config claims; a path may be built with the smaller length the
    model was really trained at. ValueError for a model without plain rotary frequencies or one already scaled.
    """
    decoder = _decoder(model)
    layer_type = (_scaled(decoder) or (None,))[0]
    parameters = decoder.config.rope_parameters if layer_type is None else decoder.config.rope_parameters[layer_type]
    if parameters is None:
        raise ValueError(f"{type(model).__name__} turns nothing in its layers of type {layer_type}, the only ones clexlab scales")
    kind = parameters.get("rope_type", "default")
    if kind != "default":
        raise ValueError(
            f"this {type(model).__name__} is already scaled (rope_type {kind!r}); a path starts from plain RoPE: load the model with"
            f" rope_parameters={{'rope_type': 'default', 'rope_theta': {parameters.get('rope_theta')}}}, and give scaling_for the window"
            f" it was trained at ({parameters.get('original_max_position_embeddings', 'see its card')})"
        )
    theta = getattr(decoder.rotary_emb, "inv_freq" if layer_type is None else f"{layer_type}_inv_freq", None)
    base = parameters.get("rope_theta")
    if theta is None or base is None or theta.ndim != 1:
        raise ValueError(f"the rotary module {type(decoder.rotary_emb).__name__} keeps no list of frequencies; clexlab cannot replace it")
    head_dim = 2 * len(theta)
    if not torch.allclose(theta.float().cpu(), frequencies.inv_freq(head_dim, base), rtol=1e-2):
        raise ValueError(f"the frequencies of {type(decoder.rotary_emb).__name__} are not base^(-2j/d) with base {base:g}, d {head_dim}")
    return Geometry(
        type(decoder).__name__, head_dim, float(base), int(decoder.config.max_position_embeddings), "the model's own config"
    )


def scaling_for(model: nn.Module, method: type[Path], *, window: int | None = None) -> Path:
    """`method` with its published options on the model's geometry; `window` where the trained length is not the config's."""
    found = geometry(model)
    return method.default(head_dim=found.head_dim, base=found.base, window=found.window if window is None else window)


@torch.no_grad()
def verify(model: nn.Module) -> None:
    """Ask the extended model's rotary module for angles and compare them with the path's own; ValueError if they differ.

    cos and sin of p·θ(t) times A(t), at a few positions and at two factors, in either layout of the pairs. That the layers really
    take their angles from this module is checked in the first forward.
    """
    rotary = rotary_of(model)
    top = min(4.0, rotary.scaling.limit)
    for factor in (1.0, top) if rotary.factor is None else (rotary.factor,):
        angles = rotary.scaling.angles(torch.tensor(PROBES), factor)
        scale = rotary.scaling.attention_scale(factor)
        wanted = scale * torch.cos(angles), scale * torch.sin(angles)
        room = UNITS * scale * (1 + float(angles.max()))
        if not all(_same(part, target, room) for part, target in zip(_ask(rotary, factor), wanted, strict=True)):
            raise ValueError(
                f"{type(rotary.original).__name__} does not turn by the frequencies it is given; clexlab cannot extend this model"
            )


def _ask(rotary: Rotary, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What layers would get at the probed positions."""
    before, rotary.running.angles = rotary.running.angles, rotary.at([factor])
    device = rotary.device
    layer_type = rotary.scaled[:1] if rotary.scaled else ()
    try:
        return rotary(torch.zeros(1, device=device), torch.tensor([PROBES], device=device), *layer_type)
    except Exception as error:
        raise ValueError(
            f"{type(rotary.original).__name__} cannot be asked for the angles of given positions ({error}); clexlab cannot extend it"
        ) from error
    finally:
        rotary.running.angles, rotary.asked = before, False


def _same(given: torch.Tensor, wanted: torch.Tensor, room: float) -> bool:
    layouts = (torch.cat((wanted, wanted), -1), wanted.repeat_interleave(2, -1))
    given = given[0].double().cpu()
    return any(given.shape == layout.shape and bool((given - layout).abs().max() <= room) for layout in layouts)


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r}; pass a loaded model of transformers, AutoModelForCausalLM.from_pretrained(path)")


def _decoder(model: nn.Module) -> nn.Module:
    """The one module that owns a `rotary_emb`."""
    _check_model(model)
    if any(isinstance(module, Rotary) for module in model.modules()):
        raise ValueError("this model is extended already; call clexlab.restore(model) first")
    owners = [module for module in model.modules() if isinstance(getattr(module, "rotary_emb", None), nn.Module)]
    name = type(model).__name__
    if not owners:
        raise ValueError(
            f"{name} has no rotary module (`rotary_emb`), so there are no frequencies to scale; clexlab extends RoPE models only"
        )
    if len(owners) > 1:
        raise ValueError(f"{name} has {len(owners)} rotary modules; clexlab extends models with exactly one")
    config = getattr(owners[0], "config", None)
    if getattr(config, "alibi", False):
        raise ValueError(f"{name} uses ALiBi (config.alibi is true) and ignores its rotary module; nothing to scale")
    if not isinstance(getattr(config, "rope_parameters", None), dict):
        raise ValueError(f"{name} has no config.rope_parameters; clexlab extends models of transformers 5")
    return owners[0]


def _scaled(decoder: nn.Module) -> tuple[str, ...] | None:
    """The layer types that follow the path: None for a model with one kind of angles, full attention in one with several."""
    parameters = decoder.config.rope_parameters
    if FULL in parameters:
        return (FULL,)
    nested = [key for key, value in parameters.items() if isinstance(value, dict) and key != "clexlab"]
    if nested:
        raise ValueError(f"rotary angles per layer type {nested}, none of them {FULL}; clexlab does not know which to scale")
    return None


def _generator(model: nn.Module) -> nn.Module:
    """The outermost model of transformers: the one whose `generate` is called, inside any wrapper of peft or DDP."""
    return next((module for module in model.modules() if isinstance(module, PreTrainedModel)), model)


def _check(found: Geometry, scaling: Path, factor: float | None, schedule: Schedule, positions: Sampler | None) -> None:
    if not isinstance(scaling, Path):
        raise ValueError(f"scaling is {scaling!r}; pass a path of clexlab.scaling, for example hf.scaling_for(model, scaling.YaRN)")
    if isinstance(schedule, type) or not callable(getattr(schedule, "factor", None)) or not hasattr(schedule, "name"):
        raise ValueError(f"schedule is {schedule!r}; pass one, for example hf.Whole(), or an object with name and factor(path, length)")
    if positions is not None:
        check_sampler(positions)
    if (scaling.head_dim, scaling.base) != (found.head_dim, found.base):
        raise ValueError(
            f"scaling is built for head_dim {scaling.head_dim}, base {scaling.base:g}; {found.name} turns {found.head_dim} with base"
            f" {found.base:g}: use hf.scaling_for(model, {type(scaling).__name__})"
        )
    # Better refused now than hours into a training.
    check_reach(positions, scaling.window, scaling.limit)
    if factor is not None:
        if positions is not None:
            raise ValueError("factor and positions are both given; a sampler draws the factor of every training step itself")
