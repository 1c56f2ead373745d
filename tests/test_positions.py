"""Samplers of training positions: what must hold for every draw, counts against enumeration, the official code written out, bad input."""

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clexlab import positions
from clexlab.positions import (
    FACTORS,
    SAMPLERS,
    Contiguous,
    FixedFactor,
    LogUniformFactors,
    PerRow,
    RandomPos,
    Sampler,
    Scattered,
    SkipWise,
    UniformFactors,
    WholeFactors,
)

SEVERAL = (WholeFactors(8), UniformFactors(8.0), LogUniformFactors(8.0), FixedFactor(2.5))
DRAWS = 1500
# Four standard errors: with derandomised seeds the tests cannot flicker, the number says how far chance may go.
SIGMAS = 4
# These put neighbours at least one apart, so they take no text longer than the window.
SPARSE = tuple(kind for kind in SAMPLERS if kind not in (Contiguous, Scattered))
# Any choice of positions is RandomPos's, so it begins anywhere.
FROM_ZERO = tuple(kind for kind in SAMPLERS if kind is not RandomPos)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(kind: type, factors: positions.Factors, window: int = 16) -> Sampler:
    return kind(factors=factors) if kind is Contiguous else kind(window=window, factors=factors)


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("factors", SEVERAL, ids=lambda factors: type(factors).__name__)
@given(length=st.integers(1, 70), seed=st.integers(0, 10_000))
def test_positions_rise_within_the_long_text(kind, factors, length, seed):
    window = 70 if kind in SPARSE else 16
    sampler = build(kind, factors, window)
    draw = sampler.draw(length, seeded(seed))
    assert isinstance(sampler, Sampler)
    assert draw.positions.shape == (length,) and draw.positions.is_floating_point()
    assert draw.positions[0] >= 0
    assert bool((draw.positions.diff() > 0).all())
    assert 1 <= draw.factor <= factors.limit
    assert draw.positions[-1] <= max(window, length) * draw.factor - 1 / max(1, length / window) + 1e-4


@pytest.mark.parametrize("kind", FROM_ZERO, ids=lambda kind: kind.name)
@given(length=st.integers(1, 16), seed=st.integers(0, 10_000))
def test_positions_start_at_zero(kind, length, seed):
    assert build(kind, LogUniformFactors(8.0)).draw(length, seeded(seed)).positions[0] == 0


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("factors", SEVERAL, ids=lambda factors: type(factors).__name__)
def test_only_the_given_generator_is_used(kind, factors):
    sampler = build(kind, factors)
    before = torch.get_rng_state()
    first, second = sampler.draw(16, seeded(3)), sampler.draw(16, seeded(3))
    assert torch.equal(first.positions, second.positions) and first.factor == second.factor
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("factors", SEVERAL, ids=lambda factors: type(factors).__name__)
def test_rows_of_their_own_are_the_samplers_draws_one_after_the_other(kind, factors):
    sampler, alone, together = build(kind, factors), seeded(3), seeded(3)
    rows = PerRow(sampler).draw_rows(5, 16, together)
    for row, draw in zip(rows, [sampler.draw(16, alone) for _ in range(5)], strict=True):
        assert torch.equal(row.positions, draw.positions) and row.factor == draw.factor
    assert isinstance(PerRow(sampler), Sampler) and PerRow(sampler).factors is factors
    assert getattr(PerRow(sampler), "window", None) == getattr(sampler, "window", None)
    one = PerRow(sampler).draw(16, seeded(3))
    assert torch.equal(one.positions, rows[0].positions) and one.factor == rows[0].factor


@given(length=st.integers(1, 50))
def test_contiguous_is_plain_training(length):
    draw = Contiguous().draw(length, seeded())
    assert draw.positions.tolist() == list(range(length)) and draw.factor == 1


@given(window=st.integers(1, 40), seed=st.integers(0, 1000))
def test_one_window_at_factor_one_is_contiguous(window, seed):
    draw = Scattered(window=window, factors=FixedFactor(1)).draw(window, seeded(seed))
    assert draw.positions.tolist() == list(range(window))


