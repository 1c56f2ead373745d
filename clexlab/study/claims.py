"""What papers say of training short, beside what records say: two rows under one path, seed by seed.

A claim names the pairs of rows that can answer it, of `SHORT` and of the study: the one that is said to be better or as good first. What
has no record is named, not guessed.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.results import Record
from clexlab.study.tables import by_row

POSE = "https://arxiv.org/abs/2309.10400"
SEGMENTS = "https://arxiv.org/abs/2310.14633"
# Rows of plain tuning by the path they are read under, which ends a row's name.
PLAIN = {"yarn": "plain-yarn", "linear": "plain-linear"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`says` is what the paper has, in words; `pairs` are names of rows that answer it here."""

    paper: str
    says: str
    pairs: tuple[tuple[str, str], ...]


def under_both(one: str, other: str) -> tuple[tuple[str, str], ...]:
    """The pair of recipes under YaRN and under PI."""
    return tuple((f"{one}-{path}", f"{other}-{path}") for path in PLAIN)


CLAIMS = (
    Claim(
        paper=POSE,
        says="PoSE is as good as full-length training at equal tokens",
        pairs=(*under_both("pose", "full"), ("skip-wise-yarn", "full-yarn")),
    ),
    Claim(paper=POSE, says="PoSE is clearly better than RandomPos", pairs=under_both("pose", "random")),
    Claim(
        paper="https://arxiv.org/abs/2401.06951",
        says="E2-LLM, trained once with random scale and offset, beats interpolation at one fixed length",
        pairs=under_both("e2", "full"),
    ),
    Claim(paper=SEGMENTS, says="segments have 87 % of the gain of training on longer sequences", pairs=under_both("chunks", "full")),
    Claim(paper=SEGMENTS, says="segments are better than RandomPos: content counts, not index alone", pairs=under_both("chunks", "random")),
    Claim(paper=SEGMENTS, says="pieces (chunk) are better than a run behind scattered tokens", pairs=under_both("chunks", "prefix")),
    Claim(
        paper="https://arxiv.org/abs/2409.00509",
        says="gaps between sentences (LongRecipe) are better than PoSE's two chunks",
        pairs=under_both("sentences", "pose"),
    ),
    Claim(
        paper="https://arxiv.org/abs/2406.00605",
        says="chunks of several documents in turn (LongSkywork) help to read far",
        pairs=under_both("interleaved", "full"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Two rows at one length: loss of the first minus the second by seed, and the first one's share of the second's gain.

    `kept` is by seed too: how much of what the second gains over plain tuning under the same path the first has as well. It is empty
    without a plain row, and for seeds in which the second gains nothing.
    """

    titles: tuple[str, str]
    by_seed: dict[int, float]
    kept: dict[int, float]
    tokens: tuple[int | None, int | None]

    @property
    def verdict(self) -> str:
        """Whether every seed says the same; one seed says nothing."""
        if len(self.by_seed) < 2:
            return "one seed decides nothing"
        low, high = min(self.by_seed.values()), max(self.by_seed.values())
        return "lower in every seed" if high < 0 else "higher in every seed" if low > 0 else "the seeds disagree"

    def __str__(self) -> str:
        gaps = self.by_seed.values()
        spread = f" [{min(gaps):+.3f} … {max(gaps):+.3f}]" if len(gaps) > 1 else ""
        words = f"{self.titles[0]} − {self.titles[1]}: {statistics.fmean(gaps):+.3f}{spread}, {self.verdict}"
        if self.kept:
            words += f"; it has {statistics.fmean(self.kept.values()):.0%} of the other's gain over plain tuning"
        return words + ("" if len(set(self.tokens)) == 1 else f"; tokens are not equal, {self.tokens[0]} and {self.tokens[1]}")


def answers(claim: Claim, records: Sequence[Record], factor: str = "16") -> list[Answer]:
    """Every pair of the claim that has seeds in common, at `factor` windows; ValueError as `study.by_row` raises it."""
    rows = {name: {record.seed: record for record in several} for name, several in by_row(records).items()}
    losses = {
        name: {seed: record.metrics["last"][factor] for seed, record in several.items() if factor in record.metrics.get("last", {})}
        for name, several in rows.items()
    }
    found = []
    for one, other in claim.pairs:
        mine, others = losses.get(one, {}), losses.get(other, {})
        plain = losses.get(PLAIN[other.rsplit("-", 1)[1]], {})
        seeds = sorted(set(mine) & set(others))
        if not seeds:
            continue
        first = rows[one][seeds[0]], rows[other][seeds[0]]
        answer = Answer(
            titles=tuple(record.config["title"] for record in first),
            by_seed={seed: mine[seed] - others[seed] for seed in seeds},
            kept={seed: (plain[seed] - mine[seed]) / (plain[seed] - others[seed]) for seed in seeds if plain.get(seed, 0.0) > others[seed]},
            tokens=tuple(record.tokens for record in first),
        )
        found.append(answer)
    return found


def missing(claim: Claim, records: Sequence[Record]) -> list[str]:
    """The rows that the claim asks for and no record is of."""
    there = set(by_row(records))
    return sorted({name for pair in claim.pairs for name in pair} - there)
