"""An export is a stock checkpoint: unmodified transformers gives the extended model's logits, for every architecture and method."""

import json
import math
import os
from pathlib import Path

import hf_models
import pytest
import torch
import transformers
from torch import nn

from clexlab import hf, ode, scaling
from clexlab.hf import exporting

FACTOR = 4.0
WINDOW = hf_models.WINDOW
# Within the window, at it, one beyond it, and up to window · factor.
TEXTS = hf_models.tokens(20, WINDOW, WINDOW + 1, int(WINDOW * FACTOR))
LLAMA = hf_models.by_name("llama")


def lively(model: nn.Module, **options: object) -> scaling.CLEX:
    found = hf.geometry(model)
    generator = torch.Generator().manual_seed(1)
    field = ode.fill_normal(ode.BoundedField(found.pairs, generator=generator), 0.3, generator)
    return scaling.CLEX(head_dim=found.head_dim, base=found.base, window=found.window, field=field, **options)


def path_for(model: nn.Module, method: type[scaling.Path]) -> scaling.Path:
    return lively(model) if method is scaling.CLEX else hf.scaling_for(model, method)


def difference(model: nn.Module, stock: nn.Module) -> float:
    """Largest logit difference over all texts, as a share of the largest logit (these models are sharp: it is about 4)."""
    with torch.no_grad():
        pairs = [(model(text).logits, stock(text).logits) for text in TEXTS]
    return max((ours - theirs).abs().max().item() for ours, theirs in pairs) / max(1.0, max(ours.abs().max().item() for ours, _ in pairs))


def exported(model: nn.Module, path: scaling.Path, folder: Path, factor: float = FACTOR) -> nn.Module:
    hf.extend(model, path, factor=factor)
    exporting.export(model, factor, folder)
    stock = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert type(stock) is type(model)
    return stock


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
def test_stock_transformers_gives_the_logits_of_every_architecture_with_clex(tiny, tmp_path):
    model = tiny.build()
    stock = exported(model, lively(model), tmp_path / "out")
    # Frequencies agree to one unit in the last place, which a position of 128 and sharp scores turn into about 1e-5 of a logit.
    assert difference(model, stock) <= 1e-5
    assert stock.config.max_position_embeddings == WINDOW * FACTOR


@pytest.mark.parametrize("method", scaling.SCALINGS)
def test_stock_transformers_gives_the_logits_of_every_method(method, tmp_path):
    model = LLAMA.build()
    path = path_for(model, method)
    stock = exported(model, path, tmp_path / "out")
    assert difference(model, stock) <= 1e-5
    # The type of transformers that the method has; CLEX and LongRoPE are longrope.
    assert stock.config.rope_parameters["rope_type"] == path.rope_parameters(FACTOR)["rope_type"]


def test_ordinary_weights_agree_to_1e_5_at_sixteen_times_the_window(tmp_path):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(LLAMA.make_config()).eval()
    stock = exported(model, lively(model), tmp_path / "out", factor=16.0)
    text = hf_models.tokens(16 * WINDOW)[0]
    with torch.no_grad():
        torch.testing.assert_close(stock(text).logits, model(text).logits, rtol=0, atol=1e-5)


def test_another_factor_would_be_seen(tmp_path):
    model = LLAMA.build()
    path = lively(model)
    stock = exported(model, path, tmp_path / "out")
    hf.restore(model)
    hf.extend(model, path, factor=FACTOR + 0.1)
    assert difference(model, stock) > 1e-2


@pytest.mark.parametrize("method", [scaling.Linear, scaling.YaRN, scaling.Llama3])
def test_phi3_takes_longrope_where_other_models_take_the_methods_own_type(method, tmp_path):
    model = hf_models.by_name("phi3").build()
    stock = exported(model, hf.scaling_for(model, method), tmp_path / "out")
    assert stock.config.rope_parameters["rope_type"] == "longrope"
    assert stock.config.original_max_position_embeddings == WINDOW
    assert difference(model, stock) <= 1e-5


@pytest.mark.parametrize(
    "path",
    [
        scaling.YaRN(head_dim=16, base=1e4, window=WINDOW, ramp=scaling.TurnsRamp(slow=0.5, fast=4.0)),
        scaling.YaRN(head_dim=16, base=1e4, window=WINDOW, ramp=scaling.UnroundedIndexRamp(slow=0.3, fast=3.0), mscale=0.5),
        scaling.ByParts(head_dim=16, base=1e4, window=WINDOW, blend=scaling.WavelengthBlend()),
        scaling.DynamicNTK(head_dim=16, base=1e4, window=WINDOW, rate=0.7),
    ],
)
def test_options_without_a_stock_type_of_their_own_export_too(path, tmp_path):
    model = LLAMA.build()
    assert difference(model, exported(model, path, tmp_path / "out")) <= 1e-5


