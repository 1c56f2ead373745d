import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from clexlab import bpe, corpora, rows

# Text that UTF-8 can write: everything but halves of surrogate pairs, which corpora leave out.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
# Of the standard library the shipped tokenizer was trained on.
FINGERPRINT = "1720e62feecf2b64"


@pytest.fixture(scope="module")
def shipped():
    return bpe.load()


@pytest.fixture(scope="module")
def held_out():
    return [document.text for document in corpora.standard_library("held_out").documents]


@pytest.fixture(scope="module")
def small(held_out):
    """A tokenizer of 400 entries, trained on a few documents."""
    return bpe.train(held_out[:8], 400)


def pieces(tokenizer, text):
    """The text of every token."""
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, split_special_tokens=True)]


@pytest.mark.parametrize("which", ["shipped", "small"])
def test_every_text_comes_back_as_it_was(which, request):
    tokenizer = request.getfixturevalue(which)

    @settings(max_examples=60)
    @given(TEXTS)
    def comes_back(text):
        for split_special_tokens in (False, True):
            assert tokenizer.decode(tokenizer.encode(text, split_special_tokens=split_special_tokens)) == text

    comes_back()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "  two  spaces  ",
        "don't , do n't .",
        "tab\there\r\nand\x00there\n\n\n",
        "\N{FAMILY}\N{ZERO WIDTH JOINER}\N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}",
        "e\N{COMBINING ACUTE ACCENT} is not \N{LATIN SMALL LETTER E WITH ACUTE}",
        "\N{ZERO WIDTH NO-BREAK SPACE}mark, \N{LINE SEPARATOR} line, \N{REPLACEMENT CHARACTER}, \U0010ffff, \ufdd0",
        f"{bpe.SEPARATOR} <|docu ment|>{bpe.SEPARATOR}",
        "Ġ and Ċ, which stand for bytes in the vocabulary",
    ],
)
def test_texts_that_break_tokenizers_come_back_too(shipped, text):
    assert shipped.decode(shipped.encode(text, split_special_tokens=True)) == text


def test_every_byte_has_an_entry_even_those_no_text_has(shipped):
    vocabulary = shipped.get_vocab()
    assert len(vocabulary) == shipped.vocab_size == bpe.SIZE and sorted(vocabulary.values()) == [*range(bpe.SIZE)]
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= set(vocabulary)
    # 0xFF stands in no UTF-8 text: a model that writes it must not stop the decoder.
    assert shipped.decode([vocabulary["ÿ"]]) == "\N{REPLACEMENT CHARACTER}"


@given(st.text("0123456789 .abx-", max_size=30))
def test_every_digit_is_a_token_of_its_own(shipped, text):
    found = pieces(shipped, text)
    assert "".join(found) == text
    assert [piece for piece in found if set(piece) & {*string.digits}] == [character for character in text if character.isdigit()]


def test_a_number_is_as_many_tokens_as_it_has_digits_and_each_digit_is_one_token_wherever_it_stands(shipped):
    one = {digit: shipped.encode(digit) for digit in string.digits}
    assert all(len(tokens) == 1 for tokens in one.values())
    inside = shipped.encode("x = 31415926 # 92")
    assert [token for token in inside if [token] in one.values()] == [one[digit][0] for digit in "3141592692"]


def test_no_entry_joins_two_words_or_a_word_and_a_line(shipped):
    for entry in shipped.get_vocab():
        text = shipped.decode([shipped.convert_tokens_to_ids(entry)])
        assert entry == bpe.SEPARATOR or len(text.split()) < 2


def test_the_separator_is_token_0_begins_and_ends_a_document_and_is_no_part_of_any(shipped):
    assert shipped.bos_token_id == shipped.eos_token_id == 0 and shipped.decode([0]) == bpe.SEPARATOR
    texts = ["one", "", f"a file that writes {bpe.SEPARATOR} itself"]
    for text, tokens in zip(texts, rows.encode(texts, shipped), strict=True):
        assert tokens[0] == tokens[-1] == 0 and tokens[1:-1].count_nonzero() == len(tokens) - 2
        assert shipped.decode(tokens[1:-1].tolist()) == text


def test_nothing_is_added_to_a_text_that_is_not_asked_for(shipped):
    assert shipped.encode("one two") == shipped.encode("one two", add_special_tokens=False)
    assert shipped.encode("") == []


def test_the_same_documents_give_the_same_tokenizer(small, held_out):
    again = bpe.train(iter(held_out[:8]), 400)
    assert again.backend_tokenizer.to_str() == small.backend_tokenizer.to_str()
    other = bpe.train(held_out[8:20], 400)
    assert other.get_vocab() != small.get_vocab()


@pytest.mark.slow
def test_the_shipped_tokenizer_is_what_its_command_makes(shipped):
    corpus = corpora.standard_library("train")
    if corpus.fingerprint != FINGERPRINT:
        pytest.skip("another version of Python's standard library than the shipped tokenizer was trained on")
    made = bpe.train(document.text for document in corpus.documents)
    assert made.backend_tokenizer.to_str() == shipped.backend_tokenizer.to_str()


def test_a_saved_tokenizer_loads_as_it_was(small, tmp_path, held_out):
    small.save_pretrained(tmp_path)
    loaded = bpe.load(tmp_path)
    assert isinstance(loaded, PreTrainedTokenizerFast) and len(loaded) == 400
    assert loaded.encode(held_out[9]) == small.encode(held_out[9]) and loaded.bos_token_id == loaded.eos_token_id == 0


def test_more_entries_make_texts_shorter_also_texts_they_were_not_trained_on(shipped, small, held_out):
    unseen = held_out[20:28]
    counts = [sum(map(len, tokenizer(unseen)["input_ids"])) for tokenizer in (bpe.train(held_out[:8], 257), small, shipped)]
    size = sum(len(text.encode()) for text in unseen)
    # Without a merge there is a token for every byte, which is the second source of the count.
    assert counts[0] == size > counts[1] > counts[2]
    # 4096 entries of which most are words: at least twice as short as bytes, or the merges were learned from something else.
    assert counts[2] < size / 2


@pytest.mark.parametrize("size", [256, 0, -1, 400.5, True, "400"])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(unchecked, size):
    with pytest.raises(ValueError, match="at least 257"):
        bpe.train(["text"], size)


@pytest.mark.parametrize("documents", [[], ["too little text"]])
def test_documents_that_cannot_fill_the_vocabulary_are_refused(documents):
    with pytest.raises(ValueError, match="400 were asked for; give more text or a smaller size"):
        bpe.train(documents, 400)


def test_a_folder_without_a_tokenizer_is_refused_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(ValueError, match="clexlab train tokenizer --out"):
        bpe.load(tmp_path)
