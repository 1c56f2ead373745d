"""What a search is worth: its best genome beside the methods it began with, on texts it saw and on documents it never saw."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clexlab import corpora, evaluation, hf, scaling
from clexlab.frequencies import Geometry
from clexlab.search.fitness import TextLoss
from clexlab.search.genome import Genome, Space, starts_from
from clexlab.search.history import History

UNTOUCHED, SEARCHED = evaluation.UNTOUCHED, "searched"
# A method's divisors at the temperature under which the search measures them.
TEMPERED = "_tempered"
BEGINNING = (scaling.Linear, scaling.NTK, scaling.YaRN)
# Code-page tables of the standard library, near copies of each other: a model reads them at a loss of a few hundredths, and a
# search on one that is scored on another is not scored on text it never saw.
TABLES = "encodings/"


def without_tables(corpus: corpora.Corpus) -> corpora.Corpus:
    """The standard library, or a part of it, without the documents whose names begin with `TABLES`."""
    documents = tuple(document for document in corpus.documents if not document.name.startswith(TABLES))
    return replace(corpus, source=f"{corpus.source}, without {TABLES}", documents=documents)


def texts(
    documents: Sequence[corpora.Document], tokenizer: PreTrainedTokenizerBase, length: int, seen: int, held_out: int
) -> tuple[evaluation.Sample, evaluation.Sample]:
    """`seen` documents to search on and `held_out` others for the final score, of more than `length` tokens, always the same ones.

    No document is in both. ValueError where there are not enough.
    """
    drawn = evaluation.sample(documents, tokenizer, length, seen + held_out, torch.Generator().manual_seed(0))
    if len(drawn.tokens) < seen + held_out:
        raise ValueError(
            f"{len(drawn.tokens)} documents have more than {length} tokens; {seen} to search on and {held_out} others for the final score"
            " are needed: use a smaller factor, or more texts"
        )
    part = {"too_short": drawn.too_short, "looked_at": drawn.looked_at}
    return (
        evaluation.Sample(names=drawn.names[:seen], tokens=drawn.tokens[:seen], **part),
        evaluation.Sample(names=drawn.names[seen:], tokens=drawn.tokens[seen:], **part),
    )


def paths(fitness: TextLoss, space: Space, first: Sequence[Genome], best: Genome) -> dict[str, scaling.Path]:
    """PI, NTK and YaRN as published; their divisors as the search measured them; and what it found.

    What the search begins with and what it finds differ in divisors alone, the published methods in temperature as well.
    """
    published = {method.name: method.default(**fitness.shape) for method in BEGINNING}
    names = [f"{method.name}{TEMPERED}" for method in BEGINNING]
    tempered = {name: fitness.path(space.nearest(genome)) for name, genome in zip(names, first, strict=True)}
    return published | tempered | {SEARCHED: fitness.path(best)}


def scores(model: nn.Module, named: dict[str, scaling.Path], fitness: TextLoss, parts: dict[str, Sequence[Tensor]]) -> dict[str, dict]:
    """For the untouched model and every path: divisors, n̂, temperature, and the losses on each of `parts`, by name."""
    found = {}
    for name, path in {UNTOUCHED: None, **named}.items():
        with nullcontext() if path is None else hf.extended(model, path, factor=fitness.factor):
            losses = {part: _losses(model, some, fitness) for part, some in parts.items()}
        found[name] = {**_divisors(path, fitness.factor), **losses}
    return found


def by_generation(history: History, fitness: TextLoss) -> list[float]:
    """The loss, on the texts of `fitness`, of the best genome up to each generation. Nothing was chosen by these numbers."""
    bests = [generation.best for generation in history.generations]
    values = {genome: fitness.loss(genome) for genome in dict.fromkeys(bests)}
    return [values[genome] for genome in bests]


def table(found: dict[str, dict]) -> str:
    """A Markdown table: the loss of the whole text and of its end, on texts the search saw and on those it did not."""
    columns = [(part, measure) for part in ("search", "held_out") for measure in evaluation.MEASURES[::-1]]
    lines = [["method", *(f"{part.replace('_', '-')}, {measure}" for part, measure in columns)], ["---"] * 5]
    lines += [[name, *(f"{one[part][measure]:.3f}" for part, measure in columns)] for name, one in found.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def way_table(metrics: dict[str, Any]) -> str:
    """A Markdown table of a way there and back (`clexlab search --then`): a line a path before or after tuning, a column a length."""
    lengths = [*metrics["by_length"]]
    lines = [["model", "path", *(f"{factor}×" for factor in lengths)], ["---"] * (len(lengths) + 2)]
    for when in ("before", "after"):
        lines += [[f"{when} tuning", name, *(f"{found[factor]:.3f}" for factor in lengths)] for name, found in metrics[when].items()]
    lines.append(["after tuning", "each length its own", *(f"{metrics['by_length'][factor]:.3f}" for factor in lengths)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def beginning(fitness: TextLoss) -> tuple[Genome, ...]:
    """PI, NTK and YaRN at the fitness's factor."""
    return starts_from(Geometry("the model", **fitness.shape, source=""), fitness.factor)


def _losses(model: nn.Module, some: Sequence[Tensor], fitness: TextLoss) -> dict[str, Any]:
    measured = evaluation.loss_by_length(
        model, some, fitness.window, (fitness.factor,), batch=fitness.batch, start=fitness.start
    )
    row = measured.rows[0]
    return {
        "last": row.last,
        "whole": row.whole,
        "last_by_document": list(row.last_by_document),
        "whole_by_document": list(row.whole_by_document),
    }


def _divisors(path: scaling.Path | None, factor: float) -> dict[str, Any]:
    if path is None:
        return {"factors": None, "start": 0, "temperature": 1.0}
    return {
        "factors": (1 / path.ratio(factor)).tolist(),
        "start": path.start,
        "temperature": path.attention_scale(factor),
    }
