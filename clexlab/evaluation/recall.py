"""Does the model find again what it has read? Exact match of an answer of several tokens, by length of the text and depth of the needle.

The model reads the whole text with the answer in it, and has recalled it when at each token of the answer the one it finds most
likely is the right one. That is when greedy decoding from the question on gives the answer: as long as every token is right, both
read the same. One reading serves all tokens of the answer, and only their logits are computed.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clexlab import frequencies
from clexlab.evaluation.contexts import EVERYTHING, Context
from clexlab.evaluation.lengths import FACTORS, Progress, check_lengths, check_tokens, cross_entropy, measuring, scale_at
from clexlab.evaluation.prefill import read
from clexlab.evaluation.trials import Trial, check_depth

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The normal quantile of a 95 % interval.
TWO_SIDED = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class RecallRow:
    """All trials at one length and depth. Per trial: the answer entirely right, share of its tokens right, their mean loss in nats."""

    factor: float
    length: int
    depth: float
    scale: float
    exact_by_trial: tuple[bool, ...]
    accuracy_by_trial: tuple[float, ...]
    loss_by_trial: tuple[float, ...]

    @property
    def trials(self) -> int:
        return len(self.exact_by_trial)

    @property
    def exact(self) -> float:
        """Share of trials whose answer is entirely right."""
        return sum(self.exact_by_trial) / self.trials

    @property
    def accuracy(self) -> float:
        """Share of the answers' tokens that are right, each after the right ones before it."""
        return statistics.fmean(self.accuracy_by_trial)

    @property
    def loss(self) -> float:
        """Mean loss of the answers' tokens."""
        return statistics.fmean(self.loss_by_trial)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the exact share of all possible trials lies, with 95 % confidence: `wilson`."""
        return wilson(sum(self.exact_by_trial), self.trials)


@dataclass(frozen=True, kw_only=True)
class Recall:
    """One row a length and depth, shortest first, for one `task`."""

    task: str
    window: int
    rows: tuple[RecallRow, ...]
    context: Context = EVERYTHING

    @property
    def factors(self) -> tuple[float, ...]:
        return tuple(dict.fromkeys(row.factor for row in self.rows))

    @property
    def depths(self) -> tuple[float, ...]:
        return tuple(dict.fromkeys(row.depth for row in self.rows))

    def at(self, factor: float) -> tuple[RecallRow, ...]:
        """The rows of a factor, one a depth; ValueError lists the measured factors."""
        found = tuple(row for row in self.rows if row.factor == factor)
        if not found:
            raise ValueError(f"factor {factor:g} was not measured; there are {', '.join(f'{each:g}' for each in self.factors)}")
        return found

    def exact(self, factor: float) -> float:
        """Share of exact answers over all depths, all of which have the same trials."""
        return statistics.fmean(row.exact for row in self.at(factor))

    def accuracy(self, factor: float) -> float:
        """Share of right tokens over all depths."""
        return statistics.fmean(row.accuracy for row in self.at(factor))

    def loss(self, factor: float) -> float:
        """Mean loss of the answers' tokens over all depths."""
        return statistics.fmean(row.loss for row in self.at(factor))

    def interval(self, factor: float) -> tuple[float, float]:
        """`wilson` over all depths, as if a trial at another depth were another trial: somewhat too narrow where it is not."""
        rows = self.at(factor)
        return wilson(sum(sum(row.exact_by_trial) for row in rows), sum(row.trials for row in rows))

    def metrics(self) -> dict:
        """For a record: `{task}` and its variants by factor ("1", "2" …), and by factor and depth ("0", "0.25" …)."""
        by_factor = {f"{factor:g}": factor for factor in self.factors}
        return {
            self.task: {name: self.exact(factor) for name, factor in by_factor.items()},
            f"{self.task}_interval": {name: list(self.interval(factor)) for name, factor in by_factor.items()},
            f"{self.task}_accuracy": {name: self.accuracy(factor) for name, factor in by_factor.items()},
            f"{self.task}_loss": {name: self.loss(factor) for name, factor in by_factor.items()},
            f"{self.task}_by_depth": {
                name: {f"{row.depth:g}": row.exact for row in self.at(factor)} for name, factor in by_factor.items()
            },
            f"{self.task}_by_trial": {
                name: {f"{row.depth:g}": [int(exact) for exact in row.exact_by_trial] for row in self.at(factor)}
                for name, factor in by_factor.items()
            },
            f"{self.task}_trials": self.rows[0].trials,
        }


