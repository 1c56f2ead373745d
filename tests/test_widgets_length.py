"""LengthExplorer: what it draws and says is what the records hold, seed by seed, with the control beside it."""

import re

import explorer_checks
import numpy as np
import pytest
from study_records import FACTORS, WINDOW, record, study

from clexlab import results
from clexlab.widgets import WIDGETS, LengthExplorer, length_explorer
from clexlab.widgets.length_records import MEASURES, Study, finding

LAST, WHOLE, PASSKEY, COPY = MEASURES
# The page is sent float32: seven digits.
SENT = dict(rtol=2e-7, atol=1e-7)


@pytest.fixture
def explorer():
    return LengthExplorer(study())


def place(explorer, method):
    """The curves of this method: its band, its line."""
    index = list(explorer.titles).index(method)
    return (explorer.chart.data[length_explorer.FIRST + shift + index] for shift in (0, len(explorer.titles)))


def losses(method, measure="last"):
    """(seeds, lengths)"""
    return np.array([list(one.metrics[measure].values()) for one in study() if one.config["method"] == method])


def plain(sentence):
    return re.sub(r"<[^>]*>", "", sentence)


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert LengthExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


@pytest.mark.parametrize("measure", ["last", "whole"])
def test_lines_are_means_over_seeds_and_bands_reach_from_the_lowest_to_the_highest(explorer, measure):
    explorer.measure = measure
    for method in ("plain-yarn", "clex-ours", "clex-ours-frozen"):
        band, line = place(explorer, method)
        values = losses(method, measure)
        np.testing.assert_array_equal(line.x, WINDOW * np.array(FACTORS))
        np.testing.assert_allclose(line.y, values.mean(0), **SENT)
        np.testing.assert_array_equal(band.x, [*line.x, *line.x[::-1]])
        np.testing.assert_allclose(band.y, [*values.min(0), *values.max(0)[::-1]], **SENT)
    assert explorer.notice.value == ""


def test_what_has_a_single_run_has_no_band_and_stands_for_every_seed(explorer):
    for seed in ("all", 2):
        explorer.seed = seed
        band, line = place(explorer, "yarn")
        assert len(band.x) == 0
        np.testing.assert_allclose(line.y, losses("yarn")[0], **SENT)


def test_one_seed_is_that_run_alone(explorer):
    explorer.seed = 2
    band, line = place(explorer, "clex-ours")
    assert len(band.x) == 0
    np.testing.assert_allclose(line.y, losses("clex-ours")[1], **SENT)


def test_differences_are_taken_within_a_seed(explorer):
    explorer.baseline = "clex-ours-frozen"
    band, line = place(explorer, "clex-ours")
    by_seed = losses("clex-ours") - losses("clex-ours-frozen")
    np.testing.assert_allclose(line.y, by_seed.mean(0), atol=1e-6)
    np.testing.assert_allclose(band.y[: len(FACTORS)], by_seed.min(0), atol=1e-6)
    np.testing.assert_allclose(list(place(explorer, "clex-ours-frozen"))[1].y, 0)
    assert explorer.chart.panels[0]["y"]["title"] == "minus ours, field <frozen>" and "difference" in explorer.chart.panels[0]["title"]


def test_a_single_run_is_compared_with_every_seed_of_the_other(explorer):
    explorer.baseline = "yarn"
    np.testing.assert_allclose(list(place(explorer, "clex-ours"))[1].y, (losses("clex-ours") - losses("yarn")).mean(0), atol=1e-6)
    explorer.baseline = "clex-ours"
    band, line = place(explorer, "yarn")
    np.testing.assert_allclose(line.y, (losses("yarn") - losses("clex-ours")).mean(0), atol=1e-6)
    assert len(band.x) == 2 * len(FACTORS)


def test_runs_without_a_common_seed_have_no_difference():
    found = Study([record("a", seed=1), record("a", seed=2), record("b", seed=3), record("b", seed=4)], "cpu")
    assert found.values("a", LAST, baseline="b") == {}
    assert "no seed in common" in finding(found, ["a", "b"], LAST, 16.0, None, "b")


def test_recall_is_a_share_in_per_cent_at_the_lengths_it_was_measured(explorer):
    assert [measure for _, measure in explorer.controls["measure"].options] == ["last", "whole", "passkey"]
    explorer.measure = "passkey"
    _, line = place(explorer, "clex-ours")
    np.testing.assert_array_equal(line.x, [256, 2048])
    np.testing.assert_allclose(line.y, [100, 90], **SENT)
    assert all(len(drawn.x) == 0 for drawn in place(explorer, "yarn"))
    assert explorer.chart.panels[0]["y"] == dict(explorer.chart.panels[0]["y"], title="pass key found", unit="%")


def test_only_chosen_methods_are_drawn_and_boxes_follow(explorer):
    assert explorer.methods == ("yarn", "plain-yarn", "clex-ours", "clex-ours-frozen")
    explorer.methods = ("yarn",)
    assert [len(line.x) > 0 for _, line in (place(explorer, method) for method in explorer.titles)] == [False, True, False, False, False]
    explorer.controls["methods"].boxes["clex-ours"].value = True
    assert explorer.methods == ("yarn", "clex-ours") and all(len(drawn.x) for drawn in place(explorer, "clex-ours"))
    explorer.methods = ()
    assert "none of the chosen methods" in explorer.sentence and explorer.notice.value == ""


