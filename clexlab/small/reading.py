"""One batch as every layer sees it: where its tokens stand, which angles they turn by, what is seen and what is added."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from clexlab import rope
from clexlab.positions.maps.base import Span
from clexlab.scaling.base import Path
from clexlab.small.places import Places


@dataclass(frozen=True)
class Texts:
    """Which columns of every row are its text, start … stop-1, and the positions of all columns; one row where all are alike."""

    bounds: tuple[tuple[int, int], ...]
    positions: Int[Tensor, "texts length"]

    @property
    def length(self) -> int:
        return self.positions.shape[1]

    @property
    def padded(self) -> bool:
        return any(bounds != (0, self.length) for bounds in self.bounds)

    def longest(self) -> list[int]:
        """The number of positions of every text: one more than its last token's."""
        return [int(row[start:stop].max()) + 1 for row, (start, stop) in zip(self.positions, self.bounds, strict=True)]


@dataclass(frozen=True)
class Turns:
    """Angles of rotary embedding: θ(t) and A for every text, `first` θ(1) for positions before `start`; `spans` of a map, or None."""

    texts: Texts
    theta: Float[Tensor, "texts pairs"]
    first: Float[Tensor, "pairs"]
    start: int
    scale: Float[Tensor, "texts 1 1 1"]
    spans: tuple[tuple[Span, ...], ...] | None

    def turned(self, x: Float[Tensor, "batch heads length head_dim"]) -> Float[Tensor, "batch heads length head_dim"]:
        """A · R(p·θ)x at every token's own position."""
        places = self.texts.positions[..., None].double()
        theta = torch.where(places < self.start, self.first, self.theta[:, None])
        wide = torch.promote_types(x.dtype, torch.float32)
        # A itself is not rounded to half precision: the same error of up to 0.2 % in all queries and keys would not average out.
        return (rope.rotate(x, (places * theta)[:, None]) * self.scale.to(wide)).to(x.dtype)

    def scores(
        self, query: Float[Tensor, "batch heads length head_dim"], key: Float[Tensor, "batch heads length head_dim"]
    ) -> Float[Tensor, "batch heads length length"]:
        """A² ⟨R(P_ij·θ)q_i, k_j⟩ as the map has it, in float32 or better; 0 where it shows nothing."""
        if len(self.spans) == 1:
            return self._row(query, key, 0)
        return torch.stack([self._row(query[text], key[text], text) for text in range(len(query))])

    def _row(
        self, query: Float[Tensor, "*batch heads length head_dim"], key: Float[Tensor, "*batch heads length head_dim"], text: int
    ) -> Float[Tensor, "*batch heads length length"]:
        start, theta = self.texts.bounds[text][0], self.theta[text]
        scores = query.new_zeros(*query.shape[:-1], query.shape[-2])
        for span in self.spans[text]:
            queries, keys = slice(span.first, span.last), slice(0, len(span.key))
            near, far = slice(start + span.first, start + span.last), slice(start, start + len(span.key))
            turned = key[..., far, :]
            turned = _at(turned, span.key, theta) if span.mix is None else _mixed(turned, span, theta)
            found = _at(query[..., near, :], span.query, theta) @ turned.mT
            shown = span.shown(queries, keys).to(query.device)
            scores[..., near, far] = torch.where(shown, found, scores[..., near, far])
        return scores * self.scale[text, 0].to(torch.promote_types(query.dtype, torch.float32)) ** 2


def _at(
    x: Float[Tensor, "*batch tokens head_dim"], places: Shaped[Tensor, "tokens"], theta: Float[Tensor, "pairs"]
) -> Float[Tensor, "*batch tokens head_dim"]:
    return rope.rotate(x, places.to(theta)[:, None] * theta)


def _mixed(
    key: Float[Tensor, "*batch tokens head_dim"], span: Span, theta: Float[Tensor, "pairs"]
) -> Float[Tensor, "*batch tokens head_dim"]:
    """A key between two positions: the logit is linear in the key, so a mix of logits is the logit of a mix."""
    share = span.mix.share.to(key)[:, None]
    return (1 - share) * _at(key, span.key, theta) + share * _at(key, span.mix.below, theta)


