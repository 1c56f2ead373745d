"""RelativeMatrixExplorer: which relative position every query and key get from a map, and which of them training ever showed."""

import math
from dataclasses import fields

import numpy as np

from clexlab.figures import style
from clexlab.figures.maps import BEYOND, ROUNDING, TRAINED, is_trained, last_row, position_counts, tiles, tint
from clexlab.figures.panels import numbers
from clexlab.positions import maps
from clexlab.widgets.explorer import Explorer, choices, control, steps_slider, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel

WINDOWS, LONGEST = (8, 16, 32), 64
# What a map may have beside its window, by the name of the control that sets it: label, smallest and largest value. A map's noise is
# drawn on logits and moves no position; it has no control.
OPTIONS = {
    "near": ("near", 1, LONGEST),
    "slowing": ("slowing", 1, LONGEST),
    "group": ("group", 1, 16),
    "chunk": ("chunk", 1, LONGEST),
    "ceiling": ("ceiling", 0, LONGEST),
    "shift": ("shift", 1, LONGEST),
    "local": ("local", 0, LONGEST),
    "tail": ("tail", 1, LONGEST),
    "sinks": ("sinks", 0, 16),
    "recent": ("recent", 1, LONGEST),
    "starts": ("starts", 0, 16),
    "limit": ("limit", 0, LONGEST),
}
# Shades of a heat map: tints of the two colours, from near to far. Beyond the window one shade is as wide as the trained range.
TRAINED_SHADES, BEYOND_SHADES = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0), (0.45, 0.7, 1.0)
MATRIX, LAST, COUNTS = range(3)
SHADES = len(TRAINED_SHADES) + len(BEYOND_SHADES)
PLAIN, ROW, LEVEL, TRAINING, COUNT, EDGE = range(SHADES, SHADES + 6)


class RelativeMatrixExplorer(Explorer):
    """The matrix P(i, j) of any map as a heat map, blue where training showed the position and orange beyond.

    Middle: the last query's row of it, against the true distance. Right: how many pairs stand at each position, beside a training row.
    A new map or window brings the map's published options, scaled to the window.

    Attributes, readable and settable: `map` (a name of `maps.MAPS`), `window`, `length` (tokens), and the maps' options: `near`,
    `slowing`, `group`, `chunk`, `ceiling`, `shift`, `local`, `tail`, `sinks`, `recent`, `starts`, `limit`. `shown` is the map drawn.
    """

    map, window, length = control("map"), control("window"), control("length")
    near, slowing, group, chunk = control("near"), control("slowing"), control("group"), control("chunk")
    ceiling, shift, local, tail = control("ceiling"), control("shift"), control("local"), control("tail")
    sinks, recent, starts, limit = control("sinks"), control("recent"), control("starts"), control("limit")

    def __init__(self, map: str = "self_extend", window: int = 16, length: int = 48) -> None:
        controls = {
            "map": choices("map", [(kind.title, kind.name) for kind in maps.MAPS], map),
            "window": steps_slider("window", list(WINDOWS), window),
            "length": whole_slider("length", 2, LONGEST, length),
            **{name: whole_slider(label, low, high, low) for name, (label, low, high) in OPTIONS.items()},
        }
        super().__init__("How far away a key seems", controls, _chart(length))
        self._filling = False
        self.listen(self._new_map, "map", "window")
        self.listen(self._draw, "length", *OPTIONS)
        self._new_map()

    @property
    def shown(self) -> maps.Map:
        """The map with everything its controls say; ValueError where its options do not fit each other."""
        return self._kind(window=self.window, **{name: getattr(self, name) for name in OPTIONS if name in self._options})

    @property
    def _kind(self) -> type[maps.Map]:
        return maps.by_name(self.map)

    @property
    def _options(self) -> set[str]:
        return {field.name for field in fields(self._kind)}

    def _new_map(self) -> None:
        published = self._kind.default(self.window)
        self._filling = True
        try:
            for name in OPTIONS:
                mine = name in self._options
                self.controls[name].layout.display = None if mine else "none"
                if mine:
                    value = getattr(published, name)
                    # A ceiling that is not given is the window's.
                    setattr(self, name, self.window - 1 if value is None else int(value))
        finally:
            self._filling = False
        self._draw()

    def _draw(self) -> None:
        if self._filling:
            return
        shown, window, length = self.shown, self.window, self.length
        matrix = numbers(shown.relative(length))
        distance, row = last_row(matrix)
        place, count = position_counts(matrix)
        ends = np.array([0.0, length - 1.0])
        self.chart.draw(
            {
                **{index: tiles(matrix, low, high) for index, (low, high) in enumerate(_shades(window))},
                PLAIN: (ends, ends),
                ROW: (distance, row),
                LEVEL: (ends, np.full(2, window - 1.0)),
                TRAINING: (np.arange(window), np.arange(window, 0, -1.0)),
                COUNT: (place, count.astype(float)),
                EDGE: (np.full(2, window - 1.0), np.array([1.0, length * length / 2])),
            }
        )
        self.chart.relabel(MATRIX, _matrix_panel(length))
        self.say(self._describe(shown, matrix))

    def _describe(self, shown: maps.Map, matrix: np.ndarray) -> str:
        window, length, safe = self.window, self.length, shown.longest
        seen = matrix[np.isfinite(matrix)]
        beyond, between = (~is_trained(seen, window)).mean(), (np.abs(seen - seen.round()) > ROUNDING).mean()
        row = matrix[-1][np.isfinite(matrix[-1])]
        words = f"<b>{shown.title}</b>, {length} tokens: largest position <b>{seen.max():.4g}</b>, largest trained one {window - 1}"
        words += f"; <b>{beyond:.1%}</b> of pairs are beyond it." if beyond else ", so all are trained."
        reach = f"Longest safe length <b>{safe:,.0f}</b>, {safe / window:.3g} × the window."
        words += " Safe at any length." if math.isinf(safe) else f" {reach}"
        words += f" The last token sees {len(row)} of {length} keys, at {len(np.unique(row.round(9)))} different positions."
        how = "their scores are mixed" if shown.mixes else "they are turned by fractions"
        return words + (f" {between:.1%} of pairs stand between two whole positions: {how}." if between else "")


