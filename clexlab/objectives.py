"""What training minimises: terms with one number per row, whose sum is averaged over the rows of a step."""

from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class Objective(Protocol):
    """Called with the model and the tokens of a step; named terms, a value per row each, in nats per token."""

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows length"]) -> dict[str, Float[Tensor, "rows"]]: ...


class NextToken:
    """The usual one: mean cross-entropy of every token given those before it, in float32."""

    name: ClassVar[str] = "next"

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows length"]) -> dict[str, Float[Tensor, "rows"]]:
        """One term, `next`."""
        return {self.name: next_token_loss(model(input_ids=tokens, use_cache=False).logits, tokens)}


def next_token_loss(logits: Float[Tensor, "rows length vocabulary"], tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows"]:
    """Mean over a row of -ln p(token | tokens before it); the first token has none and is no target."""
    losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.mean(-1)
