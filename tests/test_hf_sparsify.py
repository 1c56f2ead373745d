"""Sparse patterns in models of transformers: masks that layers get, leaks by gradient, empty rows, padding, caches, undoing."""

import copy
import dataclasses

import hf_models
import pytest
import torch
from hf_models import MODELS, by_name, pad, tokens
from torch.nn.attention import flex_attention as flex
from transformers.integrations import flex_attention as flex_integration

import clexlab
from clexlab import hf, scaling, sparse
from clexlab.hf import kernels

LENGTH = 24
# Float32 logits of unit size through two layers, sums in another order.
SAME = dict(rtol=0, atol=2e-5)
# A pattern with no empty row on 24 tokens, moved and local heads: what transformers can be given as a plain mask too.
FULL_ROWS = sparse.SCCAFixed(chunk=8)
REFUSED = {"falcon": "AttentionInterface", "mistral_sliding": "local by themselves"}
OPEN = [tiny for tiny in MODELS if tiny.name not in REFUSED]
EMPTY = (
    sparse.SCCAFlow(chunk=6, chunks=4),
    sparse.SCCAFlow(chunk=6, chunks=4, empty=sparse.OwnChunk(chunk=6)),
    sparse.SDA(interval=4),
    sparse.SelectedSDA(interval=2, empty=sparse.Itself()),
    sparse.Dilated(segment=12, ratio=4),
)


ATTEND = {hf.Masked: kernels.masked_attention, hf.Flex: kernels.flex_attention, hf.Chunked: kernels.chunked_attention}
MASK = {hf.Masked: kernels.masked_mask, hf.Flex: kernels.flex_mask, hf.Chunked: kernels.chunked_mask}


def name(thing):
    return thing.name if hasattr(thing, "name") and not dataclasses.is_dataclass(thing) else getattr(thing, "name", repr(thing))


def logits(model, batch):
    with torch.no_grad():
        return model(**batch, use_cache=False).logits


def layers_of_the_mask(model, pattern):
    """The stock model, given the pattern as a mask of four dimensions: transformers passes such a mask on as it is."""
    mask = pattern.visible(model.config.num_attention_heads, LENGTH)[None]
    return logits(model, {"input_ids": tokens(LENGTH)[0], "attention_mask": mask})


# Every architecture.


@pytest.mark.parametrize("tiny", [tiny for tiny in OPEN if not tiny.layer_types and tiny.name != "gemma2"], ids=name)
def test_layers_compute_what_stock_attention_computes_under_the_same_mask(tiny):
    model = tiny.build()
    plain = logits(model, {"input_ids": tokens(LENGTH)[0]})
    wanted = layers_of_the_mask(model, FULL_ROWS)
    with clexlab.sparsified(model, FULL_ROWS):
        found = logits(model, {"input_ids": tokens(LENGTH)[0]})
    torch.testing.assert_close(found, wanted, **SAME)
    # The pattern does change what this model says.
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize("tiny", [tiny for tiny in OPEN if tiny.layer_types], ids=name)
def test_layers_that_are_local_by_themselves_keep_their_own_mask(tiny):
    local = tiny.build(layers=2)
    everything = sparse.Local(chunk=LENGTH)
    plain = logits(local, {"input_ids": tokens(LENGTH)[0]})
    with clexlab.sparsified(local, everything):
        torch.testing.assert_close(logits(local, {"input_ids": tokens(LENGTH)[0]}), plain, **SAME)
    with clexlab.sparsified(local, FULL_ROWS):
        assert (logits(local, {"input_ids": tokens(LENGTH)[0]}) - plain).abs().max() > 0.05


