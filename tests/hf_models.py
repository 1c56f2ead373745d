"""Tiny random models of every rotary architecture the tests run, built in memory, and models that must be refused.

    hf_models.MODELS                       what `clexlab.extend` takes; `Tiny.name` is the id of a test
    hf_models.REFUSED                      what it refuses, with the words the refusal must hold
    hf_models.by_name("llama").build(layers=3, window=16)

Weights are drawn anew from one seed, with queries and keys made sharp: with transformers' own initial weights attention is
flat and a wrong angle would hardly show in the logits.
"""

import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

WINDOW = 32
VOCABULARY = 99
HEAD_DIM = 16
SLIDING = 12
SHARPNESS = 2.0
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    # No end of text: every generation runs to its full length.
    "eos_token_id": None,
}


@dataclass(frozen=True)
class Tiny:
    """One architecture: its config class and options, and what its rotary module is known to be.

    `layer_types` names the kinds of layers from the last one backwards, so that a single layer is of the kind that counts.
    """

    name: str
    config: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    rotary_dim: int = HEAD_DIM
    base: float = 10_000.0
    layer_types: tuple[str, ...] = ()

    def make_config(self, layers: int = 2, window: int = WINDOW, **changes: Any) -> transformers.PreTrainedConfig:
        options = COMMON | {"num_hidden_layers": layers, "max_position_embeddings": window} | copy.deepcopy(self.options)
        if self.layer_types:
            options["layer_types"] = [self.layer_types[(i - layers) % len(self.layer_types)] for i in range(layers)]
        return getattr(transformers, self.config)(**(options | changes))

    def build(self, layers: int = 2, window: int = WINDOW, **changes: Any) -> PreTrainedModel:
        """The model in float32 and eval mode; equal arguments give equal weights. `changes` override options of the config."""
        model = transformers.AutoModelForCausalLM.from_config(self.make_config(layers, window, **changes))
        return sharpen(model, zlib.crc32(self.name.encode())).eval()


def sharpen(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Draw all weights anew: unit variance through every layer, and scores with a spread of about SHARPNESS²."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            module = model.get_submodule(name.rpartition(".")[0])
            if weight.ndim >= 2:
                weight.normal_(0, weight.shape[-1] ** -0.5, generator=generator)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1, generator=generator)
            # Where queries and keys are normalised, the norm's own weight sets their size; Gemma's norms add 1 to it.
            if "q_norm" in name or "k_norm" in name:
                weight.fill_(SHARPNESS - 1 if "Gemma" in type(module).__name__ else SHARPNESS)
            elif any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value")):
                weight.mul_(SHARPNESS)
    model.tie_weights()
    return model


