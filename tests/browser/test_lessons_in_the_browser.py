"""Lessons as a learner meets them: the real Lab, a real browser, every cell run, sliders moved by key and by mouse."""

from pathlib import Path

import pytest
from lab import find_browser

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def lesson(number: str) -> Path:
    found = sorted(NOTEBOOKS.glob(f"{number}_*.ipynb"))
    assert len(found) == 1, f"lesson {number}: expected one notebook in notebooks/, found {found}"
    return found[0]


@pytest.mark.parametrize("named", [None, "/nowhere/chromium"])
def test_without_a_browser_the_tests_fail_and_say_how_to_get_one(monkeypatch, tmp_path, named):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("lab.BROWSERS", ("chromium", "google-chrome"))
    monkeypatch.delenv("CHROMIUM", raising=False)
    if named:
        monkeypatch.setenv("CHROMIUM", named)
    with pytest.raises(LookupError, match="apt-get install chromium.*set CHROMIUM to its path"):
        find_browser()


@pytest.mark.parametrize("number", ["00", "02", "05", "07"])
def test_a_lesson_runs_draws_and_follows_its_sliders(opened, number):
    with opened(lesson(number)) as notebook:
        assert notebook.troubles() == []
        assert notebook.figures() > 0
        assert notebook.page.evaluate("() => window.lab.undrawn()") == 0
        slider = notebook.sliders().first
        notebook.press(slider, "ArrowRight")
        notebook.press(slider, "ArrowLeft")
        notebook.drag(slider, 0.8)
        notebook.settle()
        assert notebook.troubles() == []
