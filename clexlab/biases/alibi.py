"""ALiBi: the score falls with distance in a straight line, steeper in some heads (arXiv 2108.12409). And interpolated (2310.13017)."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from clexlab import frequencies
from clexlab.biases.base import Bias, check_count, distances, per_head


class ALiBi(Bias):
    """B_h(n) = -m_h · n, slopes m_h = 2^(-8h/H) for h = 1 … H; see `slopes` for H that is no power of two.

    Source: the paper and ofirpress/attention_with_linear_biases (fairseq/models/transformer.py). The official code adds +m_h·j by
    column, which differs by a constant per row and is the same after softmax; distances keep their resolution far out, columns in half
    precision do not. Never multiplied by 1/√d.
    """

    name: ClassVar[str] = "alibi"
    title: ClassVar[str] = "ALiBi"
    paper: ClassVar[str] = "https://arxiv.org/abs/2108.12409"
    learned: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """-m_h · n."""
        n = distances(query_positions, key_positions)
        return -per_head(slopes(self.heads).to(n.device), n) * n[..., None, :, :]


class InterpolatedALiBi(Bias):
    """Position interpolation of ALiBi: m_h' = m_h · L/L' for a text of L' > L tokens, which is ALiBi of distances n·L/L'.

        t = max(1, L'/L),   B_h(n) = -m_h · n / t

    `window` is L. L' is the last key's position + 1, so it follows the text, in every row its own; `factor` fixes t instead. As a
    path: ln m(t) = ln m - ln t, the counterpart of linear scaling. With t that follows the text, what a token was read as depends on
    how much came after it: read token by token, every step changes the bias of all past keys.
    Source: the formula as in the code of models from that group (BTLM, Jais: `alibi_scaling` with "factor" or "train_seq_len"); of the
    paper abstract and introduction were read.
    """

    name: ClassVar[str] = "interpolated_alibi"
    title: ClassVar[str] = "ALiBi, interpolated"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.13017"
    learned: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def __init__(self, *, heads: int, window: int, factor: float | None = None) -> None:
        super().__init__(heads=heads)
        check_count(window=window)
        if factor is not None and (not frequencies.is_finite(factor) or factor < 1):
            raise ValueError(f"factor is {factor!r}; it must be a finite number of at least 1, or None to follow the text's length")
        self.window, self.factor = int(window), factor

    @classmethod
    def published(cls, head_dim: int, window: int) -> dict[str, object]:
        """t follows the text."""
        return {"window": window}

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """-m_h · n / t."""
        n = distances(query_positions, key_positions)
        scaled = n / self.factors(key_positions).to(n)[..., None, None]
        return -per_head(slopes(self.heads).to(n.device), n) * scaled[..., None, :, :]

    def factors(self, key_positions: Shaped[Tensor, "*rows k"]) -> Float[Tensor, "*rows"]:
        """t of every row, in float64."""
        length = key_positions.amax(-1).double() + 1
        return torch.full_like(length, self.factor) if self.factor is not None else (length / self.window).clamp(min=1)


def slopes(heads: int) -> Float[Tensor, "heads"]:
    """m_h in float64, h = 1 … H: 2^(-8h/H) where H is a power of two.

    Else those of the largest power of two P below H, then every second one of 2P's: for H = 12 the eight, then .7071 .3536 .1768 .0884.
    """
    check_count(heads=heads)
    power = 2 ** math.floor(math.log2(heads))
    return torch.cat((_falling(power), _falling(2 * power)[::2][: heads - power]))


def _falling(power: int) -> Float[Tensor, "heads"]:
    return 2.0 ** (-8 * torch.arange(1, power + 1, dtype=torch.float64) / power)
