"""What LengthExplorer draws, without any widget: records by method, a measure by length and seed, differences, a finding."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.evaluation import Spread, by_method
from clexlab.evaluation.seeds import check
from clexlab.results import Record
from clexlab.study.tables import ORDER


@dataclass(frozen=True)
class Measure:
    """A metric by factor: its name in records, its title and unit, what its numbers are multiplied by, and whether more is better."""

    name: str
    title: str
    unit: str
    times: float = 1.0
    more_is_better: bool = False


MEASURES = (
    Measure("last", "last quarter of a window", "nats per token"),
    Measure("whole", "whole text", "nats per token"),
    Measure("passkey", "pass key found", "%", 100.0, True),
    Measure("copy", "span copied", "%", 100.0, True),
)
# A value by seed at every length, shortest first.
ByLength = dict[float, Spread]


class Study:
    """Records of one budget and one window. `titles` maps methods to what they are called, `controls` to what they have to beat.

    Any records of `evaluation.record` will do; those of a study bring titles, controls and profiles. Of several profiles, whose
    budgets differ, `profile` is one. Raises ValueError as `evaluation.by_method` does.
    """

    def __init__(self, records: Sequence[Record], profile: str = "") -> None:
        found = [record for record in records if record.config.get("profile", "") == profile]
        check(found)
        # The order of the study's tables; what is in none of them comes as it was given.
        self.records = sorted(found, key=lambda record: ORDER.get(record.config["method"], math.inf))
        configs = {record.config["method"]: record.config for record in self.records}
        titles = {method: config.get("title") or method for method, config in configs.items()}
        repeated = {title for title in titles.values() if list(titles.values()).count(title) > 1}
        self.titles = {method: method if title in repeated else title for method, title in titles.items()}
        self.controls = {method: config["control"] for method, config in configs.items() if config.get("control") in configs}
        self.window = self.records[0].config["window"]
        self._tables = {measure.name: self._table(measure) for measure in MEASURES if self._has(measure)}
        self.measures = tuple(measure for measure in MEASURES if any(self._tables.get(measure.name, {}).values()))
        self.factors = tuple(sorted({factor for table in self._tables.values() for lengths in table.values() for factor in lengths}))
        self.seeds = tuple(sorted({record.seed for record in self.records if self._count(record.config["method"]) > 1}))

    def _has(self, measure: Measure) -> bool:
        return any(isinstance(record.metrics.get(measure.name), dict) for record in self.records)

    def _table(self, measure: Measure) -> dict[str, ByLength]:
        return {
            method: {
                float(factor): Spread(by_seed={seed: measure.times * value for seed, value in spread.by_seed.items()})
                for factor, spread in lengths.items()
            }
            for method, lengths in by_method(self.records, measure.name).items()
        }

    def _count(self, method: str) -> int:
        return sum(record.config["method"] == method for record in self.records)

    def values(self, method: str, measure: Measure, seed: int | None = None, baseline: str = "") -> ByLength:
        """A method's `measure` at every length: all seeds or one, itself or its difference to `baseline`.

        What has a single run stands for every seed: nothing was trained, or there is no other. Differences are taken within a seed.
        """
        table = self._tables.get(measure.name, {})
        values = table.get(method, {})
        if baseline:
            other = table.get(baseline, {})
            values = {factor: _difference(spread, other[factor]) for factor, spread in values.items() if factor in other}
        if seed is not None:
            values = {factor: _of_seed(spread, seed) for factor, spread in values.items()}
        return {factor: spread for factor, spread in values.items() if spread.seeds}


def profiles(records: Sequence[Record]) -> tuple[str, ...]:
    """The budgets among the records, the one with the most records first."""
    found = [record.config.get("profile", "") for record in records]
    return tuple(sorted(set(found), key=found.count, reverse=True))


def _difference(one: Spread, other: Spread) -> Spread:
    """Seed by seed; a single run is compared with every run of the other."""
    if one.by_seed.keys() & other.by_seed.keys():
        return Spread(by_seed={seed: one.by_seed[seed] - other.by_seed[seed] for seed in one.by_seed if seed in other.by_seed})
    if one.seeds == 1:
        return Spread(by_seed={seed: one.mean - value for seed, value in other.by_seed.items()})
    if other.seeds == 1:
        return Spread(by_seed={seed: value - other.mean for seed, value in one.by_seed.items()})
    return Spread(by_seed={})


def _of_seed(spread: Spread, seed: int) -> Spread:
    if spread.seeds == 1:
        return spread
    return Spread(by_seed={seed: spread.by_seed[seed]} if seed in spread.by_seed else {})


def finding(study: Study, chosen: Sequence[str], measure: Measure, factor: float, seed: int | None, baseline: str) -> str:
    """The sentence below the chart: the best of the chosen at this length, and beside it what it has to beat.

    That is `baseline` if there is one, else the method's own control, else the next best. Seeds that overlap are said to.
    """
    at = {method: study.values(method, measure, seed).get(factor) for method in study.titles}
    there = [method for method in chosen if at.get(method) is not None]
    where = f"At {factor:g} × window ({factor * study.window:,.0f} tokens)"
    if not there:
        return f"{where} none of the chosen methods was measured."
    order = sorted(there, key=lambda method: at[method].mean, reverse=measure.more_is_better)
    best = order[0]
    said = f"{where}, {measure.title}, {measure.unit}: {_told(study, best, at[best], measure)}"
    said += f", the {'highest' if measure.more_is_better else 'lowest'} of {len(there)}" if len(there) > 1 else ""
    rival, role = _rival(study, best, order, at, baseline)
    if rival is None:
        return f"{said}."
    gap = study.values(best, measure, seed, rival).get(factor)
    return f"{said}; {role}, {_told(study, rival, at[rival], measure)}.{_verdict(gap, at[best], at[rival], measure)}"


def _rival(study: Study, best: str, order: list[str], at: dict[str, Spread | None], baseline: str) -> tuple[str | None, str]:
    for rival, role in ((baseline, "the baseline"), (study.controls.get(best), "its control")):
        if rival and rival != best and at.get(rival) is not None:
            return rival, role
    return (order[1], "the next") if len(order) > 1 else (None, "")


def _told(study: Study, method: str, spread: Spread, measure: Measure) -> str:
    band = f" ({_number(spread.low, measure)} to {_number(spread.high, measure)}, {spread.seeds} seeds)" if spread.seeds > 1 else ""
    return f"{html.escape(study.titles[method])} <b>{_number(spread.mean, measure)}</b>{band}"


def _verdict(gap: Spread | None, one: Spread, other: Spread, measure: Measure) -> str:
    """How far two methods are apart, and what the seeds say to that."""
    if gap is None:
        return " They have no seed in common."
    said = f" Difference {_number(gap.mean, measure, sign='+')}"
    if gap.seeds < 2:
        return f"{said}, one run: no spread is known."
    said += f" ({_number(gap.low, measure, sign='+')} to {_number(gap.high, measure, sign='+')} by seed)"
    if one.high < other.low or other.high < one.low:
        return f"{said}: more than the spread of the seeds."
    if gap.low > 0 or gap.high < 0:
        return f"{said}: less than the spread of the seeds, but of one sign in all {gap.seeds}."
    return f"{said}: the seeds do not agree that there is one."


def _number(value: float, measure: Measure, sign: str = "") -> str:
    return f"{value:{sign}.{0 if measure.unit == '%' else 3}f}".replace("-", "−")
