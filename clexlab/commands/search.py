"""`clexlab search`: LongRoPE's divisors and start tokens for a model, and what they are worth on documents the search never saw.

Everything asked for is checked before the first genome is measured. The search is kept after every generation beside the record
that it will become.
"""

import argparse
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from clexlab import base, corpora, evaluation, profiles, results
from clexlab.commands.arguments import SHIPPED, corpus_of
from clexlab.commands.models import device_for, open_model, open_tokenizer, short_name, text_name, window_for
from clexlab.commands.usage import Usage, check_writable, failing, quiet, refusing
from clexlab.search import Bar, Genome, History, Lines, Space, TextLoss, keeping, scoring, search, sizes
from clexlab.search.progressive import ROOM

EXPERIMENT = "search"
# Searches that are not over, beside the records; not part of the repository.
SCRATCH = ".search"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A search, checked: the model on its device, its fitness, where it looks and begins, texts, and where its record will be."""

    model: nn.Module
    fitness: TextLoss
    final: TextLoss
    space: Space
    first: tuple[Genome, ...]
    profile: sizes.Profile
    config: dict
    file: Path

    @property
    def scratch(self) -> Path:
        return self.file.parent.parent / SCRATCH / self.file.stem


def run(options: argparse.Namespace) -> int:
    """Search, score, write the record and print the table."""
    began = time.perf_counter()
    with quiet():
        with refusing():
            ready = prepare(options)
        with failing():
            history = evolve(options, ready)
            record = scored(options, ready, history, began)
            file = results.write(record, ready.file.parent.parent)
    shutil.rmtree(ready.scratch)
    if not any(ready.scratch.parent.iterdir()):
        ready.scratch.parent.rmdir()
    print(report(ready, history, record))
    print(f"record: {file}")
    return 0


def prepare(options: argparse.Namespace) -> Ready:
    """Read texts and model and check that everything fits; ValueError or Usage says what does not."""
    profile = sizes.by_name(options.profile or profiles.current())
    factor = profile.factor if options.factor is None else options.factor
    if factor <= 1:
        raise Usage(f"--factor is {factor:g}; within the window there is nothing to search, use a factor above 1")
    file = record_file(options, profile, factor)
    device = device_for(options.device)
    place = str(base.FOLDER) if options.model == SHIPPED else options.model
    model, saved = open_model(place, "float32")
    if saved is not None:
        raise Usage(f"{options.model} was saved with {saved.scaling.name}; a search starts from a plain model")
    window = window_for(model, saved, options.window)
    (length,) = evaluation.check_lengths(window, (factor,))
    tokenizer = open_tokenizer(place)
    evaluation.check_tokenizer(model, tokenizer)
    corpus = corpus_of(options)
    part, left_out = ("held_out", scoring.TABLES) if options.text == corpora.STANDARD_LIBRARY else (None, None)
    corpus = corpus if part is None else scoring.without_tables(corpora.split(corpus, part))
    seen, held_out = scoring.texts(corpus.documents, tokenizer, length, profile.texts, profile.held_out)
    start = evaluation.start_token(tokenizer)
    fitness, final = (
        TextLoss(model.to(device), some.tokens, factor, window=window, batch=profile.batch, start=start) for some in (seen, held_out)
    )
    config = {
        "profile": profile.name,
        "note": profile.note,
        "model": short_name(place),
        "window": window,
        "factor": factor,
        "text": text_name(options.text),
        "part": part,
        "left_out": left_out,
        "text_fingerprint": corpus.fingerprint,
        "search_documents": list(seen.names),
        "held_out_documents": list(held_out.names),
        "fitness": fitness.about,
    }
    space = Space(fitness.shape["head_dim"] // 2, ROOM * factor, starts=profile.starts(window))
    return Ready(
        model=model,
        fitness=fitness,
        final=final,
        space=space,
        first=scoring.beginning(fitness),
        profile=profile,
        config=config,
        file=file,
    )


def record_file(options: argparse.Namespace, profile: sizes.Profile, factor: float) -> Path:
    """Where the record will be; Usage where there is one, or a search that --resume does not fit."""
    out = options.out or results.FOLDER
    check_writable(out)
    run = run_name(options, profile.name, factor)
    file = out / EXPERIMENT / f"{run}.json"
    if file.exists():
        raise Usage(f"{file} exists; records are never overwritten, choose another --out or --seed")
    begun = keeping.exists(out / SCRATCH / run)
    if options.resume and not begun:
        raise Usage(f"no interrupted search in {out / SCRATCH / run}; start it without --resume")
    if begun and not options.resume:
        raise Usage(f"{out / SCRATCH / run} holds an interrupted search; go on with --resume, or remove it")
    return file


def run_name(options: argparse.Namespace, profile: str, *factors: float) -> str:
    """Profile, model, factors and seed; the text where it is not the standard library, and the window where it was given."""
    text = [] if options.text == corpora.STANDARD_LIBRARY else [text_name(options.text)]
    window = [] if options.window is None else [f"window{options.window}"]
    parts = (profile, short_name(options.model), *text, *window, *(f"{factor:g}x" for factor in factors), f"seed{options.seed}")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("._-")


def evolve(options: argparse.Namespace, ready: Ready) -> History:
    """The search itself, kept generation by generation."""
    generator = torch.Generator().manual_seed(options.seed)
    shown = Bar() if sys.stderr.isatty() else Lines()
    return search(ready.fitness, ready.space, ready.profile.plan, ready.first, generator, ready.scratch, shown)


def scored(options: argparse.Namespace, ready: Ready, history: History, began: float) -> results.Record:
    """The record: history, best, its loss and that of the methods on both sets of texts, and on held-out ones by generation."""
    named = scoring.paths(ready.fitness, ready.space, ready.first, history.best)
    parts = {"search": ready.fitness.texts, "held_out": ready.final.texts}
    found = scoring.scores(ready.model, named, ready.fitness, parts)
    measured = len(history.fitness) * len(ready.fitness.texts)
    window, length, left_out = ready.fitness.window, len(ready.fitness.texts[0]) - 1, ready.config["left_out"]
    return results.Record(
        experiment=EXPERIMENT,
        run=ready.file.stem,
        # A search that went on has the seconds of its last call.
        config={**ready.config, "resumed": options.resume},
        seed=options.seed,
        seconds=time.perf_counter() - began,
        device=options.device,
        tokens=measured * length,
        protocol=(
            f"nats per token at {length} tokens: whole, all of them (the fitness); last, the last {window // 4}; documents of the final"
            " score are none of those the search saw"
            + (f"; documents of {left_out} are left out, tables that are near copies of each other" if left_out else "")
        ),
        metrics={
            "history": history.to_dict(),
            "best": history.best.to_dict(),
            "best_by_generation": list(history.best_by_generation),
            "held_out_by_generation": scoring.by_generation(history, ready.final),
            "measure": ready.fitness.measure,
            "evaluations": len(history.fitness),
            "methods": found,
        },
    )


def report(ready: Ready, history: History, record: results.Record) -> str:
    """The table, and what its numbers are."""
    best = history.best
    untouched = record.metrics["methods"][scoring.UNTOUCHED]
    seen, held_out = (len(untouched[part]["whole_by_document"]) for part in ("search", "held_out"))
    return "\n".join(
        [
            "",
            scoring.table(record.metrics["methods"]),
            "",
            f"Loss in nats per token at {ready.fitness.factor:g} times the window of {ready.fitness.window}: of the whole text (what was"
            f" searched by) and of its last {ready.fitness.window // 4} tokens.",
            f"{seen} documents to search on, {held_out} others held out; {record.metrics['evaluations']} genomes were measured.",
            "_tempered: the method's divisors at LongRoPE's temperature, as the search measured them.",
            f"best: {best.start} start tokens, divisors {best.factors[0]:g} … {best.factors[-1]:g}",
            *([ready.profile.note] if ready.profile.note else []),
        ]
    )
