"""Sparse patterns in training: every pattern has its rows, LoRA leaves the base model's names, training sees what the pattern shows."""

from dataclasses import replace

import pytest
import torch
from study_tiny import TINY, WINDOW, material, place, quiet
from transformers import TrainerCallback

from clexlab import cli, hf, results, sparse, study, training
from clexlab.study import lora, runs, sparse_claims
from clexlab.study import sparse as table

peft = pytest.importorskip("peft")

ONE_STEP = replace(TINY, steps=1, seeds=(1,), recall_factors=(1.0,))
TRAINED = [row for row in study.SPARSE if row.tuning is not None]
ROWS = ("yarn-at-4", "lora-short-truncation", "lora-full-yarn", "lora-s2-yarn", "lora-s2-through-yarn", "lora-rolled-s2-yarn")


def named(*names):
    return tuple(study.by_name(name, study.SPARSE) for name in names)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return material(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def work(given, tmp_path_factory):
    """Records of a few rows, one step each, and their trainings."""
    out = tmp_path_factory.mktemp("results")
    outcome = study.run(ONE_STEP, rows=named(*ROWS), given=given, out=out, experiment="sparse_attention", report=quiet)
    assert not outcome.failed and not outcome.left
    return out


@pytest.fixture
def records(work):
    return {record.config["row"]: record for record in results.read_all("sparse_attention", work)}


# ------------------------------------------------------------------------------------------------ what the rows are


def test_every_pattern_is_trained_and_read_in_both_ways():
    names = {row.name for row in study.SPARSE}
    for kind in sparse.PATTERNS:
        assert {f"lora-{table.named(kind)}-yarn", f"lora-{table.named(kind)}-through-yarn"} <= names
    assert len(names) == len(study.SPARSE)


def test_every_row_says_what_was_expected_and_names_rows_that_are_there():
    for row in study.SPARSE:
        assert len(row.prediction) > 40 and row.about and row.title
        assert not row.against or study.by_name(row.against, study.SPARSE)


def test_trainings_differ_in_pattern_path_length_of_a_row_and_what_learns_alone():
    for row in TRAINED:
        common = replace(row.tuning, name="", pattern=None, path=None, span=1, learns=lora.LoRA())
        assert common == replace(table.SHORT, name="", path=None)
    assert all(row.tuning == other.tuning for row in TRAINED for other in TRAINED if row.tuning.name == other.tuning.name)


@pytest.mark.parametrize("profile", study.PROFILES, ids=lambda profile: profile.name)
def test_every_training_reads_the_same_tokens(profile):
    plans = [(row.tuning, profile.plan(1, "cpu", span=row.tuning.windows, path_rate=0.0)) for row in TRAINED]
    assert len({plan.steps * plan.rows * tuned.windows for tuned, plan in plans}) == 1


def test_steps_are_three_quarters_of_the_studys():
    assert [table.budget(profile).steps for profile in study.PROFILES] == [1, 48, 900]


def test_recall_is_asked_for_up_to_the_length_that_was_trained():
    assert table.budget(study.profile_by_name("cpu")).recall_factors == (1.0, 4.0)
    assert table.budget(study.profile_by_name("smoke")).recall_factors == (1.0,)
    assert table.budget(study.profile_by_name("gpu")).recall_factors == (1.0, 2.0, 4.0)


def test_a_chunk_is_a_window_of_the_model(given):
    told = table.tuned("s2-yarn", table.YARN, sparse.S2.default).describe(given.window)
    assert told["pattern"] == repr(sparse.S2(chunk=WINDOW))
    assert "rank=8" in told["learns"] and "pattern" not in table.FULL.describe(given.window)


def test_claims_name_rows_of_the_table():
    names = {row.name for row in study.SPARSE}
    pairs = {name for claim in sparse_claims.CLAIMS for pair in claim.pairs for name in pair}
    assert pairs <= names


# ------------------------------------------------------------------------------------------------ LoRA


def test_lora_trains_adapters_embeddings_and_norms_and_nothing_else(given):
    model = given.model()
    lora.LoRA()(model)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "embed" in name or "norm" in name for name in learning)
    assert sum("lora_" in name for name in learning) == 2 * 4 * model.config.num_hidden_layers
    bare = given.model()
    lora.LoRA(besides=())(bare)
    assert all("lora_" in name for name, weight in bare.named_parameters() if weight.requires_grad)