@pytest.mark.parametrize("tiny", [by_name(refused) for refused in REFUSED], ids=name)
def test_models_without_exchangeable_full_attention_are_refused_and_left_alone(tiny):
    model = tiny.build()
    config, before = model.config, logits(model, {"input_ids": tokens(LENGTH)[0]})
    with pytest.raises(ValueError, match=REFUSED[tiny.name]):
        clexlab.sparsify(model, FULL_ROWS)
    assert model.config is config and torch.equal(logits(model, {"input_ids": tokens(LENGTH)[0]}), before)


def test_a_bare_decoder_follows_the_pattern_too():
    model = by_name("llama").build()
    with clexlab.sparsified(model, FULL_ROWS):
        wanted = model(tokens(LENGTH)[0], output_hidden_states=True).hidden_states[-1]
    bare = clexlab.sparsify(model.model, FULL_ROWS)
    assert torch.equal(bare(tokens(LENGTH)[0]).last_hidden_state, wanted)


def test_full_attention_as_a_pattern_is_full_attention():
    model = by_name("llama").build()
    plain = logits(model, {"input_ids": tokens(LENGTH)[0]})
    for pattern in (sparse.Local(chunk=LENGTH), sparse.SCCAFixed(chunk=LENGTH, shift_by=0)):
        with clexlab.sparsified(model, pattern):
            torch.testing.assert_close(logits(model, {"input_ids": tokens(LENGTH)[0]}), plain, **SAME)


# Leaks, by gradient.

LEAK_FREE = tuple(method.default(LENGTH) for method in sparse.PATTERNS)
LEAKING = (
    sparse.RolledS2(chunk=8),
    sparse.SCCAFixed(chunk=8, mask=sparse.WrappedTriangle()),
    sparse.TwoSidedNeighbourhood(neighbours=3, dilation=4),
)


def gradient_from(model, place):
    """How the loss at one token depends on every token's embedding: one number each."""
    embedded = model.get_input_embeddings()(tokens(LENGTH)[0]).detach().requires_grad_()
    model(inputs_embeds=embedded, use_cache=False).logits[0, place].log_softmax(-1)[5].backward()
    return embedded.grad[0].abs().sum(-1)


@pytest.mark.parametrize("pattern", [*LEAK_FREE, *EMPTY], ids=repr)
def test_no_token_depends_on_a_later_one(pattern):
    model = by_name("llama").build()
    with clexlab.sparsified(model, pattern):
        for place in (0, 1, 7, 8, 15, 22):
            gradient = gradient_from(model, place)
            assert torch.equal(gradient[place + 1 :], torch.zeros(LENGTH - 1 - place)) and gradient[place] > 0


def test_the_rolled_form_of_s2_lets_the_first_tokens_depend_on_the_last_ones():
    model = by_name("llama").build(layers=1)
    with clexlab.sparsified(model, sparse.RolledS2(chunk=8)):
        for place in range(LENGTH):
            later = gradient_from(model, place)[place + 1 :].nonzero().flatten() + place + 1
            # Tokens of the first half chunk share a group with the last half chunk; all others see nothing later.
            assert later.tolist() == (list(range(20, 24)) if place < 4 else [])


@pytest.mark.parametrize("pattern", LEAKING, ids=repr)
def test_every_pattern_that_says_it_leaks_does(pattern):
    model = by_name("llama").build()
    with clexlab.sparsified(model, pattern):
        assert gradient_from(model, 1)[2:].max() > 0


# Empty rows.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pattern", EMPTY, ids=repr)
def test_empty_rows_give_numbers_and_gradients_that_are_numbers(pattern, dtype):
    model = by_name("llama").build().to(dtype).train()
    batch = pad(tokens(9, LENGTH))
    with clexlab.sparsified(model, pattern):
        out = model(**batch, labels=batch["input_ids"], use_cache=False)
        out.loss.backward()
    assert torch.isfinite(out.logits).all()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@pytest.mark.parametrize("pattern", EMPTY, ids=repr)