def test_a_choice_of_many_is_drawn_once(explorer, monkeypatch):
    drawn = []
    monkeypatch.setattr(explorer.chart, "draw", drawn.append)
    explorer.methods = ("untouched", "clex-ours-frozen")
    assert len(drawn) == 1


def test_the_window_and_the_chosen_length_are_lines(explorer):
    explorer.factor = 4.0
    for index, length in ((length_explorer.WINDOW, WINDOW), (length_explorer.AT, 4 * WINDOW)):
        np.testing.assert_array_equal(explorer.chart.data[index].x, [length, length])


def test_the_sentence_names_the_best_and_its_control_and_says_when_seeds_overlap(explorer):
    said = plain(explorer.sentence)
    ours, frozen = losses("clex-ours")[:, -1], losses("clex-ours-frozen")[:, -1]
    gaps = ours - frozen
    assert said.startswith("At 16 × window (4,096 tokens), last quarter of a window, nats per token: CLEX, ours")
    assert f"CLEX, ours {ours.mean():.3f} ({ours.min():.3f} to {ours.max():.3f}, 3 seeds), the lowest of 4" in said
    assert f"its control, ours, field &lt;frozen&gt; {frozen.mean():.3f}" in said
    assert f"Difference {gaps.mean():+.3f} ({gaps.min():+.3f} to {gaps.max():+.3f} by seed)".replace("-", "−") in said
    assert "less than the spread of the seeds, but of one sign in all 3." in said


def test_the_control_is_named_even_where_it_is_not_drawn(explorer):
    explorer.methods = ("clex-ours", "yarn")
    assert "its control, ours, field" in explorer.sentence


def test_the_baseline_takes_the_place_of_the_control(explorer):
    explorer.baseline = "yarn"
    assert "the baseline, YaRN <b>3.700</b>" in explorer.sentence and "more than the spread of the seeds." in explorer.sentence


def test_without_a_control_the_next_best_stands_beside_it(explorer):
    explorer.methods, explorer.seed = ("plain-yarn", "yarn"), 1
    assert "the next, YaRN <b>3.700</b>" in explorer.sentence and "one run: no spread is known." in explorer.sentence
    explorer.methods = ("yarn",)
    assert plain(explorer.sentence) == "At 16 × window (4,096 tokens), last quarter of a window, nats per token: YaRN 3.700."


def test_of_recall_the_highest_is_the_best(explorer):
    explorer.measure, explorer.factor = "passkey", 8.0
    assert "CLEX, ours <b>90</b> (90 to 90, 3 seeds), the highest of 2" in explorer.sentence
    assert "Difference +15 (+15 to +15 by seed): more than the spread of the seeds." in explorer.sentence
    explorer.factor = 4.0
    assert "none of the chosen methods was measured" in explorer.sentence


def test_seeds_that_do_not_agree_are_said_to():
    found = [record("a", seed=seed, shift=shift) for seed, shift in ((1, 0.1), (2, -0.1), (3, 0.0))]
    found += [record("b", seed=seed, shift=0.02) for seed in (1, 2, 3)]
    assert "the seeds do not agree that there is one." in finding(Study(found, "cpu"), ["a", "b"], LAST, 1.0, None, "")


def test_budgets_are_kept_apart():
    both = [*study(), record("yarn", 0.2, profile="gpu", title="YaRN"), record("clex-ours", 0.3, 1, profile="gpu", title="CLEX, ours")]
    explorer = LengthExplorer(both)
    assert explorer.profile == "cpu" and explorer.controls["profile"].layout.display is None
    explorer.profile = "gpu"
    np.testing.assert_allclose(list(place(explorer, "yarn"))[1].y[-1], 3.5 + 4 * 0.2, **SENT)
    assert len(list(place(explorer, "plain-yarn"))[1].x) == 0 and explorer.notice.value == ""


def test_records_of_anything_measured_by_length_are_shown():
    """The records of the pocket model and its CLEX were written before there was a study."""
    explorer = LengthExplorer("pocket_clex")
    assert set(explorer.methods) <= set(explorer.titles) and len(explorer.methods) == length_explorer.MOST
    assert explorer.notice.value == "" and "× window" in explorer.sentence
    assert explorer.controls["profile"].layout.display == "none"


def test_where_there_is_no_record_it_says_so_and_how_to_make_some(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "read_all", lambda name: [])
    explorer = LengthExplorer()
    assert "no record in data/results/study" in explorer.sentence and "clexlab run study" in explorer.sentence
    explorer_checks.names_every_axis_curve_and_control(explorer)
    explorer.measure = "last"
    assert explorer.notice.value == "" and LengthExplorer([]).methods == ()


def test_records_of_something_else_are_refused():
    other = results.Record(experiment="x", run="a", config={}, metrics={"seconds": 1.0}, seed=0, seconds=1.0)
    with pytest.raises(ValueError, match="names no method and window"):
        LengthExplorer([other])


@pytest.mark.parametrize(
    ("name", "value"), [("methods", ("magic",)), ("measure", "speed"), ("seed", 9), ("baseline", "magic"), ("factor", 3.0)]
)
def test_python_is_refused_what_no_control_could_hold(explorer, name, value):
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match="choose"):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_the_constructor_refuses_unknown_methods():
    with pytest.raises(ValueError, match="methods has 'magic'; choose from 'untouched'"):
        LengthExplorer(study(), methods=("magic",))
