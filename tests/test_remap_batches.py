"""Models read through a map: padding, other caches, precision, gradients and checkpoints."""

import copy

import hf_models
import map_oracle
import pytest
import torch
from hf_models import pad, tokens
from map_oracle import CLOSE, LENGTH, SMALL, built, inv_freq, named

import clexlab
from clexlab import scaling
from clexlab.hf import map_plan
from clexlab.positions.maps import GALI, DualChunk, SelfExtend, Sinks

# ---------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_a_padded_row_reads_as_it_does_alone(m, side):
    rows = tokens(LENGTH, 6, 13)
    model = clexlab.remap(built(), m)
    batch = pad(rows, side)
    found = model(**batch).logits
    counted = model(**batch, position_ids=(batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)).logits
    for index, row in enumerate(rows):
        real = batch["attention_mask"][index].bool()
        torch.testing.assert_close(found[index, real], model(row).logits[0], **CLOSE)
        torch.testing.assert_close(counted[index, real], model(row).logits[0], **CLOSE)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("m", [m for m in SMALL if isinstance(m, SelfExtend | DualChunk | GALI)], ids=named)
def test_generation_of_a_padded_batch_is_that_of_each_row(m):
    rows = tokens(15, 6, 11)
    model = clexlab.remap(built(), m)
    found = model.generate(**pad(rows), max_new_tokens=5, do_sample=False)
    for index, row in enumerate(rows):
        assert found[index, -5:].tolist() == model.generate(row, max_new_tokens=5, do_sample=False)[0, -5:].tolist()


@pytest.mark.parametrize("options", [{"cache_implementation": "static"}, {"num_beams": 2}], ids=["static_cache", "beams"])
@pytest.mark.parametrize("m", [SelfExtend(window=8, near=4, group=3), Sinks(window=8, sinks=2, recent=5)], ids=named)
def test_other_caches_and_beams_generate_what_no_cache_does(m, options):
    model, (row,) = clexlab.remap(built(), m), tokens(14)
    told = model.generate(**pad([row, tokens(9)[0]]), max_new_tokens=6, do_sample=False, **options)
    plain = {name: value for name, value in options.items() if name != "cache_implementation"}
    again = model.generate(**pad([row, tokens(9)[0]]), max_new_tokens=6, do_sample=False, use_cache=False, **plain)
    assert told.tolist() == again.tolist()


@pytest.mark.parametrize("name", ["qwen3", "gemma2", "gemma3"])
def test_static_caches_of_models_with_several_kinds_of_layers_generate_what_no_cache_does(name):
    model, rows = clexlab.remap(hf_models.by_name(name).build(), SelfExtend(window=8, near=4, group=3)), tokens(14, 9)
    told, again = (
        model.generate(**pad(rows), max_new_tokens=6, do_sample=False, **options)
        for options in ({"cache_implementation": "static"}, {"use_cache": False})
    )
    assert told.tolist() == again.tolist()


@torch.no_grad()
def test_rows_at_their_own_factors_read_as_they_do_alone():
    model, rows = built(), tokens(LENGTH, 6, 13)
    path = scaling.YaRN.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    clexlab.remap(clexlab.extend(model, path), SelfExtend(window=8, near=4, group=2))
    batch = pad(rows)
    found = model(**batch).logits
    for index, row in enumerate(rows):
        torch.testing.assert_close(found[index, batch["attention_mask"][index].bool()], model(row).logits[0], **CLOSE)


# ---------------------------------------------------------------------------------------- precision and derivatives


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_bfloat16_is_off_by_at_most_twice_what_plain_attention_is(m):
    model, row = built(), torch.cat(tokens(*[LENGTH] * 8))
    half = copy.deepcopy(model).bfloat16()
    # Frequencies stay what they are; that a model's own cast rounds them is no matter of the map.
    half.get_decoder().rotary_emb.inv_freq = model.get_decoder().rotary_emb.inv_freq.clone()
    # Turned once more, keys are rounded once more.
    plain = (half(row).logits.float() - model(row).logits).norm()
    mapped = (clexlab.remap(half, m)(row).logits.float() - clexlab.remap(model, m)(row).logits).norm()
    assert half(row).logits.dtype == torch.bfloat16 and mapped < 2 * plain


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_a_padded_batch_is_read_under_autocast(m):
    model, batch = clexlab.remap(built(), m), pad(tokens(LENGTH, 6))
    wanted = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(**batch).logits
    real = batch["attention_mask"].bool()
    assert (found.float() - wanted)[real].norm() < 0.1 * wanted[real].norm()


@pytest.mark.parametrize("m", SMALL, ids=named)
def test_gradients_are_the_dense_loops(m, monkeypatch):
    monkeypatch.setattr(map_plan, "BLOCK", 5)
    monkeypatch.setattr(map_plan, "LEAST", 5)
    model, (row,) = built(layers=1), tokens(LENGTH)
    weight = torch.randn(1, LENGTH, hf_models.VOCABULARY)
    with map_oracle.dense(model, m.relative(LENGTH), inv_freq(), mixed=m.mixes) as dense:
        (dense(row).logits * weight).sum().backward()
    (clexlab.remap(model, m)(row).logits * weight).sum().backward()
    for (name, mine), (_, wanted) in zip(model.named_parameters(), dense.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, atol=2e-4 * float(wanted.grad.abs().max()), rtol=1e-3, msg=name)


def test_gradients_reach_a_learned_path_also_through_checkpoints():
    model, (row,) = built(), tokens(LENGTH)
    path = scaling.CLEX.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    with torch.no_grad():
        for number, weight in enumerate(path.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * 0.1)
    clexlab.remap(clexlab.extend(model, path), SelfExtend(window=8, near=4, group=2)).train()
    found = []
    for checkpoints in (False, True):
        if checkpoints:
            hf_models.checkpoint(model)
        model.zero_grad()
        model(row, labels=row).loss.backward()
        found.append([weight.grad.clone() for weight in path.parameters()])
    assert all(bool(grad.abs().sum() > 0) for grad in found[0])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))
