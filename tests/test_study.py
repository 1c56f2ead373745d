import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from study_tiny import LONGEST, TINY, WINDOW, material, place, quiet
from transformers import TrainerCallback

from clexlab import cli, corpora, evaluation, figures, hf, results, rows, scaling, study, training
from clexlab.commands import study as study_command
from clexlab.study import methods, runner, runs, tuning

EVERY_ROW = (*study.ROWS, *study.LADDER, *study.SHORT, *study.SPARSE)
TRAINED = [row for row in EVERY_ROW if row.tuning is not None]


def named(*names):
    return tuple(study.by_name(name) for name in names)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return material(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def out(given, tmp_path_factory):
    """A small study, run once for all tests that read records."""
    folder = tmp_path_factory.mktemp("results")
    some = named("untouched", "truncation", "yarn", "plain", "plain-yarn", "full-yarn", "clex-ours", "clex-ours-frozen")
    outcome = study.run(TINY, rows=some, given=given, out=folder, report=quiet)
    assert not outcome.failed and not outcome.left
    return folder


@pytest.fixture
def records(out):
    return results.read_all("study", out)


# ------------------------------------------------------------------------------------------------ one budget for all


@pytest.mark.parametrize("profile", study.PROFILES, ids=lambda profile: profile.name)
def test_every_trained_row_gets_the_same_tokens_steps_and_rate(profile):
    plans = [(row.tuning, profile.plan(1, "cpu", span=row.tuning.windows, path_rate=row.tuning.path_rate)) for row in TRAINED]
    assert len({plan.steps * plan.rows * tuned.windows for tuned, plan in plans}) == 1
    assert len({(plan.steps, plan.rate, plan.warmup, plan.weight_decay, plan.seed) for _, plan in plans}) == 1


def test_only_the_smoke_profile_has_fewer_than_three_seeds_and_says_so():
    assert [profile.name for profile in study.PROFILES if len(profile.seeds) < 3] == ["smoke"]
    assert "one seed" in study.profile_by_name("smoke").note


def test_every_method_of_a_seed_reads_the_same_rows_in_the_same_order(given, tmp_path, monkeypatch):
    seen = {}

    def remember(model, data, plan, **rest):
        seen.setdefault(len(data.tokens[0]), []).append((plan.seed, data.tokens, data.parts))
        raise InterruptedError

    monkeypatch.setattr(training, "train", remember)
    for seed in (1, 2):
        for row in study.ROWS:
            if row.tuning is not None:
                with pytest.raises(InterruptedError):
                    runs.train(place(given, tmp_path), row.tuning, seed)
    assert set(seen) == {WINDOW, LONGEST}
    for length, given_rows in seen.items():
        first = {seed: (tokens, parts) for seed, tokens, parts in given_rows}
        for seed, tokens, parts in given_rows:
            assert torch.equal(tokens, first[seed][0]) and parts == first[seed][1], length
        assert not torch.equal(first[1][0], first[2][0])
        assert first[1][0].numel() == TINY.steps * TINY.rows * WINDOW


def test_no_held_out_text_is_trained_on(given):
    def places_of(row, documents):
        return sum(bool((document.unfold(0, len(row), 1) == row).all(1).any()) for document in documents)

    for span in (1, 16):
        drawn = given.rows(1, 20, span)
        texts = [row for row, part in zip(drawn.tokens, drawn.parts, strict=True) if part == "text"]
        assert all(places_of(row, given.train) == 1 and places_of(row, given.held_out) == 0 for row in texts)


def test_the_shipped_material_trains_and_measures_on_the_two_halves_of_the_library(monkeypatch):
    def digest(text):
        return torch.tensor(list(hashlib.sha256(text.encode()).digest()))

    monkeypatch.setattr(rows, "encode", lambda texts, tokenizer: [digest(text) for text in texts])
    shipped = study.shipped()
    halves = {"train": shipped.train, "held_out": shipped.held_out}
    for half, documents in halves.items():
        wanted = [digest(document.text) for document in corpora.standard_library(half).documents]
        assert torch.equal(torch.stack(documents), torch.stack(wanted))
    assert not {tuple(text.tolist()) for text in shipped.train} & {tuple(text.tolist()) for text in shipped.held_out}


def test_every_row_is_measured_on_the_same_target_tokens(given, tmp_path, monkeypatch):
    seen, measure = [], evaluation.measure

    def remember(model, label, tokens, window, *rest, **named_rest):
        seen.append(tokens)
        return measure(model, label, tokens, window, *rest, **named_rest)

    monkeypatch.setattr(evaluation, "measure", remember)
    outcome = study.run(TINY, rows=named("untouched", "truncation", "plain", "full-yarn"), given=given, out=tmp_path, report=quiet)
    assert len(outcome.done) == len(seen) == 6
    for tokens in seen[1:]:
        assert all(torch.equal(one, other) for one, other in zip(tokens, seen[0], strict=True))


# ------------------------------------------------------------------------------------------------ what the rows are


def test_the_study_has_every_closed_form_with_and_without_tuning():
    names = {row.name for row in study.ROWS}
    for method in scaling.SCALINGS[1:-1]:
        name = method.name.replace("_", "-")
        assert {name, f"plain-{name}"} <= names
        assert study.by_name(f"plain-{name}").tuning is methods.PLAIN


def test_names_are_unique_and_every_rung_says_what_was_expected():
    for table in (study.ROWS, study.LADDER, study.SHORT):
        assert len({row.name for row in table}) == len(table)
        assert all(row.about and row.title for row in table)
        for row in table:
            assert not row.control or study.by_name(row.control, table)
            assert not row.against or study.by_name(row.against, table)
    assert all(len(row.prediction) > 40 for row in study.LADDER)


def test_trainings_of_one_name_are_one_training():
    for row in TRAINED:
        assert all(row.tuning == other.tuning for other in TRAINED if other.tuning.name == row.tuning.name)


def test_every_row_that_learns_a_path_has_a_control_that_differs_in_that_alone(given):
    found = hf.geometry(given.model())
    for table in (study.ROWS, study.LADDER, study.SHORT):
        for row in table:
            if row.tuning is None or not isinstance(row.tuning.path, study.Learned):
                continue
            control, path = study.by_name(row.control, table), row.tuning.path(found, 1)
            if control.tuning is None:  # the model is frozen too, so that nothing is left to train
                assert row.tuning.learns is tuning.path_only and control.reading.path(found, 1) == path.prior
                continue
            assert control.tuning.path(found, 1) == path.prior
            same = ("positions", "learns", "objective", "span", "factor", "shares")
            assert all(getattr(control.tuning, name) == getattr(row.tuning, name) for name in same)


@pytest.mark.parametrize(("learned", "control"), [("clex-ours", "clex-ours-frozen"), ("clex-official", "clex-official-frozen")])
def test_the_control_is_clex_with_a_field_of_zeros_bit_for_bit(given, tmp_path, learned, control):
    def model_only(model):
        hf.rotary_of(model).scaling.requires_grad_(False)

    zero = replace(study.by_name(learned).tuning, name="zero", learns=model_only)
    for one in (zero, study.by_name(control).tuning):
        runs.train(place(given, tmp_path), one, 1)
    frozen, field = (runs.trained(place(given, tmp_path), one, 1)[0].state_dict() for one in (study.by_name(control).tuning, zero))
    assert set(frozen) < set(field)
    assert all(torch.equal(weight, field[name]) for name, weight in frozen.items())


def test_training_the_path_alone_leaves_the_model_as_it_was(given, tmp_path):
    rung = study.by_name("10-path", study.LADDER)
    runs.train(place(given, tmp_path), rung.tuning, 1)
    after, _ = runs.trained(place(given, tmp_path), rung.tuning, 1)
    before = given.model().state_dict()
    assert all(torch.equal(after.state_dict()[name], weight) for name, weight in before.items())
    path = hf.rotary_of(after).scaling
    assert bool(path.residual(16.0).any())


# ------------------------------------------------------------------------------------------------ running


def test_a_rung_that_the_study_has_is_neither_trained_nor_measured_again(given, out, tmp_path, monkeypatch):
    shutil.copytree(out / "study", tmp_path / "study")
    rungs = [study.by_name(name, study.LADDER) for name in ("08-distilled", "08-control", "10-control")]
    def again(*given):
        raise ValueError("done a second time")

    monkeypatch.setattr(runs, "train", again)
    monkeypatch.setattr(runs, "measure", again)
    told = dict(seeds=(1,), given=given, out=tmp_path, experiment="clex_ladder", report=quiet)
    assert len(study.run(TINY, rows=rungs, **told).done) == 3
    for rung, name in zip(rungs, ("clex-ours-seed1", "clex-ours-frozen-seed1", "yarn"), strict=True):
        one = next(record for record in results.read_all("clex_ladder", tmp_path) if record.config["row"] == rung.name)
        source = results.read(tmp_path / "study" / f"tiny-{name}.json")
        assert (one.metrics, one.commit, one.seed, one.tokens) == (source.metrics, source.commit, source.seed, source.tokens)
        assert (one.config["title"], one.config["method"], one.config["prediction"]) == (rung.title, rung.name, rung.prediction)
        assert one.protocol.endswith(f"those of study/tiny-{name}")
    # What was measured on other texts is not taken.
    other = replace(TINY, texts=1)
    shutil.rmtree(tmp_path / "clex_ladder")
    assert list(study.run(other, rows=rungs[:1], **told).failed.values()) == ["done a second time"]


def test_readings_of_one_training_share_it(given, tmp_path, monkeypatch):
    calls, train = [], training.train
    monkeypatch.setattr(training, "train", lambda *args, **rest: calls.append(1) or train(*args, **rest))
    some = named("plain", "plain-yarn", "plain-linear", "plain-truncation")
    outcome = study.run(TINY, rows=some, seeds=(1,), given=given, out=tmp_path, report=quiet)
    # The training, and what a step of it and a single row need of memory.
    assert len(outcome.done) == 4 and len(calls) == 1 + 2


def test_rows_without_training_have_one_run_and_seeds_come_one_after_the_other():
    names = [job.run for job in runner.jobs(TINY, named("untouched", "plain", "clex-ours"), (1, 2))]
    assert names == ["tiny-untouched", "tiny-plain-seed1", "tiny-clex-ours-seed1", "tiny-plain-seed2", "tiny-clex-ours-seed2"]


class Killed(TrainerCallback):
    def on_step_end(self, args, state, control, **rest):
        if state.global_step == 2:
            raise KeyboardInterrupt


def test_a_training_that_was_stopped_goes_on_to_the_same_record(given, out, records, tmp_path):
    row = study.by_name("clex-ours")
    stopped = place(given, tmp_path / runner.SCRATCH)
    with pytest.raises(KeyboardInterrupt):
        runs.train(stopped, row.tuning, 1, callbacks=[Killed()])
    assert training.last_checkpoint(stopped.folder(row.tuning, 1)) is not None
    study.run(TINY, rows=(row,), seeds=(1,), given=given, out=tmp_path, report=quiet)
    again = results.read(tmp_path / "study" / "tiny-clex-ours-seed1.json")
    whole = next(record for record in records if record.run == again.run)
    for name in ("last", "whole", "passkey", "residual", "temperature"):
        assert again.metrics[name] == whole.metrics[name]
    assert [entry["loss"] for entry in again.metrics["curve"]] == [entry["loss"] for entry in whole.metrics["curve"]]
    assert again.config == whole.config and again.tokens == whole.tokens


def test_a_call_does_what_fits_and_the_next_one_goes_on(given, tmp_path):
    slow, some, said = replace(TINY, measuring_seconds=1e4, training_seconds=1e4), named("untouched", "plain"), []
    first = study.run(slow, rows=some, seeds=(1,), given=given, out=tmp_path, report=said.append)
    # The first step of a call is always done; what a training takes is only guessed so far.
    assert first.done == ["tiny-untouched"] and first.left == ["tiny-plain-seed1"]
    assert "the same command goes on" in said[-1]
    second = study.run(slow, rows=some, seeds=(1,), given=given, out=tmp_path, report=said.append)
    third = study.run(slow, rows=some, seeds=(1,), given=given, out=tmp_path, report=said.append)
    assert second.left == ["tiny-plain-seed1"] and third.done == ["tiny-plain-seed1"]
    assert third.had == ["tiny-untouched"] and not third.left
    last = study.run(slow, rows=some, seeds=(1,), given=given, out=tmp_path, report=said.append)
    assert len(last.had) == 2 and not last.done and "nothing to do" in said[-1]


def test_a_run_that_goes_wrong_is_reported_and_the_others_go_on(given, tmp_path):
    def broken(found, seed):
        raise ValueError("no such path")

    wrong = study.Row(name="wrong", title="wrong", about="", tuning=study.Tuning(name="wrong", path=broken))
    said = []
    outcome = study.run(TINY, rows=(wrong, *named("untouched")), seeds=(1,), given=given, out=tmp_path, report=said.append)
    assert outcome.done == ["tiny-untouched"] and outcome.failed == {"tiny-wrong-seed1": "no such path"} and not outcome.left
    assert any("FAILED: no such path" in line for line in said)


def test_what_another_call_is_at_is_left_to_it(given, tmp_path):
    work = tmp_path / runner.SCRATCH
    with runner.alone(work / "tiny-plain-seed1.lock") as mine:
        assert mine
        outcome = study.run(TINY, rows=named("plain", "untouched"), seeds=(1,), given=given, out=tmp_path, report=quiet)
    assert outcome.done == ["tiny-untouched"] and outcome.left == ["tiny-plain-seed1"]


def test_a_model_that_was_trained_otherwise_is_not_read(given, tmp_path):
    row = study.by_name("plain")
    runs.train(place(given, tmp_path), row.tuning, 1)
    with pytest.raises(ValueError, match="trained otherwise"):
        runs.trained(place(given, tmp_path, replace(TINY, rate=1e-4)), row.tuning, 1)


def test_a_training_that_began_from_another_base_model_is_not_gone_on_with(given, tmp_path, monkeypatch):
    row, here = study.by_name("plain"), place(given, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        runs.train(here, row.tuning, 1, callbacks=[Killed()])
    # Equal in everything but its weights, as a base model that was trained anew is.
    monkeypatch.setattr(study.Material, "weights", "others")
    with pytest.raises(ValueError, match="trained otherwise"):
        runs.train(here, row.tuning, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(rows=()), "none"),
        (dict(rows=named("plain", "plain")), "each once"),
        (dict(seeds=()), "whole numbers"),
        (dict(seeds=(1, 1)), "each once"),
        (dict(seeds=(-1,)), "whole numbers"),
        (dict(seeds=(1, 2**32)), "below 2.32"),
        (dict(minutes=0), "above 0"),
        (dict(device="tpu"), "cpu"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(given, tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        study.run(TINY, given=given, out=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_told_the_known_ones():
    with pytest.raises(ValueError, match="plain-yarn"):
        study.by_name("nonsense")
    with pytest.raises(ValueError, match="smoke"):
        study.profile_by_name("nonsense")
    with pytest.raises(ValueError, match="multiple of 16"):
        replace(TINY, rows=8).plan(1, "cpu", span=16, path_rate=0.0)


# ------------------------------------------------------------------------------------------------ records


def test_a_record_says_how_its_numbers_came_about(records):
    found = {record.run: record for record in records}
    ours, control = found["tiny-clex-ours-seed1"], found["tiny-clex-ours-frozen-seed1"]
    assert ours.tokens == control.tokens == TINY.steps * TINY.rows * WINDOW
    assert set(ours.metrics["last"]) == set(ours.metrics["residual"]) == set(ours.metrics["temperature"]) == {"1", "2", "4", "8", "16"}
    assert ours.metrics["residual"]["1"] == [0.0] * 8 and any(ours.metrics["residual"]["16"])
    assert "residual" not in control.metrics
    assert [entry["step"] for entry in ours.metrics["curve"] if "loss" in entry] == [1, 2, 3]
    assert ours.config["tuning"]["plan"]["seed"] == 1 and ours.config["tuning"]["path"]["name"] == "clex"
    assert ours.config["control"] == "clex-ours-frozen"
    assert set(ours.metrics["passkey"]) == set(ours.metrics["copy"]) == {"1", "2"}
    untrained = found["tiny-untouched"]
    assert untrained.tokens is None and untrained.config["tuning"] is None and "nothing was trained" in untrained.protocol


def test_full_length_tuning_is_read_at_the_factor_it_was_trained_at(records):
    full = next(record for record in records if record.run == "tiny-full-yarn-seed1")
    assert set(full.metrics["scale"].values()) == {16.0}
    assert full.tokens == TINY.steps * TINY.rows * WINDOW and full.config["tuning"]["plan"]["rows"] == 1


def test_truncation_is_the_loss_at_one_window_at_every_length(records):
    found = {record.run: record.metrics["last"] for record in records}
    assert found["tiny-truncation"] == pytest.approx(dict.fromkeys(found["tiny-truncation"], found["tiny-untouched"]["1"]), abs=1e-6)


def test_the_table_has_a_line_a_method_with_mean_and_spread(records):
    lines = study.table(records).splitlines()
    assert len(lines) == 2 + 8
    assert lines[0].startswith("| method | seeds | 1× | 2× | 4× | 8× | 16× | pass key 1× |")
    assert lines[2].startswith("| untouched | – |") and "±" not in lines[2]
    ours = next(line for line in lines if line.startswith("| CLEX, ours |"))
    values = [record.metrics["last"]["16"] for record in records if record.config["row"] == "clex-ours"]
    assert f"{sum(values) / 2:.3f} ± " in ours and "| 2 |" in ours


def test_the_figure_draws_the_rows_asked_for_with_a_band_over_seeds(records):
    drawn = figures.study(records, rows=("untouched", "clex-ours"))
    assert [trace.name for trace in drawn.data if trace.name] == ["untouched", "CLEX, ours"]
    assert sum(trace.fill == "toself" for trace in drawn.data) == 1
    assert {trace.name for trace in figures.study(records).data if trace.name} >= {"CLEX, ours", "ours, field frozen at zero", "YaRN"}
    with pytest.raises(ValueError, match="no record of abf"):
        figures.study(records, rows=("abf",))


def test_records_of_something_else_are_refused(records):
    with pytest.raises(ValueError, match="not a record of a study"):
        study.table([replace(records[0], config={"method": "yarn"})])
    other = replace(records[0], config={**records[0].config, "profile": "cpu"})
    with pytest.raises(ValueError, match="budgets differ"):
        study.table([*records, other])


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def tiny_command(given, monkeypatch):
    monkeypatch.setattr(study, "shipped", lambda: given)
    monkeypatch.setattr(study, "profile_by_name", lambda name: replace(TINY, name=name))


def test_the_command_runs_rows_prints_a_table_and_goes_on(tiny_command, tmp_path, capsys):
    command = ["run", "study", "--profile", "smoke", "--rows", "untouched", "plain", "--seeds", "3", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "| plain tuning | 1 |" in said and "2 new" in said
    assert sorted(file.name for file in (tmp_path / "study").iterdir()) == ["smoke-plain-seed3.json", "smoke-untouched.json"]
    assert cli.main(command) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_command_runs_the_ladder_into_its_own_folder(tiny_command, tmp_path):
    assert cli.main(["run", "study", "--ladder", "--profile", "smoke", "--rows", "10-control", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "clex_ladder" / "smoke-10-control.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["study", "--rows", "nonsense"], "no row is named 'nonsense'"),
        (["study", "--seeds", "1", "1"], "each once"),
        (["study", "--minutes", "0"], "no minutes"),
        (["study", "--workers", "0"], "whole number"),
        (["study", "--ladder", "--rows", "plain"], "no row is named 'plain'"),
        (["01", "--minutes", "3"], "--minutes"),
        (["study", "01"], "study"),
    ],
)
def test_bad_input_of_the_command_is_one_line_and_status_two(tiny_command, tmp_path, capsys, arguments, told):
    try:
        status = cli.main(["run", *arguments, *(["--out", str(tmp_path)] if arguments[:2] != ["01", "--minutes"] else [])])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and told in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_failed_run_is_status_one(tiny_command, tmp_path, monkeypatch):
    def broken(*given):
        raise ValueError("no")

    monkeypatch.setattr(runs, "measure", broken)
    assert cli.main(["run", "study", "--rows", "untouched", "--out", str(tmp_path)]) == 1


def test_one_worker_prints_the_table_and_one_of_several_does_not(tiny_command, tmp_path, capsys):
    words = ["run", "study", "--profile", "smoke", "--rows", "untouched", "--out", str(tmp_path)]
    assert cli.main([*words, "--child"]) == 0
    assert "|" not in capsys.readouterr().out and (tmp_path / "study" / "smoke-untouched.json").is_file()
    assert cli.main([*words, "--workers", "1"]) == 0
    assert "| untouched" in capsys.readouterr().out
    assert cli.main([*words, "--child"]) == 0
    assert "|" not in capsys.readouterr().out


def test_records_are_plain_json_files(out):
    for file in (out / "study").glob("*.json"):
        assert json.loads(file.read_text())["experiment"] == "study"


def test_workers_are_the_same_command_with_one_thread_each(tiny_command, tmp_path, monkeypatch):
    started = []

    class Process:
        def __init__(self, command, env):
            started.append((command, env["OMP_NUM_THREADS"]))
            self.status = len(started) - 1

        def wait(self):
            return self.status

    monkeypatch.setattr(study_command.subprocess, "Popen", Process)
    words = ["--ladder", "--profile", "smoke", "--rows", "03-yarn", "--seeds", "1", "2", "--out", str(tmp_path), "--minutes", "2.5"]
    # One of the two went wrong, so the command has.
    assert cli.main(["run", "study", *words, "--workers", "2"]) == 1
    assert len(started) == 2 and all(threads == "1" for _, threads in started)
    for command, _ in started:
        asked, given_back = cli.parser().parse_args(["run", "study", *words, "--child"]), cli.parser().parse_args(command[3:])
        assert vars(given_back) == vars(asked)
