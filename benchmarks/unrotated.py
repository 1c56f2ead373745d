"""The official CLEX way to decode, re-implemented: keys are cached un-rotated, and all of them are rotated at every step.

The leanest form we can write: the table of cos and sin is made once per factor, the model's own `apply_rotary_pos_emb` rotates,
transformers' own sdpa function attends. Only the rotation of the cached keys is extra work.
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from clexlab import rope

NAME = "clexlab_unrotated"


class NoRotation(nn.Module):
    """In place of the model's rotary: cos = 1 and sin = 0 for the new token, and the table for the attention function beside it."""

    def __init__(self, inv_freq: Tensor, attention_scale: float, length: int) -> None:
        super().__init__()
        angles = rope.angles(torch.arange(length), inv_freq).repeat(1, 2)[None]
        self.cos, self.sin = angles.cos() * attention_scale, angles.sin() * attention_scale
        self.one, self.zero = torch.ones(1, 1, angles.shape[-1]), torch.zeros(1, 1, angles.shape[-1])

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.one, self.zero


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Rotate the new query and every key, then attend. Tensors (batch, heads, tokens, head_dim); one new token, no padding."""
    table, tokens = module.rotation, key.shape[-2]
    # An operand without heads costs nothing: the model's function rotates two tensors, here one of them is wanted at a time.
    rotated_query, _ = apply_rotary_pos_emb(query, query[:, :0], table.cos[:, tokens - 1 : tokens], table.sin[:, tokens - 1 : tokens])
    _, rotated_key = apply_rotary_pos_emb(key[:, :0], key, table.cos[:, :tokens], table.sin[:, :tokens])
    return sdpa_attention_forward(module, rotated_query, rotated_key, value, attention_mask, **options)


AttentionInterface.register(NAME, attend)
# Without a mask function of the same name transformers passes no mask at all, and padding would be ignored in silence.
AttentionMaskInterface.register(NAME, sdpa_mask)


def install(model: LlamaForCausalLM, inv_freq: Tensor, attention_scale: float, length: int) -> LlamaForCausalLM:
    """Let `model` keep raw keys and rotate them by position·inv_freq at every step, for up to `length` tokens."""
    rotation = NoRotation(inv_freq, attention_scale, length)
    model.model.rotary_emb = rotation
    for layer in model.model.layers:
        # A plain attribute: the layers share one table, and it is no submodule of theirs.
        object.__setattr__(layer.self_attn, "rotation", rotation)
    model.set_attn_implementation(NAME)
    return model
