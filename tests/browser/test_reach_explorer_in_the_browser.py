"""ReachExplorer as a reader meets it: choose a pattern, move layers by keyboard, see reach grow, a leak told, a refusal shown."""

import pytest
from lab import write_notebook

CELLS = ("from clexlab import widgets\nexplorer = widgets.ReachExplorer(length=16)\nexplorer",)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "reach.ipynb", *CELLS)) as running:
        yield running


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def slider(notebook, label):
    """The handle of the slider with this label, hidden ones left out."""
    return notebook.page.locator(".clexlab-explorer-controls .widget-slider:visible", has_text=label).locator(".noUi-handle")


def options(notebook):
    """The labels of the controls in view that only some patterns have."""
    labels = notebook.page.locator(".clexlab-explorer-controls .widget-label:visible").all_inner_texts()
    return {label.strip() for label in labels} & {"chunk G", "interval δ", "an empty row", "mask", "keys moved by", "segment w"}


def test_masks_and_reach_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    drawn = notebook.drawn()
    assert drawn["all tokens"] == drawn["token i alone"] == 8 and drawn["in one layer"] > 60
    assert "of the causal triangle" in finding(notebook, "S2-Attn", "after 2;")
    assert options(notebook) == {"chunk G"}


def test_layers_move_by_keyboard_and_the_reach_with_them(notebook):
    notebook.press(slider(notebook, "layers n"), "ArrowRight")
    finding(notebook, "after 3;")
    notebook.settle()
    assert notebook.drawn()["layers n"] == 2 and notebook.troubles() == []


def test_another_pattern_has_other_options_and_its_empty_rows_are_told(notebook):
    notebook.page.get_by_label("pattern", exact=True).select_option("SDA, class shift (parametric family)")
    finding(notebook, "SDA, class shift", "Rows without a key of their own")
    assert options(notebook) == {"interval δ", "an empty row"} and notebook.troubles() == []


def test_a_leak_is_told(notebook):
    notebook.page.get_by_label("pattern", exact=True).select_option("S2-Attn rolled (leaks)")
    finding(notebook, "It leaks:")
    notebook.settle()
    assert notebook.drawn()["leak: the future"] > 0


def test_heads_that_have_no_half_are_explained_in_the_widget(notebook):
    slider(notebook, "heads").focus()
    notebook.page.keyboard.press("ArrowLeft")
    notebook.page.locator(".clexlab-error", has_text="have no half").wait_for()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.locator(".clexlab-error", has_text="have no half").wait_for(state="detached")


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
