"""Mapped attention as a dense oracle in explicit loops: no rotation of vectors anywhere, one cosine per pair of tokens and frequency.

    with map_oracle.dense(model, relative): model(tokens)

`relative` is P by query and key, nan where the key is not seen; of GALI's the fractions are mixes of two whole distances. The model's
rotary module hands out no rotation meanwhile, so queries and keys arrive as the projections made them. In float64.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from clexlab import rope

NAME = "dense_oracle"


class Still(nn.Module):
    """In the place of a rotary module: cos 1, sin 0, in the layout of the original."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.original = original

    def forward(self, x: Tensor, position_ids: Tensor, *layer_type: str) -> tuple[Tensor, Tensor]:
        cos, sin = self.original(x, position_ids, *layer_type)
        return torch.ones_like(cos), torch.zeros_like(sin)


class Dense:
    """What the registered function computes with."""

    relative: Tensor
    inv_freq: Tensor
    pairing: rope.Pairing = rope.HalfSplit
    # A of the path: it multiplies cos and sin of query and key.
    scale: float = 1.0
    mixed: bool = False


def logit(query: Tensor, key: Tensor, distance: float) -> Tensor:
    """a(q, k; P) without 1/√d, for (rows, heads, head_dim) each; equation 0.1 of the reference."""
    theta = Dense.inv_freq
    width = 2 * len(theta)
    (q1, q2), (k1, k2) = Dense.pairing.split(query[..., :width]), Dense.pairing.split(key[..., :width])
    cos, sin = torch.cos(distance * theta), torch.sin(distance * theta)
    turned = ((q1 * k1 + q2 * k2) * cos + (q1 * k2 - q2 * k1) * sin).sum(-1)
    return Dense.scale**2 * turned + (query[..., width:] * key[..., width:]).sum(-1)


def attend(module, query, key, value, attention_mask, scaling=None, softcap=None, **options):
    """out_i = Σ_j softmax_j(a(q_i, k_j; P_ij)) v_j, one pair after the other."""
    kind, shared = query.dtype, query.shape[1] // key.shape[1]
    query, key, value = (part.double() for part in (query, key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)))
    length = query.shape[-2]
    out = []
    for i in range(length):
        seen = [j for j in range(i + 1) if not math.isnan(Dense.relative[i, j])]
        logits = []
        for j in seen:
            distance = float(Dense.relative[i, j])
            part = distance % 1 if Dense.mixed else 0.0
            found = logit(query[:, :, i], key[:, :, j], math.floor(distance) if Dense.mixed else distance)
            if part:
                found = (1 - part) * found + part * logit(query[:, :, i], key[:, :, j], math.ceil(distance))
            logits.append(found * scaling)
        logits = torch.stack(logits, -1)
        logits = logits if softcap is None else torch.tanh(logits / softcap) * softcap
        weights = logits.softmax(-1)
        out.append((weights[..., None] * value[:, :, seen]).sum(-2))
    return torch.stack(out, 1).to(kind), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def dense(
    model: PreTrainedModel,
    relative: Tensor,
    inv_freq: Tensor,
    pairing: rope.Pairing = rope.HalfSplit,
    scale: float = 1.0,
    mixed: bool = False,
) -> Iterator[PreTrainedModel]:
    """A copy of `model` whose attention is the oracle's."""
    model = copy.deepcopy(model)
    model.set_attn_implementation(NAME)
    decoder = model.get_decoder()
    decoder.rotary_emb = Still(decoder.rotary_emb)
    Dense.relative, Dense.inv_freq, Dense.pairing, Dense.scale, Dense.mixed = relative, inv_freq.double(), pairing, scale, mixed
    yield model
