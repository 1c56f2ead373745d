"""Two ways to the same attention: the small model, dense and short, and transformers' Llama extended, remapped and sparsified."""

import pytest
import torch
from small_models import FLOAT32, LENGTH, PLACES, ROPE, llama, model, tokens

import clexlab
from clexlab import hf, scaling, small, sparse
from clexlab.positions.maps import MAPS
from clexlab.sparse import PATTERNS


def padded():
    """A text of its own length and a shorter one behind padding."""
    text, mask = tokens(), torch.ones(2, LENGTH, dtype=torch.long)
    mask[1, :9] = 0
    return text, mask


@pytest.mark.parametrize("kind", MAPS)
@torch.no_grad()
def test_a_map_is_the_same_in_the_small_model_and_in_a_remapped_llama(kind):
    made, (text, mask) = model(kind.name), padded()
    twin = clexlab.remap(llama(made, ROPE.rope_parameters(1.0)), made.places.positions)
    shown = mask.bool()
    ours, theirs = made(text, attention_mask=mask).logits, twin(text, attention_mask=mask).logits
    torch.testing.assert_close(ours[shown], theirs[shown], **FLOAT32)


@pytest.mark.parametrize("name", ["rerope", "self_extend"])
@torch.no_grad()
def test_a_map_with_yarn_is_the_same_in_both(name):
    yarn, text = scaling.YaRN(head_dim=ROPE.head_dim, base=ROPE.base, window=ROPE.window), tokens()
    made = model(small.Places(scaling=yarn, positions=PLACES[name].positions))
    twin = clexlab.extend(llama(made, ROPE.rope_parameters(1.0)), yarn, schedule=hf.Exact())
    torch.testing.assert_close(made(text).logits, clexlab.remap(twin, made.places.positions)(text).logits, **FLOAT32)


@pytest.mark.parametrize("kind", PATTERNS)
@torch.no_grad()
def test_a_pattern_is_the_same_in_the_small_model_and_in_a_sparsified_llama(kind):
    made, (text, mask) = model(kind.name), padded()
    twin = clexlab.sparsify(llama(made, ROPE.rope_parameters(1.0)), made.places.pattern)
    shown = mask.bool()
    ours, theirs = made(text, attention_mask=mask).logits, twin(text, attention_mask=mask).logits
    torch.testing.assert_close(ours[shown], theirs[shown], **FLOAT32)


@torch.no_grad()
def test_the_leaking_pattern_leaks_in_the_small_model_too():
    leaking = sparse.RolledS2.default(LENGTH)
    made, text = model(small.Places(scaling=ROPE, pattern=leaking)), tokens()
    changed = text.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 50
    assert not torch.allclose(made(text).logits[:, :-1], made(changed).logits[:, :-1])
