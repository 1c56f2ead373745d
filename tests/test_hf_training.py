"""Extended models in the tools people train with: gradients, precision, compile, DDP, FSDP, peft, Trainer, copies."""

import copy

import peft
import pytest
import torch
import torch.multiprocessing as processes
from hf_training import (
    FIELD,
    RATE,
    STEPS,
    Stretched,
    average_gradients,
    batch,
    build,
    compiled,
    gradients,
    learner,
    lively,
    loss,
    one_rank,
)
from torch.optim.swa_utils import AveragedModel
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

import clexlab
from clexlab import hf, scaling

# Both ways do the same float32 sums in another order.
ROUNDING = dict(rtol=1e-4, atol=1e-6)


def field_of(model):
    return {name: weight for name, weight in model.named_parameters() if FIELD in name}


def yarn_on(model):
    return hf.scaling_for(model, scaling.YaRN)


def used_thetas(model, run):
    """The frequencies that reach the stock rotary forward while `run()` runs."""
    rotary, seen = hf.rotary_of(model), []
    turn = rotary.turn

    def watched(x, position_ids, theta, *rest):
        seen.append(theta.detach().clone())
        return turn(x, position_ids, theta, *rest)

    rotary.turn = watched
    try:
        run()
    finally:
        del rotary.turn
    return seen


# ------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("factor", [2.0, 3.5])
def test_the_gradient_of_the_field_is_the_slope_of_the_loss(factor):
    model = learner(Stretched((factor,)))
    loss(model, batch()).backward()
    weights = list(field_of(model).values())
    slopes = [weight.grad.clone() for weight in weights]
    steepest = sum(slope.square().sum() for slope in slopes).sqrt()
    assert steepest > 1e-2

    def moved(amount):
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight += amount * slope / steepest
            value = loss(model, batch()).double()
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= amount * slope / steepest
        return value

    # θ is float32 whatever the model is, so the loss is known to 1e-6 and a change of 1e-3 in it to 1e-3. Two widths: error of order 4.
    fine, coarse = ((moved(width) - moved(-width)) / (2 * width) for width in (1e-3 / steepest, 2e-3 / steepest))
    assert ((4 * fine - coarse) / 3).item() == pytest.approx(steepest.item(), rel=5e-3)


def test_at_factor_1_the_field_is_in_the_graph_with_zero_gradients():
    model = learner(Stretched((1.0,)))
    loss(model, batch()).backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in field_of(model).values())


def test_the_sampler_is_off_in_eval_and_follows_the_global_generator_in_training():
    model = learner()
    assert loss(model, batch(), seed=1) == loss(model, batch(), seed=1)
    assert loss(model, batch(), seed=1) != loss(model, batch(), seed=2)
    model.eval()
    assert loss(model, batch(), seed=1) == loss(model, batch(), seed=2)


def test_gradient_checkpointing_changes_no_bit():
    plain, saving = learner(), learner()
    saving.gradient_checkpointing_enable()
    for model in (plain, saving):
        loss(model, batch()).backward()
    found, wanted = gradients(saving), gradients(plain)
    assert found.keys() == wanted.keys() and any(FIELD in name for name in found)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


# ------------------------------------------------------------------------------------------------ precision


def cast(model):
    return model.to(torch.bfloat16)


def halved(model):
    return model.half()


@pytest.mark.parametrize("lower", [cast, halved])
@pytest.mark.parametrize("path", [lively, lambda: scaling.YaRN(head_dim=16, base=1e4, window=16)], ids=["clex", "yarn"])
@pytest.mark.parametrize("factor", [None, 3.0])
def test_casting_the_model_leaves_frequencies_and_field_in_float32(lower, path, factor):
    exact = path()
    model = lower(clexlab.extend(build(), path(), factor=factor))
    assert next(model.model.layers.parameters()).dtype != torch.float32
    assert all(weight.dtype == torch.float32 for weight in field_of(model).values())
    tokens = torch.ones(1, 40, dtype=torch.long)
    thetas = used_thetas(model, lambda: model(tokens))
    assert thetas and all(torch.equal(theta, exact.inv_freq(3.0)) for theta in thetas)


