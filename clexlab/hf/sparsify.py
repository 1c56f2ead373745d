"""sparsify, sparsified, unsparsify: give every full-attention layer of a model a sparse pattern, verified, and take it away again.

Weights stay as they are and no class of transformers is changed: the model's config, a copy of it, names an attention that clexlab has
registered and carries the pattern. Rotary angles are those of the true positions, before any chunking.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from clexlab.hf.kernels import KERNELS, Chunked, Kernel, Masked
from clexlab.hf.marking import Copies
from clexlab.hf.sparse_seam import NAME, Seam
from clexlab.sparse.base import Pattern
from clexlab.sparse.local import Local

# Where a model keeps what `unsparsify` needs.
_PATCH = "clexlab_sparse_patch"


def sparsify(model: nn.Module, pattern: Pattern, *, kernel: Kernel = Masked) -> nn.Module:
    """Let the full-attention layers of `model` see what `pattern` shows them, in place, and return it; `unsparsify` undoes it exactly.

    Any model of transformers with the AttentionInterface, plain, extended (`clexlab.extend`) or wrapped by peft, to train or to read
    with. Every row of a batch has the pattern of its own text, wherever its padding is. Layers that are local by themselves (a sliding
    window) keep their own mask. `kernel` computes it: `hf.Masked`, `hf.Flex`, `hf.Chunked`. Nothing of it is saved with the model: a
    checkpoint is an ordinary one, to be read with full attention or sparsified again. Pickle cannot take a sparsified model, `torch.save`
    of the whole included: `unsparsify` it before. Under torch.compile give an attention_mask, of ones where there is no padding: without
    one transformers takes the rows to hold several texts. Weights of attention (output_attentions) are not to be had.
    Raises ValueError: a pattern that the number of heads does not divide, a kernel that cannot compute it or the model's local
    layers, a model that is sparsified or otherwise patched already or does not use the AttentionInterface (Falcon), layers that turn out
    not to follow the pattern.
    """
    host = _host(model)
    config = host.config.get_text_config(decoder=True)
    if not isinstance(pattern, Pattern):
        raise ValueError(f"pattern is {pattern!r}; pass one of clexlab.sparse, for example sparse.S2(chunk=64)")
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; pass one of {', '.join(f'hf.{each.__name__}' for each in KERNELS)}")
    heads = config.num_attention_heads
    # What a leaking pattern asks of the length it says in the forward.
    if pattern.causal:
        pattern.check(heads, 1)
    kernel.check(pattern, heads)
    patch = Patch(model, host, config, Seam(pattern, heads), kernel)
    try:
        verify(model)
    except BaseException:
        patch.lift()
        raise
    return model


class Patch:
    """Everything that `sparsify` changes on one model, and `lift`, which takes it back."""

    def __init__(self, model: nn.Module, host: PreTrainedModel, config: PreTrainedConfig, seam: Seam, kernel: Kernel) -> None:
        self.model, self.host, self.seam, self.kernel = model, host, seam, kernel
        self.config = copy.copy(config)
        # On the class and not in the fields: what a config holds is written into checkpoints.
        self.config.__class__ = type(type(config).__name__, (type(config),), {NAME: seam, "__module__": type(config).__module__})
        self.config._attn_implementation_internal = kernel.attention
        self.copies = Copies(model, config, self.config)
        host.__dict__[_PATCH] = self

    def lift(self) -> None:
        self.copies.check(self.model)
        self.copies.lift(self.model)
        del self.host.__dict__[_PATCH]


def unsparsify(model: nn.Module) -> nn.Module:
    """Undo `sparsify`. ValueError if the model is not sparsified, or was extended since: changes are undone in the reverse order."""
    _patch(model).lift()
    return model


@contextmanager
def sparsified(model: nn.Module, pattern: Pattern, *, kernel: Kernel = Masked) -> Iterator[nn.Module]:
    """`sparsify` for the length of a with-block; undone on exit, also after an error."""
    sparsify(model, pattern, kernel=kernel)
    ours = _patch(model)
    try:
        yield model
    finally:
        # The block may have undone it itself.
        if any(module.__dict__.get(_PATCH) is ours for module in model.modules()):
            ours.lift()


def pattern_of(model: nn.Module) -> Pattern:
    """The pattern of a sparsified model; ValueError if it is not sparsified."""
    return _patch(model).seam.pattern


@torch.no_grad()
def verify(model: nn.Module) -> None:
    """Run two tokens that must not see one another and look whether they do; ValueError if a layer does not follow its pattern.

    The probe is computed by masks whatever the kernel, since two tokens are no chunk and flex attention compiles for half a minute.
    """
    patch = _patch(model)
    seam, config, host = patch.seam, patch.config, patch.host
    modes = {module: module.training for module in host.modules()}
    pattern, seam.pattern, seam.calls = seam.pattern, Local(chunk=1), []
    config._attn_implementation_internal = Masked.attention
    host.eval()
    try:
        tokens = torch.tensor([[0, 1], [1, 1]], device=host.get_input_embeddings().weight.device)
        first, second = host(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)[0][:, -1]
        heard = seam.calls
    finally:
        seam.pattern, seam.calls = pattern, None
        config._attn_implementation_internal = patch.kernel.attention
        for module, training in modes.items():
            module.training = training
    name = type(host).__name__
    if True not in heard:
        raise ValueError(f"no layer of {name} asked for the pattern: all are local by themselves, or its attention is not exchangeable")
    if False in heard and patch.kernel is Chunked:
        raise ValueError(f"{name} has layers that are local by themselves, which chunks do not compute; use kernel=hf.Masked")
    # Local layers let the two tokens meet; without any, the last token must not know the first.
    if False not in heard and not torch.equal(first, second):
        raise ValueError(f"some layers of {name} do not follow the pattern: tokens that must not see one another do")


def _host(model: nn.Module) -> PreTrainedModel:
    """The model of transformers inside any wrapper, if its attention can be exchanged and nobody has."""
    found = [module for module in model.modules() if isinstance(module, PreTrainedModel)] if isinstance(model, nn.Module) else []
    if not found:
        raise ValueError(f"model is {type(model).__name__}; pass a model of transformers, AutoModelForCausalLM.from_pretrained(path)")
    host = found[0]
    if any(_PATCH in module.__dict__ for module in model.modules()):
        raise ValueError("this model is sparsified already; call clexlab.unsparsify(model) first")
    current = host.config.get_text_config(decoder=True)._attn_implementation
    if str(current).startswith("clexlab"):
        raise ValueError(f"the attention of this model is already {current!r}; undo that first: only one of clexlab's can be in the place")
    if not host._can_set_attn_implementation():
        raise ValueError(f"{type(host).__name__} computes attention itself, without transformers' AttentionInterface; no pattern fits in")
    return host


def _patch(model: nn.Module) -> Patch:
    found = [module.__dict__[_PATCH] for module in model.modules() if _PATCH in module.__dict__] if isinstance(model, nn.Module) else []
    if len(found) != 1:
        raise ValueError(f"this {type(model).__name__} is not sparsified; call clexlab.sparsify(model, pattern) first")
    return found[0]
