"""BiasExplorer as a reader meets it: choose a bias, move its options by keyboard, read the sentence."""

import pytest
from lab import write_notebook

CELLS = ("from clexlab import widgets\nexplorer = widgets.BiasExplorer(heads=4, window=64, factor=4)\nexplorer",)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "biases.ipynb", *CELLS)) as running:
        yield running


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def options(notebook):
    """The labels of the controls in view."""
    labels = notebook.page.locator(".clexlab-explorer-controls .widget-label:visible").all_inner_texts()
    return {label.strip() for label in labels} & {"fall", "rate a, c", "buckets", "furthest", "width"}


def test_curves_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    drawn = notebook.drawn()
    assert drawn["field of a head"] == 4 and drawn["heads"] > 100
    finding(notebook, "ALiBi", "256 keys of equal content", "look beyond the window of 64")
    assert options(notebook) == set()


def test_another_bias_has_other_options(notebook):
    notebook.page.get_by_label("method", exact=True).select_option("T5 bias")
    finding(notebook, "T5 bias", "the table is made up")
    assert options(notebook) == {"fall", "buckets", "furthest"} and notebook.troubles() == []


def test_the_factor_moves_by_keyboard_and_everything_with_it(notebook):
    notebook.page.get_by_label("method", exact=True).select_option("ALiBi")
    finding(notebook, "ALiBi")
    notebook.press(notebook.sliders().nth(2), "ArrowRight")
    finding(notebook, "512 keys")
    assert notebook.troubles() == []


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
