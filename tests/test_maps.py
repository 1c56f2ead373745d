"""Maps of relative positions: the reference's matrices and numbers, definitions in loops, borders where a map is plain RoPE."""

import math
from fractions import Fraction

import map_matrices
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clexlab.positions import maps
from clexlab.positions.maps import (
    GALI,
    MAPS,
    STRING,
    DistanceNoise,
    DualChunk,
    LeakyReRoPE,
    LMInfinite,
    Map,
    RelativeNoise,
    ReRoPE,
    SelfExtend,
    Sinks,
)

LENGTHS = st.integers(1, 40)


def named(value: object) -> str:
    return repr(value) if isinstance(value, Map) else ""


def plain(length: int) -> torch.Tensor:
    """P = i - j, nan for later keys."""
    places = torch.arange(length, dtype=torch.float64)
    return (places[:, None] - places).masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), torch.nan)


def equal(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.equal(given.nan_to_num(-1.0), wanted.nan_to_num(-1.0))


def drawn_map(kind: type[Map], draw) -> Map:
    """Any map of this kind with small options, drawn by hypothesis."""
    window = draw(st.integers(2, 24))
    some = st.integers(1, 30)
    if kind is ReRoPE:
        return ReRoPE(window=window, near=draw(some))
    if kind is LeakyReRoPE:
        return LeakyReRoPE(window=window, near=draw(some), slowing=draw(st.floats(1, 20)))
    if kind is SelfExtend:
        return SelfExtend(window=window, near=draw(some), group=draw(st.integers(1, 9)))
    if kind is DualChunk:
        chunk = draw(st.integers(1, window))
        return DualChunk(window=window, chunk=chunk, ceiling=draw(st.one_of(st.none(), st.integers(chunk - 1, window - 1))))
    if kind is STRING:
        shift = draw(some)
        return STRING(window=window, shift=shift, local=draw(st.integers(0, shift)))
    if kind is GALI:
        return GALI(window=window, tail=draw(st.integers(1, window - 1)), chunk=draw(some))
    if kind is Sinks:
        return Sinks(window=window, sinks=draw(st.integers(0, 9)), recent=draw(some))
    return LMInfinite(window=window, starts=draw(st.integers(0, 9)), local=draw(some), limit=draw(st.integers(0, 30)))


ANY = st.composite(lambda draw: drawn_map(draw(st.sampled_from(MAPS)), draw))()


# ------------------------------------------------------------------------------------------- the reference's numbers


@pytest.mark.parametrize(("m", "text"), map_matrices.PRINTED, ids=named)
def test_the_matrix_is_the_printed_one(m, text):
    rows = map_matrices.matrix(text)
    given = m.relative(len(rows))
    for i, row in enumerate(rows):
        wanted = torch.tensor(row + [math.nan] * (len(rows) - len(row)), dtype=torch.float64)
        torch.testing.assert_close(given[i], wanted, atol=5.1e-3, rtol=0, equal_nan=True)


@pytest.mark.parametrize(("m", "length", "largest", "last", "total"), map_matrices.GOLDEN, ids=named)
def test_a_softmax_over_cosines_of_p_gives_the_golden_numbers(m, length, largest, last, total):
    relative = m.relative(length)
    logits = (1 - relative % 1) * relative.floor().cos() + (relative % 1) * relative.ceil().cos() if m.mixes else relative.cos()
    out = (logits / math.sqrt(2)).masked_fill(~m.visible(length), -math.inf).softmax(-1) @ torch.arange(length).double()
    assert (float(out[-1]), float(out.sum())) == pytest.approx((last, total), abs=2e-6)
    assert m.largest(length) == largest


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (6, "0 1 2 3 4 5"),
        (7, "0 1/2 1 2 3 4 5"),
        (8, "0 1/2 1 3/2 2 3 4 5"),
        (9, "0 1/2 1 3/2 2 5/2 3 4 5"),
        (10, "0 1/2 1 3/2 2 5/2 3 7/2 4 5"),
        (11, "0 1/3 2/3 1 4/3 5/3 2 7/3 3 4 5"),
        (12, "0 1/3 2/3 1 4/3 5/3 2 7/3 8/3 3 4 5"),
    ],
)
def test_gali_places_tokens_as_printed(length, text):
    places, parts = GALI(window=6, tail=2, chunk=1).places(length)
    assert [Fraction(place, parts) for place in places.tolist()] == [Fraction(place) for place in text.split()]


