"""Run the rows of a study, seed by seed, as long as there is time; the next call goes on where this one stopped.

A run that has a record is done. A training that was killed goes on from its last checkpoint. A lock that the system lifts with
its process keeps two calls on one machine from doing the same work, so several may run side by side.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product, takewhile
from pathlib import Path

import torch

from clexlab import frequencies, results
from clexlab.study import ladder, material, methods, runs, sizes
from clexlab.study.material import Material
from clexlab.study.methods import Row
from clexlab.study.runs import Place
from clexlab.study.sizes import Profile
from clexlab.study.tuning import Tuning

STUDY = "study"
# Trained models and checkpoints, beside the records; not part of the repository.
SCRATCH = ".study"
# Whose records another experiment takes for the same training and reading: those of the ones before it.
ORIGINS = ((STUDY, methods.ROWS), ("clex_ladder", ladder.LADDER))
# Attention makes long rows dearer: a first guess for planning, until one was seen.
LONG_ROWS = 3.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row with a seed, and the name of its record. What is not trained has no seed and is one job for all of them."""

    row: Row
    seed: int
    run: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call did, by names of runs: new records, records that were there, what went wrong and how, what is left for the next."""

    done: list[str] = field(default_factory=list)
    had: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def run(
    profile: str | Profile,
    *,
    rows: Sequence[Row] = methods.ROWS,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    out: Path = results.FOLDER,
    minutes: float = 10.0,
    experiment: str = STUDY,
    given: Material | None = None,
    report: Callable[[str], None] = print,
) -> Outcome:
    """Run every row with every seed that has no record in `out`/`experiment` yet, until the next step would not fit into `minutes`.

    All rows of a seed come before the next seed, so that an interrupted study is still a fair table. The first step of a call
    starts whatever `minutes` says. `given` takes the place of the shipped base model and texts. A run that goes wrong (a field that
    runs away) is reported and left out; the others go on. Raises ValueError for what cannot be run at all, before the first one.
    """
    profile = sizes.by_name(profile) if isinstance(profile, str) else profile
    seeds = profile.seeds if seeds is None else tuple(seeds)
    check(profile, rows, seeds, device, minutes)
    todo = jobs(profile, rows, seeds)
    outcome = Outcome(had=[job.run for job in todo if (out / experiment / f"{job.run}.json").exists()])
    if len(outcome.had) == len(todo):
        report(f"nothing to do: all {len(todo)} runs have their records")
        return outcome
    place = Place(material=given or material.shipped(), profile=profile, device=device, work=out / SCRATCH)
    call = Call(place, todo, out, experiment, minutes, outcome, report)
    while call.step():
        pass
    outcome.left.extend(job.run for job in call.open())
    report(call.summary())
    return outcome


def jobs(profile: Profile, rows: Sequence[Row], seeds: Sequence[int]) -> list[Job]:
    """All rows of the first seed, then of the next; a row without training once, among those of the first seed, as seed 0."""
    ordered = [(row, seed) for seed in seeds for row in rows if row.tuning is not None or seed == seeds[0]]
    return [Job(row=row, seed=0 if row.tuning is None else seed, run=run_name(profile, row, seed)) for row, seed in ordered]


def run_name(profile: Profile, row: Row, seed: int) -> str:
    """`cpu-clex-ours-seed1`; without a seed where nothing is trained."""
    return f"{profile.name}-{row.name}" + ("" if row.tuning is None else f"-seed{seed}")


def check(profile: Profile, rows: Sequence[Row], seeds: Sequence[int], device: str, minutes: float) -> None:
    """Refuse what cannot be run, before anything is loaded."""
    if not rows or len({row.name for row in rows}) < len(rows):
        raise ValueError(f"rows are {', '.join(row.name for row in rows) or 'none'}; give at least one, each once")
    if not seeds or len(set(seeds)) < len(seeds) or not all(frequencies.is_whole(seed) and seed >= 0 for seed in seeds):
        raise ValueError(f"seeds are {list(seeds)}; give whole numbers from 0, each once")
    if not frequencies.is_finite(minutes) or minutes <= 0:
        raise ValueError(f"minutes is {minutes!r}; it must be a number above 0")
    for tuning, seed in product({row.tuning.name: row.tuning for row in rows if row.tuning is not None}.values(), seeds):
        for each in (tuning, tuning.after):
            if each is not None:
                profile.plan(seed, device, span=each.windows, path_rate=each.path_rate)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda and torch sees no GPU here; use cpu, or look at clexlab doctor")


class Call:
    """One call of `run`: what is open, what time is left, and one step after the other. A step is a training or a measurement."""

    def __init__(
        self,
        place: Place,
        todo: Sequence[Job],
        out: Path,
        experiment: str,
        minutes: float,
        outcome: Outcome,
        report: Callable[[str], None],
    ) -> None:
        self.place, self.todo, self.out, self.experiment = place, todo, out, experiment
        self.outcome, self.report = outcome, report
        self.began, self.allowed = time.monotonic(), 60 * minutes
        # Seconds of the longest step of each kind: windows read of a row of training, 0 for a measurement.
        self.took: dict[int, float] = {}

    def open(self) -> list[Job]:
        """Jobs without a record that have not gone wrong in this call."""
        return [job for job in self.todo if job.run not in self.outcome.failed and not self.file(job).exists()]

    def file(self, job: Job) -> Path:
        return self.out / self.experiment / f"{job.run}.json"

    def step(self) -> bool:
        """Do the first open step that no other call is at; False where there is none, or no time for it."""
        for job in self.open():
            due = self.due(job)
            folder = self.place.work / f"{self.experiment}-{job.run}" if due is None else self.place.folder(due, job.seed)
            with alone(folder.with_name(f"{folder.name}.lock")) as mine:
                # Another call may have finished it between the two looks.
                if not mine or self.file(job).exists() or self.due(job) != due:
                    continue
                return self.within_time(job, due)
        return False

    def due(self, job: Job) -> Tuning | None:
        """The training this job waits for: its own, or before it the one whose model it looks at. None: it can be measured."""
        own = job.row.tuning
        if own is None or self.place.is_trained(own, job.seed) or self.twin(job) is not None:
            return None
        return own if own.after is None or self.place.is_trained(own.after, job.seed) else own.after

    def twin(self, job: Job) -> results.Record | None:
        """This job's record made of an earlier experiment's of the same training and reading, if there is one: nothing is done twice."""
        earlier = takewhile(lambda origin: origin[0] != self.experiment, ORIGINS)
        for experiment, row in ((name, row) for name, rows in earlier for row in rows):
            file = self.out / experiment / f"{run_name(self.place.profile, row, job.seed)}.json"
            if (row.tuning, row.reading, row.tasks) == (job.row.tuning, job.row.reading, job.row.tasks) and file.is_file():
                found = runs.renamed(self.place, results.read(file), job.row, job.seed, self.experiment, job.run)
                if found is not None:
                    return found
        return None

    def within_time(self, job: Job, due: Tuning | None) -> bool:
        began, kind = time.monotonic(), 0 if due is None else due.windows
        if self.took and began - self.began + self.expected(kind) > self.allowed:
            return False
        try:
            said = self.measure(job) if due is None else self.train(due, job.seed)
        except (ValueError, RuntimeError) as error:
            self.fail(job, due, error)
            said = f"FAILED: {' '.join(str(error).split())}"
        seconds = time.monotonic() - began
        self.took[kind] = max(seconds, self.took.get(kind, 0.0))
        self.report(f"{job.run:<36} {said}  {seconds:.1f} s")
        return True

    def expected(self, kind: int) -> float:
        """Seconds a step will take: as long as the longest one of its kind so far, else what the profile guesses."""
        if kind in self.took or not kind:
            return self.took.get(kind, self.place.profile.measuring_seconds)
        short = self.took.get(1, self.place.profile.training_seconds)
        return short if kind == 1 else LONG_ROWS * short

    def train(self, tuning: Tuning, seed: int) -> str:
        runs.train(self.place, tuning, seed)
        return f"trained {tuning.name}"

    def measure(self, job: Job) -> str:
        record = self.twin(job) or runs.measure(self.place, job.row, job.seed, self.experiment, job.run)
        results.write(runs.with_memory(self.place, record, job.row, job.seed), self.out)
        self.outcome.done.append(job.run)
        return "  ".join(f"{factor}× {loss:.3f}" for factor, loss in record.metrics["last"].items())

    def fail(self, job: Job, due: Tuning | None, error: Exception) -> None:
        """Everything that needs this training, or this measurement alone, goes no further in this call."""
        together = [job] if due is None else [each for each in self.open() if each.seed == job.seed and _needs(each.row, due)]
        self.outcome.failed.update({each.run: str(error) for each in together})

    def summary(self) -> str:
        """What was done and what is left, in one line."""
        new, failed, left = len(self.outcome.done), len(self.outcome.failed), len(self.open())
        counts = f"{new} new, {len(self.todo) - new - failed - left} there already, {failed} failed, {left} left"
        again = "; the same command goes on with them" if left else ""
        return f"{counts} after {(time.monotonic() - self.began) / 60:.1f} minutes{again}"


def _needs(row: Row, tuning: Tuning) -> bool:
    return row.tuning is not None and tuning in (row.tuning, row.tuning.after)


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Whether this process holds the lock `file`. The system lifts it when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
