"""Attention chunk by chunk against dense attention under the mask, with explicit sums once; what it computes, counted."""

import math

import pytest
import torch

from clexlab import sparse
from clexlab.sparse import chunked

CHUNKED = (
    sparse.Local(chunk=4),
    sparse.Local(chunk=5),
    sparse.S2(chunk=4),
    sparse.S2(chunk=6),
    sparse.SCCAFixed(chunk=4),
    sparse.SCCAFixed(chunk=4, mask=sparse.SlotTriangle()),
    sparse.SCCAFixed(chunk=3, shift_by=7, empty=sparse.FirstChunk(chunk=2)),
    sparse.SCCAFlow(chunk=4, chunks=3),
    sparse.SCCAFlow(chunk=4, chunks=2, mask=sparse.SlotTriangle()),
    sparse.SCCAFlow(chunk=4, chunks=3, empty=sparse.OwnChunk(chunk=4)),
    sparse.SCCAFlow(chunk=4, chunks=4, empty=sparse.OwnChunk(chunk=2)),
    sparse.SCCAFlow(chunk=4, chunks=3, empty=sparse.FirstChunk(chunk=4)),
    sparse.SCCAFlow(chunk=4, chunks=3, empty=sparse.Itself()),
    sparse.Mixed(parts=(sparse.SCCAFlow(chunk=4, chunks=2), sparse.S2(chunk=6)), shares=(1, 1)),
)
# Float64 sums of a dozen terms in another order.
SAME = dict(rtol=0, atol=1e-12)


def states(heads, length, rows=2, head_dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(rows, heads, length, size, generator=generator, dtype=torch.float64, requires_grad=True)
        for size in (head_dim, head_dim, head_dim + 1)
    ]


def dense(query, key, value, pattern, scale=None):
    """The oracle: masked softmax, zero for an empty row."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mask = pattern.visible(query.shape[1], query.shape[2])
    scores = (scale * query @ key.mT).masked_fill(~mask, -math.inf)
    weights = torch.where(mask.any(-1, keepdim=True), scores, 0.0).softmax(-1).masked_fill(~mask, 0.0)
    return weights @ value


@pytest.mark.parametrize("heads, length", [(4, 12), (4, 13), (8, 25), (4, 4), (4, 1), (4, 3)])
@pytest.mark.parametrize("pattern", CHUNKED, ids=repr)
def test_chunk_by_chunk_is_dense_attention_under_the_mask(pattern, heads, length):
    given = states(heads, length)
    found, wanted = sparse.attention(*given, pattern), dense(*given, pattern)
    torch.testing.assert_close(found, wanted, **SAME)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for ours, theirs in zip(torch.autograd.grad(found, given, direction), torch.autograd.grad(wanted, given, direction), strict=True):
        torch.testing.assert_close(ours, theirs, **SAME)


def test_the_oracle_itself_is_the_sum_that_is_meant():
    query, key, value = (each.detach() for each in states(2, 6))
    pattern = sparse.SCCAFlow(chunk=2, chunks=3)
    found, mask = dense(query, key, value, pattern, scale=0.7), pattern.visible(2, 6)
    for row, head, place in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(6)).tolist():
        weights = {j: math.exp(0.7 * float(query[row, head, place] @ key[row, head, j])) for j in range(6) if mask[head, place, j]}
        total = sum(weights.values())
        wanted = sum((weight / total * value[row, head, j] for j, weight in weights.items()), torch.zeros(4, dtype=torch.float64))
        torch.testing.assert_close(found[row, head, place], wanted, **SAME)


def test_a_scale_of_ones_own_is_used():
    given = states(4, 9)
    pattern = sparse.SCCAFixed(chunk=4)
    torch.testing.assert_close(sparse.attention(*given, pattern, scale=2.5), dense(*given, pattern, 2.5), **SAME)


def test_what_autocast_computes_in_another_dtype_is_returned_in_it(monkeypatch):
    """On a GPU autocast hands float32 to SDPA and gets half precision back."""
    given, asked = states(4, 13), chunked.scaled_dot_product_attention
    monkeypatch.setattr(chunked, "scaled_dot_product_attention", lambda *given, **options: asked(*given, **options).bfloat16())
    for pattern in (sparse.S2(chunk=4), sparse.SCCAFlow(chunk=4, chunks=3)):
        found = sparse.attention(*given, pattern)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), dense(*given, pattern), rtol=0, atol=0.02)


def test_one_chunk_is_full_attention_and_computes_all_of_it():
    query, key, value = states(2, 8)
    full = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(sparse.attention(query, key, value, sparse.Local(chunk=8)), full, **SAME)
    assert sparse.computed(sparse.Local(chunk=8), 2, 8) == 2 * 64


def test_what_is_computed_is_a_square_of_a_chunk_for_every_chunk_with_keys():
    assert sparse.computed(sparse.Local(chunk=4), 3, 12) == 3 * 3 * 16
    assert sparse.computed(sparse.Local(chunk=4), 1, 13) == 4 * 16
    # Moved by half a chunk there is one chunk more.
    assert sparse.computed(sparse.S2(chunk=4), 2, 12) == (3 + 4) * 16
    assert sparse.computed(sparse.SCCAFlow(chunk=4, chunks=3), 3, 12) == (3 + 2 + 1) * 16
    assert sparse.computed(sparse.SCCAFlow(chunk=4, chunks=3, empty=sparse.Itself()), 3, 12) == 9 * 16
    for pattern in CHUNKED:
        assert sparse.computed(pattern, 4, 12) >= sparse.entries(pattern, 4, 12).sum()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "pattern, says",
    [
        (sparse.RolledS2(chunk=4), "later tokens"),
        (sparse.SCCAFixed(chunk=4, mask=sparse.WrappedTriangle()), "Wrapped"),
        (sparse.SCCAFixed(chunk=4, mask=sparse.SlotTriangle(), empty=sparse.Itself()), "Itself"),
        (sparse.SCCAFlow(chunk=4, chunks=2, empty=sparse.FirstChunk(chunk=8)), "window of 4"),
        (sparse.SCCAFlow(chunk=4, chunks=2, empty=sparse.OwnChunk(chunk=8)), "window of 4"),
        (sparse.SDA(interval=2), "chunks"),
        (sparse.LongMixed(chunk=4), "SDA does not come in chunks"),
    ],
    ids=lambda value: repr(value),
)
def test_patterns_without_chunks_of_one_window_are_refused(pattern, says):
    with pytest.raises(ValueError, match=says):
        sparse.attention(*states(4, 8), pattern)
