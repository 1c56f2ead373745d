"""C(δ): every formula against all choices counted one by one, against draws, and against values of the reference; bad input."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clexlab.positions import (
    Anywhere,
    ChunkSegments,
    Contiguous,
    FirstHalf,
    FixedFactor,
    RandomPos,
    Scattered,
    SkipWise,
    UniformFactors,
    sampled_coverage,
)
from clexlab.positions.coverage import apart, pieces_in_place

DRAWS = 400
# Four standard errors, and one draw, which is all there may be of a distance that is hardly ever met.
SIGMAS, WINDOW, FACTOR = 4, 8, 4
# Sums of positive float64 terms of a rational number.
EXACT = dict(rel=1e-9, abs=1e-12)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shares(choices: list[tuple[tuple[int, ...], Fraction]], slots: int) -> list[float]:
    """C(δ) by looking at all choices of positions with their chances."""
    assert sum(chance for _, chance in choices) == 1
    found = [Fraction(0)] * slots
    for positions, chance in choices:
        for distance in {b - a for a, b in itertools.product(positions, repeat=2) if b >= a}:
            found[distance] += chance
    return [float(share) for share in found]


def equally_likely(choices: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], Fraction]]:
    return [(choice, Fraction(1, len(choices))) for choice in choices]


SAMPLED = (
    Contiguous(factors=FixedFactor(FACTOR)),
    RandomPos(window=WINDOW, factors=FixedFactor(FACTOR)),
    Scattered(window=WINDOW, factors=FixedFactor(FACTOR)),
    SkipWise(window=WINDOW, factors=FixedFactor(FACTOR)),
    SkipWise(window=WINDOW, factors=FixedFactor(FACTOR), cut=FirstHalf()),
    SkipWise(window=WINDOW, factors=FixedFactor(FACTOR), chunks=3),
    ChunkSegments(window=WINDOW, factors=FixedFactor(FACTOR), pieces=2),
    ChunkSegments(window=WINDOW, factors=FixedFactor(FACTOR)),
)


@pytest.mark.parametrize("length", [4, WINDOW])
@pytest.mark.parametrize("sampler", SAMPLED, ids=lambda sampler: repr(sampler).partition("chunks")[2] or sampler.name)
def test_draws_have_the_coverage_of_the_formula(sampler, length):
    exact, counted = sampler.coverage(length, FACTOR), sampled_coverage(sampler, length, DRAWS, seeded())
    assert exact[0] == pytest.approx(1) and bool(((exact >= 0) & (exact <= 1 + 1e-12)).all()) and len(counted) <= len(exact)
    counted = torch.nn.functional.pad(counted, (0, len(exact) - len(counted)))
    assert bool(((counted - exact).abs() <= SIGMAS * (exact * (1 - exact) / DRAWS).clamp(min=0).sqrt() + 1 / DRAWS + 1e-12).all())


@settings(max_examples=20)
@given(slots=st.integers(1, 10), data=st.data())
def test_random_positions_cover_what_all_choices_of_them_cover(slots, data):
    length = data.draw(st.integers(1, slots))
    sampler = RandomPos(window=length, factors=UniformFactors(10))
    expected = shares(equally_likely(list(itertools.combinations(range(slots), length))), slots)
    assert sampler.coverage(length, slots / length + 1e-9).tolist() == pytest.approx(expected, **EXACT)


@settings(max_examples=20)
@given(slots=st.integers(2, 11), data=st.data())
def test_scattered_positions_cover_what_all_choices_between_the_ends_cover(slots, data):
    length = data.draw(st.integers(2, slots))
    choices = [(0, *inner, slots - 1) for inner in itertools.combinations(range(1, slots - 1), length - 2)]
    found = Scattered(window=length, factors=UniformFactors(11)).coverage(length, slots / length + 1e-9)
    assert found.tolist() == pytest.approx(shares(equally_likely(choices), slots), **EXACT)


def skipping(length: int, firsts: range, room: int) -> list[tuple[tuple[int, ...], Fraction]]:
    """All choices of skip-wise positions in two runs, the first with a length out of `firsts`."""
    chance = Fraction(1, len(firsts) * (room + 1))
    moves = itertools.product(firsts, range(room + 1))
    return [((*range(first), *range(first + u, length + u)), chance) for first, u in moves]


@settings(max_examples=20)
@given(length=st.integers(1, 7), room=st.integers(0, 12))
def test_two_runs_cover_what_all_cuts_and_jumps_cover(length, room):
    cuts = {Anywhere(): range(1, max(2, length)), FirstHalf(): range(1, (length + 1) // 2 + 1)}
    for cut, firsts in cuts.items():
        sampler = SkipWise(window=length, factors=UniformFactors(20), cut=cut)
        expected = shares(skipping(length, firsts, room), length + room)
        # A text of one token has nothing to jump; its moves are none.
        expected = [1.0] + [0.0] * room if length == 1 else expected
        assert sampler.coverage(length, 1 + room / length + 1e-9).tolist() == pytest.approx(expected, **EXACT)


@settings(max_examples=12)
@given(length=st.integers(1, 6), room=st.integers(0, 7), chunks=st.sampled_from([1, 3]))
def test_one_and_three_runs_cover_what_all_cuts_and_jumps_cover(length, room, chunks):
    runs = min(chunks, length)
    cuts, choices = list(itertools.combinations(range(1, length), runs - 1)), []
    for cut in cuts:
        for moves in itertools.combinations_with_replacement(range(room + 1), runs - 1):
            # u_1 is one of 0 … room, every later one of those from the one before.
            chance = Fraction(1, len(cuts)) / math.prod(room + 1 - before for before in (0, *moves[:-1])[: runs - 1])
            jumps = dict(zip(cut, moves, strict=True))
            here, text = 0, []
            for k in range(length):
                here = jumps.get(k, here)
                text.append(k + here)
            choices.append((tuple(text), chance))
    found = SkipWise(window=length, factors=UniformFactors(20), chunks=chunks).coverage(length, 1 + room / length + 1e-9)
    assert found.tolist() == pytest.approx(shares(choices, length + room), **EXACT)


@pytest.mark.parametrize("slots, pieces, size", [(5, 1, 3), (9, 2, 2), (8, 2, 4), (10, 3, 2), (9, 4, 1), (11, 4, 2), (12, 3, 3)])
def test_pieces_cover_what_all_placements_of_them_cover(slots, pieces, size):
    starts = itertools.combinations(range(slots - size + 1), pieces)
    placed = [chosen for chosen in starts if all(b - a >= size for a, b in itertools.pairwise(chosen))]
    choices = [tuple(start + k for start in chosen for k in range(size)) for chosen in placed]
    sampler = ChunkSegments(window=pieces * size, factors=UniformFactors(9), pieces=pieces)
    found = sampler.coverage(pieces * size, slots / (pieces * size) + 1e-9)
    assert found.tolist() == pytest.approx(shares(equally_likely(choices), slots), **EXACT)


@pytest.mark.parametrize("slots, pieces", [(9, 3), (14, 4)])
def test_pieces_of_one_token_are_random_positions(slots, pieces):
    # The same choices by another formula: paths of residues.
    loose = RandomPos(window=pieces, factors=UniformFactors(9)).coverage(pieces, slots / pieces + 1e-9)
    assert pieces_in_place(slots, pieces, 1).tolist() == pytest.approx(loose.tolist(), **EXACT)


def test_two_runs_whose_jump_is_free_have_the_pairs_of_a_third_between():
    # More jumps hold more of the far distances on average, as the paper's ablation of three chunks supposes.
    two, three = (SkipWise(window=12, factors=FixedFactor(4), chunks=chunks).coverage(12, 4) for chunks in (2, 3))
    assert float(three[12:].sum()) > float(two[12:].sum())


def test_pose_has_the_published_plateau_and_tail():
    found = SkipWise(window=32, factors=FixedFactor(8)).coverage(32, 8)
    # Values of the reference, given to three digits.
    assert found[[16, 100, 226, 240, 255]].tolist() == pytest.approx([0.970, 0.1378, 0.1333, 0.0711, 0.0044], abs=1e-3)
    assert found[32:226].tolist() == pytest.approx([31 / 225] * 194) and found[226:].tolist() == pytest.approx(
        [(256 - distance) / 225 for distance in range(226, 256)]
    )
    # 2k to 16k: plateau 0.1428.
    assert float(SkipWise(window=2048, factors=FixedFactor(8)).coverage(2048, 8)[5000]) == pytest.approx(2047 / 14337)


def test_a_cut_in_the_first_half_leaves_every_distance_within_half_a_text():
    found = {cut: SkipWise(window=32, factors=FixedFactor(8), cut=cut).coverage(32, 8) for cut in (Anywhere(), FirstHalf())}
    assert found[FirstHalf()][:16].tolist() == pytest.approx([1] * 16) and float(found[Anywhere()][16]) == pytest.approx(0.970, abs=1e-3)
    # Beyond one window only the jump counts, and it is the same.
    assert torch.allclose(found[FirstHalf()][32:], found[Anywhere()][32:], rtol=1e-12)


def test_random_and_scattered_positions_have_the_values_of_the_reference():
    loose = RandomPos(window=32, factors=FixedFactor(8)).coverage(32, 8)
    assert loose[[32, 224, 255]].tolist() == pytest.approx([0.98, 0.41, 0.017], abs=0.02)
    # Both ends of all slots, or not.
    assert float(loose[255]) == pytest.approx(32 * 31 / (256 * 255))
    assert Scattered(window=32, factors=FixedFactor(8)).coverage(32, 8)[255] == 1


def test_a_text_that_takes_all_slots_is_contiguous():
    for sampler in (RandomPos(window=9, factors=FixedFactor(1)), Scattered(window=9, factors=FixedFactor(1))):
        assert sampler.coverage(9, 1).tolist() == pytest.approx([1] * 9)
    assert Contiguous().coverage(9, 1).tolist() == [1] * 9


def test_a_few_hundred_slots_lose_no_digits():
    # One path of 400 slots: C(400 - 40 + 1, 40) of C(400, 40) choices hold no neighbours.
    assert apart({400: 1}, 0, 40) == pytest.approx(float(Fraction(math.comb(361, 40), math.comb(400, 40))), rel=1e-9)
    assert apart({3: 1}, 0, 3) == 0


# ------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize("factor", [0.5, float("nan"), float("inf"), "8"])
@pytest.mark.parametrize("sampler", SAMPLED[1:4], ids=lambda sampler: sampler.name)
def test_a_factor_below_one_has_no_coverage(sampler, factor, unchecked):
    with pytest.raises(ValueError, match="factor is .* finite and at least 1"):
        sampler.coverage(4, factor)


@pytest.mark.parametrize("sampler", SAMPLED[1:], ids=repr)
def test_a_text_beyond_the_window_has_no_coverage(sampler):
    with pytest.raises(ValueError, match="length is 9 and the window 8"):
        sampler.coverage(9, 2.0)


def test_more_than_three_chunks_are_counted():
    sampler = SkipWise(window=8, factors=FixedFactor(2), chunks=4)
    with pytest.raises(ValueError, match="formulas for up to 3.*sampled_coverage"):
        sampler.coverage(8, 2.0)
    assert sampled_coverage(sampler, 8, 10, seeded())[0] == 1


def test_more_choices_than_some_seconds_allow_are_counted():
    for sampler in (ChunkSegments(window=256, factors=FixedFactor(16)), SkipWise(window=256, factors=FixedFactor(16), chunks=3)):
        with pytest.raises(ValueError, match="steps, at most 3e.08 are taken; use positions.sampled_coverage"):
            sampler.coverage(256, 16.0)


@pytest.mark.parametrize("chunks, length", [(4, 6), (5, 5)])
def test_four_runs_and_more_are_drawn_as_all_cuts_and_jumps(chunks, length):
    """No formula, so the count itself is held against every choice."""
    room, slots = length, 2 * length
    sampler, found = SkipWise(window=length, factors=FixedFactor(2), chunks=chunks), [0.0] * slots
    cuts = list(itertools.combinations(range(1, length), chunks - 1))
    for cut, moves in itertools.product(cuts, itertools.combinations_with_replacement(range(room + 1), chunks - 1)):
        chance = 1 / len(cuts) / math.prod(room + 1 - before for before in (0, *moves[:-1]))
        text = [k + max((u for start, u in zip(cut, moves, strict=True) if start <= k), default=0) for k in range(length)]
        for distance in {b - a for a in text for b in text if b >= a}:
            found[distance] += chance
    counted, exact = sampled_coverage(sampler, length, DRAWS, seeded()), torch.tensor(found, dtype=torch.float64)
    counted = torch.nn.functional.pad(counted, (0, slots - len(counted)))
    assert bool(((counted - exact).abs() <= SIGMAS * (exact * (1 - exact) / DRAWS).clamp(min=0).sqrt() + 1 / DRAWS + 1e-12).all())


def test_positions_between_whole_numbers_are_not_counted():
    with pytest.raises(ValueError, match="distances never repeat"):
        sampled_coverage(Scattered(window=8, factors=FixedFactor(2)), 12, 3, seeded())


@pytest.mark.parametrize("draws", [0, 2.0, True])
def test_a_number_of_draws_that_is_none_is_refused(draws, unchecked):
    with pytest.raises(ValueError, match="draws is"):
        sampled_coverage(SAMPLED[1], 4, draws, seeded())


def test_more_slots_than_there_are_cannot_be_chosen():
    with pytest.raises(ValueError, match="4 slots cannot be chosen out of 3"):
        apart({2: 1}, 1, 4)
