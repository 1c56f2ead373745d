"""Figures of bounds and fits: they draw the arrays they are given, name their units, and differ in more than colour."""

import numpy
import pytest
import torch

from clexlab import bounds, figures, frequencies

X = torch.linspace(1, 100, 9, dtype=torch.float64)
CURVES = {"one": X.sqrt(), "two": 2 * X.sqrt(), "three": X}
INV_FREQ = frequencies.inv_freq(16, 1e4, torch.float64)


def draw_deviation():
    return figures.deviation_bounds(X, CURVES, spacing=100.0)


def draw_extrapolation():
    return figures.extrapolation_bounds(X, CURVES, window=50)


def draw_scores():
    return figures.score_curves(X, CURVES, window=50)


@pytest.mark.parametrize("draw", [draw_deviation, draw_extrapolation, draw_scores])
def test_curves_are_drawn_as_given_with_a_dash_of_their_own(draw):
    figure = draw()
    assert [trace.name for trace in figure.data] == list(CURVES)
    for trace, values in zip(figure.data, CURVES.values(), strict=True):
        numpy.testing.assert_allclose(trace.x, X)
        numpy.testing.assert_allclose(trace.y, values)
    looks = [(trace.line.color, trace.line.dash) for trace in figure.data]
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == len(CURVES)


@pytest.mark.parametrize("draw", [draw_deviation, draw_extrapolation, draw_scores])
def test_axes_have_titles_and_distances_have_units(draw):
    figure = draw()
    assert "tokens" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text


def test_the_length_axis_is_in_powers_of_two_and_the_window_is_named():
    figure = draw_extrapolation()
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.dtick == pytest.approx(numpy.log10(2))
    assert figure.layout.shapes[0].x0 == 50
    assert any("window 50" in annotation.text for annotation in figure.layout.annotations)


def test_the_panels_of_figure_2_hold_the_fit_inside_beyond_and_between():
    h, targets = bounds.worst_case(INV_FREQ), torch.arange(100.0)
    figure = figures.fitted_score(h, INV_FREQ, targets, fine=4, zoom=(10, 20))
    traces = {(trace.name, trace.xaxis): trace for trace in figure.data}
    beyond = traces["fitted a(s)", "x2"]
    assert len(beyond.x) == 200
    numpy.testing.assert_allclose(beyond.y, bounds.scores(h, torch.arange(200.0), INV_FREQ))
    assert len(traces["fitted a(s)", "x"].x) == len(traces["targets", "x"].x) == 100
    close = traces["fitted a(s)", "x3"]
    assert close.x[0] == 10 and close.x[-1] == 20 and len(close.x) == 41
    numpy.testing.assert_allclose(traces["a(s) at integers", "x3"].y, close.y[::4])


def test_sizes_of_fits_are_one_row_each_with_a_symbol_per_measure():
    sizes = {name: bounds.FitSizes(1.0, 2.0, 3.0, 4.0) for name in ("a", "b")}
    figure = figures.fit_sizes(sizes)
    assert [trace.x[0] for trace in figure.data] == [1.0, 2.0, 3.0, 4.0]
    assert all(list(trace.y) == ["a", "b"] for trace in figure.data)
    assert len({trace.marker.symbol for trace in figure.data}) == 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.deviation_bounds(X, {}), "at least one entry"),
        (lambda: figures.extrapolation_bounds(X, {"short": X[:3]}), "one value for each"),
        (lambda: figures.score_curves(X, {"short": X[:3]}), "one value for each"),
        (lambda: figures.fit_sizes({}), "at least one entry"),
        (lambda: figures.fitted_score(bounds.worst_case(INV_FREQ), INV_FREQ, X, zoom=(5, 50)), "zoom"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