def recall(
    model: nn.Module,
    trials: Sequence[Trial],
    window: int,
    factors: Sequence[float] = FACTORS,
    depths: Sequence[float] = DEPTHS,
    *,
    context: Context = EVERYTHING,
    batch: int = 4,
    start: int | None = None,
    progress: Progress | None = None,
) -> Recall:
    """Recall of a causal language model of transformers, plain or extended, at `factors` times the window and at `depths`.

    `trials` are of one task: `passkeys` or `copies`. A text has factor · window tokens in all, answer included, and gets the factor
    that `generate` would plan for it. Under a `context` of windows the model reads the last window alone. `start`, if given, comes
    before the text, which has one token of filler less. Raises ValueError for trials of several tasks or too short for the largest
    factor, an answer that does not fit its context, and as `loss_by_length` does.
    """
    lengths = check_lengths(window, factors)
    depths = tuple(sorted(float(depth) for depth in depths))
    _check(trials, depths, batch)
    spans = {length: _span(context, length, window, trials, start) for length in lengths}
    scales = {length: scale_at(model, span) for length, span in spans.items()}
    # The shortest and the longest text of every trial are made before anything is measured; the longest holds all tokens there are.
    for length in (min(lengths), max(lengths)):
        check_tokens(model, torch.stack([_reading(trial, length, 0.0, length, start) for trial in trials]), start)
    total, done, rows = sum(spans.values()) * len(trials) * len(depths), 0, []
    with measuring(model):
        for length, factor in lengths.items():
            for depth in depths:
                scores = []
                for first in range(0, len(trials), batch):
                    some = trials[first : first + batch]
                    texts = torch.stack([_reading(trial, length, depth, spans[length], start) for trial in some])
                    scores.append(_judged(model, texts, len(some[0].answer)))
                    done += texts.numel()
                    if progress is not None:
                        progress(done, total)
                right, loss = (torch.cat(part) for part in zip(*scores, strict=True))
                rows.append(_row(factor, length, depth, scales[length], right, loss))
    return Recall(task=trials[0].task, window=window, rows=tuple(rows), context=context)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share: all p with |p̂ - p| ≤ 1.96 √(p(1 - p)/n). Never empty, never beyond 0 and 1 (Wilson 1927)."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes of {trials} trials; give 0 to n of at least one trial")
    share, square = successes / trials, TWO_SIDED**2 / trials
    middle, half = share + square / 2, math.sqrt(square * share * (1 - share) + square**2 / 4)
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def table(recalls: dict[str, Recall]) -> str:
    """A Markdown table of exact recall over all depths, in percent, a line a name, a column a length."""
    first = next(iter(recalls.values()))
    lines = [[first.task, *(f"{factor:g}× ({round(factor * first.window)})" for factor in first.factors)]]
    lines.append(["---"] * len(lines[0]))
    lines += [[name, *(f"{100 * one.exact(factor):.0f} %" for factor in first.factors)] for name, one in recalls.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _check(trials: Sequence[Trial], depths: Sequence[float], batch: int) -> None:
    if not frequencies.is_whole(batch) or batch < 1:
        raise ValueError(f"batch is {batch!r}; it must be a whole number of texts, at least 1")
    if not trials:
        raise ValueError("trials is empty; make some with evaluation.passkeys or evaluation.copies")
    found = sorted({trial.task for trial in trials})
    if len(found) > 1 or len({len(trial.answer) for trial in trials}) > 1:
        raise ValueError(f"trials are of {', '.join(found)} with answers of several lengths; measure one task at a time")
    if not depths or len(set(depths)) < len(depths):
        raise ValueError(f"depths are {depths}; give one or more, each once")
    for depth in depths:
        check_depth(depth)


def _span(context: Context, length: int, window: int, trials: Sequence[Trial], start: int | None) -> int:
    """Tokens at the end of the text that the model reads, the answer among them."""
    last = context.blocks(length, window)[-1]
    # The last token of the answer is read as well.
    needed, room = max(len(trial.answer) for trial in trials) + 1 + (start is not None), last.stop - last.first
    if needed > room:
        raise ValueError(f"an answer of {needed - 1} tokens needs {needed} places, {room} are predicted; use a larger window")
    return last.stop - last.start


def _reading(trial: Trial, length: int, depth: float, span: int, start: int | None) -> Int[Tensor, "span"]:
    if start is None:
        return trial.text(length, depth)[-span:]
    return torch.cat([torch.tensor([start]), trial.text(length - 1, depth)[1 - span :]])


def _judged(model: nn.Module, texts: Int[Tensor, "batch span"], answer: int) -> tuple[Bool[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """Which tokens of the answers are right, and the loss of each. The last token is read too, as `generate` plans for it."""
    span, parts = texts.shape[1], []

    def score(part: range, logits: Float[Tensor, "batch part vocabulary"]) -> Tensor:
        targets = texts[:, part.start + 1 : part.stop + 1]
        parts.append(logits.argmax(-1).cpu() == targets)
        return cross_entropy(logits, targets)

    loss = torch.cat(read(model, texts, range(span - answer - 1, span - 1), score), dim=1)
    return torch.cat(parts, dim=1), loss


def _row(
    factor: float, length: int, depth: float, scale: float, right: Bool[Tensor, "trials n"], loss: Float[Tensor, "trials n"]
) -> RecallRow:
    if not bool(torch.isfinite(loss).all()):
        raise ValueError(f"the model's loss is not finite at {length} tokens; load it in float32 or bfloat16, or look at its weights")
    return RecallRow(
        factor=factor,
        length=length,
        depth=depth,
        scale=scale,
        exact_by_trial=tuple(right.all(1).tolist()),
        accuracy_by_trial=tuple(right.double().mean(1).tolist()),
        loss_by_trial=tuple(loss.double().mean(1).tolist()),
    )
