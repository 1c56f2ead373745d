"""`clexlab run study`: the study's table or one of the others; the same command goes on where it stopped."""

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from clexlab import profiles, results, study
from clexlab.commands.arguments import TABLES
from clexlab.commands.usage import check_writable, failing, quiet, refusing
from clexlab.study import families, sparse, untrained

MINUTES = 10.0
# Where the records of each table go, and its rows, by the option that asks for it.
STUDY = ("study", study.ROWS)
KNOWN = {
    "ladder": ("clex_ladder", study.LADDER),
    "short": ("train_short", study.SHORT),
    "untrained": ("without_training", study.UNTRAINED),
    "families": ("families", study.FAMILIES),
    "sparse": ("sparse_attention", study.SPARSE),
}
# What the study's profile becomes where a table asks for more or for less.
BUDGETS = {"untrained": untrained.profile_of, "sparse": sparse.budget}
# The training that the others' cost is told beside, where cost is part of the question.
BESIDE = {"train_short": "full-yarn", "sparse_attention": "lora-full-yarn"}


def run(options: argparse.Namespace) -> int:
    """Run what has no record yet and print the table of all that have one; 1 where a run went wrong."""
    asked = next((name for name in TABLES if getattr(options, name)), "")
    experiment, rows = KNOWN.get(asked, STUDY)
    # The families are trained from nothing: budgets and models of their own.
    own = families if asked == "families" else study
    out = options.out or results.FOLDER
    check_writable(out / experiment)
    with refusing():
        profile = own.profile_by_name(options.profile or profiles.current())
        profile = BUDGETS[asked](profile) if asked in BUDGETS else profile
        rows = tuple(study.by_name(name, rows) for name in options.rows) if options.rows else rows
        seeds = tuple(options.seeds or profile.seeds)
        study.check(profile, rows, seeds, options.device or "cpu", options.minutes or MINUTES)
    if options.workers is not None and options.workers > 1:
        status = several(options, options.workers)
        tell(experiment, out, profile)
        return status
    with refusing():
        given = own.shipped()
        given.model()
    with failing(), quiet():
        outcome = study.run(
            profile,
            rows=rows,
            seeds=seeds,
            device=options.device or "cpu",
            out=out,
            minutes=options.minutes or MINUTES,
            experiment=experiment,
            given=given,
            report=partial(print, flush=True),
        )
    if not options.child:
        tell(experiment, out, profile)
    return 1 if outcome.failed else 0


def tell(experiment: str, out: Path, profile: study.Profile) -> None:
    """The table of all records there are, of this profile; what training cost, too, where that is part of the question."""
    records = [record for record in results.read_all(experiment, out) if record.config.get("profile") == profile.name]
    if records:
        print(study.near_and_far(records) if experiment == KNOWN["families"][0] else study.table(records))
    beside = BESIDE.get(experiment)
    if any(record.config["row"] == beside for record in records):
        print(f"\n{study.costs(records, beside)}")


def several(options: argparse.Namespace, workers: int) -> int:
    """The same command in several processes of one thread each; they share the work by locks, and a stop reaches all of them."""
    command = [sys.executable, "-m", "clexlab.cli", "run", "study", *again(options), "--child"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    processes = [subprocess.Popen(command, env=environment) for _ in range(workers)]
    try:
        statuses = [process.wait() for process in processes]
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    return int(any(statuses))


def again(options: argparse.Namespace) -> list[str]:
    """The options that were given, as words of a command line."""
    words = [f"--{name}" for name in TABLES if getattr(options, name)]
    for name in ("profile", "rows", "seeds", "device", "out", "minutes"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words
