"""Train short, test long: equal tokens read, controls, records that are taken over, what it costs."""

import json
from dataclasses import replace

import pytest
import torch
from study_tiny import LONGEST, TINY, WINDOW, material, place, quiet
from transformers import TrainerCallback

from clexlab import base, cli, hf, positions, results, rows, study, training
from clexlab.objectives import NextToken
from clexlab.study import memory, runner, runs, short

# LongRecipe wants a step of simulation and one of replay.
TWO_STEPS = replace(TINY, steps=2, texts=1, trials=0, seeds=(1,))
TRAINED = [row for row in study.SHORT if row.tuning is not None]
NEW = [row for row in study.SHORT if row not in study.ROWS]
TOKENS = TWO_STEPS.steps * TWO_STEPS.rows * WINDOW


def named(*names):
    return tuple(study.by_name(name, study.SHORT) for name in names)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return material(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def out(given, tmp_path_factory):
    """Every row once."""
    folder = tmp_path_factory.mktemp("results")
    outcome = study.run(TWO_STEPS, rows=study.SHORT, given=given, out=folder, experiment="train_short", report=quiet)
    assert not outcome.failed and not outcome.left
    return folder


@pytest.fixture
def records(out):
    return {record.config["row"]: record for record in results.read_all("train_short", out)}


# ------------------------------------------------------------------------------------------------ what the rows are


def test_every_recipe_has_a_row_under_yarn_and_one_under_pi():
    names = {row.name for row in study.SHORT}
    recipes = ("full", "pose", "random", "scattered", "chunks", "prefix", "sentences", "e2", "interleaved")
    assert {f"{recipe}-{path}" for recipe in recipes for path in ("yarn", "linear")} <= names


def test_every_new_row_says_what_was_expected():
    assert all(len(row.prediction) > 40 for row in NEW)


def test_of_pose_the_cut_is_the_papers_and_not_the_codes():
    sampler = study.by_name("pose-yarn", study.SHORT).tuning.positions(WINDOW).sampler
    assert sampler == positions.SkipWise(window=WINDOW, factors=positions.FixedFactor(16.0), cut=positions.Anywhere())


def test_what_is_fixed_in_training_is_pinned_in_reading():
    for row in NEW:
        told, ordinary = json.dumps(row.tuning.describe(WINDOW)), row.tuning.shares is not None
        assert (row.tuning.factor == 16.0) == (ordinary or "FixedFactor(factor=16.0)" in told)


def test_a_row_with_a_learned_path_differs_from_its_control_in_the_path_alone():
    learned = [row for row in study.SHORT if row.control]
    assert [row.name.removesuffix("-clex") for row in learned] == ["pose", "random", "scattered", "chunks", "sentences", "e2"]
    for row in learned:
        control = study.by_name(row.control, study.SHORT).tuning
        assert row.tuning.path_rate > 0
        assert replace(row.tuning, name=control.name, path=control.path, path_rate=0.0) == control


def test_no_row_stands_in_chunks_of_a_held_out_text(given):
    drawn = given.rows(1, 20, 16, short.INTERLEAVED)
    chunks = [chunk for row, part in zip(drawn.tokens, drawn.parts, strict=True) if part == "interleaved" for chunk in row.split(WINDOW)]

    def inside(chunk, documents):
        return any(bool((document.unfold(0, WINDOW, 1) == chunk).all(1).any()) for document in documents)

    assert len(chunks) >= 14 * 16
    assert all(inside(chunk, given.train) and not inside(chunk, given.held_out) for chunk in chunks)


def test_interleaved_rows_have_the_parts_of_the_others(given):
    def counted(shares):
        parts = given.rows(1, 64, 16, shares).parts
        return {("text" if part == "interleaved" else part): parts.count(part) for part in parts}

    assert counted(short.INTERLEAVED) == counted(base.SHARES)


@pytest.mark.parametrize("experiment", ["study", "clex_ladder"])
def test_trainings_that_have_records_are_recognised(experiment, tmp_path, monkeypatch):
    model, tokenizer = base.load()
    monkeypatch.setattr(study.Material, "model", lambda self: model)
    table = study.ROWS if experiment == "study" else study.LADDER
    known = {row.name for row in table}
    found = [record for record in results.read_all(experiment) if record.config["tuning"] and record.config["row"] in known]
    assert len(found) > 10
    for record in found:
        before = record.config["tuning"]
        texts = dict(train=[], held_out=[], fingerprint=before["documents"])
        here = study.Material(folder=base.FOLDER, tokenizer=tokenizer, window=256, **texts)
        profile = study.profile_by_name(record.config["profile"])
        there = runs.Place(material=here, profile=profile, device=record.device, work=tmp_path)
        assert runs._asked(there, study.by_name(record.config["row"], table).tuning, record.seed) == before


# ------------------------------------------------------------------------------------------------ running


def test_every_row_runs_and_has_read_as_many_tokens(records):
    assert set(records) == {row.name for row in study.SHORT}
    assert {records[row.name].tokens for row in TRAINED} == {TOKENS}


def test_the_trainer_gets_whole_texts_where_one_window_of_each_is_read(given, tmp_path, monkeypatch):
    seen = {}

    def remember(model, data, plan, **rest):
        seen[plan.rows] = data.tokens.shape
        raise InterruptedError

    monkeypatch.setattr(training, "train", remember)
    for row in named("chunks-yarn", "interleaved-yarn"):
        with pytest.raises(InterruptedError):
            runs.train(place(given, tmp_path, replace(TWO_STEPS, steps=1)), row.tuning, 1)
    assert seen == {16: (16, LONGEST), 1: (1, LONGEST)}


def test_published_recipes_are_read_at_16_and_the_others_at_the_factor_of_the_length(records):
    each = {"1": 1.0, "2": 2.0, "4": 4.0, "8": 8.0, "16": 16.0}
    for row in NEW:
        wanted = dict.fromkeys(each, 16.0) if row.tuning.factor else each
        assert records[row.name].metrics["scale"] == wanted, row.name


@pytest.mark.parametrize("recipe", ["chunks", "sentences", "scattered", "e2"])
def test_the_control_is_clex_with_a_field_of_zeros_bit_for_bit(given, tmp_path, recipe):
    def model_only(model):
        hf.rotary_of(model).scaling.requires_grad_(False)

    (learned,) = named(f"{recipe}-clex")
    (control,) = named(learned.control)
    zero = replace(learned.tuning, name="zero", learns=model_only)
    for one in (zero, control.tuning):
        runs.train(place(given, tmp_path, TWO_STEPS), one, 1)
    frozen, field = (runs.trained(place(given, tmp_path, TWO_STEPS), one, 1)[0].state_dict() for one in (control.tuning, zero))
    assert set(frozen) < set(field)
    assert all(torch.equal(weight, field[name]) for name, weight in frozen.items())


def test_clex_learns_where_an_objective_draws_its_factor(records):
    for name in ("chunks-clex", "sentences-clex", "scattered-clex", "e2-clex"):
        assert any(records[name].metrics["residual"]["16"])


def test_a_row_of_the_ladder_is_taken_over_with_its_memory(given, out, tmp_path, monkeypatch):
    rung = study.by_name("06-each-row", study.LADDER)
    study.run(TWO_STEPS, rows=(rung,), given=given, out=tmp_path, experiment="clex_ladder", report=quiet)
    file = tmp_path / "clex_ladder" / "tiny-06-each-row-seed1.json"
    older = json.loads(file.read_text())
    assert set(older["metrics"].pop("memory")) == {"step", "row"}
    file.write_text(json.dumps(older))

    def again(*given):
        raise ValueError("done a second time")

    monkeypatch.setattr(runs, "train", again)
    monkeypatch.setattr(runs, "measure", again)
    study.run(TWO_STEPS, rows=named("pose-clex"), given=given, out=tmp_path, experiment="train_short", report=quiet)
    taken = results.read(tmp_path / "train_short" / "tiny-pose-clex-seed1.json")
    assert taken.metrics["last"] == older["metrics"]["last"] and set(taken.metrics["memory"]) == {"step", "row"}
    assert taken.protocol.endswith("those of clex_ladder/tiny-06-each-row-seed1; memory over two steps more")


def test_the_study_takes_nothing_over_from_what_comes_after_it(given, tmp_path):
    row = study.by_name("yarn")
    call = runner.Call(place(given, tmp_path), [], tmp_path, "study", 1.0, runner.Outcome(), quiet)
    assert call.twin(runner.Job(row=row, seed=0, run="tiny-yarn")) is None


# ------------------------------------------------------------------------------------------------ what it costs


def test_memory_is_weights_gradients_moments_and_what_grows_with_the_tokens(given):
    def needed(count, length):
        data = rows.Rows(torch.randint(1, 100, (2 * count, length)), ["text"] * 2 * count)
        model = given.model()
        return model, memory.peak(model, data, training.Plan(steps=2, rows=count), NextToken())

    model, least = needed(1, 8)
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    # Weights, gradients, two moments; a step of AdamW needs one copy more at most, eight tokens next to nothing.
    assert 4 * weights <= least < 6 * weights
    wide, long = needed(8, 64)[1], needed(1, 512)[1]
    # Logits of 512 tokens alone, in float32, and their gradient. Attention keeps no table of all pairs.
    assert wide - least > 2 * 4 * 504 * given.model().config.vocab_size
    assert long == pytest.approx(wide, rel=0.1)


def test_every_trained_record_has_seconds_and_memory(records):
    for row in TRAINED:
        found = records[row.name].metrics
        assert found["training_seconds"] > 0 and found["memory"]["step"] >= found["memory"]["row"] > 0
        whole = row.tuning.windows == 16
        assert (found["memory"]["step"] == found["memory"]["row"]) == whole
    assert "memory" not in records["untouched"].metrics


def test_costs_stand_beside_full_length(records):
    lines = study.costs(list(records.values()), "full-yarn").splitlines()
    assert len(lines) == 2 + len(TRAINED)
    full = next(line for line in lines if line.startswith("| YaRN, full length |"))
    assert full.count("| 1.00 ") == 3 and f"| {TOKENS:,} |" in full
    older = {name: replace(record, metrics={**record.metrics, "memory": None}) for name, record in records.items()}
    assert study.costs(list(older.values()), "full-yarn").splitlines()[2].endswith("| – | – | – | – |")


def test_costs_beside_what_was_not_trained_are_refused(records):
    with pytest.raises(ValueError, match="no training of untouched"):
        study.costs(list(records.values()), "untouched")


def test_the_order_of_a_table_is_the_studys_then_that_of_short(records):
    names = list(study.by_row(list(reversed(records.values()))))
    assert names[:2] == ["untouched", "truncation"] and names[-len(NEW) :] == [row.name for row in NEW]


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_runs_short_into_its_own_folder_and_tells_the_cost(given, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "shipped", lambda: given)
    monkeypatch.setattr(study, "profile_by_name", lambda name: replace(TWO_STEPS, name=name))
    words = ["run", "study", "--short", "--profile", "smoke", "--rows", "full-yarn", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "train_short" / "smoke-full-yarn-seed1.json").is_file()
    assert "| method | seeds | 1× |" in said and "| MB a step |" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--short", "--ladder"], "not allowed with"), (["--short", "--rows", "06-control"], "no row is named '06-control'")],
)
def test_bad_input_of_the_command_is_one_line_and_status_two(tmp_path, capsys, arguments, told):
    try:
        status = cli.main(["run", "study", *arguments, "--out", str(tmp_path)])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and told in error and len(error.strip().splitlines()) == 1


