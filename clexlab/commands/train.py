"""`clexlab train`: a model, a method or a tokenizer, as a config says.

    clexlab train clex --out FOLDER                                a shipped config: CLEX on the shipped base model
    accelerate launch -m clexlab.cli train my.toml --out FOLDER    several processes share the rows of a step

Config, text and model are checked before the first step. What was trained appears in --out whole, or not at all.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clexlab import base, bpe, corpora, evaluation, hf, recipes, results, rows, scaling, training
from clexlab.commands.models import build, device_for, open_model, open_tokenizer, short_name, text_name
from clexlab.commands.usage import Usage, check_writable, failing, quiet, refusing
from clexlab.hf import spec
from clexlab.objectives import NextToken
from clexlab.training import checkpoints

BOUNDARIES = "every row lies inside one document, a separator token before and after each"
JOINED = "; interleaved rows are of several, with none between their chunks"


def run(options: argparse.Namespace) -> int:
    """Train what the config says and save it to --out."""
    with quiet():
        with refusing():
            check_places(options)
            recipe = recipes.read(options.config)
            corpus = corpora.load(**vars(recipe.text))
            train = corpora.split(corpus, "train")
            ready = prepare(options, recipe, train, corpus) if isinstance(recipe, recipes.Training) else None
        if is_first():
            print(train.report(), flush=True)
        with failing():
            if ready is None:
                tokenizer(options, recipe, train)
            else:
                model(options, recipe, ready)
    return 0


def check_places(options: argparse.Namespace) -> None:
    """Refuse to write over what is there, and to begin or to resume the wrong thing."""
    if options.out.exists():
        raise Usage(f"{options.out} exists and is never overwritten; choose another --out")
    check_writable(options.out)
    begun = training.last_checkpoint(checkpoints_of(options), processes()) is not None
    if options.resume and not begun:
        raise Usage(f"no interrupted training of {options.out}; start it without --resume")
    if begun and not options.resume:
        raise Usage(f"{checkpoints_of(options)} holds an interrupted training; go on with --resume, or remove it")


def checkpoints_of(options: argparse.Namespace) -> Path:
    return options.out.with_name(f"{options.out.name}.training")


def is_first() -> bool:
    """Whether this process is the one that writes and prints, of those that accelerate launched."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """How many accelerate launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def tokenizer(options: argparse.Namespace, recipe: recipes.Tokenizer, corpus: corpora.Corpus) -> None:
    """The tokenizer."""
    made = bpe.train((document.text for document in corpus.documents), recipe.size)
    with appearing(options.out) as draft:
        made.save_pretrained(draft)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A training, checked: model as it shall be trained, its rows, its plan, the texts to measure on, what the record says."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    data: rows.Rows
    plan: training.Plan
    texts: list[Tensor]
    window: int
    config: dict


def prepare(options: argparse.Namespace, recipe: recipes.Training, train: corpora.Corpus, whole: corpora.Corpus) -> Ready:
    """Build everything a training needs, from the train part of the whole text; ValueError or Usage says what does not fit."""
    if record_file(options, recipe).exists():
        raise Usage(f"{record_file(options, recipe)} exists; records are never overwritten, choose another --records or --seed")
    plan = recipe.planned(options.seed, device_for(options.device))
    made, coder = starting_model(recipe, options.seed)
    path = evaluation.path_of(made)
    window = hf.geometry(made).window if path is None else path.window
    documents = encoded(train, coder)
    generator = torch.Generator().manual_seed(options.seed)
    data = base.data(documents, coder, recipe.rows.length, plan.steps * plan.rows, generator, recipe.rows.shares)
    if options.resume:
        about = checkpoints.describe(made, data, plan, NextToken(), processes())
        checkpoints.check_about(checkpoints_of(options), about)
    texts = []
    if recipe.measure is not None:
        longest = max(evaluation.check_lengths(window, recipe.measure.factors))
        texts = base.cut(encoded(corpora.split(whole, "held_out"), coder), recipe.measure.texts, longest)
    config = {
        "config": recipe.name,
        "model": {"fresh": base.config().to_diff_dict()}.get(recipe.model, short_name(recipe.model)),
        "path": None if path is None else spec.describe(path),
        "positions": None if recipe.positions is None else repr(hf.rotary_of(made).positions),
        "corpus": {**given_of(recipe.text), "source": text_name(recipe.text.source), "part": "train"},
        "fingerprint": train.fingerprint,
        "documents": len(documents),
        "never_drawn": base.never_drawn(documents, recipe.rows.length, recipe.rows.shares),
        "boundaries": BOUNDARIES + (JOINED if "interleaved" in recipe.rows.shares else ""),
        "row_length": recipe.rows.length,
        "shares": recipe.rows.shares,
        "dtype": recipe.dtype,
        "plan": vars(plan),
    }
    return Ready(model=made, tokenizer=coder, data=data, plan=plan, texts=texts, window=window, config=config)


