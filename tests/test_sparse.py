"""Sparse patterns: what all of them promise, then the reference's printed masks, its table of entries and its table of coverage."""

import dataclasses

import pytest
import sparse_masks as printed
import torch
from hypothesis import given
from hypothesis import strategies as st

from clexlab import sparse
from clexlab.sparse import LEAKING, PATTERNS, RULES

N, G = 12, 4
ALL = (*PATTERNS, *LEAKING)
# One of each with options that are no default and no power of two; 12 heads can be divided by all of them.
HEADS = 12
ODD = (
    sparse.Local(chunk=5),
    sparse.S2(chunk=6),
    sparse.RolledS2(chunk=6),
    sparse.SCCAFixed(chunk=5, shift_by=7),
    sparse.SCCAFixed(chunk=6, mask=sparse.SlotTriangle()),
    sparse.SCCAFixed(chunk=6, mask=sparse.WrappedTriangle()),
    sparse.SCCAFlow(chunk=5, chunks=3),
    sparse.SCCAFlow(chunk=3, chunks=5, mask=sparse.SlotTriangle()),
    sparse.SCCAFlow(chunk=3, chunks=5, mask=sparse.WrappedTriangle()),
    sparse.Dilated(segment=7, ratio=3),
    sparse.DilatedNeighbourhood(neighbours=2, dilation=5),
    sparse.TwoSidedNeighbourhood(neighbours=3, dilation=5),
    sparse.SDA(interval=5, first=2),
    sparse.SelectedSDA(interval=3),
    sparse.LongMixed(chunk=6),
    sparse.Mixed(parts=(sparse.SDA(interval=3), sparse.TwoSidedNeighbourhood(neighbours=2, dilation=3)), shares=(1, 2)),
)
STRAIGHT = tuple(pattern for pattern in ODD if pattern.causal)


def name(pattern):
    return repr(pattern) if not isinstance(pattern, type) else pattern.name


def length_for(pattern):
    return 18 if not isinstance(pattern, sparse.SCCAFlow) else 15


def with_rule(pattern, rule):
    return dataclasses.replace(pattern, empty=rule)


# What every pattern promises.


@pytest.mark.parametrize("pattern", ODD, ids=name)
def test_the_formula_for_the_keys_of_a_row_is_what_the_mask_holds(pattern):
    length = length_for(pattern)
    visible = pattern.visible(HEADS, length)
    assert visible.shape == (HEADS, length, length) and visible.dtype == torch.bool
    assert torch.equal(pattern.keys_per_row(HEADS, length), visible.sum(-1))
    assert torch.equal(pattern.empty_rows(HEADS, length), ~visible.any(-1))
    assert torch.equal(sparse.entries(pattern, HEADS, length), visible.sum((-2, -1)))


@pytest.mark.parametrize("method", ALL, ids=name)
def test_the_default_of_every_pattern_scales_with_the_text(method):
    for length in (16, 64):
        pattern = method.default(length)
        visible = pattern.visible(4, length)
        assert torch.equal(pattern.keys_per_row(4, length), visible.sum(-1))
        assert 0 < visible.sum() < 4 * length * (length + 1) // 2
        assert sparse.by_name(pattern.name) is method and pattern.title and pattern.paper.startswith("https://")


@pytest.mark.parametrize("pattern", ODD, ids=name)
def test_only_patterns_that_say_so_leak(pattern):
    assert (sparse.leaks(pattern, HEADS, length_for(pattern)).sum() > 0) == (not pattern.causal)
    assert all(not method.default(16).causal for method in LEAKING) and all(method.default(16).causal for method in PATTERNS)


@pytest.mark.parametrize("pattern", STRAIGHT, ids=name)
def test_what_a_token_sees_does_not_change_when_the_text_grows(pattern):
    short, long = pattern.visible(HEADS, 10), pattern.visible(HEADS, 23)
    assert torch.equal(short, long[:, :10, :10])


