"""What the pattern means for a model: how many pairs it computes, which of them are leaks, and how far layers carry a token.

    U = I or M_1 or … or M_H,   R_l = U^l > 0,   coverage_l = |R_l and causal| / |causal|

The output projection mixes the heads of a layer, and the residual stream carries every token past it, hence the I. What is reached
*can* arrive; that it is found is another matter, since the match of a query with a key takes one step, from one to the other.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clexlab.sparse.base import Pattern, check_whole


def entries(pattern: Pattern, heads: int, length: int) -> Int[Tensor, "heads"]:
    """How many pairs of query and key each head computes, by the pattern's formula for its rows."""
    return pattern.keys_per_row(heads, length).sum(-1)


def leaks(pattern: Pattern, heads: int, length: int) -> Int[Tensor, "heads"]:
    """How many of each head's pairs have a key later than the query."""
    return pattern.visible(heads, length).triu(1).sum((-2, -1))


def reach(pattern: Pattern, heads: int, length: int, layers: int) -> Bool[Tensor, "layers length length"]:
    """R_1 … R_layers: [l-1, i, j] is True where what token j holds can have arrived at token i after l layers.

    A layer is the union of its heads and the residual stream; every layer has the same pattern. O(layers · length³).
    """
    check_whole(layers=layers)
    step = (pattern.visible(heads, length).any(0) | torch.eye(length, dtype=torch.bool)).float()
    found = [step]
    for _ in range(layers - 1):
        found.append((step @ found[-1] > 0).float())
    return torch.stack(found) > 0


def coverage(pattern: Pattern, heads: int, length: int, layers: int) -> Float[Tensor, "layers"]:
    """The share of the causal triangle that is reached after 1 … layers layers; leaks do not count."""
    reached = reach(pattern, heads, length, layers).tril()
    return reached.sum((-2, -1)).double() / (length * (length + 1) // 2)
