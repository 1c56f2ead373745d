"""What every command of `clexlab` shares: one-line errors, the two ways a command can end badly, and quiet libraries.

Nothing heavy is imported here, so that `clexlab --help` is instant.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Usage(ValueError):
    """What was asked cannot be done as asked; the message is the one line the user sees. Exit status 2."""


class Failed(RuntimeError):
    """What was asked was right and went wrong while running; the message is the one line the user sees. Exit status 1."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage block before it."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def one_line(error: object) -> str:
    """An error's message as one line of text."""
    return " ".join(str(error).split())


@contextmanager
def refusing() -> Iterator[None]:
    """While nothing is written yet, what clexlab refuses is the user's one line."""
    try:
        yield
    except Usage:
        raise
    except (ValueError, OSError) as error:
        raise Usage(one_line(error)) from None


@contextmanager
def failing() -> Iterator[None]:
    """Once the work has begun: too little memory, a full disk and a loss that is no number are one line too."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Failed(one_line(error)) from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise Failed(f"out of memory ({one_line(error)[:120]}); use shorter texts or fewer at once") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' own progress bars, hints and retries; errors are ours to tell. Downloads show on a terminal."""
    import huggingface_hub.utils as hub
    from transformers.utils import logging

    loud = logging.get_verbosity(), hub.logging.get_verbosity()
    bars = logging.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    hub.logging.set_verbosity_error()
    logging.disable_progress_bar()
    if not sys.stderr.isatty():
        hub.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(loud[0])
        hub.logging.set_verbosity(loud[1])
        if bars[0]:
            logging.enable_progress_bar()
        if bars[1]:
            hub.enable_progress_bars()


def check_writable(target: Path) -> Path:
    """The nearest folder above `target` that exists, or `target` itself; Usage where nothing can be made in it."""
    above = next(place for place in (target.absolute(), *target.absolute().parents) if place.exists())
    if not above.is_dir():
        raise Usage(f"{target}: {above} is a file, no folder can be made there")
    if not os.access(above, os.W_OK):
        raise Usage(f"{target}: {above} is not writable")
    return above