@pytest.mark.parametrize("pattern", ODD, ids=name)
def test_rows_and_columns_asked_for_are_those_of_the_whole_mask(pattern):
    length = length_for(pattern)
    queries, keys = torch.tensor([3, 14, 7]), torch.tensor([0, 8, 2, 13])
    assert torch.equal(pattern.sees(HEADS, queries, keys, length), pattern.visible(HEADS, length)[:, queries][..., keys])


@pytest.mark.parametrize("pattern", ODD, ids=name)
def test_flex_attentions_form_is_the_mask_pair_by_pair(pattern):
    length = length_for(pattern)
    asked = pattern.mask_mod(HEADS, length)
    for places in ((None, None, None, 0), (None, None, 0, None), (None, 0, None, None)):
        asked = torch.vmap(asked, in_dims=places)
    places = torch.arange(length)
    assert torch.equal(asked(torch.tensor(0), torch.arange(HEADS), places, places), pattern.visible(HEADS, length))


@given(chunk=st.integers(1, 6), shift=st.integers(0, 14), length=st.integers(1, 25), mask=st.sampled_from(["TruePosition", "SlotTriangle"]))
def test_a_moved_window_is_what_its_definition_says_for_any_shift(chunk, shift, length, mask):
    pattern = sparse.SCCAFixed(chunk=chunk, shift_by=shift, mask=getattr(sparse, mask)())
    visible = pattern.visible(2, length)[1]
    for query in range(length):
        start = query // chunk * chunk - shift
        limit = query if mask == "TruePosition" else query - shift
        assert visible[query].nonzero().flatten().tolist() == [key for key in range(max(start, 0), start + chunk) if key <= limit]
    assert torch.equal(pattern.keys_per_row(2, length)[1], visible.sum(-1))


# Empty rows.


@pytest.mark.parametrize("pattern", [each for each in STRAIGHT if "empty" in each.__dataclass_fields__], ids=name)
def test_a_rule_fills_the_empty_rows_and_no_others(pattern):
    length = length_for(pattern)
    plain, blank = pattern.visible(HEADS, length), pattern.empty_rows(HEADS, length)
    triangle = torch.ones(length, length, dtype=torch.bool).tril()
    for kind in RULES:
        rule = kind(chunk=5) if "chunk" in kind.__dataclass_fields__ else kind()
        filled = with_rule(pattern, rule)
        visible = filled.visible(HEADS, length)
        assert torch.equal(visible & ~blank[..., None], plain) and not (visible & ~triangle).any()
        assert torch.equal(filled.keys_per_row(HEADS, length), visible.sum(-1))
        assert torch.equal(filled.empty_rows(HEADS, length), blank)
        assert visible[blank].any(-1).all() or kind is sparse.ZeroOutput


def test_the_rules_show_an_empty_row_itself_its_own_chunk_or_the_first():
    pattern = sparse.SCCAFlow(chunk=G, chunks=3)
    seen = {
        rule: with_rule(pattern, rule).visible(3, N)[2, 6].nonzero().flatten().tolist()
        for rule in (sparse.ZeroOutput(), sparse.Itself(), sparse.OwnChunk(chunk=G), sparse.FirstChunk(chunk=G))
    }
    assert list(seen.values()) == [[], [6], [4, 5, 6], [0, 1, 2, 3]]


# The reference's printed masks.

