"""Records of a study as one table: a line a method, mean and spread over seeds."""

import math
import statistics
from collections.abc import Sequence

from clexlab import evaluation
from clexlab.results import Record
from clexlab.study.families import FAMILIES
from clexlab.study.ladder import LADDER
from clexlab.study.methods import ROWS
from clexlab.study.short import SHORT
from clexlab.study.sparse import SPARSE
from clexlab.study.untrained import UNTRAINED

# The place of every row by its name; a row of several tables has its place in the first.
ORDER = {row.name: place for place, row in reversed([*enumerate((*ROWS, *LADDER, *SHORT, *UNTRAINED, *FAMILIES, *SPARSE))])}
# Exact recall by its name in a record and in a table; it is a share, shown in percent.
RECALL = {"passkey": "pass key", "copy": "copy", "lookup": "cell of a table", "mark": "mark"}


def by_row(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the name of their row, seeds in order; rows in the order of their tables, the study's first.

    Raises ValueError for records of something else, of several profiles, whose budgets differ, and for two of one row and seed.
    """
    for record in records:
        if not {"row", "profile", "title"} <= set(record.config):
            raise ValueError(f"{record.run} of {record.experiment} is not a record of a study; read those of clexlab run study")
    profiles = sorted({record.config["profile"] for record in records})
    if len(profiles) > 1:
        raise ValueError(f"the records are of profiles {', '.join(profiles)}, whose budgets differ; choose one of them")
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.seed):
        several = found.setdefault(record.config["row"], [])
        if several and several[-1].seed == record.seed:
            name = record.config["row"]
            raise ValueError(
                f"{several[-1].run} of {several[-1].experiment} and {record.run} of {record.experiment} are both row {name!r} with seed"
                f" {record.seed}: counted twice, a seed would weigh twice; choose one"
            )
        several.append(record)
    return dict(sorted(found.items(), key=lambda item: ORDER.get(item[0], math.inf)))


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


def near_and_far(records: Sequence[Record], task: str = "mark") -> str:
    """A Markdown table that sets a flat loss beside recall near and far in one length: what is lost, and what is not seen.

    `last` in nats per token, exact recall in percent at the longest text, its deepest and its shallowest place, "far" and "near", and all
    places at the shortest; mean ± standard deviation over seeds. Raises ValueError where no record has `task` by depth, and as `by_row`.
    """
    rows, losses = by_row(records), evaluation.by_method(records)
    by_depth = {record.run: record.metrics.get(f"{task}_by_depth", {}) for record in records}
    factors = sorted({factor for found in by_depth.values() for factor in found}, key=float)
    if not factors:
        raise ValueError(f"no record has {task} by depth; there are {', '.join(sorted(rows)) or 'none'}")
    short, long = factors[0], factors[-1]
    lengths = _factors(losses)
    lines = [["method", "seeds", *(f"{factor}×" for factor in lengths), f"{task} {short}×", f"near {long}×", f"far {long}×"]]
    lines.append(["---"] * len(lines[0]))
    for name, seeds in rows.items():
        found = {one.seed: by_depth[one.run] for one in seeds if {short, long} <= set(by_depth[one.run])}
        ends = [
            {seed: statistics.fmean(one[short].values()) for seed, one in found.items()},
            {seed: one[long][max(one[long], key=float)] for seed, one in found.items()},
            {seed: one[long][min(one[long], key=float)] for seed, one in found.items()},
        ]
        cells = [str(losses[name].get(factor, "–")) for factor in lengths]
        cells += [_percent(evaluation.Spread(by_seed=end) if end else None) for end in ends]
        lines.append([seeds[0].config["title"], str(len(seeds)), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def costs(records: Sequence[Record], beside: str) -> str:
    """A Markdown table of what each training cost: tokens, seconds, memory of a step and of one row, and each beside row `beside`.

    Seconds are wall time, mean over seeds, on a machine that may have done other things: compare those of one machine. Memory is in
    MB of 10⁶ bytes (`memory.peak`); "one row" is the least a step can be made of, if gradients are summed over several. "–" where a record
    does not say. Rows that were not trained have no line. Raises ValueError where `beside` was not trained, and as `by_row` does.
    """
    trained = {name: seeds for name, seeds in by_row(records).items() if seeds[0].config["tuning"] is not None}
    if beside not in trained:
        raise ValueError(f"there is no training of {beside} to compare with; there are {', '.join(trained) or 'none'}")
    heads = ["method", "seeds", "tokens", "seconds", "×", "MB a step", "×", "MB one row", "×"]
    lines = [heads, ["---"] * len(heads)]
    whole = _cost(trained[beside])
    for seeds in trained.values():
        cells = [part for found, full in zip(_cost(seeds), whole, strict=True) for part in _beside(found, full)]
        lines.append([seeds[0].config["title"], str(len(seeds)), f"{seeds[0].tokens:,}", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cost(seeds: Sequence[Record]) -> list[float | None]:
    """Seconds, MB of a step, MB of one row: means over the seeds that have them."""
    memory = [record.metrics["memory"] for record in seeds if record.metrics.get("memory")]
    found = [[record.metrics["training_seconds"] for record in seeds], *([each[name] / 1e6 for each in memory] for name in ("step", "row"))]
    return [statistics.fmean(values) if values else None for values in found]


def _beside(found: float | None, full: float | None) -> tuple[str, str]:
    return "–" if found is None else f"{found:.0f}", "–" if not found or not full else f"{found / full:.2f}"


def _factors(spreads: dict[str, dict[str, evaluation.Spread]]) -> list[str]:
    return sorted({factor for values in spreads.values() for factor in values}, key=float)


def _percent(share: evaluation.Spread | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share.mean:.0f} %" + (f" ± {100 * share.deviation:.0f}" if share.seeds > 1 else "")
