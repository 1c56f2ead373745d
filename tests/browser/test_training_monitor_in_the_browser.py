"""TrainingMonitor as a reader meets it: start, watch, ask the kernel something else meanwhile, stop, resume, read an error."""

import pytest
from lab import write_notebook

# Steps that pause, so that a hand on the stop button always comes in time, whatever the machine.
MAKE = """import time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
import clexlab
from clexlab import hf, objectives, positions, rows, scaling, training, widgets

class Slow(objectives.NextToken):
    pause = 0.1
    def __call__(self, model, tokens):
        time.sleep(self.pause)
        return super().__call__(model, tokens)
    def __repr__(self):
        return "Slow()"

def run(steps, given, frozen=False):
    shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=24, max_position_embeddings=8, **shape))
    path = hf.scaling_for(model, scaling.CLEX, window=8)
    path.requires_grad_(not frozen)
    sampler = positions.Scattered(window=8, factors=positions.WholeFactors(4))
    data = rows.Rows(torch.randint(24, (2 * given, 8)), ["text", "copy"] * given)
    plan = training.Plan(steps=steps, rows=2, log_every=5, path_rate=0.01)
    return widgets.Run(clexlab.extend(model, path, positions=sampler), data, plan, Slow())
"""
CELLS = (
    MAKE + 'monitor = widgets.TrainingMonitor({"CLEX": run(100, 100), "field frozen": run(10, 10, frozen=True)})\nmonitor',
    'wrong = widgets.TrainingMonitor({"too few rows": run(10, 9)})\nwrong',
)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "training.ipynb", *CELLS)) as running:
        yield running


def button(notebook, name, view=0, state="enabled"):
    return notebook.page.locator(f"{notebook.panel} .clexlab-explorer").nth(view).locator(f"button:{state}", has_text=name)


def test_a_training_draws_itself_while_the_kernel_answers_and_stop_saves_it(notebook):
    assert notebook.troubles() == []
    button(notebook, "start").click()
    notebook.page.wait_for_function(
        "() => document.querySelector('.clexlab').drawn.curves.some(({name, xs}) => name === 'CLEX' && xs.length > 1)"
    )
    assert notebook.python("print(6 * 7)") == "42"
    button(notebook, "stop").click()
    notebook.wait_for_progress("stopped")
    button(notebook, "resume").wait_for()
    button(notebook, "start", state="disabled").wait_for()
    button(notebook, "stop", state="disabled").wait_for()
    assert "resume goes on from there" in notebook.page.locator(".clexlab-explorer").first.inner_text()
    assert notebook.troubles() == []


def test_resume_goes_on_to_the_end_of_all_runs(notebook):
    notebook.python("Slow.pause = 0")
    button(notebook, "resume").click()
    notebook.wait_for_progress("done")
    button(notebook, "resume", state="disabled").wait_for()
    notebook.settle()
    points = notebook.drawn()
    assert points["field frozen"] == 3 and points["CLEX"] >= 21 and points["text"] == points["copy"] == 3
    assert {"prior", "t = 2", "t = 4", "t = 8", "t = 16"} <= set(points)
    assert notebook.python("print(list(monitor.trained), not wrong.begun)") == "['CLEX', 'field frozen'] True"
    assert notebook.troubles() == []


def test_an_error_is_one_line_in_the_widget_and_no_traceback(notebook):
    button(notebook, "start", view=1).click()
    alert = notebook.page.locator('.clexlab-error[role="alert"]', has_text="too few rows: the data have 18 rows")
    alert.wait_for(state="visible")
    assert "Traceback" not in alert.inner_text() and len(alert.inner_text().splitlines()) == 1
    notebook.wait_for_progress("failed")
