"""remap, remapped, unmap: read a model of transformers through a map of relative positions, without training, and take it out again."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from clexlab.hf import attach
from clexlab.hf.map_seam import KEY, Seam
from clexlab.hf.rotary import Rotary
from clexlab.positions.maps import Map


def remap(model: nn.Module, m: Map, *, generator: torch.Generator | None = None) -> nn.Module:
    """Read `model` through the map `m`, in place, and return it; `unmap` undoes it exactly.

    Any decoder of transformers with one `rotary_emb` and attention functions, plain or extended by `clexlab.extend`: the map says which
    distance, the path which angle it is. Works with dynamic and static key caches, beams, left or right padding, grouped keys, half
    precision and gradients. A text that the map leaves as it is goes through the model's former attention, bit for bit. Layers with a
    sliding window and layers without rotary positions keep their attention, and evicting maps evict nothing from the cache. Where far
    keys do not stand at their own places (ReRoPE, Leaky ReRoPE, Self-Extend, Dual Chunk, GALI) decoding turns all of them again at every
    token, O(length) in every layer. `generator` draws GALI's noise; without one torch's global generator does. A path with
    cache="rerotate" must be in the model before the map. Not saved with the model.
    Raises ValueError: no map, a model that is mapped already or sparsified, without or with several rotary modules, with frequencies that
    change with the length (rope types dynamic, longrope: extend a plain model instead), whose attention cannot be replaced (Falcon), with
    no layer that has both rotary positions and full causal attention, or with training positions of its own. Then the model is as it was.
    In a forward: packed texts, holes in the padding, masks of one's own or shorter than the cache, position ids other than 0, 1, 2 … of
    each text or of the row, `output_attentions`, an attention that was set over the map.
    """
    if not isinstance(m, Map):
        raise ValueError(f"the map is {m!r}; pass one of clexlab.positions, for example SelfExtend.default(window)")
    if isinstance(model, nn.Module) and _seam(model) is not None:
        raise ValueError("this model is mapped already; call clexlab.unmap(model) first")
    rotaries = [module for module in model.modules() if isinstance(module, Rotary)] if isinstance(model, nn.Module) else []
    decoder = rotaries[0].patch.decoder if rotaries else attach.decoder_of(model)
    seam = Seam(model, decoder, m, generator)
    seam.attach()
    try:
        seam.find_layers()
        seam.verify()
    except BaseException:
        seam.lift()
        raise
    return model


def unmap(model: nn.Module) -> nn.Module:
    """Undo `remap`: attention, hooks and config are those of before. ValueError if the model is not mapped."""
    seam = _seam(model)
    if seam is None:
        raise ValueError(f"this {type(model).__name__} is not mapped; call clexlab.remap(model, m) first")
    seam.lift()
    return model


@contextmanager
def remapped(model: nn.Module, m: Map, *, generator: torch.Generator | None = None) -> Iterator[nn.Module]:
    """`remap` for the length of a with-block; undone on exit, also after an error."""
    remap(model, m, generator=generator)
    ours = _seam(model)
    try:
        yield model
    finally:
        # The block may have taken the map out itself, or put in another.
        if _seam(model) is ours:
            unmap(model)


def _seam(model: nn.Module) -> "Seam | None":
    return next((module.__dict__[KEY] for module in model.modules() if KEY in module.__dict__), None)
