"""Three ways to compute a sparse pattern in a model of transformers: masks for SDPA, torch's flex attention, blocks of chunks.

Each is one attention function and one mask function, registered with transformers under a name of its own; both find the pattern on
the model's config, where `hf.sparsify` has put it.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, flex_attention_mask, sdpa_mask

from clexlab.hf.sparse_seam import NAME, bounds, check_added, check_attention, check_call, check_lengths, real_tokens, seam_of
from clexlab.sparse import chunked
from clexlab.sparse.base import Pattern


class Masked:
    """SDPA with a boolean mask for every head, on any device, with padding, caches and gradients.

    The mask takes rows · heads · length² bytes, once for all layers. In every layer SDPA makes numbers of it, 4 bytes a pair in float32,
    and keeps them for the backward pass: measured on a CPU, 6 bytes a pair with one layer and 4 more for every further one.
    """

    name: ClassVar[str] = "masked"
    attention: ClassVar[str] = NAME

    @staticmethod
    def check(pattern: Pattern, heads: int) -> None:
        """Any pattern will do."""


class Flex:
    """torch's flex attention, compiled, which skips blocks of 128 that are all masked: for a GPU; on a CPU it has no gradient.

    `generate` of transformers cannot make block masks for a static cache, of a stock model either; use a dynamic one.
    """

    name: ClassVar[str] = "flex"
    attention: ClassVar[str] = f"{NAME}_flex"

    @staticmethod
    def check(pattern: Pattern, heads: int) -> None:
        """Any pattern will do."""


class Chunked:
    """Chunk by chunk on exactly the keys a chunk may see: no mask as large as the text. For whole texts without padding on the left."""

    name: ClassVar[str] = "chunked"
    attention: ClassVar[str] = f"{NAME}_chunked"

    @staticmethod
    def check(pattern: Pattern, heads: int) -> None:
        """ValueError for a pattern that does not come in chunks."""
        pattern.windows(heads)


KERNELS = (Masked, Flex, Chunked)
Kernel = type[Masked] | type[Flex] | type[Chunked]


def masked_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    device: Any = "cpu",
    config: Any = None,
    **others: Any,
) -> Bool[Tensor, "rows heads queries keys"]:
    """The pattern of every row and head as transformers asks for it: after the padding of the row, and never a later or padded key.

    A layer that is local by itself (`local_size`) keeps its own mask.
    """
    seam, given = seam_of(config), dict(q_length=q_length, kv_length=kv_length, q_offset=q_offset, kv_offset=kv_offset)
    if local_size is not None:
        shape = dict(batch_size=batch_size, mask_function=mask_function, attention_mask=attention_mask, device=device)
        return sdpa_mask(**given, **shape, allow_is_causal_skip=False)
    check_call(seam.pattern, mask_function, **given)
    queries = torch.arange(q_length, device=device) + q_offset
    keys = torch.arange(kv_length, device=device) + kv_offset
    heads = torch.arange(seam.heads, device=device)[:, None, None]
    real = real_tokens(attention_mask, kv_length + kv_offset)
    if real is None:
        seam.pattern.check(seam.heads, len(keys))
        visible = seam.pattern.at(heads, queries[:, None], keys, seam.heads, len(keys))
        return _decided(visible.expand(1, seam.heads, q_length, kv_length), batch_size)
    starts, lengths = bounds(real)
    check_lengths(seam, lengths)
    queries, keys, lengths = queries - starts[:, None], keys - starts[:, None], lengths[:, None, None, None]
    visible = seam.pattern.at(heads, queries[:, None, :, None], keys[:, None, None], seam.heads, lengths)
    return _decided((visible & real[:, None, None, kv_offset:]).expand(-1, seam.heads, -1, -1), batch_size)


def _decided(mask: Bool[Tensor, "some heads queries keys"], rows: int) -> Bool[Tensor, "rows heads queries keys"]:
    """The mask of all rows, marked where no query of it is without a key: asked once here and not in every layer."""
    whole, mask = bool(mask.any(-1).all()), mask.expand(rows, -1, -1, -1)
    # On the tensor, which transformers hands on as it is. A copy loses the mark and is asked again.
    mask.clexlab_whole = whole
    return mask


def masked_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, None]:
    """transformers' own SDPA on the mask of every head. Rows without a key give zero and pass no gradient on.

    Such a row is shown every key and its output put to zero: softmax over nothing is no number on some devices, and its gradient on more.
    """
    seam = seam_of(module.config)
    local = others.get("sliding_window") is not None
    check_attention(seam, attention_mask, local, others, Tensor)
    seam.heard(sparse=not local)
    attend = sdpa_attention_forward if others.get("softcap") is None else capped_attention
    mask = attention_mask[..., : key.shape[-2]]
    if mask.shape == attention_mask.shape and getattr(attention_mask, "clexlab_whole", False):
        return attend(module, query, key, value, mask, **others)
    blank = ~mask.any(-1, keepdim=True)
    output, _ = attend(module, query, key, value, mask | blank, **others)
    return output.masked_fill(blank.transpose(1, 2), 0.0), None


def capped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    softcap: float,
    scaling: float,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention on scores c·tanh(s/c), which SDPA does not have and Gemma 2 needs; softmax in float32 as there."""
    rep = query.shape[1] // key.shape[1]
    scores = softcap * torch.tanh(scaling / softcap * query @ key.repeat_interleave(rep, 1).mT)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value.repeat_interleave(rep, 1)).transpose(1, 2).contiguous(), None


