import json
import re
import sys

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clexlab import notebooks
from clexlab.lessons import LESSONS

PATHS = notebooks.lessons()
MAX_BYTES = 100_000  # text of a long lesson with its outputs; one stored figure alone would be more
MACHINE_PATH = re.compile(r"/(?:tmp|root|home|work|Users|opt)/|[A-Z]:\\\\|site-packages")
FORBIDDEN = {
    "a change of the import path": re.compile(r"\bsys\.path\b"),
    "an installation": re.compile(r"\bpip\b|\bconda\b"),
    "a change of folder": re.compile(r"\bos\.chdir\b|^\s*%cd\b", re.MULTILINE),
    "a fixed GPU": re.compile(r"cuda:\d"),
    "a download": re.compile(r"\burllib\b|\brequests\.|\bwget\b|\bcurl\b|urlopen"),
}

every_lesson = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def write(folder, *sources, name="07_try_it.ipynb"):
    path = folder / name
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def texts(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from [output.text] if output.output_type == "stream" else map(str, output.get("data", {}).values())


# ------------------------------------------------------------------------------------------------ the lessons


def test_the_lessons_are_the_ones_of_the_table():
    assert [int(path.stem[:2]) for path in PATHS] == [lesson.number for lesson in LESSONS]


@pytest.mark.slow
@every_lesson
def test_a_lesson_runs_from_top_to_bottom_and_warns_of_nothing(path):
    done = notebooks.execute(path, "smoke")
    warnings = [output.text for cell in done.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    assert not warnings


@every_lesson
def test_a_lesson_is_one_sitting(path):
    lesson = read(path)
    lines = sum(len([line for line in source.splitlines() if line.strip()]) for source in code(lesson))
    assert len(lesson.cells) <= 60 and lines <= 300, f"{len(lesson.cells)} cells, {lines} lines of code"


@every_lesson
def test_a_lesson_is_stored_executed_and_tidy(path):
    lesson = read(path)
    nbformat.validate(lesson)
    assert lesson == notebooks.tidy(lesson), "run: make notebooks"
    assert notebooks.failure(lesson) is None
    assert list(texts(lesson)), "no outputs are stored; run: make notebooks"
    assert path.stat().st_size <= MAX_BYTES


@every_lesson
def test_a_lesson_holds_no_figure_payload_no_warning_and_no_path_of_a_machine(path):
    stored = path.read_text(encoding="utf-8")
    for mark in ("application/vnd.", "text/html", "image/png", "image/svg", "<script", '"name": "stderr"'):
        assert mark not in stored, mark
    assert not MACHINE_PATH.search("\n".join([*code(read(path)), *texts(read(path))]))


@every_lesson
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_lesson_imports_from_the_package_and_touches_nothing_else(path, what):
    assert not FORBIDDEN[what].search("\n".join(code(read(path)))), f"{path.name} contains {what}"


@every_lesson
def test_a_lesson_opens_as_the_style_guide_says(path):
    lesson = read(path)
    opening = []
    for cell in lesson.cells:
        if cell.cell_type == "code":
            break
        opening.append(cell.source)
    text = "\n".join(opening)
    assert text.startswith("# "), "the first cell is the title"
    for words in ("After this you can", "Needs", r"\d+ minutes", "CPU|GPU|laptop"):
        assert re.search(words, text), f"the opening does not say {words!r}"
    first = code(lesson)[0]
    assert "import" in first and "clexlab" in first and "seed" in first and "version" in first


@every_lesson
def test_the_table_says_the_title_and_the_minutes_that_the_lesson_says(path):
    opening = read(path).cells[0].source
    row = next(lesson for lesson in LESSONS if lesson.number == int(path.stem[:2]))
    assert opening.lower().startswith(f"# {row.number:02d} · {row.title}".lower())
    assert f" {row.minutes} minutes" in opening


@every_lesson
def test_a_lesson_closes_with_five_points_exercises_and_references(path):
    lesson = read(path)
    text = "\n\n".join(prose(lesson))
    summary = re.search(r"^##+ [^\n]*Summary[^\n]*$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert summary and len(re.findall(r"^(?:[-*]|\d+\.) ", summary[1], re.MULTILINE)) == 5
    references = re.search(r"^##+ [^\n]*References[^\n]*$(.*)", text, re.MULTILINE | re.DOTALL)
    assert references and "](http" in references[1]
    assert len(set(re.findall(r"\bcheck_\w+\(", "\n".join(code(lesson))))) >= 2


@every_lesson
def test_a_lesson_folds_its_solutions_and_says_none_of_the_words_that_discourage(path):
    text = "\n".join(prose(read(path)))
    assert "<details>" in text
    assert not re.search(r"\b(simply|obviously|trivially)\b", text, re.IGNORECASE)


# ------------------------------------------------------------------------------------------------ finding


@pytest.mark.parametrize("name", ["7", "07", "07_try_it", "07_try_it.ipynb"])
def test_a_lesson_is_found_by_number_name_or_path(tmp_path, name):
    path = write(tmp_path, "1")
    assert notebooks.find(name, tmp_path) == path


@pytest.mark.parametrize("name", ["8", "try_it", "07_other", "", "all"])
def test_an_unknown_lesson_is_refused_and_the_known_ones_are_named(tmp_path, name):
    write(tmp_path, "1")
    with pytest.raises(ValueError, match="this copy has: 07"):
        notebooks.find(name, tmp_path)


def test_only_numbered_notebooks_are_lessons_and_they_come_in_order(tmp_path):
    for name in ("10_last.ipynb", "02_first.ipynb", "draft.ipynb", "3_short.ipynb"):
        write(tmp_path, "1", name=name)
    assert [path.name for path in notebooks.lessons(tmp_path)] == ["02_first.ipynb", "10_last.ipynb"]


# ------------------------------------------------------------------------------------------------ executing


def test_a_lesson_runs_in_this_interpreter_in_an_empty_folder_with_its_profile(tmp_path):
    path = write(
        tmp_path,
        "import os, sys; from clexlab import profiles",
        "print(sys.executable); print([f for f in os.listdir() if f[0] != '.']); print(profiles.current())",
    )
    before, steps = path.read_bytes(), []
    done = notebooks.execute(path, "gpu", lambda *count: steps.append(count))
    assert "".join(texts(done)).split("\n")[:3] == [sys.executable, "[]", "gpu"]
    assert steps == [(1, 2), (2, 2)]
    assert path.read_bytes() == before


def test_a_failing_cell_is_shown_with_its_code_and_its_error(tmp_path):
    path = write(tmp_path, "x = 1", "y = x / 0", "print('not reached')")
    with pytest.raises(notebooks.LessonFailed, match=r"(?s)07_try_it.ipynb: cell 1 failed.*y = x / 0.*ZeroDivisionError"):
        notebooks.execute(path, "smoke")


def test_a_kernel_that_dies_is_a_failure_with_its_cell(tmp_path):
    path = write(tmp_path, "import os; os._exit(1)")
    with pytest.raises(notebooks.LessonFailed, match="cell 0 failed"):
        notebooks.execute(path, "smoke")


def test_an_endless_cell_is_ended(tmp_path, monkeypatch):
    monkeypatch.setitem(notebooks.CELL_SECONDS, "smoke", 1)
    with pytest.raises(notebooks.LessonFailed, match="ran longer than 1 s"):
        notebooks.execute(write(tmp_path, "while True: pass"), "smoke")


@pytest.mark.parametrize("source", ["1", "1 / 0"])
def test_no_kernel_outlives_its_lesson(tmp_path, source):
    path = write(tmp_path, f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))", source)
    try:
        notebooks.execute(path, "smoke")
    except notebooks.LessonFailed:
        assert source == "1 / 0"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_an_unknown_profile_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="smoke, cpu, gpu"):
        notebooks.execute(tmp_path / "absent.ipynb", "huge")


# ------------------------------------------------------------------------------------------------ tidying

PLOTLY = {"application/vnd.plotly.v1+json": {"data": [1] * 1000}, "text/html": "<div>", "text/plain": "Figure({…})"}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "IntSlider()"}
HTML_FIGURE = {"text/html": "<div class='plotly-graph-div'><script>…</script></div>", "text/plain": "<Figure>"}
PICTURE = {"image/png": "iVBORw0", "text/plain": "<Figure size 640x480>"}