def test_a_heads_output_is_its_pattern_with_zero_where_a_row_is_empty(pattern):
    """One call of the registered attention on grouped keys, against the matrix written out."""
    heads, groups, size = 4, 2, 8
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, heads, LENGTH, size, generator=generator)
    key, value = (torch.randn(2, groups, LENGTH, size, generator=generator) for _ in range(2))
    model = clexlab.sparsify(by_name("llama").build(), pattern)
    layer = model.model.layers[0].self_attn
    mask = kernels.masked_mask(2, LENGTH, LENGTH, config=model.config)
    found, _ = kernels.masked_attention(layer, query, key, value, mask, scaling=0.3)
    seen = pattern.visible(heads, LENGTH)
    scores = (0.3 * query @ key.repeat_interleave(2, 1).mT).masked_fill(~seen, -1e9)
    wanted = (scores.softmax(-1) * seen) @ value.repeat_interleave(2, 1)
    torch.testing.assert_close(found.transpose(1, 2), wanted, **SAME)
    blank = ~seen.any(-1)
    assert blank.any() == isinstance(pattern.empty, sparse.ZeroOutput) and (found.transpose(1, 2)[:, blank] == 0).all()


# Padding and caches.


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pattern", [*LEAK_FREE, EMPTY[1]], ids=repr)
def test_a_padded_row_is_the_row_alone(pattern, side):
    model = by_name("llama").build()
    rows = tokens(17, LENGTH, 5)
    with clexlab.sparsified(model, pattern):
        padded = logits(model, pad(rows, side))
        for row, found in zip(rows, padded, strict=True):
            length = row.shape[1]
            own = found[-length:] if side == "left" else found[:length]
            torch.testing.assert_close(own, logits(model, {"input_ids": row})[0], **SAME)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kernel", hf.KERNELS, ids=name)
def test_a_text_with_holes_is_refused(kernel):
    model = clexlab.sparsify(by_name("llama").build(layers=1), FULL_ROWS, kernel=kernel)
    mask = torch.ones(1, LENGTH, dtype=torch.long)
    mask[0, 5] = 0
    with pytest.raises(ValueError, match="attention_mask has holes"):
        logits(model, {"input_ids": tokens(LENGTH)[0], "attention_mask": mask})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kernel", [hf.Masked, hf.Flex], ids=name)
def test_a_mask_that_is_not_the_patterns_own_is_refused(kernel):
    model, ids = clexlab.sparsify(by_name("llama").build(layers=1), FULL_ROWS, kernel=kernel), tokens(LENGTH)[0]
    whole = torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool)
    for mask in (whole.tril(), whole.float(), whole.expand(1, 4, -1, -1).float()):
        with pytest.raises(ValueError, match="not the pattern's own"):
            logits(model, {"input_ids": ids, "attention_mask": mask})
    with pytest.raises(ValueError, match="is none and not the pattern's own"):
        ATTEND[kernel](model.model.layers[0].self_attn, *torch.zeros(3, 1, 4, LENGTH, 16), None)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kernel", hf.KERNELS, ids=name)
def test_what_a_layer_adds_to_its_scores_and_weights_that_are_asked_for_are_refused(kernel):
    model = clexlab.sparsify(by_name("llama").build(layers=1), FULL_ROWS, kernel=kernel)
    layer, attend, make = model.model.layers[0].self_attn, ATTEND[kernel], MASK[kernel]
    mask = make(batch_size=1, q_length=LENGTH, kv_length=LENGTH, config=model.config)
    for option in ("s_aux", "position_bias"):
        with pytest.raises(ValueError, match="cannot be sparsified"):
            attend(layer, *torch.zeros(3, 1, 4, LENGTH, 16), mask, **{option: torch.zeros(4)})
    with pytest.raises(ValueError, match="no weights to return"):
        model(tokens(LENGTH)[0], output_attentions=True)


