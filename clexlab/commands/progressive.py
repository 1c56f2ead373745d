"""`clexlab search --then N`: far in two searches with a tuning between them, then divisors of their own for short texts.

LongRoPE's whole way (`search.progressive`), scored at every length on documents that neither search nor tuning saw. Searches are kept
generation by generation and the tuned weights once they are whole, so that `--resume` goes on where it was.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from clexlab import base, corpora, evaluation, hf, profiles, results, rows, scaling
from clexlab.commands.arguments import SHIPPED, corpus_of
from clexlab.commands.models import device_for, open_model, open_tokenizer, short_name, text_name, window_for
from clexlab.commands.search import SCRATCH, run_name
from clexlab.commands.usage import Usage, check_writable, failing, quiet, refusing
from clexlab.search import Bar, Lines, Stage, TextLoss, Tuned, extend_progressively, readjust, scoring, sizes
from clexlab.study import sizes as study_sizes

EXPERIMENT = "progressive"
# Texts of one window are searched as if they were a little longer: at t = 1 every path is plain RoPE.
SHORT = 1.25
# It begins with as many genomes: none scaled, the long one shrunk, and three methods.
BEGINNING = 5
WEIGHTS = "tuned.safetensors"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A tuning whose weights stay in `folder`: done once, and found again by a search that goes on."""

    tuned: Tuned
    folder: Path

    def __call__(self, model: nn.Module, path: scaling.LongRoPE) -> None:
        file = self.folder / WEIGHTS
        if file.is_file():
            safetensors.torch.load_model(model, str(file))
            return
        self.tuned(model, path)
        draft = file.with_name(f".{WEIGHTS}")
        safetensors.torch.save_model(model, str(draft))
        draft.replace(file)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The way, checked: the model, where it stops, texts to search on and to score on, how it is tuned, where the record will be."""

    model: nn.Module
    window: int
    factors: tuple[float, float]
    seen: evaluation.Sample
    final: evaluation.Sample
    start: int | None
    tune: Kept
    profile: sizes.Profile
    config: dict
    file: Path

    @property
    def scratch(self) -> Path:
        return scratch_of(self.file)

    def loss(self, factor: float, at: float | None = None) -> TextLoss:
        """The fitness at so many windows."""
        return TextLoss(self.model, self.seen.tokens, factor, window=self.window, at=at, batch=self.profile.batch, start=self.start)


def run(options: argparse.Namespace) -> int:
    """Search, tune, search, search for short texts, score, write the record and print the table."""
    began = time.perf_counter()
    with quiet():
        with refusing():
            ready = prepare(options)
        with failing():
            before = scores(ready, published(ready))
            stages, short = travel(options, ready)
            record = scored(options, ready, before, stages, short, began)
            file = results.write(record, ready.file.parent.parent)
    shutil.rmtree(ready.scratch)
    print(report(record))
    print(f"record: {file}")
    return 0


def prepare(options: argparse.Namespace) -> Ready:
    """Read texts and model and check that everything fits; ValueError or Usage says what does not."""
    profile = sizes.by_name(options.profile or profiles.current())
    budget = study_sizes.by_name(profile.name)
    factors = (profile.factor if options.factor is None else options.factor, options.then)
    if not 1 < factors[0] < factors[1] or int(factors[0]) != factors[0]:
        raise Usage(f"--factor is {factors[0]:g} and --then {factors[1]:g}; tune at a whole factor above 1 and go on to a larger one")
    device = device_for(options.device)
    place = str(base.FOLDER) if options.model == SHIPPED else options.model
    model, saved = open_model(place, "float32")
    if saved is not None:
        raise Usage(f"{options.model} was saved with {saved.scaling.name}; a search starts from a plain model")
    window = window_for(model, saved, options.window)
    lengths = tuple(evaluation.check_lengths(window, (1.0, *factors)))
    file = record_file(options, profile, factors)
    tokenizer = open_tokenizer(place)
    evaluation.check_tokenizer(model, tokenizer)
    train, rest = (scoring.without_tables(corpora.split(corpus_of(options), part)) for part in ("train", "held_out"))
    seen, final = scoring.texts(rest.documents, tokenizer, lengths[-1], profile.texts, profile.held_out)
    plan = budget.plan(options.seed, options.device, span=int(factors[0]), path_rate=0.0)
    coded = rows.encode([document.text for document in train.documents], tokenizer)
    drawn = rows.mix({rows.Text(coded, lengths[1]): 1.0}, plan.steps * plan.rows, torch.Generator().manual_seed(options.seed))
    scratch = scratch_of(file)
    config = {
        "profile": profile.name,
        "note": profile.note,
        "model": short_name(place),
        "window": window,
        "factors": list(factors),
        "text": text_name(options.text),
        "train_fingerprint": train.fingerprint,
        "text_fingerprint": rest.fingerprint,
        "search_documents": list(seen.names),
        "held_out_documents": list(final.names),
        "plan": {"steps": plan.steps, "rows": plan.rows, "length": lengths[1], "rate": plan.rate},
    }
    return Ready(
        model=model.to(device),
        window=window,
        factors=factors,
        seen=seen,
        final=final,
        start=evaluation.start_token(tokenizer),
        tune=Kept(tuned=Tuned(data=drawn, plan=plan, folder=scratch / "training"), folder=scratch),
        profile=profile,
        config=config,
        file=file,
    )


def record_file(options: argparse.Namespace, profile: sizes.Profile, factors: tuple[float, float]) -> Path:
    """Where the record will be; Usage where there is one, or something begun that --resume does not fit."""
    out = options.out or results.FOLDER
    check_writable(out)
    file = out / EXPERIMENT / f"{run_name(options, profile.name, *factors)}.json"
    begun = scratch_of(file).exists()
    if file.exists():
        raise Usage(f"{file} exists; records are never overwritten, choose another --out or --seed")
    if begun != bool(options.resume):
        said = "holds one that was interrupted; go on with --resume, or remove it" if begun else "is not there; start without --resume"
        raise Usage(f"{scratch_of(file)} {said}")
    return file


def scratch_of(file: Path) -> Path:
    """Where the searches and the tuned weights of this record are kept until it is written."""
    return file.parent.parent / SCRATCH / f"{EXPERIMENT}-{file.stem}"


def travel(options: argparse.Namespace, ready: Ready) -> tuple[tuple[Stage, ...], Stage]:
    """The two searches with the tuning between them, and the one for texts of a window."""
    plan, starts = ready.profile.plan, ready.profile.starts(ready.window)
    generator, shown = torch.Generator().manual_seed(options.seed), Bar() if sys.stderr.isatty() else Lines()
    ready.scratch.mkdir(parents=True, exist_ok=True)
    stages = extend_progressively(
        ready.loss, ready.factors, plan, ready.tune, generator, starts=starts, folder=ready.scratch, report=shown
    )
    short = ready.loss(1.0, at=SHORT)
    enough = replace(plan, population=max(plan.population, BEGINNING))
    found = readjust(
        short, stages[-1].history.best, enough, generator, starts=starts, folder=ready.scratch / "short", report=shown
    )
    return stages, Stage(SHORT, found, short.path(found.best))


def published(ready: Ready) -> dict[str, scaling.Path | None]:
    """What the searched paths are read beside: nothing, and YaRN at the far factor."""
    shape = ready.loss(1.0).shape
    return {evaluation.UNTOUCHED: None, "yarn": scaling.YaRN.default(**shape)}


def scores(ready: Ready, named: Mapping[str, scaling.Path | None]) -> dict[str, dict[str, float]]:
    """Loss of the last quarter window at 1 and both factors, every path pinned where it ends, YaRN at the far factor."""
    found = {}
    for name, path in named.items():
        extended = nullcontext() if path is None else hf.extended(ready.model, path, factor=getattr(path, "max_factor", ready.factors[-1]))
        with extended:
            measured = evaluation.loss_by_length(
                ready.model, ready.final.tokens, ready.window, (1.0, *ready.factors), batch=ready.profile.batch, start=ready.start
            )
        found[name] = {f"{row.factor:g}": row.last for row in measured.rows}
    return found


def scored(
    options: argparse.Namespace, ready: Ready, before: dict, stages: Sequence[Stage], short: Stage, began: float
) -> results.Record:
    """The record: every search with its history, and what each path is worth on the tuned model at every length."""
    paths = {f"searched {stage.factor:g}x": stage.path for stage in stages} | {"readjusted": short.path}
    after = scores(ready, published(ready) | paths)
    # Each length is read with the path that was searched for it.
    chosen = {1.0: "readjusted"} | {stage.factor: f"searched {stage.factor:g}x" for stage in stages}
    return results.Record(
        experiment=EXPERIMENT,
        run=ready.file.stem,
        config={**ready.config, "resumed": bool(options.resume)},
        seed=options.seed,
        seconds=time.perf_counter() - began,
        device=options.device,
        tokens=ready.tune.tuned.plan.steps * ready.tune.tuned.plan.rows * ready.config["plan"]["length"],
        protocol=(
            f"nats per token of the last {ready.window // 4} tokens of held-out documents that neither searches nor tuning saw, the same"
            " tokens at every length; searched by the whole text; tuned on rows of text at the first factor"
        ),
        metrics={
            "before": before,
            "after": after,
            "by_length": {f"{factor:g}": after[name][f"{factor:g}"] for factor, name in chosen.items()},
            "stages": {f"{stage.factor:g}": _told(stage) for stage in stages},
            "short": _told(short),
        },
    )


def _told(stage: Stage) -> dict:
    return {"history": stage.history.to_dict(), "best": stage.history.best.to_dict(), "fitness": stage.history.best_fitness}


def report(record: results.Record) -> str:
    """The table, and what its numbers are."""
    note = f"\n{record.config['note']}" if record.config["note"] else ""
    return f"\n{scoring.way_table(record.metrics)}\n\n{record.protocol}{note}"
