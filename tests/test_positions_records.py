"""Recorded trainings stay what they were: samplers of the study are known by the same text, and draw the same numbers as then."""

import pytest
import torch

from clexlab import results
from clexlab.positions import (
    Contiguous,
    Diluted,
    FirstHalf,
    LogUniformFactors,
    PerRow,
    Sampler,
    Scattered,
    SkipWise,
    UniformFactors,
    WholeFactors,
)

LOG = LogUniformFactors(4)
SKIPPING = SkipWise(window=8, factors=LOG)
ROWS = [([0, 1, 2, 3, 4, 5, 6, 7], 1.4730035014813079), ([0, 1, 2, 3, 4, 5, 6, 21], 3.0743770901857093)]
# What the samplers of the recorded study said of themselves, and drew before RandomPos and cuts came: 8 tokens with seed 7, then 5
# with seed 11; two rows of 8 with seed 7 where rows have their own.
RECORDED = [
    (
        Contiguous(factors=LOG),
        "Contiguous(factors=LogUniformFactors(max_factor=4))",
        [([0, 1, 2, 3, 4, 5, 6, 7], 1.4730035014813079), ([0, 1, 2, 3, 4], 1.3055588237153097)],
    ),
    (
        Scattered(window=8, factors=WholeFactors(4)),
        "Scattered(window=8, factors=WholeFactors(max_factor=4))",
        [([0, 10, 16, 17, 18, 23, 25, 31], 4.0), ([0, 1, 2, 8, 9], 2.0)],
    ),
    (
        SkipWise(window=8, factors=UniformFactors(4.0), chunks=3),
        "SkipWise(window=8, factors=UniformFactors(max_factor=4.0), chunks=3)",
        [([0, 1, 2, 3, 7, 8, 9, 11], 1.838141289719212), ([0, 3, 4, 5, 8], 1.5770011925318452)],
    ),
    (
        PerRow(SKIPPING),
        "PerRow(sampler=SkipWise(window=8, factors=LogUniformFactors(max_factor=4), chunks=2))",
        ROWS,
    ),
    (
        PerRow(Diluted(SKIPPING)),
        "PerRow(sampler=Diluted(sampler=SkipWise(window=8, factors=LogUniformFactors(max_factor=4), chunks=2)))",
        ROWS,
    ),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampler, text, vectors", RECORDED, ids=[text.partition("(window")[0] for _, text, _ in RECORDED])
def test_samplers_of_recorded_trainings_are_known_by_the_same_text_and_draw_the_same(sampler: Sampler, text, vectors):
    assert repr(sampler) == text
    rows = isinstance(sampler, PerRow)
    drawn = sampler.draw_rows(2, 8, seeded(7)) if rows else [sampler.draw(8, seeded(7)), sampler.draw(5, seeded(11))]
    assert [(draw.positions.tolist(), draw.factor) for draw in drawn] == vectors


def test_texts_of_the_committed_records_are_those_of_samplers_built_today():
    skipping = SkipWise(window=256, factors=LogUniformFactors(16))
    today = {repr(sampler) for sampler in (skipping, PerRow(skipping), PerRow(Diluted(skipping)))}
    told = {(record.config.get("tuning") or {}).get("positions") for name in ("study", "clex_ladder") for record in results.read_all(name)}
    assert today & told and all(text in today for text in told if text is not None and "SkipWise" in text)


def test_a_cut_that_is_not_the_papers_is_told():
    halves = SkipWise(window=8, factors=LOG, cut=FirstHalf())
    assert repr(halves) == "SkipWise(window=8, factors=LogUniformFactors(max_factor=4), chunks=2, cut=FirstHalf())"
    assert repr(PerRow(halves)) == f"PerRow(sampler={halves!r})" != repr(PerRow(SKIPPING))
