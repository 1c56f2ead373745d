"""Llama-3.1's scaling: by parts with the paper's ramp between 1 and 4 turns, at all lengths, without a temperature."""

from dataclasses import dataclass
from typing import Any

from clexlab.scaling.by_parts import ByParts, FrequencyBlend, Ramp, TurnsRamp


@dataclass(frozen=True, kw_only=True)
class Llama3(ByParts):
    """θ_j(t) = θ_j·(u_j + (1-u_j)/t), u = clip((L/λ_j - low)/(high - low), 0, 1), low = 1, high = 4 (transformers `llama3`).

    Exactly YaRN's *paper* ramp with (slow, fast) = (1, 4). L is the 8192 tokens of pre-training, not the 131072 sold.
    """

    name = "llama3"
    title = "Llama-3"
    paper = "https://arxiv.org/abs/2407.21783"

    ramp: Ramp = TurnsRamp(slow=1.0, fast=4.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.ramp, TurnsRamp) or not isinstance(self.blend, FrequencyBlend):
            raise ValueError("Llama3 is defined by a TurnsRamp and a FrequencyBlend; use ByParts for another ramp or blend")

    def _rope_parameters(self, t: float) -> dict[str, Any]:
        return {
            "rope_type": "llama3",
            "rope_theta": self.base,
            "factor": t,
            "low_freq_factor": self.ramp.slow,
            "high_freq_factor": self.ramp.fast,
            "original_max_position_embeddings": self.window,
        }
