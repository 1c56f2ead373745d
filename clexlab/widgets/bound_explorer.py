"""BoundExplorer: how far a score strays between known distances, what is known beyond them, and Figure 2 under two controls."""

import math

import numpy as np
import plotly.graph_objects as go
import torch

from clexlab import bounds, frequencies, presets
from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below, numbers, row
from clexlab.widgets.explorer import (
    Explorer,
    choices,
    control,
    log_slider,
    presets_menu,
    steps_slider,
)

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
        super().__init__("Bounds on scores", controls, _figure())
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
        self.draw(self._fit())
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
        self.draw({index: (x, numbers(values)) for index, values in curves.items()} | others)
        self.rename({SAMPLED: f"largest of {self.draws:,} random h"})
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


def _figure() -> go.Figure:
    titles = ("Between known distances", "Beyond them: bounds", "Figure 2: a fit to noise")
    figure = row(titles, spacing=0.13, height=440)
    for index, name in enumerate(("printed", "corrected", "sharp", "h that reaches it")):
        figure.add_scatter(name=name, mode="lines", line=style.line(index, 3 if index == 3 else 2), col=1, row=1)
    # A line, not 65 markers: the browser styles every marker by itself.
    figure.add_scatter(name="random h", mode="lines", line=dict(style.line(4), dash="dot", width=3), col=1, row=1)
    quiet = dict(mode="lines", col=2, row=1)
    figure.add_scatter(name="2 B(s)", line=dict(style.line(1), dash="solid", width=1.5), **quiet)
    figure.add_scatter(name="trivial", line=dict(style.line(2), dash="longdash"), **quiet)
    figure.add_scatter(name="window", line=guide(), showlegend=False, **quiet)
    figure.add_scatter(name="fitted |a(s)|", line=style.line(0, 1.5), mode="lines", showlegend=False, col=3, row=1)
    figure.add_scatter(name="window", line=guide(), mode="lines", showlegend=False, col=3, row=1)
    figure.update_xaxes(title="offset s − s₁ (tokens)", col=1)
    figure.update_yaxes(title="|a − a_lin| at max|h| = 1", rangemode="tozero", col=1)
    figure.update_xaxes(style.log2_axis("distance s (tokens)"), dtick=4 * math.log10(2), tickangle=0, col=2)
    figure.update_yaxes(title="bound on |a(s)|", type="log", dtick=1, exponentformat="power", col=2)
    figure.update_xaxes(title="distance s (tokens)", tickvals=[0, 1024, 2048, 3072, 4096], tickformat=",", col=3)
    figure.update_yaxes(title="fitted |a(s)|", type="log", dtick=1, exponentformat="power", col=3)
    legend_below(figure)
    return figure
