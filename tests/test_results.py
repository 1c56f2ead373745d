import json
import math

import pytest

from clexlab import results


def record(run="a", **changes):
    values = {
        "experiment": "solve", "run": run, "config": {"method": "yarn", "factor": 8}, "seed": 0,
        "seconds": 1.5, "metrics": {"loss": 2.0 / 3.0, "tokens": 12},
    }
    return results.Record(**(values | changes))


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    written = record(tokens=4096, protocol="last quarter of the window")
    path = results.write(written, tmp_path)
    assert path == tmp_path / "solve" / "a.json"
    assert results.read(path) == written


def test_a_record_carries_what_repeats_the_run():
    made = record()
    assert {"python", "clexlab", "torch", "transformers"} <= set(made.versions)
    assert made.commit and made.machine and made.created


def test_an_existing_run_is_never_overwritten(tmp_path):
    path = results.write(record(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="never edited"):
        results.write(record(seconds=9.0), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1, 2}])
def test_a_value_that_is_not_plain_finite_json_is_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(ValueError, match="plain JSON"):
        results.write(record(metrics={"loss": value}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "with space"])
def test_a_name_that_would_leave_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="cannot name a file"):
        record(run=name)


@pytest.mark.parametrize("change", [{"metrics": {}}, {"seconds": -1.0}, {"seconds": math.nan}])
def test_a_record_without_metrics_or_time_is_refused(change):
    with pytest.raises(ValueError):
        record(**change)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"experiment": "solve"})])
def test_a_file_that_is_not_a_record_is_refused_by_name(tmp_path, text):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="odd.json"):
        results.read(path)


def test_records_come_in_order_of_their_names_and_only_of_one_experiment(tmp_path):
    for run in ("b", "a"):
        results.write(record(run), tmp_path)
    results.write(record("c", experiment="other"), tmp_path)
    assert [item.run for item in results.read_all("solve", tmp_path)] == ["a", "b"]
    assert results.read_all("absent", tmp_path) == []


def test_a_table_has_a_row_per_record_four_digits_and_a_dash_for_what_is_absent():
    text = results.table([record(), record("b", metrics={"other": 1})], {"run": "run", "loss": "metrics.loss"})
    assert text.splitlines() == ["| run | loss |", "| --- | --- |", "| a | 0.6667 |", "| b | – |"]


def test_a_table_refuses_an_unknown_field_and_no_columns():
    with pytest.raises(ValueError, match="start with one of"):
        results.table([record()], {"x": "measures.loss"})
    with pytest.raises(ValueError, match="columns is empty"):
        results.table([record()], {})


def test_the_records_in_the_repository_can_all_be_read():
    stored_paths = list(results.FOLDER.glob("*/*.json"))
    assert stored_paths, "data/results holds no record; make bench writes some"
    for path in stored_paths:
        stored = results.read(path)
        assert (stored.experiment, stored.run) == (path.parent.name, path.stem)


def test_a_record_that_would_come_back_changed_is_refused(tmp_path):
    for config in ({1: 2}, {"sizes": (1, 2)}):
        with pytest.raises(ValueError, match="not plain JSON"):
            results.write(record(config=config), tmp_path)


def test_wrong_seconds_names_and_files_are_refused(tmp_path, unchecked):
    for broken in (dict(seconds=float("inf")), dict(seconds=None), dict(experiment=None)):
        with pytest.raises(ValueError):
            record(**broken)
    with pytest.raises(ValueError, match="cannot be read"):
        results.read(tmp_path / "nothing.json")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="binary.json"):
        results.read(tmp_path / "binary.json")