# ------------------------------------------------------------------------------------------------ stages, and what comes first


def test_a_training_that_looks_at_another_waits_for_it(given, tmp_path):
    said = []
    rows_asked = named("longrecipe-yarn")
    study.run(TWO_STEPS, rows=rows_asked, given=given, out=tmp_path, experiment="train_short", report=said.append)
    assert ["full-yarn" in line for line in said[:2]] == [True, False]
    with pytest.raises(ValueError, match="full-yarn has not been trained with seed 2"):
        runs.train(place(given, tmp_path / results.FOLDER.name, TWO_STEPS), rows_asked[0].tuning, 2)


def test_long_recipe_spends_the_same_steps_and_rows_in_two_stages(given, tmp_path, monkeypatch):
    seen, whole = [], training.train

    def remember(model, data, plan, **rest):
        seen.append((plan, data))
        return whole(model, data, plan, **rest)

    monkeypatch.setattr(training, "train", remember)
    here = place(given, tmp_path, replace(TINY, steps=5))
    tuned = named("longrecipe-yarn")[0].tuning
    runs.train(here, tuned.after, 1)
    seen.clear()
    runs.train(here, tuned, 1)
    (simulation, far), (replay, near) = seen
    assert (simulation.steps, replay.steps) == (4, 1) and replay.rate == pytest.approx(simulation.rate / 10)
    ordinary = given.rows(1, 5 * simulation.rows, 1)
    assert torch.equal(torch.cat([far.tokens, near.tokens])[64:], ordinary.tokens[64:])
    for row, part, mine, mine_part in zip(ordinary.tokens, ordinary.parts, far.tokens, far.parts, strict=False):
        assert (mine_part == "selected") == (part == "text") and (part == "text" or torch.equal(row, mine))
    assert sum(part == "selected" for part in far.parts) > 10


