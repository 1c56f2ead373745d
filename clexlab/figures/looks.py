"""Which colour and dash a method has, by its name: the same in every figure and explorer, whatever stands beside it."""

import re
from collections.abc import Iterable

from clexlab import scaling
from clexlab.figures import style

METHODS = tuple(kind for kind in scaling.SCALINGS if kind is not scaling.Identity)


def looks_of(names: Iterable[str]) -> dict[str, dict]:
    """Colour and dash by name: a method keeps its own whatever stands beside it, and nothing takes the untouched model's."""
    # Explorers that need no model shall not load transformers.
    from clexlab.evaluation import UNTOUCHED

    looks, taken = {}, set()
    for name in names:
        if name == UNTOUCHED:
            looks[name] = style.line(0)
            continue
        method = _method(name)
        # A second curve of one method gets its colour with another dash; what is no method takes the places behind them.
        index, step = (len(METHODS), 1) if method is None else (METHODS.index(method), len(METHODS))
        while index in taken:
            index += step
        taken.add(index)
        looks[name] = style.method_line(index)
    return looks


def _method(name: str) -> type | None:
    """The method whose name or title the curve's name begins with ("yarn, as saved"), the longest where several fit."""
    fitting = {word: kind for kind in METHODS for word in (kind.name, kind.title) if re.match(rf"{re.escape(word)}(?!\w)", name)}
    return fitting[max(fitting, key=len)] if fitting else None