def test_a_padded_row_of_whole_chunks_is_rolled_in_its_own_length():
    model = by_name("llama").build()
    rows = tokens(16, LENGTH)
    with clexlab.sparsified(model, sparse.RolledS2(chunk=8)):
        padded = logits(model, pad(rows))
        torch.testing.assert_close(padded[0, -16:], logits(model, {"input_ids": rows[0]})[0], **SAME)
        with pytest.raises(ValueError, match="multiple"):
            logits(model, pad(tokens(17, LENGTH)))


@pytest.mark.parametrize("pattern", [*LEAK_FREE, EMPTY[1]], ids=repr)
def test_token_by_token_with_a_cache_is_one_pass_over_the_text(pattern):
    model = by_name("llama").build()
    batch = pad(tokens(13, 18))
    with clexlab.sparsified(model, pattern), torch.no_grad():
        whole = model(**batch, use_cache=False).logits
        ids, mask = batch["input_ids"], batch["attention_mask"]
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        first = model(ids[:, :10], attention_mask=mask[:, :10], position_ids=places[:, :10], use_cache=True)
        steps, cache = [first.logits[:, -1]], first.past_key_values
        for place in range(10, 18):
            seen = dict(attention_mask=mask[:, : place + 1], position_ids=places[:, place : place + 1])
            steps.append(model(ids[:, place : place + 1], past_key_values=cache, **seen).logits[:, -1])
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, 9:], **SAME)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_chooses_what_passes_without_a_cache_choose(cache):
    model = by_name("llama").build()
    batch = pad(tokens(9, 14))
    with clexlab.sparsified(model, sparse.SCCAFlow(chunk=4, chunks=4)):
        plain = model.generate(**batch, max_new_tokens=6, do_sample=False, use_cache=False)
        cached = model.generate(**batch, max_new_tokens=6, do_sample=False, cache_implementation=cache)
    assert torch.equal(plain, cached)


# The other kernels.


@pytest.mark.parametrize("pattern", [sparse.Local(chunk=8), sparse.S2(chunk=8), FULL_ROWS, *EMPTY[:2]], ids=repr)
def test_chunks_give_the_logits_and_gradients_of_masks(pattern):
    model, batch = by_name("llama").build(), pad(tokens(17, LENGTH), "right")
    real, found = batch["attention_mask"].bool(), []
    for kernel in (hf.Masked, hf.Chunked):
        model.zero_grad()
        with clexlab.sparsified(model, pattern, kernel=kernel):
            out = model(**batch, use_cache=False).logits[real]
            out.square().mean().backward()
        found.append((out, [weight.grad.clone() for weight in model.parameters()]))
    for masked, chunked in [(found[0][0], found[1][0]), *zip(found[0][1], found[1][1], strict=True)]:
        torch.testing.assert_close(chunked, masked, rtol=1e-4, atol=2e-5)


def test_chunks_refuse_what_they_cannot_do():
    model = by_name("llama").build()
    with pytest.raises(ValueError, match="does not come in chunks"):
        clexlab.sparsify(model, sparse.SDA(interval=2), kernel=hf.Chunked)
    with clexlab.sparsified(model, FULL_ROWS, kernel=hf.Chunked):
        with pytest.raises(ValueError, match="padding on the left"):
            logits(model, pad(tokens(9, LENGTH)))
        cache = model(tokens(8)[0], use_cache=True).past_key_values
        with pytest.raises(ValueError, match="cache"):
            model(tokens(1)[0], past_key_values=cache)
        with pytest.raises(ValueError, match="without masks"):
            logits(model, {"input_ids": tokens(LENGTH)[0], "attention_mask": torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool)})


def test_chunks_refuse_a_model_with_local_layers_and_leave_it_alone(unchecked):
    model = by_name("gemma3").build()
    config = model.config
    with pytest.raises(ValueError, match="local by themselves, which chunks do not compute"):
        clexlab.sparsify(model, FULL_ROWS, kernel=hf.Chunked)
    assert model.config is config


