"""E2-LLM, segments in place, LongRecipe's sentences: properties of every draw, formulas against all choices, the code's logic in loops."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import hf_models
import pytest
import torch
from hf_training import WINDOW, batch, build
from hypothesis import given, settings
from hypothesis import strategies as st

import clexlab
from clexlab import rope, scaling
from clexlab.positions import (
    E2LLM,
    SEGMENTS,
    Anywhere,
    ChunkSegments,
    Contiguous,
    FirstHalf,
    FixedFactor,
    LogUniformFactors,
    PrefixSegments,
    Sampler,
    Sentences,
    SkipWise,
    UniformFactors,
    WholeFactors,
    sampled_coverage,
    sentence_lengths,
)
from clexlab.positions.coverage import two_runs_pairs

DRAWS, SIGMAS = 500, 4
EXACT = dict(rel=1e-9, abs=1e-12)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean_pairs(choices: list[tuple[int, ...]], slots: int) -> list[float]:
    """The mean number of pairs at every distance over equally likely choices, counted one by one; entry 0 counts tokens."""
    found = Counter(b - a for choice in choices for a, b in itertools.product(choice, repeat=2) if b >= a)
    return [float(Fraction(found[distance], len(choices))) for distance in range(slots)]


def share_with(choices: list[tuple[int, ...]], slots: int) -> list[float]:
    """The share of equally likely choices that hold a pair at every distance."""
    found = Counter(distance for choice in choices for distance in {b - a for a, b in itertools.product(choice, repeat=2)})
    return [float(Fraction(found[distance], len(choices))) for distance in range(slots)]


# ------------------------------------------------------------------------------------------------------ E2-LLM


@settings(max_examples=20)
@given(length=st.integers(1, 16), fixed=st.integers(0, 18), seed=st.integers(0, 10_000))
def test_all_but_the_first_tokens_move_by_one_offset(length, fixed, seed):
    draw = E2LLM(window=16, factors=WholeFactors(8), fixed=fixed).draw(length, seeded(seed))
    moved = draw.positions - torch.arange(length)
    assert not bool(moved[:fixed].any()) and len(moved[fixed:].unique()) <= 1
    assert draw.factor in range(1, 9) and float(moved.max()) <= (draw.factor - 1) * 16


def test_every_offset_is_equally_likely():
    sampler, generator = E2LLM(window=4, factors=FixedFactor(2), fixed=2), seeded()
    counts = Counter(int(sampler.draw(4, generator).positions[-1]) - 3 for _ in range(DRAWS))
    assert counts.keys() == set(range(5))
    assert all(abs(count - DRAWS / 5) < SIGMAS * math.sqrt(DRAWS * 0.2 * 0.8) for count in counts.values())


def test_on_linear_the_angles_are_those_of_the_papers_equation():
    draw = E2LLM(window=16, factors=FixedFactor(6.0)).draw(16, seeded(1))
    path = scaling.Linear.default(head_dim=8, base=1e4, window=16)
    angles = draw.positions.double()[:, None] * path.inv_freq(draw.factor, dtype=torch.float64)
    offset = int(draw.positions[-1]) - 15
    assert offset > 0
    for k in range(16):
        for pair in range(4):
            expected = (k + (offset if k >= 4 else 0)) / draw.factor * 1e4 ** (-2 * pair / 8)
            assert float(angles[k, pair]) == pytest.approx(expected)


def logits(sampler: Sampler, factor: float, seed: int = 0) -> torch.Tensor:
    """A tiny model in training on Linear, whose angles at g are (k + offset)/g."""
    model, tokens = build(), batch(rows=1)
    path = scaling.Linear.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=WINDOW)
    torch.manual_seed(seed)
    return clexlab.extend(model, path, positions=sampler).train()(input_ids=tokens).logits.detach()


def test_an_offset_of_all_tokens_changes_no_logit_and_one_behind_fixed_tokens_does():
    # Float32 angles of positions up to 63 are rounded otherwise than those of 0 … 11.
    moved = [logits(E2LLM(window=WINDOW, factors=FixedFactor(4.0), fixed=0), 4.0, seed) for seed in range(3)]
    still = logits(Contiguous(factors=FixedFactor(4.0)), 4.0)
    for found in moved:
        torch.testing.assert_close(found, still, rtol=1e-3, atol=1e-4)
    anchored = logits(E2LLM(window=WINDOW, factors=FixedFactor(4.0)), 4.0)
    torch.testing.assert_close(anchored[:, :4], still[:, :4], rtol=1e-3, atol=1e-4)
    assert float((anchored - still)[:, 4:].abs().max()) > 0.02


def test_no_scale_and_no_offset_are_plain_rope():
    plain = build().train()(input_ids=batch(rows=1)).logits.detach()
    assert torch.equal(logits(E2LLM(window=WINDOW, factors=FixedFactor(1.0)), 1.0), plain)


def test_two_late_tokens_meet_at_the_same_score_whatever_the_offset():
    generator = seeded(5)
    query, key = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    path = scaling.Linear.default(head_dim=8, base=1e4, window=16)
    late, early = set(), set()
    for seed in range(5):
        draw = E2LLM(window=16, factors=FixedFactor(6.0)).draw(16, seeded(seed))
        angles = rope.angles(draw.positions.double(), path.inv_freq(draw.factor, dtype=torch.float64))
        turned = [rope.rotate(one.expand(16, 8), angles) for one in (query, key)]
        late.add(round(float(turned[0][15] @ turned[1][4]), 9))
        early.add(round(float(turned[0][15] @ turned[1][3]), 9))
    assert len(late) == 1 and len(early) == 5


@settings(max_examples=10)
@given(length=st.integers(1, 7), fixed=st.integers(0, 8), room=st.integers(0, 9))
def test_offsets_cover_what_all_of_them_cover(length, fixed, room):
    sampler = E2LLM(window=length, factors=UniformFactors(11), fixed=fixed)
    choices = [tuple(k + (u if k >= fixed else 0) for k in range(length)) for u in range(room + 1)]
    factor = 1 + room / length + 1e-9
    assert sampler.coverage(length, factor).tolist() == pytest.approx(share_with(choices, length + room), **EXACT)
    assert sampler.pairs(length, factor).tolist() == pytest.approx(mean_pairs(choices, length + room), **EXACT)


def test_far_distances_are_few_pairs_toward_the_first_tokens():
    sampler, skipping = E2LLM(window=32, factors=FixedFactor(8)), SkipWise(window=32, factors=FixedFactor(8))
    offset, jump = sampler.pairs(32, 8)[32:], two_runs_pairs(skipping.cut.firsts(32), 224)[32:]
    assert float(offset.max()) <= 4 and float(offset.max()) < float(jump.max())
    # Without fixed tokens all distances are those of a plain text, at any offset.
    assert E2LLM(window=32, factors=FixedFactor(8), fixed=0).pairs(32, 8)[:32].tolist() == list(range(32, 0, -1))


@settings(max_examples=10)
@given(length=st.integers(2, 6), room=st.integers(0, 8))
def test_two_runs_have_as_many_pairs_as_all_cuts_and_jumps(length, room):
    for cut, firsts in {Anywhere(): range(1, length), FirstHalf(): range(1, (length + 1) // 2 + 1)}.items():
        choices = [(*range(first), *range(first + u, length + u)) for first in firsts for u in range(room + 1)]
        found = two_runs_pairs(cut.firsts(length), room)
        assert found.tolist() == pytest.approx(mean_pairs(choices, length + room), **EXACT)


# ------------------------------------------------------------------------------------------------------ the released cut of PoSE


def test_the_released_cut_is_the_codes_with_the_same_chance():
    """train_pose.py's positions in a loop, fed with the same random numbers: the first run, then the jump."""
    for seed, length in itertools.product(range(10), (1, 2, 7, 12)):
        drawn = SkipWise(window=12, factors=FixedFactor(4), cut=FirstHalf()).draw(length, seeded(seed)).positions
        chance, first, jump = seeded(seed), 1, 0
        if length > 1:
            first = torch.randint(1, (length + 1) // 2 + 1, (1,), generator=chance).item()
            jump = torch.randint(4 * 12 - 12 + 1, (), generator=chance).item()
        expected = []
        for k in range(length):
            expected.append(k if k < first else k + jump)
        assert drawn.tolist() == expected and first <= (length + 1) // 2


def test_every_released_cut_is_equally_likely_and_none_is_beyond_the_middle():
    generator = seeded()
    counts = Counter(int(FirstHalf().draw(7, 2, generator)) for _ in range(DRAWS))
    assert counts.keys() == {1, 2, 3, 4}
    assert all(abs(count - DRAWS / 4) < SIGMAS * math.sqrt(DRAWS * 0.25 * 0.75) for count in counts.values())


def test_the_released_cut_makes_two_runs_only(unchecked):
    with pytest.raises(ValueError, match="at most 2; use Anywhere"):
        SkipWise(window=8, factors=FixedFactor(2), chunks=3, cut=FirstHalf())
    with pytest.raises(ValueError, match="cut is 'half'; pass Anywhere"):
        SkipWise(window=8, factors=FixedFactor(2), cut="half")


# ------------------------------------------------------------------------------------------------------ segments in place


@settings(max_examples=15)
@given(size=st.integers(1, 5), factor=st.floats(1, 8), seed=st.integers(0, 10_000))
def test_segments_rise_within_the_long_text_in_whole_runs(size, factor, seed):
    length = 4 * size
    for kind in SEGMENTS:
        sampler, before = kind(window=20, factors=LogUniformFactors(8)), torch.get_rng_state()
        draw, again = (sampler.draw(length, seeded(seed)) for _ in range(2))
        assert isinstance(sampler, Sampler) and torch.equal(draw.positions, again.positions)
        assert torch.equal(torch.get_rng_state(), before)
        assert draw.positions.shape == (length,) and draw.positions[0] >= 0 and bool((draw.positions.diff() > 0).all())
        assert draw.positions[-1] <= math.floor(20 * draw.factor) - 1
    chunks = ChunkSegments(window=20, factors=FixedFactor(factor)).draw(length, seeded(seed)).positions.reshape(4, size)
    assert torch.equal(chunks - chunks[:, :1], torch.arange(size).expand(4, -1).float())
    prefix = PrefixSegments(window=20, factors=FixedFactor(factor)).draw(length, seeded(seed))
    assert torch.equal(prefix.positions[-size:] - prefix.positions[-size], torch.arange(size).float())
    assert prefix.learned.tolist() == [False] * 3 * size + [True] * size


def placements(slots: int, pieces: int, size: int) -> list[tuple[int, ...]]:
    """All ways to put pieces of one size into the slots without overlap."""
    starts = itertools.combinations(range(slots - size + 1), pieces)
    return [
        tuple(start + k for start in chosen for k in range(size))
        for chosen in starts
        if all(b - a >= size for a, b in itertools.pairwise(chosen))
    ]


def test_every_placement_of_pieces_is_equally_likely():
    choices = placements(7, 2, 2)
    sampler, generator = ChunkSegments(window=4, factors=FixedFactor(7 / 4), pieces=2), seeded()
    counts = Counter(tuple(sampler.draw(4, generator).positions.int().tolist()) for _ in range(DRAWS))
    assert counts.keys() == set(choices) and len(choices) == 10
    assert all(abs(count - DRAWS / 10) < SIGMAS * math.sqrt(DRAWS * 0.1 * 0.9) for count in counts.values())


@pytest.mark.parametrize("slots, pieces, size", [(5, 1, 3), (9, 2, 2), (10, 3, 2), (9, 4, 1), (8, 4, 2)])
def test_pieces_have_as_many_pairs_as_all_placements(slots, pieces, size):
    length = pieces * size
    sampler = ChunkSegments(window=length, factors=UniformFactors(9), pieces=pieces)
    expected = mean_pairs(placements(slots, pieces, size), slots)
    assert sampler.pairs(length, slots / length + 1e-9).tolist() == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("slots, length, alpha", [(9, 4, 0.25), (9, 4, 0.5), (8, 5, 0.6), (7, 4, 1.0), (6, 6, 0.5), (9, 5, 0.4)])
def test_a_run_behind_scattered_tokens_covers_what_all_of_them_cover(slots, length, alpha):
    run = round(alpha * length)
    total = [Fraction(0)] * slots
    starts = range(length - run, slots - run + 1)
    for start in starts:
        choices = [(*chosen, *range(start, start + run)) for chosen in itertools.combinations(range(start), length - run)]
        for choice in choices:
            for distance in {b - a for a, b in itertools.product(choice, repeat=2) if b >= a}:
                total[distance] += Fraction(1, len(starts) * len(choices))
    sampler = PrefixSegments(window=length, factors=UniformFactors(9), alpha=alpha)
    found = sampler.coverage(length, slots / length + 1e-9)
    assert found.tolist() == pytest.approx([float(share) for share in total], **EXACT)


def test_runs_behind_scattered_tokens_are_drawn_with_the_coverage_of_the_formula():
    sampler = PrefixSegments(window=8, factors=FixedFactor(3))
    exact, counted = sampler.coverage(8, 3), sampled_coverage(sampler, 8, DRAWS, seeded())
    counted = torch.nn.functional.pad(counted, (0, len(exact) - len(counted)))
    assert bool(((counted - exact).abs() <= SIGMAS * (exact * (1 - exact) / DRAWS).clamp(min=0).sqrt() + 1 / DRAWS + 1e-12).all())


# ------------------------------------------------------------------------------------------------------ sentences


def official(sentences: list[int], target: int, chance: torch.Generator) -> list[int]:
    """FSProcessor.py and preprocess_data.py in loops: sentences in slots of an empty list, read off; the first r tokens contiguous."""
    length, count = sum(sentences), len(sentences)
    slots = sorted(torch.randperm(target - length + count, generator=chance)[:count].tolist())
    table = [None] * (target - length + count)
    for slot, size in zip([0, *slots[1:]], sentences, strict=True):
        table[slot] = size
    places, here = [], 0
    for entry in table:
        places += [here + k for k in range(entry)] if entry else []
        here += entry or 1
    assert here == target
    kept = torch.randint(1, (length + 1) // 2 + 1, (), generator=chance).item()
    return [*range(kept), *places[kept:]]


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), factor=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_sentences_stand_where_the_official_code_puts_them(sizes, factor, seed):
    sampler = Sentences(window=25, factors=FixedFactor(factor), sentences=tuple(sizes))
    draw = sampler.draw(sum(sizes), seeded(seed))
    places = draw.positions.int().tolist()
    assert places == official(sizes, factor * 25, seeded(seed))
    assert places[0] == 0 and places[-1] <= factor * 25 - 1
    # Jumps are where sentences begin, and at most one more.
    jumps = {k for k in range(1, len(places)) if places[k] - places[k - 1] > 1}
    assert all(b > a for a, b in itertools.pairwise(places)) and len(jumps - set(itertools.accumulate(sizes))) <= 1


def all_sentences(sizes: tuple[int, ...], target: int) -> list[tuple[int, ...]]:
    """Every choice of slots and of r, all equally likely."""
    length, count = sum(sizes), len(sizes)
    choices = []
    for slots in itertools.combinations(range(target - length + count), count):
        gaps = [slot - i for i, (slot, size) in enumerate(zip((0, *slots[1:]), sizes, strict=True)) for _ in range(size)]
        for kept in range(1, (length + 1) // 2 + 1):
            choices.append(tuple(k + gaps[k] * (k >= kept) for k in range(length)))
    return choices


@pytest.mark.parametrize("sizes, factor", [((3,), 3), ((2, 3), 2), ((1, 2, 2), 2), ((2, 1, 1, 2), 2), ((1, 1, 1), 3)])
def test_sentences_have_as_many_pairs_as_all_slots(sizes, factor):
    length = sum(sizes)
    sampler = Sentences(window=length, factors=FixedFactor(factor), sentences=sizes)
    found = sampler.pairs(length, factor)
    assert found.tolist() == pytest.approx(mean_pairs(all_sentences(sizes, factor * length), factor * length), **EXACT)
    # Every pair of tokens is some distance apart.
    assert float(found.sum()) == pytest.approx(length * (length + 1) / 2)


@pytest.mark.parametrize("sizes", [(2, 3), (1, 2, 2), (2, 1, 1, 2)])
def test_sentences_are_drawn_with_the_coverage_and_the_pairs_of_all_slots(sizes):
    """There is no formula for C, so the count itself is held against every choice."""
    length = sum(sizes)
    sampler, slots = Sentences(window=length, factors=FixedFactor(2), sentences=sizes), 2 * length
    exact = torch.tensor(share_with(all_sentences(sizes, slots), slots), dtype=torch.float64)
    counted = sampled_coverage(sampler, length, DRAWS, seeded())
    counted = torch.nn.functional.pad(counted, (0, slots - len(counted)))
    assert bool(((counted - exact).abs() <= SIGMAS * (exact * (1 - exact) / DRAWS).clamp(min=0).sqrt() + 1 / DRAWS + 1e-12).all())
    drawn = [sampler.draw(length, seeded(seed)).positions for seed in range(DRAWS)]
    apart = torch.stack([(text[:, None] - text).long().clamp(min=-1).add(1).flatten().bincount(minlength=slots + 1)[1:] for text in drawn])
    spread = apart.double().std(0) / math.sqrt(DRAWS)
    assert bool(((apart.double().mean(0) - sampler.pairs(length, 2.0)).abs() <= SIGMAS * spread + 2 / DRAWS).all())


def test_sentences_of_tokens_end_with_the_given_ones():
    tokens = torch.tensor([7, 13, 13, 8, 9, 30, 5])
    assert sentence_lengths(tokens, (13, 30)) == (2, 1, 3, 1)
    assert sentence_lengths(tokens[:6], {13, 30}) == (2, 1, 3) and sentence_lengths(tokens, ()) == (7,)


def test_a_text_without_room_is_contiguous():
    for sampler in (
        E2LLM(window=8, factors=FixedFactor(1)),
        ChunkSegments(window=8, factors=FixedFactor(1)),
        PrefixSegments(window=8, factors=FixedFactor(1)),
        Sentences(window=8, factors=FixedFactor(1), sentences=(3, 5)),
    ):
        assert torch.equal(sampler.draw(8, seeded(2)).positions, Contiguous().draw(8, seeded()).positions)


# ------------------------------------------------------------------------------------------------------ refused


BAD = {
    "fixed is": lambda: E2LLM(window=8, factors=FixedFactor(2), fixed=-1),
    "pieces is": lambda: ChunkSegments(window=8, factors=FixedFactor(2), pieces=0),
    "alpha is": lambda: PrefixSegments(window=8, factors=FixedFactor(2), alpha=1.5),
    "sentences are": lambda: Sentences(window=8, factors=FixedFactor(2), sentences=(3, 0)),
    "window is 0": lambda: ChunkSegments(window=0, factors=FixedFactor(2)),
    "for example WholeFactors": lambda: PrefixSegments(window=8, factors=2),
    "give rows of a multiple": lambda: ChunkSegments(window=8, factors=FixedFactor(2)).draw(6, seeded()),
    "no whole run of tokens": lambda: PrefixSegments(window=8, factors=FixedFactor(2)).draw(6, seeded()),
    "these positions are for one text": lambda: Sentences(window=8, factors=FixedFactor(2), sentences=(3, 2)).draw(6, seeded()),
    "length is 9 and the window 8": lambda: ChunkSegments(window=8, factors=FixedFactor(2), pieces=3).draw(9, seeded()),
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_drawn_is_refused(message, unchecked):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
