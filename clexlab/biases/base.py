"""What every additive bias has in common: B(i, j) is added to the scores of a head after their division by √d.

    score(i, j) = ⟨q_i, k_j⟩ / √d + B_h(i, j)      n = i - j ≥ 0, tokens, counted from 0

A bias is a module that is its own configuration. Called with positions of queries and of keys it gives B for every head; the caller
masks. A key after its query (j > i) gets the value of distance 0, so that nothing it does to a masked score can be no number.
"""

import abc
import inspect
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from clexlab import frequencies


class Bias(nn.Module, abc.ABC):
    """B(i, j); the interface of every method.

    `learned`: has parameters. `shared`: one module serves all layers of a model, as where there is nothing to learn; else each layer has
    its own. `contextual`: needs queries and keys, so it answers `added` alone. Parameters are drawn from torch's global generator.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    learned: ClassVar[bool]
    shared: ClassVar[bool] = False
    contextual: ClassVar[bool] = False

    def __init__(self, *, heads: int) -> None:
        super().__init__()
        check_count(heads=heads)
        self.heads = int(heads)

    @classmethod
    def default(cls, *, heads: int, head_dim: int, window: int) -> "Bias":
        """The method with its published options, for a model of so many heads of `head_dim`, trained on `window` tokens."""
        check_count(heads=heads, head_dim=head_dim, window=window)
        return cls(heads=heads, **cls.published(head_dim, window))

    @classmethod
    def published(cls, head_dim: int, window: int) -> dict[str, object]:
        """The published options that depend on the model's sizes; those that do not are the class's own defaults."""
        return {}

    @abc.abstractmethod
    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """B in float32, float64 for positions in float64; whole or real positions, the same for all rows or one set each."""

    def added(
        self,
        query: Float[Tensor, "batch heads q head_dim"],
        key: Float[Tensor, "batch heads k head_dim"],
        query_positions: Shaped[Tensor, "*#rows q"],
        key_positions: Shaped[Tensor, "*#rows k"],
        visible: Bool[Tensor, "*seen q k"] | None = None,
    ) -> Float[Tensor, "*#rows heads q k"]:
        """What is added to the scores, with queries and keys at hand; the same as the call for all that do not look at them.

        `visible` says which keys a query sees, left out: those not after it. Only a contextual bias asks.
        """
        return self(query_positions, key_positions)

    def curve(self, length: int) -> Float[Tensor, "heads length"]:
        """B of the last of `length` tokens at distances 0 … length-1, in float64 on the CPU. ValueError where B needs content."""
        check_count(length=length)
        device = next((weight.device for weight in self.parameters()), None)
        places = torch.arange(length, dtype=torch.float64, device=device)
        return self(places[-1:], places.flip(0))[:, 0].detach().cpu()

    def extra_repr(self) -> str:
        """The options, as they are given."""
        names = (name for name in inspect.signature(type(self).__init__).parameters if name != "self")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def distances(query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]) -> Float[Tensor, "*rows q k"]:
    """n = i - j in float32 or better, 0 for keys after their query. ValueError for positions in half precision.

    The difference comes before the cast to float32: whole positions lose nothing, however far out.
    """
    n = query_positions[..., :, None] - key_positions[..., None, :]
    return n.clamp(min=0).to(exact(n.dtype))


def exact(dtype: torch.dtype) -> torch.dtype:
    """The precision biases are computed in: float32, or float64 where positions are in it. ValueError for half precision."""
    if dtype in (torch.float16, torch.bfloat16):
        raise ValueError(f"positions are {dtype}, which has no whole numbers beyond 256 or 2048; give whole numbers or float32")
    return torch.float64 if dtype == torch.float64 else torch.float32


def per_head(values: Float[Tensor, "heads"], n: Float[Tensor, "*rows q k"]) -> Float[Tensor, "heads 1 1"]:
    """One number per head, shaped to meet n[..., None, :, :] and in its precision, whatever a model was cast to."""
    return values.to(n.dtype)[:, None, None]


def check_count(**values: object) -> None:
    """Refuse an option that is no whole number of at least 1."""
    for name, value in values.items():
        if not frequencies.is_whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
