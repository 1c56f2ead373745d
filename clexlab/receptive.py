"""How far a bias lets a head look when content says nothing: attention by distance, and the distance that holds nearly all of it.

    w(n) = exp B(n) / Σ exp B(m)  over m = 0 … length-1        field = the smallest n with w(0) + … + w(n) ≥ share

Content can move attention by its logits' spread of a few units, so a field is a scale, not a wall: a key whose B lies ten below its
neighbours' needs a content logit of ten to be seen.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clexlab import frequencies
from clexlab.biases.base import Bias

SHARE = 0.99


def curve(bias: Bias, length: int) -> Float[Tensor, "heads length"]:
    """B of the last of `length` tokens for its keys by distance, in float64; queries and keys are zero where the bias looks at them."""
    if not bias.contextual:
        return bias.curve(length)
    nothing, places = torch.zeros(1, bias.heads, length, bias.head_dim), torch.arange(length)
    with torch.no_grad():
        return bias.added(nothing[:, :, -1:], nothing, places[-1:], places)[0, :, 0].flip(-1).double()


def weights(curve: Float[Tensor, "heads length"]) -> Float[Tensor, "heads length"]:
    """The share of attention that the key at each distance has, for a query that sees `length` keys of equal content."""
    return curve.double().softmax(-1)


def field(curve: Float[Tensor, "heads length"], share: float = SHARE) -> Int[Tensor, "heads"]:
    """The smallest distance n within which each head spends `share` of its attention; ValueError for what is no share.

    A head without a bias spreads evenly: its field is `share` of all it sees.
    """
    if not frequencies.is_finite(share) or not 0 < share < 1:
        raise ValueError(f"share is {share!r}; it is how much of the attention the field holds, between 0 and 1")
    # A sum of doubles may stop a rounding error short of the share at a point that holds it.
    return (weights(curve).cumsum(-1) < share - 1e-12).sum(-1)
