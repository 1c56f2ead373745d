"""The decoding benchmark on a model that runs in a moment: what it calls the same is the same, and what it reports keeps its sign."""

import pytest
import torch

from benchmarks import decode
from clexlab import scaling


@pytest.fixture
def quick(monkeypatch):
    small = {"hidden_size": 128, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(decode, "SHAPE", decode.SHAPE | small)
    with torch.no_grad():
        yield decode.build(1)


def test_a_cost_below_what_the_clock_resolves_keeps_its_sign(quick, monkeypatch):
    taken = {"static": [3e-3] * 3, "rerotate": [2e-3] * 3}
    monkeypatch.setattr(decode, "paired", lambda candidates, rounds: taken)
    found = decode.measure_change(quick, scaling.YaRN(**decode.GEOMETRY), 1, decode.WINDOW)
    assert found == {"ms": -0.5, "ms_per_token_of_a_window": -0.001, "of_a_token": -0.0007}


def test_every_variant_is_the_same_model_before_it_is_timed(quick, monkeypatch):
    monkeypatch.setattr(decode, "build", lambda heads: quick)
    for rounds in ("ROUNDS", "WIDER_ROUNDS", "CHANGES"):
        monkeypatch.setattr(decode, rounds, 2)
    found = decode.measure(1, 2 * decode.WINDOW)
    assert {*decode.BOUND, "official", "clex_frozen", "clex_rerotate"} <= set(found)
    store = decode.random_store(1, 600)
    paths = {"yarn": scaling.YaRN(**decode.GEOMETRY), "linear": scaling.Linear(**decode.GEOMETRY)}
    with pytest.raises(RuntimeError, match="linear differs from yarn.*not the same model"):
        decode.check_equal({name: decode.static_start(quick, path, 2.0, store) for name, path in paths.items()})
