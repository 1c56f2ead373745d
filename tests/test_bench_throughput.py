"""The benchmark of training on a model that runs in a moment: both sides do the same steps, and it notices when they do not."""

from dataclasses import replace

import pytest
from training_runs import PLAN, data, plain

from benchmarks import throughput

# The bare loop has one entry for all steps but the first.
ONE_ENTRY = replace(PLAN, log_every=100, save_every=None)


def test_both_sides_are_the_same_training():
    ours, bare = (train(plain(), data(), ONE_ENTRY) for train in (throughput.ours, throughput.bare))
    throughput.check_equal(ours, bare)
    assert len(ours.seconds) == len(bare.seconds) == PLAN.steps - 1


def test_another_training_is_noticed():
    ours = throughput.ours(plain(), data(), ONE_ENTRY)
    with pytest.raises(RuntimeError, match="not the same training"):
        throughput.check_equal(ours, throughput.bare(plain(), data(), replace(ONE_ENTRY, rate=0.5)))
