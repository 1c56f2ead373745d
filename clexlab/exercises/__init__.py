"""Exercises that check themselves: `lessonNN.check_<name>(answer)` prints what is right, what is not, and the likely mistake.

Every check takes the learner's object (a function or a number), compares it with fixed values, prints one verdict and
returns whether it passed. `hint_<name>()` helps, `solution_<name>` is a worked answer that the tests run through the check.
"""

import dis
import importlib
from collections.abc import Sequence
from types import ModuleType

import torch

LESSONS = (
    "lesson00",
    "lesson01",
    "lesson02",
    "lesson03",
    "lesson04",
    "lesson05",
    "lesson06",
    "lesson07",
    "lesson08",
    "lesson09",
    "lesson10",
    "lesson11",
    "lesson12",
    "lesson17",
)


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
    if str(expected) == str(actual):
        expected, actual = (f"{value!r} ({type(value).__name__})" for value in (expected, actual))
    print(f"not yet.\n  expected: {expected}\n  yours:    {actual}\n  likely mistake: {mistake}")
    return False


class NothingReturned(Exception):
    """A function that has been written, and gave no result for these arguments."""


def call(function: object, *arguments: object) -> object:
    """The learner's function on these arguments; the exception itself when it raises, None while it is untouched.

    A written function that gives nothing back counts as `NothingReturned`: a `return` is missing somewhere.
    """
    try:
        result = function(*arguments)
    except Exception as error:
        return error
    if (result is None or result is Ellipsis) and not _untouched(function):
        return NothingReturned("no result for these arguments")
    return result


def numbers(value: object) -> object:
    """The value as a float64 tensor where it is a number, a (nested) sequence of numbers or an array; else as it came."""
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return value


def agrees(expected: object, actual: object, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether two numbers, sequences or tensors are the same shape and close; False for anything else.

    Where one number is expected, a tensor or list that holds one number is that number.
    """
    a, b = numbers(expected), numbers(actual)
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return False
    if a.ndim == 0 and b.numel() == 1:
        b = b.reshape(())
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def judge(expected: object, actual: object, mistakes: Sequence[tuple[object, str]], otherwise: str) -> bool:
    """The verdict on one answer: passed, or failed with the mistake whose wrong value the answer equals.

    `mistakes` pairs a wrong value with the words that name how one gets it; `otherwise` is said when none matches.
    """
    if unanswered(actual):
        return False
    if isinstance(actual, NothingReturned):
        return failed(expected, "nothing", "your function returned nothing here: is a return missing on some branch?")
    if isinstance(actual, Exception):
        return failed(expected, f"{type(actual).__name__}: {actual}", "the function raised; read the message above")
    if agrees(expected, actual):
        return passed()
    for wrong, words in mistakes:
        if agrees(wrong, actual):
            return failed(expected, actual, words)
    return failed(expected, actual, _right_in_another_form(expected, actual) or otherwise)


def _right_in_another_form(expected: object, actual: object) -> str | None:
    """Words for an answer that is right but for its type, its shape or its rounding; None for any other."""
    if isinstance(actual, str) and not isinstance(expected, str):
        return "this is text; give a number, without quotes"
    a, b = numbers(expected), numbers(actual)
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return None
    if a.shape != b.shape and agrees(a.flatten(), b.flatten()):
        return f"right numbers, shape {tuple(b.shape)}; wanted {tuple(a.shape)}"
    if a.ndim == 0 and a != a.round() and agrees(a, b, rtol=0.01):
        return "right to the digits you gave, it seems; give an expression or more digits"
    return None


def _untouched(function: object) -> bool:
    """Whether the body is still `...`: such a function loads one constant and returns it, and does nothing else."""
    try:
        steps = {instruction.opname for instruction in dis.get_instructions(function)}
    except TypeError:
        return False
    return steps <= {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


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
