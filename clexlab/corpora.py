"""Text to train and measure on: whole documents, each text once, and an account of everything that was left out.

A corpus is a tuple of documents, never one long stream: a text that ends is not context for the next one. What could not be
used (unreadable, not UTF-8, empty, too short, a repetition) is named in the corpus, so that no file is dropped silently.
"""

import hashlib
import os
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TEXT = (".txt", ".md", ".rst", ".tex", ".py")
SPLITS = ("train", "held_out")
# Folders of the standard library that hold tests, or that are not the standard library's own source.
NOT_SOURCE = ("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__")
REASONS = ("unreadable", "not_utf8", "empty", "too_short", "repeated")


@dataclass(frozen=True)
class Document:
    """One text, whole. `name` is the path below the corpus' folder, with forward slashes on every system."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents in the order of their names, and the names of the files that are none, by reason.

    `repeated` texts equal an earlier document character by character. `other` counts files whose suffix was not asked for.
    """

    source: str
    documents: tuple[Document, ...]
    unreadable: tuple[str, ...] = ()
    not_utf8: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    other: int = 0

    @property
    def characters(self) -> int:
        return sum(len(document.text) for document in self.documents)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any name, text or order: what a record stores to name the text it used."""
        digest = hashlib.sha256()
        for document in self.documents:
            for part in (document.name, document.text):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()[:16]

    def report(self) -> str:
        """What is in the corpus and what is not, a line each; for every reason the number and the first three names."""
        lines = [f"{self.source}: {len(self.documents)} documents, {self.characters:,} characters"]
        for reason in REASONS:
            names = getattr(self, reason)
            if names:
                more = ", …" if len(names) > 3 else ""
                lines.append(f"  left out, {reason.replace('_', ' ')}: {len(names)} ({', '.join(names[:3])}{more})")
        if self.other:
            lines.append(f"  not looked at, other suffix: {self.other}")
        return "\n".join(lines)


def folder(path: str | Path, suffixes: Sequence[str] = TEXT, shortest: int = 1) -> Corpus:
    """Every text file below `path`, in the order of the names; `shortest` is the fewest characters that make a document.

    Files are UTF-8 (a byte-order mark and carriage returns before line feeds are removed); suffixes compare without case;
    links to folders are not followed. Raises ValueError where `path` is no folder, or holds no document at all.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{path} is {'not a folder' if root.exists() else 'missing'}; give the folder that holds the text files")
    check_suffixes(suffixes)
    if isinstance(shortest, bool) or not isinstance(shortest, int) or shortest < 1:
        raise ValueError(f"shortest is {shortest!r}; it must be a whole number of characters, at least 1")
    wanted = tuple(suffix.lower() for suffix in suffixes)
    names, unreadable = _walk(root, skipped=())
    chosen = [name for name in names if name.lower().endswith(wanted)]
    corpus = _read(root, str(path), chosen, unreadable, len(names) - len(chosen), shortest)
    if not corpus.documents:
        raise ValueError(f"no document with suffix {', '.join(suffixes)} in {' '.join(corpus.report().split())}")
    return corpus


def standard_library(split: str = "train") -> Corpus:
    """The Python source of this machine's standard library without its tests: "train", or the "held_out" tenth of its files.

    A file is held out when the SHA-256 of its path below the library is 0 modulo 10, so the split is the same on every
    machine with this version of Python. Repetitions are removed before splitting: no text stands on both sides.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    root = Path(sysconfig.get_path("stdlib"))
    names, unreadable = _walk(root, skipped=NOT_SOURCE)
    chosen = [name for name in names if name.endswith(".py")]
    whole = _read(root, "standard library", chosen, unreadable, 0, 1)

    def here(name: str) -> bool:
        return is_held_out(name) == (split == "held_out")

    return Corpus(
        source=f"standard library of Python {sysconfig.get_python_version()}, {split.replace('_', ' ')}",
        documents=tuple(document for document in whole.documents if here(document.name)),
        **{reason: tuple(filter(here, getattr(whole, reason))) for reason in REASONS},
    )


def is_held_out(name: str) -> bool:
    """Whether the document of this name belongs to the held-out tenth; decided by the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest(), "big") % 10 == 0


def check_suffixes(suffixes: Sequence[str]) -> None:
    """Refuse what is no sequence of file endings: a lone string, no suffix at all, or one without its dot."""
    if isinstance(suffixes, str) or not suffixes or not all(isinstance(one, str) and one.startswith(".") for one in suffixes):
        raise ValueError(f'suffixes is {suffixes!r}; give file endings with their dot, for example (".txt", ".md")')


def _walk(root: Path, skipped: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sorted names of all files below `root` outside the `skipped` folders, and the folders that cannot be opened."""
    names, closed = [], []

    def note(error: OSError) -> None:
        closed.append(Path(error.filename).relative_to(root).as_posix() + "/")

    for at, folders, files in os.walk(root, onerror=note):
        folders[:] = [one for one in folders if one not in skipped]
        names += [(Path(at) / one).relative_to(root).as_posix() for one in files]
    return sorted(names), sorted(closed)


def _read(root: Path, source: str, names: Sequence[str], closed: Sequence[str], other: int, shortest: int) -> Corpus:
    documents: list[Document] = []
    left_out: dict[str, list[str]] = {reason: [] for reason in REASONS} | {"unreadable": list(closed)}
    seen: set[str] = set()
    for name in names:
        reason, text = _judge(root / name, shortest, seen.__contains__)
        if reason:
            left_out[reason].append(name)
        else:
            seen.add(text)
            documents.append(Document(name, text))
    counts = {reason: tuple(names) for reason, names in left_out.items()}
    return Corpus(source=source, documents=tuple(documents), other=other, **counts)


def _judge(path: Path, shortest: int, known: Callable[[str], bool]) -> tuple[str, str]:
    """The reason against the file at `path` ("" where there is none) and its text."""
    try:
        # A pipe or a device would block or never end.
        if not path.is_file():
            return "unreadable", ""
        text = path.read_text(encoding="utf-8-sig")
    except OSError:
        return "unreadable", ""
    except UnicodeDecodeError:
        return "not_utf8", ""
    if not text.strip():
        return "empty", ""
    if len(text) < shortest:
        return "too_short", ""
    return ("repeated", "") if known(text) else ("", text)
