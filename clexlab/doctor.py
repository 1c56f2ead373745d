"""`clexlab doctor`: is this machine ready, what is missing, and what fixes it.

Packages are compared with two things: the lowest version the package metadata allows (below it: a problem) and, in a
checkout, the version of constraints.txt that the tests run with (another one: a remark, not a problem).
"""

import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from clexlab.lessons import LESSONS, Lesson

ROOT = Path(__file__).resolve().parent.parent
LOWEST_PYTHON = (3, 11)
# Extras without which every lesson runs, and what they are for.
OPTIONAL = {"tune": "fine-tuning", "test": "the test suite"}
GPU_SIGNS = ("/proc/driver/nvidia", "/dev/nvidia0")


@dataclass(frozen=True)
class Finding:
    """One line of the report. `level` is ok, note or problem; `fix` is what to type, empty where nothing is to be done."""

    level: str
    subject: str
    text: str
    fix: str = ""


def report() -> list[Finding]:
    """Everything the doctor finds, in the order it is printed."""
    packages = check_packages(tested_versions())
    broken = {finding.subject for finding in packages if finding.level == "problem"}
    gigabytes = free_memory_gb()
    return [
        check_python(sys.version_info[:3]),
        *packages,
        check_gpu(),
        check_memory(gigabytes),
        *(check_lesson(lesson, broken, gigabytes) for lesson in LESSONS),
    ]


def check_python(version: tuple[int, ...]) -> Finding:
    """Python 3.11 or newer."""
    text = ".".join(map(str, version))
    if version < LOWEST_PYTHON:
        return Finding("problem", "python", f"{text}; 3.11 or newer is needed", "make lab PYTHON=/path/to/python3.12")
    return Finding("ok", "python", f"{text} ({platform.system()} {platform.machine()})")


def check_packages(tested: dict[str, str]) -> list[Finding]:
    """One finding per direct requirement of clexlab and its `lab`, `tune` and `test` extras."""
    return [
        check_package(name, lowest, only_for, installed_version(name), tested.get(name))
        for name, lowest, only_for in requirements()
    ]


def check_package(name: str, lowest: str, only_for: str, installed: str | None, tested: str | None) -> Finding:
    """Compare one package with the lowest allowed and the tested version. One that is `only_for` something is never a problem."""
    level = "note" if only_for else "problem"
    wish = f"{name}=={tested}" if tested else f"{name}>={lowest}"
    purpose = f"; only {only_for} needs it" if only_for else ""
    if installed is None:
        return Finding(level, name, f"not installed{purpose}", install_command(wish))
    if release(installed) < release(lowest):
        return Finding(level, name, f"{installed}, but {lowest} or newer is needed{purpose}", install_command(wish))
    if tested and release(installed) != release(tested):
        return Finding("note", name, f"{installed}; tested with {tested}", install_command(wish))
    return Finding("ok", name, f"{installed}" + (" (the tested version)" if tested else ""))


def check_gpu() -> Finding:
    """What torch can compute on. No GPU is no problem; a GPU that torch cannot use is a remark with its fix."""
    if importlib.util.find_spec("torch") is None:
        return Finding("note", "gpu", "unknown, torch is not installed")
    import torch

    if torch.cuda.is_available():
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("ok", "gpu", f"{torch.cuda.get_device_name(0)}, {gigabytes:.0f} GB")
    if any(os.path.exists(sign) for sign in GPU_SIGNS) or shutil.which("nvidia-smi"):
        reason = "torch is the CPU build" if torch.version.cuda is None else "its driver does not answer torch"
        fix = "TORCH=cuda make lab" if torch.version.cuda is None else "nvidia-smi   (update the driver if it fails)"
        return Finding("note", "gpu", f"an NVIDIA GPU is here, but {reason}", fix)
    if torch.backends.mps.is_available():
        return Finding("ok", "gpu", "Apple GPU; the lessons compute on the CPU")
    return Finding("ok", "gpu", "none; every lesson here runs on the CPU")


def check_memory(gigabytes: float | None) -> Finding:
    """Free memory against the most that any one lesson wants."""
    most = max(lesson.memory_gb for lesson in LESSONS)
    if gigabytes is None:
        return Finding("note", "memory", f"unknown; {most:g} GB free is enough for every lesson")
    if gigabytes < most:
        return Finding("problem", "memory", f"{gigabytes:.1f} GB free; {most:g} GB is needed", "close other programs")
    return Finding("ok", "memory", f"{gigabytes:.1f} GB free")


def check_lesson(lesson: Lesson, broken: set[str], gigabytes: float | None) -> Finding:
    """Whether everything this lesson needs is there, and what it needs."""
    subject = f"lesson {lesson.number:02d}"
    lacking = [name for name in lesson.packages if name in broken]
    if gigabytes is not None and gigabytes < lesson.memory_gb:
        lacking.append("memory")
    if not lesson_file(lesson):
        fix = "git checkout notebooks" if (ROOT / ".git").exists() else "clone the repository; lessons are not in the wheel"
        return Finding("problem", subject, f"{lesson.title}: no notebook in {ROOT / 'notebooks'}", fix)
    if lacking:
        return Finding("problem", subject, f"{lesson.title}: needs {', '.join(lacking)}", "the fixes above")
    needs = f"{lesson.hardware}, {lesson.memory_gb:g} GB, about {lesson.minutes} minutes"
    return Finding("ok", subject, f"{lesson.title}: ready ({needs})")


def lesson_file(lesson: Lesson) -> Path | None:
    """The notebook of `lesson` in this checkout, if it is there."""
    return next(iter(sorted((ROOT / "notebooks").glob(f"{lesson.number:02d}_*.ipynb"))), None)


def requirements() -> list[tuple[str, str, str]]:
    """Direct requirements of the installed clexlab, each once: name, lowest version, and what alone needs it ("" = every lesson)."""
    found = {}
    for line in metadata.requires("clexlab") or []:
        parts = re.match(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)(?:.*extra == ['\"](\w+)['\"])?", line)
        if parts:
            found.setdefault(parts[1], (parts[1], parts[2], OPTIONAL.get(parts[3], "")))
    return list(found.values())


def tested_versions(root: Path = ROOT) -> dict[str, str]:
    """The pins of constraints.txt; empty where clexlab is installed without its checkout."""
    path = root / "constraints.txt"
    if not path.exists():
        return {}
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def installed_version(name: str) -> str | None:
    """The installed version of `name`, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without local label or pre-release: "2.13.0+cpu" -> (2, 13)."""
    numbers = [int(number) for number in re.match(r"\d+(?:\.\d+)*", version)[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def install_command(wish: str) -> str:
    """The line that installs `wish` into the running Python."""
    return f'"{sys.executable}" -m pip install "{wish}"'


def free_memory_gb() -> float | None:
    """Memory that a new program can get, in GB (2^30 bytes); None where the system does not tell."""
    if importlib.util.find_spec("psutil"):
        import psutil

        return psutil.virtual_memory().available / 2**30
    return None


def render(findings: Iterable[Finding]) -> str:
    """The report as text, one line per finding and its fix below it."""
    signs = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
    lines = []
    for finding in findings:
        lines.append(f"{signs[finding.level]}  {finding.subject:<15} {finding.text}")
        if finding.fix:
            lines.append(f"{'':<25} fix: {finding.fix}")
    return "\n".join(lines)
