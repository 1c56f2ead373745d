"""Make or repair the environment of this checkout, then leave: `python scripts/setup_env.py [--venv .venv]`.

Standard library only, since it runs before anything is installed. A stamp inside the environment, written last, holds
everything the installation depends on. Where it matches, nothing is done and pip is not started. Where it is absent,
an installation was cut off, and the environment is made anew. Where only versions changed, they are changed in place.

The default build of torch for Linux brings gigabytes of CUDA libraries. A Linux machine without an NVIDIA GPU therefore
gets the CPU build, whose version carries the label "+cpu": from the configured package index where that has it, else
from PyTorch's own index. The default build is never a substitute for it. TORCH=cpu and TORCH=cuda override.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("pyproject.toml", "constraints.txt")
STAMP = "clexlab-setup.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GPU_SIGNS = ("/proc/driver/nvidia", "/dev/nvidia0")
NOT_FOUND = re.compile(r"No matching distribution|Could not find a version")


class SetupError(RuntimeError):
    """The environment cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Stamp:
    """What an installation depends on. `python` and `root` are built into the environment's own files."""

    python: str
    root: str
    torch: str
    inputs: str


def torch_choice(wanted: str, system: str, has_gpu: bool, installed: str | None = None) -> str:
    """Which build of torch to install: "cpu" or "default". `wanted` is the variable TORCH: "", "cpu" or "cuda".

    Without a wish, the build an environment has stays, so that `TORCH=cuda make lab` need not be repeated.
    """
    if wanted not in ("", "cpu", "cuda"):
        raise SetupError(f"TORCH={wanted} is not known; use TORCH=cpu, TORCH=cuda, or leave it out")
    if wanted == "cuda" and system != "Linux":
        raise SetupError(f"TORCH=cuda needs Linux, this is {system}; leave TORCH out")
    if system != "Linux":
        return "default"
    if wanted:
        return {"cpu": "cpu", "cuda": "default"}[wanted]
    return installed or ("default" if has_gpu else "cpu")


def torch_attempts(choice: str, version: str) -> list[list[str]]:
    """The pip arguments to try in order. Every attempt of the CPU build names the label, so none can bring CUDA.

    What torch itself requires comes with everything else, at the pinned versions.
    """
    if choice == "default":
        return [[f"torch=={version}", "--no-deps"]]
    labelled = f"torch=={version}+cpu"
    return [[labelled, "--no-deps"], [labelled, "--no-deps", "--index-url", CPU_INDEX]]


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU or its driver."""
    return any(os.path.exists(sign) for sign in GPU_SIGNS) or shutil.which("nvidia-smi") is not None


def pinned(constraints: str, name: str) -> str:
    """The version `constraints` pins for `name`."""
    found = re.search(rf"^{re.escape(name)}==(\S+)", constraints, re.MULTILINE)
    if not found:
        raise SetupError(f"constraints.txt pins no {name}; restore it with: git checkout constraints.txt")
    return found[1]


def wanted_stamp(root: Path, choice: str) -> Stamp:
    """The stamp that an up-to-date environment of this checkout would carry."""
    content = b"\0".join((root / name).read_bytes() for name in INPUTS)
    return Stamp(platform.python_version(), str(root), choice, hashlib.sha256(content).hexdigest())


def found_stamp(folder: Path) -> Stamp | None:
    """The stamp of the environment in `folder`; None where it has none or does not run any more."""
    try:
        stamp = Stamp(**json.loads((folder / STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return stamp if (folder / "bin" / "python").exists() else None


def plan(found: Stamp | None, wanted: Stamp) -> str:
    """What to do: "nothing", "update" in place, or "create" anew."""
    if found == wanted:
        return "nothing"
    if found is None or (found.python, found.root, found.torch) != (wanted.python, wanted.root, wanted.torch):
        return "create"
    return "update"


def pip(folder: Path, arguments: list[str], tolerate: bool = False) -> bool:
    """Run `pip install` with its progress shown. True if it worked; False if `tolerate` and there is no such package."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    environment = {**os.environ, "PIP_USER": "0"}
    # Only the errors are held back: they decide whether there is another place to look.
    done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return True
    if tolerate and NOT_FOUND.search(done.stderr):
        return False
    sys.stderr.write(done.stderr)
    raise SetupError("pip could not finish (its message is above); nothing is lost, run the same command again")


def install_torch(folder: Path, choice: str, version: str, run=pip) -> None:
    """Install the chosen build, from the first place that has it."""
    attempts = torch_attempts(choice, version)
    if not any(run(folder, arguments, tolerate=True) for arguments in attempts):
        if choice == "default":
            raise SetupError(f"the package index has no torch {version} for Python {platform.python_version()} on this machine")
        raise SetupError(
            f"no CPU build of torch {version} could be had: the package index has none, and {CPU_INDEX} cannot be reached\n"
            f"  or has none for Python {platform.python_version()}. The default build (gigabytes of CUDA) was not taken.\n"
            f"  Fix: connect this machine to {CPU_INDEX} and run the same command again,\n"
            f"       or put the wheel into a folder and run: PIP_FIND_LINKS=/that/folder make lab,\n"
            f"       or accept the CUDA build: TORCH=cuda make lab"
        )


def check_replaceable(folder: Path) -> None:
    """Refuse to clear a folder that holds anything but an environment."""
    content = {item.name for item in folder.iterdir()} if folder.exists() else set()
    if content - {"bin", "include", "lib", "lib64"} and "pyvenv.cfg" not in content:
        raise SetupError(f"{folder} is not a virtual environment and would be emptied; choose another with VENV=…")


def quiet_lab(folder: Path) -> None:
    """JupyterLab asks newcomers about news and looks for updates on the network; in this environment it does not."""
    config = folder / "etc" / "jupyter" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))


def install(folder: Path, action: str, stamp: Stamp) -> None:
    """Bring the environment to `stamp`. The stamp is removed first and written last, so a cut-off run is seen as one."""
    began = time.monotonic()
    (folder / STAMP).unlink(missing_ok=True)
    if action == "create":
        print(f"[1/3] virtual environment in {folder.name} (Python {stamp.python})", flush=True)
        check_replaceable(folder)
        venv.create(folder, clear=True, with_pip=True)
    version = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"), "torch")
    cuda = stamp.torch == "default" and platform.system() == "Linux"
    size = "with CUDA; its libraries follow, several gigabytes in all" if cuda else "without CUDA, about 200 MB"
    print(f"[2/3] torch {version} ({size})", flush=True)
    install_torch(folder, stamp.torch, version)
    print("[3/3] everything else, at the versions of constraints.txt (about 200 MB)", flush=True)
    pip(folder, ["-e", ".[lab,test]", "-c", "constraints.txt"])
    quiet_lab(folder)
    (folder / STAMP).write_text(json.dumps(asdict(stamp), indent=2) + "\n", encoding="utf-8")
    print(f"environment ready in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock on this file, so that a second `make` waits instead of clearing what the first one installs."""
    with Path(__file__).open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up is running in this checkout; waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="make or repair the virtual environment of this checkout")
    parser.add_argument("--venv", default=".venv", help="its folder (default: .venv)")
    folder = ROOT / parser.parse_args(arguments).venv
    try:
        with one_at_a_time():
            found = found_stamp(folder)
            kept = found.torch if found else None
            choice = torch_choice(os.environ.get("TORCH", ""), platform.system(), has_gpu(), kept)
            stamp = wanted_stamp(ROOT, choice)
            action = plan(found, stamp)
            if action != "nothing":
                install(folder, action, stamp)
    except SetupError as error:
        print(f"clexlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nclexlab: stopped; the same command starts over", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
