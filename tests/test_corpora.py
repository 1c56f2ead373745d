import hashlib
import os
import sysconfig
from pathlib import Path

import pytest

from clexlab import corpora


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
    accounted = []
    for split in corpora.SPLITS:
        corpus = corpora.standard_library(split)
        accounted += [document.name for document in corpus.documents]
        accounted += [name for reason in corpora.REASONS for name in getattr(corpus, reason)]
    assert sorted(accounted) == sorted(expected)


def test_the_split_is_the_hash_of_the_path_modulo_ten():
    for name in ("abc.py", "json/decoder.py", "turtle.py", "typing.py"):
        assert corpora.is_held_out(name) == (int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, held_out"):
        corpora.standard_library("test")
