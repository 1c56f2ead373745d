"""Figures of biases: what is drawn are the given numbers, by distance and by head."""

import numpy as np
import pytest
import torch

from clexlab import biases, figures, receptive
from clexlab.figures.biases import POINTS, thinned


def test_a_curve_has_its_values_at_its_distances_a_line_a_head():
    figure = figures.bias_curves({"ALiBi": biases.ALiBi(heads=2).curve(64)}, 16)
    (trace,) = figure.data
    first = np.asarray(trace.x)[: np.flatnonzero(np.isnan(np.asarray(trace.y)))[0]]
    assert first[0] == 1 and np.isnan(trace.y).sum() >= 2
    slope = 2.0**-4
    kept = slope * first <= 25
    np.testing.assert_allclose(np.asarray(trace.y)[: len(first)][kept], -slope * first[kept])
    assert figure.layout.shapes[0].x0 == 16 and "tokens" in figure.layout.xaxis.title.text


def test_what_is_far_below_is_not_drawn():
    figure = figures.bias_curves({"falls": -torch.arange(100.0)[None]}, 16, lowest=-10)
    assert np.nanmin(figure.data[0].y) == -10


def test_thinned_distances_are_whole_distinct_and_reach_from_one_to_the_last():
    at, rows = thinned(np.arange(5000.0)[None])
    assert at[0] == 1 and at[-1] == 4999 and len(at) <= POINTS and (np.diff(at) > 0).all()
    np.testing.assert_array_equal(rows[0], at)


def test_a_field_is_a_sign_a_head_with_the_window_and_the_length_as_lines():
    reached = receptive.field(biases.ALiBi(heads=4).curve(2048))
    figure = figures.receptive_fields({"ALiBi": reached, "blind": torch.tensor([0])}, 128, 2048)
    np.testing.assert_array_equal(figure.data[0].x, reached)
    assert figure.data[1].x[0] == 0.5 and figure.data[1].customdata[0] == 0
    assert [shape.x0 for shape in figure.layout.shapes] == [128, 2048]


def test_figures_without_anything_are_refused():
    with pytest.raises(ValueError, match="no curve given"):
        figures.bias_curves({}, 16)
    with pytest.raises(ValueError, match="no field given"):
        figures.receptive_fields({}, 16, 64)


def test_a_constant_is_taken_off():
    plain, moved = (figures.bias_curves({"one": biases.ALiBi(heads=2).curve(64) + shift}, 16).data[0].y for shift in (0, 30))
    np.testing.assert_allclose(plain, moved)
