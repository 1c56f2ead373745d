"""LengthExplorer: records of a study as curves: methods, measure, seeds, difference to a baseline, all chosen by hand."""

from collections.abc import Sequence

import numpy as np

from clexlab import results
from clexlab.figures import style
from clexlab.figures.looks import looks_of
from clexlab.widgets.checks import Checks
from clexlab.widgets.explorer import Explorer, choices, control, steps_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, as_look

# Checked at first where the records are not of a study, whose headline is.
MOST = 6
ALL_SEEDS = "all"
NOTHING = (np.zeros(0), np.zeros(0))
WINDOW, REACH, AT, ZERO, FIRST = range(5)


class LengthExplorer(Explorer):
    """Loss or recall against length, from records: a curve a method, its seeds as a band, the window as a line.

    `records` is an experiment's name, whose records are read from data/results, or records of `evaluation.record`: those of
    `clexlab run study`, of your own experiments, or both. Nothing is measured here.

    Attributes, readable and settable: `methods` (names, as records have them under "method"), `measure` ("last", "whole",
    "passkey", "copy", where the records have it), `seed` (a number, "all" for all), `baseline` (a method, "" for none: else
    differences to it, seed by seed), `factor` (where the sentence reads the curves), `profile` (one budget of several).
    `study` answers in numbers.
    """

    methods, measure, seed = control("methods"), control("measure"), control("seed")
    baseline, factor, profile = control("baseline"), control("factor"), control("profile")

    def __init__(self, records: "str | Sequence[results.Record]" = "study", methods: Sequence[str] | None = None) -> None:
        from clexlab.widgets.length_records import MEASURES, Study, finding, profiles

        self._finding = finding
        self.records = results.read_all(records) if isinstance(records, str) else list(records)
        self._source = f"data/results/{records}" if isinstance(records, str) else "what was given"
        self._studies = {name: Study(self.records, name) for name in profiles(self.records)}
        every = [*self._studies.values()]
        self.titles = {method: title for one in reversed(every) for method, title in one.titles.items()}
        factors = sorted({factor for one in every for factor in one.factors}) or [1.0]
        measured = [measure for measure in MEASURES if any(measure in one.measures for one in every)] or [MEASURES[0]]
        self._measures = {measure.name: measure for measure in measured}
        names = [(f"{title} = 0", method) for method, title in self.titles.items()]
        seeds = sorted({seed for one in every for seed in one.seeds})
        chosen = self._first_choice() if methods is None else methods
        budgets = [(name or "not named", name) for name in self._studies] or [("none", "")]
        controls = {
            "factor": steps_slider("at window ×", [(f"{factor:g}", factor) for factor in factors], factors[-1]),
            "measure": choices("measure", [(measure.title, name) for name, measure in self._measures.items()], measured[0].name),
            "baseline": choices("shown as", [("it was measured", ""), *names], ""),
            "seed": choices("seeds", [("all: mean and band", ALL_SEEDS), *((f"seed {seed}", seed) for seed in seeds)], ALL_SEEDS),
            "profile": choices("budget", budgets, budgets[0][1]),
            "methods": Checks("methods", self.titles, chosen),
        }
        super().__init__("Loss by length", controls, _chart(self.titles))
        if len(budgets) == 1:
            controls["profile"].layout.display = "none"
        self.listen(self._draw, *controls)
        self._draw()

    @property
    def study(self) -> "object | None":
        """The `length_records.Study` of the chosen budget; None where there is no record."""
        return self._studies.get(self.profile)

    def _first_choice(self) -> list[str]:
        """The headline of the study, or else the best few at the longest length.

        Without the untouched model: where it breaks, the axis has no room for what the others differ in.
        """
        if not self._studies:
            return []
        from clexlab.evaluation import UNTOUCHED
        from clexlab.figures.studies import HEADLINE

        headline = [name for name in HEADLINE if name in self.titles and name != UNTOUCHED]
        if headline and all("row" in record.config for record in self.records):
            return headline
        first = next(iter(self._studies.values()))
        values = {method: first.values(method, first.measures[0]) for method in first.titles}
        longest = {method: spreads[max(spreads)].mean for method, spreads in values.items() if spreads}
        return sorted(longest, key=longest.get)[:MOST]

    def _draw(self) -> None:
        if self.study is None:
            self.say(
                f"There is no record in {self._source}. <code>clexlab run study --profile cpu</code> makes some;"
                " <b>nothing</b> is measured here."
            )
            return
        measure, study = self._measures[self.measure], self.study
        seed = None if self.seed == ALL_SEEDS else self.seed
        shown = {method: study.values(method, measure, seed, self.baseline) if method in self.methods else {} for method in self.titles}
        curves = {FIRST + place: NOTHING for place in range(2 * len(shown))}
        for place, spreads in enumerate(shown.values()):
            if spreads:
                lengths = study.window * np.array([*spreads])
                curves[FIRST + len(shown) + place] = lengths, np.array([spread.mean for spread in spreads.values()])
            if max((spread.seeds for spread in spreads.values()), default=0) > 1:
                edge = [spread.low for spread in spreads.values()], [spread.high for spread in spreads.values()][::-1]
                curves[FIRST + place] = np.concatenate([lengths, lengths[::-1]]), np.concatenate(edge)
        self.chart.draw(curves | self._lines([y for _, y in curves.values()]))
        self.chart.relabel(0, _panel(measure, self.titles.get(self.baseline, "")))
        self.say(self._finding(study, self.methods, measure, self.factor, seed, self.baseline))

    def _lines(self, drawn: Sequence[np.ndarray]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """The window and the chosen length as high as the numbers reach, zero as far as the lengths do."""
        heights = np.concatenate(drawn)
        low, high = (heights.min(), heights.max()) if len(heights) else (np.nan, np.nan)
        window, factors = self.study.window, self.study.factors
        reach = np.array([0.85 * window * min(factors), 1.15 * window * max(factors)])
        return {
            WINDOW: (np.full(2, window), np.array([low, high])),
            REACH: (reach, np.full(2, np.nan)),
            AT: (np.full(2, self.factor * window), np.array([low, high])),
            ZERO: (reach, np.zeros(2)) if self.baseline else NOTHING,
        }


def _panel(measure: object, baseline: str) -> Panel:
    y = Axis(f"minus {baseline}" if baseline else measure.title if measure.more_is_better else "loss", measure.unit)
    title = f"{measure.title[0].upper()}{measure.title[1:]}"
    return Panel(f"{title}, difference" if baseline else title, Axis("length", "tokens", scale="log2"), y)


def _chart(titles: dict[str, str]) -> LiveChart:
    looks = [as_look(line) for line in looks_of(titles.values()).values()]
    panel = Panel("Last quarter of a window", Axis("length", "tokens", scale="log2"), Axis("loss", "nats per token"))
    curves = (
        Curve(0, "window", dash="dash", width=1, told=False, passing=True),
        Curve(0, "lengths", width=0, legend=False, told=False),
        Curve(0, "length at", colour=style.COLOURS[3], width=1, told=False, legend=False),
        Curve(0, "baseline", width=1, told=False, legend=False),
        *(
            Curve(0, f"{title}, seeds", colour=one["colour"], width=0, opacity=0.2, fill=True, legend=False, told=False)
            for title, one in zip(titles.values(), looks, strict=True)
        ),
        *(Curve(0, title, **one, marker=8, passing=True) for title, one in zip(titles.values(), looks, strict=True)),
    )
    return LiveChart([panel], curves, height=440)
