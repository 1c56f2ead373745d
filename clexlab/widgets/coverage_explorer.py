"""CoverageExplorer: which distances a training recipe ever shows, how often, and what its rows look like."""

from dataclasses import fields

import numpy as np
import torch

from clexlab import positions
from clexlab.figures import style
from clexlab.figures.coverage import strips
from clexlab.positions.seen import Seen, known_coverage, known_pairs, seen
from clexlab.widgets.explorer import Explorer, choices, control, steps_slider, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, look

RECIPES = (*positions.SAMPLERS, *positions.SEGMENTS, positions.Sentences)
WINDOWS, SENTENCES = (16, 32, 64), (2, 4, 8, 16)
MOST_WINDOWS = 16
T_DRAWN = (
    ("always t", positions.FixedFactor),
    ("1, 2, … t", positions.WholeFactors),
    ("even in [1, t]", positions.UniformFactors),
    ("even in ln t", positions.LogUniformFactors),
)
CUTS = (("anywhere (paper)", positions.Anywhere()), ("in the first half (code)", positions.FirstHalf()))
# What a recipe may have beside its window and factors, by the name of the control that sets it.
OPTIONS = ("chunks", "cut", "pieces", "alpha", "fixed", "sentences")
# The largest t·window at which a formula is waited for once the hand rests, where it is not computed at once.
AFFORDABLE = {
    positions.Scattered: 512,
    positions.RandomPos: 512,
    positions.SkipWise: 256,
    positions.ChunkSegments: 256,
    positions.PrefixSegments: 64,
    positions.Sentences: 256,
}
SHOWN, QUICK, MANY = 20, 40, 800
NOTHING = (np.zeros(0), np.zeros(0))
ROWS, UNLEARNED, ROW_WINDOW, ROW_END, MET_FULL, MET, MET_KNOWN, MET_WINDOW, PAIRS_FULL, PAIRS, PAIRS_KNOWN, PAIRS_WINDOW = range(12)


