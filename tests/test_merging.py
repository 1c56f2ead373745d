"""Means of models, and the three stages: identity, both ends, explicit sums, what is merged and what goes on after a kill."""

from dataclasses import replace

import pytest
import torch
import transformers
from hf_training import build, lively
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from training_runs import LENGTH, VOCABULARY, weights

import clexlab
from clexlab import hf, positions, rows, scaling, training
from clexlab.in_sentences import InSentences
from clexlab.merging import Stage, long_recipe, merge
from clexlab.training import Plan

PLAN = Plan(steps=3, rows=2, rate=1e-2, log_every=1, save_every=1)


def drawn(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(3, 2, generator=generator).to(dtype), "b": torch.randn(4, generator=generator).to(dtype)}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)


# ------------------------------------------------------------------------------------------------ the mean


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@settings(max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_equal_models_merge_to_themselves_and_weight_one_is_that_model(dtype, share, seed):
    one, other = drawn(seed, dtype), drawn(seed + 1, dtype)
    assert same(merge([one, one], [share, 1 - share]), one)
    assert same(merge([one, one, one], [0.2, 0.5, 0.3]), one)
    assert same(merge([one, other], [1, 0]), one) and same(merge([one, other], [0, 1]), other)
    assert same(merge([one], [1.0]), one)


@settings(max_examples=30)
@given(parts=st.lists(st.floats(-1, 2), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_a_mean_is_the_sum_written_out(parts, seed):
    shares = [*parts, 1 - sum(parts)]
    states = [drawn(seed + number, torch.float64) for number in range(len(shares))]
    found = merge(states, shares)
    for name, value in found.items():
        wanted = sum(share * state[name] for share, state in zip(shares, states, strict=True))
        assert value.flatten().tolist() == pytest.approx(wanted.flatten().tolist(), rel=1e-9, abs=1e-9)


def test_merging_in_any_order_and_in_steps_is_the_same_mean():
    a, b, c = (drawn(seed, torch.float64) for seed in range(3))
    once = merge([a, b, c], [0.5, 0.2, 0.3])
    turned = merge([c, a, b], [0.3, 0.5, 0.2])
    stepwise = merge([a, merge([b, c], [0.4, 0.6])], [0.5, 0.5])
    for name in once:
        torch.testing.assert_close(once[name], turned[name], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(once[name], stepwise[name], rtol=1e-12, atol=1e-12)


def test_models_are_merged_as_their_states_and_left_as_they_are():
    one, other = build(1), build(1)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1.0)
    before = weights(one), weights(other)
    middle = merge([one, other], [0.5, 0.5])
    assert same(weights(one), before[0]) and same(weights(other), before[1])
    other.load_state_dict(middle)
    for name, weight in weights(other).items():
        torch.testing.assert_close(weight, before[0][name] + 0.5, rtol=1e-6, atol=1e-6)
    # A merged state shares no memory with its parts.
    merge([one], [1.0])["model.norm.weight"].add_(1.0)
    assert same(weights(one), before[0])


def test_whole_numbers_are_kept_where_they_agree():
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert merge([one, other], [0.5, 0.5])["num_batches_tracked"] == 0
    other.num_batches_tracked += 1
    with pytest.raises(ValueError, match="num_batches_tracked has whole numbers that differ"):
        merge([one, other], [0.5, 0.5])


# ------------------------------------------------------------------------------------------------ three stages


def data(seed: int) -> rows.Rows:
    count = PLAN.steps * PLAN.rows
    tokens = torch.randint(2, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return rows.Rows(tokens, ["text"] * count)


def stages() -> tuple[Stage, Stage]:
    """A simulation at twice the window and a replay at ordinary positions."""
    at_two = InSentences(window=16, factors=positions.FixedFactor(2.0), ends=(5, 6, 7))
    return Stage(data=data(0), plan=PLAN, objective=at_two), Stage(data=data(1), plan=replace(PLAN, rate=1e-3, seed=1))


def pinned() -> nn.Module:
    model = build(1)
    return clexlab.extend(model, hf.scaling_for(model, scaling.ABF), factor=2.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The recipe, never interrupted."""
    torch.set_num_threads(1)
    return long_recipe(pinned(), *stages(), folder=tmp_path_factory.mktemp("whole"))


def test_the_recipe_is_two_trainings_and_half_of_the_way_back(whole, tmp_path):
    simulation, replay = stages()
    model = pinned()
    before = weights(model)
    training.train(model, simulation.data, simulation.plan, folder=tmp_path / "one", objective=simulation.objective)
    training.train(model, replay.data, replay.plan, folder=tmp_path / "two")
    after = weights(model)
    assert same(weights(whole.model), merge([before, after], [0.5, 0.5]))
    assert not same(weights(whole.model), before) and not same(weights(whole.model), after)
    assert whole.simulated.tokens == whole.replayed.tokens == PLAN.steps * PLAN.rows * LENGTH
    assert [len(each.curve) for each in (whole.simulated, whole.replayed)] == [PLAN.steps, PLAN.steps]


class Killed(Exception):
    pass


class Kill(transformers.TrainerCallback):
    """Ends a stage at its second checkpoint."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_save(self, args, state, control, **kwargs):
        if self.stage in args.output_dir and state.global_step == 2:
            raise Killed


@pytest.mark.parametrize("stage", ["simulation", "replay"])
def test_a_recipe_that_was_interrupted_goes_on_to_the_same_model(whole, tmp_path, stage):
    folder = tmp_path / "cut"
    with pytest.raises(Killed):
        long_recipe(pinned(), *stages(), folder=folder, callbacks=(Kill(stage),))
    assert (training.last_checkpoint(folder / "replay") is None) == (stage == "simulation")
    with pytest.raises(ValueError, match="model of other weights"):
        long_recipe(clexlab.extend(build(2), hf.scaling_for(build(2), scaling.ABF), factor=2.0), *stages(), folder=folder, resume=True)
    done = long_recipe(pinned(), *stages(), folder=folder, resume=True)
    assert same(weights(done.model), weights(whole.model))


def test_weight_one_of_the_base_undoes_both_trainings_of_the_learned_path_too(tmp_path):
    model = clexlab.extend(build(1), lively(), positions=positions.Scattered(window=16, factors=positions.FixedFactor(2.0)))
    before = weights(model)
    plain = Stage(data=data(0), plan=replace(PLAN, path_rate=1e-2, save_every=None))
    done = long_recipe(model, plain, plain, folder=tmp_path, weights=(1.0, 0.0))
    assert any(".field." in name for name in before) and same(weights(done.model), before)


# ------------------------------------------------------------------------------------------------ refused


def test_bad_input_is_refused(unchecked, tmp_path):
    one = drawn(0)
    for wrong, words in [
        (lambda: merge([], []), "0 models and 0 weights"),
        (lambda: merge([one, one], [1.0]), "2 models and 1 weights"),
        (lambda: merge([one, one], [0.5, 0.6]), "add up to 1"),
        (lambda: merge([one, one], [float("nan"), 1.0]), "add up to 1"),
        (lambda: merge([one, {"a": one["a"]}], [0.5, 0.5]), "b in one only"),
        (lambda: merge([one, one | {"b": torch.zeros(5)}], [0.5, 0.5]), r"b is \(4,\) in float32 and \(5,\) in float32"),
        (lambda: merge([one, drawn(0, torch.bfloat16)], [0.5, 0.5]), "in float32 and .* in bfloat16"),
        (lambda: merge([build(1), build(2)], [0.5, 0.5]), "merge models of one architecture"),
        (lambda: long_recipe(pinned(), *stages(), folder=tmp_path, resume=True), "no whole checkpoint"),
        (lambda: long_recipe(pinned(), *stages(), folder=tmp_path, weights=(0.5, 0.4)), "add up to 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