def flex_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    device: Any = "cpu",
    config: Any = None,
    **others: Any,
) -> Any:
    """The same as a block mask: which blocks of 128 queries and keys a head needs at all, and the pattern pair by pair inside them."""
    seam, given = seam_of(config), dict(q_length=q_length, kv_length=kv_length, q_offset=q_offset, kv_offset=kv_offset)
    if local_size is not None:
        return flex_attention_mask(batch_size, **given, mask_function=mask_function, attention_mask=attention_mask, device=device)
    check_call(seam.pattern, mask_function, **given)
    length = kv_length + kv_offset
    real = real_tokens(attention_mask, length)
    if real is None:
        starts, lengths = torch.zeros(batch_size, dtype=torch.long, device=device), torch.full((batch_size,), length, device=device)
        real = torch.ones(batch_size, length, dtype=torch.bool, device=device)
    else:
        starts, lengths = bounds(real)
    check_lengths(seam, lengths)

    # A static cache counts in the tensor it gives, and has counted on when attention asks the pattern pair by pair.
    offset = q_offset.clone() if isinstance(q_offset, Tensor) else q_offset
    # A lambda, because torch counts the arguments a function is written with and tests wrap every function that has a name.
    mask_mod = lambda row, head, query, key: (  # noqa: E731
        seam.pattern.at(head, query + offset - starts[row], key + kv_offset - starts[row], seam.heads, lengths[row])
        & real[row, key + kv_offset]
    )
    # Without a compiler the whole mask is built first; on a CPU compiling takes longer than that.
    compiled = torch.device(device).type == "cuda"
    return create_block_mask(mask_mod, batch_size, seam.heads, q_length, kv_length, device=str(device), _compile=compiled)


def flex_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **others: Any
) -> tuple[Tensor, Tensor | None]:
    """transformers' own flex attention, which gives zero for a row without a key. ValueError for a mask that is not its own."""
    seam, local = seam_of(module.config), others.get("sliding_window") is not None
    check_attention(seam, attention_mask, local, others, BlockMask)
    return flex_attention_forward(module, query, key, value, attention_mask, **others)


def chunked_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    config: Any = None,
    **others: Any,
) -> None:
    """None: chunks need no mask. ValueError for what they cannot do: a cache, padding on the left; `sparsify` has refused local layers."""
    check_call(seam_of(config).pattern, mask_function, q_length, kv_length, q_offset, kv_offset)
    real = real_tokens(attention_mask, kv_length)
    if q_length != kv_length or q_offset or (real is not None and bool(bounds(real)[0].any())):
        raise ValueError(
            "chunks are cut from a whole text that begins with its first token; with a cache or padding on the left use"
            " clexlab.sparsify(model, pattern, kernel=hf.Masked)"
        )


def chunked_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, None]:
    """`sparse.attention` on the model's queries, keys and values. ValueError for a mask, and for dropout while training."""
    seam = seam_of(module.config)
    check_added(others)
    if attention_mask is not None or others.get("softcap") is not None or others.get("dropout"):
        raise ValueError("chunks are computed without masks, soft caps and attention dropout; use kernel=hf.Masked")
    seam.heard(sparse=True)
    rep = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(rep, 1), value.repeat_interleave(rep, 1)
    output = chunked.attention(query, key, value, seam.pattern, scale=others.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


for _kernel, _attention, _mask in (
    (Masked, masked_attention, masked_mask),
    (Flex, flex_attention, flex_mask),
    (Chunked, chunked_attention, chunked_mask),
):
    AttentionInterface.register(_kernel.attention, _attention)
    AttentionMaskInterface.register(_kernel.attention, _mask)
