"""The fitness of LongRoPE's search: the mean next-token loss of a model on long texts, under a genome's angles."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from clexlab import evaluation, hf, scaling
from clexlab.search.genome import Genome


class TextLoss:
    """Loss in nats per token of `model` on `texts` of `factor` windows, for every genome asked for: lower is better.

    Texts, targets and loss are those of `evaluation.loss_by_length` at this factor: a text is cut after window · factor + 1 tokens.
    `measure` is "whole", the mean over all of its targets, as in the paper, or "last", over the last quarter of a window. The model
    is read as `scaling.LongRoPE` with the genome's divisors and start tokens pinned at t = `at`, which is `factor` unless given: its
    temperature is A(at), the same for every genome. The paper has none; the released code's search has this one.
    A genome is a forward of its own, of `batch` texts at once: on a core four long texts together take as long as one after the
    other, so nothing is gained by reading several genomes in one forward.
    Raises ValueError for what `loss_by_length` and `scaling.LongRoPE` refuse, an unknown measure, and a model that is extended already.
    """

    def __init__(
        self,
        model: nn.Module,
        texts: Sequence[Integer[Tensor, "_"]],
        factor: float,
        *,
        window: int | None = None,
        measure: str = "whole",
        at: float | None = None,
        batch: int = 4,
        start: int | None = None,
    ) -> None:
        found = hf.geometry(model)
        if measure not in evaluation.MEASURES:
            raise ValueError(f"measure is {measure!r}; a loss has {' and '.join(evaluation.MEASURES)}")
        self.window = found.window if window is None else window
        (length,) = evaluation.check_lengths(self.window, (factor,))
        self.texts = tuple(text[: length + 1] for text in texts if len(text) > length)
        if len(self.texts) < len(texts) or not texts:
            short = len(texts) - len(self.texts)
            raise ValueError(f"{short} of {len(texts)} texts have fewer than window · factor + 1 = {length + 1} tokens; give longer")
        self.model, self.factor, self.measure, self.batch, self.start = model, float(factor), measure, batch, start
        self.at = self.factor if at is None else float(at)
        self.shape = {"head_dim": found.head_dim, "base": found.base, "window": self.window}

    def __call__(self, genomes: Sequence[Genome]) -> Float[Tensor, "genomes"]:
        return torch.tensor([self.loss(genome) for genome in genomes], dtype=torch.float64)

    def loss(self, genome: Genome) -> float:
        """The measure of one genome, the mean over texts."""
        return self._measured(genome, self.measure)

    def by_document(self, genome: Genome) -> tuple[float, ...]:
        """The measure of one genome on every text."""
        return tuple(self._measured(genome, f"{self.measure}_by_document"))

    def _measured(self, genome: Genome, measure: str) -> float | tuple[float, ...]:
        with hf.extended(self.model, self.path(genome), factor=self.at):
            found = evaluation.loss_by_length(
                self.model, self.texts, self.window, (self.factor,), batch=self.batch, start=self.start
            )
        return getattr(found.rows[0], measure)

    def path(self, genome: Genome) -> scaling.LongRoPE:
        """The genome as a path that ends at t = `at`."""
        return scaling.LongRoPE(**self.shape, factors=genome.factors, max_factor=self.at, start=genome.start)

    @property
    def about(self) -> dict[str, Any]:
        """What the values depend on; a search that is kept on disk goes on with the same only.

        Kind of device and batch are among it: sums are taken in another order there, and the last bits of a loss are others.
        """
        texts = hashlib.sha256(b"".join(text.cpu().long().numpy().tobytes() for text in self.texts)).hexdigest()[:16]
        sums = {name: float(weight.double().sum()) for name, weight in self.model.state_dict().items()}
        weights = hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()[:16]
        given = {"factor": self.factor, "at": self.at, "measure": self.measure, "start": self.start, "window": self.window}
        device = next(self.model.parameters()).device.type
        return {"texts": texts, "weights": weights, **given, "batch": self.batch, "device": device}
