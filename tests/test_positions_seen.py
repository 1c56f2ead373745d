"""What drawn rows show, counted pair by pair by hand, against the other counter and against formulas; bad input."""

import itertools

import pytest
import torch

from clexlab import positions
from clexlab.positions import Draw, FixedFactor, WholeFactors, sampled_coverage
from clexlab.positions.seen import known_coverage, known_pairs, seen

WINDOW, FACTOR, SLOTS = 8, 4.0, 32
FIXED = FixedFactor(FACTOR)


def draw(*places):
    return Draw(torch.tensor(places, dtype=torch.float32), 1.0)


def drawn(sampler, many, length=WINDOW, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [sampler.draw(length, generator) for _ in range(many)]


def test_pairs_are_counted_one_by_one():
    found = seen([draw(0, 1, 5), draw(0, 4, 5)], window=4, slots=8)
    # δ:                                  0  1  2  3  4  5  6  7
    assert found.pairs.tolist() == [3, 1, 0, 0, 1, 1, 0, 0]
    assert found.coverage.tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert seen([draw(0, 1, 2), draw(0, 3, 6)], 4, 8).pairs.tolist() == [3, 1, 0.5, 1, 0, 0, 0.5, 0]
    assert seen([draw(0, 1, 2), draw(0, 3, 6)], 4, 8).coverage.tolist() == [1, 0.5, 0.5, 0.5, 0, 0, 0.5, 0]


def test_neighbours_are_steps_of_one_and_far_keys_lie_more_than_a_window_back():
    found = seen([draw(0, 1, 5), draw(0, 4, 6)], window=4, slots=8)
    assert found.neighbours == 1 / 4
    # 5 is further than 4 from position 0; in the second row 6 is, from 0 alone.
    assert found.far_keys == 1.0 and found.draws == 2
    assert seen([draw(3)], 4, 8).neighbours == 1 and seen([draw(3)], 4, 8).pairs[0] == 1


@pytest.mark.parametrize("kind", [*positions.SAMPLERS, *positions.SEGMENTS], ids=lambda kind: kind.name)
def test_the_coverage_is_that_of_the_other_counter(kind):
    sampler = kind(factors=FIXED) if kind is positions.Contiguous else kind(window=WINDOW, factors=FIXED)
    other = sampled_coverage(sampler, WINDOW, 30, torch.Generator().manual_seed(3))
    found = seen(drawn(sampler, 30, seed=3), WINDOW, SLOTS).coverage
    torch.testing.assert_close(found[: len(other)], other)
    assert not found[len(other) :].any()


@pytest.mark.parametrize("kind", [positions.E2LLM, positions.ChunkSegments], ids=lambda kind: kind.name)
def test_the_number_of_pairs_is_that_of_the_formula(kind):
    sampler = kind(window=WINDOW, factors=FIXED)
    exact, counted = known_pairs(sampler, WINDOW, FACTOR), seen(drawn(sampler, 1500), WINDOW, SLOTS).pairs
    # A row has at most WINDOW pairs at one distance, so one draw's deviation is at most half of that.
    torch.testing.assert_close(counted[1 : len(exact)], exact[1:].double(), atol=4 * WINDOW / 2 / 1500**0.5, rtol=0)


def test_e2s_offset_makes_as_many_far_keys_as_tokens_stay_and_no_more():
    for fixed in (0, 1, 4):
        rows = drawn(positions.E2LLM(window=WINDOW, factors=FIXED, fixed=fixed), 40)
        moved = [row for row in rows if row.positions[-1] > 2 * WINDOW]
        assert moved and seen(moved, WINDOW, SLOTS).far_keys == fixed


def test_formulas_are_given_where_they_are_and_where_t_is_fixed():
    two, four = (positions.SkipWise(window=WINDOW, factors=FIXED, chunks=chunks) for chunks in (2, 4))
    torch.testing.assert_close(known_coverage(two, WINDOW, FACTOR), two.coverage(WINDOW, FACTOR))
    assert known_coverage(four, WINDOW, FACTOR) is None
    assert known_coverage(positions.Sentences(window=WINDOW, factors=FIXED, sentences=(4, 4)), WINDOW, FACTOR) is None
    assert known_coverage(positions.SkipWise(window=WINDOW, factors=WholeFactors(4.0)), WINDOW, FACTOR) is None


def test_options_that_cannot_be_drawn_are_refused_and_not_called_a_missing_formula():
    with pytest.raises(ValueError, match="whole run"):
        known_coverage(positions.PrefixSegments(window=WINDOW, factors=FIXED, alpha=0.3), WINDOW, FACTOR)


@pytest.mark.parametrize(
    ("draws", "slots", "words"),
    [
        ([], 8, "at least one"),
        ([draw(0, 1), draw(0, 1, 2)], 8, "one length"),
        ([draw(0, 1.5)], 8, "no whole numbers"),
        ([draw(0, 9)], 8, "9 apart"),
    ],
)
def test_what_cannot_be_counted_is_refused(draws, slots, words):
    with pytest.raises(ValueError, match=words):
        seen(draws, 4, slots)


def test_every_pair_of_a_row_is_counted_once():
    (row,) = drawn(positions.RandomPos(window=WINDOW, factors=FIXED), 1)
    places = row.positions.tolist()
    expected = [0] * SLOTS
    for early, late in itertools.combinations(places, 2):
        expected[int(late - early)] += 1
    assert seen([row], WINDOW, SLOTS).pairs.tolist() == [WINDOW, *expected[1:]]
