"""Rare far positions: rows hold what they say, questions stand where they say, a map that changes nothing changes no answer; bad input."""

from collections import Counter

import pytest
import torch

from clexlab import rare
from clexlab.positions import maps

DISTANCES = (16, 126)


@pytest.fixture(scope="module")
def model():
    return rare.train(0, rare.RARE, 2, tokens=256)


def pairs(row):
    """The keys and values of a row, in order."""
    return list(zip(row[0::2].tolist(), row[1::2].tolist(), strict=True))


def test_a_key_has_one_value_in_a_row_and_is_known_from_its_second_time_on():
    rows, known = rare.draw_rows(torch.Generator().manual_seed(0), 6, 64)
    assert rows.shape == known.shape == (6, 64)
    for row, marked in zip(rows, known, strict=True):
        values = {}
        for place, (key, value) in enumerate(pairs(row)):
            assert key < rare.KEYS <= value < rare.KEYS + rare.VALUES
            assert bool(marked[2 * place]) == (key in values) and not marked[2 * place + 1]
            assert values.setdefault(key, value) == value
    assert len({tuple(sorted(set(pairs(row)))) for row in rows}) == 6


def test_the_key_that_is_asked_for_stood_once_at_its_distance():
    for distance in (2, 16, 126):
        for row in rare.ask(torch.Generator().manual_seed(1), distance, 20):
            asked, answer = pairs(row)[-1]
            places = [2 * place for place, (key, _) in enumerate(pairs(row)[:-1]) if key == asked]
            assert places == [rare.WINDOW - 2 - distance] and row[places[0] + 1] == answer


def test_every_key_is_asked_for_and_every_answer_right_as_often():
    rows = rare.ask(torch.Generator().manual_seed(2), 60, 4000)
    for column, count in ((-2, rare.KEYS), (-1, rare.VALUES)):
        counts = Counter(rows[:, column].tolist())
        # A binomial of 4000 trials at 1/24 has a deviation of 13.
        assert len(counts) == count and max(abs(one - 4000 / count) for one in counts.values()) < 70


def test_far_positions_of_the_rare_mix_occur_in_few_pairs():
    def pairs_at(lengths, place):
        # A step has the same tokens whatever its rows: shares count tokens.
        return sum(share / tokens * max(tokens - place, 0) for tokens, share in zip(lengths.tokens, lengths.shares, strict=True))

    assert pairs_at(rare.RARE, 120) / pairs_at(rare.RARE, 8) < 1e-3 < pairs_at(rare.COMMON, 120) / pairs_at(rare.COMMON, 8)


def test_a_seed_trains_the_same_model_and_another_another():
    one, again, other = (rare.train(seed, rare.RARE, 2, tokens=256).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(weight, again[name]) for name, weight in one.items())
    assert not all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_training_learns_what_can_be_known_near_by():
    found = rare.train(0, rare.Lengths((16,), (1.0,)), 150, tokens=1024)
    assert rare.accuracy(found, None, (4,), 200, 0)[4] > 2 * rare.CHANCE


def test_a_map_that_changes_nothing_gives_the_same_answers(model):
    plain = rare.accuracy(model, None, DISTANCES, 40, 3)
    assert list(plain) == list(DISTANCES) and all(0 <= share <= 1 for share in plain.values())
    assert rare.accuracy(model, maps.STRING(window=128, shift=128, local=0), DISTANCES, 40, 3) == plain
    assert model.places.positions is None


@pytest.mark.parametrize("distance", [0, 3, 128])
def test_a_distance_that_no_key_has_is_refused(distance):
    with pytest.raises(ValueError, match="even number from 2 to 126"):
        rare.ask(torch.Generator(), distance, 1)


@pytest.mark.parametrize(
    ("tokens", "shares", "words"),
    [((), (), "give even numbers"), ((15,), (1.0,), "give even numbers"), ((16, 32), (1.0,), "a share each"), ((16,), (0.0,), "above 0")],
)
def test_lengths_that_are_none_are_refused(tokens, shares, words):
    with pytest.raises(ValueError, match=words):
        rare.Lengths(tokens, shares)


def test_steps_that_are_none_are_refused():
    with pytest.raises(ValueError, match="steps is 0"):
        rare.train(0, rare.RARE, 0)
