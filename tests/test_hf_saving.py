"""Saved and loaded again: logits equal bit for bit, for every architecture and method; nothing missing is ever made up."""

import json
import math
import subprocess
import sys
from pathlib import Path

import hf_models
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from clexlab import hf, ode, scaling
from clexlab.hf import files, saving

# Beyond the window of 32 and not a whole number of windows: t = 4.
TEXT = hf_models.tokens(100)[0]
LLAMA = hf_models.by_name("llama")
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def lively(model: nn.Module, seed: int = 1, **options: object) -> scaling.CLEX:
    """A CLEX on the model's geometry whose field moves the frequencies."""
    found = hf.geometry(model)
    generator = torch.Generator().manual_seed(seed)
    field = ode.fill_normal(ode.BoundedField(found.pairs, generator=generator), 0.3, generator)
    return scaling.CLEX(head_dim=found.head_dim, base=found.base, window=found.window, field=field, **options)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TEXT).logits


def saved(folder: Path, **options: object) -> nn.Module:
    """An extended Llama, written to the folder."""
    model = LLAMA.build(layers=1)
    hf.extend(model, lively(model), **options)
    model.save_pretrained(folder)
    return model


def edit_config(folder: Path, change) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def edit_weights(folder: Path, change, name: str = WEIGHTS) -> None:
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, metadata={"format": "pt"})


