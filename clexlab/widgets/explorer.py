"""What the kernel-side explorers share: controls left, one live chart right with the finding below, errors in view.

A callback computes, draws, renames and tells, and all of it reaches the page as one message.
"""

import asyncio
import html
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import traitlets

from clexlab import presets
from clexlab.frequencies import Geometry
from clexlab.widgets.live_chart import LiveChart
from clexlab.widgets.safely import ErrorNotice, safely

LABEL = {"description_width": "104px"}
WIDE = {"width": "100%"}
REST = 0.3  # seconds without a new value after which a slow panel is computed


def put(name: str, widget: ipywidgets.Widget, value: object) -> None:
    """Set a control, refusing what it does not hold: ipywidgets would clamp a number and raise its own error for a choice."""
    if hasattr(widget, "options"):
        allowed = [entry[1] if isinstance(entry, tuple) else entry for entry in widget.options]
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; choose one of {', '.join(map(repr, allowed))}")
    elif hasattr(widget, "min"):
        low, high = widget.min, widget.max
        if isinstance(widget, ipywidgets.FloatLogSlider):
            low, high = widget.base**low, widget.base**high
        # The comparison is written so that NaN fails it.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; it must be a number between {low:g} and {high:g}")
    try:
        widget.value = value
    except traitlets.TraitError as error:
        raise ValueError(f"{name} is {value!r}; it must be of the kind of {widget.value!r}") from error


def control(name: str) -> property:
    """An attribute of an explorer that reads and sets the control of this name, as a hand on the slider would."""

    def read(explorer: "Explorer") -> object:
        return explorer.controls[name].value

    def write(explorer: "Explorer", value: object) -> None:
        put(name, explorer.controls[name], value)

    return property(read, write, doc=f"The value of the control {name!r}.")


class Explorer(ipywidgets.VBox):
    """Controls beside a chart, or above it where the notebook is narrow; what a callback raises is shown under the controls.

    Subclasses build `controls` (name → ipywidget) and a `LiveChart`, and connect callbacks with `listen`.
    """

    def __init__(self, title: str, controls: Mapping[str, ipywidgets.Widget], chart: LiveChart) -> None:
        self.controls, self.chart, self.notice = dict(controls), chart, ErrorNotice()
        self._waiting: asyncio.TimerHandle | None = None
        heading = ipywidgets.HTML(f"<h3>{title}</h3>")
        self.panel = ipywidgets.Box([heading, *self.controls.values(), self.notice])
        body = ipywidgets.Box([self.panel, self.chart])
        super().__init__([body])
        for widget, name in ((self, "explorer"), (body, "explorer-body"), (self.panel, "explorer-controls")):
            widget.add_class(f"clexlab-{name}")

    @property
    def sentence(self) -> str:
        """The finding as it stands below the chart, in HTML."""
        return self.chart.finding

    def listen(self, callback: Callable[[], None], *names: str) -> None:
        """Call `callback` when one of these controls moves, and send all it draws as one message."""
        for name in names:
            self.controls[name].observe(lambda change: self._answer(callback), "value")

    def _answer(self, callback: Callable[[], None]) -> None:
        with self.chart.hold_sync():
            safely(callback, self.notice)()

    def press(self, action: Callable[[], None]) -> None:
        """Do what a button starts in a thread; a refusal is shown.

        Not `safely`: that empties the notice after a call that works, and the thread may have told its error by then.
        """
        try:
            action()
        except ValueError as error:
            self.notice.show(error)

    def later(self, callback: Callable[[], None]) -> None:
        """Do slow work once the hand rests, so that a drag stays fluent; a newer call replaces an older one.

        Without a running event loop (a script, a test) it is done at once.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._answer(callback)
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = loop.call_later(REST, self._answer, callback)

    def say(self, sentence: str) -> None:
        """Show the finding, and tell screen readers that it changed."""
        self.chart.finding = sentence


def choices(name: str, options: Sequence, value: object) -> ipywidgets.Dropdown:
    """A labelled drop-down."""
    return _filled(name, ipywidgets.Dropdown(options=options, description=name, style=LABEL, layout=WIDE), value)


def presets_menu(value: str, extra: Sequence[str] = ()) -> ipywidgets.Dropdown:
    """The drop-down of real models; `extra` are further entries at its end."""
    return choices("model", [*(geometry.name for geometry in presets.PRESETS), *extra], value)


def steps_slider(name: str, options: Sequence, value: object) -> ipywidgets.SelectionSlider:
    """A slider over a list of values."""
    return _filled(name, ipywidgets.SelectionSlider(options=options, description=name, style=LABEL, layout=WIDE), value)


def log_slider(name: str, low: float, high: float, step: float, value: float, base: float = 2.0) -> ipywidgets.FloatLogSlider:
    """A slider whose steps are equal factors: from base^low to base^high."""
    ends = dict(base=base, min=low, max=high, step=step, value=base**low)
    slider = ipywidgets.FloatLogSlider(**ends, description=name, readout_format=",.4r", style=LABEL, layout=WIDE)
    return _filled(name, slider, value)


def whole_slider(name: str, low: int, high: int, value: int) -> ipywidgets.IntSlider:
    """A slider over whole numbers."""
    return _filled(name, ipywidgets.IntSlider(min=low, max=high, description=name, style=LABEL, layout=WIDE), value)


def even_slider(name: str, low: float, high: float, step: float, value: float) -> ipywidgets.FloatSlider:
    """A slider with equal steps."""
    ends = dict(min=low, max=high, step=step)
    return _filled(name, ipywidgets.FloatSlider(**ends, description=name, style=LABEL, layout=WIDE), value)


def _filled(name: str, widget: ipywidgets.Widget, value: object) -> ipywidgets.Widget:
    put(name, widget, value)
    return widget


def describe(geometry: Geometry) -> str:
    """A model's geometry in words, with where the numbers are published as a tooltip."""
    words = f"{geometry.head_dim} rotary dimensions, base {geometry.base:,.0f}, window {geometry.window:,} tokens"
    return f'<span title="{html.escape(geometry.source)}">{words}</span>'
