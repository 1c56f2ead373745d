"""Attention chunk by chunk: every chunk of queries with exactly the keys it may see, and never a matrix as large as the text.

    queries of chunk c: tokens c·G - o … c·G - o + G - 1        its keys: the G tokens that begin σ earlier
    out = softmax over those keys, masked by the pattern itself at the tokens' own positions

Keys and values are *gathered*, not rolled, so nothing wraps around: what would come from before the text is not there. A head costs
n·G² scores in n chunks, where a dense matrix has N². Equal to dense attention under `visible`, gradients too.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from clexlab.sparse.base import Pattern
from clexlab.sparse.windows import Windows


def attention(
    query: Float[Tensor, "rows heads length head_dim"],
    key: Float[Tensor, "rows heads length head_dim"],
    value: Float[Tensor, "rows heads length value_dim"],
    pattern: Pattern,
    *,
    scale: float | None = None,
) -> Float[Tensor, "rows heads length value_dim"]:
    """softmax(scale · q·k) v over the keys that each head's pattern shows, zero for rows without any; scale is 1/√d unless named.

    The length need not be a multiple of the chunk. ValueError for a pattern that does not come in chunks, or sees later tokens.
    """
    heads, length = query.shape[1:3]
    pattern.check(heads, length)
    groups = pattern.windows(heads)
    parts = [_one_group(query, key, value, pattern, group, scale) for group in groups]
    order = torch.tensor([head for group in groups for head in group.heads], device=query.device)
    return torch.cat(parts, 1).index_select(1, order.argsort())


def computed(pattern: Pattern, heads: int, length: int) -> int:
    """How many scores `attention` computes for all heads: G² a chunk, those of chunks without keys left out."""
    pattern.check(heads, length)
    groups = pattern.windows(heads)
    return sum(len(group.heads) * group.chunk**2 * (group.chunks(length) - group.skipped(length)) for group in groups)


def _one_group(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, group: Windows, scale: float | None) -> Tensor:
    """The output of heads whose windows are the same: chunks take the place of heads in one batched attention."""
    heads, length, device = query.shape[1], query.shape[2], query.device
    chosen, skipped = torch.tensor(group.heads, device=device), group.skipped(length)
    queries, keys = group.queries(length, device)[skipped:], group.keys(length, device)[skipped:]
    shape = (query.shape[0], len(chosen), length, value.shape[-1])
    if not len(queries):
        return query.new_zeros(shape)
    q, k, v = (
        _gather(states.index_select(1, chosen), places).flatten(0, 1) for states, places in ((query, queries), (key, keys), (value, keys))
    )
    counts = pattern.keys_at(chosen[0], queries, heads, length)
    # Every key a row sees lies in its window and is not later, so the counts alone tell two kinds of chunks.
    whole = (counts == group.chunk).all(1) & (keys[:, 0] >= 0)
    own = (queries == keys).all(1) & (queries[:, 0] >= 0)
    triangle = (counts == 1 + torch.arange(group.chunk, device=device)).all(1) & own & ~whole
    kinds = [kind.nonzero().flatten() for kind in (whole, triangle, ~(whole | triangle))]
    rest = (queries[kinds[2], :, None], keys[kinds[2], None, :])
    mask = pattern.at(chosen[0], *rest, heads, length) & (rest[1] >= 0)
    found = _by_kind(q, k, v, kinds, mask, scale).unflatten(0, (query.shape[0], len(chosen))).flatten(2, 3)
    real = (queries.flatten() >= 0) & (queries.flatten() < length)
    # Of the dtype that was found: autocast computes in another than the queries have.
    return found.new_zeros(shape).index_copy(2, queries.flatten()[real], found[:, :, real])


def _by_kind(q: Tensor, k: Tensor, v: Tensor, kinds: list[Tensor], mask: Bool[Tensor, "rest chunk chunk"], scale: float | None) -> Tensor:
    """Chunks that see their whole window, those that see its triangle, and the rest: a mask is slower than none."""
    # A row without a key would be softmax over nothing; it sees everything and is put to zero.
    blank = ~mask.any(-1, keepdim=True)
    parts = []
    for at, options in zip(kinds, ({}, {"is_causal": True}, {"attn_mask": (mask | blank)[None]}), strict=True):
        if len(at):
            chosen = (states.index_select(1, at) for states in (q, k, v))
            parts.append(scaled_dot_product_attention(*chosen, scale=scale, **options))
    if len(mask):
        parts[-1] = parts[-1].masked_fill(blank[None], 0.0)
    return torch.cat(parts, 1).index_select(1, torch.cat(kinds).argsort())


def _gather(states: Float[Tensor, "rows heads length dim"], places: Int[Tensor, "chunks chunk"]) -> Tensor:
    """The tokens at these places, (rows, heads, chunks, chunk, dim); places outside the text hold some token that the mask hides."""
    inside = places.clamp(0, states.shape[2] - 1).flatten()
    return states.index_select(2, inside).unflatten(2, places.shape)
