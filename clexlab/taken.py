"""Training on tokens taken out of a long text at drawn positions: a short row whose content is as far apart as its positions say."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clexlab import hf
from clexlab.objectives import NextToken
from clexlab.positions.base import Draw, Sampler, check_sampler, draws_for
from clexlab.rows import check_length


class TakenAt:
    """An objective: of every row of a long text the model reads the `length` tokens at drawn positions, at those positions.

        row x of M tokens, draw p:   input x[p_0], x[p_1] …  at positions p_0, p_1 …;  mean over learned tokens of -ln p(x[p_k] | before)

    So `real tokens follow their positions`; what is spared is the attention over the other tokens. Rows are texts of M tokens, as
    `rows.Text(documents, M)` draws them. The model takes no positions of its own: extend it without `positions`, with the `factor`
    of M or a schedule; a draw's factor only says how far its positions reach. Draws come from torch's global generator.
    """

    name: ClassVar[str] = "taken"

    def __init__(self, sampler: Sampler, length: int) -> None:
        check_sampler(sampler)
        check_length(length)
        self.sampler, self.length = sampler, length

    def __repr__(self) -> str:
        return f"TakenAt({self.sampler!r}, length={self.length})"

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows long"]) -> dict[str, Float[Tensor, "rows"]]:
        """One term, `next`. ValueError: a model that draws positions itself, positions that are no places of the rows."""
        if any(isinstance(module, hf.Rotary) and module.positions is not None for module in model.modules()):
            raise ValueError("the model draws positions itself, and would not follow its tokens'; extend it without positions")
        drawn = draws_for(self.sampler, len(tokens), self.length, torch.default_generator)
        draws = drawn * len(tokens) if len(drawn) == 1 else drawn
        places = torch.stack([places_in(draw, tokens.shape[1]) for draw in draws]).to(tokens.device)
        taken = tokens.gather(1, places)
        # Without a mask transformers takes every jump for the start of another text and cuts attention there.
        mask = torch.ones_like(taken)
        logits = model(input_ids=taken, position_ids=places, attention_mask=mask, use_cache=False).logits
        losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), taken[:, 1:], reduction="none")
        learned = [torch.ones(self.length, dtype=torch.bool) if draw.learned is None else draw.learned for draw in draws]
        counted = torch.stack(learned)[:, 1:].to(losses)
        return {NextToken.name: (losses * counted).sum(-1) / counted.sum(-1)}


def places_in(draw: Draw, long: int) -> Int[Tensor, "length"]:
    """The positions of a draw as indices into a text of `long` tokens; ValueError where they are none."""
    positions = draw.positions
    if not torch.equal(positions, positions.round()) or float(positions[-1]) >= long:
        raise ValueError(
            f"positions end at {float(positions[-1]):g}, rows have {long} tokens: tokens are taken at whole positions below that;"
            " give longer rows, or a sampler of whole positions for fewer windows"
        )
    return positions.long()
