"""Arguments of `clexlab run`, `evaluate`, `train`, `search` and `export`. Nothing heavy is imported before one of them runs."""

import argparse
import math
from pathlib import Path
from typing import Any

from clexlab import corpora
from clexlab.profiles import PROFILES

# The word for the base model that comes with clexlab.
SHIPPED = "base"
DTYPES = ("auto", "float32", "bfloat16", "float16")
# The tables of `clexlab run study` beside the study itself, by the option that asks for them.
TABLES = {
    "ladder": "from the official CLEX to ours, a step a rung",
    "short": "train short, test long: every recipe beside full length",
    "untrained": "maps of relative positions on the base model as it is",
    "families": "every way to tell positions, trained from nothing",
    "sparse": "sparse patterns in training, beside full attention",
}


class NextMethod(argparse.Action):
    """`--method yarn linear`: each name starts with no options of its own."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        names = [values] if isinstance(values, str) else values
        namespace.methods = [*namespace.methods, *((name, {}) for name in names)]


class OptionOfMethod(argparse.Action):
    """`--option slow=2` belongs to the method named last."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, equals, text = values.partition("=")
        if not (name and equals):
            parser.error(f"argument --option: {values!r} is not NAME=VALUE, for example rate=1.5")
        if not namespace.methods:
            parser.error("argument --option: no --method before it; an option belongs to the method named last")
        namespace.methods[-1][1][name] = text


def add_run(commands: Any, command: Any) -> None:
    """The sub-command `run` with its arguments: lessons, or the study."""
    one = commands.add_parser(
        "run",
        help="execute lessons headless, or the study, a progress line each",
        description="Execute lessons headless: clexlab run 01 02, clexlab run all. Or the study: clexlab run study --profile cpu.",
    )
    one.add_argument("lessons", nargs="+", metavar="NN", help="numbers or names of lessons, or: all, or: study")
    one.add_argument("--profile", choices=PROFILES, help="how much to compute (default: CLEXLAB_PROFILE, or cpu)")
    study = one.add_argument_group("study", "clexlab run study; it goes on where the last call stopped")
    which = study.add_mutually_exclusive_group()
    for name, told in TABLES.items():
        which.add_argument(f"--{name}", action="store_true", default=None, help=told)
    study.add_argument("--rows", nargs="+", metavar="NAME", help="these rows only (default: all)")
    study.add_argument("--seeds", nargs="+", type=seed, metavar="N", help="these seeds (default: the profile's)")
    study.add_argument("--device", choices=("cpu", "cuda"), help="where to train and measure (default: cpu)")
    study.add_argument("--out", type=Path, metavar="FOLDER", help="where the records go (default: data/results)")
    study.add_argument("--minutes", type=minutes, metavar="M", help="begin nothing that ends later (default: 10)")
    study.add_argument("--workers", type=whole, metavar="N", help="so many processes of one thread each (default: this one)")
    # What one of several processes is started with: the first one prints the table for all.
    study.add_argument("--child", action="store_true", default=None, help=argparse.SUPPRESS)
    one.set_defaults(command=command)


def add_evaluate(commands: Any) -> None:
    """The sub-command `evaluate` with its arguments."""
    one = commands.add_parser(
        "evaluate",
        help="loss of a model at several lengths, untouched and with methods, on your texts",
        description="Measure a causal language model on the same target tokens at every length, untouched and with each method.",
    )
    add_model(one)
    one.add_argument("--method", dest="methods", action=NextMethod, nargs="+", default=[], metavar="NAME", help="yarn, linear, ntk, …")
    add_option(one)
    one.add_argument("--factors", type=factors, default=(1.0, 2.0, 4.0, 8.0), help="lengths in windows (default: 1,2,4,8)")
    add_text(one)
    held_out = f"only this part of the texts, split by their names (default: all; of {corpora.STANDARD_LIBRARY} held_out)"
    one.add_argument("--part", choices=corpora.SPLITS, help=held_out)
    one.add_argument("--documents", type=whole, default=16, help="how many texts to measure on, drawn by the seed (default: 16)")
    one.add_argument("--batch", type=whole, default=4, help="texts computed together (default: 4)")
    one.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the GPU if there is one)")
    one.add_argument("--dtype", choices=DTYPES, default="auto", help="precision of the weights (default: auto, as they are stored)")
    one.add_argument("--seed", type=seed, default=0, help="of the choice of texts (default: 0)")
    one.add_argument("--out", metavar="FOLDER", help="write a record of every line of the table to FOLDER/evaluate/")
    one.set_defaults(command=run_evaluate)


def add_export(commands: Any) -> None:
    """The sub-command `export` with its arguments."""
    one = commands.add_parser(
        "export",
        help="write a model with a method at one factor as a stock checkpoint",
        description="Write a checkpoint that unmodified transformers loads: MODEL with a method, frozen at one factor.",
    )
    add_model(one)
    one.add_argument("--method", dest="methods", action=NextMethod, default=[], metavar="NAME", help="for a stock model: yarn, linear, …")
    add_option(one)
    one.add_argument("--factor", type=factor, required=True, metavar="T", help="length / window, at least 1")
    one.add_argument("--out", required=True, metavar="PATH", help="folder to write; it must not exist")
    one.set_defaults(command=run_export)


