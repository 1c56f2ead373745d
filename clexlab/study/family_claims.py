"""What papers say of biases, maps and patterns, beside the records of the families: two rows, or one at two lengths, seed by seed.

A claim is a list of differences of one measure. What has no record is not guessed; seeds that disagree are said to. The papers' models are
a thousand times larger: what fails here is not refuted there.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.results import Record
from clexlab.study.tables import by_row

# What can be compared: nats per token, and shares of trials.
MEASURES = ("loss at 1×", "loss at 8×", "rise from 1× to 8×", "near marks at 8×", "far marks at 8×")


@dataclass(frozen=True)
class Gap:
    """The `measure` of row `one` minus that of row `other`; ValueError for a measure that there is not."""

    one: str
    other: str
    measure: str

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(f"measure is {self.measure!r}; choose one of {', '.join(MEASURES)}")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`says` is what the paper has, in words; `gaps` are what answers it here."""

    paper: str
    says: str
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A gap by seed, under the titles of its rows."""

    titles: tuple[str, str]
    measure: str
    by_seed: dict[int, float]

    @property
    def verdict(self) -> str:
        """Whether every seed says the same; one seed says nothing."""
        if len(self.by_seed) < 2:
            return "one seed decides nothing"
        low, high = min(self.by_seed.values()), max(self.by_seed.values())
        if low == high == 0:
            return "no difference"
        return "lower in every seed" if high < 0 else "higher in every seed" if low > 0 else "the seeds disagree"

    def __str__(self) -> str:
        values = self.by_seed.values()
        spread = f" [{min(values):+.3f} … {max(values):+.3f}]" if len(values) > 1 else ""
        return f"{self.measure}: {self.titles[0]} − {self.titles[1]} {statistics.fmean(values):+.3f}{spread}, {self.verdict}"


ALIBI = "https://arxiv.org/abs/2108.12409"
LAST, RISE, _, FAR = MEASURES[1:]

CLAIMS = (
    Claim(paper=ALIBI, says="ALiBi's loss does not rise beyond the window, RoPE's does", gaps=(Gap("bias-alibi", "rope", RISE),)),
    Claim(
        paper=ALIBI,
        says="beyond the window ALiBi is better than T5's bias, and that better than RoPE",
        gaps=(Gap("bias-alibi", "bias-t5", LAST), Gap("bias-t5", "rope", LAST)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2312.17044",
        says="a flat loss of ALiBi comes from not looking far: it recalls little of what is far",
        gaps=(Gap("bias-alibi", "bias-t5", FAR), Gap("bias-alibi", "bias-fire", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2310.13017",
        says="interpolating ALiBi helps beyond the window: language modelling and retrieval",
        gaps=(Gap("bias-interpolated-alibi", "bias-alibi", LAST), Gap("bias-interpolated-alibi", "bias-alibi", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2205.09921",
        says="KERPLE's logarithm is better beyond the window than ALiBi, and than its own power",
        gaps=(Gap("bias-kerple-log", "bias-alibi", LAST), Gap("bias-kerple-log", "bias-kerple-power", LAST)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2212.10356",
        says="Sandwich is as flat as ALiBi and sees more",
        gaps=(Gap("bias-sandwich", "bias-alibi", LAST), Gap("bias-sandwich", "bias-alibi", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2310.04418",
        says="FIRE generalises to longer text better than ALiBi and KERPLE",
        gaps=(Gap("bias-fire", "bias-alibi", LAST), Gap("bias-fire", "bias-kerple-log", LAST)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2305.19466",
        says="without positions small tasks carry over to longer text better than with ALiBi or RoPE",
        gaps=(Gap("bias-nope", "bias-alibi", FAR), Gap("bias-nope", "rope", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2309.17453",
        says="first and recent tokens alone keep the loss of a text of any length, and recall nothing that was evicted",
        gaps=(Gap("rope-sinks", "rope", RISE), Gap("rope-sinks", "rope-rerope", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2401.01325",
        says="grouped positions read far without training, better than interpolated angles",
        gaps=(Gap("rope-self-extend", "rope-yarn", LAST), Gap("rope-self-extend", "rope-yarn", FAR)),
    ),
    Claim(
        paper="https://arxiv.org/abs/2309.12307",
        says="moving the chunks of half of the heads is better than chunks that never meet",
        gaps=(Gap("sparse-s2", "sparse-local", "loss at 1×"),),
    ),
)


def answers(claim: Claim, records: Sequence[Record]) -> list[Answer]:
    """Every gap of the claim whose rows have seeds in common; ValueError as `study.by_row` raises it."""
    rows = {name: {one.seed: one for one in several} for name, several in by_row(records).items()}
    found = []
    for each in claim.gaps:
        one, other = rows.get(each.one, {}), rows.get(each.other, {})
        seeds = sorted(set(one) & set(other))
        if seeds:
            by_seed = {seed: measured(one[seed], each.measure) - measured(other[seed], each.measure) for seed in seeds}
            titles = tuple(several[seeds[0]].config["title"] for several in (one, other))
            found.append(Answer(titles=titles, measure=each.measure, by_seed=by_seed))
    return found


def missing(claim: Claim, records: Sequence[Record]) -> list[str]:
    """The rows that the claim asks for and no record is of."""
    there = set(by_row(records))
    return sorted({name for each in claim.gaps for name in (each.one, each.other)} - there)


def measured(record: Record, measure: str) -> float:
    """One of `MEASURES` of a record: nats per token, or the share of marks found near (the shallowest depth) or far (the deepest)."""
    last, deep = record.metrics["last"], record.metrics["mark_by_depth"]["8"]
    near, far = (deep[choose(deep, key=float)] for choose in (max, min))
    return dict(zip(MEASURES, (last["1"], last["8"], last["8"] - last["1"], near, far), strict=True))[measure]
