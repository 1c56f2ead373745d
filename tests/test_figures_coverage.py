"""Rows and distances as figures: every strip is a run of positions, every point a number that was given; bad input."""

import numpy as np
import pytest
import torch

from clexlab import figures
from clexlab.figures.coverage import strips
from clexlab.positions import Draw, FixedFactor, PrefixSegments, SkipWise


def draw(*places, learned=None):
    marked = None if learned is None else torch.tensor(learned, dtype=torch.bool)
    return Draw(torch.tensor(places, dtype=torch.float32), 1.0, learned=marked)


def lines(x, y):
    """The strips as (left, right, row)."""
    assert np.isnan(x[2::3]).all()
    return list(zip(x[0::3].tolist(), x[1::3].tolist(), y[0::3].tolist(), strict=True))


def test_a_strip_reaches_half_a_token_beyond_each_end_of_a_run():
    assert lines(*strips([draw(0, 1, 2, 7, 8), draw(3)], 16)) == [(-0.5, 2.5, 0), (6.5, 8.5, 0), (2.5, 3.5, 1)]


def test_what_is_not_learned_has_strips_of_its_own():
    row = draw(0, 4, 5, 6, learned=[0, 0, 1, 1])
    assert lines(*strips([row], 16)) == [(4.5, 6.5, 0)]
    assert lines(*strips([row], 16, learned=False)) == [(-0.5, 0.5, 0), (3.5, 4.5, 0)]
    assert strips([draw(0, 1)], 16, learned=False)[0].size == 0


def test_a_single_token_stays_wide_enough_to_be_seen():
    ((left, right, _),) = lines(*strips([draw(100)], 5000))
    assert right - left == pytest.approx(10) and (left + right) / 2 == 100


def test_rows_of_a_recipe_stand_together_under_its_name_the_first_on_top():
    rows = {"PoSE": [draw(0, 1, 9), draw(0, 5, 6)], "prefix": [draw(0, 3, 4, learned=[0, 1, 1])]}
    figure = figures.position_rows(rows, 4, 16)
    assert {trace.name: set(trace.y.tolist()) for trace in figure.data if trace.line.color != "#7F7F7F"} == {"PoSE": {0, 1}, "prefix": {3}}
    (unlearned,) = [trace for trace in figure.data if trace.line.color == "#7F7F7F"]
    assert unlearned.y.tolist() == [3, 3, 3]
    axis = figure.layout.yaxis
    assert axis.autorange == "reversed" and dict(zip(axis.ticktext, axis.tickvals, strict=True)) == {"PoSE": 0.5, "prefix": 3}
    assert figure.layout.xaxis.title.text == "position (tokens)" and figure.layout.shapes[0].x0 == 3.5


def test_curves_are_the_given_numbers_from_distance_one_on():
    exact = SkipWise(window=8, factors=FixedFactor(4.0)).coverage(8, 4.0)
    figure = figures.distances_met({"formula": exact, "counted": torch.tensor([1.0, 0.5, 0.0, 0.25])}, 8, counted=["counted"])
    one, other = figure.data
    np.testing.assert_allclose(one.y, exact[1:])
    np.testing.assert_array_equal(other.x, [1, 2, 3])
    np.testing.assert_array_equal(other.y, [0.5, np.nan, 0.25])
    assert one.mode == "lines" and other.mode == "lines+markers"
    assert "C(δ)" in figure.layout.yaxis.title.text and "tokens" in figure.layout.xaxis.title.text


def test_pairs_have_two_logarithmic_axes_and_the_window_as_a_line():
    figure = figures.pairs_by_distance({"full length": torch.arange(16.0).flip(0)}, 4)
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log" and figure.layout.shapes[0].x0 == 4
    np.testing.assert_array_equal(figure.data[0].y[:-1], np.arange(14, 0, -1))


def test_drawn_recipes_go_straight_into_the_figure():
    generator = torch.Generator().manual_seed(0)
    sampler = PrefixSegments(window=8, factors=FixedFactor(4.0))
    figure = figures.position_rows({sampler.title: [sampler.draw(8, generator) for _ in range(3)]}, 8, 32)
    (run,) = [trace for trace in figure.data if trace.line.color != "#7F7F7F"]
    assert len(run.x) == 9


@pytest.mark.parametrize("rows", [{}, {"PoSE": []}])
def test_a_figure_without_rows_is_refused(rows):
    with pytest.raises(ValueError, match="no rows given"):
        figures.position_rows(rows, 4, 16)


def test_a_figure_without_curves_or_with_unknown_counts_is_refused():
    with pytest.raises(ValueError, match="no curve given"):
        figures.distances_met({}, 4)
    with pytest.raises(ValueError, match="counted has PoSE; the curves are E2"):
        figures.pairs_by_distance({"E2": torch.ones(4)}, 4, counted=["PoSE"])
    with pytest.raises(ValueError, match="window is 0"):
        figures.distances_met({"E2": torch.ones(4)}, 0)
