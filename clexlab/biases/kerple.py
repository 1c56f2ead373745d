"""KERPLE: biases from conditionally positive definite kernels, with two learned numbers per head and layer (arXiv 2205.09921).

Adding a constant makes such a kernel positive definite, and a softmax does not see constants.
"""

import abc
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from clexlab import frequencies
from clexlab.biases.base import Bias, distances, per_head


class KERPLE(Bias):
    """What both kernels share: p starts uniform in 0 … 2, a in 0 … 1, neither falls below `floor`.

    The floor is a projection, as in the official code: before every use, so also when a KERPLE is only read or drawn, the parameters
    themselves are set back into their range. A reparametrisation (exp, softplus) would train differently, and a clamp inside the graph
    would leave a number below it for ever. ValueError for a floor above the largest p.
    Source: chijames/KERPLE, megatron/mpu/layers.py. Left out: its multiplicative variant.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2205.09921"
    learned: ClassVar[bool] = True
    # The largest p for which the kernel is conditionally positive definite.
    most: ClassVar[float | None] = None

    def __init__(self, *, heads: int, floor: float = 0.01) -> None:
        super().__init__(heads=heads)
        if not frequencies.is_finite(floor) or floor < 0:
            raise ValueError(f"floor is {floor!r}; it must be a finite number of at least 0")
        if self.most is not None and floor > self.most:
            raise ValueError(f"floor is {floor!r}, above {self.most:g}, the largest p of this kernel; lower it")
        self.floor = float(floor)
        self.p = nn.Parameter(2 * torch.rand(self.heads))
        self.a = nn.Parameter(torch.rand(self.heads))

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """-kernel(n)."""
        # Through `data`: autograd refuses a backward pass once a parameter was changed under its eyes, even where the values are the same.
        self.p.data.clamp_(min=self.floor, max=self.most)
        self.a.data.clamp_(min=self.floor)
        n = distances(query_positions, key_positions)
        return -self.kernel(n[..., None, :, :], per_head(self.p, n), per_head(self.a, n))

    @abc.abstractmethod
    def kernel(
        self, n: Float[Tensor, "*rows 1 q k"], p: Float[Tensor, "heads 1 1"], a: Float[Tensor, "heads 1 1"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """-B at distances n ≥ 0."""


class KERPLELog(KERPLE):
    """B(n) = -p · ln(1 + a·n): the recommended one. For small a it is ALiBi with slope p·a."""

    name: ClassVar[str] = "kerple_log"
    title: ClassVar[str] = "KERPLE, logarithmic"

    def kernel(
        self, n: Float[Tensor, "*rows 1 q k"], p: Float[Tensor, "heads 1 1"], a: Float[Tensor, "heads 1 1"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """p · ln(1 + a·n)."""
        return p * torch.log1p(a * n)


class KERPLEPower(KERPLE):
    """B(n) = -a · n^p with p ≤ 2: ALiBi with slope a at p = 1, but for ALiBi's flattest slopes (1/256), which lie below the floor."""

    name: ClassVar[str] = "kerple_power"
    title: ClassVar[str] = "KERPLE, power"
    most: ClassVar[float | None] = 2.0

    def kernel(
        self, n: Float[Tensor, "*rows 1 q k"], p: Float[Tensor, "heads 1 1"], a: Float[Tensor, "heads 1 1"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """a · n^p, 0 at n = 0 for p > 0."""
        return a * n**p
