"""Official CLEX checkpoints and peft adapters: loaded whole, with what they trained, or refused."""

import copy
import json
from pathlib import Path

import hf_models
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from clexlab import hf, ode, scaling
from clexlab.hf import saving

peft = pytest.importorskip("peft")

TEXT = hf_models.tokens(100)[0]
LLAMA = hf_models.by_name("llama")
ADAPTER = "adapter_model.safetensors"


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TEXT).logits


def official_weights(head_dim: int, width: int = 1) -> dict[str, torch.Tensor]:
    """A field in the official layout, large enough to move the frequencies, and the buffer the released files carry."""
    generator = torch.Generator().manual_seed(5)
    field = ode.fill_normal(ode.OfficialField(head_dim, 1e4, width, generator=generator), 0.05, generator)
    names = {"ode_up_proj": field.ode_up_proj, "ode_down_proj": field.ode_down_proj}
    weights = {f"model.clex_layer.proj_func.{name}": weight.detach().contiguous() for name, weight in names.items()}
    return weights | {"model.clex_layer.inv_freq": 1e4 ** -(torch.arange(0, head_dim, 2) / head_dim)}


def write_official(folder: Path, name: str = "llama", dtype: torch.dtype = torch.float32, **rope_scaling: object) -> nn.Module:
    """A small model written as the official repository releases them; returns the model without its CLEX part."""
    tiny = hf_models.by_name(name)
    model = tiny.build(layers=1).to(dtype)
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors") | official_weights(tiny.rotary_dim, rope_scaling.get("param_factor", 1))
    save_file({name: weight.to(dtype) for name, weight in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    # As transformers 4 wrote it.
    config |= {key: value for key, value in rope.items() if key != "rope_type"} | {"torch_dtype": config.pop("dtype")}
    config["rope_scaling"] = {
        "type": "clex",
        "max_factor": 16,
        "param_factor": 1,
        "act": "tanh",
        "time_dt": 0.01,
        "factor": 1,
    } | rope_scaling
    (folder / "config.json").write_text(json.dumps(config))
    return model


@pytest.mark.parametrize("name", ["llama", "phi", "mixtral"])
def test_an_official_checkpoint_is_its_model_with_its_own_path(name, tmp_path):
    base = write_official(tmp_path, name, param_factor=2)
    config = json.loads((tmp_path / "config.json").read_text())
    hf.extend(base, scaling.CLEX.official(official_weights(hf_models.by_name(name).rotary_dim, 2), config))
    loaded = saving.load(tmp_path)
    assert torch.equal(logits(loaded), logits(base))
    hf.rotary_of(base).scaling.field.ode_down_proj.data.zero_()
    assert (logits(loaded) - logits(base)).abs().max() > 0.1
    assert isinstance(hf.rotary_of(loaded).scaling.field, ode.OfficialField)


def test_the_first_release_without_act_and_in_bf16_loads(tmp_path):
    write_official(tmp_path, dtype=torch.bfloat16)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_scaling"]["act"], config["rope_theta"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = saving.load(tmp_path, cache="rerotate")
    field = hf.rotary_of(loaded).scaling.field
    assert isinstance(field.act, nn.SiLU) and field.ode_up_proj.dtype == torch.float32 and loaded.dtype == torch.bfloat16
    assert hf.rotary_of(loaded).cache is hf.Rerotate


def test_an_official_checkpoint_is_saved_again_as_ours(tmp_path):
    write_official(tmp_path / "official")
    loaded = saving.load(tmp_path / "official")
    loaded.save_pretrained(tmp_path / "ours")
    assert torch.equal(logits(saving.load(tmp_path / "ours")), logits(loaded))


def test_log_scaled_attention_is_not_ignored_silently(tmp_path):
    write_official(tmp_path, log_scale=True)
    with pytest.raises(ValueError, match=r"log_scale.*FlashAttention.*scaling=hf\.saving\.official\(path\)"):
        saving.load(tmp_path)
    plain = tmp_path / "plain"
    write_official(plain, log_scale=False)
    assert torch.equal(logits(saving.load(tmp_path, scaling=saving.official(tmp_path))), logits(saving.load(plain)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("model.clex_layer.proj_func.ode_up_proj"), "0 weights end in 'proj_func.ode_up_proj'"),
        (lambda w: w["model.clex_layer.proj_func.ode_up_proj"].fill_(torch.nan), "not finite"),
        (lambda w: w.update({"model.clex_layer.proj_func.ode_up_proj": torch.zeros(8, 8)}), "param_factor"),
        (lambda w: w.pop("model.norm.weight"), "missing_keys.*norm"),
    ],
)
def test_an_official_checkpoint_that_is_not_whole_is_refused(change, message, tmp_path):
    write_official(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    change(weights)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        saving.load(tmp_path)


def extended_on_disk(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A saved model with CLEX, loaded again as a user would before tuning it."""
    model = LLAMA.build(layers=1).to(dtype)
    hf.extend(model, hf.scaling_for(model, scaling.CLEX))
    model.save_pretrained(folder)
    return saving.load(folder)


def tuned(model: nn.Module) -> nn.Module:
    """LoRA on queries and values, the field in full; three steps on one text, beyond the window."""
    return trained(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["field"]))


def trained(model: nn.Module, adapter: "peft.PeftConfig") -> nn.Module:
    model = peft.get_peft_model(model, copy.deepcopy(adapter))
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.05)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model(TEXT, labels=TEXT).loss.backward()
        optimizer.step()
    return model.eval()


def field_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The field in use, whether an adapter wraps it or not."""
    field = hf.rotary_of(model).scaling.field
    return getattr(field, "modules_to_save", {"default": field})["default"].state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_comes_back_exactly_with_the_field_it_trained(dtype, tmp_path):
    model = tuned(extended_on_disk(tmp_path / "base", dtype))
    before, after = field_of(saving.load(tmp_path / "base")), field_of(model)
    assert all((after[name] - before[name]).abs().max() > 0.01 for name in after if "down" in name)
    model.save_pretrained(tmp_path / "adapter")
    again = saving.load(tmp_path / "adapter")
    assert all(torch.equal(weight, field_of(again)[name]) and weight.dtype == torch.float32 for name, weight in after.items())
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "adapter",
    [
        peft.LoraConfig(r=2, target_modules="all-linear"),
        peft.LoraConfig(r=2, target_modules="all-linear", modules_to_save=["field"]),
        peft.LoraConfig(r=2, target_modules=["q_proj", "up", "down"], bias="lora_only"),
    ],
    ids=["all", "all_and_field", "biases"],
)
def test_low_rank_updates_of_the_field_itself_come_back_exactly(adapter, dtype, tmp_path):
    model = trained(extended_on_disk(tmp_path / "base", dtype), adapter)
    theta = hf.rotary_of(model).scaling.inv_freq(3.0)
    model.save_pretrained(tmp_path / "adapter")
    again = saving.load(tmp_path / "adapter")
    assert torch.equal(hf.rotary_of(again).scaling.inv_freq(3.0), theta)
    assert torch.equal(logits(again), logits(model))
    assert not torch.equal(hf.rotary_of(saving.load(tmp_path / "base")).scaling.inv_freq(3.0), theta)


def test_low_rank_updates_of_the_field_merge_into_it_and_are_refused_in_part(tmp_path):
    model = trained(extended_on_disk(tmp_path / "base"), peft.LoraConfig(r=2, target_modules="all-linear"))
    model.save_pretrained(tmp_path / "adapter")
    wanted = logits(model)
    merged = model.merge_and_unload()
    # Folding low-rank updates into a matrix rounds once more, the field's too.
    torch.testing.assert_close(logits(merged), wanted, rtol=0, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits(saving.load(tmp_path / "merged")), logits(merged))
    name = next(name for name in load_file(tmp_path / "adapter" / ADAPTER) if f"{saving.SEAM}field.down.lora_B" in name)
    edit_adapter(tmp_path / "adapter", lambda weights: weights.update({name: torch.zeros(3, 3)}))
    with pytest.raises(ValueError, match="(?s)does not fit its base model.*size mismatch"):
        saving.load(tmp_path / "adapter")
    edit_adapter(tmp_path / "adapter", lambda weights: weights.pop(name))
    with pytest.raises(ValueError, match="lacks .*field.down.lora_B"):
        saving.load(tmp_path / "adapter")


@pytest.mark.parametrize("replaced", ["scaling", "rotary_emb", "rotary_emb.scaling"])
def test_a_copy_of_the_rotary_module_in_an_adapter_is_refused_with_what_to_do(replaced, tmp_path):
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=[replaced])
    peft.get_peft_model(extended_on_disk(tmp_path / "base"), config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=rf"modules_to_save=\['{replaced}'\].*make it anew with modules_to_save=\['field'\]"):
        saving.load(tmp_path / "adapter")


def test_a_merged_adapter_is_saved_and_loaded_like_any_extended_model(tmp_path):
    model = tuned(extended_on_disk(tmp_path / "base"))
    wanted = logits(model)
    merged = model.merge_and_unload()
    # Folding low-rank updates into a matrix rounds once more.
    torch.testing.assert_close(logits(merged), wanted, rtol=0, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    again = saving.load(tmp_path / "merged")
    assert torch.equal(logits(again), logits(merged))
    assert type(hf.rotary_of(again).scaling.field) is ode.BoundedField


def test_an_adapter_on_a_stock_model_needs_the_scaling_it_was_trained_with(tmp_path):
    LLAMA.build(layers=1).save_pretrained(tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    hf.extend(model, hf.scaling_for(model, scaling.CLEX))
    model = tuned(model)
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="stock checkpoint"):
        saving.load(tmp_path / "adapter")
    found = {"head_dim": 16, "base": 1e4, "window": hf_models.WINDOW}
    with pytest.raises(ValueError, match="which the scaling does not have"):
        saving.load(tmp_path / "adapter", scaling=scaling.YaRN(**found))
    again = saving.load(tmp_path / "adapter", scaling=scaling.CLEX(**found))
    assert torch.equal(logits(again), logits(model))


def edit_adapter(folder: Path, change) -> None:
    weights = load_file(folder / ADAPTER)
    change(weights)
    save_file(weights, folder / ADAPTER, metadata={"format": "pt"})


def test_an_adapter_that_lacks_or_spoils_the_field_is_refused(tmp_path):
    tuned(extended_on_disk(tmp_path / "base")).save_pretrained(tmp_path / "adapter")
    name = next(name for name in load_file(tmp_path / "adapter" / ADAPTER) if saving.SEAM in name)
    edit_adapter(tmp_path / "adapter", lambda weights: weights[name].fill_(torch.inf))
    with pytest.raises(ValueError, match="not finite"):
        saving.load(tmp_path / "adapter")
    edit_adapter(tmp_path / "adapter", lambda weights: weights.pop(name))
    with pytest.raises(ValueError, match="lacks .*field"):
        saving.load(tmp_path / "adapter")
    (tmp_path / "adapter" / ADAPTER).rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(ValueError, match="safetensors only"):
        saving.load(tmp_path / "adapter")


def test_an_adapter_without_a_base_model_says_so(tmp_path):
    model = LLAMA.build(layers=1)
    hf.extend(model, hf.scaling_for(model, scaling.CLEX))
    tuned(model).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="names no base model"):
        saving.load(tmp_path / "adapter")


@pytest.mark.parametrize("replaced", ["scaling", "rotary_emb"])
def test_a_copied_rotary_module_says_in_its_first_step_what_to_train(replaced, tmp_path, unchecked):
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=[replaced])
    with pytest.raises(ValueError, match=r"modules_to_save=\['field'\]"):
        trained(extended_on_disk(tmp_path), config)