@given(window=st.integers(2, 40), factor=st.integers(1, 9), seed=st.integers(0, 1000))
def test_one_window_is_scattered_to_the_last_position_of_t_windows(window, factor, seed):
    drawn = Scattered(window=window, factors=FixedFactor(factor)).draw(window, seeded(seed)).positions
    assert drawn[-1] == factor * window - 1
    assert torch.equal(drawn, drawn.round()) and len(set(drawn.tolist())) == window
    assert drawn.diff().mean().item() == pytest.approx((factor * window - 1) / (window - 1), rel=1e-6)


@given(window=st.integers(1, 60), chunks=st.integers(1, 7), factor=st.floats(1, 9), seed=st.integers(0, 10_000), data=st.data())
def test_skip_wise_runs_keep_neighbours_and_jump_at_most_chunks_minus_one_times(window, chunks, factor, seed, data):
    length = data.draw(st.integers(1, window))
    drawn = SkipWise(window=window, factors=FixedFactor(factor), chunks=chunks).draw(length, seeded(seed)).positions
    steps = drawn.diff()
    assert torch.equal(drawn, drawn.round()) and drawn[0] == 0
    assert bool((steps >= 1).all()) and int((steps > 1).sum()) <= chunks - 1
    assert drawn[-1] <= math.floor(window * factor) - 1 - (window - length)
    if chunks == 1 or factor == 1:
        assert drawn.tolist() == list(range(length))


@pytest.mark.parametrize("chunks, length", [(1, 12), (2, 12), (3, 12), (5, 9), (12, 12), (4, 2)])
def test_skip_wise_positions_are_the_papers_equations_with_the_same_chance(chunks, length):
    """`Pos(c_i)` = u_i + st_i … u_i + st_i + l_i - 1, run by run in a loop, fed with the same random numbers."""
    window, factor = 12, 4
    for seed in range(30):
        drawn = SkipWise(window=window, factors=FixedFactor(factor), chunks=chunks).draw(length, seeded(seed)).positions
        chance, runs = seeded(seed), min(chunks, length)
        starts = [0, *sorted((1 + torch.randperm(length - 1, generator=chance))[: runs - 1].tolist()), length]
        u, expected = 0, []
        for i in range(runs):
            if i:
                u = u + torch.randint(0, factor * window - window - u + 1, (), generator=chance).item()
            expected += [u + k for k in range(starts[i], starts[i + 1])]
        assert drawn.tolist() == expected


def test_every_cut_and_every_jump_of_skip_wise_positions_is_equally_likely():
    """Window 4 at factor 2: cut before token 1, 2 or 3, and moved by 0 … 4."""
    sampler, generator = SkipWise(window=4, factors=FixedFactor(2)), seeded()
    counts = {}
    for _ in range(DRAWS):
        steps = sampler.draw(4, generator).positions.diff()
        where = (int(steps.argmax()), int(steps.max()) - 1) if bool((steps > 1).any()) else (None, 0)
        counts[where] = counts.get(where, 0) + 1
    # Not moved at all is one outcome, whatever the cut.
    expected = {(None, 0): 1 / 5, **{(cut, jump): 1 / 15 for cut in range(3) for jump in range(1, 5)}}
    assert counts.keys() == expected.keys()
    assert all(abs(counts[key] - DRAWS * share) < SIGMAS * math.sqrt(DRAWS * share) for key, share in expected.items())


def test_a_later_skip_wise_run_moves_by_at_least_as_much_and_all_are_equally_likely():
    """Window 3 in three runs at factor 2: u_1 is one of 0 … 3, u_2 one of u_1 … 3."""
    sampler, generator = SkipWise(window=3, factors=FixedFactor(2), chunks=3), seeded()
    counts = {(u, v): 0 for u in range(4) for v in range(u, 4)}
    for _ in range(DRAWS):
        _, first, second = sampler.draw(3, generator).positions.tolist()
        counts[int(first) - 1, int(second) - 2] += 1
    for (u, _), count in counts.items():
        share = 1 / 4 / (4 - u)
        assert abs(count - DRAWS * share) < SIGMAS * math.sqrt(DRAWS * share)