def test_gali_at_twelve_tokens_is_alike_for_three_tails_and_not_for_the_fourth():
    found = [GALI(window=6, tail=tail, chunk=1).places(12) for tail in (1, 2, 3, 4)]
    lists = [[place / parts for place in places.tolist()] for places, parts in found]
    assert lists[0] == lists[1] == lists[2]
    assert lists[3] == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 3, 4, 5]


# --------------------------------------------------------------------------------------------- definitions, in loops


def defined(m: Map, i: int, j: int) -> float | None:
    """P of one pair by the equation in the map's docstring, None where the key is not seen. GALI has its own test."""
    far = i - j
    if isinstance(m, ReRoPE):
        return min(far, m.near)
    if isinstance(m, LeakyReRoPE):
        return far if far < m.near else m.near + (far - m.near) / m.slowing
    if isinstance(m, SelfExtend):
        return far if far < m.near else i // m.group - j // m.group + m.near - m.near // m.group
    if isinstance(m, DualChunk):
        top, chunks = (m.window - 1 if m.ceiling is None else m.ceiling), i // m.chunk - j // m.chunk
        query = i % m.chunk if chunks == 0 else min(i % m.chunk + m.chunk, top) if chunks == 1 else top
        return query - j % m.chunk
    if isinstance(m, STRING):
        return far if far < m.shift else far - m.shift + m.local
    if isinstance(m, Sinks):
        kept = [key for key in range(i + 1) if key < m.sinks or i - key < m.recent]
        return kept.index(i) - kept.index(j) if j in kept else None
    if far < m.local:
        return far
    return m.limit if j < m.starts else None


@settings(max_examples=60)
@given(m=ANY.filter(lambda m: not isinstance(m, GALI)), length=LENGTHS)
def test_every_entry_is_the_definition(m, length):
    given, visible = m.relative(length), m.visible(length)
    for i in range(length):
        for j in range(length):
            wanted = defined(m, i, j) if j <= i else None
            assert bool(visible[i, j]) == (wanted is not None)
            assert float(given[i, j]) == pytest.approx(math.nan if wanted is None else wanted, nan_ok=True, abs=1e-12)


def greedy(window: int, tail: int, length: int) -> list[Fraction]:
    """GALI's positions by the paper's loop."""
    if length <= window:
        return [Fraction(i) for i in range(length)]
    parts = math.ceil(Fraction(length - tail, window - tail))
    ids, i = [], 0
    while window - i + len(ids) < length:
        ids += [i + Fraction(k, parts) for k in range(parts)]
        i += 1
    rest = [Fraction(k) for k in range(i, window)]
    return ids[: length - len(rest)] + rest


@settings(max_examples=60)
@given(window=st.integers(2, 20), data=st.data(), chunk=st.integers(1, 20), length=LENGTHS)
def test_gali_is_its_loop_chunk_by_chunk(window, data, chunk, length):
    m = GALI(window=window, tail=data.draw(st.integers(1, window - 1)), chunk=chunk)
    given, end, begin = m.relative(length), min(window, length), 0
    while begin < length:
        ids = greedy(window, m.tail, end)
        places, parts = m.places(end)
        assert [Fraction(place, parts) for place in places.tolist()] == ids
        last = min(window, end) - 1
        assert ids == sorted(ids) and ids[0] == 0 and ids[-1] == last and len({math.floor(n) for n in ids}) == last + 1
        for i in range(begin, end):
            wanted = [float(math.ceil(ids[i]) - ids[j]) for j in range(i + 1)]
            torch.testing.assert_close(given[i, : i + 1], torch.tensor(wanted, dtype=torch.float64), atol=1e-12, rtol=0)
        begin, end = end, min(end + chunk, length)


@settings(max_examples=50)
@given(m=ANY, length=LENGTHS, data=st.data())
def test_queries_sent_later_have_the_rows_they_had(m, length, data):
    if isinstance(m, GALI):
        m = GALI(window=m.window, tail=m.tail, chunk=1)
    first = data.draw(st.integers(0, length - 1))
    whole, seen = m.relative(length), 0
    for span in m.spans(length, first):
        queries, keys = slice(span.first, span.last), slice(0, len(span.key))
        shown = span.shown(queries, keys)
        seen += int(shown.sum())
        torch.testing.assert_close(span.distances(queries, keys)[shown], whole[queries, keys][shown], atol=0, rtol=0)
    assert seen == int(m.visible(length)[first:].sum())


@settings(max_examples=50)
@given(m=ANY, length=LENGTHS)
def test_spans_keep_their_promises(m, length):
    assert torch.equal(sum(shown_by(span, length) for span in m.spans(length)), m.visible(length).long())
    for span in m.spans(length):
        assert bool((span.low.diff() >= 0).all() and (span.high.diff() >= 0).all())
        for low, high in zip(span.low.tolist(), span.high.tolist(), strict=True):
            assert high <= low or bool((span.key[low:high] >= span.key[low]).all())


