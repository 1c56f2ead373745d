"""Published claims beside records: pairs of one seed are subtracted, shares of a gain are by hand, and what is absent is said to be."""

from dataclasses import replace

import pytest
from study_records import record

from clexlab import study
from clexlab.study import claims
from clexlab.study.claims import CLAIMS, Claim, answers, missing

CLAIM = Claim(paper="https://arxiv.org/abs/0", says="as good", pairs=(("pose-yarn", "full-yarn"), ("pose-linear", "full-linear")))


def rows(name, losses, tokens=1000):
    """Records of a row whose loss at 16 windows is the given one, by seed."""
    made = {seed: record(name, seed=seed, title=name.upper()) for seed in losses}
    return [replace(one, tokens=tokens, metrics={"last": {"1": 9.0, "16": losses[seed]}}) for seed, one in made.items()]


RECORDS = [
    *rows("plain-yarn", {1: 3.0, 2: 3.0}),
    *rows("full-yarn", {1: 2.0, 2: 2.0, 3: 2.0}),
    *rows("pose-yarn", {1: 2.5, 2: 2.25, 4: 9.0}),
]


def test_losses_are_subtracted_seed_by_seed_and_a_seed_without_a_partner_is_left_out():
    (found,) = answers(CLAIM, RECORDS)
    assert found.by_seed == {1: 0.5, 2: 0.25} and found.titles == ("POSE-YARN", "FULL-YARN")
    assert found.kept == {1: 0.5, 2: 0.75}
    assert str(found) == (
        "POSE-YARN − FULL-YARN: +0.375 [+0.250 … +0.500], higher in every seed; it has 62% of the other's gain over plain tuning"
    )


def test_without_plain_tuning_or_without_a_gain_there_is_no_share():
    assert answers(CLAIM, RECORDS[2:])[0].kept == {}
    worse = [*rows("plain-yarn", {1: 1.0, 2: 3.0}), *RECORDS[2:]]
    assert answers(CLAIM, worse)[0].kept == {2: 0.75}


@pytest.mark.parametrize(
    ("losses", "words"),
    [({1: 1.9, 2: 1.8}, "lower in every seed"), ({1: 1.9, 2: 2.1}, "the seeds disagree"), ({1: 1.9}, "one seed decides nothing")],
)
def test_the_verdict_is_what_every_seed_says(losses, words):
    (found,) = answers(CLAIM, [*rows("pose-yarn", losses), *rows("full-yarn", {1: 2.0, 2: 2.0})])
    assert found.verdict == words and words in str(found)


def test_unequal_tokens_are_told():
    (found,) = answers(CLAIM, [*rows("pose-yarn", {1: 2.0}), *rows("full-yarn", {1: 2.0}, tokens=50)])
    assert "tokens are not equal, 1000 and 50" in str(found)


def test_what_has_no_record_has_no_answer_and_is_named():
    assert answers(CLAIM, RECORDS[:2]) == [] and missing(CLAIM, RECORDS[:2]) == ["full-linear", "full-yarn", "pose-linear", "pose-yarn"]
    assert missing(CLAIM, RECORDS) == ["full-linear", "pose-linear"]
    assert answers(CLAIM, RECORDS, factor="8") == [] and answers(CLAIM, []) == []


def test_every_row_that_a_claim_names_is_one_of_a_table_under_the_same_path_as_its_partner():
    names = {row.name: row for row in (*study.SHORT, *study.ROWS)}
    for claim in CLAIMS:
        assert claim.paper.startswith("https://arxiv.org/abs/") and claim.pairs
        for one, other in claim.pairs:
            assert names[one].tuning.path == names[other].tuning.path, (one, other)
            assert {one.rsplit("-", 1)[1], other.rsplit("-", 1)[1]} <= set(claims.PLAIN)
