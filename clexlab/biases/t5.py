"""T5's relative bias: a learned number for every head and bucket of distances, buckets growing with distance (arXiv 1910.10683)."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from clexlab.biases.base import Bias, check_count, distances


class T5(Bias):
    """B_h(n) = w_h[bucket(n)], half of the buckets for single distances, half growing as ln n up to `furthest`, the last for all beyond.

        bucket(n) = n                                                          n < half = buckets/2
                  = min(buckets - 1, half + ⌊half · ln(n/half) / ln(furthest/half)⌋)

    One table for all layers. T5 itself has no 1/√d on its scores; here, as for every bias, they have it. Text is causal: all buckets
    are for the past. From the last bucket's first distance on (113 of 128 by default) B is constant.
    Source: transformers' T5 (`_relative_position_bucket`, bidirectional=False), whose argument is key minus query.
    Differs: the logarithm is taken in float64; and the table starts at zero, from NoPE, where T5's is drawn.
    """

    name: ClassVar[str] = "t5"
    title: ClassVar[str] = "T5 bias"
    paper: ClassVar[str] = "https://arxiv.org/abs/1910.10683"
    learned: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    def __init__(self, *, heads: int, buckets: int = 32, furthest: int = 128) -> None:
        super().__init__(heads=heads)
        check_count(buckets=buckets, furthest=furthest)
        if buckets % 2 or furthest <= buckets // 2:
            raise ValueError(f"buckets is {buckets}, furthest {furthest}; give an even number of buckets and a distance beyond half of it")
        self.buckets, self.furthest = int(buckets), int(furthest)
        self.table = nn.Parameter(torch.zeros(self.heads, self.buckets))

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """w_h[bucket(n)]."""
        n = distances(query_positions, key_positions)
        return self.table.to(n.dtype)[:, self._bucket(n)].movedim(0, -3)

    def bucket(self, distance: Shaped[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The bucket of every distance n ≥ 0, whole or not: the one of ⌊n⌋. ValueError for a negative one."""
        if bool((distance < 0).any()):
            raise ValueError(f"distance is {float(distance.min()):g} at the lowest; give query minus key: buckets are of the past")
        return self._bucket(distance)

    def _bucket(self, distance: Shaped[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        n, half = distance.double().floor(), self.buckets // 2
        far = half + (n.clamp(min=half) / half).log() / math.log(self.furthest / half) * half
        return torch.where(n < half, n, far.floor().clamp(max=self.buckets - 1)).long()
