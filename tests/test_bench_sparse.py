"""The benchmark of sparse attention on texts that take a moment: every pattern is timed, counts are the package's, differences are seen."""

import pytest
import torch

from benchmarks import sparse as bench
from clexlab import sparse


def test_every_pattern_is_measured_beside_its_counts(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 2)
    found = bench.measure(64)
    for kind in sparse.PATTERNS:
        cell, pattern = found[kind.name], kind.default(64)
        assert cell["masked"]["ratio"] > 0
        # Four heads of 64 · 65 / 2 pairs.
        assert cell["pairs"] == round(int(pattern.visible(4, 64).sum()) / 8320, 4)
    assert {name for name, cell in found.items() if isinstance(cell, dict) and "chunked" in cell} == {
        "local",
        "s2",
        "scca_fixed",
        "scca_flow",
    }
    # Chunks of 16: local ones hold 4 squares of 256 scores a head, and S2's moved half one more.
    assert found["local"]["computed"] == round(4 * 4 * 256 / 8320, 4) and found["s2"]["computed"] == round(2 * (4 + 5) * 256 / 8320, 4)


def test_another_pattern_is_noticed():
    given = bench.states(32)
    one = sparse.attention(*given, sparse.Local(chunk=8))
    with pytest.raises(RuntimeError, match="local in chunks differs.*not the same pattern"):
        bench.check_equal("local", one, bench.masked(*given, sparse.S2(chunk=8).visible(bench.HEADS, 32)))


@pytest.mark.parametrize("way, pattern", bench.REMEMBERED)
def test_a_case_of_memory_is_one_step_of_what_it_is_called(way, pattern, monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "step", lambda output, given: seen.append((output, given)))
    bench.prepare({"way": way, "pattern": pattern, "length": 32})()
    (output, given), kind = seen[0], sparse.by_name(pattern).default(32)
    wanted = bench.full(*given) if way == "full" else bench.masked(*given, kind.visible(bench.HEADS, 32))
    torch.testing.assert_close(output, wanted)
