"""Documents that are lines of a JSON Lines file."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from clexlab.corpora.base import Corpus, Found, check_field, check_shortest, check_some, collect, field_of

SUFFIXES = (".jsonl", ".jsonl.gz")


def jsonl(path: str | Path, field: str = "text", shortest: int = 1) -> Corpus:
    """One document a line: the string in the `field` of the JSON object that stands there. A name ending in .gz is unpacked.

    A document's name is its line ("line 1" is the first): unique whatever the file holds, and the same after lines were appended.
    Lines end with a line feed and nothing else. Raises ValueError where there is no such file, where it is cut off (.gz), or where
    it holds no document at all.
    """
    file = Path(path)
    # A pipe or a device would block or never end.
    if not file.is_file():
        raise ValueError(f"{path} is {'not a file' if file.exists() else 'missing'}; give a file with one JSON object a line")
    check_field(field)
    check_shortest(shortest)
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as lines:
            corpus = collect(str(path), _read(lines, field), shortest)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read to its end ({error}); give a whole file with one JSON object a line") from error
    return check_some(corpus, f"with a string in its field {field!r}")


def _read(lines: Iterable[bytes], field: str) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        yield Found(f"line {number}", *_text(line, field, "utf-8-sig" if number == 1 else "utf-8"))


def _text(line: bytes, field: str, encoding: str) -> tuple[str, str]:
    """The text of one line, or the reason why there is none. A blank line is an empty document."""
    try:
        content = line.decode(encoding)
    except UnicodeDecodeError:
        return "", "not_utf8"
    if not content.strip():
        return "", "empty"
    try:
        row = json.loads(content)
    # Brackets without end exhaust the parser's recursion.
    except (ValueError, RecursionError):
        return "", "not_json"
    return field_of(row, field) if isinstance(row, dict) else ("", "not_json")
