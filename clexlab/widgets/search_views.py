"""What SearchExplorer draws, without any widget: a search with its references, a population in order, differences, a finding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from clexlab.results import Record
from clexlab.search.genome import Genome
from clexlab.search.history import History

# What a search by the paper begins with, `search.starts_from`.
REFERENCES = ("PI", "NTK", "YaRN")
# What records call their divisors at the search's own temperature (`search.scoring`).
TEMPERED = ("linear_tempered", "ntk_tempered", "yarn_tempered")
SEARCHED = "searched"
# Nats per token: a difference that rounds to 0.000 has no share of it on other text.
NOTHING = 0.0005


@dataclass(frozen=True)
class View:
    """A search to be looked at. `references` are the names of the first genomes it was given, in order.

    `held_out` has the loss on held-out text of some of its genomes, at best of every generation's best and of the references;
    `by_document` has the same document by document, of as many genomes as it is known of.
    Raises ValueError where the search began with fewer genomes than there are names.
    """

    title: str
    history: History
    held_out: Mapping[Genome, float] = field(default_factory=dict)
    references: tuple[str, ...] = REFERENCES
    by_document: Mapping[Genome, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self.history.generations[0].genomes
        if not self.references or len(self.references) > len(first):
            raise ValueError(f"references are {self.references}; name at least one and at most the first {len(first)} genomes")

    def reference(self, name: str) -> Genome:
        """The genome a search began with, by its name."""
        return self.history.generations[0].genomes[self.references.index(name)]

    def population(self, index: int) -> list[tuple[Genome, float]]:
        """The individuals of a generation and their fitness, the best first."""
        generation = self.history.generations[index]
        return sorted(zip(generation.genomes, generation.fitness, strict=True), key=lambda one: one[1])

    def gains(self, reference: str) -> np.ndarray:
        """The best of every generation minus a reference, on the texts of the search: (generations,)."""
        return np.array(self.history.best_by_generation) - self.history.fitness[self.reference(reference)]

    def held_out_gains(self, reference: str) -> np.ndarray:
        """The same on held-out text; NaN where that was not measured."""
        base = self.held_out.get(self.reference(reference), np.nan)
        return np.array([self.held_out.get(generation.best, np.nan) - base for generation in self.history.generations])


def view_of(record: Record) -> View:
    """The search that a record of `clexlab search` holds, its references at the temperature under which they were searched.

    Raises ValueError for a record of something else.
    """
    metrics = record.metrics
    if not isinstance(metrics.get("history"), dict):
        raise ValueError(f"{record.run} holds no search; give records of the experiment 'search', or a History")
    history = History.from_dict(metrics["history"])
    bests = [generation.best for generation in history.generations]
    measure, methods = metrics["measure"], metrics["methods"]
    named = dict(zip(TEMPERED, history.generations[0].genomes, strict=False))
    held_out = {genome: methods[name]["held_out"][measure] for name, genome in named.items()}
    held_out |= dict(zip(bests, metrics["held_out_by_generation"], strict=True))
    scored = {name: methods.get(name, {}).get("held_out", {}) for name in (*named, SEARCHED)}
    each = {genome: scored[name].get(f"{measure}_by_document") for name, genome in (named | {SEARCHED: history.best}).items()}
    return View(record.run, history, held_out, by_document={genome: losses for genome, losses in each.items() if losses})


def views_of(
    source: "History | Record | Sequence[Record]", held_out: Mapping[Genome, float | Sequence[float]], references: Sequence[str]
) -> tuple[View, ...]:
    """One view a record, in their order; of a history given as it is, one. `held_out` are means, or losses of every document."""
    if isinstance(source, History):
        each = {genome: tuple(losses) for genome, losses in held_out.items() if isinstance(losses, Sequence)}
        means = dict(held_out) | {genome: fmean(losses) for genome, losses in each.items()}
        return (View("search", source, means, tuple(references), each),)
    if held_out:
        raise ValueError("held_out was given beside records, which have their own; give it with a History")
    return tuple(view_of(record) for record in ([source] if isinstance(source, Record) else source))


def finding(view: View, index: int, rank: int, reference: str) -> str:
    """The sentence below the chart: who is shown, what it gains on the reference, and how much of that holds on held-out text."""
    population = view.population(index)
    genome, loss = population[min(rank, len(population) - 1)]
    base = view.reference(reference)
    who = "the best" if rank == 0 else f"number {rank + 1} of {len(population)}"
    tokens = "no start tokens" if genome.start == 0 else f"{genome.start} start tokens"
    gain = loss - view.history.fitness[base]
    said = (
        f"Generation {index} of {len(view.history.generations) - 1}: {who} has <b>{loss:.3f}</b> on the search texts,"
        f" {_signed(gain)} against {reference}; λ from {genome.factors[0]:.2f} to {genome.factors[-1]:.2f}, {tokens}."
    )
    if genome not in view.held_out or base not in view.held_out:
        return f"{said} Its loss on held-out text was not measured."
    kept = view.held_out[genome] - view.held_out[base]
    return f"{said} On held-out text: <b>{_signed(kept)}</b>{_verdict(view, (genome, base), (gain, kept), chosen=rank == 0)}"


def _verdict(view: View, pair: tuple[Genome, Genome], differences: tuple[float, float], *, chosen: bool) -> str:
    """What follows the difference on held-out text. `chosen` is whether the search chose the genome, and did not just measure it."""
    gain, kept = differences
    counts = {len(losses) for losses in view.by_document.values()}
    if counts == {1}:
        return ", on one document: too little to say."
    if abs(gain) < NOTHING:
        return ". The difference on the search texts is too little to say."
    if all(genome in view.by_document for genome in pair):
        lower = [one < other for one, other in zip(*(view.by_document[genome] for genome in pair), strict=True)]
        return f", lower in {sum(lower)} of {len(lower)} documents."
    if gain > 0:
        return ". It gains nothing on the search texts."
    if kept >= 0:
        return ". Nothing of the gain is there" + (": it was fitted to the search texts." if chosen else ".")
    if kept <= gain:
        return ". The gain is there, in full."
    return f". {kept / gain:.0%} of the gain is there" + ("; the rest was fitted to the search texts." if chosen else ".")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
