"""Attention through a map of relative positions: blocks of queries, one score matrix per span they meet, one softmax over all keys seen.

    score(i, j) = ⟨R((query_i - i)θ) q̂_i, R((key_j - j)θ) k̂_j⟩·scaling   for a key j of a span;   q̂, k̂ turned by i and j, as the model did

Without gradients memory is that of one block's scores and of the keys as the spans of that block want them, at most two copies of the
layer's own keys; in training autograd keeps every block's weights and all turned keys for the backward pass, n²/2 numbers and more a head.
Keys that no span shows are never scored. Any number of heads may share a key; the rotation may have either pairing and leave the last
coordinates alone. Registered with transformers' attention interface by `clexlab.hf.remap`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from clexlab import rope
from clexlab.hf.map_plan import Block, Group, KeyTurn, Piece, Turn
from clexlab.positions.maps import Map

# Of the functions registered with transformers.
NAME = "clexlab_map"


@dataclass
class Stock:
    """The mask of layers that the map leaves alone, those with a sliding window, say: made for the attention they had before."""

    previous: str
    make: Callable[[], object]
    turning: frozenset[nn.Module] = frozenset()
    made: list[object] = field(default_factory=list)

    def mask(self) -> object:
        if not self.made:
            self.made.append(self.make())
        return self.made[0]


@dataclass
class Seen:
    """What layers with full attention get in the place of a mask: the plan of this forward. `stock` is for those that turn nothing.

    `generator` draws one seed for each layer, kept in `seeds`: a checkpoint that runs a layer again for the backward pass gives it this
    same object, and must find the same noise.
    """

    m: Map
    groups: tuple[Group, ...]
    turning: frozenset[nn.Module]
    pairing: rope.Pairing
    generator: torch.Generator | None
    stock: Stock
    seeds: dict[nn.Module, int] = field(default_factory=dict)

    def of_layer(self, layer: nn.Module) -> "Seen":
        """The same with the layer's own generator; torch's global one needs no copy, checkpoints restore it themselves."""
        if self.generator is None or not any(span.noise is not None for group in self.groups for span in group.spans):
            return self
        if layer not in self.seeds:
            device = self.generator.device
            self.seeds[layer] = int(torch.randint(2**62, (), generator=self.generator, device=device))
        return replace(self, generator=torch.Generator(self.generator.device).manual_seed(self.seeds[layer]))

    @property
    def plain(self) -> bool:
        return all(group.plain for group in self.groups)


def stock_attention(
    stock: Stock, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, options: dict[str, object]
) -> tuple[Tensor, Tensor | None]:
    """What the layer did before the map came."""
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return ALL_ATTENTION_FUNCTIONS.get_interface(stock.previous, eager)(module, query, key, value, stock.mask(), **options)


def stock_mask(previous: str, **given: object) -> object:
    """The mask that the attention of before wants; None for one that wants none."""
    known = previous in ALL_MASK_ATTENTION_FUNCTIONS.valid_keys()
    return ALL_MASK_ATTENTION_FUNCTIONS[previous](**given) if known else None


def attention(
    seen: Seen,
    query: Float[Tensor, "rows heads queries head_dim"],
    key: Float[Tensor, "rows kv_heads keys head_dim"],
    value: Float[Tensor, "rows kv_heads keys value_dim"],
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
) -> Float[Tensor, "rows queries heads value_dim"]:
    """The mapped attention of one layer; queries that are padding get zeros."""
    rows, heads, new, width = query.shape
    query = query.reshape(rows, key.shape[1], -1, new, width)
    out = None
    for group in (group for group in seen.groups if group.blocks):
        chosen = slice(None) if len(group.rows) == rows else torch.tensor(group.rows, device=query.device)
        count = group.end - group.start - group.first
        places, text = slice(group.skipped, group.skipped + count), slice(group.start, group.end)
        part = Part(query[chosen, :, :, places], key[chosen, :, text], value[chosen, :, text])
        found = _of_group(seen, group, part, scaling, dropout, softcap)
        if len(group.rows) == rows and count == new:
            out = found
        else:
            # Autocast multiplies in half precision what comes in single.
            out = found.new_zeros(rows, new, heads, value.shape[-1]) if out is None else out
            out[chosen, places] = found
    return query.new_zeros(rows, new, heads, value.shape[-1]) if out is None else out


@dataclass
class Part:
    """Queries (rows, kv_heads, shared, queries, head_dim), keys and values (rows, kv_heads, tokens, …) of one group's texts."""

    query: Tensor
    key: Tensor
    value: Tensor


@dataclass
class Keys:
    """Keys of one group from token `begin` on, as a span wants them (rows, kv_heads, head_dim, tokens)."""

    begin: int
    turned: Tensor


