"""ModelExplorer as a reader meets it: type, press, watch the curves grow while the kernel answers, stop, read an error."""

import pytest
from lab import write_notebook

CELLS = ("from clexlab import widgets\nexplorer = widgets.ModelExplorer(largest=2, documents=1)\nexplorer",)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "model.ipynb", *CELLS)) as running:
        yield running


def press(notebook, name):
    notebook.page.locator(f"{notebook.panel} button", has_text=name).click()


def entry(notebook, name):
    return notebook.page.get_by_label(name, exact=True)


def legend(notebook):
    return notebook.page.locator(".clexlab-legend label:visible").all_inner_texts()


def test_one_press_measures_the_shipped_model_and_the_kernel_answers_meanwhile(notebook):
    assert notebook.troubles() == [] and legend(notebook) == []
    press(notebook, "measure")
    assert notebook.python("print(6 * 7)") == "42"
    notebook.wait_for_progress("done")
    notebook.settle()
    assert notebook.troubles() == []
    assert notebook.drawn() == {"window": 2, "lengths to come": 2, "untouched": 2, "PI": 2, "YaRN": 2}
    assert [name.strip() for name in legend(notebook)] == ["window", "untouched", "PI", "YaRN"]
    assert "After 256 tokens (2 × window) the untouched model loses" in notebook.page.locator(".clexlab-finding").inner_text()


def test_stop_ends_it_and_the_buttons_change_places(notebook):
    # The larger of the shipped models: the pocket model may be done before a busy browser has found the button.
    notebook.python("from clexlab import base\nexplorer.model, explorer.documents, explorer.largest = str(base.FOLDER), 32, 16")
    press(notebook, "measure")
    # Both curves of the first press are gone, and the first points of this one are there.
    notebook.page.locator(".clexlab-finding", has_text="After 256 tokens (1 × window)").wait_for()
    assert notebook.page.locator(f"{notebook.panel} button", has_text="measure").is_disabled()
    press(notebook, "stop")
    notebook.wait_for_progress("stopped")
    # The word comes first, the buttons a message later.
    notebook.page.locator(f"{notebook.panel} button:disabled", has_text="stop").wait_for()
    assert notebook.troubles() == []


def test_a_folder_that_is_not_there_is_one_line_in_the_widget_and_no_traceback(notebook):
    entry(notebook, "model").fill("./nowhere")
    entry(notebook, "model").press("Tab")
    press(notebook, "measure")
    alert = notebook.page.locator('.clexlab-error[role="alert"]', has_text="./nowhere is missing")
    alert.wait_for(state="visible")
    assert "Traceback" not in alert.inner_text() and len(alert.inner_text().splitlines()) == 1
    notebook.wait_for_progress("failed")
    assert notebook.python("print(explorer.curves)") == "{}"