def shown_by(span: maps.Span, length: int) -> torch.Tensor:
    found = torch.zeros(length, length, dtype=torch.long)
    queries, keys = slice(span.first, span.last), slice(0, len(span.key))
    found[queries, keys] = span.shown(queries, keys).long()
    return found


# ------------------------------------------------------------------------------------------------ every map, always


@settings(max_examples=60)
@given(m=ANY, length=LENGTHS)
def test_distances_are_never_negative_and_the_query_itself_is_at_zero(m, length):
    relative = m.relative(length)
    # GALI rounds a query at a fraction up and not its key.
    own = 1 if isinstance(m, GALI) else 0
    assert bool((relative[m.visible(length)] >= 0).all()) and bool((relative.diagonal() <= own).all())
    assert torch.equal(relative.isnan(), ~m.visible(length)) and not bool(m.visible(length).triu(1).any())


@settings(max_examples=60)
@given(m=ANY, length=LENGTHS)
def test_the_largest_distance_is_the_largest_entry(m, length):
    assert m.largest(length) == pytest.approx(float(m.relative(length).nan_to_num(-1).max()), abs=1e-12)


@settings(max_examples=60)
@given(m=ANY)
def test_the_longest_length_is_safe_and_one_token_more_is_not(m):
    if m.longest == math.inf:
        assert all(m.largest(length) <= m.window - 1 for length in (1, m.window, 3 * m.window, 200))
    elif m.longest <= 400:
        assert m.largest(int(m.longest)) <= m.window - 1 < m.largest(int(m.longest) + 1)


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("window", [8, 256, 4096])
def test_the_default_is_safe_at_its_window_and_fits_sixteen_where_the_method_says_so(kind, window):
    m = kind.default(window)
    assert m.window == window and m.longest >= window and maps.by_name(m.name) is kind
    assert m.longest > 16 * window or kind is STRING or window == 8


def test_every_map_is_listed_once_with_a_name_a_title_and_a_source():
    assert len({kind.name for kind in MAPS}) == len({kind.title for kind in MAPS}) == len(MAPS) == 8
    assert all(kind.paper.startswith("https://") for kind in MAPS)
    assert {type(m) for m, _ in map_matrices.PRINTED} == set(MAPS) == {type(entry[0]) for entry in map_matrices.GOLDEN}


# ------------------------------------------------------------------------------------------- borders: plain RoPE


@pytest.mark.parametrize(
    "m",
    [
        ReRoPE(window=8, near=24),
        LeakyReRoPE(window=8, near=24, slowing=3.0),
        LeakyReRoPE(window=8, near=3, slowing=1.0),
        SelfExtend(window=8, near=24, group=3),
        SelfExtend(window=8, near=3, group=1),
        SelfExtend(window=8, near=4, group=1),
        DualChunk(window=24, chunk=24),
        DualChunk(window=40, chunk=24),
        STRING(window=8, shift=24, local=1),
        STRING(window=8, shift=30, local=0),
        STRING(window=8, shift=5, local=5),
        GALI(window=24, tail=3, chunk=2),
        Sinks(window=8, sinks=2, recent=22),
        Sinks(window=8, sinks=0, recent=24),
        LMInfinite(window=8, starts=0, local=24, limit=3),
        LMInfinite(window=8, starts=5, local=24, limit=3),
    ],
    ids=named,
)
def test_where_nothing_is_far_a_map_is_plain_rope(m):
    assert equal(m.relative(24), plain(24))


def test_slower_and_slower_leaky_rerope_becomes_rerope():
    leaky = LeakyReRoPE(window=16, near=5, slowing=1e12)
    torch.testing.assert_close(leaky.relative(40), ReRoPE(window=16, near=5).relative(40), atol=1e-10, rtol=0, equal_nan=True)


@settings(max_examples=50)
@given(window=st.integers(2, 30), data=st.data())
def test_dual_chunk_keeps_true_distances_at_the_start_of_a_chunk(window, data):
    chunk = data.draw(st.integers(1, window))
    rows = range(chunk, min(2 * chunk, window))
    relative = DualChunk(window=window, chunk=chunk).relative(2 * chunk)
    assert all(equal(relative[row], plain(2 * chunk)[row]) for row in rows)


