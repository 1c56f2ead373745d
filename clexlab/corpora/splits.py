"""What is trained on and what is held out: decided by the names of the documents, so that it is the same tomorrow."""

import hashlib
from dataclasses import replace

from clexlab.corpora.base import REASONS, Corpus

SPLITS = ("train", "held_out")


def split(corpus: Corpus, part: str) -> Corpus:
    """One part of any corpus, documents whole: "held_out", about a tenth of its documents, or "train", all others.

    A document is held out when the SHA-256 of its name is 0 modulo 10: what was trained on stays on that side when other documents
    come and go. A corpus has each text once, so no text stands on both sides. What was left out goes to the side of its name;
    `other` is not split. Raises ValueError where the part is empty.
    """
    check_split(part)

    def here(name: str) -> bool:
        return is_held_out(name) == (part == "held_out")

    documents = tuple(document for document in corpus.documents if here(document.name))
    if not documents:
        raise ValueError(
            f"none of the {len(corpus.documents)} documents of {corpus.source} belongs to {part}; about one name in ten is held out:"
            " give more documents, or a corpus of their own for each part"
        )
    left_out = {reason: tuple(filter(here, getattr(corpus, reason))) for reason in REASONS}
    return replace(corpus, source=f"{corpus.source}, {part.replace('_', ' ')}", documents=documents, **left_out)


def is_held_out(name: str) -> bool:
    """Whether the document of this name belongs to the held-out tenth; decided by the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest(), "big") % 10 == 0


def check_split(part: str) -> None:
    """Refuse what is no part of a split."""
    if part not in SPLITS:
        raise ValueError(f"split is {part!r}; it must be one of {', '.join(SPLITS)}")
