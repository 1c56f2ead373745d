import gzip
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clexlab import cli, corpora
from clexlab.commands import arguments, evaluate, models


@pytest.fixture
def texts(tmp_path):
    """A folder with one of everything: two documents, a copy, and a file for each reason to leave it out."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "b.txt").write_text("the second document\n")
    (tmp_path / "deep" / "er" / "a.MD").write_text("the first of the deep ones\n")
    (tmp_path / "deep" / "copy.txt").write_text("the second document\n")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "blank.txt").write_text(" \n\t\n")
    (tmp_path / "tiny.txt").write_text("ab")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    return tmp_path


def reasons(corpus):
    """The names of what is no document, by reason; reasons without a name are left out."""
    return {reason: getattr(corpus, reason) for reason in corpora.REASONS if getattr(corpus, reason)}


def accounted(corpus):
    """Every name in the corpus, of a document or of what is none."""
    return sorted([document.name for document in corpus.documents] + [name for names in reasons(corpus).values() for name in names])


def test_every_file_is_either_a_document_or_named_with_its_reason(texts):
    corpus = corpora.folder(texts, (".txt", ".md"), shortest=3)
    assert [document.name for document in corpus.documents] == ["b.txt", "deep/er/a.MD"]
    assert corpus.documents[0].text == "the second document\n"
    left_out = reasons(corpus)
    assert left_out == {
        "unreadable": ("gone.txt",),
        "not_utf8": ("latin.txt",),
        "empty": ("blank.txt",),
        "too_short": ("tiny.txt",),
        "repeated": ("deep/copy.txt",),
    }
    assert corpus.other == 1
    total = len(corpus.documents) + sum(map(len, left_out.values())) + corpus.other
    assert total == sum(len(files) for _, _, files in os.walk(texts))


def test_the_report_names_every_count(texts):
    report = corpora.folder(texts, (".txt", ".md"), shortest=3).report()
    assert "2 documents" in report
    for words in ("unreadable: 1 (gone.txt)", "not utf8: 1 (latin.txt)", "repeated: 1 (deep/copy.txt)", "other suffix: 1"):
        assert words in report


def test_the_order_is_the_order_of_names_whatever_the_file_system_says(texts, monkeypatch):
    walk = os.walk
    before = corpora.folder(texts)

    def backwards(*arguments, **options):
        for at, folders, files in walk(*arguments, **options):
            folders.reverse()
            yield at, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert corpora.folder(texts) == before


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_the_text(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    (tmp_path / "unix.txt").write_bytes(b"one\ntwo\n")
    corpus = corpora.folder(tmp_path)
    assert corpus.documents[0].text == "one\ntwo\n" and corpus.repeated == ("unix.txt",)


def test_a_pipe_is_unreadable_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "text.txt").write_text("text")
    assert corpora.folder(tmp_path).unreadable == ("pipe.txt",)


def test_a_closed_folder_is_counted(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    # chmod does not stop root, who may be running the tests.
    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert corpora.folder(tmp_path).unreadable == ("closed/",)


def test_the_fingerprint_changes_with_a_name_a_text_and_the_border_between_them():
    def fingerprint(*pairs):
        return corpora.Corpus(source="", documents=tuple(corpora.Document(*pair) for pair in pairs)).fingerprint

    prints = {fingerprint(*pairs) for pairs in ([("a", "b")], [("a", "c")], [("ab", "")], [("", "ab")], [("b", "a")], [])}
    assert len(prints) == 6
    assert fingerprint(("a", "b")) == fingerprint(("a", "b"))


@pytest.mark.parametrize("pairs", [[("a", "one"), ("a", "two")], [("a", "one"), ("b", "one")]])
def test_a_name_or_a_text_that_stands_in_a_corpus_twice_is_refused(pairs):
    with pytest.raises(ValueError, match="have the same"):
        corpora.Corpus(source="by hand", documents=tuple(corpora.Document(*pair) for pair in pairs))


@pytest.mark.parametrize("name", ["missing", "b.txt"])
def test_what_is_no_folder_is_refused(texts, name):
    with pytest.raises(ValueError, match=name):
        corpora.folder(texts / name)


def test_a_folder_without_documents_is_refused_with_the_account(tmp_path):
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(ValueError, match="no document .* empty: 1 .blank.txt"):
        corpora.folder(tmp_path)


@pytest.mark.parametrize("suffixes", [".txt", (), ("txt",)])
def test_suffixes_without_a_dot_or_in_a_lone_string_are_refused(texts, unchecked, suffixes):
    with pytest.raises(ValueError, match="suffixes"):
        corpora.folder(texts, suffixes)


@pytest.mark.parametrize("shortest", [0, -1, True, 1.5])
def test_a_shortest_document_below_one_character_is_refused(texts, unchecked, shortest):
    with pytest.raises(ValueError, match="shortest"):
        corpora.folder(texts, shortest=shortest)


# ------------------------------------------------------------------------------------------------ standard library


def test_the_standard_library_splits_into_two_parts_that_share_no_name_and_no_text():
    train, held_out = corpora.standard_library("train"), corpora.standard_library("held_out")
    for part in ("name", "text"):
        one, other = ({getattr(document, part) for document in corpus.documents} for corpus in (train, held_out))
        assert not one & other
    share = len(held_out.documents) / (len(held_out.documents) + len(train.documents))
    assert 0.05 < share < 0.15  # 10 % of some 600 files; four standard deviations are 5 %
    assert train == corpora.standard_library()


def test_the_standard_library_is_source_without_tests():
    names = {document.name for split in corpora.SPLITS for document in corpora.standard_library(split).documents}
    assert {"abc.py", "json/decoder.py", "asyncio/base_events.py"} <= names
    assert not [name for name in names if not name.endswith(".py") or {"test", "tests", "site-packages"} & set(name.split("/"))]


def test_every_source_file_of_the_standard_library_is_accounted_for():
    root = Path(sysconfig.get_path("stdlib"))
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    expected = {name for name in found if not set(name.split("/")[:-1]) & set(corpora.NOT_SOURCE)}
    assert sorted(name for split in corpora.SPLITS for name in accounted(corpora.standard_library(split))) == sorted(expected)
    assert accounted(corpora.standard_library(None)) == sorted(expected)


def test_an_unknown_split_of_the_standard_library_is_refused(unchecked):
    with pytest.raises(ValueError, match="train, held_out"):
        corpora.standard_library("test")


# ------------------------------------------------------------------------------------------------ JSON Lines


ROWS = [
    b'{"text": "the first document", "id": 7}',
    b'{"text": "the second\\r\\ndocument \xf0\x9f\x8c\x8d"}',
    b"{not json",
    b'["a list"]',
    b'{"body": "elsewhere"}',
    b'{"text": null}',
    b'{"text": ["the first document"]}',
    b'{"text": "caf\xe9"}',
    b'{"text": "half a pair: \\ud83c"}',
    b"",
    b'{"text": " \\n\\t"}',
    b'{"text": "ab"}',
    b'{"text": "the first document", "id": 8}',
    b"[" * 100_000,
]


@pytest.fixture
def lines(tmp_path):
    """A file with one of everything: two documents, and for each reason at least one line to leave out."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(ROWS) + b"\n")
    return path


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXTS, max_size=8), st.booleans())
def test_whatever_text_is_written_as_json_lines_comes_back_or_is_accounted_for(tmp_path_factory, texts, ascii_only):
    path = tmp_path_factory.mktemp("lines") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in ["first", *texts]), "utf-8", newline="")
    corpus = corpora.jsonl(path)
    expected = {text.replace("\r\n", "\n"): None for text in ["first", *texts] if text.strip()}
    assert [document.text for document in corpus.documents] == [*expected]
    assert len(accounted(corpus)) == len(texts) + 1


