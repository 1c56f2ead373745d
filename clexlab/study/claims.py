"""What papers say of training short, beside what records say: pairs of recipes under one path, seed by seed.

A claim names two recipes and how the first is said to stand to the second. Recipes are told by what a record says of its training
(which positions, how long the rows), paths by what it was read under, so any study's records can answer. Equal texts, tokens and
steps are the study's; a pair that lacks them is said to.
"""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clexlab.results import Record

FULL, PLAIN, NEXT_TOKEN = "full length", "plain", "next_token"
# Positions in what a record tells of its training: of the model's own, or of an objective that takes tokens.
NAMED = re.compile(r"\b(SkipWise|RandomPos|Scattered|E2LLM|ChunkSegments|PrefixSegments|InSentences|Diluted)\(")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`says` in words what the paper has; here `one` and `other` are recipes, `bound` the recipe whose gain over plain tuning is 100 %."""

    paper: str
    says: str
    one: str
    other: str


CLAIMS = (
    Claim(
        paper="https://arxiv.org/abs/2309.10400",
        says="PoSE is as good as full-length training at equal tokens",
        one="SkipWise",
        other=FULL,
    ),
    Claim(
        paper="https://arxiv.org/abs/2309.10400",
        says="RandomPos is clearly worse than PoSE",
        one="RandomPos",
        other="SkipWise",
    ),
    Claim(
        paper="https://arxiv.org/abs/2401.06951",
        says="a random scale and offset (E2-LLM) beat interpolation at one fixed length",
        one="E2LLM",
        other=FULL,
    ),
    Claim(
        paper="https://arxiv.org/abs/2310.14633",
        says="segments have 87 % of the gain of longer training sequences",
        one="ChunkSegments",
        other=FULL,
    ),
    Claim(
        paper="https://arxiv.org/abs/2310.14633",
        says="segments are better than RandomPos: content counts, not index alone",
        one="ChunkSegments",
        other="RandomPos",
    ),
    Claim(
        paper="https://arxiv.org/abs/2310.14633",
        says="pieces in place (chunk) are better than a run behind scattered tokens (prefix)",
        one="ChunkSegments",
        other="PrefixSegments",
    ),
    Claim(
        paper="https://arxiv.org/abs/2409.00509",
        says="gaps between sentences (LongRecipe) are better than PoSE's two chunks",
        one="InSentences",
        other="SkipWise",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Two rows under one path at one length: loss of the first minus the second by seed, and the first one's share of the second's gain.

    `kept` is by seed too: how much of what `other` gains over plain tuning under the same path `one` has; without a plain row, or
    where `other` gains nothing, it is empty. `tokens` are those of the two trainings.
    """

    one: str
    other: str
    path: str
    by_seed: dict[int, float]
    kept: dict[int, float]
    tokens: tuple[int | None, int | None]

    @property
    def verdict(self) -> str:
        """Whether every seed says the same."""
        if len(self.by_seed) < 2:
            return "one seed decides nothing"
        low, high = min(self.by_seed.values()), max(self.by_seed.values())
        return "lower in every seed" if high < 0 else "higher in every seed" if low > 0 else "the seeds disagree"

    def __str__(self) -> str:
        gaps = self.by_seed.values()
        words = f"{self.one} − {self.other}: {statistics.fmean(gaps):+.3f} [{min(gaps):+.3f} … {max(gaps):+.3f}], {self.verdict}"
        if self.kept:
            words += f"; {statistics.fmean(self.kept.values()):.0%} of its gain over plain tuning"
        return words + ("" if len(set(self.tokens)) == 1 else f"; tokens are not equal: {self.tokens[0]} and {self.tokens[1]}")


def recipe(record: Record) -> str:
    """How the record's model was trained to read far: a class of `positions`, "full length", "plain"; "" for anything else.

    Anything else is what was not trained, what learns its path or from a teacher, and positions that are diluted.
    """
    tuning = record.config.get("tuning")
    if not tuning or tuning.get("path_rate") or tuning["learns"] != "everything":
        return ""
    named = set(NAMED.findall(f"{tuning['positions']} {tuning['objective']}"))
    if named:
        return next(iter(named)) if len(named) == 1 else ""
    if tuning["positions"] is not None or tuning["objective"] != NEXT_TOKEN:
        return ""
    return FULL if tuning["span"] > 1 else PLAIN


def answers(claim: Claim, records: Sequence[Record], factor: str = "16") -> list[Answer]:
    """Every pair of rows the claim is about, under one path, with seeds in common; [] where the records have none."""
    rows: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        if factor in record.metrics.get("last", {}):
            rows.setdefault((recipe(record), _path(record), record.config["title"]), {})[record.seed] = record
    found = []
    for (kind, path, title), mine in rows.items():
        for (other_kind, other_path, other_title), others in rows.items():
            seeds = sorted(set(mine) & set(others))
            if (kind, other_kind) != (claim.one, claim.other) or path != other_path or not seeds:
                continue
            one, other = ({seed: several[seed].metrics["last"][factor] for seed in seeds} for several in (mine, others))
            plain = _plain(rows, path, factor)
            kept = {seed: (plain[seed] - one[seed]) / (plain[seed] - other[seed]) for seed in seeds if plain.get(seed, 0.0) > other[seed]}
            tokens = (mine[seeds[0]].tokens, others[seeds[0]].tokens)
            gaps = {seed: one[seed] - other[seed] for seed in seeds}
            found.append(Answer(one=title, other=other_title, path=path, by_seed=gaps, kept=kept, tokens=tokens))
    return found


def missing(claim: Claim, records: Sequence[Record]) -> str:
    """What the claim would need and the records lack, in words; "" where at least one pair is there."""
    if answers(claim, records):
        return ""
    kinds = {recipe(record) for record in records}
    absent = [name for name in (claim.one, claim.other) if name not in kinds]
    return f"no record of {' and of '.join(absent)}" if absent else "both are here, but never under one path with a seed in common"


def _path(record: Record) -> str:
    """The path a row was read under, by its name; "" for plain RoPE."""
    return (record.config.get("scaling") or {}).get("name", "")


def _plain(rows: dict[tuple[str, str, str], dict[int, Record]], path: str, factor: str) -> dict[int, float]:
    """Loss of plain tuning under a path by seed."""
    found = [several for (kind, under, _), several in rows.items() if (kind, under) == (PLAIN, path)]
    return {seed: record.metrics["last"][factor] for several in found[:1] for seed, record in several.items()}