def test_a_model_loaded_in_bfloat16_gets_frequencies_of_full_precision(tmp_path):
    build().save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    clexlab.extend(model, lively(), positions=Stretched((3.0,))).train()
    thetas = used_thetas(model, lambda: loss(model, batch()).backward())
    assert all(torch.equal(theta, lively().inv_freq(3.0)) for theta in thetas)
    assert all(weight.dtype == weight.grad.dtype == torch.float32 and weight.grad.any() for weight in field_of(model).values())


def test_autocast_does_not_reach_the_solve():
    model = learner(Stretched((3.0,)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        thetas = used_thetas(model, lambda: loss(model, batch()).backward())
    assert all(torch.equal(theta, lively().inv_freq(3.0)) for theta in thetas)
    assert all(weight.grad.any() for weight in field_of(model).values())


def test_restoring_a_cast_model_gives_back_a_stock_one():
    model = cast(clexlab.extend(build(), lively()))
    stock = AutoModelForCausalLM.from_config(build().config)
    clexlab.restore(model)
    assert torch.equal(model.model.rotary_emb.inv_freq, stock.model.rotary_emb.inv_freq)


# ------------------------------------------------------------------------------------------------ torch.compile


@pytest.fixture(scope="module")
def of_compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    processes.spawn(compiled, (str(folder),), nprocs=1)
    return torch.load(folder / "compiled.pt")


@pytest.mark.slow
def test_a_closed_form_at_a_pinned_factor_compiles_into_one_graph_for_every_length(of_compiled):
    for found, wanted in of_compiled["pinned"]:
        torch.testing.assert_close(found, wanted, **ROUNDING)


@pytest.mark.slow
def test_a_compiled_learner_has_the_same_gradients(of_compiled):
    found, wanted = of_compiled["learner"]
    assert found.keys() == wanted.keys() and any(FIELD in name for name in found)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, **ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["frozen", "rerotate"])
def test_a_compiled_model_whose_factor_follows_the_length_generates_the_same_tokens(of_compiled, cache):
    found, wanted, graphs = of_compiled["generation"][cache]
    assert found.shape == wanted.shape == (2, 44) and torch.equal(found, wanted)
    # Compiled throughout: the choice of the factor cuts each of the 32 steps into more than one graph.
    assert graphs >= 2 * 32


# ------------------------------------------------------------------------------------------------ several processes


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    processes.spawn(one_rank, (str(folder),), nprocs=2)
    return torch.load(folder / "found.pt")


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["all_at_1", "apart"])
def test_ddp_averages_the_gradients_of_ranks_with_factors_of_their_own(two_ranks, scene):
    assert len(two_ranks[scene]) == STEPS
    for step, found in enumerate(two_ranks[scene]):
        wanted = average_gradients(scene, step)
        assert found.keys() == wanted.keys() and any(FIELD in name for name in found)
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, **ROUNDING)


@pytest.mark.slow
def test_a_step_of_sharded_training_is_a_step_of_one_process(two_ranks):
    model = learner()
    mean = average_gradients("apart", 0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight -= RATE * mean[name]
    wanted = model.state_dict()
    assert two_ranks["sharded"].keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(two_ranks["sharded"][name], value, **ROUNDING)


@pytest.mark.slow
def test_sharded_training_in_mixed_precision_leaves_the_field_its_own(two_ranks):
    mean, found = average_gradients("apart", 0, torch.bfloat16), two_ranks["mixed"]
    assert found.keys() == mean.keys() and all(gradient.dtype == torch.float32 for gradient in found.values())
    for name in field_of(learner()):
        assert (found[name] - mean[name]).norm() < 1e-3 * mean[name].norm(), name


@pytest.mark.slow
def test_half_precision_for_the_field_is_refused(two_ranks):
    assert "bfloat16" in two_ranks["refusal"] and "float32" in two_ranks["refusal"]


# ------------------------------------------------------------------------------------------------ peft and Trainer


def with_adapters(model):
    return peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["field"]))