def test_every_line_is_either_a_document_or_named_with_its_reason(lines):
    corpus = corpora.jsonl(lines, shortest=3)
    assert corpus.documents == (
        corpora.Document("line 1", "the first document"),
        corpora.Document("line 2", "the second\ndocument \N{EARTH GLOBE EUROPE-AFRICA}"),
    )
    assert reasons(corpus) == {
        "not_utf8": ("line 8", "line 9"),
        "not_json": ("line 3", "line 4", "line 14"),
        "field_missing": ("line 5",),
        "not_a_string": ("line 6", "line 7"),
        "empty": ("line 10", "line 11"),
        "too_short": ("line 12",),
        "repeated": ("line 13",),
    }
    assert len(accounted(corpus)) == len(ROWS)
    for words in ("2 documents", "not json: 3 (line 3, line 4, line 14)", "field missing: 1 (line 5)", "not a string: 2"):
        assert words in corpus.report()


def test_another_field_is_another_corpus(lines):
    corpus = corpora.jsonl(lines, field="body")
    assert [document.text for document in corpus.documents] == ["elsewhere"] and "line 1" in corpus.field_missing


def test_lines_appended_later_change_no_name_and_move_no_document_to_the_other_side(tmp_path):
    path = tmp_path / "grows.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(100)))
    before = {part: set(corpora.split(corpora.jsonl(path), part).documents) for part in corpora.SPLITS}
    with path.open("a") as file:
        file.writelines(json.dumps({"text": f"later text {number}"}) + "\n" for number in range(100))
    for part in corpora.SPLITS:
        assert before[part] < set(corpora.split(corpora.jsonl(path), part).documents)


