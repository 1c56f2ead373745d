"""What `generate` has to know: the planned total length, and when to send the whole text again.

Two methods of the model instance are replaced while it is extended; the class stays as it is, `restore` removes both.
"""

import functools
import inspect
from typing import Any

from torch import Tensor, nn
from transformers.generation.configuration_utils import GenerationMode

from clexlab.hf import caches
from clexlab.hf.state import State, empty


def hooks(model: nn.Module) -> dict[str, Any]:
    """The instance attributes an extended model carries, as plain functions of `self`, by name."""
    if not hasattr(model, "_prepare_cache_for_generation"):
        return {}
    kind = type(model)
    return {
        "generate": _generate(kind),
        "_prepare_cache_for_generation": _plan(kind),
        "prepare_inputs_for_generation": _refill(kind),
    }


def _rotary(model: nn.Module) -> Any:
    from clexlab.hf.attach import rotary_of

    return rotary_of(model)


def _generate(kind: type) -> Any:
    """generate() whose plan ends with it, also when it fails."""

    @functools.wraps(kind.generate)
    def generate(self, *args, **kwargs):  # the signature is transformers' own
        rotary = _rotary(self)
        before, rotary.planned, rotary.padding = (rotary.planned, rotary.padding), None, None
        try:
            return kind.generate(self, *args, **kwargs)
        finally:
            rotary.planned, rotary.padding = before

    return generate


def _plan(kind: type) -> Any:
    """The step of generate() at which the total length is known; runs with and without a cache."""
    original = kind._prepare_cache_for_generation
    signature = inspect.signature(original)

    @functools.wraps(original)
    def plan(self, *args, **kwargs):  # the signature is transformers' own
        given = signature.bind(self, *args, **kwargs).arguments
        rotary = _rotary(self)
        if given["generation_mode"] == GenerationMode.ASSISTED_GENERATION and rotary.cache is not caches.Frozen:
            raise ValueError(
                f"assisted decoding is exact only with cache='frozen', this model is extended with {rotary.cache.name!r}: the last"
                " guessed token would set the factor of the first; restore the model and extend it with cache='frozen'"
            )
        # transformers counts the cache's places: all tokens but the last.
        rotary.planned = given["max_cache_length"] + 1
        mask = given["model_kwargs"].get("attention_mask")
        # A prompt filled in chunks would not show the padding of all rows at once.
        rotary.padding = (mask == 0).sum(-1).tolist() if isinstance(mask, Tensor) and mask.ndim == 2 else None
        return original(self, *args, **kwargs)

    return plan


def _refill(kind: type) -> Any:
    """Before each step: where the factor is about to change under `refill`, empty the cache and send everything again."""
    original = kind.prepare_inputs_for_generation

    @functools.wraps(original)
    def prepare(self, input_ids, next_sequence_length=None, past_key_values=None, attention_mask=None, **kwargs):
        rotary = _rotary(self)
        state = State.of(past_key_values)
        if rotary.cache is caches.Refill and state is not None and past_key_values.get_seq_length():
            cached = int(past_key_values.get_seq_length())
            if attention_mask is None:
                # After a prompt of embeddings the ids are the new tokens alone.
                counts = [max(input_ids.shape[1], cached + 1)] * input_ids.shape[0]
            else:
                counts = attention_mask.sum(-1).clamp(min=1).tolist()
            if tuple(rotary.factor_for(count) for count in counts) != state.factors:
                if input_ids.shape[1] <= cached:
                    raise ValueError(
                        f"the cache holds {cached} tokens and generate() was given {input_ids.shape[1]}: cache='refill' needs every token"
                        " as input_ids, at once, not as inputs_embeds, a cache alone or a prompt in chunks"
                    )
                empty(past_key_values)
                next_sequence_length = None
        return original(
            self,
            input_ids,
            next_sequence_length=next_sequence_length,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            **kwargs,
        )

    return prepare