@pytest.mark.parametrize("tiny", hf_models.MODELS, ids=lambda tiny: tiny.name)
def test_every_architecture_comes_back_bit_for_bit(tiny, tmp_path):
    model = tiny.build(layers=1)
    hf.extend(model, lively(model))
    model.save_pretrained(tmp_path)
    again = saving.load(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert type(again) is type(model) and not again.training
    states = model.state_dict(), again.state_dict()
    assert list(states[0]) == list(states[1]) and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert again.config.rope_parameters == model.config.rope_parameters


@pytest.mark.parametrize("method", scaling.SCALINGS)
def test_every_method_comes_back_equal(method, tmp_path):
    model = LLAMA.build(layers=1)
    path = lively(model) if method is scaling.CLEX else hf.scaling_for(model, method)
    hf.extend(model, path)
    model.save_pretrained(tmp_path)
    again = saving.load(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert hf.spec.describe(hf.rotary_of(again).scaling) == hf.spec.describe(path)


def test_a_path_with_a_trainable_prior_comes_back(tmp_path):
    model = LLAMA.build(layers=1)
    prior = lively(model, seed=3)
    hf.extend(model, lively(model, prior=prior, max_factor=8.0))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(saving.load(tmp_path)), logits(model))


def test_cache_factor_and_schedule_come_back_and_can_be_replaced(tmp_path):
    saved(tmp_path, cache="rerotate", schedule=hf.Doubling())
    rotary = hf.rotary_of(saving.load(tmp_path))
    assert (rotary.cache, rotary.factor, rotary.schedule) == (hf.Rerotate, None, hf.Doubling())
    rotary = hf.rotary_of(saving.load(tmp_path, cache="refill", factor=2.0))
    assert (rotary.cache, rotary.factor, rotary.schedule) == (hf.Refill, 2.0, hf.Doubling())
    assert hf.rotary_of(saving.load(tmp_path, schedule=hf.Exact())).schedule == hf.Exact()
    saved(tmp_path, factor=3.0)
    assert hf.rotary_of(saving.load(tmp_path)).factor == 3.0


def test_a_loaded_model_generates_what_the_saved_one_does(tmp_path):
    model = saved(tmp_path)
    texts = [one.generate(TEXT[:, :20], max_new_tokens=30, do_sample=False) for one in (model, saving.load(tmp_path))]
    assert torch.equal(*texts)


def test_many_small_shards_come_back(tmp_path):
    model = LLAMA.build(layers=1)
    hf.extend(model, lively(model))
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(files.weight_files(str(tmp_path))) > 3 and not (tmp_path / WEIGHTS).exists()
    assert torch.equal(logits(saving.load(tmp_path)), logits(model))


def test_bf16_weights_come_back_and_the_field_stays_float32(tmp_path):
    model = LLAMA.build(layers=1).to(torch.bfloat16)
    hf.extend(model, lively(model))
    model.save_pretrained(tmp_path)
    again = saving.load(tmp_path)
    assert again.dtype == torch.bfloat16
    assert {weight.dtype for weight in hf.rotary_of(again).scaling.parameters()} == {torch.float32}
    assert torch.equal(logits(again), logits(model))
    wide = saving.load(tmp_path, dtype=torch.float32, device="cpu")
    assert {weight.dtype for weight in wide.parameters()} == {torch.float32}
    # A field trained in double precision stays so.
    hf.rotary_of(again).scaling.double()
    again.save_pretrained(tmp_path)
    assert torch.equal(logits(saving.load(tmp_path)), logits(again))


def test_loading_changes_no_class_of_transformers_and_no_random_number(tmp_path):
    saved(tmp_path)
    before, state = transformers.LlamaForCausalLM.__dict__.copy(), torch.get_rng_state()
    saving.load(tmp_path)
    assert dict(transformers.LlamaForCausalLM.__dict__) == dict(before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3", "gpt_neox"])
def test_a_plain_load_fails_with_what_to_do(name, tmp_path):
    model = hf_models.by_name(name).build(layers=1)
    hf.extend(model, hf.scaling_for(model, scaling.YaRN))
    model.save_pretrained(tmp_path)
    with pytest.raises(Exception, match=r"load it with clexlab\.load\(path\)"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_a_plain_load_fails_with_what_to_do_where_clexlab_is_unknown(tmp_path):
    saved(tmp_path)
    code = "import sys; sys.modules['clexlab'] = None; import transformers as t; t.AutoModelForCausalLM.from_pretrained(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert "load it with clexlab.load(path) (pip install clexlab)" in run.stderr.splitlines()[-1]


def first_field_weight(weights: dict) -> str:
    return next(name for name in weights if saving.SEAM in name)


def lose(weights: dict) -> None:
    weights.pop(first_field_weight(weights))


def add(weights: dict) -> None:
    weights["model.rotary_emb.scaling.field.third"] = torch.zeros(3)


def spoil(weights: dict) -> None:
    weights[first_field_weight(weights)][0] = torch.nan


def shorten(weights: dict) -> None:
    weights["model.rotary_emb.scaling.field.down.bias"] = torch.zeros(3)


def halve(weights: dict) -> None:
    weights.update({name: weight.bfloat16() for name, weight in weights.items() if saving.SEAM in name})


def double(weights: dict) -> None:
    weights["other.rotary_emb.scaling.field.down.bias"] = torch.zeros(8)


def lose_a_weight_of_the_model(weights: dict) -> None:
    weights.pop("model.norm.weight")


def add_a_weight_to_the_model(weights: dict) -> None:
    weights["model.draft.weight"] = torch.zeros(3)


def shorten_a_weight_of_the_model(weights: dict) -> None:
    weights["model.norm.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    "change, message",
    [
        (lose, "lacks .*field"),
        (add, "field.third.*does not have"),
        (spoil, "not finite"),
        (shorten, "shape"),
        (halve, "bfloat16"),
        (double, "second field.down.bias"),
        (lose_a_weight_of_the_model, "missing_keys.*norm"),
        (add_a_weight_to_the_model, "unexpected_keys.*draft"),
        (shorten_a_weight_of_the_model, "mismatched_keys.*norm"),
    ],
)
def test_weights_that_are_not_the_models_are_refused_and_never_made_up(change, message, tmp_path):
    saved(tmp_path)
    edit_weights(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        saving.load(tmp_path)


def test_a_missing_shard_is_refused(tmp_path):
    model = LLAMA.build(layers=1)
    hf.extend(model, lively(model))
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    Path(files.weight_files(str(tmp_path))[-1]).unlink()
    with pytest.raises(ValueError, match="lacks model-0"):
        saving.load(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    saved(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(ValueError, match="no complete safetensors file"):
        saving.load(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    model = saved(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="safetensors only"):
        saving.load(tmp_path)


def test_code_that_lies_in_the_folder_is_never_run(tmp_path):
    model = saved(tmp_path)
    (tmp_path / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    names = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}
    edit_config(tmp_path, lambda config: config.update(auto_map=names))
    assert torch.equal(logits(saving.load(tmp_path)), logits(model))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c["rope_parameters"].update(clexlab={"scaling": "yarn"}), "describes no scaling"),
        (lambda c: c["rope_parameters"].update(clexlab="yarn"), "describes no scaling"),
        (lambda c: c["rope_parameters"]["clexlab"]["scaling"].update(name="yam"), "no scaling is named"),
        (lambda c: c["rope_parameters"]["clexlab"].update(cache="warm"), "no cache semantics is named"),
        (lambda c: c["rope_parameters"]["clexlab"].update(factor=99.0), "factor 99"),
        (lambda c: c["rope_parameters"]["clexlab"].update(schedule="never"), "schedule named 'never'.*own"),
        (lambda c: c["rope_parameters"].update(rope_theta=5.0), "base"),
        (lambda c: c.update(model_type="llamma"), "llamma"),
        (lambda c: c.update(model_type="vit"), "ViTConfig, which is no causal"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change, message, tmp_path):
    saved(tmp_path)
    edit_config(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        saving.load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no config.json"):
        saving.load(tmp_path)
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        saving.load(tmp_path)
    with pytest.raises(ValueError, match="no folder on this machine"):
        saving.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="someone/some-model holds no config.json within reach"):
        saving.load("someone/some-model")


def test_a_stock_checkpoint_needs_a_scaling_to_be_extended_with(tmp_path):
    model = LLAMA.build(layers=1)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="stock checkpoint.*AutoModelForCausalLM.from_pretrained.*clexlab.extend"):
        saving.load(tmp_path)
    path = lively(model)
    hf.extend(model, path)
    assert torch.equal(logits(saving.load(tmp_path, scaling=path)), logits(model))


def test_restoring_a_loaded_model_gives_the_stock_model_back(tmp_path):
    model = LLAMA.build(layers=1)
    plain, config = logits(model), model.config.to_dict()
    hf.extend(model, lively(model))
    model.save_pretrained(tmp_path / "extended")
    again = hf.restore(saving.load(tmp_path / "extended"))
    assert torch.equal(logits(again), plain) and again.config.rope_parameters == config["rope_parameters"]
    again.save_pretrained(tmp_path / "stock")
    assert torch.equal(logits(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "stock")), plain)


class OwnField(nn.Module):
    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength))

    def forward(self, log_factor: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return -self.strength * torch.ones_like(residual)


def test_a_field_of_ones_own_is_asked_for_and_gets_its_weights(tmp_path):
    model = LLAMA.build(layers=1)
    own = {"head_dim": 16, "base": 1e4, "window": hf_models.WINDOW}
    hf.extend(model, scaling.CLEX(**own, field=OwnField(0.7)))
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"OwnField is a class of your own.*clexlab\.load\(path, scaling="):
        saving.load(tmp_path)
    again = saving.load(tmp_path, scaling=scaling.CLEX(**own, field=OwnField(0.0)))
    assert torch.equal(logits(again), logits(model))
    with pytest.raises(ValueError, match="pass an equal one"):
        saving.load(tmp_path, scaling=scaling.CLEX(**own, field=OwnField(0.7), max_factor=8.0))


class Thirds(hf.schedules.Schedule):
    """1, 4/3, 5/3 …: a schedule that clexlab does not know."""

    name = "thirds"

    def factor(self, path: scaling.Path, length: float) -> float:
        return math.ceil(3 * path.factor_for(length)) / 3


def test_a_schedule_of_ones_own_is_asked_for_and_used(tmp_path):
    # 100 tokens in windows of 32: 3.125, which is 10/3 here and 4 by default.
    model = saved(tmp_path, schedule=Thirds())
    with pytest.raises(ValueError, match=r"named 'thirds': a class of your own, .*clexlab\.load\(path, schedule=…\)"):
        saving.load(tmp_path)
    again = saving.load(tmp_path, schedule=Thirds())
    assert torch.equal(logits(again), logits(model)) and isinstance(hf.rotary_of(again).schedule, Thirds)
    assert not torch.equal(logits(saving.load(tmp_path, schedule=hf.Whole())), logits(model))
