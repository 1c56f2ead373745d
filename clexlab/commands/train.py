"""`clexlab train`: make the tokenizer and the base model again."""

import argparse
from collections.abc import Callable
from pathlib import Path

from clexlab import base, bpe, corpora
from clexlab.commands.usage import Usage, failing, refusing


def run(options: argparse.Namespace) -> int:
    """Train what is named and save it to --out."""
    return TARGETS[options.target](options)


def tokenizer(options: argparse.Namespace) -> int:
    """The tokenizer, from the train half of the standard library."""
    free(options.out, options.resume)
    with failing():
        bpe.train(document.text for document in corpora.standard_library("train").documents).save_pretrained(options.out)
    return 0


def base_model(options: argparse.Namespace) -> int:
    """The base model and its record."""
    free(options.out, options.resume)
    with refusing():
        corpus = corpora.standard_library("train")
    print(corpus.report(), flush=True)
    with failing():
        base.make(
            corpus,
            options.out,
            options.records,
            steps=options.steps,
            seed=options.seed,
            device=options.device,
            resume=options.resume,
        )
    return 0


def free(out: Path, resume: bool) -> None:
    """Refuse to write over what is there."""
    if out.exists():
        raise Usage(f"{out} exists and is never overwritten; choose another --out")
    if resume and not out.with_name(f"{out.name}.training").is_dir():
        raise Usage(f"no interrupted training of {out}; start it without --resume")


TARGETS: dict[str, Callable[[argparse.Namespace], int]] = {"tokenizer": tokenizer, "base": base_model}