def test_the_block_mask_of_flex_attention_is_the_pattern_after_padding():
    model = by_name("llama").build()
    pattern, batch = EMPTY[1], pad(tokens(17, LENGTH))
    clexlab.sparsify(model, pattern, kernel=hf.Flex)
    block = kernels.flex_mask(2, LENGTH, LENGTH, attention_mask=batch["attention_mask"].bool(), config=model.config)
    asked = block.mask_mod
    for places in ((None, None, None, 0), (None, None, 0, None), (None, 0, None, None), (0, None, None, None)):
        asked = torch.vmap(asked, in_dims=places)
    found = asked(torch.arange(2), torch.arange(4), torch.arange(LENGTH), torch.arange(LENGTH))
    wanted = kernels.masked_mask(2, LENGTH, LENGTH, attention_mask=batch["attention_mask"].bool(), config=model.config)
    real = batch["attention_mask"].bool()
    assert block.shape == (2, 4, LENGTH, LENGTH)
    for row in range(2):
        assert torch.equal(found[row][:, real[row]], wanted[row][:, real[row]])


def test_flex_attention_gives_the_logits_of_masks(monkeypatch):
    """Uncompiled, and without the compiler's tracing: that takes minutes on a busy core and is tested where there is a GPU."""

    def uncompiled(*given, training, **others):
        return flex.flex_attention(*given, **others)

    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(flex_integration, "compile_friendly_flex_attention", uncompiled)
    check_flex(by_name("llama").build())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiled flex attention is for a GPU")
def test_compiled_flex_attention_gives_the_logits_of_masks():
    check_flex(by_name("llama").build().to("cuda"))


def check_flex(model):
    batch = {key: value.to(model.device) for key, value in pad(tokens(17, LENGTH), "right").items()}
    real, found = batch["attention_mask"].bool(), []
    for kernel in (hf.Masked, hf.Flex):
        with clexlab.sparsified(model, EMPTY[0], kernel=kernel):
            found.append(logits(model, batch)[real])
    torch.testing.assert_close(found[1], found[0], **SAME)


# Beside `extend`, peft and training.


def test_a_pattern_and_a_path_are_put_on_and_off_in_either_order():
    model = by_name("llama").build()
    path, batch = hf.scaling_for(model, scaling.YaRN), {"input_ids": tokens(LENGTH)[0]}
    config, plain = model.config, logits(model, batch)
    with clexlab.extended(model, path, factor=4.0):
        extended = logits(model, batch)
        wanted = layers_of_the_mask(model, FULL_ROWS)
        with clexlab.sparsified(model, FULL_ROWS):
            both = logits(model, batch)
        assert torch.equal(logits(model, batch), extended)
    torch.testing.assert_close(both, wanted, **SAME)
    with clexlab.sparsified(model, FULL_ROWS), clexlab.extended(model, path, factor=4.0):
        assert torch.equal(logits(model, batch), both)
    assert model.config is config and torch.equal(logits(model, batch), plain)


def test_undone_in_the_wrong_order_nothing_is_lost():
    model, batch = by_name("llama").build(), {"input_ids": tokens(LENGTH)[0]}
    path = hf.scaling_for(model, scaling.YaRN)
    plain = logits(model, batch)
    clexlab.sparsify(clexlab.extend(model, path, factor=4.0), FULL_ROWS)
    both = logits(model, batch)
    with pytest.raises(ValueError, match="undo the last change first"):
        clexlab.restore(model)
    assert torch.equal(logits(model, batch), both)
    clexlab.restore(clexlab.unsparsify(model))
    clexlab.extend(clexlab.sparsify(model, FULL_ROWS), path, factor=4.0)
    with pytest.raises(ValueError, match="undo the last change first"):
        clexlab.unsparsify(model)
    clexlab.unsparsify(clexlab.restore(model))
    assert torch.equal(logits(model, batch), plain)