def _of_group(
    seen: Seen, group: Group, part: Part, scaling: float, dropout: float, softcap: float | None
) -> Float[Tensor, "rows queries heads value_dim"]:
    queries = [
        turned(part.query[..., span.first - group.first : span.last - group.first, :], turn, seen.pairing)
        for span, turn in zip(group.spans, group.queries, strict=True)
    ]
    # A list of keys is turned when a block first needs it and let go after the last one: GALI has one for every chunk.
    last = {group.uses[piece.span]: number for number, block in enumerate(group.blocks) for piece in block.pieces}
    keys: dict[int, Keys] = {}
    found = []
    for number, block in enumerate(group.blocks):
        for use in {group.uses[piece.span] for piece in block.pieces} - keys.keys():
            turn = group.keys[use]()
            keys[use] = Keys(turn.begin, _turned_keys(part.key, turn, seen.pairing).mT)
        scores = [_scores(seen, group, block, piece, queries, keys, scaling) for piece in block.pieces]
        joined = scores[0] if len(scores) == 1 else torch.cat(scores, -1)
        # As transformers' eager attention: the cap comes after everything else, and what is hidden stays hidden.
        joined = joined if softcap is None else _capped(joined, softcap)
        weights = joined.softmax(-1, dtype=torch.promote_types(joined.dtype, torch.float32)).to(part.value.dtype)
        weights = nn.functional.dropout(weights, dropout) if dropout else weights
        shares = weights.flatten(2, 3).split([piece.high - piece.low for piece in block.pieces], -1)
        sums = [share @ part.value[:, :, piece.low : piece.high] for share, piece in zip(shares, block.pieces, strict=True)]
        for use in [use for use in keys if last[use] == number]:
            del keys[use]
        found.append(sum(sums[1:], sums[0]).unflatten(2, (part.query.shape[2], -1)).flatten(1, 2).transpose(1, 2))
    return torch.cat(found, 1)


def _scores(
    seen: Seen, group: Group, block: Block, piece: Piece, queries: list[Tensor], keys: dict[int, Keys], scaling: float
) -> Float[Tensor, "rows kv_heads shared queries columns"]:
    """Logits of one block and one piece, -inf where hidden."""
    span, held = group.spans[piece.span], keys[group.uses[piece.span]]
    query = queries[piece.span][..., block.begin - span.first : block.end - span.first, :]
    columns = held.turned[..., piece.low - held.begin : piece.high - held.begin]
    scores = ((query * scaling).flatten(2, 3) @ columns).unflatten(2, query.shape[2:4])
    if span.noise is not None:
        scores = scores + _noise(seen, group, block, piece, scores)
    if piece.left is not None:
        scores[..., : piece.left.shape[-1]].masked_fill_(piece.left, -torch.inf)
    if piece.right is not None:
        scores[..., scores.shape[-1] - piece.right.shape[-1] :].masked_fill_(piece.right, -torch.inf)
    return scores


def _noise(seen: Seen, group: Group, block: Block, piece: Piece, scores: Tensor) -> Tensor:
    """Drawn for every row and head, where the logit is mixed of two; from torch's own generator if none was given."""
    span, queries, keys = group.spans[piece.span], slice(block.begin, block.end), slice(piece.low, piece.high)
    relative = span.distances(queries, keys)
    apart = torch.arange(block.begin, block.end)[:, None] - torch.arange(piece.low, piece.high)
    spread = span.noise.deviation(apart, relative, len(span.key), seen.m.window) * (span.mix.share[keys] > 0)
    generator = torch.default_generator if seen.generator is None else seen.generator
    drawn = torch.randn(scores.shape, generator=generator, device=generator.device)
    return (drawn * spread.float().to(drawn.device)).to(scores)


def _capped(scores: Tensor, softcap: float) -> Tensor:
    return (torch.tanh(scores / softcap) * softcap).masked_fill(scores == -torch.inf, -torch.inf)


def turned(x: Tensor, turn: Turn | None, pairing: rope.Pairing) -> Tensor:
    """The first coordinates of `x` (…, tokens, head_dim) rotated in float32, the others as they are."""
    if turn is None:
        return x
    # Half precision times the float32 of cos and sin is float32.
    width = 2 * turn.cos.shape[-1]
    first, second = pairing.split(x[..., :width])
    both = pairing.join(first * turn.cos - second * turn.sin, second * turn.cos + first * turn.sin).to(x.dtype)
    return both if width == x.shape[-1] else torch.cat((both, x[..., width:]), -1)


def _turned_keys(key: Tensor, turn: KeyTurn, pairing: rope.Pairing) -> Tensor:
    key = key[:, :, turn.begin : turn.end]
    here = turned(key, turn.here, pairing)
    if turn.share is None:
        return here
    below = turned(key, turn.below, pairing)
    return (here + (below.float() - here.float()) * turn.share).to(key.dtype)
