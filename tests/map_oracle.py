"""Mapped attention as a dense oracle in explicit loops: no rotation of vectors anywhere, one cosine per pair of tokens and frequency.

    with map_oracle.dense(model, relative): model(tokens)

`relative` is P by query and key, nan where the key is not seen; of GALI's the fractions are mixes of two whole distances. The model's
rotary module hands out no rotation meanwhile, so queries and keys arrive as the projections made them. In float64.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import hf_models
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from clexlab import frequencies, rope
from clexlab.positions.maps import GALI, STRING, DualChunk, LeakyReRoPE, LMInfinite, Map, ReRoPE, SelfExtend, Sinks

NAME = "dense_oracle"
LENGTH = 17
# One of each kind, with sizes that divide nothing, and GALI without its noise.
SMALL: tuple[Map, ...] = (
    ReRoPE(window=8, near=5),
    LeakyReRoPE(window=8, near=3, slowing=2.5),
    SelfExtend(window=8, near=4, group=3),
    DualChunk(window=8, chunk=5),
    STRING(window=8, shift=5, local=2),
    GALI(window=8, tail=3, chunk=4, noise=None),
    Sinks(window=8, sinks=2, recent=5),
    LMInfinite(window=8, starts=2, local=5, limit=7),
)
# Float32 sums in another order: 1e-5 of the largest logit, which is 3 at least in every model here.
CLOSE = dict(atol=3e-5, rtol=0.0)
# Rotary layouts: half-split, shared keys, half of the head, neighbours, neighbours in half of the head, normed keys, a cap on the logits.
LAYOUTS = {
    "llama": rope.HalfSplit,
    "gpt_neox": rope.HalfSplit,
    "stablelm": rope.HalfSplit,
    "cohere": rope.Interleaved,
    "glm": rope.Interleaved,
    "qwen3": rope.HalfSplit,
    "gemma2": rope.HalfSplit,
    "gemma3": rope.HalfSplit,
    "smollm3": rope.HalfSplit,
}


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


def named(value: object) -> str:
    return value.name if isinstance(value, Map) else str(value)


def built(name: str = "llama", layers: int = 2, **changes) -> torch.nn.Module:
    if name == "gemma2":
        changes["layer_types"] = ["full_attention"] * layers
    return hf_models.by_name(name).build(layers, **changes)


def inv_freq(name: str = "llama") -> torch.Tensor:
    tiny = hf_models.by_name(name)
    return frequencies.inv_freq(tiny.rotary_dim, tiny.base)


def oracle(model, relative, row, name="llama", theta=None, scale=1.0, mixed=False) -> torch.Tensor:
    theta = inv_freq(name) if theta is None else theta
    with dense(model, relative, theta, LAYOUTS[name], scale, mixed) as looped:
        return looped(row).logits
