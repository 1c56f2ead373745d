"""The maps benchmark on a model that runs in a moment: every candidate is measured, the plain one against itself."""

import pytest

from benchmarks import maps as bench
from clexlab.positions.maps import MAPS


@pytest.fixture
def quick(monkeypatch):
    small = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(bench, "SHAPE", small)
    monkeypatch.setattr(bench, "WINDOWS", (1, 2))
    monkeypatch.setattr(bench, "LONGEST", 2)
    monkeypatch.setattr(bench, "ROUNDS", {1: 1, 2: 2})


def test_every_map_is_timed_beside_plain_attention(quick):
    found = bench.measure_times(2)
    assert set(found) == {"plain", *(kind.name for kind in MAPS)}
    assert found["plain"]["ratio"] == 1
    assert all(entry["ms"] > 0 and entry["low"] <= entry["ratio"] <= entry["high"] for entry in found.values())


def test_peaks_rise_with_the_length_and_decide_with_the_times_whether_targets_are_met(quick, monkeypatch):
    peaks = bench.measure_peaks("self_extend")
    assert list(peaks) == ["1x", "2x"] and peaks["1x"] <= peaks["2x"]
    monkeypatch.setattr(bench, "in_a_process", lambda name: {"1x": 1.0, "2x": 3.0 if name == "sinks" else 1.0})
    found = bench.run()
    assert not found["met"] and found["sinks"]["peak_ratio"] == 3 and set(found["gali"]["time"]) == {"1x", "2x"}
