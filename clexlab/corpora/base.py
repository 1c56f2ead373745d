"""What every source of text gives: documents, and the account of what is none."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

REASONS = (
    "unreadable",
    "not_utf8",
    "not_json",
    "field_missing",
    "not_a_string",
    "empty",
    "too_short",
    "repeated",
)


@dataclass(frozen=True)
class Document:
    """One text, whole. `name` is unique in its corpus and says where the text stands: a path below a folder, a line, a row."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents in the order of their source (files by name), and the names of what is none, by reason.

    `repeated` texts equal an earlier document character by character. `other` counts files whose suffix was not asked for.
    No two documents have one name or one text, or ValueError is raised: otherwise a split could put one text on both sides.
    """

    source: str
    documents: tuple[Document, ...]
    unreadable: tuple[str, ...] = ()
    not_utf8: tuple[str, ...] = ()
    not_json: tuple[str, ...] = ()
    field_missing: tuple[str, ...] = ()
    not_a_string: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    other: int = 0

    def __post_init__(self) -> None:
        for part in ("name", "text"):
            first: dict[str, str] = {}
            for document in self.documents:
                value = getattr(document, part)
                if value in first:
                    raise ValueError(f"documents {first[value]!r} and {document.name!r} have the same {part}; leave one of them out")
                first[value] = document.name

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


class Found(NamedTuple):
    """Something a source came across: its name, and its text or the reason why it has none."""

    name: str
    text: str = ""
    reason: str = ""


def collect(source: str, found: Iterable[Found], shortest: int, other: int = 0) -> Corpus:
    """The corpus of everything `found`, in that order: what is blank, below `shortest` characters or a repetition is left out.

    Carriage returns before line feeds are removed first, so that one text is one text whatever system wrote it.
    """
    documents: dict[str, Document] = {}
    left_out: dict[str, list[str]] = {reason: [] for reason in REASONS}
    for name, text, given in found:
        text = text.replace("\r\n", "\n")
        reason = given or _against(text, shortest, documents)
        if reason:
            left_out[reason].append(name)
        else:
            documents[text] = Document(name, text)
    counts = {reason: tuple(names) for reason, names in left_out.items()}
    return Corpus(source=source, documents=tuple(documents.values()), other=other, **counts)


def check_shortest(shortest: int) -> None:
    """Refuse a shortest document of less than one character."""
    if isinstance(shortest, bool) or not isinstance(shortest, int) or shortest < 1:
        raise ValueError(f"shortest is {shortest!r}; it must be a whole number of characters, at least 1")


def check_some(corpus: Corpus, wanted: str) -> Corpus:
    """`corpus` itself; ValueError with its account where it holds no document."""
    if not corpus.documents:
        raise ValueError(f"no document {wanted} in {' '.join(corpus.report().split())}")
    return corpus


def field_of(row: dict, field: str) -> tuple[str, str]:
    """The text in the `field` of a row of data, or the reason why there is none."""
    if field not in row:
        return "", "field_missing"
    text = row[field]
    if not isinstance(text, str):
        return "", "not_a_string"
    try:
        # JSON can write half a surrogate pair, which is no character and which no tokenizer takes.
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "", "not_utf8"
    return text, ""


def check_field(field: str) -> None:
    """Refuse a field without a name."""
    if not isinstance(field, str) or not field:
        raise ValueError(f'field is {field!r}; give the name of the field that holds the text, for example "text"')


def _against(text: str, shortest: int, known: dict[str, Document]) -> str:
    if not text.strip():
        return "empty"
    if len(text) < shortest:
        return "too_short"
    return "repeated" if text in known else ""