def test_in_a_model_of_two_layer_types_only_full_attention_changes(tmp_path):
    model = hf_models.by_name("gemma3").build()
    before = json.loads(json.dumps(model.config.rope_parameters))
    after = exported(model, hf.scaling_for(model, scaling.YaRN), tmp_path / "out").config.rope_parameters
    assert after["sliding_attention"] == before["sliding_attention"]
    assert (after["full_attention"]["rope_type"], after["full_attention"]["rope_theta"]) == ("yarn", before["full_attention"]["rope_theta"])


def test_a_yarn_that_nested_configs_get_wrong_falls_back_to_longrope(tmp_path):
    # transformers reads `truncate` beside, not inside, the entry of a layer type.
    model = hf_models.by_name("gemma3").build()
    ramp = scaling.UnroundedIndexRamp(slow=0.01, fast=2.0)
    stock = exported(model, scaling.YaRN(head_dim=16, base=1e6, window=WINDOW, ramp=ramp), tmp_path / "out")
    assert stock.config.rope_parameters["full_attention"]["rope_type"] == "longrope"
    assert difference(model, stock) <= 1e-5


def test_partial_rotary_models_keep_their_share_and_base(tmp_path):
    model = hf_models.by_name("phi").build()
    entry = exported(model, lively(model), tmp_path / "out").config.rope_parameters
    assert (entry["partial_rotary_factor"], entry["rope_theta"], len(entry["long_factor"])) == (0.5, 1e4, 4)


def test_longrope_divisors_are_the_ratio_of_frequencies_whatever_the_length(tmp_path):
    model = LLAMA.build()
    path = lively(model)
    entry = exported(model, path, tmp_path / "out").config.rope_parameters
    assert entry["short_factor"] == entry["long_factor"]
    divisors = torch.tensor(entry["long_factor"], dtype=torch.float64)
    # Moved by at most four units in the last place of float32.
    torch.testing.assert_close(divisors, 1 / path.ratio(FACTOR).detach(), rtol=4e-7, atol=0)


def vllm_temperature(entry: dict) -> float:
    """What vLLM multiplies cos and sin by, from its two longrope and yarn formulas (read in its source, not run)."""
    t, window = entry["factor"], entry["original_max_position_embeddings"]
    if entry["rope_type"] == "longrope":
        return entry.get("long_mscale", math.sqrt(1 + math.log(t) / math.log(window)))
    return (0.1 * math.log(t) + 1) * entry.get("attn_factor", 1)


@pytest.mark.parametrize("method", [scaling.ByParts, scaling.YaRN, scaling.LongRoPE, scaling.CLEX])
def test_vllm_finds_the_temperature_under_its_own_names(method):
    model = LLAMA.build(layers=1)
    path = path_for(model, method)
    hf.extend(model, path)
    entry = exporting.stock_config(model, FACTOR).rope_parameters
    assert vllm_temperature(entry) == pytest.approx(path.attention_scale(FACTOR), rel=1e-9)
    assert entry["attention_factor"] == path.attention_scale(FACTOR)
    # No key that transformers would remark on where vLLM's formula is the method's.
    assert not {"short_mscale", "attn_factor"} & set(entry) or method in (scaling.ByParts, scaling.CLEX)


def test_the_weights_are_stock_and_sharded_where_asked_and_bf16_stays(tmp_path):
    model = LLAMA.build().to(torch.bfloat16)
    stock = exported(model, lively(model), tmp_path / "out")
    assert stock.dtype == torch.bfloat16 and not any("scaling" in name for name in stock.state_dict())
    assert difference(model, stock) <= 1e-5


def test_the_live_model_is_unchanged(tmp_path):
    model = LLAMA.build()
    hf.extend(model, lively(model), cache="rerotate")
    config, kind, text = model.config, type(model.config), TEXTS[-1]
    before, state = model.config.to_dict(), {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        wanted = model(text).logits
        exporting.export(model, FACTOR, tmp_path / "out")
        assert torch.equal(model(text).logits, wanted)
    assert model.config is config and type(config) is kind and config.to_dict() == before
    assert all(torch.equal(state[name], weight) for name, weight in model.state_dict().items())
    hf.restore(model)
    assert model.config.rope_parameters["rope_type"] == "default"


def test_a_model_that_chooses_its_factor_exports_any(tmp_path):
    model = LLAMA.build()
    path = hf.scaling_for(model, scaling.YaRN)
    hf.extend(model, path)
    exporting.export(model, 2.5, tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.max_position_embeddings, config.rope_parameters["factor"]) == (80, 2.5)


def test_the_tokenizers_files_come_along_unchanged(tmp_path):
    (tmp_path / "in").mkdir()
    model = LLAMA.build()
    model.save_pretrained(tmp_path / "in")
    (tmp_path / "in" / "tokenizer_config.json").write_text('{"model_max_length": 32}')
    (tmp_path / "in" / "notes.txt").write_text("mine")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "in")
    exported(model, hf.scaling_for(model, scaling.YaRN), tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer_config.json").read_text() == '{"model_max_length": 32}'
    assert not (tmp_path / "out" / "notes.txt").exists()


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    model = LLAMA.build(layers=1)
    hf.extend(model, hf.scaling_for(model, scaling.Linear))
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "deep"):
        exporting.export(model, 2, folder)
        assert {"config.json", "model.safetensors"} <= set(os.listdir(folder))
        assert os.listdir(folder.parent) == [folder.name] or folder.parent == tmp_path


