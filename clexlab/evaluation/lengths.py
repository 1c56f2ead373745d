"""How well a model predicts at 1, 2, 4, 8, 16 times its window, measured on the *same target tokens* at every length.

    a document   x_0 … x_N,  N = window · largest factor; longer ones are cut after x_N, shorter ones counted and left out
    length ℓ     the model reads x_{N-ℓ} … x_{N-1} and predicts x_{N-ℓ+1} … x_N
    last         loss of the last window/4 targets, x_{N-window/4+1} … x_N: the same tokens at every length
    whole        loss of all ℓ targets: other tokens at every length, so it compares methods, not lengths

At factor 1 the model sees the last `window` tokens alone. For these targets that *is* truncation, and a sliding window moved
on by a quarter: the baseline that every longer text has to beat. For all ℓ targets the two are readings of their own, given as
`context`. Loss is in nats per token, computed in float32.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional

from clexlab import frequencies, hf
from clexlab.evaluation.contexts import EVERYTHING, Block, Context
from clexlab.evaluation.prefill import read
from clexlab.scaling.base import Path
from clexlab.small.model import Small

FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
# Called with the tokens read so far and in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class LengthLoss:
    """Loss in nats per token at one length. `scale` is the factor t that the model's own rule gave this length (1: not extended)."""

    factor: float
    length: int
    scale: float
    last_by_document: tuple[float, ...]
    whole_by_document: tuple[float, ...]

    @property
    def last(self) -> float:
        """Mean loss of the last window/4 targets."""
        return statistics.fmean(self.last_by_document)

    @property
    def whole(self) -> float:
        """Mean loss of all targets."""
        return statistics.fmean(self.whole_by_document)

    @property
    def last_error(self) -> float:
        """Standard error of `last` over documents; 0 for a single document, which says nothing about others."""
        values = self.last_by_document
        return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class LossByLength:
    """One row a length, shortest first. `too_short` documents were left out, the others serve every length."""

    window: int
    rows: tuple[LengthLoss, ...]
    too_short: int
    context: Context = EVERYTHING

    @property
    def documents(self) -> int:
        return len(self.rows[0].last_by_document)

    @property
    def last_targets(self) -> int:
        """Tokens in the mean `last`, the same at every length."""
        return self.documents * (self.window // 4)

    @property
    def tokens(self) -> int:
        """Tokens the model read."""
        return self.documents * sum(self.context.tokens(row.length, self.window) for row in self.rows)

    def at(self, factor: float) -> LengthLoss:
        """The row of a factor; ValueError lists the measured ones."""
        for row in self.rows:
            if row.factor == factor:
                return row
        raise ValueError(f"factor {factor:g} was not measured; there are {', '.join(f'{row.factor:g}' for row in self.rows)}")


def loss_by_length(
    model: nn.Module,
    tokens: Sequence[Integer[Tensor, "_"]],
    window: int,
    factors: Sequence[float] = FACTORS,
    *,
    context: Context = EVERYTHING,
    batch: int = 4,
    start: int | None = None,
    progress: Progress | None = None,
) -> LossByLength:
    """The loss of a causal language model of transformers, plain or extended, or of a `small.Small`, at `factors` times the window.

    `tokens` are documents. Each length gets its factor through the model's own rule (`hf.rotary_of(model).factor_for`, a small model's
    `factor_for`); with a `context` of windows the length is the window's. `start`, if given, takes the place of the first token that is
    read, for models that want their texts to begin with one. The model is put into eval mode for the measurement and back. Raises
    ValueError where no document has window · largest factor + 1 tokens, a factor is below 1, repeated, beyond the model's limit or no
    whole number of tokens, a token is outside the vocabulary, or a loss is not finite.
    """
    lengths = check_lengths(window, factors)
    if not frequencies.is_whole(batch) or batch < 1:
        raise ValueError(f"batch is {batch!r}; it must be a whole number of texts, at least 1")
    blocks = {length: context.blocks(length, window) for length in lengths}
    scales = {length: scale_at(model, context.span(length, window)) for length in lengths}
    texts = _cut(tokens, max(lengths))
    check_tokens(model, texts, start)
    total, done, rows = len(texts) * sum(context.tokens(length, window) for length in lengths), 0, []
    with measuring(model):
        for length, factor in lengths.items():
            losses = []
            for part in texts[:, -length - 1 :].split(batch):
                losses.append(_losses(model, part, blocks[length], start))
                done += len(part) * context.tokens(length, window)
                if progress is not None:
                    progress(done, total)
            rows.append(_row(factor, length, scales[length], torch.cat(losses), window // 4))
    return LossByLength(window=window, rows=tuple(rows), too_short=len(tokens) - len(texts), context=context)


def check_lengths(window: int, factors: Sequence[float]) -> dict[int, float]:
    """Lengths in tokens, shortest first, and the factor of each; ValueError for what is no factor or no whole number of tokens."""
    if not frequencies.is_whole(window) or window < 4:
        raise ValueError(f"window is {window!r}; it must be a whole number of tokens, at least 4: a quarter of it is measured")
    lengths = {}
    for factor in factors:
        if not frequencies.is_finite(factor) or factor < 1:
            raise ValueError(f"factor is {factor!r}; factors are length / window, finite and at least 1")
        length = round(factor * window)
        if abs(length - factor * window) > 1e-6 * window:
            raise ValueError(f"factor {factor:g} of a window of {window} is {factor * window:g}, no whole number of tokens")
        if length in lengths:
            raise ValueError(f"factor {factor:g} is given twice")
        lengths[length] = float(factor)
    if not lengths:
        raise ValueError("factors is empty; give for example (1, 2, 4, 8)")
    return dict(sorted(lengths.items()))


def scale_at(model: nn.Module, length: int) -> float:
    """The factor t that the model gives an uncached text of `length` tokens: its own rule if it is extended or small, else 1."""
    if isinstance(model, Small):
        return model.factor_for(length)
    return 1.0 if path_of(model) is None else float(hf.rotary_of(model).factor_for(length))


def path_of(model: nn.Module) -> Path | None:
    """The path an extended model follows, a small model's scaling; None for a model without."""
    if isinstance(model, Small):
        return model.places.scaling
    return hf.rotary_of(model).scaling if any(isinstance(module, hf.Rotary) for module in model.modules()) else None


def _cut(tokens: Sequence[Integer[Tensor, "_"]], longest: int) -> Int[Tensor, "documents span"]:
    long_enough = [document[: longest + 1].to("cpu", torch.long) for document in tokens if len(document) > longest]
    if not long_enough:
        best = max((len(document) for document in tokens), default=0)
        raise ValueError(
            f"no document is long enough: the longest of {len(tokens)} has {best} tokens, the largest factor needs {longest + 1};"
            " measure smaller factors, a smaller window or longer texts"
        )
    return torch.stack(long_enough)


def check_tokens(model: nn.Module, texts: Int[Tensor, "documents span"], start: int | None) -> None:
    """Refuse tokens that the model has no embedding for."""
    entries = model.get_input_embeddings().weight.shape[0]
    highest, lowest = max(int(texts.max()), start or 0), min(int(texts.min()), start or 0)
    if not 0 <= lowest <= highest < entries:
        raise ValueError(
            f"token {highest if highest >= entries else lowest} is outside the model's vocabulary of {entries};"
            " use the model's own tokenizer"
        )


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; every module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module in training:
            module.training = True


def _losses(
    model: nn.Module, text: Int[Tensor, "batch span"], blocks: tuple[Block, ...], start: int | None
) -> Float[Tensor, "batch length"]:
    """Loss of every target of `text`, all but its first token, in float32."""
    losses = []
    for block in blocks:
        inputs, targets = text[:, block.start : block.stop].clone(), text[:, block.start + 1 : block.stop + 1]
        if start is not None:
            inputs[:, 0] = start
        wanted = range(block.first - block.start, block.stop - block.start)
        losses += read(model, inputs, wanted, partial(_score, targets))
    return torch.cat(losses, dim=1)


def _score(
    targets: Int[Tensor, "batch span"], part: range, logits: Float[Tensor, "batch part vocabulary"]
) -> Float[Tensor, "batch part"]:
    return cross_entropy(logits, targets[:, part.start : part.stop])


def cross_entropy(logits: Float[Tensor, "batch part vocabulary"], targets: Int[Tensor, "batch part"]) -> Float[Tensor, "batch part"]:
    """Nats of every target, in float32 whatever the logits are in, on the CPU."""
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten().to(logits.device), reduction="none")
    return flat.view(targets.shape).cpu()


def _row(factor: float, length: int, scale: float, losses: Float[Tensor, "documents length"], quarter: int) -> LengthLoss:
    if not bool(torch.isfinite(losses).all()):
        raise ValueError(f"the model's loss is not finite at {length} tokens; load it in float32 or bfloat16, or look at its weights")
    losses = losses.double()
    return LengthLoss(
        factor=factor,
        length=length,
        scale=scale,
        last_by_document=tuple(losses[:, -quarter:].mean(1).tolist()),
        whole_by_document=tuple(losses.mean(1).tolist()),
    )
