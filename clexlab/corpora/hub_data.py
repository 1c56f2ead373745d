"""Documents that are rows of a data set of the Hugging Face hub, or of a folder that is laid out like one."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from typing import Any

from clexlab.corpora.base import Corpus, Found, check_field, check_shortest, check_some, collect, field_of

INSTALL = 'pip install "datasets>=4"'


def hub(
    name: str, *, split: str = "train", field: str = "text", config: str | None = None, limit: int | None = None, shortest: int = 1
) -> Corpus:
    """One document a row: the string in the column `field` of a data set, by its name on the hub ("owner/name") or its folder.

    `config` and `split` are the data set's own words, as its page shows them; what is held out here is decided by `corpora.split`.
    With `limit` only the first rows are read, and only they are downloaded. A document's name is its row ("row 0" is the first).
    No code of the data set is run. Raises ValueError where `datasets` is not installed, the data set cannot be opened, or there is
    no document at all.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f'name is {name!r}; give a data set of the hub, for example "owner/name", or a folder of data files')
    check_field(field)
    check_shortest(shortest)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit is {limit!r}; it must be a whole number of rows, at least 1, or None for all of them")
    if find_spec("datasets") is None:
        raise ValueError(f"a data set of the hub needs the package datasets, which is not installed: {INSTALL}")
    words = [name, *([config] if config else []), f"split {split}", *([f"first {limit} rows"] if limit else [])]
    try:
        rows = _open(name, config, split, field, streaming=limit is not None)
        corpus = collect(", ".join(words), _read(islice(rows, limit), field), shortest)
    # What is on the hub may be anything, and fail in any way: not there, behind a login, no network, damaged.
    except Exception as error:
        raise ValueError(f"{', '.join(words)} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return check_some(corpus, f"with a string in its field {field!r}")


def _open(name: str, config: str | None, split: str, field: str, streaming: bool) -> Iterable[dict[str, Any]]:
    """The rows of one split, without the other columns: decoding images would take longer than reading the text."""
    from datasets import load_dataset

    data = load_dataset(name, config, split=split, streaming=streaming)
    columns = data.column_names
    if columns is None:
        return data
    if field not in columns:
        raise ValueError(f"it has no field {field!r}, but {', '.join(columns)}")
    return data.select_columns([field])


def _read(rows: Iterable[dict[str, Any]], field: str) -> Iterator[Found]:
    for number, row in enumerate(rows):
        yield Found(f"row {number}", *field_of(row, field))
