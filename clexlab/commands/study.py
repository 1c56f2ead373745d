"""`clexlab run study`: the table of methods, the ladder, train short, or without training; the same command goes on where it stopped."""
"""`clexlab run study`: the table of methods, the ladder, train short, or the families; the same command goes on where it stopped."""

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from clexlab import profiles, results, study
from clexlab.commands.usage import check_writable, failing, quiet, refusing
from clexlab.study import untrained

MINUTES = 10.0
# Where the records of each go.
STUDY, LADDER, SHORT = ("study", study.ROWS), ("clex_ladder", study.LADDER), ("train_short", study.SHORT)
UNTRAINED = ("without_training", study.UNTRAINED)
FAMILIES = ("families", study.FAMILIES)
# The training at full length that the others' cost is told beside.
FULL = "full-yarn"


def run(options: argparse.Namespace) -> int:
    """Run what has no record yet and print the table of all that have one; 1 where a run went wrong."""
    experiment, rows = LADDER if options.ladder else SHORT if options.short else UNTRAINED if options.untrained else STUDY
    out = options.out or results.FOLDER
    check_writable(out / experiment)
    with refusing():
        profile = study.profile_by_name(options.profile or profiles.current())
        if options.untrained:
            profile = untrained.profile_of(profile)
    experiment, rows = LADDER if options.ladder else SHORT if options.short else FAMILIES if options.families else STUDY
    # The families are trained from nothing: budgets and models of their own.
    own = study.families if options.families else study
    out = options.out or results.FOLDER
    check_writable(out / experiment)
    with refusing():
        profile = own.profile_by_name(options.profile or profiles.current())
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
    """The table of all records there are, of this profile; of short training what it cost, too."""
    records = [record for record in results.read_all(experiment, out) if record.config.get("profile") == profile.name]
    if records:
        print(study.near_and_far(records) if experiment == FAMILIES[0] else study.table(records))
    if any(record.config["row"] == FULL for record in records) and experiment == SHORT[0]:
        print(f"\n{study.costs(records, FULL)}")


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
    words = [f"--{name}" for name in ("ladder", "short", "untrained") if getattr(options, name)]
    words = [f"--{name}" for name in ("ladder", "short", "families") if getattr(options, name)]
    for name in ("profile", "rows", "seeds", "device", "out", "minutes"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words
