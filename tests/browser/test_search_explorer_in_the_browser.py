"""SearchExplorer as a reader meets it: generation by generation, another individual, another reference, by keyboard alone."""

import pytest
from lab import write_notebook

# A search for a vector that is known, scored "held out" by the distance to another one.
CELLS = (
    """import math
import torch
from clexlab import search, widgets
from clexlab.frequencies import Geometry

def to(wanted):
    return lambda genomes: torch.tensor([math.dist(genome.factors, wanted) for genome in genomes])

first = search.starts_from(Geometry("m", 16, 1e4, 64, ""), 4.0)
plan = search.Plan(population=8, generations=4, parents=4, mutations=3, crossovers=1)
space = search.Space(8, 5.0, starts=(0,))
history = search.search(to([1, 1, 1, 2, 2, 3, 4, 5]), space, plan, first, torch.Generator().manual_seed(0), report=search.Report())
seen = list(history.fitness)
explorer = widgets.SearchExplorer(history, dict(zip(seen, to([1, 1, 1, 1, 2, 4, 4, 4])(seen).tolist())))
explorer""",
)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "search.ipynb", *CELLS)) as running:
        yield running


def finding(notebook, *words):
    """The sentence, once it has these words."""
    for word in words:
        notebook.page.locator(".clexlab-finding", has_text=word).wait_for()
    return notebook.page.locator(".clexlab-finding").inner_text()


def test_population_references_and_gains_are_drawn_and_the_sentence_stands_below(notebook):
    assert notebook.troubles() == []
    drawn = notebook.drawn()
    assert drawn["PI"] == drawn["NTK"] == drawn["individual"] == 8 and drawn["generation"] == 8 * 9
    assert drawn["search texts"] == drawn["held-out text"] == 4 and drawn["this generation"] == 8
    assert "Generation 3 of 3: the best has" in finding(notebook, "On held-out text")


def test_generations_move_by_keyboard_and_the_sentence_with_them(notebook):
    notebook.press(notebook.sliders().nth(0), "ArrowLeft")
    finding(notebook, "Generation 2 of 3")
    assert notebook.python("print(explorer.generation)") == "2"


def test_another_individual_is_shown(notebook):
    notebook.press(notebook.sliders().nth(1), "ArrowRight")
    finding(notebook, "number 2 of 8")


def test_another_reference_renames_the_axis(notebook):
    notebook.page.get_by_label("against", exact=True).select_option("PI")
    finding(notebook, "against PI")
    notebook.settle()
    assert "minus PI (nats per token)" in notebook.page.locator(".clexlab canvas").nth(2).get_attribute("aria-label")


def test_divisors_are_drawn_as_ratios(notebook):
    notebook.page.get_by_label("drawn", exact=True).select_option("λ / λ of that")
    notebook.settle()
    assert "λ / λ of PI" in notebook.page.locator(".clexlab canvas").first.get_attribute("aria-label")
    assert notebook.troubles() == []


def test_it_fits_a_narrow_screen(notebook):
    assert notebook.fits(760)
