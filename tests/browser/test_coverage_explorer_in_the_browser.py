"""CoverageExplorer as a reader meets it: choose a recipe, move its options by keyboard, see a formula come when the hand rests."""

import pytest
from lab import write_notebook

CELLS = ("from clexlab import widgets\nexplorer = widgets.CoverageExplorer(window=16, factor=4)\nexplorer",)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "coverage.ipynb", *CELLS)) as running:
        yield running


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def options(notebook):
    """The labels of the controls in view."""
    labels = notebook.page.locator(".clexlab-explorer-controls .widget-label:visible").all_inner_texts()
    return {label.strip() for label in labels} & {"chunks", "cut", "pieces", "run's share α", "first tokens", "a sentence has"}


def test_rows_and_curves_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    drawn = notebook.drawn()
    assert drawn["C by formula"] == drawn["full length"] == 63 and drawn["tokens of a row"] > 60
    assert "of neighbours keep distance 1" in finding(notebook, "skip-wise (PoSE)", "(by formula)")
    assert options(notebook) == {"chunks", "cut"}


def test_another_recipe_has_other_options(notebook):
    notebook.page.get_by_label("recipe", exact=True).select_option("offset (E2-LLM)")
    # When the hand rests many rows are counted; of the few offsets near 0 no token is far, so the mean is below the four that stay.
    words = finding(notebook, "offset (E2-LLM)", "of 16 in a row (in 800 rows)")
    assert 3.5 < float(words.split("than a window: ")[1].split()[0]) < 4.0
    assert options(notebook) == {"first tokens"} and notebook.troubles() == []


def test_a_slow_formula_comes_when_the_hand_rests(notebook):
    notebook.page.get_by_label("recipe", exact=True).select_option("random (RandomPos)")
    finding(notebook, "random (RandomPos)", "(by formula)")
    notebook.settle()
    assert notebook.drawn()["C by formula"] == 63 and options(notebook) == set()


def test_the_factor_moves_by_keyboard_and_everything_with_it(notebook):
    notebook.page.get_by_label("recipe", exact=True).select_option("skip-wise (PoSE)")
    finding(notebook, "skip-wise (PoSE)")
    factor = notebook.sliders().nth(1)
    notebook.press(factor, "ArrowRight")
    finding(notebook, "from 16 to 79")
    notebook.settle()
    assert notebook.drawn()["C by formula"] == 79 and notebook.troubles() == []


def test_options_that_exclude_each_other_are_explained_in_the_widget(notebook):
    notebook.page.get_by_label("cut", exact=True).select_option("in the first half (code)")
    notebook.settle()
    notebook.sliders().nth(2).focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.locator(".clexlab-error", has_text="use Anywhere() for more").wait_for()


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