def executed(*outputs):
    notebook = new_notebook(cells=[new_markdown_cell("# t"), new_code_cell("1", execution_count=3, outputs=list(outputs))])
    notebook.cells[1].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    notebook.cells[1].metadata["tags"] = ["keep"]
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "x" * 1000}}}
    notebook.metadata["kernelspec"] = {"name": "mine", "display_name": "mine"}
    return notebook


@pytest.mark.parametrize("data", [PLOTLY, WIDGET, HTML_FIGURE, PICTURE])
@pytest.mark.parametrize("kind", ["display_data", "execute_result"])
def test_a_figure_leaves_nothing_behind(data, kind):
    stored = notebooks.tidy(executed(new_output(kind, data=data)))
    assert stored.cells[1].outputs == []


def test_text_stays_and_html_beside_text_goes():
    table = new_output("execute_result", data={"text/plain": "a  b", "text/html": "<table></table>"}, execution_count=3)
    printed = new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m\n")
    stored = notebooks.tidy(executed(printed, table))
    assert [output.output_type for output in stored.cells[1].outputs] == ["stream", "execute_result"]
    assert list(texts(stored)) == ["red\n", "a  b"]


def test_traces_of_the_run_go_and_what_the_author_wrote_stays():
    stored = notebooks.tidy(executed())
    assert stored.cells[1].execution_count is None
    assert stored.cells[1].metadata == {"tags": ["keep"]}
    assert stored.metadata == notebooks.KERNEL
    nbformat.validate(stored)


