"""What objectives share that draw positions with an eye on the tokens: draws for a step, and a forward in which each row has its own."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

from clexlab import hf
from clexlab.positions.base import Draw, check_reach


def logits_at(
    model: nn.Module, tokens: Int[Tensor, "rows length"], draws: Sequence[Draw], sampler: object
) -> Float[Tensor, "rows length vocabulary"]:
    """The model's logits for tokens that stand at the positions of these draws, one for each row.

    A model that `extend` gave a path follows the factor of every draw, in train and eval mode; a plain one has θ(1) or its own embeddings
    and gets the positions alone. ValueError: a model that draws itself, is pinned at another factor, or has a path for another
    window or fewer windows than `sampler` draws for; positions between whole numbers; counts where no path reads them.
    """
    seam = next((module for module in model.modules() if isinstance(module, hf.Rotary)), None)
    places = torch.stack([whole(draw) for draw in draws]).to(tokens.device)
    # Without a mask transformers takes every jump for the start of another text and cuts attention there.
    inputs = dict(input_ids=tokens, position_ids=places, attention_mask=torch.ones_like(tokens), use_cache=False)
    if seam is None:
        if any(draw.counts is not None for draw in draws):
            raise ValueError("Diluted positions need a path that reads their counts; extend the model, with scaling.Identity for θ(1)")
        return model(**inputs).logits
    with seam.standing_at(draws):
        check_reach(sampler, seam.scaling.window, seam.scaling.limit)
        return model(**inputs).logits


def whole(draw: Draw) -> Int[Tensor, "length"]:
    """The positions of a draw as whole numbers; ValueError where they are none."""
    if not torch.equal(draw.positions, draw.positions.round()):
        raise ValueError("these positions lie between whole numbers, where no token stands; give rows of at most one window")
    return draw.positions.long()


def of_this_process(rows: int) -> tuple[int, slice]:
    """The rows of a step in all processes, and which of them are this one's: all draw the same numbers, each keeps its own rows'."""
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    return rows * processes, slice(rank * rows, (rank + 1) * rows)
