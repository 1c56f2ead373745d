"""What all benchmarks have in common: a configuration that a record can keep, known before the minutes of measuring."""

import importlib
import json

import pytest

from benchmarks.__main__ import BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_configuration_of_a_benchmark_comes_back_from_json_as_it_is(name):
    config = importlib.import_module(f"benchmarks.{name}").CONFIG
    assert json.loads(json.dumps(config, allow_nan=False)) == config
