"""What papers say of maps of relative positions, beside what records say: two rows on the same texts, and on the same things to recall.

Nothing is trained, so no seeds vary; what varies are texts. A difference of losses has a standard error over texts that both rows read,
and is told as one where it is beyond twice that. Recall is compared trial by trial: one row found it and the other did not.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.results import Record
from clexlab.study.tables import RECALL, by_row

REROPE, STRING = "https://github.com/bojone/rerope", "https://arxiv.org/abs/2410.18745"
GALI, SINKS = "https://arxiv.org/abs/2502.02659", "https://arxiv.org/abs/2309.17453"
SELF_EXTEND, DUAL_CHUNK = "https://arxiv.org/abs/2401.01325", "https://arxiv.org/abs/2402.17463"
LM_INFINITE = "https://arxiv.org/abs/2308.16137"
# A mean beyond so many standard errors is called a difference.
ERRORS = 2.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`says` is what the source has, in words; `one` is said to do better than `other`, or as well, at lengths of `factors` windows.

    `measures` are "last", a loss, and names of `tables.RECALL`, shares.
    """

    paper: str
    says: str
    one: str
    other: str
    factors: tuple[str, ...]
    measures: tuple[str, ...] = ("last",)


LONG, BOTH = ("4", "8", "16"), ("last", "passkey", "copy")
CLAIMS = (
    Claim(paper=REROPE, says="ReRoPE loses nothing at the trained length", one="rerope", other="untouched", factors=("1",), measures=BOTH),
    Claim(paper=REROPE, says="ReRoPE beats a changed path beyond it", one="rerope", other="yarn", factors=LONG, measures=BOTH),
    Claim(
        paper=REROPE, says="far order counts: Leaky ReRoPE's slowed steps beat held ones", one="leaky-rerope", other="rerope", factors=LONG
    ),
    Claim(
        paper=REROPE,
        says="Leaky ReRoPE beats a changed path, too (this lab's question, not the source's)",
        one="leaky-rerope",
        other="yarn",
        factors=LONG,
        measures=BOTH,
    ),
    Claim(paper=SELF_EXTEND, says="Self-Extend extends without tuning", one="self-extend", other="truncation", factors=LONG, measures=BOTH),
    Claim(paper=SELF_EXTEND, says="Self-Extend beats a changed path", one="self-extend", other="yarn", factors=LONG, measures=BOTH),
    Claim(
        paper=SELF_EXTEND,
        says="Self-Extend is safe up to (window - near)·group + near: here groups of 8 end between 4× and 8×",
        one="self-extend-8",
        other="self-extend",
        factors=LONG,
    ),
    Claim(paper=DUAL_CHUNK, says="Dual Chunk keeps its loss far beyond the window", one="dual-chunk", other="truncation", factors=LONG),
    Claim(
        paper=DUAL_CHUNK, says="Dual Chunk goes together with YaRN", one="dual-chunk-yarn", other="dual-chunk", factors=LONG, measures=BOTH
    ),
    Claim(paper=STRING, says="STRING reads better inside the window", one="string", other="untouched", factors=("1",), measures=BOTH),
    Claim(paper=GALI, says="GALI beats Self-Extend", one="gali", other="self-extend", factors=LONG, measures=BOTH),
    Claim(paper=GALI, says="GALI's noise helps", one="gali", other="gali-quiet", factors=LONG, measures=BOTH),
    Claim(
        paper=GALI,
        says="GALI's chunks within the tail keep near keys (a toy's claim, not the paper's)",
        one="gali-chunk",
        other="gali-tail",
        factors=LONG,
        measures=BOTH,
    ),
    Claim(paper=SINKS, says="sinks keep the loss stable at any length", one="sinks", other="truncation", factors=LONG),
    Claim(paper=SINKS, says="sinks recall nothing they dropped", one="sinks", other="yarn", factors=("4", "8"), measures=("passkey",)),
    Claim(
        paper=LM_INFINITE,
        says="one held distance for the first tokens (LM-Infinite) does as well",
        one="lm-infinite",
        other="sinks",
        factors=LONG,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A loss of one row minus the other's at one length, text by text."""

    titles: tuple[str, str]
    by_text: tuple[float, ...]

    @property
    def error(self) -> float:
        """Standard error of the mean over texts; infinite for one text, which says nothing of others."""
        return statistics.stdev(self.by_text) / math.sqrt(len(self.by_text)) if len(self.by_text) > 1 else math.inf

    @property
    def verdict(self) -> str:
        """Whether the mean is beyond twice its error."""
        if not any(self.by_text):
            return "no difference at all"
        if math.isinf(self.error):
            return "one text decides nothing"
        mean = statistics.fmean(self.by_text)
        return "lower" if mean < -ERRORS * self.error else "higher" if mean > ERRORS * self.error else "no difference seen"

    def __str__(self) -> str:
        spread = "" if math.isinf(self.error) else f" ± {self.error:.3f}"
        mean = f"{statistics.fmean(self.by_text):+.3f}{spread} nats"
        return f"{self.titles[0]} − {self.titles[1]}: {mean} over {len(self.by_text)} texts, {self.verdict}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What either row found again at one length, of the same trials at the same depths."""

    titles: tuple[str, str]
    task: str
    mine: tuple[bool, ...]
    other: tuple[bool, ...]

    def __str__(self) -> str:
        pairs = list(zip(self.mine, self.other, strict=True))
        only, lost = (sum(pair == alone for pair in pairs) for alone in ((True, False), (False, True)))
        counts = f"{sum(self.mine)} and {sum(self.other)} of {len(pairs)}, {only} by the first alone, {lost} by the second alone"
        return f"{self.titles[0]} and {self.titles[1]}: {RECALL[self.task]} found {counts}"


def answers(claim: Claim, records: Sequence[Record]) -> dict[str, list[Gap | Found]]:
    """What records of both rows say, by factor, in the order of the claim; ValueError as `study.by_row` raises it, or for other texts.

    A length that either has not measured is left out; where a row has no record, all are.
    """
    rows = {name: several[0] for name, several in by_row(records).items()}
    if missing(claim, records):
        return {}
    mine, other = rows[claim.one], rows[claim.other]
    _check_alike(mine, other)
    found: dict[str, list[Gap | Found]] = {}
    for factor in claim.factors:
        for measure in claim.measures:
            answer = _gap(mine, other, factor) if measure == "last" else _found(mine, other, factor, measure)
            if answer is not None:
                found.setdefault(factor, []).append(answer)
    return found


def missing(claim: Claim, records: Sequence[Record]) -> list[str]:
    """The rows that the claim asks for and no record is of."""
    there = set(by_row(records))
    return [name for name in (claim.one, claim.other) if name not in there]


def _check_alike(mine: Record, other: Record) -> None:
    """Both have to be of the same model, texts and trials; truncation is one more reading of them."""
    for name in ("documents", "weights", "texts", "trials", "depths", "window"):
        if mine.config.get(name) != other.config.get(name):
            raise ValueError(f"{mine.run} and {other.run} differ in {name}: {mine.config.get(name)} and {other.config.get(name)}")


def _titles(mine: Record, other: Record) -> tuple[str, str]:
    return mine.config["title"], other.config["title"]


def _gap(mine: Record, other: Record, factor: str) -> Gap | None:
    losses = [record.metrics.get("last_by_document", {}).get(factor) for record in (mine, other)]
    if None in losses:
        return None
    return Gap(titles=_titles(mine, other), by_text=tuple(a - b for a, b in zip(*losses, strict=True)))


def _found(mine: Record, other: Record, factor: str, task: str) -> Found | None:
    tables = [record.metrics.get(f"{task}_by_trial", {}).get(factor) for record in (mine, other)]
    if None in tables:
        return None
    flat = [tuple(bool(one) for depth in sorted(table, key=float) for one in table[depth]) for table in tables]
    return Found(titles=_titles(mine, other), task=task, mine=flat[0], other=flat[1])