class CoverageExplorer(Explorer):
    """The distances that rows of one window hold when their positions come from a text of t windows.

    Left: drawn rows as strips of their positions. Middle: C(δ), the share of rows with a pair δ apart; right: how many such
    pairs a row has on average. Formulas are drawn as solid lines where there are some, counts of drawn rows as dotted ones, and the
    sentence says which it reads. Counts are of few rows while a control moves and of many once it rests.

    Attributes, readable and settable: `recipe` (a name of RECIPES), `window` (tokens), `factor` (t), `factors` (a class of
    `positions.FACTORS`), `seed`, and the recipes' options `chunks`, `cut`, `pieces`, `alpha`, `fixed`, `sentences` (tokens in each).
    `sampler` is the one drawn now, `counted` what was counted.
    """

    recipe, window, factor = control("recipe"), control("window"), control("factor")
    factors, seed = control("factors"), control("seed")
    chunks, cut, pieces = control("chunks"), control("cut"), control("pieces")
    alpha, fixed, sentences = control("alpha"), control("fixed"), control("sentences")

    def __init__(self, recipe: str = "skip_wise", window: int = 32, factor: int = 8) -> None:
        controls = {
            "recipe": choices("recipe", [(kind.title, kind.name) for kind in RECIPES], recipe),
            "window": steps_slider("window", list(WINDOWS), window),
            "factor": whole_slider("factor t", 1, MOST_WINDOWS, factor),
            "factors": choices("t drawn", list(T_DRAWN), positions.FixedFactor),
            "chunks": whole_slider("chunks", 1, 8, 2),
            "cut": choices("cut", list(CUTS), CUTS[0][1]),
            "pieces": steps_slider("pieces", [1, 2, 4, 8], 4),
            "alpha": steps_slider("run's share α", [0.125, 0.25, 0.5, 1.0], 0.25),
            "fixed": whole_slider("first tokens", 0, 16, 4),
            "sentences": steps_slider("a sentence has", list(SENTENCES), 8),
            "seed": whole_slider("seed of draws", 0, 20, 0),
        }
        super().__init__("Which distances are seen", controls, _chart())
        self.listen(self._new_recipe, "recipe")
        self.listen(self._draw, *(name for name in controls if name != "recipe"))
        self._new_recipe()

    @property
    def sampler(self) -> positions.Sampler:
        """The recipe with everything its controls say; ValueError where its options do not fit each other."""
        kind, factors = self._kind, self.factors(float(self.factor))
        more = {name: getattr(self, name) for name in OPTIONS if name in self._options}
        if "sentences" in more:
            more["sentences"] = (self.sentences,) * (self.window // self.sentences)
        # Ordinary positions have no window; with t > 1 they are still those of the row alone.
        return kind(factors=factors, **({"window": self.window} if "window" in self._options else {}), **more)

    @property
    def slots(self) -> int:
        """How many positions a text of t windows has, t being the largest drawn."""
        return self.window * self.factor

    @property
    def _kind(self) -> type:
        return next(kind for kind in RECIPES if kind.name == self.recipe)

    @property
    def _options(self) -> set[str]:
        return {field.name for field in fields(self._kind)}

    def _new_recipe(self) -> None:
        for name in OPTIONS:
            self.controls[name].layout.display = None if name in self._options else "none"
        self._draw()

    def _draw(self) -> None:
        """Few rows at once, and the formula if it is quick."""
        sampler = self.sampler
        self._count(sampler, QUICK)
        quick = self._kind not in AFFORDABLE or (self._kind is positions.SkipWise and self.chunks <= 2)
        self._quickly = self._known(sampler) if quick else None
        self._show(*(self._quickly or (None, None)))
        self.later(self._refine)

    def _refine(self) -> None:
        """Many rows instead of few, and the formula where it is worth its seconds."""
        sampler = self.sampler
        self._count(sampler, MANY)
        known = self._quickly
        if known is None and self.slots <= AFFORDABLE[self._kind]:
            known = self._known(sampler)
        self._show(*(known or (None, None)))

    def _known(self, sampler: positions.Sampler) -> tuple[np.ndarray | None, np.ndarray | None]:
        found = (known(sampler, self.window, float(self.factor)) for known in (known_coverage, known_pairs))
        return tuple(None if values is None else _long(values, self.slots) for values in found)

    def _count(self, sampler: positions.Sampler, many: int) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self._draws = [sampler.draw(self.window, generator) for _ in range(many)]
        self.counted: Seen = seen(self._draws, self.window, self.slots)

    def _show(self, met: np.ndarray | None, pairs: np.ndarray | None) -> None:
        """Draw rows and counts, and the formulas C(δ) and pairs(δ) where they are known."""
        window, slots, shown = self.window, self.slots, self._draws[:SHOWN]
        distance, counts = np.arange(1, slots), self.counted
        counted_met, counted_pairs = (None if met is not None else counts.coverage), (None if pairs is not None else counts.pairs)
        tall = np.array([-1.0, len(shown)])
        self.chart.draw(
            {
                ROWS: strips(shown, slots),
                UNLEARNED: strips(shown, slots, learned=False),
                ROW_WINDOW: (np.full(2, window - 0.5), tall),
                ROW_END: (np.full(2, slots - 0.5), tall),
                MET_FULL: (distance, np.ones(len(distance))),
                MET: _curve(distance, counted_met),
                MET_KNOWN: _curve(distance, met),
                MET_WINDOW: (np.full(2, float(window)), np.array([0.0, 1.0])),
                PAIRS_FULL: (distance, (slots - distance).astype(float)),
                PAIRS: _curve(distance, counted_pairs),
                PAIRS_KNOWN: _curve(distance, pairs),
                PAIRS_WINDOW: (np.full(2, float(window)), np.array([0.05, float(slots)])),
            }
        )
        self.say(self._describe(counts.coverage.numpy() if met is None else met, met is not None))

    def _describe(self, met: np.ndarray, by_formula: bool) -> str:
        counts, window = self.counted, self.window
        source = "by formula" if by_formula else f"counted in {counts.draws} rows"
        rows = f"in {counts.draws} rows"
        words = f"<b>{self._kind.title}</b>: {counts.neighbours:.1%} of neighbours keep distance 1 ({rows})."
        beyond = met[window:]
        if not len(beyond):
            return f"{words} At t = 1 there is no distance beyond the window."
        found = int((beyond > 0).sum())
        words += f" Of the {len(beyond):,} distances from {window} to {self.slots - 1:,} <b>{found:,}</b> are met, one of them in"
        words += f" {beyond.mean():.1%} of rows on average, {beyond.min():.1%} to {beyond.max():.1%} ({source})."
        return words + f" Tokens seen from further than a window: <b>{counts.far_keys:.1f}</b> of {window} in a row ({rows})."


def _curve(x: np.ndarray, values: "torch.Tensor | np.ndarray | None") -> tuple[np.ndarray, np.ndarray]:
    """From δ = 1 on; what is never met has no place on the logarithmic axis, and 0 on the other."""
    return NOTHING if values is None else (x, np.asarray(values, dtype=float)[1:])


def _long(values: torch.Tensor, slots: int) -> np.ndarray:
    """The values by distance up to `slots`: 0 beyond what the recipe can reach."""
    return np.pad(values.numpy(), (0, max(0, slots - len(values))))[:slots]


def _chart() -> LiveChart:
    panels = (
        Panel("Drawn rows", Axis("position", "tokens"), Axis("row", low=-1, high=SHOWN)),
        Panel("Distances met", Axis("distance δ", "tokens"), Axis("C(δ), share of rows", low=0.0, high=1.02)),
        Panel("Pairs at a distance", Axis("distance δ", "tokens", scale="log2"), Axis("pairs δ apart, mean of a row", scale="log10")),
    )
    blue, mark = style.COLOURS[0], style.COLOURS[1]
    dotted = dict(colour=mark, dash="dot", passing=True)
    window = dict(dash="dash", width=1, told=False)
    curves = (
        Curve(0, "tokens of a row", colour=blue, width=7, told=False),
        Curve(0, "read, not in the loss", width=7, told=False, opacity=0.6, passing=True),
        Curve(0, "window", **window),
        Curve(0, "t · window", dash="dot", width=1, told=False),
        Curve(1, "full length", **look(2)),
        Curve(1, "C counted", **dotted),
        Curve(1, "C by formula", colour=mark, passing=True),
        Curve(1, "window", **window, legend=False),
        Curve(2, "full length", **look(2), legend=False),
        Curve(2, "pairs counted", **dotted),
        Curve(2, "pairs by formula", colour=mark, passing=True),
        Curve(2, "window", **window, legend=False),
    )
    return LiveChart(panels, curves)