GROUPED = {"num_key_value_heads": 2}
MODELS = (
    Tiny("llama", "LlamaConfig", GROUPED),
    Tiny("mistral", "MistralConfig", GROUPED | {"sliding_window": None}),
    Tiny("mistral_sliding", "MistralConfig", GROUPED | {"sliding_window": SLIDING}),
    Tiny(
        "mixtral",
        "MixtralConfig",
        GROUPED | {"num_local_experts": 3, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        base=1e6,
    ),
    Tiny("qwen2", "Qwen2Config", GROUPED),
    Tiny("qwen3", "Qwen3Config", GROUPED | {"head_dim": HEAD_DIM}),
    Tiny("gpt_neox", "GPTNeoXConfig", {"rotary_pct": 0.5}, rotary_dim=8),
    Tiny("phi", "PhiConfig", {"partial_rotary_factor": 0.5}, rotary_dim=8),
    Tiny("phi3", "Phi3Config", GROUPED),
    Tiny("gemma", "GemmaConfig", {"num_key_value_heads": 1, "head_dim": 24}, rotary_dim=24),
    Tiny(
        "gemma2",
        "Gemma2Config",
        GROUPED | {"head_dim": HEAD_DIM, "sliding_window": SLIDING},
        layer_types=("sliding_attention", "full_attention"),
    ),
    Tiny(
        "gemma3",
        "Gemma3TextConfig",
        GROUPED
        | {
            "head_dim": HEAD_DIM,
            "sliding_window": SLIDING,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        base=1e6,
        layer_types=("sliding_attention", "full_attention"),
    ),
    Tiny("cohere", "CohereConfig", GROUPED | {"logit_scale": 1.0}, base=5e5),
    # Its full layers have no rotary positions at all: keys there must not be turned.
    Tiny(
        "cohere2",
        "Cohere2Config",
        GROUPED | {"logit_scale": 1.0, "sliding_window": SLIDING},
        layer_types=("full_attention", "sliding_attention"),
    ),
    Tiny("glm", "GlmConfig", GROUPED | {"head_dim": HEAD_DIM, "partial_rotary_factor": 0.5}, rotary_dim=8),
    Tiny("stablelm", "StableLmConfig", GROUPED | {"partial_rotary_factor": 0.25}, rotary_dim=4),
    Tiny("olmo2", "Olmo2Config", GROUPED),
    Tiny("falcon", "FalconConfig", {"alibi": False}),
    # Every second layer without rotary positions, and its own base.
    Tiny(
        "smollm3",
        "SmolLM3Config",
        GROUPED | {"no_rope_layer_interval": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 5e4}},
        base=5e4,
    ),
)


def by_name(name: str) -> Tiny:
    return next(model for model in MODELS if model.name == name)


@dataclass(frozen=True)
class Refused:
    """A model `extend` must refuse; `says` are words its ValueError must hold."""

    name: str
    build: Callable[[], PreTrainedModel]
    says: tuple[str, ...]


def _plain(config: transformers.PreTrainedConfig) -> PreTrainedModel:
    return sharpen(transformers.AutoModelForCausalLM.from_config(config)).eval()


def _scaled(rope_parameters: dict[str, Any]) -> PreTrainedModel:
    return by_name("llama").build(rope_parameters={"rope_theta": 1e4, **rope_parameters})


def _two_rotaries() -> PreTrainedModel:
    """A decoder with a second rotary module of another base, as models with a draft head or an encoder have."""
    model = by_name("llama").build()
    model.draft = transformers.LlamaModel(by_name("llama").make_config(layers=1))
    return model


_SMALL = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": WINDOW, "bos_token_id": 1, "eos_token_id": None}
REFUSED = (
    Refused("gpt2", lambda: _plain(transformers.GPT2Config(**_SMALL)), ("rotary",)),
    Refused("gptj", lambda: _plain(transformers.GPTJConfig(**_SMALL, rotary_dim=8)), ("rotary",)),
    Refused("bloom", lambda: _plain(transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=64, n_layer=2, n_head=4)), ("rotary",)),
    Refused("falcon_alibi", lambda: by_name("falcon").build(alibi=True), ("rotary",)),
    Refused("yarn", lambda: _scaled({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": WINDOW}), ("yarn",)),
    Refused(
        "llama3",
        lambda: _scaled(
            {
                "rope_type": "llama3",
                "factor": 2.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": WINDOW,
            }
        ),
        ("llama3",),
    ),
    Refused("dynamic", lambda: _scaled({"rope_type": "dynamic", "factor": 2.0}), ("dynamic",)),
    Refused("two_rotaries", _two_rotaries, ("rotary",)),
)


def checkpoint(model: PreTrainedModel) -> None:
    """Switch gradient checkpoints on. The call was renamed while the range of versions we support went on."""
    name = next(name for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable") if hasattr(model, name))
    getattr(model, name)()


def tokens(*lengths: int, seed: int = 0) -> list[Tensor]:
    """Rows of token ids (1, length), none of them the padding token."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCABULARY, (1, length), generator=generator) for length in lengths]


def pad(rows: list[Tensor], side: str = "left") -> dict[str, Tensor]:
    """One batch of rows of different lengths: input_ids filled with 0, and the attention_mask that says so."""
    length = max(row.shape[1] for row in rows)
    shape = (lambda missing: (missing, 0)) if side == "left" else (lambda missing: (0, missing))
    return {
        "input_ids": torch.cat([nn.functional.pad(row, shape(length - row.shape[1])) for row in rows]),
        "attention_mask": torch.cat([nn.functional.pad(torch.ones_like(row), shape(length - row.shape[1])) for row in rows]),
    }
