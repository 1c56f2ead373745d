"""Attention sinks, StreamingLLM: the first tokens and the last, and nothing between (arXiv 2309.17453)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Span, check_tokens


@dataclass(frozen=True, kw_only=True)
class Sinks(Map):
    """Seen are j < sinks and i - j < recent; P counts the tokens that are left: i - j, and for sinks min(i, sinks + recent - 1) - j.

    Positions are places in the cache that the method keeps. A baseline: what was evicted is gone, and a text far longer than the cache is
    read as fluently as a short one. The query counts as one of the `recent`. `default` is the released chat demo's 4 sinks and, per
    2048 tokens of window, its 2000 recent; a share that the demo does not name. In small windows sinks and recent fill the window.
    Source: mit-han-lab/streaming-llm. Its code evicts after a token, so that a step sees sinks + recent old keys and itself. Here nothing
    is evicted: keys that are not seen stay in the cache of transformers, and cost memory but no time.
    """

    name: ClassVar[str] = "sinks"
    title: ClassVar[str] = "sinks (StreamingLLM)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17453"
    sinks: int
    recent: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(0, sinks=self.sinks)
        check_tokens(recent=self.recent)

    @classmethod
    def default(cls, window: int) -> "Sinks":
        sinks = min(4, window - 1)
        return cls(window=window, sinks=sinks, recent=max(1, min(2000 * window // 2048, window - sinks)))

    @property
    def longest(self) -> float:
        return math.inf if self.sinks + self.recent <= self.window else self.window

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        places, first = torch.arange(length, dtype=torch.float64), int(queries[0])
        # A sink that is recent too stands at the same distance either way; it belongs to the sinks.
        recent = (queries - self.recent + 1).clamp(min=self.sinks)
        ends, moved = (queries + 1).clamp(max=self.sinks), queries.clamp(max=self.sinks + self.recent - 1)
        return (
            Span(first, recent, queries + 1, queries.double(), places),
            Span(first, torch.zeros_like(queries), ends, moved.double(), places),
        )
