"""Recall by depth and learned fields as figures: every number drawn is one that was given, means and bars by hand."""

import math

import numpy as np
import pytest

from clexlab import figures

ONE = {"1": {"0": 1.0, "0.5": 0.5, "1": 1.0}, "16": {"0": 0.0, "0.5": 0.25, "1": 0.75}}
OTHER = {"16": {"1": 0.25, "0.5": 0.25, "0": 0.5}, "1": {"0": 0.0, "0.5": 0.5, "1": 1.0}}


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_a_panel_a_length_shows_the_mean_over_seeds_in_per_cent_whatever_the_order_of_keys():
    figure = figures.recall_by_depth({"CLEX": [ONE, OTHER]})
    short, long = traces(figure, "CLEX")
    np.testing.assert_array_equal(short.x, [0, 0.5, 1])
    np.testing.assert_allclose(short.y, [50, 50, 100])
    np.testing.assert_allclose(long.y, [25, 25, 50])
    assert [note.text for note in figure.layout.annotations] == ["<b>1 ×</b>", "<b>16 ×</b>"]


def test_bars_go_from_the_lowest_to_the_highest_seed_and_one_seed_has_none():
    figure = figures.recall_by_depth({"CLEX": [ONE, OTHER], "YaRN": [ONE]})
    short, long = traces(figure, "CLEX")
    np.testing.assert_allclose(np.array(short.y) + short.error_y.array, [100, 50, 100])
    np.testing.assert_allclose(np.array(long.y) - long.error_y.arrayminus, [0, 25, 25])
    assert all(trace.error_y.array is None for trace in traces(figure, "YaRN"))


def test_a_name_has_one_entry_in_the_legend_and_the_axes_say_what_they_show():
    figure = figures.recall_by_depth({"CLEX": [ONE], "YaRN": [OTHER]})
    assert [trace.name for trace in figure.data if trace.showlegend] == ["CLEX", "YaRN"]
    assert figure.layout.xaxis.title.text == figure.layout.xaxis2.title.text == "depth"
    assert figure.layout.xaxis.tickvals == (0, 0.5, 1)
    assert figure.layout.yaxis.title.text == "found again (%)"


def test_what_was_measured_otherwise_is_refused():
    with pytest.raises(ValueError, match="at least one for every name"):
        figures.recall_by_depth({})
    with pytest.raises(ValueError, match="at least one for every name"):
        figures.recall_by_depth({"CLEX": []})
    with pytest.raises(ValueError, match="different factors or depths"):
        figures.recall_by_depth({"CLEX": [ONE], "YaRN": [{"1": ONE["1"]}]})
    with pytest.raises(ValueError, match="different factors or depths"):
        figures.recall_by_depth({"CLEX": [ONE], "YaRN": [{**ONE, "16": {"0": 0.5}}]})


def test_a_field_is_drawn_in_per_cent_of_its_prior_with_a_line_a_seed():
    figure = figures.fields_by_seed({"CLEX, ours": [[0.0, math.log(1.1), math.log(0.5)], [0.0, 0.0, 0.0]]}, 16)
    first, second = traces(figure, "CLEX, ours")
    np.testing.assert_allclose(first.y, [0, 10, -50])
    np.testing.assert_allclose(second.y, 0)
    assert first.showlegend and not second.showlegend and "t = 16" in figure.layout.title.text
    assert figure.layout.shapes[0].y0 == figure.layout.shapes[0].y1 == 0


def test_fields_without_a_training_are_refused():
    for nothing in ({}, {"CLEX": []}):
        with pytest.raises(ValueError, match="no residual given"):
            figures.fields_by_seed(nothing, 16)
