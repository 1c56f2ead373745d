"""Rows of training: from where text is cut, what is planted in it, how often, and that it can be known the second time."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clexlab import base, bpe, rows, tasks

LENGTH = 256
TOKENIZER = bpe.load()
# Filler that no planted piece contains: one token that is nowhere else.
FILLER = 7
PLAIN = rows.Text([torch.full((2000,), FILLER)], LENGTH)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filler(length: int) -> rows.Text:
    return rows.Text([torch.full((2 * length,), FILLER)], length)


def statements(row) -> list[tuple[str, str]]:
    """Name and digits of every pass key, in the order in which the row says them."""
    return re.findall(r"# The pass key of (\w+ \w+) is (\d{5})\.", TOKENIZER.decode(row))


# ---------------------------------------------------------------------------------------------------------- text


def test_a_row_lies_in_one_document_and_every_place_is_equally_likely():
    # Documents of 5, 3 and 4 different tokens; rows of 4 have 2 + 0 + 1 places.
    documents = [torch.arange(0, 5), torch.arange(10, 13), torch.arange(20, 24)]
    text, generator, draws = rows.Text(documents, 4), seeded(), 3000
    found = Counter(tuple(text.draw(generator).tolist()) for _ in range(draws))
    assert set(found) == {(0, 1, 2, 3), (1, 2, 3, 4), (20, 21, 22, 23)} and text.never_drawn == 1
    # Four standard errors of a share of one third.
    assert all(abs(count / draws - 1 / 3) < 4 * (2 / 9 / draws) ** 0.5 for count in found.values())


def test_documents_are_coded_between_separators():
    (tokens,) = rows.encode(["def f(): pass"], TOKENIZER)
    assert tokens[0] == tokens[-1] == 0 and TOKENIZER.decode(tokens[1:-1]) == "def f(): pass" and 0 not in tokens[1:-1]


def test_parts_have_their_shares_in_a_drawn_order():
    few, many = tasks.Echo("few", 64, 4096, 28), tasks.Echo("many", 64, 4096, 4095)
    made = rows.mix({few: 0.26, many: 0.74}, 10, seeded())
    # Whole rows; the first source takes what rounding leaves.
    assert Counter(made.parts) == {"few": 3, "many": 7} and made.tokens.shape == (10, 64)
    assert list(made.parts) != sorted(made.parts)
    again, other = (rows.mix({few: 0.26, many: 0.74}, 10, seeded(seed)) for seed in (0, 1))
    assert torch.equal(again.tokens, made.tokens) and again.parts == made.parts and not torch.equal(other.tokens, made.tokens)


# ----------------------------------------------------------------------------------------------------- pass keys


@pytest.mark.parametrize("make", [tasks.Passkey, tasks.Passkey.dense], ids=["passkey", "keys"])
@given(length=st.integers(48, 700), seed=st.integers(0, 10_000))
def test_every_pass_key_is_said_twice_all_first_times_first(make, length, seed):
    source = make(filler(length), TOKENIZER)
    row = source.draw(seeded(seed))
    said = statements(row)
    half = len(said) // 2
    assert len(row) == source.length == length and len(said) % 2 == 0 and said
    assert len(set(said[:half])) == half and sorted(said[:half]) == sorted(said[half:])
    assert len({name for name, _ in said}) == half


def test_dense_rows_have_hardly_anything_but_pass_keys():
    sparse, dense = (make(PLAIN, TOKENIZER) for make in (tasks.Passkey, tasks.Passkey.dense))
    assert (sparse.name, dense.name) == ("passkey", "keys")
    counts = [[len(statements(source.draw(seeded(seed)))) for seed in range(20)] for source in (sparse, dense)]
    assert set(counts[0]) == {8} and min(counts[1]) >= 10
    assert max(int((dense.draw(seeded(seed)) == FILLER).sum()) for seed in range(20)) < LENGTH // 4


def test_keys_and_names_are_equally_likely():
    generator, draws = seeded(), 600
    digits = Counter("".join(tasks.draw_key(generator) for _ in range(draws)))
    assert len(digits) == 10 and all(abs(n / (5 * draws) - 0.1) < 4 * (0.09 / (5 * draws)) ** 0.5 for n in digits.values())
    names = tasks.draw_names(256, generator)
    assert len(set(names)) == 256


def test_a_statement_knows_where_its_digits_stand():
    said = tasks.statement(TOKENIZER, "red fox", "48213")
    digits = said.tokens[said.before : said.before + said.digits]
    assert TOKENIZER.decode(digits).replace(" ", "") == "48213" and len(digits) == 5


# ------------------------------------------------------------------------------------------------- spans, echoes


@given(seed=st.integers(0, 10_000))
def test_every_span_is_there_twice(seed):
    row = tasks.Copy(PLAIN, 4096).draw(seeded(seed)).tolist()
    generator = seeded(seed)
    spans = [tasks.draw_span(int(torch.randint(16, 33, (), generator=generator)), 4096, generator).tolist() for _ in range(2)]
    for span in spans:
        places = [start for start in range(LENGTH) if row[start : start + len(span)] == span]
        assert len(places) == 2 and 0 not in span
    assert len(row) == LENGTH


@given(seed=st.integers(0, 10_000), alphabet=st.sampled_from([28, 36, 4095]))
def test_an_echo_repeats_one_span_of_different_tokens_to_the_end(seed, alphabet):
    source = tasks.Echo("echo", 100, 4096, alphabet)
    row = source.draw(seeded(seed)).tolist()
    many = len(set(row))
    assert 6 <= many <= 27 and 0 not in row and len(row) == 100
    assert row == [row[place % many] for place in range(100)] and set(row) <= set(source.tokens.tolist())


def test_planting_keeps_the_filler_in_order_and_gives_up_its_end():
    text, pieces = torch.arange(100, 130), [torch.tensor([1, 2]), torch.tensor([3])]
    row = tasks.plant(pieces, text, seeded()).tolist()
    assert [token for token in row if token >= 100] == text[:27].tolist()
    assert [token for token in row if token < 100] == [1, 2, 3] and row.index(2) == row.index(1) + 1


# --------------------------------------------------------------------------------------------------- base's data


def test_the_bases_rows_have_all_parts_and_its_shares_are_whole():
    assert sum(base.SHARES.values()) == pytest.approx(1)
    documents = [torch.randint(1, 4096, (1000,), generator=seeded())]
    made = base.data(documents, TOKENIZER, LENGTH, 100, seeded())
    assert Counter(made.parts) == {name: round(100 * share) for name, share in base.SHARES.items()}
    keys = base.data(documents, TOKENIZER, LENGTH, 4, seeded(), {"keys": 0.5, "text": 0.5})
    assert Counter(keys.parts) == {"keys": 2, "text": 2}


def test_texts_to_measure_on_are_cut_without_overlap():
    documents = [torch.arange(0, 25), torch.arange(100, 109)]
    cuts = [tuple(text.tolist()) for text in base.cut(documents, 3, 7)]
    assert len(set(cuts)) == 3 and len({token for text in cuts for token in text}) == 24
    assert cuts == [tuple(text.tolist()) for text in base.cut(documents, 3, 7)]


# ------------------------------------------------------------------------------------------------------- refused


def test_bad_input_is_refused(unchecked):
    two = tasks.Echo("two", 32, 4096, 100)
    for wrong, words in [
        (lambda: rows.Text([torch.arange(5)], 6), "none of 1 documents has 6 tokens"),
        (lambda: rows.mix({PLAIN: 0.5}, 4, seeded()), "add up to 1"),
        (lambda: rows.mix({PLAIN: 1.0}, 0, seeded()), "whole number of rows"),
        (lambda: rows.mix({PLAIN: 0.5, two: 0.5}, 4, seeded()), "build all for one length"),
        (lambda: tasks.Passkey(PLAIN, TOKENIZER, 0), "spacing is 0"),
        (lambda: tasks.Passkey(PLAIN, TOKENIZER, 2.5), "spacing is 2.5"),
        (lambda: tasks.Passkey(filler(30), TOKENIZER).draw(seeded()), "use longer rows"),
        (lambda: tasks.Copy(filler(20), 4096).draw(seeded()), "use longer rows"),
        (lambda: tasks.Echo("few", 64, 4096, 27), "at least 28"),
        (lambda: tasks.Echo("few", 64, 4096, 4096), "fewer than the vocabulary"),
        (lambda: tasks.draw_names(257, seeded()), "there are 256 names"),
        (lambda: base.cut([torch.arange(9)], 2, 7), "2 were asked for"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
