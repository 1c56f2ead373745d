"""Interleaved chunks: the documents come back, every order is equally likely, a successor is k chunks away."""

from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clexlab import base, bpe, interleaved, recipes, rows
from clexlab.interleaved import Interleaved, deinterleave, draw_order, interleave

TOKENIZER = bpe.load()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def documents(*sizes: int) -> list[torch.Tensor]:
    """Documents whose tokens say where they stand: 1000 · document + place."""
    return [1000 * number + torch.arange(size) for number, size in enumerate(sizes)]


ROWS = dict(together=st.integers(1, 5), chunks=st.integers(1, 5), size=st.integers(1, 4), seed=st.integers(0, 10_000))


# ------------------------------------------------------------------------------------------------ the order


@given(**ROWS)
def test_taking_a_row_apart_gives_the_documents_again(together, chunks, size, seed):
    generator = seeded(seed)
    stretches = torch.randint(100, (together, chunks * size), generator=generator)
    order = draw_order(together, chunks, generator)
    assert torch.equal(deinterleave(interleave(stretches, order), order), stretches)


@given(**ROWS)
def test_a_row_is_the_chunks_written_one_after_the_other(together, chunks, size, seed):
    generator = seeded(seed)
    stretches = torch.randint(100, (together, chunks * size), generator=generator)
    order = draw_order(together, chunks, generator)
    written = []
    for turn in range(chunks):
        for place in range(together):
            written += stretches[order[turn, place], turn * size : (turn + 1) * size].tolist()
    assert interleave(stretches, order).tolist() == written


def test_every_order_of_a_round_is_equally_likely_whatever_the_round_before():
    generator, draws = seeded(), 1800
    found = Counter(tuple(map(tuple, draw_order(3, 2, generator).tolist())) for _ in range(draws))
    assert set(found) == {(one, other) for one in permutations(range(3)) for other in permutations(range(3))}
    # Five standard errors of a share of 1/36.
    assert all(abs(count / draws - 1 / 36) < 5 * (1 / 36 * 35 / 36 / draws) ** 0.5 for count in found.values())


@pytest.mark.parametrize("together", [2, 4])
def test_a_successor_begins_one_to_2k_minus_1_chunks_later_and_k_on_average(together):
    steps = Counter()
    order = draw_order(together, 4000, seeded())
    places = order.argsort(1) + together * torch.arange(len(order))[:, None]
    steps.update((places[1:] - places[:-1]).flatten().tolist())
    assert set(steps) == set(range(1, 2 * together))
    mean = sum(step * count for step, count in steps.items()) / steps.total()
    # Successive places of one document differ by k exactly but for the ends.
    assert mean == pytest.approx(together, abs=0.01)


# ------------------------------------------------------------------------------------------------ the rows


@given(together=st.integers(1, 4), chunks=st.integers(1, 4), size=st.integers(2, 4), seed=st.integers(0, 10_000))
def test_a_row_has_a_stretch_of_each_of_different_documents_in_order(together, chunks, size, seed):
    source = Interleaved(documents(60, 61, 62, 63, 1), together * chunks * size, together, chunks)
    row = source.draw(seeded(seed))
    owners = row // 1000
    assert len(row) == source.length and len(owners.unique()) == source.together
    for owner in owners.unique().tolist():
        stretch = row[owners == owner]
        assert torch.equal(stretch, stretch[0] + torch.arange(len(stretch))) and len(stretch) == source.length // source.together


def test_a_row_is_its_stretches_in_its_order():
    source = Interleaved(documents(40, 50, 60), 24, together=2, chunks=3)
    generator = seeded(5)
    stretches, order = source.stretches(generator), draw_order(2, 3, generator)
    row = source.draw(seeded(5))
    assert torch.equal(row, interleave(stretches, order)) and torch.equal(deinterleave(row, order), stretches)


def test_one_document_is_plain_text_and_one_chunk_is_plain_concatenation():
    alone = Interleaved(documents(40, 50), 12, together=1, chunks=4).draw(seeded())
    assert torch.equal(alone, alone[0] + torch.arange(12))
    joined = Interleaved(documents(40, 50, 60), 12, together=3, chunks=1).draw(seeded()).reshape(3, 4)
    assert torch.equal(joined, joined[:, :1] + torch.arange(4))


def test_every_place_of_every_document_is_equally_likely():
    # Stretches of 4 tokens: documents of 5, 3 and 4 tokens have 2 + 0 + 1 places.
    source, generator, draws = Interleaved(documents(5, 3, 4), 4, together=1, chunks=2), seeded(), 1000
    found = Counter(int(source.draw(generator)[0]) for _ in range(draws))
    assert set(found) == {0, 1, 2000} and source.never_drawn == 1
    # Four standard errors of a share of one third.
    assert all(abs(count / draws - 1 / 3) < 4 * (2 / 9 / draws) ** 0.5 for count in found.values())


def test_rows_are_the_generators_own():
    source = Interleaved(documents(80, 90, 70, 60), 32)
    assert torch.equal(source.draw(seeded(3)), source.draw(seeded(3))) and not torch.equal(source.draw(seeded(3)), source.draw(seeded(4)))
    assert isinstance(source, rows.Source)


# ------------------------------------------------------------------------------------------------ in recipes


def test_a_recipe_may_have_interleaved_rows_and_rows_without_them_need_no_such_length():
    texts = [torch.randint(1, 4096, (300,), generator=seeded(seed)) for seed in range(6)]
    made = base.data(texts, TOKENIZER, 64, 10, seeded(), {"text": 0.5, "interleaved": 0.5})
    assert Counter(made.parts) == {"text": 5, "interleaved": 5} and made.tokens.shape == (10, 64)
    assert base.data(texts[:1], TOKENIZER, 50, 2, seeded(), {"text": 1.0}).tokens.shape == (2, 50)
    assert recipes.Rows(length=64, shares={"interleaved": 1.0}).shares == {"interleaved": 1.0}


# ------------------------------------------------------------------------------------------------ refused


def test_bad_input_is_refused(unchecked):
    order = torch.tensor([[0, 1], [1, 0]])
    for wrong, words in [
        (lambda: Interleaved(documents(50, 50), 1), "length is 1"),
        (lambda: Interleaved(documents(50, 50), 16, together=0), "together is 0"),
        (lambda: Interleaved(documents(50, 50), 16, chunks=1.5), "chunks is 1.5"),
        (lambda: Interleaved(documents(50, 50), 18, together=2, chunks=4), "use a multiple of 8"),
        (lambda: Interleaved(documents(50, 50, 3), 16, together=3, chunks=1), "use a multiple of 3"),
        (lambda: Interleaved(documents(50, 50, 3), 18, together=3, chunks=1), "2 of 3 documents have 6 tokens"),
        (lambda: interleave(torch.zeros(2, 3, dtype=torch.long), order), "6 tokens are not 4 chunks"),
        (lambda: deinterleave(torch.arange(6), order), "6 tokens are not 4 chunks"),
        (lambda: interleaved.deinterleave(torch.arange(4), torch.tensor([[0, 0], [1, 0]])), "every line names every document once"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