PRINTED = {
    "local": (sparse.Local(chunk=G), 1, 0, printed.LOCAL),
    "S2, local half": (sparse.S2(chunk=G), 2, 0, printed.LOCAL),
    "S2, shifted half": (sparse.S2(chunk=G), 2, 1, printed.S2_NO_WRAP),
    "S2 rolled, local half": (sparse.RolledS2(chunk=G), 2, 0, printed.LOCAL),
    "S2 rolled, shifted half": (sparse.RolledS2(chunk=G), 2, 1, printed.S2_ROLLED),
    "dilated, offset 0": (sparse.Dilated(segment=6, ratio=2), 2, 0, printed.DILATED_0),
    "dilated, offset 1": (sparse.Dilated(segment=6, ratio=2), 2, 1, printed.DILATED_1),
    "neighbourhood, both sides": (sparse.TwoSidedNeighbourhood(neighbours=3, dilation=2), 1, 0, printed.NEIGHBOURS_BOTH),
    "neighbourhood": (sparse.DilatedNeighbourhood(neighbours=3, dilation=2), 1, 0, printed.NEIGHBOURS_CAUSAL),
    "SCCA fixed, unmoved half": (sparse.SCCAFixed(chunk=G), 2, 0, printed.LOCAL),
    "SCCA fixed, true position": (sparse.SCCAFixed(chunk=G), 2, 1, printed.SHIFT_A),
    "SCCA fixed, slot triangle": (sparse.SCCAFixed(chunk=G, mask=sparse.SlotTriangle()), 2, 1, printed.SHIFT_B),
    "SCCA fixed, wrapped": (sparse.SCCAFixed(chunk=G, mask=sparse.WrappedTriangle()), 2, 1, printed.SHIFT_C),
    "SCCA flow, head 1": (sparse.SCCAFlow(chunk=G, chunks=3), 3, 1, printed.FLOW_1),
    "SDA-2, offset 0": (sparse.SDA(interval=2), 2, 0, printed.SDA_0),
    "SDA-2, offset 1": (sparse.SDA(interval=2), 2, 1, printed.SDA_1),
}


@pytest.mark.parametrize("pattern, heads, head, mask", PRINTED.values(), ids=PRINTED)
def test_masks_are_those_that_the_reference_prints(pattern, heads, head, mask):
    assert torch.equal(pattern.visible(heads, N)[head], mask)


# Its table: entries, leaks, empty rows.
COUNTED = {
    "block local": (sparse.Local(chunk=G), 1, 0, 30, 0, 0),
    "full causal": (sparse.Local(chunk=N), 1, 0, 78, 0, 0),
    "S2 shifted head, roll": (sparse.RolledS2(chunk=G), 2, 1, 30, 4, 0),
    "S2 shifted head, no wrap": (sparse.S2(chunk=G), 2, 1, 26, 0, 0),
    "KV shift G/2, in-chunk triangle, wraps": (sparse.SCCAFixed(chunk=G, mask=sparse.WrappedTriangle()), 2, 1, 30, 7, 0),
    "KV shift G/2, in-chunk triangle, wrap removed": (sparse.SCCAFixed(chunk=G, mask=sparse.SlotTriangle()), 2, 1, 23, 0, 2),
    "KV shift G/2, true-position mask": (sparse.SCCAFixed(chunk=G), 2, 1, 37, 0, 0),
    "KV shift by 1 chunk": (sparse.SCCAFlow(chunk=G, chunks=3), 3, 1, 32, 0, 4),
    "KV shift by 2 chunks": (sparse.SCCAFlow(chunk=G, chunks=3), 3, 2, 16, 0, 8),
    "same-class dilation 2": (sparse.SDA(interval=2), 1, 0, 42, 0, 0),
    "class-shifted dilation 2, offset 1": (sparse.SDA(interval=2, first=1), 1, 0, 36, 0, 1),
    "LongNet segment 6, ratio 2, offset 0": (sparse.Dilated(segment=6, ratio=2), 2, 0, 12, 0, 6),
    "DNA k=3, dilation 2, causal": (sparse.DilatedNeighbourhood(neighbours=3, dilation=2), 1, 0, 30, 0, 0),
    "SDA by selection, offset 0": (sparse.SelectedSDA(interval=2), 2, 0, 21, 0, 6),
}


@pytest.mark.parametrize("pattern, heads, head, entries, leaks, empty", COUNTED.values(), ids=COUNTED)
def test_entries_leaks_and_empty_rows_are_those_of_the_references_table(pattern, heads, head, entries, leaks, empty):
    assert sparse.entries(pattern, heads, N)[head] == entries
    assert sparse.leaks(pattern, heads, N)[head] == leaks
    assert pattern.empty_rows(heads, N)[head].sum() == empty


# Its formulas, for texts of whole chunks.


