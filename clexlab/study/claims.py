"""What papers say of training short, beside what records say: two rows under one path, seed by seed.

A claim names the pairs of rows that can answer it, of `SHORT` and of the study: the one that is said to be better or as good first. What
has no record is named, not guessed; what was read at different t is not compared.
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
    Claim(
        paper=SEGMENTS,
        says="segments have 87 % of the gain of training on sequences twice as long (here: 16 times)",
        pairs=under_both("chunks", "full"),
    ),
    Claim(paper=SEGMENTS, says="segments are better than RandomPos: content counts, not index alone", pairs=under_both("chunks", "random")),
    Claim(paper=SEGMENTS, says="pieces (chunk) are better than a run behind scattered tokens", pairs=under_both("chunks", "prefix")),
    Claim(
        paper="https://arxiv.org/abs/2409.00509",
        says="LongRecipe (gaps between sentences; whole, with selection, replay and merging) is better than PoSE's two chunks",
        pairs=(*under_both("sentences", "pose"), ("longrecipe-yarn", "pose-yarn")),
    ),
    Claim(
        paper="https://arxiv.org/abs/2406.00605",
        says="chunks of several documents in turn (LongSkywork) help to read far",
        pairs=(*under_both("interleaved", "full"), ("tables-yarn", "full-yarn")),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Two rows at one length: loss of the first minus the second by seed, and the first one's share of the second's gain.

    `read_at` has by seed the t at which each was read: only where they are equal does a difference say something of the training.
    `gains` has by seed what either gains over plain tuning under the same path, where that was read at the same t as both.
    """

    titles: tuple[str, str]
    by_seed: dict[int, float]
    read_at: dict[int, tuple[float, float]]
    gains: dict[int, tuple[float, float]]
    tokens: dict[int, tuple[int | None, int | None]]

    @property
    def comparable(self) -> bool:
        """Whether both were read at one t in every seed."""
        return all(mine == other for mine, other in self.read_at.values())

    @property
    def verdict(self) -> str:
        """Whether every seed says the same; one seed says nothing, and neither do readings at different t."""
        if not self.comparable:
            mine, other = (_listed(values) for values in zip(*self.read_at.values(), strict=True))
            return f"no verdict, read at t = {mine} and t = {other}"
        if len(self.by_seed) < 2:
            return "one seed decides nothing"
        low, high = min(self.by_seed.values()), max(self.by_seed.values())
        if low == high == 0:
            return "no difference"
        return "lower in every seed" if high < 0 else "higher in every seed" if low > 0 else "the seeds disagree"

    @property
    def kept(self) -> float | None:
        """The first one's gain as a share of the second's, both summed over seeds; None where the second gains nothing in sum."""
        mine, other = (sum(gain[place] for gain in self.gains.values()) for place in (0, 1))
        return mine / other if other > 0 else None

    def __str__(self) -> str:
        names = f"{self.titles[0]} − {self.titles[1]}: "
        if not self.comparable:
            return names + self.verdict
        gaps = self.by_seed.values()
        spread = f" [{min(gaps):+.3f} … {max(gaps):+.3f}]" if len(gaps) > 1 else ""
        words = f"{names}{statistics.fmean(gaps):+.3f}{spread}, {self.verdict}"
        if self.kept is not None:
            seeds = f"{len(self.gains)} seed{'s' if len(self.gains) > 1 else ''}"
            words += f"; it has {self.kept:.0%} of the other's gain over plain tuning, summed over {seeds}"
        unequal = {seed: pair for seed, pair in self.tokens.items() if pair[0] != pair[1]}
        told = (f"{mine} and {other} in seed {seed}" for seed, (mine, other) in unequal.items())
        return words + (f"; tokens are not equal, {', '.join(told)}" if unequal else "")


def answers(claim: Claim, records: Sequence[Record], factor: str = "16") -> list[Answer]:
    """Every pair of the claim that has seeds in common, at `factor` windows; ValueError as `study.by_row` raises it."""
    rows = {
        name: {record.seed: record for record in several if factor in record.metrics.get("last", {})}
        for name, several in by_row(records).items()
    }
    found = []
    for one, other in claim.pairs:
        mine, others, plain = rows.get(one, {}), rows.get(other, {}), rows.get(PLAIN[other.rsplit("-", 1)[1]], {})
        seeds = sorted(set(mine) & set(others))
        if not seeds:
            continue
        read_at = {seed: (_scale(mine[seed], factor), _scale(others[seed], factor)) for seed in seeds}
        measured = [seed for seed in seeds if seed in plain and {_scale(plain[seed], factor)} == set(read_at[seed])]
        answer = Answer(
            titles=(mine[seeds[0]].config["title"], others[seeds[0]].config["title"]),
            by_seed={seed: _loss(mine[seed], factor) - _loss(others[seed], factor) for seed in seeds},
            read_at=read_at,
            gains={seed: tuple(_loss(plain[seed], factor) - _loss(row[seed], factor) for row in (mine, others)) for seed in measured},
            tokens={seed: (mine[seed].tokens, others[seed].tokens) for seed in seeds},
        )
        found.append(answer)
    return found


def missing(claim: Claim, records: Sequence[Record]) -> list[str]:
    """The rows that the claim asks for and no record is of."""
    there = set(by_row(records))
    return sorted({name for pair in claim.pairs for name in pair} - there)


def _loss(record: Record, factor: str) -> float:
    return record.metrics["last"][factor]


def _scale(record: Record, factor: str) -> float:
    return record.metrics["scale"][factor]


def _listed(values: Sequence[float]) -> str:
    return " or ".join(f"{value:g}" for value in sorted(set(values)))
