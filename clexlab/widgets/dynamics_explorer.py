"""DynamicsExplorer: a prior path, a learned field on top, the flow they make together, and what the solver misses of it."""

import copy

import numpy as np
import torch

from clexlab import ode, presets, scaling
from clexlab.figures import style
from clexlab.figures.dynamics import ERROR_AXIS, Z_AXIS, arrows
from clexlab.figures.panels import factor_grid, joined, numbers
from clexlab.figures.scaling import over_factors
from clexlab.widgets.explorer import (
    Explorer,
    choices,
    control,
    even_slider,
    log_slider,
    presets_menu,
    steps_slider,
    whole_slider,
)
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, look

MAX_FACTOR = 16.0
PRIORS = tuple((kind.title, kind.name) for kind in scaling.SCALINGS if kind is not scaling.CLEX)
SOLVERS = tuple((f"{solver.name}, order {solver.order}", solver) for solver in ode.SOLVERS if not solver.adaptive)
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
FLOW, ARROWS, PRIOR, PATH, NOW, BASE, FULL, PRIOR_AT, PATH_AT, ERRORS, ERROR = range(11)


class DynamicsExplorer(Explorer):
    """The flow of one model's frequencies: dz/d ln t = prior drift + learned field, z = ln θ.

    Left panel: the state of all pairs against t, one pair thick, with its prior (dashed) and the velocity field. Middle:
    θ(t) of every pair beside its prior at the chosen t. Right: error of fixed steps against an adaptive float64 solve.
    The field is an untrained `ode.BoundedField` whose last layer is normal with deviation `strength`, drawn from `seed`.

    Attributes, readable and settable: `preset`, `prior` (a name of `scaling.SCALINGS`), `factor`, `pair`, `strength`, `seed`,
    `solver`, `steps`; `clex` is the path drawn now. `points` (per line) is chosen when it is made.
    """

    preset, prior, factor, pair = control("preset"), control("prior"), control("factor"), control("pair")
    strength, seed, solver, steps = control("strength"), control("seed"), control("solver"), control("steps")

    def __init__(
        self, preset: str = "Llama-2-7B", prior: str = "dynamic_ntk", strength: float = 0.1, seed: int = 0, points: int = 512
    ) -> None:
        geometry = presets.by_name(preset)
        self.factors = factor_grid(MAX_FACTOR, points)
        controls = {
            "preset": presets_menu(preset),
            "prior": choices("prior", list(PRIORS), prior),
            "factor": log_slider("factor t", 0, 4, 0.05, 8.0),
            "pair": whole_slider("pair j", 0, geometry.pairs - 1, geometry.pairs * 3 // 4),
            "strength": even_slider("field strength", 0, 0.5, 0.01, strength),
            "seed": whole_slider("field seed", 0, 20, seed),
            "solver": choices("solver", list(SOLVERS), ode.RK4),
            "steps": steps_slider("steps", list(COUNTS), 8),
        }
        self._accuracy = ""
        super().__init__("CLEX dynamics", controls, _chart())
        self.listen(self._new_model, "preset")
        self.listen(self._new_flow, "prior", "strength", "seed", "solver", "steps")
        self.listen(self._new_pair, "pair")
        self.listen(self._new_factor, "factor")
        self._new_flow()

    @property
    def clex(self) -> scaling.CLEX:
        """The path drawn now: prior, field, solver and number of steps as the controls say."""
        geometry = presets.by_name(self.preset)
        shape = dict(head_dim=geometry.head_dim, base=geometry.base, window=geometry.window)
        generator = torch.Generator().manual_seed(self.seed)
        field = ode.fill_normal(ode.BoundedField(geometry.pairs, generator=generator), self.strength, generator)
        prior = scaling.by_name(self.prior).default(**shape)
        step = ode.FixedStep(1 / self.steps)
        return scaling.CLEX(**shape, max_factor=MAX_FACTOR, prior=prior, field=field, solver=self.solver, step=step)

    def _new_model(self) -> None:
        pairs = presets.by_name(self.preset).pairs
        self.controls["pair"].max = pairs - 1
        self._new_flow()

    def _new_flow(self) -> None:
        """Solve again: the field, the prior or the solver changed."""
        self._path = self.clex
        self._ratios = over_factors(self._path, self.factors)
        self._prior_ratios = over_factors(self._path.prior, self.factors)
        self._draw_pair({FLOW: joined(self.factors, np.log(self._ratios).T)})
        self.later(self._new_errors)

    def _new_pair(self) -> None:
        self._draw_pair({})

    def _draw_pair(self, curves: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """Draw the given curves, the chosen pair and its velocity field."""
        z, prior = np.log(self._ratios), np.log(self._prior_ratios[:, self.pair])
        low, high = min(z.min(), prior.min()) - 0.2, max(z.max(), 0.0) + 0.2
        of_pair = {
            ARROWS: arrows(self._path, self.pair, factor_grid(MAX_FACTOR, 11)[:-1], np.linspace(low, high, 9)),
            PRIOR: (self.factors, prior),
            PATH: (self.factors, z[:, self.pair]),
        }
        self._paint(curves | of_pair)
        title = self._path.prior.title
        self.chart.rename({PRIOR: title, PRIOR_AT: title, PATH: f"CLEX, pair {self.pair}"})

    def _new_factor(self) -> None:
        self._paint({})

    def _paint(self, curves: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """Draw the given curves and everything that belongs to the chosen factor."""
        factor, pairs = self.factor, np.arange(self._path.pairs)
        prior = numbers(self._path.prior.ratio(factor))
        with torch.no_grad():
            path = prior * numbers(self._path.residual(factor).exp())
        now = np.full(2, factor), np.log([prior[self.pair], path[self.pair]])
        ends = pairs[[0, -1]]
        at_factor = {
            NOW: now,
            BASE: (ends, np.ones(2)),
            FULL: (ends, np.full(2, 1 / factor)),
            PRIOR_AT: (pairs, prior),
            PATH_AT: (pairs, path),
        }
        self.chart.draw(curves | at_factor)
        self._finding = self._describe(factor, path / prior)
        self.say(self._finding + self._accuracy)

    def _describe(self, factor: float, moved: np.ndarray) -> str:
        furthest = int(np.abs(np.log(moved)).argmax())
        return (
            f"At t = {factor:.3g} the field moves θ of pair {self.pair} to <b>{moved[self.pair]:.3g} ×</b> its prior,"
            f" at most pair {furthest}: {moved[furthest]:.3g} ×."
        )

    def _new_errors(self) -> None:
        """Fixed steps against an adaptive float64 solve of the same field, from 1 to the end of the drawn range."""
        field = copy.deepcopy(self._path.field).double()
        exact = self._solved(field, ode.DOPRI8, ode.Tolerance())
        runs = [self._solved(field, self.solver, ode.FixedStep(1 / count)) for count in COUNTS]
        errors = np.array([np.abs(run - exact).max() for run in runs])
        chosen = errors[COUNTS.index(self.steps)]
        self.chart.draw({ERRORS: (np.array(COUNTS), errors), ERROR: (np.array([self.steps]), np.array([chosen]))})
        self._accuracy = f" {self.steps} {self.solver.name} steps to t = {MAX_FACTOR:g} miss ln θ by <b>{chosen:.1e}</b>."
        self.say(self._finding + self._accuracy)

    def _solved(self, field: ode.BoundedField, solver: ode.Solver, step: ode.Step) -> np.ndarray:
        path = self._path
        shape = dict(head_dim=path.head_dim, base=path.base, window=path.window)
        with torch.no_grad():
            return numbers(scaling.CLEX(**shape, field=field, solver=solver, step=step).residual(MAX_FACTOR))


def _chart() -> LiveChart:
    panels = (
        Panel("Flow of ln θ", Axis("factor t", scale="log2"), Axis(Z_AXIS)),
        Panel("θ(t) beside its prior", Axis("pair j"), Axis("θ(t) / θ(1)", scale="log2")),
        Panel("Solver error", Axis("steps from 1 to t", scale="log2", low=0.85, high=28), Axis(ERROR_AXIS, scale="log10")),
    )
    blue, mark = style.COLOURS[0], style.COLOURS[3]
    curves = (
        Curve(0, "all pairs", colour=blue, width=1, opacity=0.7, told=False),
        Curve(0, "velocity field", width=1, told=False),
        Curve(0, "prior", **look(1, 3)),
        Curve(0, "CLEX", colour=blue, width=4),
        Curve(0, "at t", colour=mark, marker=12, told=False),
        Curve(1, "untouched", width=1, legend=False),
        Curve(1, "1/t", dash="dash", width=1),
        Curve(1, "prior", **look(1, 3), legend=False),
        Curve(1, "CLEX", colour=blue, legend=False),
        Curve(2, "fixed steps", **look(0), marker=8, legend=False),
        Curve(2, "chosen", colour=mark, width=0, marker=12, legend=False, told=False),
    )
    return LiveChart(panels, curves)
