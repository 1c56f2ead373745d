"""The record of lesson 07: its measures are means of what `decoding` found, and the command writes or refuses."""

import dataclasses
import json

import pytest
import torch

from clexlab import cache_record, decoding, hf, pocket, results, scaling

WINDOW = 16


@pytest.fixture(scope="module")
def case():
    model = decoding.random_llama(torch.Generator().manual_seed(0), 2, WINDOW)
    return decoding.Case(title="small", model=model, path=hf.scaling_for(model, scaling.DynamicNTK))


@pytest.fixture(scope="module")
def texts():
    return cache_record.random_texts(0, 2, 4 * WINDOW + 1)


@pytest.fixture
def runs(case, texts):
    return [decoding.compare(case.model, case.path, text, hf.Rerotate) for text in texts]


def test_every_measure_is_a_mean_per_text_and_its_spread_over_texts(runs):
    measured = cache_record.summary(runs, WINDOW)
    each = [float(run.divergence[WINDOW:].mean()) for run in runs]
    # Stored with five digits.
    assert measured["beyond"]["kl"] == pytest.approx([sum(each) / 2, min(each), max(each)], rel=1e-4)
    assert measured["beyond"]["largest_kl"] == pytest.approx(max(float(run.divergence.max()) for run in runs), rel=1e-4)
    second = [float(run.loss_cached[WINDOW : 2 * WINDOW].mean()) for run in runs]
    assert measured["by_length"]["1–2"]["loss_cached"][0] == pytest.approx(sum(second) / 2, rel=1e-4)
    assert measured["by_length"]["0–1"]["same"] == [1, 1, 1]
    assert list(measured["by_length"]) == ["0–1", "1–2", "2–4"]


def test_tokens_are_counted_from_the_last_change_of_the_factor(runs):
    ages = cache_record.since_change(runs[0])
    assert ages.tolist() == [*range(1, 17)] * 4
    measured = cache_record.summary(runs, WINDOW)["since_change"]
    first = [float(run.divergence.reshape(4, 16)[1:, :8].mean()) for run in runs]
    assert measured["0–8"]["kl"][0] == pytest.approx(sum(first) / 2, rel=1e-4)
    assert list(measured) == ["0–8", "8–32"]


def test_a_run_whose_factor_never_changes_has_no_ages(case, texts):
    frozen = [decoding.compare(case.model, case.path, text, hf.Frozen) for text in texts]
    assert "since_change" not in cache_record.summary(frozen, WINDOW)


def test_the_study_holds_every_case_schedule_and_semantics(case, texts):
    found = cache_record.study([case], texts, (hf.Whole(), hf.Doubling()))
    assert set(found) == {"small"} and set(found["small"]) == {"whole", "doubling"}
    names = {semantics.name for semantics in decoding.SEMANTICS}
    assert all(set(measured) == names for measured in found["small"].values())
    kl = {name: measured["beyond"]["kl"][0] for name, measured in found["small"]["whole"].items()}
    assert kl["frozen"] < 1e-11 and kl["refill"] < 1e-11 < kl["rerotate"] < kl["stale"]


@pytest.fixture
def small(case, texts, monkeypatch):
    """The command on the small model and its texts instead of the shipped ones."""
    monkeypatch.setattr(decoding, "pocket_cases", lambda: (case,))
    monkeypatch.setattr(pocket, "held_out", lambda count, length: texts[:count])
    monkeypatch.setattr(cache_record, "random_cases", lambda seed: (dataclasses.replace(case, title="random"),))
    monkeypatch.setattr(cache_record, "WINDOWS", 4)


def test_the_command_writes_one_record_and_never_over_another(small, tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--texts", "2"]
    assert cache_record.main(arguments) == 0
    (record,) = results.read_all("cache", tmp_path)
    assert record.config["cases"] == ["small", "random"] == list(record.metrics)
    assert "held out" in record.config["texts"] and record.tokens == 2 * (4 * WINDOW + 1)
    assert json.loads(json.dumps(record.metrics)) == record.metrics
    capsys.readouterr()
    assert cache_record.main(arguments) == 2
    assert "exists" in capsys.readouterr().err


def test_too_many_texts_are_refused_and_nothing_is_written(small, tmp_path, capsys):
    assert cache_record.main(["--out", str(tmp_path), "--texts", "9"]) == 2
    assert "ask for 1 to 2" in capsys.readouterr().err and not list(tmp_path.iterdir())
