"""What training minimises: terms with one number per row, whose sum is averaged over the rows of a step."""

from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clexlab import frequencies


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


class Distilled:
    """The model at drawn positions is to predict what the untouched one predicts of the same text at ordinary positions.

        loss = next-token loss + weight · KL(teacher ‖ model), mean over the tokens of a row

    `teacher` reads every row within its window, where it is good; the model reads it at skip-wise positions anywhere in t windows.
    So what is learned at length is what the model knew in short texts, and nothing is asked of it that the row alone does not hold.
    The teacher is in eval mode and gets no gradient; it follows the tokens to their device and costs one more forward.
    """

    name: ClassVar[str] = "distilled"

    def __init__(self, teacher: nn.Module, weight: float = 1.0) -> None:
        if not isinstance(teacher, nn.Module):
            raise ValueError(f"teacher is {teacher!r}; pass a loaded model, for example base.load()[0]")
        if not frequencies.is_finite(weight) or weight <= 0:
            raise ValueError(f"weight is {weight!r}; it must be a finite number above 0, or use NextToken")
        self.teacher, self.weight = teacher.eval(), float(weight)

    def __repr__(self) -> str:
        return f"Distilled(weight={self.weight:g})"

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows length"]) -> dict[str, Float[Tensor, "rows"]]:
        """Two terms, `next` and `distilled`, the second with its weight. ValueError: a teacher that is trained, a row beyond its window."""
        if next(self.teacher.parameters()) is next(model.parameters()):
            raise ValueError("the teacher is the model itself; load another copy of the base model, or copy.deepcopy it before extending")
        window = self.teacher.config.max_position_embeddings
        if tokens.shape[1] > window:
            raise ValueError(f"rows have {tokens.shape[1]} tokens and the teacher's window is {window}; it is no guide beyond it")
        with torch.no_grad():
            wanted = self.teacher.to(tokens.device)(input_ids=tokens, use_cache=False).logits
        logits = model(input_ids=tokens, use_cache=False).logits
        return {
            NextToken.name: next_token_loss(logits, tokens),
            self.name: self.weight * divergence(wanted[:, :-1], logits[:, :-1]),
        }


def divergence(
    wanted: Float[Tensor, "rows length vocabulary"], logits: Float[Tensor, "rows length vocabulary"]
) -> Float[Tensor, "rows"]:
    """KL(p ‖ q) in nats with p of the logits `wanted` and q of `logits`, in float32, mean over a row."""
    p, q = (values.float().log_softmax(-1) for values in (wanted, logits))
    return functional.kl_div(q, p, reduction="none", log_target=True).sum(-1).mean(-1)


def next_token_loss(logits: Float[Tensor, "rows length vocabulary"], tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows"]:
    """Mean over a row of -ln p(token | tokens before it); the first token has none and is no target."""
    losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.mean(-1)
