"""The maps benchmark on a model that runs in a moment: every candidate is measured, the plain one against itself."""

import subprocess
import sys
from types import SimpleNamespace

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


def test_peaks_are_megabytes_beyond_what_was_held_before_the_first_text(quick, monkeypatch):
    read, lengths = bench.read, []
    monkeypatch.setattr(bench, "read", lambda decoder, windows: (lengths.append(windows), read(decoder, windows)))
    monkeypatch.setattr(bench.psutil.Process, "memory_info", lambda process: SimpleNamespace(rss=50_000_000))
    monkeypatch.setattr(bench, "peak", lambda: 50_000_000 + 10_000_000 * lengths[-1])
    assert bench.measure_peaks("self_extend") == {"1x": 10.0, "2x": 20.0} and lengths == [1, 2]


def test_targets_are_met_only_where_times_and_peaks_are(quick, monkeypatch):
    monkeypatch.setattr(bench, "in_a_process", lambda name: {"1x": 1.0, "2x": 3.0 if name == "sinks" else 1.0})
    monkeypatch.setattr(bench, "measure_times", lambda windows: dict.fromkeys(("plain", *(kind.name for kind in MAPS)), {"ratio": 1.0}))
    found = bench.run()
    assert not found["met"] and found["sinks"]["peak_ratio"] == 3 and set(found["gali"]["time"]) == {"1x", "2x"}
    monkeypatch.setattr(bench, "in_a_process", lambda name: {"1x": 1.0, "2x": 1.0})
    assert bench.run()["met"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak cannot be told from that of the process before")
def test_the_peak_of_a_process_is_its_own_and_not_that_of_the_one_that_started_it():
    large = bytearray(b"1") * 200_000_000
    show = "from benchmarks.peaks import peak; print(peak())"
    small, grown = (
        int(subprocess.run([sys.executable, "-c", f"{before}; {show}"], check=True, capture_output=True, text=True).stdout)
        for before in ("pass", "held = bytearray(b'1') * 60_000_000; del held")
    )
    assert small < 50_000_000 < len(large) and 60_000_000 < grown < small + 65_000_000
