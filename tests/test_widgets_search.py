"""SearchExplorer: what it draws and says is what the history holds, and what was fitted is told from what holds on held-out text."""

import re

import explorer_checks
import numpy as np
import pytest
from search_histories import BEST, CHILD, FITNESS, HELD_OUT, NTK, PI, YARN, history

from clexlab import results
from clexlab.widgets import WIDGETS, SearchExplorer, search_explorer
from clexlab.widgets.search_views import View, finding, view_of

# The page is sent float32: seven digits.
SENT = dict(rtol=2e-7, atol=1e-7)


@pytest.fixture
def explorer():
    return SearchExplorer(history(), HELD_OUT)


def drawn(explorer, index):
    return explorer.chart.data[index]


def plain(sentence):
    return re.sub(r"<[^>]*>", "", sentence)


def record(run, fitness=FITNESS, each=None):
    names = ("linear_tempered", "ntk_tempered", "yarn_tempered", "searched")
    methods = {name: {"held_out": {"whole": HELD_OUT[genome]}} for name, genome in zip(names, (PI, NTK, YARN, BEST), strict=True)}
    for name, losses in (each or {}).items():
        methods[name]["held_out"]["whole_by_document"] = losses
    by_generation = [HELD_OUT[genome] for genome in (YARN, CHILD, BEST)]
    metrics = {"history": history(fitness).to_dict(), "methods": methods, "measure": "whole", "held_out_by_generation": by_generation}
    about = dict(config={}, seed=0, seconds=1.0, commit="unknown", machine="made up", versions={})
    return results.Record(experiment="search", run=run, metrics=metrics, **about)


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert SearchExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


@pytest.mark.parametrize(("index", "best_first"), [(0, [YARN, NTK, PI]), (1, [CHILD, YARN, NTK]), (2, [BEST, CHILD, YARN])])
def test_the_slider_shows_the_population_of_a_generation_in_order(explorer, index, best_first):
    explorer.generation = index
    order, lines = drawn(explorer, search_explorer.ORDER), drawn(explorer, search_explorer.POPULATION)
    np.testing.assert_allclose(order.y, [FITNESS[genome] for genome in best_first], **SENT)
    np.testing.assert_allclose(lines.y.reshape(3, 5)[:, :4], [genome.factors for genome in best_first], **SENT)
    assert np.isnan(lines.y.reshape(3, 5)[:, 4]).all() and explorer.notice.value == ""


def test_the_thick_line_is_the_individual_of_the_rank(explorer):
    for rank, genome in enumerate((BEST, CHILD, YARN)):
        explorer.rank = rank
        np.testing.assert_allclose(drawn(explorer, search_explorer.CHOSEN).y, genome.factors, **SENT)
        np.testing.assert_allclose(drawn(explorer, search_explorer.THIS).y, FITNESS[genome], **SENT)


def test_what_the_search_began_with_stands_beside_it_whatever_the_generation(explorer):
    for index in range(3):
        explorer.generation = index
        for place, genome in enumerate((PI, NTK, YARN)):
            np.testing.assert_allclose(drawn(explorer, search_explorer.METHODS + place).y, genome.factors, **SENT)


def test_divisors_can_be_drawn_as_ratios_to_the_reference(explorer):
    explorer.shown, explorer.reference = "ratio", "NTK"
    np.testing.assert_allclose(drawn(explorer, search_explorer.CHOSEN).y, np.divide(BEST.factors, NTK.factors), **SENT)
    np.testing.assert_allclose(drawn(explorer, search_explorer.METHODS + 1).y, 1, **SENT)
    assert explorer.chart.panels[0]["y"]["title"] == "λ / λ of NTK" and explorer.chart.panels[2]["y"]["title"] == "minus NTK"


def test_gains_are_differences_to_the_reference_on_both_kinds_of_text(explorer):
    np.testing.assert_allclose(drawn(explorer, search_explorer.SEARCH).y, [0.0, -0.1, -0.2], **SENT)
    np.testing.assert_allclose(drawn(explorer, search_explorer.HELD_OUT).y, [0.0, -0.08, -0.05], **SENT)
    explorer.reference = "PI"
    np.testing.assert_allclose(drawn(explorer, search_explorer.SEARCH).y, [-1.0, -1.1, -1.2], **SENT)
    np.testing.assert_allclose(drawn(explorer, search_explorer.HELD_OUT).y, [-1.1, -1.18, -1.15], **SENT)


def test_the_sentence_says_who_is_shown_and_how_much_of_the_gain_holds(explorer):
    said = plain(explorer.sentence)
    assert said.startswith("Generation 2 of 2: the best has 2.800 on the search texts, −0.200 against YaRN; ")
    assert "; λ from 1.00 to 4.50, 8 start tokens. " in said
    assert said.endswith("On held-out text: −0.050. 25% of the gain is there; the rest was fitted to the search texts.")
    explorer.rank = 1
    assert "number 2 of 3 has 2.900" in plain(explorer.sentence) and "no start tokens" in explorer.sentence


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (HELD_OUT | {BEST: 3.2}, "Nothing of the gain is there"),
        (HELD_OUT | {BEST: 2.8}, "The gain is there, in full."),
        ({YARN: 3.1}, "Its loss on held-out text was not measured."),
        ({BEST: 3.1}, "Its loss on held-out text was not measured."),
    ],
)
def test_the_verdict_follows_the_held_out_text(held_out, words):
    assert words in finding(View("x", history(), held_out), 2, 0, "YaRN")


