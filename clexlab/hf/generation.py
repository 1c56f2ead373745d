"""What `generate` has to know: the planned total length, and when to send the whole text again.

Three methods of the model instance are replaced while it is extended; the class stays as it is, `restore` removes them.
"""

import functools
import inspect
from typing import Any

from torch import Tensor, nn
from transformers.generation.configuration_utils import GenerationMode

from clexlab.hf import caches
from clexlab.hf.rotary import Rotary
from clexlab.hf.state import Running, State, empty


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


def _running(model: nn.Module | None) -> Running | None:
    """What this thread does with an assistant, if it is extended; it guesses in short runs over one cache."""
    found = [module.running for module in model.modules() if isinstance(module, Rotary)] if model is not None else []
    return found[0] if found else None


def _generate(kind: type) -> Any:
    """generate() whose plan ends with it, also when it fails."""

    @functools.wraps(kind.generate)
    def generate(self, *args, **kwargs):  # the signature is transformers' own
        running = _rotary(self).running
        before = running.planned, running.padding, running.floor
        # A run inside another of the same model, as an assistant that stops early is, serves the outer one's plan.
        running.floor = max(running.floor, running.planned or 0)
        running.planned = running.padding = None
        helper = _running(kwargs.get("assistant_model"))
        kept, running.helper = (running.helper, None if helper is running else helper)
        floor = helper.floor if helper is not None else 0
        try:
            return kind.generate(self, *args, **kwargs)
        finally:
            running.planned, running.padding, running.floor = before
            running.helper = kept
            if helper is not None and helper is not running:
                helper.floor = floor

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
        running = rotary.running
        running.planned = max(running.floor, given["max_cache_length"] + 1)
        if running.helper is not None:
            running.helper.floor = running.planned
        mask = given["model_kwargs"].get("attention_mask")
        # A prompt filled in chunks would not show the padding of all rows at once.
        running.padding = (mask == 0).sum(-1).tolist() if isinstance(mask, Tensor) and mask.ndim == 2 else None
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
                        " as input_ids, at once: not as inputs_embeds, not as a cache alone, and without prefill_chunk_size"
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