@given(windows=st.integers(2, 4), factor=st.integers(1, 5), seed=st.integers(0, 1000))
def test_longer_texts_stand_denser_on_the_same_stretch(windows, factor, seed):
    drawn = Scattered(window=16, factors=FixedFactor(factor)).draw(16 * windows, seeded(seed)).positions
    assert drawn[-1].item() == pytest.approx(factor * 16 - 1 / windows, abs=1e-4)
    # Quarters, thirds and halves of a token: back on the grid they are whole and distinct.
    assert len(set((drawn * windows).round().tolist())) == 16 * windows


def test_every_choice_of_inner_positions_is_equally_likely():
    """Window 4 at factor 2: both inner positions are one of the 15 pairs from 1 … 6."""
    sampler, generator = Scattered(window=4, factors=FixedFactor(2)), seeded()
    choices = list(itertools.combinations(range(1, 7), 2))
    counts = dict.fromkeys(choices, 0)
    for _ in range(DRAWS):
        counts[tuple(int(p) for p in sampler.draw(4, generator).positions[1:3])] += 1
    expected = DRAWS / len(choices)
    # Each count is binomial; fifteen counts, so the worst of them may be a little further out than one would be.
    assert max(abs(count - expected) for count in counts.values()) < SIGMAS * math.sqrt(expected)


@pytest.mark.parametrize("length, slots", [(5, 20), (8, 8), (1, 9)])
def test_random_positions_have_the_order_statistics_of_a_sorted_sample(length, slots):
    """E p_k = (k + 1)(M + 1)/(n + 1) - 1: the k-th of n of M, none of them favoured."""
    sampler, generator = RandomPos(window=length, factors=FixedFactor(slots / length)), seeded()
    drawn = torch.stack([sampler.draw(length, generator).positions for _ in range(DRAWS)]).double()
    expected = (torch.arange(length, dtype=torch.float64) + 1) * (slots + 1) / (length + 1) - 1
    assert bool(((drawn.mean(0) - expected).abs() <= SIGMAS * drawn.std(0) / math.sqrt(DRAWS) + 1e-9).all())


