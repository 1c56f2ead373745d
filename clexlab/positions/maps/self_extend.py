"""Self-Extend: far keys in groups that share a position, near ones exact (arXiv 2401.01325)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Span, check_tokens, far_span, near_span


@dataclass(frozen=True, kw_only=True)
class SelfExtend(Map):
    """P = i - j for i - j < near, else ⌊i/group⌋ - ⌊j/group⌋ + near - ⌊near/group⌋.

    Groups are of indices, so P depends on i and j and not on i - j alone. The longest safe text has (window - near)·group + near tokens if
    group divides near; if not, P jumps at the border, and some distances occur twice or never. `default` has near = window/4 (the paper
    explores 512 to 1536 of 4096) and the least power of two as group (the paper: 2 to 64) with which sixteen windows fit, but never a group
    above near: they fit from a window of 128 on.
    Source: datamllab/LongLM. Its prefill for Llama and Gemma divides near/group exactly, so that P has fractions where group does not
    divide near, and its decoding rounds down: the two disagree. Here both round down. Its optional log-n factor is left out.
    """

    name: ClassVar[str] = "self_extend"
    title: ClassVar[str] = "Self-Extend"
    paper: ClassVar[str] = "https://arxiv.org/abs/2401.01325"
    near: int
    group: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(near=self.near, group=self.group)

    @classmethod
    def default(cls, window: int) -> "SelfExtend":
        near = max(1, window // 4)
        group = 1
        while cls(window=window, near=near, group=group).longest < 16 * window and 2 * group <= near:
            group *= 2
        return cls(window=window, near=near, group=group)

    @property
    def longest(self) -> float:
        if self.near >= self.window:
            return self.window
        return self.group * (self.window - self.near + self.near // self.group)

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        query = queries // self.group + self.near - self.near // self.group
        key = torch.arange(length) // self.group
        return near_span(queries, length, self.near), far_span(queries, self.near, query.double(), key.double())