def add_train(commands: Any) -> None:
    """The sub-command `train` with its arguments."""
    one = commands.add_parser(
        "train",
        help="train a model, a method or a tokenizer as a config says",
        description="Train as a TOML config says: text, rows, model, method, positions, plan. Some are shipped.",
    )
    one.add_argument("config", metavar="CONFIG", help="a TOML file, or a shipped one: words, recall, base, keys, clex, tokenizer")
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to make; checkpoints stand in FOLDER.training")
    one.add_argument("--seed", type=seed, default=0, help="of weights, data and everything drawn (default: 0)")
    one.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    one.add_argument("--records", type=Path, metavar="FOLDER", help="where the record of a model's training goes (default: --out)")
    one.add_argument("--resume", action="store_true", help="go on with an interrupted training of this --out")
    one.set_defaults(command=run_train)


def add_search(commands: Any) -> None:
    """The sub-command `search` with its arguments."""
    one = commands.add_parser(
        "search",
        help="search LongRoPE's divisors for a model, and score them on documents the search never saw",
        description="Evolve a divisor for every rotary pair and a number of start tokens on the loss of long texts (LongRoPE).",
    )
    add_model(one, SHIPPED)
    add_text(one, corpora.STANDARD_LIBRARY)
    one.add_argument("--factor", type=factor, metavar="T", help="length / window to search for, above 1 (default: the profile's, 8)")
    one.add_argument("--then", type=factor, metavar="T", help="tune at --factor, search again at T, then for short texts (progressive)")
    one.add_argument("--profile", choices=PROFILES, help="how much to search (default: CLEXLAB_PROFILE, or cpu)")
    one.add_argument("--seed", type=seed, default=0, help="of everything drawn; the texts are always the same (default: 0)")
    one.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to measure (default: cpu)")
    one.add_argument("--out", type=Path, metavar="FOLDER", help="where the record goes (default: data/results)")
    one.add_argument("--resume", action="store_true", help="go on with an interrupted search of this --out")
    one.set_defaults(command=run_search)


def add_model(one: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--model` and `--window`: what is extended."""
    places = "a model's folder or its name on the hub" + ("" if default is None else f" (default: {default}, the shipped model)")
    one.add_argument("--model", required=default is None, default=default, metavar="PATH", help=places)
    one.add_argument("--window", type=whole, metavar="N", help="tokens the model was trained at (default: its max_position_embeddings)")


def add_text(one: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--text` with the options of its sources; `corpus_of` reads what they name."""
    places = f"{corpora.STANDARD_LIBRARY}, a folder (searched with its sub-folders), a .jsonl file or {corpora.HUB}NAME"
    places += "" if default is None else f" (default: {default}, held out)"
    one.add_argument("--text", required=default is None, default=default, metavar="WHERE", help=places)
    endings = f"endings of a folder's text files (default: {' '.join(corpora.TEXT)})"
    one.add_argument("--suffix", dest="suffixes", nargs="+", metavar=".EXT", help=endings)
    one.add_argument("--field", metavar="NAME", help="field of a .jsonl file or a hub data set that holds the text (default: text)")
    one.add_argument("--hub-config", metavar="NAME", help="configuration of a hub data set")
    one.add_argument("--hub-split", metavar="NAME", help="split of a hub data set (default: train)")
    one.add_argument("--hub-rows", type=whole, metavar="N", help="first rows of a hub data set; the rest is not downloaded (default: all)")


def corpus_of(options: argparse.Namespace) -> corpora.Corpus:
    """All documents that `--text` and its options name; ValueError says what is wrong with them."""
    return corpora.load(
        options.text,
        suffixes=options.suffixes,
        field=options.field,
        config=options.hub_config,
        split=options.hub_split,
        limit=options.hub_rows,
    )


def add_option(one: argparse.ArgumentParser) -> None:
    """`--option`, after the `--method` it belongs to."""
    text = "an option of the method named last; VALUE is a number, a word or JSON"
    one.add_argument("--option", action=OptionOfMethod, metavar="NAME=VALUE", help=text)


def whole(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A seed as torch takes it: a whole number from 0, below 2^63."""
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; use a whole number from 0")
    return int(text)


def factor(text: str) -> float:
    """A factor t = length / window, at least 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a factor; use a number of at least 1: length / window")
    return value


def factors(text: str) -> tuple[float, ...]:
    """Factors with commas between them."""
    return tuple(factor(part) for part in text.split(","))


def minutes(text: str) -> float:
    """A number of minutes above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} are no minutes; use a number above 0")
    return value


def study_options(options: argparse.Namespace) -> list[str]:
    """The options of the study that were given."""
    names = (*TABLES, "rows", "seeds", "device", "out", "minutes", "workers", "child")
    return [f"--{name}" for name in names if getattr(options, name) is not None]


def run_study(options: argparse.Namespace) -> int:
    """`clexlab run study`, which loads torch only now."""
    from clexlab.commands import study

    return study.run(options)


def run_evaluate(options: argparse.Namespace) -> int:
    """`clexlab evaluate`, which loads torch only now."""
    from clexlab.commands import evaluate

    return evaluate.run(options)


def run_train(options: argparse.Namespace) -> int:
    """`clexlab train`, which loads torch only now."""
    from clexlab.commands import train

    return train.run(options)


def run_search(options: argparse.Namespace) -> int:
    """`clexlab search`, which loads torch only now."""
    from clexlab.commands import progressive, search

    return search.run(options) if options.then is None else progressive.run(options)


def run_export(options: argparse.Namespace) -> int:
    """`clexlab export`, which loads torch only now."""
    from clexlab.commands import export

    return export.run(options)
