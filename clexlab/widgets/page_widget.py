"""What the page-side explorers share: the assembled page code, checked traits, and errors that show in the widget."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_FOLDER = Path(__file__).parent / "page"
_SHARED = ("formulas", "surface", "plot", "controls")


def page_code(view: str) -> str:
    """One ES module of the shared files and one view: the files are read in order, they do not import each other."""
    return "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in (*_SHARED, view))


def page_style() -> str:
    """The style sheet of the explorers, in Lab's own colours."""
    return (_FOLDER / "style.css").read_text(encoding="utf-8")


class Number(traitlets.TraitType):
    """A finite number between `low` and `high`; anything else is a ValueError that names the range and the unit."""

    def __init__(self, default: float, low: float, high: float, unit: str) -> None:
        super().__init__(default)
        self.low, self.high, self.unit = low, high, unit

    def validate(self, obj: traitlets.HasTraits, value: object) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value!r}; it must be between {self.low:g} and {self.high:g} {self.unit}")
        return float(value)


class Whole(Number):
    """A whole number between `low` and `high`."""

    def validate(self, obj: traitlets.HasTraits, value: object) -> int:
        number = super().validate(obj, value)
        if number != int(number):
            raise ValueError(f"{self.name} is {value!r}; it must be a whole number of {self.unit}")
        return int(number)


class Choice(traitlets.TraitType):
    """One of the given values; the ValueError lists them."""

    def __init__(self, default: str | tuple[str, ...], values: Sequence[str]) -> None:
        super().__init__(default)
        self.values = tuple(values)

    def check(self, value: object) -> str:
        if value not in self.values:
            raise ValueError(f"{self.name} is {value!r}; it must be one of {', '.join(map(repr, self.values))}")
        return value

    def validate(self, obj: traitlets.HasTraits, value: object) -> str:
        return self.check(value)


class Choices(Choice):
    """A list of the given values, in any order and number."""

    def validate(self, obj: traitlets.HasTraits, value: object) -> list[str]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.name} is {value!r}; it must be a list of names from {', '.join(map(repr, self.values))}")
        return [self.check(each) for each in value]


class PageWidget(anywidget.AnyWidget):
    """An explorer whose page computes and draws; Python reads and sets its traits.

    An exception in a callback that listens to the page (`explorer.observe(...)`) is shown in the explorer, in `error`;
    one in a cell (`explorer.factor = 0.5`) is raised there as usual.
    """

    _css = page_style()
    error = traitlets.Unicode("").tag(sync=True)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take values from the page; ipywidgets calls this for every message."""
        try:
            super().set_state(sync_data)
        except Exception as error:
            self.error = f"{type(error).__name__} in a Python callback: {error}"
            raise
        else:
            self.error = ""