def refuse(model: nn.Module, factor: float, folder: Path, message: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ValueError, match=message):
        exporting.export(model, factor, folder)
    assert sorted(folder.parent.rglob("*")) == before


def test_bad_input_is_refused_and_nothing_is_written(tmp_path):
    model = LLAMA.build(layers=1)
    refuse(model, 2, tmp_path / "out", "not extended")
    hf.extend(model, lively(model, max_factor=8.0))
    refuse(model, 9, tmp_path / "out", "outside 1 … 8.*larger max_factor")
    refuse(model, 0.5, tmp_path / "out", "outside 1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all I have")
    refuse(model, 2, tmp_path / "full", "not an empty folder")
    refuse(model, 2, tmp_path / "full" / "thesis.txt", "not an empty folder")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "all I have"


def test_a_config_that_does_not_reproduce_the_angles_is_never_left_behind(tmp_path, monkeypatch):
    model = LLAMA.build(layers=1)
    path = hf.scaling_for(model, scaling.YaRN)
    hf.extend(model, path)
    wrong = exporting.stock_config(model, 3.0)
    monkeypatch.setattr(exporting, "stock_config", lambda model, factor: wrong)
    refuse(model, 4, tmp_path / "out", "other frequencies than YaRN at factor 4")
    monkeypatch.undo()
    # And where no stock type can: frequencies that no list of divisors makes.
    monkeypatch.setattr(exporting.torch, "allclose", lambda *given, **tolerances: False)
    refuse(model, 4, tmp_path / "out", "no stock rope type gives LlamaForCausalLM these frequencies.*yarn.*longrope")


def long_model(head_dim: int, base: float, window: int) -> nn.Module:
    """The geometry of a real model, one small layer."""
    sizes = dict(hidden_size=2 * head_dim, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, vocab_size=20)
    rope = {"rope_type": "default", "rope_theta": base}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, max_position_embeddings=window, rope_parameters=rope))


@pytest.mark.parametrize("geometry", [(128, 1e6, 32_768), (256, 1e7, 4096), (96, 1e4, 4096)])
@pytest.mark.parametrize("method", [scaling.YaRN, scaling.Llama3, scaling.NTK, scaling.ABF])
def test_real_geometries_keep_the_methods_own_type_at_every_factor(geometry, method):
    model = long_model(*geometry)
    hf.extend(model, hf.scaling_for(model, method))
    own = hf.rotary_of(model).scaling.rope_parameters(2.0)["rope_type"]
    assert {exporting.stock_config(model, factor).rope_parameters["rope_type"] for factor in (1.3, 4.0, 16.0, 64.0)} == {own}


def test_a_config_that_is_off_by_more_than_float32_rounds_is_refused(tmp_path, monkeypatch):
    model = LLAMA.build(layers=1)
    hf.extend(model, hf.scaling_for(model, scaling.YaRN))
    wrong = exporting.stock_config(model, 4.0)
    # θ of the slowest of 8 pairs is base^(-7/8): off by 1.3e-6.
    wrong.rope_parameters["rope_theta"] *= 1 + 1.5e-6
    monkeypatch.setattr(exporting, "stock_config", lambda model, factor: wrong)
    refuse(model, 4, tmp_path / "out", "other frequencies than YaRN at factor 4.*relative error 1.*e-06")


def test_a_peft_model_is_merged_first(tmp_path):
    peft = pytest.importorskip("peft")
    model = LLAMA.build(layers=1)
    path = lively(model)
    hf.extend(model, path, factor=FACTOR)
    tuned = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    refuse(tuned, FACTOR, tmp_path / "out", "merge_and_unload")
    merged = tuned.merge_and_unload()
    exporting.export(merged, FACTOR, tmp_path / "out")
    assert difference(merged, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")) <= 1e-5
