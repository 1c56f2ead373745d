"""Exercises that check themselves: `lessonNN.check_<name>(answer)` prints what is right, what is not, and the likely mistake.

Every check takes the learner's object (a function or a number), compares it with fixed values, prints one verdict and
returns whether it passed. `hint_<name>()` helps, `solution_<name>` is a worked answer that the tests run through the check.
"""

import importlib
from collections.abc import Sequence
from types import ModuleType

import torch

LESSONS = ("lesson00", "lesson01", "lesson02", "lesson03", "lesson04", "lesson05")


def __getattr__(name: str) -> ModuleType:
    if name in LESSONS:
        return importlib.import_module(f"clexlab.exercises.{name}")
    raise AttributeError(f"module 'clexlab.exercises' has no attribute {name!r}; it has {', '.join(LESSONS)}")


def unanswered(answer: object) -> bool:
    """True, and says so, while the learner has not filled in the answer (None or ...)."""
    if answer is None or answer is Ellipsis:
        print("not answered yet: replace the ... and run the cell again")
        return True
    return False


def passed(message: str = "") -> bool:
    print(f"passed. {message}".rstrip())
    return True


def failed(expected: object, actual: object, mistake: str) -> bool:
    """Show both values and name the likely mistake; returns False for the check to return."""
    print(f"not yet.\n  expected: {expected}\n  yours:    {actual}\n  likely mistake: {mistake}")
    return False


def call(function: object, *arguments: object) -> object:
    """The learner's function on these arguments; None while it is unanswered, the exception itself when it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def agrees(expected: object, actual: object, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether two numbers, sequences or tensors are the same shape and close; False for anything else."""
    try:
        a = torch.as_tensor(expected, dtype=torch.float64)
        b = torch.as_tensor(actual, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return False
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def judge(expected: object, actual: object, mistakes: Sequence[tuple[object, str]], otherwise: str) -> bool:
    """The verdict on one answer: passed, or failed with the mistake whose wrong value the answer equals.

    `mistakes` pairs a wrong value with the words that name how one gets it; `otherwise` is said when none matches.
    """
    if unanswered(actual):
        return False
    if isinstance(actual, Exception):
        return failed(expected, f"{type(actual).__name__}: {actual}", "the function raised; read the message above")
    if agrees(expected, actual):
        return passed()
    for wrong, words in mistakes:
        if agrees(wrong, actual):
            return failed(expected, actual, words)
    return failed(expected, actual, otherwise)


def judge_in_turn(*cases: tuple[str, object, object, Sequence[tuple[object, str]], str]) -> bool:
    """One verdict on an answer tried on several inputs: the first case that fails, or one `passed` at the end.

    Each case is (what was tried, expected, actual, mistakes, otherwise), the last four as in `judge`.
    """
    for tried, expected, actual, mistakes, otherwise in cases:
        if unanswered(actual):
            return False
        if not agrees(expected, actual):
            print(f"tried with {tried}:")
            return judge(expected, actual, mistakes, otherwise)
    return passed()
