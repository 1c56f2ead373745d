"""One JSON file per run, written once: `data/results/<experiment>/<run>.json`.

A record holds what is needed to trust or repeat a number: configuration, seed, versions, device and machine, commit,
seconds, metrics. Lessons and benchmarks read records back as `Record` objects and print them with `table`.
"""

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "results"
PACKAGES = ("clexlab", "torch", "transformers", "torchdiffeq", "numpy")
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished run. `seconds` is wall time; `tokens` and `protocol` stay empty where a run has none."""

    experiment: str
    run: str
    config: dict
    metrics: dict
    seed: int
    seconds: float
    device: str = "cpu"
    tokens: int | None = None
    protocol: str = ""
    machine: str = field(default_factory=lambda: machine())
    versions: dict = field(default_factory=lambda: versions())
    commit: str = field(default_factory=lambda: commit())
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        for name in (self.experiment, self.run):
            if not isinstance(name, str) or not SLUG.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a file; use letters, digits, '-', '_' and '.', no '/'")
        if not self.metrics:
            raise ValueError("metrics is empty; a record without a measurement says nothing")
        if not isinstance(self.seconds, (int, float)) or not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds is {self.seconds!r}; give the wall time of the run, a finite number of 0 or more")


def write(record: Record, folder: Path = FOLDER) -> Path:
    """Store `record` and return its path. Raises ValueError where the run exists or a value is not finite JSON."""
    try:
        text = json.dumps(asdict(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        if json.loads(text) != asdict(record):
            raise TypeError("keys that are no strings, or tuples, come back as something else")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"record {record.run!r} is not plain JSON ({error}); use str, int, finite float, list and dict"
        ) from None
    path = folder / record.experiment / f"{record.run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ValueError(
            f"run {record.run!r} of {record.experiment!r} exists; records are never edited, choose a new run name"
        ) from None
    with handle:
        handle.write(text)
    return path


def read(path: Path) -> Record:
    """The record stored at `path`. Raises ValueError where the file is not a record."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror}); results.write made a file for each run") from None
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON ({error}); records are written by results.write") from None
    names = {item.name for item in fields(Record)}
    if not isinstance(content, dict) or set(content) != names:
        given = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path.name} is not a record: it has {given}, a record has {sorted(names)}")
    return Record(**content)


def read_all(experiment: str, folder: Path = FOLDER) -> list[Record]:
    """Every record of `experiment`, by file name; an empty list where there is none."""
    return [read(path) for path in sorted((folder / experiment).glob("*.json"))]


def table(records: Sequence[Record], columns: Mapping[str, str]) -> str:
    """A Markdown table with one row per record. `columns` maps a heading to a dotted field: {"loss": "metrics.loss"}.

    Floats show four significant digits; a field a record lacks shows "–".
    """
    if not columns:
        raise ValueError('columns is empty; give headings and fields, for example {"loss": "metrics.loss"}')
    rows = [[_show(_lookup(record, path)) for path in columns.values()] for record in records]
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def versions() -> dict:
    """Versions of Python and of the packages whose change could change a number; a missing package is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """System, processor architecture and number of usable cores, without the host's name."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {usable} cores"


def commit() -> str:
    """The git commit of this checkout, "-dirty" added where tracked files differ; "unknown" outside a checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _lookup(record: Record, dotted: str) -> object:
    name, *keys = dotted.split(".")
    names = sorted(item.name for item in fields(Record))
    if name not in names:
        raise ValueError(f"{dotted!r} is not a field of a record; start with one of {names}")
    value = getattr(record, name)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _show(value: object) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
