"""GALI: as few in-between positions as needed, and logits, not angles, interpolated between whole ones (arXiv 2502.02659)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Mix, Span, check_tokens
from clexlab.positions.maps.noise import Noise, RelativeNoise


@dataclass(frozen=True, kw_only=True)
class GALI(Map):
    """Tokens of a text of t > window get the positions of `places`, and every logit lies between those of two whole distances.

        G = ⌈(t - tail)/(window - tail)⌉;   m, n ∈ {0, 1/G, …, i, i + 1, … window - 1}   for query and key
        r = ⌈m⌉ - n,   a(r) = (1 - r mod 1)·a(⌊r⌋) + (r mod 1)·a(⌈r⌉) + noise where r mod 1 > 0

    A call's first tokens, up to the window, are one chunk, and then every `chunk` more, the last may be short: each is read with the
    positions of the text so far, so a generated token is a chunk of its own, and a prompt in one call is not the same as token by token
    unless chunk = 1. The share r mod 1 belongs to the key alone: (1 - share) R(⌈n⌉)k + share R(⌊n⌋)k is one key that gives the mixed
    logit, and one score matrix does, where the code makes two.
    The tail enters through G alone: positions are divided from the front until the text fits, and usually more than `tail` stay whole.
    `default` has the README's chunk of 3000 and tail of 128, taken as shares of 8192, the window of the paper's Llama-3-8B. That chunk is
    far above the tail. In one toy model, two layers trained at 64 and read at 256, a chunk of 32 with a tail of 16 recalled 79 of 100,
    a chunk of 16 with it 94 to 100; for large models this is open.
    Source: AcademyCityL/GALI. Its code computes the share in the model's dtype, and in bfloat16, at places above 256, it is always zero,
    which switches interpolation and noise off; here positions are whole numbers over G. A query at a fraction is rounded up and
    its own key is not: with a chunk longer than the whole positions at the end some tokens are not at distance 0 from themselves. Its noise
    is `DistanceNoise`. Unverified: whether it draws for every head; here it does.
    """

    name: ClassVar[str] = "gali"
    title: ClassVar[str] = "GALI"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.02659"
    mixes: ClassVar[bool] = True
    tail: int
    chunk: int
    noise: Noise | None = RelativeNoise()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(tail=self.tail, chunk=self.chunk)
        if self.tail >= self.window:
            raise ValueError(f"tail is {self.tail} and the window {self.window}; positions before the tail are divided: use a shorter tail")
        if self.noise is not None and not isinstance(self.noise, Noise):
            raise ValueError(f"noise is {self.noise!r}; pass RelativeNoise(), DistanceNoise(), or None for none")

    @classmethod
    def default(cls, window: int) -> "GALI":
        return cls(window=window, tail=max(1, 128 * window // 8192), chunk=max(1, 3000 * window // 8192))

    @property
    def longest(self) -> float:
        return math.inf

    def places(self, length: int) -> tuple[Int[Tensor, "length"], int]:
        """The position of every token, in parts of 1/G, and G. Source: the paper's algorithm 2, the code's `construct_new_pi`."""
        if length <= self.window:
            return torch.arange(length), 1
        parts = -(-(length - self.tail) // (self.window - self.tail))
        # Each divided position adds parts - 1 tokens; the last group is cut where the text is full.
        divided = -(-(length - self.window) // (parts - 1))
        fine = torch.arange(divided * parts)[: length - (self.window - divided)]
        return torch.cat((fine, torch.arange(divided, self.window) * parts)), parts

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        first = int(queries[0])
        borders = [first, *range(max(first, self.window), length, self.chunk), length]
        pairs = zip(borders, borders[1:], strict=False)
        return tuple(self._chunk(begin, end) for begin, end in pairs if begin < end)

    def _chunk(self, begin: int, end: int) -> Span:
        places, parts = self.places(end)
        above, below = -(-places // parts), places // parts
        share = above * parts - places
        mix = Mix(below.double(), share.double() / parts) if bool(share.any()) else None
        queries = torch.arange(begin, end)
        return Span(
            begin, torch.zeros_like(queries), queries + 1, above[begin:].double(), above.double(), mix, None if mix is None else self.noise
        )