def test_what_long_recipe_leaves_is_half_of_the_base(given, tmp_path):
    here, tuned = place(given, tmp_path, TWO_STEPS), named("longrecipe-yarn")[0].tuning
    runs.train(here, tuned.after, 1)
    runs.train(here, tuned, 1)
    merged, left = runs.trained(here, tuned, 1)
    before, after = given.model().state_dict(), merged.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    # Two steps of at most 3e-4 each move a weight by 6e-4 and a little decay; half of that is left.
    assert moved and max(float((after[name] - before[name]).abs().max()) for name in moved) < 3.3e-4
    assert left["course"]["anchors"] > 0 and 0 < left["course"]["kept"] <= 1


def test_a_long_recipe_that_was_stopped_goes_on_to_the_same_weights(given, tmp_path):
    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **rest):
            raise InterruptedError

    tuned, models = named("longrecipe-yarn")[0].tuning, []
    for name, callbacks in (("through", ()), ("stopped", (Stop(),))):
        here = place(given, tmp_path / name, replace(TINY, steps=4))
        runs.train(here, tuned.after, 1)
        if callbacks:
            with pytest.raises(InterruptedError):
                runs.train(here, tuned, 1, callbacks)
        runs.train(here, tuned, 1)
        models.append(runs.trained(here, tuned, 1)[0].state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_row_that_recalls_more_is_measured_anew_and_says_so(given, tmp_path):
    asked = replace(TWO_STEPS, trials=1)
    both = named("interleaved-yarn", "interleaved-tables")
    study.run(asked, rows=both, given=given, out=tmp_path, experiment="train_short", report=quiet)
    without, with_tables = (results.read(tmp_path / "train_short" / f"tiny-{row.name}-seed1.json").metrics for row in both)
    assert "lookup" not in without and set(with_tables["lookup"]) == {"1", "2"}
    assert without["last"] == with_tables["last"] and without["passkey"] == with_tables["passkey"]
    lines = study.table(results.read_all("train_short", tmp_path)).splitlines()
    assert "cell of a table 2×" in lines[0] and lines[2].endswith("| – | – |") and lines[3].endswith("% |")


def test_tables_take_the_place_of_text_alone():
    assert sum(short.TABLES.values()) == pytest.approx(1)
    assert {part: short.TABLES[part] for part in base.SHARES if part != "text"} == {
        part: share for part, share in base.SHARES.items() if part != "text"
    }
