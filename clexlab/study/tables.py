"""Records of a study as one table: a line a method, mean and spread over seeds."""

from collections.abc import Sequence

from clexlab import evaluation
from clexlab.results import Record
from clexlab.study.ladder import LADDER
from clexlab.study.methods import ROWS

# Exact recall by its name in a record and in a table; it is a share, shown in percent.
RECALL = {"passkey": "pass key", "copy": "copy"}


def by_row(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the name of their row, seeds in order; rows in the order of the study, then of the ladder.

    Raises ValueError for records of something else, and of several profiles, whose budgets differ.
    """
    for record in records:
        if not {"row", "profile", "title"} <= set(record.config):
            raise ValueError(f"{record.run} of {record.experiment} is not a record of a study; read those of clexlab run study")
    profiles = sorted({record.config["profile"] for record in records})
    if len(profiles) > 1:
        raise ValueError(f"the records are of profiles {', '.join(profiles)}, whose budgets differ; choose one of them")
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.seed):
        found.setdefault(record.config["row"], []).append(record)
    order = {row.name: place for place, row in enumerate((*ROWS, *LADDER))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def table(records: Sequence[Record]) -> str:
    """A Markdown table of `last` in nats per token and of exact recall in percent, mean ± standard deviation over seeds."""
    rows = by_row(records)
    losses = evaluation.by_method(records)
    measured = [name for name in RECALL if any(record.metrics.get(name) for record in records)]
    recalled = {name: evaluation.by_method(records, name) for name in measured}
    lengths = _factors(losses)
    asked = [(name, factor) for name, spreads in recalled.items() for factor in _factors(spreads)]
    lines = [["method", "seeds", *(f"{factor}×" for factor in lengths), *(f"{RECALL[name]} {factor}×" for name, factor in asked)]]
    lines.append(["---"] * len(lines[0]))
    for name, seeds in rows.items():
        cells = [str(losses[name].get(factor, "–")) for factor in lengths]
        cells += [_percent(recalled[task].get(name, {}).get(factor)) for task, factor in asked]
        trained = seeds[0].config["tuning"] is not None
        lines.append([seeds[0].config["title"], str(len(seeds)) if trained else "–", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _factors(spreads: dict[str, dict[str, evaluation.Spread]]) -> list[str]:
    return sorted({factor for values in spreads.values() for factor in values}, key=float)


def _percent(share: evaluation.Spread | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share.mean:.0f} %" + (f" ± {100 * share.deviation:.0f}" if share.seeds > 1 else "")
