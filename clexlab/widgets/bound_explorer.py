"""BoundExplorer: how far a score strays between known distances, what is known beyond them, and Figure 2 under two controls."""

import math

import numpy as np
import torch

from clexlab import bounds, frequencies, presets
from clexlab.figures import style
from clexlab.figures.panels import numbers
from clexlab.widgets.explorer import (
    Explorer,
    choices,
    control,
    log_slider,
    presets_menu,
    steps_slider,
)
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, look

CUSTOM = "own numbers"
HEAD_DIMS = tuple(sorted({geometry.head_dim for geometry in presets.PRESETS} | {16, 32, 64, 128, 256}))
DRAWS = (1, 8, 64, 256, 1024, 4096)
RIDGES = (0.0, *(10.0**power for power in range(-12, 3)))
PRECISIONS = (("float32", torch.float32), ("float64", torch.float64))
FIT_WINDOW = 2048  # of the paper's Figure 2
BIN = 16  # distances drawn as one point, their largest |a|
PRINTED, CORRECTED, SHARP, WORST, SAMPLED, ABEL, TRIVIAL, WINDOW, FIT, FIT_EDGE = range(10)


class BoundExplorer(Explorer):
    """The bounds of Position Interpolation on one geometry, all for max|h_j| = 1.

    Left: |a - a_lin| against the offset between two distances `spacing` tokens apart: printed, corrected and sharp bound, the h
    that reaches the sharp one, the largest of `draws` random h. Middle: the extrapolation bound 2 B(s) and the trivial one.
    Right: Figure 2, a fit to noise on 2048 distances, under `ridge` and `precision` of the solve.

    Attributes, readable and settable: `preset`, `head_dim`, `base`, `spacing`, `draws`, `ridge`, `precision` (a torch dtype).
    A head_dim or base of your own turns `preset` to "own numbers".
    """

    preset, head_dim, base = control("preset"), control("head_dim"), control("base")
    spacing, draws, ridge, precision = control("spacing"), control("draws"), control("ridge"), control("precision")

    def __init__(self, preset: str = "Llama-2-7B", spacing: float = 1.0, draws: int = 256) -> None:
        geometry = presets.by_name(preset)
        controls = {
            "preset": presets_menu(preset, extra=(CUSTOM,)),
            "head_dim": choices("head_dim", list(HEAD_DIMS), geometry.head_dim),
            "base": log_slider("base", 3, 8, 0.05, geometry.base, base=10.0),
            "spacing": log_slider("spacing, tokens", -4, 4, 0.125, spacing),
            "draws": steps_slider("random h", list(DRAWS), draws),
            "ridge": steps_slider("ridge", [(f"{ridge:g}", ridge) for ridge in RIDGES], 0.0),
            "precision": choices("solved in", list(PRECISIONS), torch.float32),
        }
        self._filling = False
        super().__init__("Bounds on scores", controls, _chart())
        self.listen(self._take_preset, "preset")
        self.listen(self._leave_preset, "head_dim", "base")
        self.listen(self._new_spacing, "spacing", "draws")
        self.listen(self._new_fit, "ridge", "precision")
        self._new_geometry()

    @property
    def inv_freq(self) -> torch.Tensor:
        """The frequencies drawn now, (head_dim / 2,) float64."""
        return frequencies.inv_freq(self.head_dim, float(self.base), torch.float64)

    def _take_preset(self) -> None:
        if self._filling or self.preset == CUSTOM:
            return
        geometry = presets.by_name(self.preset)
        self._fill(head_dim=geometry.head_dim, base=geometry.base)
        self._new_geometry()

    def _leave_preset(self) -> None:
        if not self._filling:
            self._fill(preset=CUSTOM)
            self._new_geometry()

    def _fill(self, **values: object) -> None:
        """Set controls without answering their events."""
        self._filling = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._filling = False

    def _new_geometry(self) -> None:
        self._inv_freq = self.inv_freq
        window = self._window()
        distances = torch.logspace(0, math.log2(2 * window), 193, base=2.0, dtype=torch.float64)
        abel = 2 * numbers(bounds.abel_sum(distances, self._inv_freq))
        s, ends = numbers(distances), np.array([1.0, 2.0 * window])
        trivial = float(bounds.trivial(torch.ones(self.head_dim // 2, dtype=torch.complex128)))
        self._design = bounds.design_matrix(torch.arange(2 * FIT_WINDOW, dtype=torch.float64), self._inv_freq)
        self._beyond = float(abel[s >= window].min()), trivial
        edge = np.full(2, window), np.array([trivial / 2, abel.max()])
        self._between({ABEL: (s, abel), TRIVIAL: (ends, np.full(2, trivial)), WINDOW: edge} | self._fit())

    def _window(self) -> int:
        return FIT_WINDOW * 2 if self.preset == CUSTOM else presets.by_name(self.preset).window

    def _new_spacing(self) -> None:
        self._between({})

    def _new_fit(self) -> None:
        self.chart.draw(self._fit())
        self._tell()

    def _between(self, others: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """Draw the left panel, and `others` with it."""
        spacing, inv_freq = float(self.spacing), self._inv_freq
        offsets = torch.linspace(0, spacing, 65, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        worst = bounds.error_terms(offsets, inv_freq, spacing) @ bounds.worst_case(inv_freq, spacing)
        curves = {
            PRINTED: bounds.printed(offsets, self.head_dim, float(self.base), spacing),
            CORRECTED: bounds.corrected(offsets, inv_freq, spacing),
            SHARP: bounds.sharp(offsets, inv_freq, spacing),
            WORST: worst.real.abs(),
            SAMPLED: bounds.sampled_deviation(generator, self.draws, offsets, inv_freq, spacing),
        }
        self._middle = {index: float(values[32]) for index, values in curves.items()}
        x = numbers(offsets)
        self.chart.draw({index: (x, numbers(values)) for index, values in curves.items()} | others)
        self.chart.rename({SAMPLED: f"largest of {self.draws:,} random h"})
        self._tell()

    def _fit(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Figure 2: fit noise on [0, window), look at [0, 2·window); |a| as the largest of every 16 distances."""
        targets = torch.randn(FIT_WINDOW, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        solver = bounds.NormalEquations(dtype=self.precision, ridge=self.ridge)
        weights = solver.solve(self._design[:FIT_WINDOW], targets).double()
        size = numbers((self._design @ weights).abs())
        self._sizes = size[:FIT_WINDOW].max(), size[FIT_WINDOW:].max(), weights.unflatten(0, (2, -1)).norm(dim=0).max().item()
        edge = np.array([1e-2, max(10.0, self._sizes[1])])
        drawn = size.reshape(-1, BIN).max(1)
        return {FIT: (np.arange(0, 2 * FIT_WINDOW, BIN), drawn), FIT_EDGE: (np.full(2, FIT_WINDOW), edge)}

    def _tell(self) -> None:
        middle, (inside, beyond, largest), (abel, trivial) = self._middle, self._sizes, self._beyond
        verdict = "exceeds" if middle[WORST] > middle[PRINTED] else "stays below"
        self.say(
            f"Midway between known distances one h reaches <b>{middle[WORST]:.4g}</b>, which {verdict} the printed"
            f" <b>{middle[PRINTED]:.4g}</b>; corrected {middle[CORRECTED]:.4g}. Beyond the window 2 B(s) is at least"
            f" {abel:.4g}, the trivial bound {trivial:g}. The fit: |a| ≤ {inside:.2g} inside, <b>{beyond:.2g}</b> beyond,"
            f" max|h| = {largest:.2g}."
        )


def _chart() -> LiveChart:
    size = Axis("bound on |a(s)|", scale="log10")
    panels = (
        Panel("Between known distances", Axis("offset s − s₁", "tokens"), Axis("|a − a_lin| at max|h| = 1", low=0)),
        Panel("Beyond them: bounds", Axis("distance s", "tokens", scale="log2"), size),
        Panel("Figure 2: a fit to noise", Axis("distance s", "tokens"), Axis("fitted |a(s)|", scale="log10")),
    )
    edge = dict(name="window", dash="dash", width=1, told=False)
    curves = (
        Curve(0, "printed", **look(0)),
        Curve(0, "corrected", **look(1)),
        Curve(0, "sharp", **look(2)),
        Curve(0, "h that reaches it", **look(3, 3)),
        Curve(0, "random h", **look(4) | dict(dash="dot", width=3)),
        Curve(1, "2 B(s)", **look(1) | dict(dash="solid", width=1.5)),
        Curve(1, "trivial", **look(2) | dict(dash="longdash")),
        Curve(1, **edge),
        Curve(2, "fitted |a(s)|", colour=style.COLOURS[0], width=1.5, legend=False),
        Curve(2, **edge, legend=False),
    )
    return LiveChart(panels, curves)
