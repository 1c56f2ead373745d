"""ModelExplorer: any model of transformers, a few methods, one button: loss by length, measured while you watch."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import numpy as np

from clexlab import scaling
from clexlab.figures import style
from clexlab.widgets.checks import Checks
from clexlab.widgets.explorer import LABEL, WIDE, Explorer, control, describe, steps_slider, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, as_look, look

# The untouched model is always measured; CLEX needs training first.
METHODS = tuple(kind for kind in scaling.SCALINGS if kind not in (scaling.Identity, scaling.CLEX))
# What LongRoPE.default is, said wherever it is drawn.
GUESS = {"longrope": "LongRoPE's start"}
TITLES = {kind.name: GUESS.get(kind.name, kind.title) for kind in METHODS}
FACTORS = (1, 2, 4, 8, 16)
WINDOW, REACH, UNTOUCHED, FIRST = range(4)
# Window and largest factor on the axis of lengths before anything is measured.
EMPTY = (128, 8)


class Stopped(Exception):
    """The stop button was pressed; raised between two texts."""


@dataclass(frozen=True)
class Request:
    """What the controls said when the button was pressed; later moves belong to the next measurement."""

    model: str
    text: str
    methods: tuple[str, ...]
    largest: int
    documents: int
    window: int | None

    @property
    def factors(self) -> tuple[int, ...]:
        return tuple(factor for factor in FACTORS if factor <= self.largest)


class ModelExplorer(Explorer):
    """Your model, your texts: loss of the same tokens after 1, 2, 4 … windows of context, for each method and the untouched model.

    `model` is a folder or a hub name (empty: the pocket model shipped with clexlab), `text` a folder of text files (empty: Python's
    standard library, for the pocket model the part it was not trained on), `window` the trained length where the config claims
    another (empty: the config's). Attributes, readable and settable: `model`, `text`, `window`, `methods` (names of
    `scaling.SCALINGS`), `largest` (factor), `documents`. `measure()` starts as the button does, in a thread of its own, `stop()`
    ends it at the next text, `wait()` lets a script wait; `measuring` says whether one is under way. `curves` holds what is
    measured so far, as `figures.loss_by_length` takes it.
    """

    model, text, window, methods = control("model"), control("text"), control("window"), control("methods")
    largest, documents = control("largest"), control("documents")

    def __init__(
        self,
        model: str | Path = "",
        text: str | Path = "",
        methods: Sequence[str] = ("linear", "yarn"),
        largest: int = 8,
        documents: int = 8,
        window: int | str = "",
    ) -> None:
        controls = {
            "model": _entry("model", model, "empty: the pocket model", "a folder, or a name on the hub"),
            "text": _entry("text", text, "empty: standard library", "a folder of text files; empty: the standard library"),
            "window": _entry("window", window, "empty: the config's", "trained length in tokens, where the config claims another"),
            "methods": Checks("methods", TITLES, methods, "methods, beside the untouched model", columns=2),
            "largest": steps_slider("largest factor", list(FACTORS), largest),
            "documents": whole_slider("documents", 1, 32, documents),
        }
        controls["methods"].boxes["longrope"].tooltip = "the guess LongRoPE's search starts from, not the result of a search"
        super().__init__("Your model by length", controls, _chart())
        self._start = ipywidgets.Button(description="measure", button_style="primary", icon="play", layout=dict(width="auto"))
        self._end = ipywidgets.Button(description="stop", icon="stop", disabled=True, layout=dict(width="auto"))
        self._progress = ipywidgets.IntProgress(0, 0, 1, description="ready", style=LABEL, layout=WIDE)
        buttons = ipywidgets.GridBox([self._start, self._end], layout=dict(grid_template_columns="2fr 1fr", grid_gap="8px"))
        self.panel.children = (*self.panel.children[:-1], buttons, self._progress, self.notice)
        self._start.on_click(lambda button: self.press(self.measure))
        self._end.on_click(lambda button: self.stop())
        self._thread: threading.Thread | None = None
        self.measuring = False
        self._stopping = threading.Event()
        self.curves: dict[str, object] = {}
        self.chart.draw(_axis(*EMPTY))
        self.say("Press <b>measure</b>: the untouched model and every chosen method read the same texts, first short, then longer.")

    def measure(self) -> None:
        """Start measuring what the controls say; returns at once. ValueError while a measurement is under way."""
        if self.measuring:
            raise ValueError("a measurement is under way; stop it first, or wait until it is done")
        named = self.model.strip(), self.text.strip()
        request = Request(*named, self.methods, self.largest, self.documents, trained_window(self.window))
        self._stopping.clear()
        self._running(True)
        # A daemon: closing the notebook must not wait for a large model.
        self._thread = threading.Thread(target=self._work, args=(request,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the measurement at the next text; what is drawn stays."""
        self._stopping.set()
        if self.measuring:
            self._progress.description = "stopping"

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the measurement is over; False if it is not after `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _running(self, now: bool) -> None:
        # The start button last: a press that finds it free must not meet a thread that is about to end.
        self._end.disabled = not now
        self.measuring = now
        self._start.disabled = now

    def _work(self, request: Request) -> None:
        try:
            self._clear(request)
            self._measure(request)
            self._progress.description = "done"
        except Stopped:
            self._progress.description = "stopped"
        except Exception as error:  # the reader's model may fail in any way, and a thread's error is seen by nobody
            self._progress.description = "failed"
            self.notice.tell(error)
        finally:
            if not self.curves:
                self.say("Nothing is measured yet.")
            self._running(False)

    def _clear(self, request: Request) -> None:
        self.curves = {}
        self.notice.clear()
        self._progress.value, self._progress.description = 0, "loading"
        nothing = (np.zeros(0), np.zeros(0))
        with self.chart.hold_sync():
            self.chart.draw({index: nothing for index in range(len(self.chart.data)) if index != REACH})
            self.say("Loading the model and the texts …")

    def _measure(self, request: Request) -> None:
        from clexlab.widgets import measuring

        settings = request.methods, request.largest, request.documents, request.window
        setup = measuring.prepare(request.model, request.text, *settings)
        self._check_stop()
        window = setup.geometry.window
        self._progress.max = setup.tokens(request.factors)
        self.chart.draw(_axis(window, request.largest))
        self.say(f"{describe(setup.geometry)}. Measuring …")
        for name, curve in measuring.points(setup, request.factors, self._count):
            self.curves[name] = curve
            self._draw(setup.geometry, name)

    def _count(self, tokens: int, done: int, points: int) -> None:
        """Called after every text: move the bar, or end."""
        self._progress.value += tokens
        self._progress.description = f"{done} of {points}"
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _draw(self, geometry: object, name: str) -> None:
        """The curve that grew, and the window as high as the numbers reach."""
        curve, index = self.curves[name], _index(name)
        drawn = {index: (np.array([row.length for row in curve.rows], dtype=float), np.array([row.last for row in curve.rows]))}
        losses = [row.last for one in self.curves.values() for row in one.rows]
        edge = np.full(2, geometry.window), np.array([min(losses), max(losses)])
        with self.chart.hold_sync():
            self.chart.draw(drawn | {WINDOW: edge})
            self.say(f"{describe(geometry)}. {finding(self.curves)}")


def trained_window(typed: str) -> int | None:
    """The window as a number, None where the field is empty; ValueError for what is no length."""
    if not typed.strip():
        return None
    plain = typed.strip().replace(",", "").replace(" ", "")
    if not plain.isdecimal() or int(plain) < 4:
        raise ValueError(f"window is {typed!r}; give a whole number of tokens, at least 4, or leave the field empty")
    return int(plain)


def finding(curves: dict) -> str:
    """The sentence below the chart: the longest length that every curve has reached, the untouched model against the best.

    Truncation is the untouched model at its first length, one window, which every method has to beat.
    """
    reached = min(len(curve.rows) for curve in curves.values())
    rows = {name: curve.rows[reached - 1] for name, curve in curves.items()}
    control = rows.pop("", None)
    if control is None:
        return ""
    where = f"After {control.length:,} tokens ({control.factor:g} × window)"
    said = f"{where} the untouched model loses <b>{control.last:.3f}</b> nats per token"
    first = curves[""].rows[0]
    alone = f" The untouched model on one window alone (truncation): <b>{first.last:.3f}</b>." if reached > 1 else ""
    if not rows:
        return f"{said}.{alone}"
    best = min(rows, key=lambda name: rows[name].last)
    return f"{said}, {TITLES[best]} <b>{rows[best].last:.3f}</b>: the lowest of {len(rows)} chosen.{alone}"


def _axis(window: int, largest: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The whole axis of lengths from the start, with a little room on both sides, as a curve that draws nothing."""
    return {REACH: (np.array([0.85 * window, 1.1 * largest * window]), np.full(2, np.nan))}


def _index(name: str) -> int:
    return FIRST + list(TITLES).index(name) if name else UNTOUCHED


def _entry(name: str, value: str | int | Path, placeholder: str, tooltip: str) -> ipywidgets.Text:
    return ipywidgets.Text(str(value), description=name, placeholder=placeholder, tooltip=tooltip, style=LABEL, layout=WIDE)


def _chart() -> LiveChart:
    panel = Panel("Loss of the last quarter of a window", Axis("length", "tokens", scale="log2"), Axis("loss", "nats per token"))
    point = dict(marker=9, passing=True)
    curves = (
        Curve(0, "window", dash="dash", width=1, told=False, passing=True),
        Curve(0, "lengths to come", width=0, legend=False, told=False),
        Curve(0, "untouched", **look(0, 3), **point),
        *(Curve(0, title, **as_look(style.method_line(number)), **point) for number, title in enumerate(TITLES.values())),
    )
    return LiveChart([panel], curves, height=380)
