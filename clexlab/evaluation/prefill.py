"""A long text read with little memory: in chunks over one key cache, at the factor of the whole text, logits only where wanted.

    memory  =  weights + keys and values + one chunk's scores, masks and logits

Read at once, a layer works on all tokens together, which is fastest and done up to `AT_ONCE` tokens; longer texts come in chunks.
The loss is that of the uncached run, to rounding: the factor is fixed for the whole length before the first chunk, whatever
semantics the model's own cache has.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from clexlab import hf

# Logits held at once: 64 MB in float32, whatever vocabulary and length are.
LOGITS = 2**24
# Texts up to AT_ONCE tokens are read at once. A chunk of longer ones has no more tokens, pairs of query and key, and logits in a part.
AT_ONCE, TOKENS, PAIRS, FEW_LOGITS = 4096, 1024, 2**21, 2**20
# What to make of the logits after some positions: the positions, (batch, positions, vocabulary) in, (batch, positions) out.
Score = Callable[[range, Float[Tensor, "batch part vocabulary"]], Tensor]


def read(model: nn.Module, inputs: Int[Tensor, "batch length"], wanted: range, score: Score) -> list[Tensor]:
    """Let the model read `inputs` and call `score` with the logits after the `wanted` positions, part by part, in order.

    The model is expected in eval mode, without gradients. Results are returned part by part, as `score` gave them.
    """
    inputs = inputs.to(model.get_input_embeddings().weight.device)
    if not keeps_logits(model):
        return [score(wanted, model(input_ids=inputs, use_cache=False).logits[:, wanted.start : wanted.stop])]
    if inputs.shape[1] <= AT_ONCE or not can_chunk(model):
        return _scored(model, inputs, wanted, score, LOGITS, use_cache=False)
    cache, results, start = room(model, inputs.shape[1]), [], 0
    with planned(model, inputs.shape[1]):
        for size in chunks(*inputs.shape):
            inside = range(max(wanted.start, start), min(wanted.stop, start + size))
            part = inputs[:, start : start + size]
            results += _scored(model, part, inside, score, FEW_LOGITS, start, use_cache=True, past_key_values=cache)
            start += size
    return results


def chunks(rows: int, length: int) -> list[int]:
    """Tokens of each chunk, all with about as many pairs of query and key.

    Smaller chunks the more keys there are: where every mask is larger than the last, none fits where the last one was, and a process
    grows by the sum of them.
    """
    sizes, start = [], 0
    while start < length:
        pairs = PAIRS // rows
        # The largest whole number with size · (start + size) ≤ pairs.
        size = (math.isqrt(start**2 + 4 * pairs) - start) // 2
        sizes.append(min(max(1, size), TOKENS, length - start))
        start += sizes[-1]
    return sizes


def _scored(
    model: nn.Module,
    inputs: Int[Tensor, "batch part"],
    wanted: range,
    score: Score,
    entries: int,
    before: int = 0,
    **cache: object,
) -> list[Tensor]:
    """`score` on the logits of one forward, `entries` of them at once; its first token stands at position `before`."""
    chunk = max(1, entries // (len(inputs) * model.get_input_embeddings().weight.shape[0]))
    results = []
    with _decoded_once(model.get_decoder()):
        if not wanted:
            # Keys and values are all that is wanted of these tokens; no model gives fewer logits than one.
            model(input_ids=inputs, logits_to_keep=1, **cache)
        for start in range(wanted.start, wanted.stop, chunk):
            part = range(start, min(start + chunk, wanted.stop))
            kept = torch.arange(part.start - before, part.stop - before, device=inputs.device)
            results.append(score(part, model(input_ids=inputs, logits_to_keep=kept, **cache).logits))
    return results


def keeps_logits(model: nn.Module) -> bool:
    """Whether the model can be asked for the logits of some positions alone, and has a decoder to run just once for all of them."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    return "logits_to_keep" in inspect.signature(_inner(model).forward).parameters and decoder not in (None, _inner(model))


def can_chunk(model: nn.Module) -> bool:
    """Whether a text in chunks is to the model what it is at once.

    Not where a stock rope takes its frequencies from the longest position it has met ("dynamic", "longrope"): early chunks would get
    those of a short text. And not where the model keeps no plain keys and values.
    """
    if "past_key_values" not in inspect.signature(model.get_decoder().forward).parameters:
        return False
    if getattr(_inner(model), "_is_stateful", False) or getattr(_inner(model).config, "is_encoder_decoder", False):
        return False
    return not any(_follows_length(module) for module in model.modules())


def _follows_length(module: nn.Module) -> bool:
    # A dict of them where layer types have a rope each.
    kinds = getattr(module, "rope_type", ())
    kinds = kinds.values() if isinstance(kinds, dict) else [kinds] if isinstance(kinds, str) else ()
    return any(kind == "longrope" or "dynamic" in kind for kind in kinds)


def _inner(model: nn.Module) -> nn.Module:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def planned(model: nn.Module, length: int) -> Iterator[None]:
    """Within the block every new cache of an extended model is filled at the factor of `length` tokens, as in `generate`."""
    if not any(isinstance(module, hf.Rotary) for module in model.modules()):
        yield
        return
    rotary = hf.rotary_of(model)
    running, semantics = rotary.running, rotary.cache
    before = running.planned, running.padding
    rotary.cache, running.planned, running.padding = hf.Frozen, length, None
    try:
        yield
    finally:
        rotary.cache = semantics
        running.planned, running.padding = before


class Room(DynamicLayer):
    """Keys and values of one layer in memory that is there from the start; transformers' layer copies all of them at every step."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.stored = [states.new_empty(*states.shape[:2], self.length, states.shape[3]) for states in (key_states, value_states)]
        self.keys, self.values = (store[:, :, :0] for store in self.stored)

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the others; both are views of what is filled."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, stop = self.get_seq_length(), self.get_seq_length() + key_states.shape[2]
        for store, states in zip(self.stored, (key_states, value_states), strict=True):
            store[:, :, start:stop] = states
        self.keys, self.values = (store[:, :, :stop] for store in self.stored)
        return self.keys, self.values


def room(model: nn.Module, length: int) -> DynamicCache:
    """An empty cache for `length` tokens. Layers that see a sliding window alone keep what transformers keeps for them."""
    cache = DynamicCache(config=model.config)
    cache.layers = [Room(length) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


@contextmanager
def _decoded_once(decoder: nn.Module) -> Iterator[None]:
    """Within the block the decoder runs for its first call and repeats that output after.

    So logits come in chunks through the model's own head, with its scale and soft cap, while the layers are computed once.
    """
    forward, replaced = decoder.forward, "forward" in vars(decoder)
    outputs = []

    @functools.wraps(forward)
    def once(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202 - the decoder's own signature
        if not outputs:
            outputs.append(forward(*args, **kwargs))
        return outputs[0]

    decoder.forward = once
    try:
        yield
    finally:
        if replaced:
            decoder.forward = forward
        else:
            del decoder.forward