def starting_model(recipe: recipes.Training, seed: int) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """The model as it shall be trained, extended where the recipe or its checkpoint says so, and its tokenizer."""
    if recipe.model == "fresh":
        made, saved, coder = base.fresh(seed), None, bpe.load()
    else:
        place = str(base.FOLDER) if recipe.model == "base" else recipe.model
        (made, saved), coder = open_model(place, "float32"), open_tokenizer(place)
    if saved is not None and recipe.method is not None:
        raise Usage(f"{recipe.model} was saved with {saved.scaling.name}; leave out [method] to train that further, or start from its base")
    path = method_of(recipe, made, seed) if saved is None else saved.scaling
    evaluation.check_tokenizer(made, coder)
    if path is None:
        if recipe.positions is not None:
            raise Usage("[positions] without [method]: drawn positions reach beyond the window; add [method], for example identity")
        return made, coder
    sampler = None if recipe.positions is None else recipe.positions.build(path.window)
    if sampler is not None:
        # Asked once, so that rows it has no positions for are refused here and not in the first step.
        sampler.draw(recipe.rows.length, torch.Generator())
    cache = "frozen" if saved is None else saved.cache
    return hf.extend(made, path, positions=sampler, cache=cache), coder


def method_of(recipe: recipes.Training, made: nn.Module, seed: int) -> scaling.Path | None:
    """The path that [method] names on the model's geometry; a field's first weights are drawn with the seed."""
    if recipe.method is None:
        return None
    given = {option: value for option, value in recipe.method.items() if option != "name"}
    window = hf.geometry(made).window
    if isinstance(given.get("prior"), str):
        given["prior"] = spec.describe(hf.scaling_for(made, scaling.by_name(given["prior"]), window=window))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(made, recipe.method["name"], given, window)


def given_of(text: recipes.Text) -> dict:
    """The options of a text that were given."""
    return {name: value for name, value in vars(text).items() if value is not None}


def encoded(corpus: corpora.Corpus, coder: PreTrainedTokenizerBase) -> list[Tensor]:
    """The documents as tokens, a separator around every one."""
    return rows.encode([document.text for document in corpus.documents], coder)


def record_file(options: argparse.Namespace, recipe: recipes.Training) -> Path:
    return (options.records or options.out) / recipe.name / f"{recipe.name}-seed{options.seed}.json"


def model(options: argparse.Namespace, recipe: recipes.Training, ready: Ready) -> None:
    """Train, save, measure what was saved, and write the record."""
    shown = () if sys.stderr.isatty() else (training.Lines(),)
    done = training.train(
        ready.model, ready.data, ready.plan, folder=checkpoints_of(options), callbacks=shown, resume=options.resume
    )
    if not is_first():
        return
    # Measured is what is saved, in its precision.
    done.model.to(getattr(torch, recipe.dtype))
    with appearing(options.out) as draft:
        for part in (done.model, ready.tokenizer):
            part.save_pretrained(draft)
        record = written(options, recipe, ready, done)
        results.write(record, options.records or draft)
    shutil.rmtree(checkpoints_of(options))


def written(options: argparse.Namespace, recipe: recipes.Training, ready: Ready, done: training.Trained) -> results.Record:
    """The record: how it was trained, its log, and its losses by length if the recipe wants them."""
    about = dict(experiment=recipe.name, run=f"{recipe.name}-seed{options.seed}", config=ready.config, seed=options.seed)
    if not ready.texts:
        metrics = {"curve": done.curve}
        return results.Record(**about, metrics=metrics, seconds=done.seconds, device=options.device, tokens=done.tokens)
    model = done.model.to(torch.float32)
    measured = evaluation.measure(model, recipe.name, ready.texts, ready.window, recipe.measure.factors)
    print(evaluation.table([measured]))
    record = evaluation.record(measured, **about, device=options.device)
    seconds = done.seconds + record.seconds
    return replace(record, seconds=seconds, tokens=done.tokens, metrics={**record.metrics, "curve": done.curve})


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write in, which takes its place when all went well."""
    with tempfile.TemporaryDirectory(dir=check_writable(out), prefix=".clexlab-train-") as scratch:
        draft = Path(scratch) / "draft"
        draft.mkdir()
        yield draft
        out.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, out)
