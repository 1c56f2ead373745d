"""What the kernel-side explorers share: controls left, one plotly figure right, a sentence with the finding, errors in view.

One figure with several panels rather than several figures: every FigureWidget loads its own 5 MB of plotly. Redraws change
the data of a few traces inside one `batch_update`; the layout is touched when the theme or the model changes.
"""

import asyncio
import html
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import traitlets

from clexlab import presets
from clexlab.figures import style
from clexlab.frequencies import Geometry
from clexlab.widgets.fit import FitToWidth
from clexlab.widgets.safely import ErrorNotice, safely
from clexlab.widgets.theme import ThemeWatcher

CONFIG = {"displayModeBar": False, "responsive": True}
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


class LiveFigure(go.FigureWidget):
    """A FigureWidget that does not take back the trace defaults the page fills in.

    Nothing here asks for them, and plotly 7.1 raises in the kernel when a default meets a property held as an array.
    """

    def _handler_js2py_traceDeltas(self, change: dict[str, object]) -> None:
        return


class Explorer(ipywidgets.Box):
    """A row of controls and figure that wraps where the notebook is narrow, follows Lab's theme and shows its own errors.

    Subclasses build `controls` (name → ipywidget) and a figure, and connect callbacks with `listen`.
    """

    def __init__(self, title: str, controls: Mapping[str, ipywidgets.Widget], figure: go.Figure) -> None:
        self.controls = dict(controls)
        self.sentence, self.notice, self.theme = ipywidgets.HTML(), ErrorNotice(), ThemeWatcher()
        self._waiting: asyncio.TimerHandle | None = None
        self.figure = LiveFigure(figure)
        self.figure._config = CONFIG
        heading = ipywidgets.HTML(f'<div style="font-size: 15px; font-weight: 600; padding: 2px 0 4px">{title}</div>')
        rows = [heading, *self.controls.values(), self.sentence, self.notice, self.theme, FitToWidth()]
        self.panel = ipywidgets.VBox(rows, layout=dict(flex="0 1 320px", min_width="280px", padding="0 8px 0 0"))
        self.right = ipywidgets.VBox([self.figure], layout=dict(flex="1 1 560px", min_width="0"))
        super().__init__([self.panel, self.right], layout=dict(flex_flow="row wrap", align_items="center", width="100%"))
        self.add_class("clexlab-explorer")
        self.theme.follow(safely(self._wear, self.notice))

    def _wear(self, dark: bool) -> None:
        self.figure.layout.template = style.DARK if dark else style.LIGHT

    def listen(self, callback: Callable[[], None], *names: str) -> None:
        """Call `callback` when one of these controls moves; what it raises is shown under the controls."""
        guarded = safely(callback, self.notice)
        for name in names:
            self.controls[name].observe(lambda change: guarded(), "value")

    def later(self, callback: Callable[[], None]) -> None:
        """Do slow work once the hand rests, so that a drag stays fluent; a newer call replaces an older one.

        Without a running event loop (a script, a test) it is done at once.
        """
        guarded = safely(callback, self.notice)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            guarded()
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = loop.call_later(REST, guarded)

    def draw(self, curves: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """New x and y for some traces, by index, as one message and one redraw.

        Always both: where traces of one update carry different attributes, plotly's model in the page loses the missing
        ones, and a second view of the widget would lack them. Float32 halves what travels.
        """
        with self.figure.batch_update():
            for index, (x, y) in curves.items():
                self.figure.data[index].x = np.asarray(x, dtype=np.float32)
                self.figure.data[index].y = np.asarray(y, dtype=np.float32)

    def rename(self, names: Mapping[int, str]) -> None:
        """New legend names for some traces, sent only where they differ."""
        for index, name in names.items():
            if self.figure.data[index].name != name:
                self.figure.data[index].name = name

    def say(self, sentence: str) -> None:
        """Show the finding, and tell screen readers that it changed."""
        self.sentence.value = f'<div role="status" style="line-height: 1.5; padding-top: 4px">{sentence}</div>'


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
    slider = ipywidgets.FloatLogSlider(**ends, description=name, readout_format=".4g", style=LABEL, layout=WIDE)
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