def test_tidying_is_pure_and_doing_it_twice_changes_nothing():
    notebook = executed(new_output("display_data", data=PLOTLY), new_output("stream", name="stdout", text="a"))
    before = json.dumps(notebook)
    once = notebooks.tidy(notebook)
    assert json.dumps(notebook) == before
    assert notebooks.tidy(once) == once


def test_an_error_is_kept_so_that_a_test_can_find_it():
    error = new_output("error", ename="ValueError", evalue="odd", traceback=["\x1b[31mValueError\x1b[0m: odd"])
    assert "ValueError: odd" in notebooks.failure(notebooks.tidy(executed(error)))


def test_refresh_stores_the_executed_lesson_tidied(tmp_path):
    path = write(tmp_path, "print(6 * 7)")
    notebooks.refresh(path, "smoke")
    stored = read(path)
    assert list(texts(stored)) == ["42\n"]
    assert stored == notebooks.tidy(stored)


def test_pieces_of_one_stream_are_stored_as_one():
    out, err = (lambda text, name=name: new_output("stream", name=name, text=text) for name in ("stdout", "stderr"))
    stored = notebooks.tidy(executed(out("a"), out("b"), err("c"), out("d")))
    assert [(output.name, output.text) for output in stored.cells[-1].outputs] == [("stdout", "ab"), ("stderr", "c"), ("stdout", "d")]


def test_a_lesson_is_found_by_number_name_and_path_and_by_nothing_else(tmp_path):
    second = notebooks.find("02")
    assert second.stem.startswith("02") and notebooks.find("2") == notebooks.find(second.name) == notebooks.find(str(second)) == second
    for other in ("", "foo/2", str(tmp_path / second.name), "two"):
        with pytest.raises(ValueError, match="unknown lesson"):
            notebooks.find(other)


def test_a_broken_file_fails_as_a_lesson_and_not_as_the_program(tmp_path):
    broken = tmp_path / "02_broken.ipynb"
    broken.write_text('{"cells": [')
    with pytest.raises(notebooks.LessonFailed, match="not a notebook"):
        notebooks.execute(broken, "smoke")