def test_only_a_line_feed_ends_a_line_and_the_last_needs_none(tmp_path):
    path = tmp_path / "separators.jsonl"
    path.write_text(
        "\ufeff" + json.dumps({"text": "one\u2028still \x85 one"}, ensure_ascii=False) + "\r\n" + '{"text": "two"}', "utf-8", newline=""
    )
    assert [document.text for document in corpora.jsonl(path).documents] == ["one\u2028still \x85 one", "two"]


def test_a_packed_file_is_read_like_the_plain_one(lines):
    packed = lines.with_name("rows.jsonl.gz")
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    assert corpora.jsonl(packed).fingerprint == corpora.jsonl(lines).fingerprint


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"plain" + data, lambda data: data[:30] + b"xxxxxxxx" + data[38:]]
)
def test_a_damaged_packed_file_is_refused_and_not_read_in_part(lines, damage):
    packed = lines.with_name("rows.jsonl.gz")
    packed.write_bytes(damage(gzip.compress(lines.read_bytes())))
    with pytest.raises(ValueError, match="cannot be read to its end"):
        corpora.jsonl(packed)


def test_what_is_no_file_is_refused_and_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, words in (("missing.jsonl", "missing"), ("pipe.jsonl", "not a file"), (".", "not a file")):
        with pytest.raises(ValueError, match=words):
            corpora.jsonl(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\n\n", '{"text": "a"}'.encode("utf-16"), b'[{"text": "a"},\n {"text": "b"}]'])
def test_a_file_without_documents_is_refused_with_the_account(tmp_path, content):
    (tmp_path / "none.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match="no document with a string in its field 'text' .* 0 documents"):
        corpora.jsonl(tmp_path / "none.jsonl")


@pytest.mark.parametrize("options", [{"field": ""}, {"field": 3}, {"shortest": 0}])
def test_bad_options_of_json_lines_are_refused(lines, unchecked, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        corpora.jsonl(lines, **options)


# ------------------------------------------------------------------------------------------------ data sets of the hub


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """A folder laid out like a data set of the hub: two splits, a text, a number and a column that is not text."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    place = tmp_path / "set"
    place.mkdir()
    for split, count in (("train", 40), ("test", 3)):
        rows = [{"text": f"{split} text {number}", "number": number} for number in range(count)]
        rows += [{"text": text, "number": 0} for text in (None, " ", f"{split} text 0")]
        (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.mark.parametrize("limit", [None, 43, 7])
def test_a_data_set_has_the_documents_of_its_files_whole_or_by_its_first_rows(data_set, limit):
    corpus, file = corpora.hub(str(data_set), limit=limit), corpora.jsonl(data_set / "train.jsonl")
    assert [document.text for document in corpus.documents] == [document.text for document in file.documents][:limit]
    assert corpus.documents[0].name == "row 0"
    assert len(accounted(corpus)) == (limit or 43)
    if limit != 7:
        assert reasons(corpus) == {"not_a_string": ("row 40",), "empty": ("row 41",), "repeated": ("row 42",)}


def test_a_split_and_a_column_of_a_data_set_are_chosen_by_name(data_set):
    assert corpora.hub(str(data_set), split="test").documents[-1].text == "test text 2"
    parquet = data_set.with_name("parquet")
    parquet.mkdir()
    pytest.importorskip("datasets").Dataset.from_dict({"body": ["one", "two"], "text": [1, 2]}).to_parquet(parquet / "train.parquet")
    assert [document.text for document in corpora.hub(str(parquet), field="body").documents] == ["one", "two"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"split": "nowhere"}, "nowhere"),
        ({"config": "german"}, "german"),
        ({"field": "body"}, "no field 'body', but text, number"),
        ({"field": "body", "limit": 2}, "no field 'body', but text, number"),
        ({"field": "number"}, "not a string: 43"),
        ({"field": ""}, "field is ''"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": True}, "limit is True"),
        ({"shortest": 0}, "shortest is 0"),
        ({"shortest": 1000}, "too short: 41"),
    ],
)
def test_what_a_data_set_does_not_have_is_refused_in_one_line(data_set, options, words):
    with pytest.raises(ValueError, match=words) as error:
        corpora.hub(str(data_set), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [None, 3])
def test_a_damaged_data_set_is_refused_and_not_read_in_part(data_set, limit):
    with (data_set / "train.jsonl").open("a") as file:
        file.write("{not json\n")
    with pytest.raises(ValueError, match="cannot be read"):
        corpora.hub(str(data_set), limit=limit)


@pytest.mark.parametrize("name", ["nobody/nothing", ""])
def test_a_data_set_that_is_nowhere_is_refused(data_set, name):
    with pytest.raises(ValueError, match="nobody/nothing, split train cannot be read|name is ''"):
        corpora.hub(name)


def test_without_the_package_datasets_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("clexlab.corpora.hub_data.find_spec", lambda name: None)
    with pytest.raises(ValueError, match='pip install "datasets>=4"'):
        corpora.hub("owner/name")


# ------------------------------------------------------------------------------------------------ splits of any corpus


@given(st.dictionaries(st.text(max_size=5), TEXTS, min_size=1, max_size=60))
def test_a_split_puts_every_document_on_one_side_whole_and_in_order(documents):
    chosen = {text: name for name, text in documents.items()}
    left_out = tuple(name for name in documents if name not in chosen.values())
    whole = corpora.Corpus(source="all", documents=tuple(corpora.Document(name, text) for text, name in chosen.items()), repeated=left_out)
    parts = {}
    for part in corpora.SPLITS:
        try:
            parts[part] = corpora.split(whole, part)
        except ValueError as error:
            assert "belongs to" in str(error)
            assert all(corpora.is_held_out(document.name) == (part == "train") for document in whole.documents)
    placed = [document for corpus in parts.values() for document in corpus.documents]
    assert sorted(placed, key=whole.documents.index) == [*whole.documents] and len(set(placed)) == len(placed)
    for corpus in parts.values():
        assert [*corpus.documents] == [document for document in whole.documents if document in corpus.documents]
    if len(parts) == 2:
        assert sorted(name for corpus in parts.values() for name in corpus.repeated) == sorted(left_out)


def test_no_text_of_a_folder_with_copies_stands_on_both_sides(tmp_path):
    for number in range(60):
        for copy in ("a", "b", "c"):
            (tmp_path / f"{number}{copy}.txt").write_text(f"text {number % 40}")
    whole = corpora.folder(tmp_path)
    sides = [{document.text for document in corpora.split(whole, part).documents} for part in corpora.SPLITS]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 40
    assert sum(len(corpora.split(whole, part).repeated) for part in corpora.SPLITS) == 180 - 40


def test_the_standard_library_is_split_like_any_other_corpus():
    for part in corpora.SPLITS:
        assert corpora.split(corpora.standard_library(None), part) == corpora.standard_library(part)


def test_the_split_is_the_hash_of_the_path_modulo_ten():
    for name in ("abc.py", "json/decoder.py", "turtle.py", "typing.py"):
        assert corpora.is_held_out(name) == (int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0)


@pytest.mark.parametrize("part", ["test", "", None])
def test_an_unknown_part_is_refused(unchecked, part):
    with pytest.raises(ValueError, match="train, held_out"):
        corpora.split(corpora.Corpus(source="", documents=(corpora.Document("a", "a"),)), part)


# ------------------------------------------------------------------------------------------------ by one word


def test_one_word_opens_every_source_with_its_own_options(texts, lines, data_set):
    assert corpora.load("standard-library") == corpora.standard_library(None)
    assert corpora.load(texts, suffixes=(".txt",), shortest=3) == corpora.folder(texts, (".txt",), 3)
    assert corpora.load(lines, field="body") == corpora.jsonl(lines, "body")
    assert corpora.load(f"hub:{data_set}", split="test", limit=2) == corpora.hub(str(data_set), split="test", limit=2)


@pytest.mark.parametrize(
    "where, options, words",
    [
        ("standard-library", {"field": "text"}, "standard library, which has no field; it takes no option"),
        (".", {"field": "text", "limit": 2}, "a folder, which has no field, limit; it takes suffixes, shortest"),
        ("rows.jsonl", {"suffixes": (".txt",)}, "a JSON Lines file, which has no suffixes; it takes field, shortest"),
        ("hub:a/b", {"suffixes": (".txt",)}, "a data set of the hub, which has no suffixes"),
        ("nowhere", {}, "missing; give standard-library, a folder of text files, a .jsonl file or hub:NAME"),
        ("b.txt", {}, "no text of a known kind; give standard-library"),
        ("nowhere.jsonl", {}, "nowhere.jsonl is missing"),
    ],
)
def test_an_option_or_a_place_that_a_source_does_not_have_is_refused(texts, lines, monkeypatch, where, options, words):
    monkeypatch.chdir(texts)
    with pytest.raises(ValueError, match=words):
        corpora.load(where, **options)


def evaluated(*words):
    """The options of `clexlab evaluate` on a text."""
    return cli.parser().parse_args(["evaluate", "--model", "m", "--text", *map(str, words)])


def test_a_command_line_names_every_source_with_its_options(texts, lines, data_set):
    def read(*words):
        return arguments.corpus_of(evaluated(*words))

    assert read(texts, "--suffix", ".txt", ".md") == corpora.folder(texts, (".txt", ".md"))
    assert read(lines, "--field", "body") == corpora.jsonl(lines, "body")
    assert read(f"hub:{data_set}", "--hub-split", "test", "--hub-rows", "2") == corpora.hub(str(data_set), split="test", limit=2)
    with pytest.raises(ValueError, match="german"):
        read(f"hub:{data_set}", "--hub-config", "german")


def test_evaluate_measures_the_library_on_its_held_out_part_and_other_texts_whole():
    assert evaluate.part_of(evaluated("standard-library")) == "held_out"
    assert evaluate.part_of(evaluated("standard-library", "--part", "train")) == "train"
    assert evaluate.part_of(evaluated("texts")) is None
    assert evaluate.part_of(evaluated("texts", "--part", "held_out")) == "held_out"


def test_a_record_names_the_text_without_a_path_of_this_machine(data_set):
    assert [models.text_name(f"{kind}{data_set}") for kind in ("", "hub:")] == ["set", "hub:set"]
    assert models.text_name("hub:owner/name") == "hub:owner/name" and models.text_name("standard-library") == "standard-library"


def test_corpora_are_read_without_torch_and_without_datasets():
    code = "import sys; from clexlab import corpora; corpora.load('standard-library'); print({'torch', 'datasets'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
