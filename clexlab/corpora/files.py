"""Documents that are files: a folder of texts, and the standard library's own source."""

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from clexlab.corpora import splits
from clexlab.corpora.base import Corpus, Found, check_shortest, check_some, collect

TEXT = (".txt", ".md", ".rst", ".tex", ".py")
# Folders of the standard library that hold tests, or that are not the standard library's own source.
NOT_SOURCE = ("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__")


def folder(path: str | Path, suffixes: Sequence[str] = TEXT, shortest: int = 1) -> Corpus:
    """Every text file below `path`, in the order of the names; `shortest` is the fewest characters that make a document.

    A document's name is its path below the folder, with forward slashes on every system. Files are UTF-8 (a byte-order mark and
    carriage returns before line feeds are removed); suffixes compare without case; links to folders are not followed. Raises
    ValueError where `path` is no folder, or holds no document at all.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{path} is {'not a folder' if root.exists() else 'missing'}; give the folder that holds the text files")
    check_suffixes(suffixes)
    check_shortest(shortest)
    wanted = tuple(suffix.lower() for suffix in suffixes)
    names, closed = _walk(root, skipped=())
    chosen = [name for name in names if name.lower().endswith(wanted)]
    corpus = _read(root, str(path), chosen, closed, len(names) - len(chosen), shortest)
    return check_some(corpus, f"with suffix {', '.join(suffixes)}")


def standard_library(split: str | None = "train") -> Corpus:
    """The Python source of this machine's standard library without its tests: "train", the "held_out" tenth of its files, or None: all.

    A file is held out by the hash of its path below the library (`corpora.split`), so the split is the same on every machine
    with this version of Python.
    """
    if split is not None:
        splits.check_split(split)
    root = Path(sysconfig.get_path("stdlib"))
    names, closed = _walk(root, skipped=NOT_SOURCE)
    source = f"standard library of Python {sysconfig.get_python_version()}"
    whole = _read(root, source, [name for name in names if name.endswith(".py")], closed, 0, 1)
    return whole if split is None else splits.split(whole, split)


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
    found = [Found(name, reason="unreadable") for name in closed]
    return collect(source, [*found, *(Found(name, *_text(root / name)) for name in names)], shortest, other)


def _text(path: Path) -> tuple[str, str]:
    """The text of the file at `path`, or the reason why there is none."""
    try:
        # A pipe or a device would block or never end.
        if not path.is_file():
            return "", "unreadable"
        return path.read_text(encoding="utf-8-sig"), ""
    except OSError:
        return "", "unreadable"
    except UnicodeDecodeError:
        return "", "not_utf8"
