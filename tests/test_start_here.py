"""The map of lesson 00 leads to every lesson there is, and to none that is not."""

import re

import nbformat
import pytest

from clexlab import notebooks, widgets
from clexlab.lessons import LESSONS, PLANNED

TEXT = {
    path: "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for path in notebooks.lessons()
}
START = next(text for path, text in TEXT.items() if path.stem.startswith("00"))


def test_the_map_links_every_other_lesson_under_its_number_and_title():
    links = dict(re.findall(r"\[(\d\d · [^\]]+)\]\(([^)]+\.ipynb)\)", START))
    titles = {label.lower() for label in links}
    assert titles == {f"{lesson.number:02d} · {lesson.title}".lower() for lesson in LESSONS if lesson.number}
    assert sorted(links.values()) == [path.name for path in TEXT if not path.stem.startswith("00")]


def test_the_map_promises_no_lesson_as_present_that_is_only_planned():
    linked = {int(number) for number in re.findall(r"\]\((\d\d)_[^)]*\.ipynb\)", START)}
    assert not linked & {number for number, _ in PLANNED}


@pytest.mark.parametrize("path", TEXT, ids=[path.stem for path in TEXT])
def test_links_between_lessons_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT[path]):
        assert (path.parent / target).exists(), target


def test_every_explorer_the_map_names_exists():
    rows = re.findall(r"^\| \[\d\d[^|]*\|[^|]*\| ([a-z ]+) \|$", START, re.MULTILINE)
    known = {re.sub(r"Explorer$", "", name).lower() for name in dir(widgets)}
    assert rows and all(row.replace(" ", "") in known for row in rows), (rows, known)
