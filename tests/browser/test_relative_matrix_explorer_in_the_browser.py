"""RelativeMatrixExplorer as a reader meets it: choose a map, move its options by keyboard, read what became of the matrix."""

import pytest
from lab import write_notebook

CELLS = ("from clexlab import widgets\nexplorer = widgets.RelativeMatrixExplorer(window=16, length=40)\nexplorer",)
OPTIONS = {"near", "slowing", "group", "chunk", "ceiling", "shift", "local", "tail", "sinks", "recent", "starts", "limit"}

# Places of sliders on the page; those of other maps are hidden, not gone.
LENGTH, GROUP, CEILING = 1, 4, 6


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "maps.ipynb", *CELLS)) as running:
        yield running


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def options(notebook):
    """The labels of the options in view."""
    labels = notebook.page.locator(".clexlab-explorer-controls .widget-label:visible").all_inner_texts()
    return {label.strip() for label in labels} & OPTIONS


def test_matrix_row_and_counts_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    drawn = notebook.drawn()
    assert drawn["P with the map"] == 40 and drawn["one training row"] == 16 and drawn["trained positions"] > 0
    finding(notebook, "Self-Extend", "so all are trained", "Longest safe length")
    assert options(notebook) == {"near", "group"}


def test_another_map_has_other_options(notebook):
    notebook.page.get_by_label("map", exact=True).select_option("ReRoPE")
    finding(notebook, "ReRoPE", "Safe at any length")
    assert options(notebook) == {"near"} and notebook.troubles() == []


def test_an_option_moves_by_keyboard_and_everything_with_it(notebook):
    notebook.page.get_by_label("map", exact=True).select_option("Self-Extend")
    finding(notebook, "Self-Extend")
    group = notebook.sliders().nth(GROUP)
    for _ in range(2):
        notebook.press(group, "ArrowLeft")
    # Groups of two: (16 - 4)·2 + 4.
    finding(notebook, "Longest safe length 28", "of pairs are beyond it")
    notebook.settle()
    assert notebook.drawn()["never trained"] > 0 and notebook.troubles() == []


def test_a_longer_text_has_a_larger_matrix(notebook):
    notebook.press(notebook.sliders().nth(LENGTH), "ArrowRight")
    finding(notebook, "41 tokens")
    notebook.settle()
    assert notebook.drawn()["P with the map"] == 41 and notebook.troubles() == []


def test_options_that_exclude_each_other_are_explained_in_the_widget(notebook):
    notebook.page.get_by_label("map", exact=True).select_option("Dual Chunk (DCA)")
    finding(notebook, "Dual Chunk")
    notebook.settle()
    ceiling = notebook.sliders().nth(CEILING)
    ceiling.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.locator(".clexlab-error", has_text="use smaller chunks").wait_for()


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
