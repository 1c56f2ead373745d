"""Figures of a search: every number drawn is one that was given, minima, differences and distances by hand."""

import numpy as np
import pytest

from clexlab import figures, scaling
from clexlab.search import Genome

SHAPE = dict(head_dim=8, base=1e4, window=64)
PI, FOUND = Genome((4.0,) * 4), Genome((1.0, 1.5, 3.0, 4.5), start=8)


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def path(start):
    return scaling.LongRoPE(**SHAPE, factors=FOUND.factors, max_factor=4.0, start=start)


def test_the_divisor_of_every_pair_is_drawn_with_the_two_limits_as_guides():
    figure = figures.factors_by_pair({"PI": PI, "LongRoPE, searched": FOUND}, 4.0)
    np.testing.assert_array_equal(traces(figure, "LongRoPE, searched")[0].y, FOUND.factors)
    np.testing.assert_array_equal(traces(figure, "PI")[0].y, PI.factors)
    assert [shape.y0 for shape in figure.layout.shapes] == [1.0, 4.0]
    # A label on a logarithmic axis stands at the logarithm of its line.
    np.testing.assert_allclose([label.y for label in figure.layout.annotations], np.log10([1.0, 4.0]))
    assert figure.layout.xaxis.title.text == "pair j" and figure.layout.yaxis.title.text == "divisor λ"


def test_methods_keep_the_looks_they_have_everywhere():
    from clexlab.figures.looks import looks_of

    figure = figures.factors_by_pair({"PI": PI, "LongRoPE, searched": FOUND}, 4.0)
    assert traces(figure, "PI")[0].line.color == looks_of(["PI"])["PI"]["color"]
    assert traces(figure, "LongRoPE, searched")[0].line.color == looks_of(["LongRoPE"])["LongRoPE"]["color"]


def test_genomes_of_two_models_are_refused():
    with pytest.raises(ValueError, match="all of one model"):
        figures.factors_by_pair({"PI": PI, "other": Genome((1.0, 2.0))}, 4.0)
    with pytest.raises(ValueError, match="no pairs"):
        figures.factors_by_pair({}, 4.0)


def test_progress_is_the_lowest_so_far_by_individuals_measured():
    figure = figures.search_progress({"search": [[3.0, 2.0], [2.5], [1.0, 4.0, 2.0]], "random": [[5.0] * 6]}, "Two searches", "distance")
    (search,), (random,) = traces(figure, "search"), traces(figure, "random")
    np.testing.assert_array_equal(search.x, [2, 3, 6])
    np.testing.assert_array_equal(search.y, [2, 2, 1])
    np.testing.assert_array_equal((random.x[0], random.y[0]), (6, 5))
    assert figure.layout.yaxis.type == "log" and figure.layout.title.text == "Two searches"


@pytest.mark.parametrize(("runs", "words"), [({}, "no fitness"), ({"a": [[]]}, "no fitness"), ({"a": [[1.0, 0.0]]}, "logarithmic")])
def test_progress_of_nothing_or_without_a_logarithm_is_refused(runs, words):
    with pytest.raises(ValueError, match=words):
        figures.search_progress(runs, "", "")


def test_what_was_fitted_stands_beside_what_holds():
    figure = figures.fitted_and_held_out([0.0, -0.1, -0.2], [0.0, -0.05, 0.01], "YaRN")
    np.testing.assert_array_equal(traces(figure, "search texts")[0].y, [0.0, -0.1, -0.2])
    np.testing.assert_array_equal(traces(figure, "held-out text")[0].y, [0.0, -0.05, 0.01])
    assert figure.layout.shapes[0].y0 == 0 and "minus YaRN" in figure.layout.title.text
    with pytest.raises(ValueError, match="3 numbers on search texts, 2 on held-out"):
        figures.fitted_and_held_out([0, 0, 0], [0, 0], "YaRN")


def test_searches_at_several_lengths_are_a_line_through_their_means():
    figure = figures.held_out_by_length({"YaRN": {512: [3.0], 1024: [3.5]}, "LongRoPE, searched": {1024: [3.2, 3.4], 512: [2.9]}})
    (line,) = traces(figure, "LongRoPE, searched")
    np.testing.assert_array_equal(line.x, [512, 1024])
    np.testing.assert_allclose(line.y, [2.9, 3.3])
    np.testing.assert_allclose((line.error_y.array, line.error_y.arrayminus), ([0, 0.1], [0, 0.1]), atol=1e-12)
    for nothing in ({}, {"YaRN": {}}, {"YaRN": {512: []}}):
        with pytest.raises(ValueError, match="no loss given"):
            figures.held_out_by_length(nothing)


def test_places_and_distances_with_start_tokens_are_those_worked_out_by_hand():
    figure = figures.start_tokens({"none": path(0), "8": path(8)}, 4.0, 3, 32, (4, 20))
    (places, apart), (plain, relative) = traces(figure, "8"), traces(figure, "none")
    # Frequencies are float32, as the model has them.
    close = dict(rtol=2e-7, atol=5e-7)
    expected = np.array([p if p < 8 else p / 4.5 for p in range(32)])
    np.testing.assert_allclose(places.y, expected, **close)
    np.testing.assert_allclose(plain.y, np.arange(32) / 4.5, **close)
    near, far = apart.y[:28], apart.y[29:41]
    np.testing.assert_allclose(near, [expected[p] - expected[p - 4] for p in range(4, 32)], **close)
    np.testing.assert_allclose(far, [expected[p] - expected[p - 20] for p in range(20, 32)], **close)
    np.testing.assert_allclose(relative.y[:28], 4 / 4.5, **close)
    assert np.isnan(apart.y[28]) and near.min() < 0


@pytest.mark.parametrize(("pair", "distances"), [(4, (1,)), (-1, (1,)), (0, ()), (0, (0,)), (0, (32,))])
def test_pairs_and_distances_that_are_not_there_are_refused(pair, distances):
    with pytest.raises(ValueError, match="pair is|distances are"):
        figures.start_tokens({"none": path(0)}, 4.0, pair, 32, distances)


def test_no_path_is_refused():
    with pytest.raises(ValueError, match="all 0 paths"):
        figures.start_tokens({}, 4.0, 0, 32, (1,))
