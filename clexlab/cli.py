"""The command `clexlab`: doctor, lab, run, train, evaluate, search, export, bench.

Heavy imports wait inside the functions, so `--help` is instant.

Exit status: 0 done, 1 something failed while running, 2 the command line is wrong (one line on standard error).
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clexlab import __version__
from clexlab.commands.arguments import add_evaluate, add_export, add_run, add_search, add_train, run_study, study_options
from clexlab.commands.usage import Failed, Parser, Usage

ROOT = Path(__file__).resolve().parent.parent
PROMPT_ANSWERS = "--ServerApp.kernel_websocket_connection_class=clexlab.prompt_server.PromptConnection"
FIRST_LESSON = "notebooks/00_start_here.ipynb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except Usage as error:
        print(f"clexlab: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"clexlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nclexlab: stopped", file=sys.stderr)
        return 130


def parser() -> Parser:
    """The command line: one sub-command each, with the function that does it."""
    top = Parser(prog="clexlab", description="Learn, see and test how transformers know where a token is.")
    top.add_argument("--version", action="version", version=f"clexlab {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    one = commands.add_parser("doctor", help="what works on this machine, and the fix for what does not")
    one.set_defaults(command=doctor)

    one = commands.add_parser("lab", help="open JupyterLab on the first lesson")
    one.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    one.add_argument("--port", type=port, help="listen there or fail (default: the first free one from 8888)")
    one.set_defaults(command=lab)

    add_run(commands, run)
    add_evaluate(commands)
    add_export(commands)
    add_train(commands)
    add_search(commands)

    one = commands.add_parser("bench", help="measure speed and write it to data/results")
    one.set_defaults(command=bench)
    return top


def doctor(options: argparse.Namespace) -> int:
    """Print the report; 0 only if everything a lesson needs is there."""
    from clexlab import doctor as checks

    findings = checks.report()
    print(checks.render(findings))
    problems = sum(finding.level == "problem" for finding in findings)
    print(f"\n{problems} problem(s): follow the fixes from the top" if problems else "\neverything needed is here")
    return 1 if problems else 0


def lab(options: argparse.Namespace) -> int:
    """Become JupyterLab on the first lesson: this machine only, with a token."""
    if not (ROOT / FIRST_LESSON).exists():
        raise Usage(f"no {FIRST_LESSON} here; clexlab lab runs from a clone of the repository")
    need("jupyterlab")
    command = lab_command(browser=not options.no_browser, port=options.port, as_root=os.geteuid() == 0)
    sys.stdout.flush()
    os.execv(command[0], command)


def lab_command(*, browser: bool, port: int | None, as_root: bool) -> list[str]:
    """The command line of JupyterLab. A port that was asked for is never swapped for another one."""
    command = [
        sys.executable, "-m", "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={ROOT}",
        PROMPT_ANSWERS,
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
    ]
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        command.append("--no-browser")
    if as_root:
        command.append("--allow-root")
    return command


def run(options: argparse.Namespace) -> int:
    """Execute the named lessons; each prints a line with its seconds, a failed one its cell and error. The word "study" runs that."""
    if options.lessons == ["study"]:
        return run_study(options)
    if given := study_options(options):
        raise Usage(f"{', '.join(given)} belong to the study; clexlab run study takes them, lessons have --profile alone")
    need("nbclient")
    from clexlab import notebooks, profiles

    try:
        profile = options.profile or profiles.current()
        paths = notebooks.lessons() if options.lessons == ["all"] else [notebooks.find(name) for name in options.lessons]
    except ValueError as error:
        raise Usage(str(error)) from None
    if not paths:
        raise Usage("no lessons here; clexlab run works in a clone of the repository")
    results = [run_one(path, profile) for path in paths]
    print(f"{sum(results)} of {len(results)} lessons passed (profile {profile})", flush=True)
    return 0 if all(results) else 1


def run_one(path: Path, profile: str) -> bool:
    """Execute one lesson and print its line: name, outcome, seconds. On a terminal the line counts cells meanwhile."""
    from clexlab import notebooks

    live = sys.stdout.isatty()

    def count(done: int, total: int) -> None:
        if live:
            print(f"\r{path.stem:<36} cell {done}/{total}", end="", flush=True)

    began = time.monotonic()
    try:
        notebooks.execute(path, profile, count)
        outcome, error = "passed", ""
    except notebooks.LessonFailed as failed:
        outcome, error = "FAILED", str(failed)
    start = "\r" if live else ""
    print(f"{start}{path.stem:<36} {outcome} {time.monotonic() - began:7.1f} s", flush=True)
    if error:
        print(error, file=sys.stderr, flush=True)
    return not error


def bench(options: argparse.Namespace) -> int:
    """Run the benchmarks of this checkout."""
    if not (ROOT / "benchmarks" / "__main__.py").exists():
        raise Usage("no benchmarks here; clexlab bench runs from a clone of the repository")
    return subprocess.run([sys.executable, "-m", "benchmarks"], cwd=ROOT).returncode


def port(text: str) -> int:
    """A TCP port a user may listen on."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 1 to 65535")
    return int(text)


def need(package: str) -> None:
    """Raise Usage with the fix where an optional package is absent."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise Usage(f'{package} is not installed; run: {sys.executable} -m pip install "clexlab[lab]"')


if __name__ == "__main__":
    sys.exit(main())