@pytest.mark.parametrize("chunks, chunk", [(1, 4), (3, 4), (5, 8), (8, 16)])
def test_costs_are_the_references_formulas(chunks, chunk):
    length = chunks * chunk
    local, shifted = sparse.entries(sparse.S2(chunk=chunk), 2, length).tolist()
    assert local == length * (chunk + 1) // 2
    assert shifted == length * (chunk + 1) // 2 - chunk**2 // 4
    moved = sparse.entries(sparse.SCCAFixed(chunk=chunk), 2, length)[1]
    corner = chunk * (chunk + 2) // 8
    assert moved == (chunks - 1) * (3 * chunk**2 // 4 + corner) + chunk**2 // 4 + corner
    flow = sparse.entries(sparse.SCCAFlow(chunk=chunk, chunks=chunks), chunks, length).tolist()
    assert flow == [length * (chunk + 1) // 2] + [(chunks - number) * chunk**2 for number in range(1, chunks)]
    for interval in (2, 4):
        class_shift = sparse.entries(sparse.SDA(interval=interval), 1, length)[0]
        assert abs(class_shift - length**2 / (2 * interval)) <= length


# Coverage by layer, and what it means.

COVERED = {
    "local only": (sparse.Local(chunk=G), 1, (0.385, 0.385, 0.385, 0.385)),
    "local + S2": (sparse.S2(chunk=G), 2, (0.487, 0.692, 0.846, 0.949)),
    "local + KV shift G/2": (sparse.SCCAFixed(chunk=G), 2, (0.590, 0.897, 1.0, 1.0)),
    "local + KV shift by one chunk": (sparse.SCCAFlow(chunk=G, chunks=3), 2, (0.795, 1.0, 1.0, 1.0)),
    "local + dilation 2": (
        sparse.Mixed(parts=(sparse.Local(chunk=G), sparse.SDA(interval=2)), shares=(1, 1)),
        2,
        (0.692, 0.962, 0.974, 0.974),
    ),
}


@pytest.mark.parametrize("pattern, heads, shares", COVERED.values(), ids=COVERED)
def test_coverage_by_layer_is_the_references_table(pattern, heads, shares):
    assert [round(float(share), 3) for share in sparse.coverage(pattern, heads, N, 4)] == list(shares)


def test_without_near_keys_the_first_token_of_a_chunk_never_reaches_its_predecessor():
    pattern = COVERED["local + dilation 2"][0]
    missed = ~sparse.reach(pattern, 2, N, 6)[-1] & torch.ones(N, N, dtype=torch.bool).tril()
    assert missed.nonzero().tolist() == [[4, 3], [8, 7]]


@pytest.mark.parametrize("pattern", STRAIGHT, ids=name)
def test_reach_is_a_walk_of_one_step_a_layer(pattern):
    length, steps = 15, [set(row.nonzero().flatten().tolist()) for row in pattern.visible(HEADS, 15).any(0)]
    at = [{query} for query in range(length)]
    for reached in sparse.reach(pattern, HEADS, length, 3):
        # One layer more: whatever was here, and whatever the keys seen from here had gathered.
        at = [at[query].union(*(at[key] for key in steps[query])) for query in range(length)]
        assert [set(row.nonzero().flatten().tolist()) for row in reached] == at


def test_the_flow_heads_together_are_full_attention_if_and_only_if_there_are_enough_of_them():
    triangle = torch.ones(N, N, dtype=torch.bool).tril()
    pattern = sparse.SCCAFlow(chunk=G, chunks=3)
    assert [torch.equal(pattern.visible(heads, N).any(0), triangle) for heads in (1, 2, 3, 5)] == [False, False, True, True]


def test_one_chunk_as_long_as_the_text_is_full_attention():
    triangle = torch.ones(N, N, dtype=torch.bool).tril()
    assert torch.equal(sparse.Local(chunk=N).visible(1, N)[0], triangle)
    assert torch.equal(sparse.SCCAFixed(chunk=N, shift_by=0).visible(2, N), triangle.expand(2, N, N))
    halves = sparse.S2(chunk=N).visible(2, N)
    assert torch.equal(halves[0], triangle) and torch.equal(halves[1], sparse.Local(chunk=N // 2).visible(1, N)[0])


def test_classes_made_contiguous_a_dilated_neighbourhood_is_an_ordinary_one():
    order = torch.arange(N).reshape(-1, 2).T.flatten()
    dilated = sparse.DilatedNeighbourhood(neighbours=3, dilation=2).visible(1, N)[0][order][:, order]
    near = sparse.DilatedNeighbourhood(neighbours=3, dilation=1).visible(1, N // 2)[0]
    assert torch.equal(dilated, torch.block_diag(near, near).bool())


def test_four_heads_of_longmixed_are_local_moved_and_two_dilations():
    visible = sparse.LongMixed(chunk=G).visible(4, N)
    assert torch.equal(visible[:3], torch.stack([printed.LOCAL, printed.SHIFT_A, printed.SDA_0]))
    assert visible[3].nonzero().tolist() == [[i, j] for i in range(N) for j in range(i + 1) if (i + 1 - j) % 4 == 0]


# What is refused.


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "ask, says",
    [
        (lambda: sparse.Local(chunk=0), "chunk is 0"),
        (lambda: sparse.Local(chunk=2.5), "chunk is 2.5"),
        (lambda: sparse.S2(chunk=5), "even"),
        (lambda: sparse.S2(chunk=4).visible(3, 8), "3 heads have no half"),
        (lambda: sparse.RolledS2(chunk=4).visible(2, 10), "multiple"),
        (lambda: sparse.SCCAFixed(chunk=5), "shift_by"),
        (lambda: sparse.SCCAFixed(chunk=4, shift_by=-2), "shift_by is -2"),
        (lambda: sparse.SCCAFixed(chunk=4, mask="A"), "TruePosition"),
        (lambda: sparse.SCCAFixed(chunk=4, mask=sparse.WrappedTriangle()).visible(2, 10), "multiple"),
        (lambda: sparse.SCCAFlow(chunk=4, chunks=0), "chunks is 0"),
        (lambda: sparse.SCCAFlow(chunk=4, chunks=3, empty=sparse.ZeroOutput), "empty is"),
        (lambda: sparse.Dilated(segment=6, ratio=0), "ratio is 0"),
        (lambda: sparse.Dilated(segment=6, ratio=2).visible(3, 12), "3 heads"),
        (lambda: sparse.DilatedNeighbourhood(neighbours=0, dilation=2), "neighbours is 0"),
        (lambda: sparse.TwoSidedNeighbourhood(neighbours=4, dilation=4).visible(1, 12), "16 tokens"),
        (lambda: sparse.SDA(interval=0), "interval is 0"),
        (lambda: sparse.SDA(interval=2, first=-1), "first is -1"),
        (lambda: sparse.LongMixed(chunk=5), "half"),
        (lambda: sparse.LongMixed(chunk=4).visible(6, 12), "2 : 1 : 1"),
        (lambda: sparse.Mixed(parts=(), shares=()), "parts is"),
        (lambda: sparse.Mixed(parts=(sparse.Local(chunk=4),), shares=(1, 1)), "1 parts and 2 shares"),
        (lambda: sparse.Mixed.default(16), "no default"),
        (lambda: sparse.OwnChunk(chunk=0), "chunk is 0"),
        (lambda: sparse.Local(chunk=4).visible(0, 8), "heads is 0"),
        (lambda: sparse.Local(chunk=4).visible(1, 0), "length is 0"),
        (lambda: sparse.Local(chunk=4).visible(1, 2.5), "length is 2.5"),
        (lambda: sparse.Local(chunk=4).sees(1, torch.tensor([8]), torch.tensor([0]), 8), "queries go from 8 to 8"),
        (lambda: sparse.Local(chunk=4).sees(1, torch.tensor([0]), torch.tensor([-1]), 8), "keys go from -1"),
        (lambda: sparse.S2.default(20), "multiple of 8"),
        (lambda: sparse.reach(sparse.Local(chunk=4), 1, 8, 0), "layers is 0"),
        (lambda: sparse.by_name("s3"), "s2"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()
