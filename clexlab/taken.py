"""Training on tokens taken out of a long text at drawn positions: a short row whose content is as far apart as its positions say."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clexlab.objectives import NextToken
from clexlab.placed import logits_at, of_this_process, whole
from clexlab.positions.base import Draw, Sampler, check_sampler, draws_for
from clexlab.rows import check_length


class TakenAt:
    """An objective: of every row of a long text the model reads the `length` tokens at drawn positions, at those positions.

        row x of M tokens, draw p:   input x[p_0], x[p_1] …  at positions p_0, p_1 …;  mean over learned tokens of -ln p(x[p_k] | before)

    So `real tokens follow their positions`; what is spared is the attention over the other tokens. Rows are texts of M tokens, as
    `rows.Text(documents, M)` draws them. The model takes no positions of its own: extend it without `positions`, and the path, CLEX
    too, gets the factor of every draw; pinned at a factor, it wants draws at that one. A plain model gets the positions alone. Draws
    come from torch's global generator.
    """

    name: ClassVar[str] = "taken"

    def __init__(self, sampler: Sampler, length: int) -> None:
        check_sampler(sampler)
        check_length(length)
        self.sampler, self.length = sampler, length

    def __repr__(self) -> str:
        return f"TakenAt({self.sampler!r}, length={self.length})"

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows long"]) -> dict[str, Float[Tensor, "rows"]]:
        """One term, `next`. ValueError: positions that are no places of the rows, and what `placed.logits_at` refuses."""
        count, mine = of_this_process(len(tokens))
        drawn = draws_for(self.sampler, count, self.length, torch.default_generator)
        draws = drawn * len(tokens) if len(drawn) == 1 else drawn[mine]
        taken = tokens.gather(1, torch.stack([places_in(draw, tokens.shape[1]) for draw in draws]).to(tokens.device))
        logits = logits_at(model, taken, draws, self.sampler)
        losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), taken[:, 1:], reduction="none")
        learned = [torch.ones(self.length, dtype=torch.bool) if draw.learned is None else draw.learned for draw in draws]
        counted = torch.stack(learned)[:, 1:].to(losses)
        return {NextToken.name: (losses * counted).sum(-1) / counted.sum(-1)}


def places_in(draw: Draw, long: int) -> Int[Tensor, "length"]:
    """The positions of a draw as indices into a text of `long` tokens; ValueError where they are none."""
    places = whole(draw)
    if int(places[-1]) >= long:
        raise ValueError(
            f"positions end at {int(places[-1])}, rows have {long} tokens: tokens are taken at positions below that; give longer rows,"
            " or a sampler for fewer windows"
        )
    return places