def train_a_little(model, steps=3):
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.02)
    for step in range(steps):
        optimizer.zero_grad()
        loss(model, batch(step), seed=step).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def long_text():
    """Three windows, so that the field has a say."""
    return torch.randint(2, 90, (2, 40), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def logits(model, tokens):
    return model(tokens).logits


def test_adapters_and_field_train_and_come_back_exactly_from_disk(tmp_path, long_text):
    model = with_adapters(learner())
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert {"lora_" in name or ".field." in name for name in trainable} == {True}
    before = logits(model.eval(), long_text)
    train_a_little(model.train())
    assert (logits(model, long_text) - before).abs().max() > 1e-2
    assert not torch.equal(hf.rotary_of(model).scaling.inv_freq(3.0), lively().inv_freq(3.0))
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(clexlab.extend(build(), lively()), tmp_path)
    assert torch.equal(logits(again, long_text), logits(model, long_text))
    assert torch.equal(hf.rotary_of(again).scaling.inv_freq(3.0), hf.rotary_of(model).scaling.inv_freq(3.0))


def test_merged_adapters_leave_an_extended_model_with_the_trained_field(long_text):
    model = train_a_little(with_adapters(learner()))
    wanted, theta = logits(model, long_text), hf.rotary_of(model).scaling.inv_freq(3.0)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged, long_text), wanted, rtol=0, atol=1e-4)
    assert torch.equal(hf.rotary_of(merged).scaling.inv_freq(3.0), theta)
    assert not any("lora" in name or "modules_to_save" in name for name, _ in merged.named_parameters())
    assert len(field_of(merged)) == 4


def test_a_model_with_adapters_generates_as_its_merged_self(long_text):
    model = train_a_little(with_adapters(learner()))
    options = dict(max_new_tokens=12, do_sample=False)
    found = model.generate(input_ids=long_text[:, :14], **options)
    assert torch.equal(found, model.merge_and_unload().generate(input_ids=long_text[:, :14], **options))


def trainer(folder, **options):
    torch.manual_seed(7)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=6,
        per_device_train_batch_size=2,
        learning_rate=0.01,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        seed=7,
        **options,
    )
    texts = [{"input_ids": row, "labels": row} for row in batch(rows=12)]
    return Trainer(learner(), arguments, train_dataset=texts)


def test_a_run_of_trainer_that_stops_and_resumes_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = trainer(tmp_path / "whole", save_strategy="steps", save_steps=3)
    whole.train()
    wanted = whole.model.state_dict()
    assert any(not torch.equal(wanted[name], weight) for name, weight in field_of(learner()).items())
    resumed = trainer(tmp_path / "resumed", save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    found = resumed.model.state_dict()
    assert resumed.state.global_step == 6
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


# ------------------------------------------------------------------------------------------------ copies and names


def test_a_copy_of_an_extended_model_is_extended_and_independent(long_text):
    model = clexlab.extend(build(), lively(), cache="rerotate")
    wanted = logits(model, long_text)
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin, long_text), wanted)
    assert hf.rotary_of(twin) is not hf.rotary_of(model)
    with torch.no_grad():
        next(iter(field_of(twin).values())).add_(1.0)
    assert torch.equal(logits(model, long_text), wanted)
    assert not torch.equal(logits(twin, long_text), wanted)
    clexlab.restore(twin)
    assert torch.equal(logits(twin, long_text), logits(build(), long_text))
    assert torch.equal(logits(model, long_text), wanted)
    options = dict(max_new_tokens=10, do_sample=False)
    tokens = copy.deepcopy(model).generate(long_text[:, :12], **options)
    assert torch.equal(tokens, model.generate(long_text[:, :12], **options))


def test_a_copy_made_after_a_training_step_works():
    model = learner()
    loss(model, batch()).backward()
    assert loss(copy.deepcopy(model), batch()) == loss(model, batch())


@pytest.mark.parametrize("factor", [None, 3.0])
def test_a_closed_form_adds_nothing_to_the_state_dict(factor):
    stock, model = build().state_dict(), build()
    clexlab.extend(model, yarn_on(model), factor=factor)
    found = model.state_dict()
    assert found.keys() == stock.keys() and all(torch.equal(found[name], stock[name]) for name in stock)
    model.load_state_dict(stock)


def test_optimizers_and_averages_see_the_field_by_name(long_text):
    model = learner()
    assert sorted(name.removeprefix(f"model.{FIELD}") for name in field_of(model)) == ["down.bias", "down.weight", "up.bias", "up.weight"]
    average = AveragedModel(model, avg_fn=lambda old, new, count: (old + new) / 2)
    average.update_parameters(model)
    before = {name: weight.clone() for name, weight in field_of(model).items()}
    train_a_little(model)
    average.update_parameters(model)
    for name, weight in field_of(average).items():
        short = name.removeprefix("module.")
        torch.testing.assert_close(weight, (before[short] + field_of(model)[short]) / 2)
    assert not torch.equal(logits(average.eval(), long_text), logits(model, long_text))
