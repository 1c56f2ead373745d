"""What a mapped forward does, worked out once for all its layers: which rotations are added, and which keys each block of queries scores.

A map's spans say where queries and keys are to stand; the model has turned them by their own places already. Rotations compose, so what is
left is to turn them by the difference, and keys in the cache can stay as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clexlab.positions.maps import Map, Span

# Queries of one block, at most and at least. Smaller ones score fewer keys in vain at the ragged ends of spans, larger ones multiply
# larger matrices.
BLOCK, LEAST = 128, 16
# Scores held at a time, over all rows and heads: 2^24 are 64 megabytes in float32.
SCORES = 2**24
# Lists of keys whose rotations are made once for all layers. Where there are more, in GALI, every layer makes each when it needs it, for
# all together would take memory of length²/chunk.
KEPT = 2


@dataclass(frozen=True)
class Turn:
    """An additional rotation, one angle per token and pair."""

    cos: Float[Tensor, "tokens pairs"]
    sin: Float[Tensor, "tokens pairs"]


@dataclass(frozen=True)
class KeyTurn:
    """How keys begin … end-1 are turned: to `here`, and mixed by `share` with those turned to `below`; None leaves them."""

    begin: int
    end: int
    here: Turn | None
    below: Turn | None = None
    share: Float[Tensor, "tokens 1"] | None = None


@dataclass(frozen=True)
class Piece:
    """Keys low … high-1 of span number `span`, for one block. `left` and `right` say what is hidden of the first and last columns."""

    span: int
    low: int
    high: int
    left: Bool[Tensor, "queries left"] | None
    right: Bool[Tensor, "queries right"] | None


@dataclass(frozen=True)
class Block:
    """Queries begin … end-1 of a text and the pieces they score: every key that one of them sees is in one piece."""

    begin: int
    end: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Group:
    """Rows of a batch whose texts stand at the same places: start … end-1 of the cache, the queries of this call from token `first` on.

    `skipped` queries of the call are padding before the text. `queries` has the rotation of each span's queries, `keys` those of keys,
    of which span number s needs `keys[uses[s]]()`. In a `plain` group all stand where they are and see all: stock attention is the same.
    """

    rows: tuple[int, ...]
    start: int
    end: int
    first: int
    skipped: int
    spans: tuple[Span, ...]
    queries: tuple[Turn | None, ...]
    keys: tuple[Callable[[], KeyTurn], ...]
    uses: tuple[int, ...]
    blocks: tuple[Block, ...]
    plain: bool


def group(m: Map, rows: tuple[int, ...], start: int, end: int, cached: int, theta: Float[Tensor, "pairs"], heads: int) -> Group:
    """The plan for these rows, in a forward whose first query stands in place `cached` of the cache, at frequencies `theta`."""
    first = max(0, cached - start)
    spans = tuple(span for span in m.spans(end - start, first) if bool((span.low < span.high).any())) if end - start > first else ()
    queries = tuple(_turn(span.query - torch.arange(span.first, span.last), theta) for span in spans)
    # Spans that share their list of positions share the turned keys.
    lists = list({id(span.key): span.key for span in spans}.values())
    sharing = [tuple(span for span in spans if span.key is places) for places in lists]
    keys = tuple(partial(_key_turn, alike, theta) if len(lists) > KEPT else _made(_key_turn(alike, theta)) for alike in sharing)
    uses = tuple(next(index for index, places in enumerate(lists) if places is span.key) for span in spans)
    moved = any(turn is not None for turn in queries) or any(_moved(alike) for alike in sharing)
    shown = sum(int((span.high - span.low).clamp(min=0).sum()) for span in spans)
    plain = not moved and shown == sum(range(first + 1, end - start + 1))
    size = max(LEAST, min(BLOCK, SCORES // max(1, len(rows) * heads * (end - start))))
    blocks = tuple(_blocks(spans, first, end - start, size, theta.device)) if spans else ()
    return Group(rows, start, end, first, max(0, start - cached), spans, queries, keys, uses, blocks, plain)


def _made(turn: KeyTurn) -> Callable[[], KeyTurn]:
    return lambda: turn


def _shown(spans: Sequence[Span]) -> tuple[int, int]:
    """Keys begin … end-1 are all that these spans show."""
    return min(int(span.low[span.low < span.high].min()) for span in spans), max(int(span.high.max()) for span in spans)


def _moved(spans: Sequence[Span]) -> bool:
    """Whether these spans, which share a list of keys, want any key elsewhere than it stands."""
    begin, end = _shown(spans)
    return spans[0].mix is not None or bool((spans[0].key[begin:end] != torch.arange(begin, end)).any())


def _key_turn(spans: Sequence[Span], theta: Float[Tensor, "pairs"]) -> KeyTurn:
    begin, end = _shown(spans)
    places, span = torch.arange(begin, end), spans[0]
    here = _turn(span.key[begin:end] - places, theta)
    if span.mix is None:
        return KeyTurn(begin, end, here)
    share = span.mix.share[begin:end, None].float().to(theta.device)
    return KeyTurn(begin, end, here, _turn(span.mix.below[begin:end] - places, theta), share)


def _turn(moved: Float[Tensor, "tokens"], theta: Float[Tensor, "pairs"]) -> Turn | None:
    """The rotation by `moved` positions. Angles in doubles: thousands of positions away a float32 is off in the fourth digit."""
    if not bool(moved.any()):
        return None
    # Apple's GPUs have no doubles.
    wide = torch.float32 if theta.device.type == "mps" else torch.float64
    angles = moved.to(wide).to(theta.device)[:, None] * theta.to(wide)
    return Turn(angles.cos().float(), angles.sin().float())


def _blocks(spans: tuple[Span, ...], first: int, length: int, size: int, device: torch.device) -> list[Block]:
    """Runs of at most `size` queries that cross no border of a span."""
    borders = sorted({first, length, *(span.first for span in spans), *(span.last for span in spans)})
    found = []
    for low, high in zip(borders, borders[1:], strict=False):
        for begin in range(low, high, size):
            end = min(begin + size, high)
            pieces = (_piece(index, span, begin, end, device) for index, span in enumerate(spans) if span.first <= begin < span.last)
            found.append(Block(begin, end, tuple(piece for piece in pieces if piece is not None)))
    return found


def _piece(index: int, span: Span, begin: int, end: int, device: torch.device) -> Piece | None:
    rows = slice(begin - span.first, end - span.first)
    low, high = span.low[rows], span.high[rows]
    sees = low < high
    if not bool(sees.any()):
        return None
    # Queries that see nothing of this span hide all of its columns.
    least, most = int(low[sees].min()), int(high[sees].max())
    full_from, full_to = int(low.max()), int(high.min())
    columns = torch.arange(least, most)
    left = columns[: max(0, full_from - least)] < low[:, None] if full_from > least else None
    right = columns[max(0, full_to - least) :] >= high[:, None] if full_to < most else None
    return Piece(index, least, most, None if left is None else left.to(device), None if right is None else right.to(device))
