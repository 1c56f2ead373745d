"""SearchExplorer: a search generation by generation: its population, what it gains, and how much of that holds on held-out text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clexlab import results
from clexlab.figures import style
from clexlab.figures.panels import joined
from clexlab.widgets.explorer import Explorer, choices, control, whole_slider
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, as_look, look

# Explorers that need no model shall not load transformers, which a search does.
if TYPE_CHECKING:
    from clexlab.search import Genome, History
    from clexlab.widgets.search_views import View

ITSELF, RATIO = "itself", "ratio"
POPULATION, CHOSEN, ORDER, FIRST_ORDER, THIS, LEVEL, SEARCH, HELD_OUT, ZERO, NOW, METHODS = range(11)


class SearchExplorer(Explorer):
    """The individuals of one generation, and what the best of each gains on the texts it was chosen by and on held-out text.

    Left: λ of every pair, the generation's individuals thin, one of them thick, what the search began with beside it. Middle: the
    generation in order of fitness. Right: the best of every generation minus the reference, on search texts and on held-out text.

    `source` is an experiment's name, whose records are read from data/results, a record or several, or a `search.History`; beside a
    history `held_out` gives losses of its genomes on held-out text, means or those of every document, and `references` name the
    genomes it began with. Nothing is measured here.

    Attributes, readable and settable: `generation`, `rank` (0 the best), `reference` (a name), `shown` ("itself" or "ratio", λ
    divided by the reference's), `run` (the place of a record). `view` is the `search_views.View` drawn now.
    """

    generation, rank, reference = control("generation"), control("rank"), control("reference")
    shown, run = control("shown"), control("run")

    def __init__(
        self,
        source: "str | History | results.Record | Sequence[results.Record]" = "search",
        held_out: "Mapping[Genome, float | Sequence[float]] | None" = None,
        references: Sequence[str] = ("PI", "NTK", "YaRN"),
    ) -> None:
        from clexlab.widgets.search_views import finding, views_of

        self._finding = finding
        found = results.read_all(source) if isinstance(source, str) else source
        self._source = f"data/results/{source}" if isinstance(source, str) else "what was given"
        self.views = views_of(found, held_out or {}, references)
        names = self.views[0].references if self.views else tuple(references)
        if any(view.references != names for view in self.views):
            raise ValueError("the searches began with other methods; open an explorer for each")
        last = len(self.views[0].history.generations) - 1 if self.views else 0
        controls = {
            "generation": whole_slider("generation", 0, last, last),
            "rank": whole_slider("individual", 0, self._ranks(0), 0),
            "reference": choices("against", list(names), names[-1]),
            "shown": choices("drawn", [("divisor λ", ITSELF), ("λ / λ of that", RATIO)], ITSELF),
            "run": choices("search", [(view.title, place) for place, view in enumerate(self.views)] or [("none", 0)], 0),
        }
        super().__init__("Search for divisors", controls, _chart(names))
        if len(self.views) < 2:
            controls["run"].layout.display = "none"
        self.listen(self._new_search, "run")
        self.listen(self._draw, "generation", "rank", "reference", "shown")
        self._draw()

    @property
    def view(self) -> "View | None":
        """The search drawn now; None where there is none."""
        return self.views[self.run] if self.views else None

    def _ranks(self, place: int) -> int:
        """The last place of the smallest generation, which every generation has."""
        return min(len(one.genomes) for one in self.views[place].history.generations) - 1 if self.views else 0

    def _new_search(self) -> None:
        self.controls["rank"].max = self._ranks(self.run)
        self.controls["generation"].max = len(self.view.history.generations) - 1
        self._draw()

    def _draw(self) -> None:
        if self.view is None:
            self.say(f"There is no search in {self._source}. <code>clexlab search</code> makes one; <b>nothing</b> is measured here.")
            return
        population = self.view.population(self.generation)
        base = np.array(self.view.reference(self.reference).factors) if self.shown == RATIO else 1.0
        self.chart.draw(self._factors(population, base) | self._order(population) | self._gains())
        y = Axis(f"λ / λ of {self.reference}" if self.shown == RATIO else "divisor λ", scale="log2")
        self.chart.relabel(0, Panel("Divisor of every pair", Axis("pair j"), y))
        self.chart.relabel(2, _gain_panel(self.reference))
        self.chart.rename({LEVEL: self.reference})
        self.say(self._finding(self.view, self.generation, self.rank, self.reference))

    def _factors(self, population: "list[tuple[Genome, float]]", base: np.ndarray | float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        rows = np.array([genome.factors for genome, _ in population]) / base
        pairs = np.arange(rows.shape[1])
        named = {name: np.array(self.view.reference(name).factors) / base for name in self.view.references}
        curves = {METHODS + place: (pairs, factors) for place, factors in enumerate(named.values())}
        return curves | {POPULATION: joined(pairs, rows), CHOSEN: (pairs, rows[self.rank])}

    def _order(self, population: "list[tuple[Genome, float]]") -> dict[int, tuple[np.ndarray, np.ndarray]]:
        losses, first = (np.array([loss for _, loss in one]) for one in (population, self.view.population(0)))
        level = self.view.history.fitness[self.view.reference(self.reference)]
        longest = max(len(losses), len(first))
        return {
            FIRST_ORDER: (np.arange(len(first)), first),
            ORDER: (np.arange(len(losses)), losses),
            THIS: (np.array([self.rank]), losses[[self.rank]]),
            LEVEL: (np.array([0, longest - 1]), np.full(2, level)),
        }

    def _gains(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        search, held_out = self.view.gains(self.reference), self.view.held_out_gains(self.reference)
        generations, known = np.arange(len(search)), ~np.isnan(held_out)
        reach = np.concatenate([search, held_out[known], [0.0]])
        return {
            SEARCH: (generations, search),
            HELD_OUT: (generations[known], held_out[known]),
            ZERO: (generations[[0, -1]], np.zeros(2)),
            NOW: (np.full(2, self.generation), np.array([reach.min(), reach.max()])),
        }


def _gain_panel(reference: str) -> Panel:
    return Panel("Best of every generation", Axis("generation"), Axis(f"minus {reference}", "nats per token"))


def _chart(references: Sequence[str]) -> LiveChart:
    from clexlab.figures.looks import looks_of

    panels = (
        Panel("Divisor of every pair", Axis("pair j"), Axis("divisor λ", scale="log2")),
        Panel("The generation in order", Axis("individual, best first"), Axis("loss, search texts", "nats per token")),
        _gain_panel(references[-1]),
    )
    found, mark = "LongRoPE, searched", style.COLOURS[3]
    looks = {name: as_look(line) for name, line in looks_of([*references, found]).items()}
    searched = looks.pop(found) | dict(dash="solid")
    curves = (
        Curve(0, "generation", width=1, opacity=0.35, told=False),
        Curve(0, "individual", **searched | dict(width=4)),
        Curve(1, "this generation", **look(0), marker=4, legend=False),
        Curve(1, "generation 0", width=1, legend=False),
        Curve(1, "individual shown", colour=mark, width=0, marker=12, legend=False, told=False),
        Curve(1, "reference", dash="dash", width=1, told=False, legend=False),
        Curve(2, "search texts", **look(0), marker=5),
        Curve(2, "held-out text", **look(1), marker=5, passing=True),
        Curve(2, "reference at zero", width=1, told=False, legend=False),
        Curve(2, "shown", colour=mark, width=1, told=False, legend=False),
        *(Curve(0, name, **looks[name]) for name in references),
    )
    return LiveChart(panels, curves)
