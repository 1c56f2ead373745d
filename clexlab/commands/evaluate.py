"""`clexlab evaluate`: loss of a model at several lengths on the user's own texts, untouched and with each method.

Everything asked for is checked before the first measurement: texts, model, methods, factors and what is already written.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from clexlab import corpora, evaluation, hf, results, scaling
from clexlab.commands.arguments import corpus_of
from clexlab.commands.models import (
    UNTRAINED,
    build,
    checked_name,
    device_for,
    open_model,
    open_tokenizer,
    short_name,
    text_name,
    window_for,
)
from clexlab.commands.usage import Usage, check_writable, failing, quiet, refusing

EXPERIMENT = "evaluate"


@dataclass(frozen=True)
class Plan:
    """What `evaluate` is about to measure, all of it checked: the plain model, and how to extend it for each line of the table."""

    model: nn.Module
    ways: dict[str, Callable[[], AbstractContextManager]]
    window: int
    factors: tuple[float, ...]
    sample: evaluation.Sample
    corpus: corpora.Corpus
    start: int | None
    device: str


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and write a record after each measurement if asked to."""
    with quiet():
        with refusing():
            made = plan(options)
            files = {label: record_file(options, label) for label in made.ways}
        measurements = []
        with failing():
            made.model.to(made.device)
            for label in made.ways:
                measurements.append(measure(options, made, label))
                if files[label] is not None:
                    keep(options, made, measurements[-1], files[label])
    print(report(options, made, measurements))
    for file in files.values():
        if file is not None:
            print(f"record: {file}")
    return 0


def plan(options: argparse.Namespace) -> Plan:
    """Read texts and model and check that everything fits; ValueError or Usage says what does not."""
    wanted = [(checked_name(name), given) for name, given in options.methods]
    device = device_for(options.device)
    part = part_of(options)
    corpus = corpus_of(options) if part is None else corpora.split(corpus_of(options), part)
    model, saved = open_model(options.model, options.dtype)
    window = window_for(model, saved, options.window)
    factors = tuple(sorted({1.0, *options.factors}))
    longest = max(evaluation.check_lengths(window, factors))
    paths = named([build(model, name, given, window) for name, given in wanted])
    evaluation.check_paths(model, paths, window, longest)
    ways = {evaluation.UNTOUCHED: nullcontext}
    if saved is not None:
        ways[f"{evaluation.label(saved.scaling)}, as saved"] = partial(saved.on, model)
        with saved.on(model):
            evaluation.scale_at(model, longest)
    ways |= {label: partial(hf.extended, model, path) for label, path in paths.items()}
    tokenizer = open_tokenizer(options.model)
    evaluation.check_tokenizer(model, tokenizer)
    generator = torch.Generator().manual_seed(options.seed)
    sample = evaluation.sample(corpus.documents, tokenizer, longest, options.documents, generator)
    return Plan(model, ways, window, factors, sample, corpus, evaluation.start_token(tokenizer), device)


def part_of(options: argparse.Namespace) -> str | None:
    """The part of the texts to measure on, None for all: of the library what the shipped models were not trained on."""
    return options.part or ("held_out" if options.text == corpora.STANDARD_LIBRARY else None)


def named(paths: Sequence[scaling.Path]) -> dict[str, scaling.Path]:
    """Each path under the name of its line in the table; Usage where two would have one line."""
    labels = [evaluation.label(path) for path in paths]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise Usage(f"--method {repeated[0]} is given more than once; name it once, or give each its own --option NAME=VALUE")
    return dict(zip(labels, paths, strict=True))


def measure(options: argparse.Namespace, made: Plan, label: str) -> evaluation.Measurement:
    """One line of the table."""
    with made.ways[label](), progress_line(label) as progress:
        return evaluation.measure(
            made.model, label, made.sample.tokens, made.window, made.factors, batch=options.batch, start=made.start, progress=progress
        )


def record_file(options: argparse.Namespace, label: str) -> Path | None:
    """Where the record of one line goes; Usage where there is one already or nothing can be written."""
    if options.out is None:
        return None
    check_writable(Path(options.out))
    run = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{short_name(options.model)}.{label}.seed{options.seed}").strip("._-")
    file = Path(options.out) / EXPERIMENT / f"{run}.json"
    if file.exists():
        raise Usage(f"{file} exists; records are never overwritten, choose another --out")
    return file


def keep(options: argparse.Namespace, made: Plan, measurement: evaluation.Measurement, file: Path) -> None:
    """Write one record."""
    config = {
        "model": short_name(options.model),
        "dtype": str(made.model.dtype).removeprefix("torch."),
        "text": text_name(options.text),
        "part": part_of(options),
        "text_fingerprint": made.corpus.fingerprint,
        "documents": list(made.sample.names),
        "start_token": made.start,
        "batch": options.batch,
    }
    record = evaluation.record(measurement, experiment=EXPERIMENT, run=file.stem, config=config, seed=options.seed, device=made.device)
    results.write(record, Path(options.out))


def report(options: argparse.Namespace, made: Plan, measurements: Sequence[evaluation.Measurement]) -> str:
    """What was read, the table, and what its numbers are."""
    result, sample = measurements[0].result, made.sample
    untrained = any(name == scaling.CLEX.name for name, _ in options.methods)
    return "\n".join(
        [
            made.corpus.report(),
            "",
            evaluation.table(measurements),
            "",
            f"Loss in nats per token of the last {made.window // 4} tokens of each text, the same tokens at every length;"
            f" window {made.window}.",
            f"{result.documents} texts ({result.last_targets} tokens measured), seed {options.seed};"
            f" {sample.too_short} of {sample.looked_at} looked at were too short.",
            *([UNTRAINED] if untrained else []),
        ]
    )


@contextmanager
def progress_line(label: str) -> Iterator[evaluation.Progress | None]:
    """On a terminal, a line on standard error that counts; it is gone afterwards. None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield lambda read, total: print(f"\r{label}: {read:,} of {total:,} tokens", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