def test_a_sparsified_model_is_saved_as_an_ordinary_one(tmp_path):
    model, batch = by_name("llama").build(), {"input_ids": tokens(LENGTH)[0]}
    plain = logits(model, batch)
    clexlab.sparsify(model, FULL_ROWS).save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert "clexlab" not in (tmp_path / "config.json").read_text() and torch.equal(logits(again, batch), plain)


def test_a_copy_is_sparse_and_undone_on_its_own():
    model, batch = by_name("llama").build(), {"input_ids": tokens(LENGTH)[0]}
    plain = logits(model, batch)
    clexlab.sparsify(model, FULL_ROWS)
    copied, both = copy.deepcopy(model), logits(model, batch)
    assert torch.equal(logits(clexlab.unsparsify(copied), batch), plain) and torch.equal(logits(model, batch), both)


def test_modes_and_settings_made_meanwhile_stay():
    model = by_name("llama").build().train()
    model.model.layers[0].eval()
    config = model.config
    clexlab.sparsify(model, FULL_ROWS)
    assert model.training and not model.model.layers[0].training and model.model.layers[1].training
    model.config.use_cache = False
    clexlab.unsparsify(model)
    assert config.use_cache is False and config._attn_implementation == "sdpa" and not hasattr(config, "clexlab_sparse")
    assert hf.pattern_of(clexlab.sparsify(model, FULL_ROWS)) == FULL_ROWS


# What is refused.


def test_what_cannot_be_is_refused_with_a_reason(unchecked):
    model = by_name("llama").build()
    for given, says in (
        (lambda: clexlab.sparsify("llama", FULL_ROWS), "pass a model"),
        (lambda: clexlab.sparsify(torch.nn.Linear(2, 2), FULL_ROWS), "Linear"),
        (lambda: clexlab.sparsify(model, sparse.S2), "pattern is"),
        (lambda: clexlab.sparsify(model, FULL_ROWS, kernel="flex"), "hf.Flex"),
        (lambda: clexlab.sparsify(model, sparse.Dilated(segment=6, ratio=3)), "4 heads"),
        (lambda: clexlab.unsparsify(model), "not sparsified"),
        (lambda: hf.pattern_of(model), "not sparsified"),
    ):
        with pytest.raises(ValueError, match=says):
            given()
    clexlab.sparsify(model, FULL_ROWS)
    with pytest.raises(ValueError, match="sparsified already"):
        clexlab.sparsify(model, FULL_ROWS)
    four = torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool).tril()
    with pytest.raises(ValueError, match="not the pattern's own"):
        logits(model, {"input_ids": tokens(LENGTH)[0], "attention_mask": four})
    with pytest.raises(ValueError, match="several texts"):
        logits(model, {"input_ids": tokens(LENGTH)[0], "position_ids": torch.arange(LENGTH)[None] % 12})
    with pytest.raises(ValueError, match="holds no token"):
        logits(model, {"input_ids": tokens(LENGTH)[0], "attention_mask": torch.zeros(1, LENGTH, dtype=torch.long)})
    clexlab.unsparsify(model)
    with clexlab.sparsified(model, sparse.RolledS2(chunk=8)):
        cache = model(tokens(8)[0], use_cache=True).past_key_values
        with pytest.raises(ValueError, match="no cache holds"):
            model(tokens(8)[0], past_key_values=cache)
    model.set_attn_implementation("eager")
    other = clexlab.sparsify(model, FULL_ROWS)
    assert clexlab.unsparsify(other).config._attn_implementation == "eager"


def test_an_attention_of_clexlab_already_in_the_place_is_refused():
    model = by_name("llama").build()
    transformers_name = "clexlab_other"
    hf_models.transformers.AttentionInterface.register(transformers_name, kernels.masked_attention)
    model.config._attn_implementation_internal = transformers_name
    with pytest.raises(ValueError, match="clexlab_other"):
        clexlab.sparsify(model, FULL_ROWS)