def test_an_individual_that_is_no_better_than_the_reference_is_said_to_gain_nothing():
    assert finding(View("x", history(), HELD_OUT), 0, 0, "YaRN").endswith("The difference on the search texts is too little to say.")
    assert finding(View("x", history(), HELD_OUT), 0, 2, "YaRN").endswith("It gains nothing on the search texts.")


def test_only_the_best_was_chosen_by_the_search_texts():
    view = View("x", history(), HELD_OUT | {CHILD: 3.08, BEST: 3.2})
    assert finding(view, 2, 0, "YaRN").endswith("Nothing of the gain is there: it was fitted to the search texts.")
    assert finding(view, 2, 1, "YaRN").endswith(" 20% of the gain is there.")
    assert finding(View("x", history(), HELD_OUT | {CHILD: 3.2}), 2, 1, "YaRN").endswith("Nothing of the gain is there.")


@pytest.mark.parametrize("change", [-0.0004, 0.0, 0.0004])
def test_a_difference_that_rounds_to_nothing_has_no_verdict(change):
    view = View("x", history(FITNESS | {CHILD: 3.0 + change}), HELD_OUT)
    place = [genome for genome, _ in view.population(1)].index(CHILD)
    assert finding(view, 1, place, "YaRN").endswith("The difference on the search texts is too little to say.")


def test_documents_are_counted_where_they_are_known():
    each = {"yarn_tempered": [3.0, 3.1, 3.2], "searched": [2.9, 3.0, 3.25]}
    view = view_of(record("seed0", each=each))
    assert view.by_document == {YARN: [3.0, 3.1, 3.2], BEST: [2.9, 3.0, 3.25]}
    assert plain(finding(view, 2, 0, "YaRN")).endswith("On held-out text: −0.050, lower in 2 of 3 documents.")
    # Of the second best only the mean is known.
    assert plain(finding(view, 2, 1, "YaRN")).endswith("On held-out text: −0.080. 80% of the gain is there.")
    explorer = SearchExplorer(history(), {YARN: (3.0, 3.1, 3.2), BEST: (2.9, 3.0, 3.25)})
    assert plain(explorer.sentence).endswith("On held-out text: −0.050, lower in 2 of 3 documents.")


def test_one_document_is_too_little_for_a_verdict():
    view = view_of(record("seed0", each={"yarn_tempered": [3.1], "searched": [3.05]}))
    for rank in (0, 1):
        assert finding(view, 2, rank, "YaRN").endswith(", on one document: too little to say.")


def test_held_out_text_is_drawn_where_it_was_measured_and_nowhere_else():
    explorer = SearchExplorer(history(), {YARN: 3.1, BEST: 3.0})
    line = drawn(explorer, search_explorer.HELD_OUT)
    np.testing.assert_array_equal(line.x, [0, 2])
    np.testing.assert_allclose(line.y, [0.0, -0.1], **SENT)
    assert len(drawn(SearchExplorer(history()), search_explorer.HELD_OUT).x) == 0


def test_a_record_is_read_back_with_its_held_out_losses():
    view = view_of(record("seed0"))
    assert view.history == history() and view.held_out == HELD_OUT


def test_several_records_are_chosen_by_name():
    worse = {genome: value + 1 for genome, value in FITNESS.items()}
    explorer = SearchExplorer([record("seed0"), record("seed1", worse)])
    assert explorer.controls["run"].layout.display is None and explorer.view.title == "seed0"
    explorer.run = 1
    np.testing.assert_allclose(drawn(explorer, search_explorer.THIS).y, 3.8, **SENT)
    assert explorer.view.title == "seed1" and explorer.notice.value == ""


def test_where_there_is_no_record_it_says_so_and_how_to_make_one(monkeypatch):
    monkeypatch.setattr(results, "read_all", lambda name: [])
    explorer = SearchExplorer()
    assert "no search in data/results/search" in explorer.sentence and "clexlab search" in explorer.sentence
    explorer_checks.names_every_axis_curve_and_control(explorer)
    explorer.reference = "PI"
    assert explorer.notice.value == "" and explorer.view is None


def test_records_of_something_else_and_held_out_losses_beside_records_are_refused():
    other = results.Record(experiment="x", run="a", config={}, metrics={"seconds": 1.0}, seed=0, seconds=1.0)
    with pytest.raises(ValueError, match="a holds no search"):
        SearchExplorer([other])
    with pytest.raises(ValueError, match="beside records, which have their own"):
        SearchExplorer([record("seed0")], HELD_OUT)


@pytest.mark.parametrize("references", [(), ("a", "b", "c", "d")])
def test_names_without_a_genome_are_refused(references):
    with pytest.raises(ValueError, match="the first 3 genomes"):
        SearchExplorer(history(), references=references)


@pytest.mark.parametrize(("name", "value"), [("generation", 3), ("rank", -1), ("reference", "magic"), ("shown", "upside down"), ("run", 1)])
def test_python_is_refused_what_no_control_could_hold(explorer, name, value):
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match="choose|between"):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