def official(length: int, window: int, factor: int, chance: random.Random) -> list[float]:
    """clex.md §4.1 written out: the positions of the official code's `forward(do_train=True)`."""
    dense = max(1, length // window)
    inner = sorted(chance.sample(range(length * factor - 2), length - 2))
    return [0.0, *((p + 1) / dense for p in inner), length * factor // dense - 1.0]


@pytest.mark.parametrize("length", [16, 32])
def test_means_of_all_positions_are_those_of_the_official_code(length):
    """One window: every token's mean position agrees. Two windows: all but the last token's, which the code puts too early."""
    sampler, generator, chance = Scattered(window=16, factors=FixedFactor(3)), seeded(), random.Random(0)
    ours = torch.stack([sampler.draw(length, generator).positions for _ in range(DRAWS)])
    theirs = torch.tensor([official(length, 16, 3, chance) for _ in range(DRAWS)])
    spread = torch.sqrt((ours.var(0) + theirs.var(0)) / DRAWS)
    apart = (ours.mean(0) - theirs.mean(0)).abs()
    assert bool((apart[:-1] <= 4.5 * spread[:-1] + 1e-5).all())
    assert apart[-1].item() == pytest.approx(0 if length == 16 else 0.5, abs=1e-4)
    # A sorted sample without replacement of n from m: the k-th lies at (k + 1)(m + 1)/(n + 1) - 1 on average (training.md §2).
    slots, dense = length * 3, length // 16
    k = torch.arange(length - 2)
    order_statistics = (1 + (k + 1) * (slots - 1) / (length - 1) - 1) / dense
    assert bool(((ours.mean(0)[1:-1] - order_statistics).abs() < 4.5 * ours.std(0)[1:-1] / math.sqrt(DRAWS)).all())


def test_the_official_codes_last_position_may_fall_behind_and_ours_does_not():
    chance = random.Random(0)
    falls = [official(64, 16, 2, chance) for _ in range(200)]
    assert any(text[-1] <= text[-2] for text in falls)
    sampler, generator = Scattered(window=16, factors=FixedFactor(2)), seeded()
    assert all(bool((sampler.draw(64, generator).positions.diff() > 0).all()) for _ in range(200))


def test_whole_factors_are_drawn_equally_often():
    generator = seeded()
    drawn = [WholeFactors(5).draw(generator) for _ in range(DRAWS)]
    assert set(drawn) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(abs(drawn.count(t) - DRAWS / 5) < SIGMAS * math.sqrt(DRAWS * 0.2 * 0.8) for t in range(1, 6))


@pytest.mark.parametrize("kind, quantile", [(UniformFactors, lambda q: 1 + 7 * q), (LogUniformFactors, lambda q: 8**q)])
def test_real_factors_have_their_distributions_quantiles(kind, quantile):
    generator = seeded()
    drawn = torch.tensor([kind(8.0).draw(generator) for _ in range(DRAWS)])
    for share in (0.1, 0.5, 0.9):
        below = (drawn <= quantile(share)).double().mean().item()
        assert abs(below - share) < SIGMAS * math.sqrt(share * (1 - share) / DRAWS)


def test_a_real_factor_ends_at_the_last_whole_position_of_its_stretch():
    drawn = Scattered(window=16, factors=FixedFactor(2.3)).draw(16, seeded())
    assert drawn.positions[-1] == math.floor(16 * 2.3) - 1 and drawn.factor == 2.3


def test_limits_are_the_largest_factors():
    assert [kind(4).limit for kind in FACTORS] == [4.0] * 4


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("length", [0, -1, 2.0, True, "8"])
def test_a_length_that_is_no_number_of_tokens_is_refused(kind, length, unchecked):
    with pytest.raises(ValueError, match="length is .* whole number of tokens"):
        build(kind, FixedFactor(2)).draw(length, seeded())


@pytest.mark.parametrize("kind", [WholeFactors, UniformFactors, LogUniformFactors, FixedFactor])
@pytest.mark.parametrize("value", [0.5, 0, -2, math.inf, math.nan, "8", True])
def test_factors_below_one_or_not_finite_are_refused(kind, value, unchecked):
    with pytest.raises(ValueError, match="finite and at least 1"):
        kind(value)


def test_half_a_whole_factor_is_refused():
    with pytest.raises(ValueError, match="use UniformFactors"):
        WholeFactors(2.5)


@pytest.mark.parametrize("kind", SAMPLERS[1:], ids=lambda kind: kind.name)
@pytest.mark.parametrize("window", [0, 4.0, True])
def test_a_window_that_is_no_number_of_tokens_is_refused(kind, window, unchecked):
    with pytest.raises(ValueError, match="window is"):
        kind(window=window, factors=WholeFactors(4))


@pytest.mark.parametrize("chunks", [0, -1, 2.0, True, "2"])
def test_a_number_of_runs_that_is_none_is_refused(chunks, unchecked):
    with pytest.raises(ValueError, match="chunks is .* whole number of runs"):
        SkipWise(window=16, factors=WholeFactors(4), chunks=chunks)


@pytest.mark.parametrize("thing", [None, 3, Scattered], ids=["none", "number", "class"])
def test_rows_are_drawn_by_a_sampler(thing, unchecked):
    with pytest.raises(ValueError, match="pass a sampler of clexlab.positions"):
        PerRow(thing)


@pytest.mark.parametrize("kind", SPARSE, ids=lambda kind: kind.name)
def test_a_text_longer_than_the_window_has_no_positions_in_it(kind):
    with pytest.raises(ValueError, match="length is 17 and the window 16.*use Contiguous"):
        build(kind, FixedFactor(2)).draw(17, seeded())


@pytest.mark.parametrize("kind", SAMPLERS, ids=lambda kind: kind.name)
def test_a_number_is_no_distribution_of_factors(kind, unchecked):
    with pytest.raises(ValueError, match="for example WholeFactors"):
        build(kind, 8)