def _shades(window: int) -> list[tuple[float, float]]:
    """The positions of every shade, from low on and below high: the trained range in equal parts, then one range as wide each."""
    edge = window - 1 + ROUNDING
    trained = np.linspace(0.0, edge, len(TRAINED_SHADES) + 1)
    beyond = [edge + number * (window - 1) for number in range(len(BEYOND_SHADES))]
    bounds = [*trained, *beyond[1:], math.inf]
    return list(zip(bounds, bounds[1:], strict=False))


def _matrix_panel(length: int) -> Panel:
    side = dict(unit="tokens", low=-0.5, high=length - 0.5)
    return Panel("P(i, j)", Axis("key j", **side), Axis("query i", "tokens", low=length - 0.5, high=-0.5))


def _chart(length: int) -> LiveChart:
    panels = (
        _matrix_panel(length),
        Panel("P for the last token", Axis("distance i - j", "tokens"), Axis("position P", low=0.0)),
        Panel("How often a position occurs", Axis("position P"), Axis("pairs of query and key", scale="log10")),
    )
    shade = dict(width=0, fill=True, told=False)
    trained = [Curve(MATRIX, "trained positions", colour=tint(TRAINED, one), legend=one == 1, **shade) for one in TRAINED_SHADES]
    beyond = [Curve(MATRIX, "never trained", colour=tint(BEYOND, one), legend=one == 1, **shade) for one in BEYOND_SHADES]
    line = dict(width=1.5, told=False)
    own = style.COLOURS[2]
    curves = (
        *trained,
        *beyond,
        Curve(LAST, "plain RoPE", dash="dot", **line),
        Curve(LAST, "P with the map", colour=own, marker=5),
        Curve(LAST, "largest trained position", dash="dash", **line),
        Curve(COUNTS, "one training row", dash="longdash", width=2),
        Curve(COUNTS, "pairs with the map", colour=own, marker=5, legend=False),
        Curve(COUNTS, "largest trained position", dash="dash", legend=False, **line),
    )
    return LiveChart(panels, curves, height=320)