def test_the_first_adapters_are_the_same_whatever_was_drawn_before(given):
    drawn = []
    for seed in (0, 1):
        model = given.model()
        torch.manual_seed(seed)
        lora.LoRA()(model)
        drawn.append(torch.cat([weight.flatten() for name, weight in model.named_parameters() if ".lora_A." in name]))
    assert torch.equal(*drawn) and drawn[0].std() > 0


def test_merging_keeps_what_the_model_computes_and_leaves_the_base_models_names(given):
    model, tokens = given.model(), torch.arange(1, 40)[None]
    names = set(model.state_dict())
    lora.LoRA()(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        before = model(tokens).logits
        lora.merged(model)
        # One sum of products in float32 in the place of two.
        torch.testing.assert_close(model(tokens).logits, before, rtol=1e-4, atol=1e-4)
        assert (before - given.model()(tokens).logits).abs().max() > 1e-2
    assert set(model.state_dict()) == names and not hasattr(model, "peft_config")


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(ValueError, match="rank is 0"):
        lora.LoRA(rank=0)


# ------------------------------------------------------------------------------------------------ running


def test_every_kind_of_row_runs_and_has_read_as_many_tokens(records):
    assert set(records) == set(ROWS)
    assert {record.tokens for record in records.values() if record.tokens} == {TINY.rows * WINDOW}
    assert all(record.metrics["scale"] == dict.fromkeys(record.metrics["last"], 4.0) for record in records.values())


def test_what_was_seen_in_training_is_what_the_pattern_shows(given, tmp_path, monkeypatch):
    seen = {}

    def remember(model, data, plan, **rest):
        seen[data.tokens.shape[1]] = hf.pattern_of(model)
        raise InterruptedError

    monkeypatch.setattr(training, "train", remember)
    for row in named("lora-s2-yarn"):
        with pytest.raises(InterruptedError):
            runs.train(place(given, tmp_path, ONE_STEP), row.tuning, 1)
    assert seen == {4 * WINDOW: sparse.S2(chunk=WINDOW)}


def test_a_reading_is_full_or_through_the_pattern(given, work):
    there = place(given, work / ".study", ONE_STEP)
    full, through = (row.reading.prepare(runs.trained(there, row.tuning, 1)[0]) for row in named("lora-s2-yarn", "lora-s2-through-yarn"))
    with pytest.raises(ValueError, match="not sparsified"):
        hf.pattern_of(full)
    assert hf.pattern_of(through) == sparse.S2(chunk=WINDOW)
    tokens = given.held_out[0][None, : 4 * WINDOW]
    with torch.no_grad():
        one, other = (model(tokens).logits[0] for model in (full, through))
    # The first half chunk is the same for every head; the last token is not.
    torch.testing.assert_close(one[: WINDOW // 2], other[: WINDOW // 2], rtol=1e-4, atol=1e-5)
    assert (one[-1] - other[-1]).abs().max() > 1e-4


def test_a_training_under_a_pattern_ends_elsewhere_than_one_with_full_attention(given, work):
    there = place(given, work / ".study", ONE_STEP)
    full, s2 = (runs.trained(there, row.tuning, 1)[0].state_dict() for row in named("lora-full-yarn", "lora-s2-yarn"))
    assert set(full) == set(s2) and any(not torch.equal(full[name], s2[name]) for name in full)


def test_an_interrupted_training_goes_on_to_the_same_weights(given, tmp_path):
    (row,) = named("lora-s2-yarn")
    (tmp_path / "whole").mkdir()
    runs.train(place(given, tmp_path / "whole"), row.tuning, 1)

    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        runs.train(place(given, tmp_path / "cut"), row.tuning, 1, callbacks=[Stop()])
    runs.train(place(given, tmp_path / "cut"), row.tuning, 1)
    whole, cut = (runs.trained(place(given, tmp_path / folder), row.tuning, 1)[0].state_dict() for folder in ("whole", "cut"))
    assert all(torch.equal(weight, cut[name]) for name, weight in whole.items())


def test_the_command_runs_this_table_with_its_budget(given, tmp_path, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr(study, "shipped", lambda: given)
    monkeypatch.setattr(study, "run", lambda profile, **rest: asked.update(rest, profile=profile) or study.Outcome())
    assert cli.main(["run", "study", "--sparse", "--profile", "cpu", "--rows", "lora-s2-yarn", "--out", str(tmp_path)]) == 0
    assert asked["experiment"] == "sparse_attention" and asked["rows"] == named("lora-s2-yarn")
    assert asked["profile"] == table.budget(study.profile_by_name("cpu"))