@dataclass(frozen=True)
class Reading:
    """`visible` None: every token sees itself and all before it. `added` None: nothing, or each layer has a bias of its own."""

    texts: Texts
    visible: Bool[Tensor, "texts patterns length length"] | None
    turns: Turns | None
    added: Float[Tensor, "texts heads length length"] | None


def texts_of(
    tokens: Int[Tensor, "batch length"], mask: Shaped[Tensor, "batch length"] | None, position_ids: Int[Tensor, "ids length"] | None
) -> Texts:
    """Where the texts are. Positions count from each text's first token, or are `position_ids`; padding has its nearest token's.

    ValueError for a mask that is no unbroken run of ones in every row, and for positions that do not rise along a text from 0 or more:
    they are those of several texts packed into one row, which the mask does not keep apart.
    """
    rows, length = tokens.shape
    if mask is not None and mask.shape != tokens.shape:
        raise ValueError(f"attention_mask is {tuple(mask.shape)} for tokens of {tuple(tokens.shape)}; give one number for every token")
    bounds = ((0, length),) if mask is None or bool((mask == 1).all()) else tuple(_bounds(row) for row in mask)
    columns = torch.arange(length, device=tokens.device)
    if position_ids is None:
        return Texts(bounds, torch.stack([columns.clamp(start, stop - 1) - start for start, stop in bounds]))
    if position_ids.shape not in ((1, length), (rows, length)):
        raise ValueError(f"position_ids are {tuple(position_ids.shape)} for tokens of {tuple(tokens.shape)}; give one row for all, or all")
    count = max(len(bounds), len(position_ids))
    bounds = bounds * count if len(bounds) == 1 else bounds
    # What stands in padding is anything, and the highest position of a row says how long its text is.
    near = [row[columns.clamp(start, stop - 1)] for row, (start, stop) in zip(position_ids.expand(count, -1), bounds, strict=True)]
    for row, (start, stop) in zip(near, bounds, strict=True):
        if int(row[start]) < 0 or bool((row[start:stop].diff() <= 0).any()):
            raise ValueError("position_ids must rise along every text, from 0 or more; read texts that are packed into one row one by one")
    return Texts(bounds, torch.stack(near))


def _bounds(row: Shaped[Tensor, "length"]) -> tuple[int, int]:
    ones = (row == 1).nonzero()[:, 0].tolist()
    if not ones or len(ones) != ones[-1] - ones[0] + 1 or bool(((row != 0) & (row != 1)).any()):
        raise ValueError("attention_mask must have one unbroken run of ones in every row, zeros before and after it for padding")
    return ones[0], ones[-1] + 1


def visible(texts: Texts, places: Places, heads: int) -> Bool[Tensor, "texts patterns length length"] | None:
    """M of every text, each at its own length; padding sees nothing and is not seen. None for a plain causal mask."""
    if places.pattern is None and places.positions is None and not texts.padded:
        return None
    shown = []
    for start, stop in texts.bounds:
        own = torch.ones(1, stop - start, stop - start, dtype=torch.bool).tril()
        if places.pattern is not None:
            own = places.pattern.visible(heads, stop - start)
        if places.positions is not None:
            own = own & places.positions.visible(stop - start)
        whole = own.new_zeros(len(own), texts.length, texts.length)
        whole[:, start:stop, start:stop] = own
        shown.append(whole)
    return torch.stack(shown).to(texts.positions.device)


def turns(texts: Texts, places: Places) -> Turns | None:
    """The angles of every text at the factor that its own length needs; None without a scaling."""
    path = places.scaling
    if path is None:
        return None
    device = texts.positions.device
    factors = [path.factor_for(length) for length in texts.longest()]
    theta = path.inv_freq(torch.tensor(factors, dtype=torch.float64)).double().to(device)
    spans = None if places.positions is None else tuple(places.positions.spans(stop - start) for start, stop in texts.bounds)
    return Turns(
        texts=texts,
        theta=theta,
        first=path.inv_freq(1.0).double().to(device),
        start=path.start,
        scale=_scales(path, factors).double().to(device)[:, None, None, None],
        spans=spans,
    )


def _scales(path: Path, factors: list[float]) -> Float[Tensor, "texts"]:
    scales = path.attention_scales(factors)
    return scales if isinstance(scales, Tensor) else torch.tensor(scales, dtype=torch.float64)
