"""Published claims beside records: pairs of one seed are subtracted, shares of a gain are by hand, and what is absent is said to be."""

from dataclasses import replace

import pytest
from study_records import record

from clexlab import results, study
from clexlab.study import claims
from clexlab.study.claims import CLAIMS, Claim, answers, missing

CLAIM = Claim(paper="https://arxiv.org/abs/0", says="as good", pairs=(("pose-yarn", "full-yarn"), ("pose-linear", "full-linear")))


def rows(name, losses, tokens=1000, read_at=16.0):
    """Records of a row whose loss at 16 windows is the given one, by seed, read at the given t."""
    made = {seed: record(name, seed=seed, title=name.upper()) for seed in losses}
    scale = {"1": 1.0, "16": read_at}
    return [replace(one, tokens=tokens, metrics={"last": {"1": 9.0, "16": losses[seed]}, "scale": scale}) for seed, one in made.items()]


RECORDS = [
    *rows("plain-yarn", {1: 3.0, 2: 3.0}),
    *rows("full-yarn", {1: 2.0, 2: 2.0, 3: 2.0}),
    *rows("pose-yarn", {1: 2.5, 2: 2.25, 4: 9.0}),
]


def test_losses_are_subtracted_seed_by_seed_and_a_seed_without_a_partner_is_left_out():
    (found,) = answers(CLAIM, RECORDS)
    assert found.by_seed == {1: 0.5, 2: 0.25} and found.titles == ("POSE-YARN", "FULL-YARN")
    assert found.gains == {1: (0.5, 1.0), 2: (0.75, 1.0)} and found.kept == 0.625
    assert str(found) == (
        "POSE-YARN − FULL-YARN: +0.375 [+0.250 … +0.500], higher in every seed; it has 62% of the other's gain over plain tuning,"
        " summed over 2 seeds"
    )


def test_a_share_is_of_sums_over_all_seeds_and_not_of_those_that_gain():
    (found,) = answers(CLAIM, [*rows("plain-yarn", {1: 1.5, 2: 4.0}), *RECORDS[2:]])
    # The second gains -0.5 and 2, the first -1 and 1.75: seed 1 counts too.
    assert found.kept == pytest.approx((-1.0 + 1.75) / (-0.5 + 2.0)) and "50% of the other's gain" in str(found)


def test_seeds_without_plain_tuning_are_not_in_the_share_and_it_says_of_how_many_it_is():
    (found,) = answers(CLAIM, [*rows("plain-yarn", {2: 3.0}), *RECORDS[2:]])
    assert set(found.by_seed) == {1, 2} and found.kept == 0.75
    assert str(found).endswith("75% of the other's gain over plain tuning, summed over 1 seed")


@pytest.mark.parametrize("plain", [{}, {1: 1.0, 2: 2.5}, {1: 2.0, 2: 2.0}])
def test_without_plain_tuning_or_without_a_gain_in_sum_there_is_no_share(plain):
    (found,) = answers(CLAIM, [*rows("plain-yarn", plain), *RECORDS[2:]])
    assert found.kept is None and "gain" not in str(found)


def test_what_was_read_at_different_t_has_no_verdict_and_no_share_and_says_at_which():
    pose = rows("pose-yarn", {1: 1.0, 2: 1.0}, read_at=2.0)
    (found,) = answers(CLAIM, [*RECORDS[:5], *pose])
    assert not found.comparable and found.kept is None
    assert str(found) == "POSE-YARN − FULL-YARN: no verdict, read at t = 2 and t = 16"
    assert answers(CLAIM, [*RECORDS[:5], *pose], factor="1")[0].comparable


def test_one_seed_that_was_read_otherwise_is_enough_for_no_verdict():
    pose = [*rows("pose-yarn", {1: 1.0}, read_at=2.0), *rows("pose-yarn", {2: 1.0})]
    assert answers(CLAIM, [*RECORDS[:5], *pose])[0].verdict == "no verdict, read at t = 2 or 16 and t = 16"


def test_plain_tuning_that_was_read_at_another_t_gives_no_share():
    (found,) = answers(CLAIM, [*rows("plain-yarn", {1: 3.0, 2: 3.0}, read_at=1.0), *RECORDS[2:]])
    assert found.comparable and found.kept is None and found.verdict == "higher in every seed"


def test_the_studys_skip_wise_row_is_compared_with_full_length_where_both_were_read_at_16():
    wanted = {"skip-wise-yarn", "full-yarn", "plain-yarn"}
    records = [one for one in results.read_all("study") if one.config["row"] in wanted and one.config["profile"] == "cpu"]
    claim = replace(CLAIM, pairs=(("skip-wise-yarn", "full-yarn"),))
    (near,), (far,) = answers(claim, records, "1"), answers(claim, records, "16")
    assert len(near.by_seed) > 1 and str(near).endswith("no verdict, read at t = 1 and t = 16")
    assert far.comparable and "in every seed" in far.verdict and 0 < far.kept < 1


@pytest.mark.parametrize(
    ("losses", "words"),
    [({1: 1.9, 2: 1.8}, "lower in every seed"), ({1: 1.9, 2: 2.1}, "the seeds disagree"), ({1: 1.9}, "one seed decides nothing")],
)
def test_the_verdict_is_what_every_seed_says(losses, words):
    (found,) = answers(CLAIM, [*rows("pose-yarn", losses), *rows("full-yarn", {1: 2.0, 2: 2.0})])
    assert found.verdict == words and words in str(found)


def test_unequal_tokens_are_told_of_any_seed():
    full = [*rows("full-yarn", {1: 2.0}), *rows("full-yarn", {2: 2.0}, tokens=50)]
    (found,) = answers(CLAIM, [*rows("pose-yarn", {1: 2.0, 2: 2.0}), *full])
    assert str(found).endswith("; tokens are not equal, 1000 and 50 in seed 2")
    (found,) = answers(CLAIM, [*rows("pose-yarn", {1: 2.0}), *full])
    assert "tokens" not in str(found)


def test_two_records_of_one_row_and_seed_are_refused_and_named():
    twice = [*RECORDS, *rows("pose-yarn", {2: 2.0})]
    for refuse in (study.by_row, lambda records: answers(CLAIM, records), lambda records: study.costs(records, "full-yarn")):
        with pytest.raises(ValueError, match=r"'pose-yarn' with seed 2: counted twice, a seed would weigh twice"):
            refuse(twice)


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


def test_equal_losses_in_every_seed_are_no_difference():
    same = claims.Answer(titles=("a", "b"), by_seed={1: 0.0, 2: 0.0}, read_at={1: (16.0, 16.0)}, gains={}, tokens={})
    apart = claims.Answer(titles=("a", "b"), by_seed={1: 0.0, 2: -0.1}, read_at={1: (16.0, 16.0)}, gains={}, tokens={})
    assert (same.verdict, apart.verdict) == ("no difference", "the seeds disagree")
