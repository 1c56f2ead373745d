"""LoRA with embeddings and norms, on a sparse and extended model, through the one way of training."""

import pytest
import torch
from hf_models import VOCABULARY, by_name, tokens
from safetensors.torch import load_file

import clexlab
from clexlab import hf, positions, rows, scaling, sparse, training

peft = pytest.importorskip("peft")
LENGTH = 16
PLAN = training.Plan(steps=2, rows=2, rate=1e-2, log_every=1)


def data(length=LENGTH):
    drawn = torch.randint(2, VOCABULARY, (PLAN.steps * PLAN.rows, length), generator=torch.Generator().manual_seed(0))
    return rows.Rows(drawn, ["text"] * len(drawn))


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_low_ranks_in_attention_and_embeddings_and_norms_in_full_are_what_is_trained():
    model = hf.low_rank(by_name("llama").build(layers=1), rank=4, alpha=8)
    trained = {name.removeprefix("base_model.model.") for name, weight in model.named_parameters() if weight.requires_grad}
    low = {
        f"model.layers.0.self_attn.{name}.lora_{side}.default.weight" for name in ("q_proj", "k_proj", "v_proj", "o_proj") for side in "AB"
    }
    full = {f"model.{name}.modules_to_save.default.weight" for name in ("embed_tokens", "norm")}
    inside = {f"model.layers.0.{name}.modules_to_save.default.weight" for name in ("input_layernorm", "post_attention_layernorm")}
    assert trained == low | full | inside
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha) == (4, 8)


@pytest.mark.parametrize("kernel", [hf.Masked, hf.Chunked])
@pytest.mark.parametrize("pattern", [sparse.S2(chunk=8), sparse.SCCAFlow(chunk=4, chunks=4)], ids=repr)
def test_a_sparse_extended_model_learns_with_low_ranks_and_reads_with_full_attention(pattern, kernel, tmp_path):
    model = by_name("llama").build(window=8)
    # At first a low-rank update is zero: the same model as before, whatever is wrapped around.
    plain = model(tokens(LENGTH)[0]).logits.detach()
    model = hf.low_rank(model)
    torch.testing.assert_close(model(tokens(LENGTH)[0]).logits, plain)
    clexlab.extend(model, hf.scaling_for(model, scaling.YaRN), factor=2.0)
    clexlab.sparsify(model, pattern, kernel=kernel)
    before, sparse_logits = weights(model), model(tokens(LENGTH)[0]).logits.detach()
    done = training.train(model, data(), PLAN, folder=tmp_path)
    assert len(done.curve) == 2 and all(entry["loss"] > 0 for entry in done.curve)
    for name, weight in model.named_parameters():
        # A low-rank matrix A moves only once B has.
        assert torch.isfinite(weight).all() and torch.equal(weight, before[name]) == (not weight.requires_grad), name
    model.eval()
    with torch.no_grad():
        assert not torch.equal(model(tokens(LENGTH)[0]).logits, sparse_logits)
        wanted = model(tokens(LENGTH)[0]).logits
        clexlab.unsparsify(model)
        full = model(tokens(LENGTH)[0]).logits
        assert torch.isfinite(full).all() and (full - wanted).abs().max() > 1e-3
        with clexlab.sparsified(model, sparse.Local(chunk=LENGTH)):
            torch.testing.assert_close(model(tokens(LENGTH)[0]).logits, full, rtol=0, atol=2e-5)
        clexlab.restore(model)


def test_gradient_checkpoints_give_the_same_gradients():
    found = []
    for checkpoints in (False, True):
        model = clexlab.sparsify(by_name("llama").build(), sparse.SCCAFlow(chunk=4, chunks=4)).train()
        if checkpoints:
            model.gradient_checkpointing_enable()
        model(tokens(LENGTH)[0], labels=tokens(LENGTH)[0], use_cache=False).loss.backward()
        found.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_positions_drawn_in_training_leave_the_pattern_on_the_tokens():
    model = by_name("llama").build(layers=1, window=LENGTH)
    sampler = positions.SkipWise(window=LENGTH, factors=positions.FixedFactor(2.0))
    clexlab.extend(model, hf.scaling_for(model, scaling.Linear), positions=sampler)
    # Local chunks, and those of S2 that begin half a chunk earlier.
    for pattern, first in ((sparse.Local(chunk=4), 8), (sparse.S2(chunk=8), 4)):
        with clexlab.sparsified(model.train(), pattern):
            embedded = model.get_input_embeddings()(tokens(LENGTH)[0]).detach().requires_grad_()
            model(inputs_embeds=embedded, use_cache=False).logits[0, 10].sum().backward()
        assert embedded.grad[0].abs().sum(-1).nonzero().flatten().tolist() == list(range(first, 11))


def test_counted_positions_need_their_own_mask_and_are_refused_beside_a_pattern():
    model = by_name("llama").build(window=LENGTH)
    sampler = positions.Diluted(positions.SkipWise(window=LENGTH, factors=positions.FixedFactor(2.0)))
    clexlab.extend(model, hf.scaling_for(model, scaling.Linear), positions=sampler)
    clexlab.sparsify(model, sparse.S2(chunk=8)).train()
    with pytest.raises(ValueError, match="clexlab_sparse attention; Diluted positions need full attention"):
        model(tokens(LENGTH)[0], use_cache=False)


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_is_saved_and_loaded_with_its_embeddings_and_norms(tied, tmp_path):
    model = hf.low_rank(by_name("llama").build(tie_word_embeddings=tied))
    stock = model.base_model.model
    # The lab's base model writes with the matrix it reads with, and must go on doing so.
    assert (stock.lm_head.weight is stock.get_input_embeddings().weight) == tied
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.01)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(by_name("llama").build(tie_word_embeddings=tied), tmp_path).eval()
    torch.testing.assert_close(again(tokens(LENGTH)[0]).logits, model.eval()(tokens(LENGTH)[0]).logits)


@pytest.mark.parametrize("learned", ["field", "field_and_temperature"])
def test_a_learned_scaling_is_trained_and_saved_with_the_adapter(learned, tmp_path):
    def extended():
        model = by_name("llama").build(layers=1, window=8)
        path = hf.scaling_for(model, scaling.CLEX)
        if learned == "field_and_temperature":
            path = scaling.CLEX(head_dim=path.head_dim, base=path.base, window=path.window, temperature=scaling.Temperature())
        return clexlab.extend(model, path, factor=2.0)

    model = hf.low_rank(extended())
    clexlab.sparsify(model, sparse.S2(chunk=8))
    path = {name for name, weight in model.named_parameters() if ".scaling." in name and weight.requires_grad}
    before = weights(model)
    training.train(model, data(), PLAN, folder=tmp_path / "log")
    # The last layer of a field begins at zero; the first moves once that has.
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert path and path <= moved
    model.save_pretrained(tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {name.replace(".modules_to_save.default", "") for name in path} == {name for name in saved if ".scaling." in name}
    clexlab.unsparsify(model)
    again = peft.PeftModel.from_pretrained(extended(), tmp_path / "adapter").eval()
    torch.testing.assert_close(again(tokens(LENGTH)[0]).logits, model.eval()(tokens(LENGTH)[0]).logits)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused_with_a_reason():
    for given, says in ((dict(rank=0), "rank is 0"), (dict(alpha=1.5), "alpha is 1.5")):
        with pytest.raises(ValueError, match=says):
            hf.low_rank(by_name("llama").build(layers=1), **given)
    with pytest.raises(ValueError, match="no module of attention"):
        hf.low_rank(torch.nn.Sequential(torch.nn.Linear(2, 2)))
