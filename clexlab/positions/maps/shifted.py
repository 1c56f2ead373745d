"""STRING: the rare far positions of a window replaced by frequent nearer ones (arXiv 2410.18745)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.positions.maps.base import Map, Span, check_tokens, far_span, near_span


@dataclass(frozen=True, kw_only=True)
class STRING(Map):
    """P = i - j for i - j < shift, else i - j - shift + local.

    For texts *within* the window: in training position i of a window of L occurs L - i times, so the last ones are hardly learned, and
    here a text of L tokens uses L - shift + local positions. `local` keeps the far keys from the places of true neighbours. Beyond the
    window positions still grow; the longest safe text has window + shift - local tokens.
    In the paper shift is a share of the current text, L/7 to L/2, with gains that flatten after L/3; in the code a constant, and here too.
    `default` has shift = window/3 and local = window/32 (the paper: 128, windows of 2048 to 131072; it asks for 32 at least).
    Source: HKUNLP/STRING. The condition is printed as a comparison of m with n - S, which would hold for every pair; the paper's worked row
    is this. In its code the prefill sees the key at distance shift twice (the bound of its window is inclusive) and decoding once, here it
    is once; and the code multiplies all logits by (0.1 ln 2 + 1)², which is in no equation and not here.
    """

    name: ClassVar[str] = "string"
    title: ClassVar[str] = "STRING"
    paper: ClassVar[str] = "https://arxiv.org/abs/2410.18745"
    shift: int
    local: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokens(shift=self.shift)
        check_tokens(0, local=self.local)
        if self.local > self.shift:
            raise ValueError(f"local is {self.local} and shift {self.shift}; far keys come nearer by shift - local: use local ≤ shift")

    @classmethod
    def default(cls, window: int) -> "STRING":
        shift = max(1, window // 3)
        return cls(window=window, shift=shift, local=min(shift, max(1, window // 32)))

    @property
    def longest(self) -> float:
        return self.window if self.shift > self.window else self.window + self.shift - self.local

    def _spans(self, queries: Int[Tensor, "queries"], length: int) -> tuple[Span, ...]:
        query, key = (queries - self.shift + self.local).double(), torch.arange(length, dtype=torch.float64)
        return near_span(queries, length, self.shift), far_span(queries, self.shift, query, key)
