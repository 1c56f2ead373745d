"""Many records beside each other: a method's mean over its seeds, and how far its seeds lie apart.

    mean ± s,   s² = Σ (x_i - mean)² / (n - 1)

The spread s is that of single runs, not the error of the mean: another seed would lie about so far off. Two methods differ beyond
doubt only where their runs do not overlap, for which `Spread` holds the lowest and the highest.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.evaluation import contexts
from clexlab.evaluation.lengths import LengthLoss, LossByLength
from clexlab.results import Record


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One measure of one method at one length: its value by seed."""

    by_seed: dict[int, float]

    @property
    def seeds(self) -> int:
        return len(self.by_seed)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float:
        """Standard deviation of single runs; 0 for a single one, which says nothing about others."""
        return statistics.stdev(self.by_seed.values()) if self.seeds > 1 else 0.0

    @property
    def low(self) -> float:
        return min(self.by_seed.values())

    @property
    def high(self) -> float:
        return max(self.by_seed.values())

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + (f" ± {self.deviation:.3f}" if self.seeds > 1 else "")


def by_method(records: Sequence[Record], measure: str = "last") -> dict[str, dict[str, Spread]]:
    """For every method, in the order of its first record, the spread of `measure` at each factor ("1", "2" …).

    `measure` names a metric by factor: "last", "whole", "passkey", "copy" and others. A method without it has no factors. Raises
    ValueError where no record has it, for records of different windows, and for two of one method and seed.
    """
    check(records)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for record in records:
        values = found.setdefault(record.config["method"], {})
        for factor, value in _by_factor(record, measure).items():
            values.setdefault(factor, {})[record.seed] = value
    if not any(found.values()):
        there = sorted({name for record in records for name in record.metrics if _by_factor(record, name)})
        raise ValueError(f"no record has {measure!r} by factor; they have {', '.join(there) or 'none'}")
    return {
        method: {factor: Spread(by_seed=values[factor]) for factor in sorted(values, key=float)} for method, values in found.items()
    }


def seeds_table(records: Sequence[Record], measure: str = "last") -> str:
    """A Markdown table of mean ± spread over seeds, a line a method, a column a length; "–" where nothing was measured.

    The last column counts seeds. Raises ValueError as `by_method` does.
    """
    spreads = by_method(records, measure)
    factors = sorted({factor for values in spreads.values() for factor in values}, key=float)
    counts = {method: len({record.seed for record in records if record.config["method"] == method}) for method in spreads}
    lines = [[measure, *(f"{factor}×" for factor in factors), "seeds"], ["---"] * (len(factors) + 2)]
    for method, values in spreads.items():
        cells = [_cell(values.get(factor), counts[method]) for factor in factors]
        lines.append([method.replace("|", "\\|"), *cells, str(counts[method])])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def loss_of(record: Record) -> LossByLength:
    """The measurement that `evaluation.record` made this record of, for figures; ValueError for a record of something else."""
    metrics = record.metrics
    missing = {"length", "scale", "last_by_document", "whole", "too_short"} - set(metrics)
    if missing or "window" not in record.config:
        raise ValueError(f"{record.run} of {record.experiment} holds no loss by length; it lacks {', '.join(sorted(missing)) or 'window'}")
    # Older records kept the mean over documents alone.
    whole = metrics.get("whole_by_document", {factor: [value] for factor, value in metrics["whole"].items()})
    rows = [
        LengthLoss(
            factor=float(factor),
            length=metrics["length"][factor],
            scale=metrics["scale"][factor],
            last_by_document=tuple(metrics["last_by_document"][factor]),
            whole_by_document=tuple(whole[factor]),
        )
        for factor in sorted(metrics["length"], key=float)
    ]
    window, context = record.config["window"], contexts.build(record.config)
    return LossByLength(window=window, rows=tuple(rows), too_short=metrics["too_short"], context=context)


def check(records: Sequence[Record]) -> None:
    """Refuse what cannot stand in one table."""
    if not records:
        raise ValueError("records is empty; read some with clexlab.results.read_all(experiment)")
    for record in records:
        if "method" not in record.config or "window" not in record.config:
            raise ValueError(f"{record.run} of {record.experiment} names no method and window; it is not a record of evaluation.record")
    windows = sorted({record.config["window"] for record in records})
    if len(windows) > 1:
        raise ValueError(f"records have windows {windows}; lengths are compared within one window")
    seen: dict[tuple[str, int], str] = {}
    for record in records:
        key = (record.config["method"], record.seed)
        if key in seen:
            raise ValueError(
                f"{seen[key]} and {record.run} are both {key[0]!r} with seed {key[1]}: counted twice, a seed would weigh twice; choose one"
            )
        seen[key] = record.run


def _by_factor(record: Record, measure: str) -> dict[str, float]:
    """The metric where it is numbers by factor, else nothing."""
    values = record.metrics.get(measure)
    if not isinstance(values, dict) or not all(isinstance(value, (int, float)) for value in values.values()):
        return {}
    return {factor: float(value) for factor, value in values.items() if factor.replace(".", "", 1).isdecimal()}


def _cell(spread: Spread | None, seeds: int) -> str:
    if spread is None:
        return "–"
    return str(spread) if spread.seeds == seeds else f"{spread} ({spread.seeds} of {seeds})"
