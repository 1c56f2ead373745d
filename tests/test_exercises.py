"""Every checker accepts its solution, rejects planted mistakes by name, and waits for an answer.

A lesson's cases live in tests/exercise_cases/lessonNN.py:

    CASES = [(check, solution_answer, [(wrong_answer, "words the printed mistake must hold"), ...]), ...]
"""

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import nbformat
import numpy
import pytest
import torch

from clexlab import bounds, exercises, frequencies
from clexlab.exercises import lesson00, lesson01, lesson03

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"
LESSONS = sorted(path.stem for path in (HERE.parent / "clexlab" / "exercises").glob("lesson*.py"))


def load_cases(lesson: str) -> list:
    path = HERE / "exercise_cases" / f"{lesson}.py"
    spec = importlib.util.spec_from_file_location(f"exercise_cases_{lesson}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


def checks_of(lesson: str) -> dict:
    module = importlib.import_module(f"clexlab.exercises.{lesson}")
    return {
        name: function
        for name, function in vars(module).items()
        if name.startswith("check_") and inspect.isfunction(function) and function.__module__ == module.__name__
    }


CASES = [
    pytest.param(check, solution, wrong, id=f"{path.stem}-{check.__name__}")
    for path in sorted((HERE / "exercise_cases").glob("lesson*.py"))
    for check, solution, wrong in load_cases(path.stem)
]
MISTAKES = [
    pytest.param(check, answer, words, id=f"{case.id}-{number}")
    for case in CASES
    for check, _, wrong in [case.values]
    for number, (answer, words) in enumerate(wrong)
]

# A lesson run from top to bottom meets the untouched exercise cells, so these must neither crash nor scold.
# Where the answer is a function, the untouched cell holds one whose body is `...`.
EMPTY_VALUES = (..., None)
EMPTY_FUNCTIONS = (lambda *arguments, **options: ..., lambda *arguments, **options: None)
UNANSWERED = [
    pytest.param(check, empty, id=f"{case.id}-{number}")
    for case in CASES
    for check, solution, _ in [case.values]
    for number, empty in enumerate(EMPTY_VALUES + (EMPTY_FUNCTIONS if callable(solution) else ()))
]


@pytest.mark.parametrize("check, solution, wrong", CASES)
def test_the_solution_is_accepted(check, solution, wrong, capsys):
    accepted = check(solution)
    printed = capsys.readouterr().out
    assert accepted is True, printed
    assert "passed" in printed.lower()
    assert wrong, f"{check.__name__} has no planted wrong answer"


@pytest.mark.parametrize("check, answer, words", MISTAKES)
def test_a_planted_mistake_is_rejected_by_name(check, answer, words, capsys):
    rejected = check(answer)
    printed = capsys.readouterr().out
    assert rejected is False, printed
    assert "passed" not in printed.lower()
    assert words.lower() in printed.lower(), f"wanted {words!r} in:\n{printed}"


@pytest.mark.parametrize("check, answer", UNANSWERED)
def test_an_untouched_exercise_is_not_answered_yet(check, answer, capsys):
    accepted = check(answer)
    assert accepted is False
    assert "not answered yet" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("check, solution, wrong", CASES)
def test_an_answer_of_the_wrong_kind_is_refused_without_a_traceback(check, solution, wrong, capsys):
    for answer in ("forty-two", {"a": 1}, lambda *arguments, **options: "forty-two"):
        assert check(answer) is False
        assert "passed" not in capsys.readouterr().out.lower()


def no_result_on_some_branch(q, k, distances, inv_freq):
    if len(distances) > 3:
        return lesson01.solution_scores(q, k, distances, inv_freq)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (lesson00.check_turns, torch.tensor([0.4])),
        (lesson00.check_turns, numpy.array([[0.4]])),
        (lesson03.check_ratio, 64 / bounds.sharp(torch.tensor([0.5]), frequencies.inv_freq(128, 1e4))),
        (lesson03.check_midpoint, lambda theta: [float((1 - torch.cos(theta / 2)).sum())]),
        (lesson01.check_move_weight, lambda weight, heads: lesson01.solution_move_weight(weight, heads).numpy()),
        (lesson01.check_move_weight, lambda weight, heads: lesson01.solution_move_weight(weight, heads).tolist()),
    ],
)
def test_a_right_answer_passes_in_any_container(check, answer, capsys):
    assert check(answer) is True, capsys.readouterr().out


WRITTEN = [pytest.param(case.values[0], id=case.id) for case in CASES if callable(case.values[1])]


@pytest.mark.parametrize("check", WRITTEN)
def test_a_written_function_that_returns_nothing_is_not_called_unanswered(check, capsys):
    assert check(lambda *arguments, **options: print(end="")) is False
    printed = capsys.readouterr().out
    assert "return missing" in printed and "not answered" not in printed


def test_a_return_missing_on_one_branch_is_named(capsys):
    assert lesson01.check_scores(no_result_on_some_branch) is False
    assert "return missing" in capsys.readouterr().out


def test_equal_looking_values_show_their_types(capsys):
    exercises.failed(1, "1", "quotes")
    assert "'1' (str)" in capsys.readouterr().out


def test_a_whole_number_close_by_is_wrong_and_not_rounded(capsys):
    assert exercises.judge(1748, 1750, [], "another head") is False
    assert "another head" in capsys.readouterr().out


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_check_has_a_hint_a_solution_and_cases(lesson, capsys):
    module, checks = importlib.import_module(f"clexlab.exercises.{lesson}"), checks_of(lesson)
    covered = {check.__name__ for check, _, _ in load_cases(lesson)}
    assert checks and covered == set(checks)
    for name in checks:
        assert callable(getattr(module, name.replace("check_", "solution_", 1)))
        getattr(module, name.replace("check_", "hint_", 1))()
        assert capsys.readouterr().out.strip(), f"the hint of {name} prints nothing"


SOLUTION = re.compile(r"<summary>Solution.*?```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_printed_function_runs_on_the_imports_of_its_notebook_and_is_accepted(lesson, capsys):
    (path,) = NOTEBOOKS.glob(f"{lesson.removeprefix('lesson')}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    first = ast.parse(next(cell.source for cell in cells if cell.cell_type == "code"))
    names, asked, cases = {}, None, {case[0].__name__: case for case in load_cases(lesson)}
    # Imports alone: the rest of that cell sets up the whole process.
    for line in first.body:
        if isinstance(line, (ast.Import, ast.ImportFrom)):
            exec(ast.unparse(line), names)
    for cell in cells:
        if cell.cell_type == "code":
            # An exercise is asked in the last code cell above its solution.
            asked = re.search(r"check_(\w+)\((\w+)\)", cell.source) or asked
            continue
        for source in SOLUTION.findall(cell.source):
            check, expected, _ = cases[f"check_{asked[1]}"]
            # Where the answer is a number, the solution is an expression in the lesson's own names.
            if not callable(expected) or f"def {asked[2]}(" not in source:
                continue
            exec(source, names)
            assert check(names[asked[2]]) is True, f"{path.name}, {asked[1]}:\n{capsys.readouterr().out}"


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_notebook_asks_every_exercise_and_only_those(lesson):
    (path,) = NOTEBOOKS.glob(f"{lesson.removeprefix('lesson')}_*.ipynb")
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert set(re.findall(r"\bcheck_\w+", code)) == set(checks_of(lesson))