def test_string_has_as_many_near_keys_as_its_shift_and_uses_every_distance_of_the_shortened_window():
    m = STRING(window=20, shift=6, local=0)
    relative = m.relative(20)
    assert int(m.visible(20).sum()) == 20 * 21 // 2
    assert all(int((relative[row, -6 + row + 1 if row >= 6 else 0 : row + 1] < 6).sum()) == min(row + 1, 6) for row in range(20))
    assert sorted(relative[-1].tolist()) == sorted([*range(14), *range(6)])


def test_self_extend_between_whole_groups_is_a_straight_line():
    m = SelfExtend(window=40, near=8, group=4)
    relative = m.relative(64)[::4, ::4]
    wanted = plain(64)[::4, ::4] / 4 + 8 - 8 / 4
    far = plain(64)[::4, ::4] >= 8
    assert torch.equal(relative[far], wanted[far])


def test_lm_infinite_sees_what_sinks_see_at_other_distances():
    infinite, sinks = LMInfinite(window=9, starts=3, local=5, limit=8), Sinks(window=9, sinks=3, recent=5)
    assert torch.equal(infinite.visible(30), sinks.visible(30))
    assert infinite.relative(30)[-1, :3].tolist() == [8, 8, 8] and sinks.relative(30)[-1, :3].tolist() == [7, 6, 5]


@pytest.mark.parametrize("windows", [2, 4, 16])
def test_the_codes_noise_is_the_papers_over_the_extension_ratio_to_half_as_much_again(windows):
    window, ratios = 8, []
    m = GALI(window=window, tail=2, chunk=4)
    assert m.noise == RelativeNoise()
    for span in m.spans(windows * window)[1:]:
        queries, keys = torch.arange(span.first, span.last)[:, None], len(span.key)
        relative, apart = span.distances(slice(span.first, span.last), slice(0, keys)), queries - torch.arange(keys)
        mixed = (span.mix.share > 0) & (apart > 0)
        paper = RelativeNoise().deviation(apart, relative, keys, window)[mixed]
        ratios.append(DistanceNoise().deviation(apart, relative, keys, window)[mixed] / paper)
    ratios = torch.cat(ratios)
    assert 1 / windows <= float(ratios.min()) < 1.7 / windows and 1 < float(ratios.max()) <= 1.5 + 1e-9


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 64, 128, 256, 2048])
def test_defaults_stay_within_small_windows(window):
    sinks, extended = Sinks.default(window), SelfExtend.default(window)
    assert sinks.longest == math.inf and extended.group <= extended.near
    assert (extended.longest >= 16 * window) == (window >= 128)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: ReRoPE(window=0, near=1), "window is 0"),
        (lambda: ReRoPE(window=8, near=0), "near is 0; it must be a whole number of tokens, at least 1"),
        (lambda: ReRoPE(window=8, near=2.5), "near is 2.5"),
        (lambda: LeakyReRoPE(window=8, near=2, slowing=0.5), "slowing is 0.5; .* at least 1"),
        (lambda: LeakyReRoPE(window=8, near=2, slowing=math.inf), "finite"),
        (lambda: SelfExtend(window=8, near=2, group=0), "group is 0"),
        (lambda: DualChunk(window=8, chunk=9), "chunk is 9, ceiling 7 and window 8; .* smaller chunks"),
        (lambda: DualChunk(window=8, chunk=4, ceiling=2), "ceiling 2"),
        (lambda: DualChunk(window=8, chunk=4, ceiling=8), "ceiling 8"),
        (lambda: STRING(window=8, shift=0, local=0), "shift is 0"),
        (lambda: STRING(window=8, shift=2, local=3), "local is 3 and shift 2; .* local ≤ shift"),
        (lambda: GALI(window=8, tail=8, chunk=2), "tail is 8 and the window 8; .* shorter tail"),
        (lambda: GALI(window=8, tail=0, chunk=2), "tail is 0"),
        (lambda: GALI(window=8, tail=2, chunk=0), "chunk is 0"),
        (lambda: GALI(window=8, tail=2, chunk=2, noise=0.1), r"noise is 0.1; pass RelativeNoise\(\)"),
        (lambda: Sinks(window=8, sinks=-1, recent=2), "sinks is -1"),
        (lambda: Sinks(window=8, sinks=1, recent=0), "recent is 0"),
        (lambda: LMInfinite(window=8, starts=1, local=0, limit=2), "local is 0"),
        (lambda: ReRoPE(window=8, near=2).relative(0), "length is 0"),
        (lambda: ReRoPE(window=8, near=2).spans(4, 4), "first is 4 of 4 tokens"),
        (lambda: maps.by_name("yarn"), "no map is named 'yarn'; there are rerope, leaky_rerope"),
    ],
)
def test_bad_options_are_refused_in_words(unchecked, build, says):
    with pytest.raises(ValueError, match=says):
        build()
