"""LengthExplorer as a reader meets it: check a method, choose a baseline, move along the lengths, by keyboard alone."""

import pytest
from lab import write_notebook

CELLS = ('from clexlab import widgets\nexplorer = widgets.LengthExplorer("pocket_clex", methods=("clex", "control"))\nexplorer',)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "lengths.ipynb", *CELLS)) as running:
        yield running


def legend(notebook):
    return [name.strip() for name in notebook.page.locator(".clexlab-legend label:visible").all_inner_texts()]


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def test_the_records_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    assert notebook.drawn()["clex"] == notebook.drawn()["control"] == 4 and legend(notebook) == ["window", "clex", "control"]
    assert "At 8 × window (1,024 tokens), last quarter of a window, nats per token: " in finding(notebook)


def test_a_method_is_checked_by_keyboard(notebook):
    notebook.page.get_by_label("yarn", exact=True).focus()
    notebook.page.keyboard.press("Space")
    notebook.page.locator(".clexlab-legend label:visible", has_text="yarn").wait_for()
    assert notebook.drawn()["yarn"] == 4 and notebook.python("print(explorer.methods)") == "('yarn', 'clex', 'control')"


def test_a_baseline_makes_differences_and_their_axis_says_so(notebook):
    notebook.page.get_by_label("shown as", exact=True).select_option("control = 0")
    finding(notebook, "the baseline, control")
    notebook.settle()
    labels = notebook.page.locator(".clexlab canvas").get_attribute("aria-label")
    assert "minus control (nats per token)" in labels and "difference" in notebook.page.locator(".clexlab figcaption").inner_text()


def test_the_length_moves_by_keyboard_and_the_sentence_with_it(notebook):
    notebook.press(notebook.sliders().first, "ArrowLeft")
    finding(notebook, "At 4 × window (512 tokens)")
    assert notebook.troubles() == []


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
