"""The method written into an extended model's config, so that a saved checkpoint cannot be mistaken for plain RoPE.

A config object may be shared by several models: `Copies` are written on, and given to the changed model alone.
"""

import copy
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedConfig

# Plain transformers raises KeyError with the rope type it does not know: the type is the sentence that helps.
ROPE_TYPE = "clexlab: this checkpoint's positions are not stock RoPE; load it with clexlab.load(path) (pip install clexlab)"
FULL = "full_attention"


class Copies:
    """Copies of a model's configs in the place of the originals until `lift`: `inner` for the decoder's own `config`."""

    def __init__(self, model: nn.Module, config: PreTrainedConfig, inner: PreTrainedConfig) -> None:
        self.pairs = [(config, inner)]
        for outer in _configs_around(model, config):
            around = copy.copy(outer)
            around.__dict__.update({name: inner for name, value in vars(outer).items() if value is config})
            self.pairs.append((outer, around))
        self.written = [dict(vars(copied)) for _, copied in self.pairs]
        for original, copied in self.pairs:
            _swap(model, original, copied)

    def check(self, model: nn.Module) -> None:
        """Refuse to lift what other copies were put upon: undone in this order, those would stay for ever."""
        if not any(module.__dict__.get("config") is self.pairs[0][1] for module in model.modules()):
            raise ValueError(
                "this model was changed again since (extended, sparsified); undo the last change first: clexlab.restore, clexlab.unsparsify"
            )

    def lift(self, model: nn.Module) -> None:
        """Give the originals back, with whatever else was set on the copies meanwhile (`use_cache`, say)."""
        for (original, copied), written in zip(self.pairs, self.written, strict=True):
            changed = {name: value for name, value in vars(copied).items() if name not in written or value is not written[name]}
            original.__dict__.update(changed)
            _swap(model, copied, original)


class Mark(Copies):
    """Copies that carry the method. `kind` and `rope_parameters` are the class and the stock entry of the decoder's own config."""

    def __init__(self, model: nn.Module, config: PreTrainedConfig, entry: dict[str, Any]) -> None:
        self.kind, self.rope_parameters = type(config), config.rope_parameters
        marked = {"rope_type": ROPE_TYPE, "clexlab": entry}
        stock = config.rope_parameters
        inner = copy.copy(config)
        inner.rope_parameters = {**stock, FULL: {**stock[FULL], **marked}} if FULL in stock else {**stock, **marked}
        inner.__class__ = _tolerant(self.kind)
        super().__init__(model, config, inner)


def _configs_around(model: nn.Module, config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """Configs of the model that hold `config` as a part, as those of models with a vision tower do."""
    found = []
    for module in model.modules():
        other = module.__dict__.get("config")
        holds = isinstance(other, PreTrainedConfig) and other is not config and any(value is config for value in vars(other).values())
        if holds and not any(other is known for known in found):
            found.append(other)
    return found


def _swap(model: nn.Module, old: PreTrainedConfig, new: PreTrainedConfig) -> None:
    for module in model.modules():
        if module.__dict__.get("config") is old:
            module.config = new


def _tolerant(kind: type[PreTrainedConfig]) -> type[PreTrainedConfig]:
    """The config's class with rope validation left to clexlab: stock validators warn of an unknown type or refuse it (Phi-3)."""
    return strict(type(kind.__name__, (kind,), {"validate_rope": lambda self: None, "__module__": kind.__module__}))
