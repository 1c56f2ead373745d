"""Any corpus by one word, as a command line or a form names it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from clexlab.corpora.base import Corpus
from clexlab.corpora.files import folder, standard_library
from clexlab.corpora.hub_data import hub
from clexlab.corpora.json_lines import SUFFIXES, jsonl

STANDARD_LIBRARY = "standard-library"
HUB = "hub:"
# The options of each kind of source, and how a message calls it.
OPTIONS = {
    "the standard library": (),
    "a folder": ("suffixes", "shortest"),
    "a JSON Lines file": ("field", "shortest"),
    "a data set of the hub": ("field", "config", "split", "limit", "shortest"),
}


def load(
    source: str | Path,
    *,
    suffixes: Sequence[str] | None = None,
    field: str | None = None,
    config: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    shortest: int | None = None,
) -> Corpus:
    """All documents of "standard-library", of a folder, of a .jsonl or .jsonl.gz file, or of "hub:NAME"; whole: `corpora.split` cuts them.

    Options left out are the source's own defaults: `suffixes` of a folder; `field` of JSON Lines and the hub; `config`, the data
    set's own `split` and `limit` of the hub; `shortest` of all three. Raises ValueError for an option the source does not have, and
    whatever the source refuses.
    """
    given = dict(suffixes=suffixes, field=field, config=config, split=split, limit=limit, shortest=shortest)
    options = {name: value for name, value in given.items() if value is not None}
    kind, read = _named(str(source))
    strange = sorted(set(options) - set(OPTIONS[kind]))
    if strange:
        takes = ", ".join(OPTIONS[kind]) or "no option"
        raise ValueError(f"{source} is {kind}, which has no {', '.join(strange)}; it takes {takes}")
    return read(**options)


def _named(source: str) -> tuple[str, Callable[..., Corpus]]:
    """What `source` names, and the function that reads it with its options."""
    if source == STANDARD_LIBRARY:
        return "the standard library", lambda: standard_library(None)
    if source.startswith(HUB):
        return "a data set of the hub", lambda **options: hub(source.removeprefix(HUB), **options)
    if Path(source).is_dir():
        return "a folder", lambda **options: folder(source, **options)
    if source.lower().endswith(SUFFIXES):
        return "a JSON Lines file", lambda **options: jsonl(source, **options)
    state = "no text of a known kind" if Path(source).exists() else "missing"
    raise ValueError(f"{source} is {state}; give {STANDARD_LIBRARY}, a folder of text files, a .jsonl file or {HUB}NAME")
