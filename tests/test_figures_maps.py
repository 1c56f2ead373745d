"""Relative positions as figures: every cell is a number of the matrix, the trained range ends where the window does; bad input."""

import numpy as np
import pytest
import torch

from clexlab import figures
from clexlab.figures import maps as pictures
from clexlab.positions import maps

RE, GROUPED = maps.ReRoPE(window=6, near=5), maps.SelfExtend(window=6, near=3, group=3)
PLAIN = maps.ReRoPE(window=64, near=64)


def boxes(x, y):
    """The boxes as (left, right, top, bottom), each closed, a NaN behind each."""
    x, y = x.reshape(-1, 5), y.reshape(-1, 5)
    assert np.isnan(x[:, 4]).all() and np.isnan(y[:, 4]).all()
    return [tuple(box) for box in np.stack([x[:, 0], x[:, 1], y[:, 0], y[:, 2]], axis=1).tolist()]


def test_tiles_cover_every_cell_of_their_range_once_and_no_other():
    matrix = GROUPED.relative(12).numpy()
    covered = np.zeros((3, 12, 12))
    ranges = ((0.0, 2.0), (2.0, 4.5), (4.5, np.inf))
    for number, (low, high) in enumerate(ranges):
        for left, right, top, bottom in boxes(*pictures.tiles(matrix, low, high)):
            assert bottom - top == 1
            covered[number, round(top + 0.5), round(left + 0.5) : round(right + 0.5)] += 1
    for number, (low, high) in enumerate(ranges):
        np.testing.assert_array_equal(covered[number], (matrix >= low) & (matrix < high))


def test_neighbouring_cells_of_one_range_are_one_box():
    row = np.array([[0.0, 1.0, 5.0, 1.0, np.nan]])
    assert boxes(*pictures.tiles(row, 0.0, 2.0)) == [(-0.5, 1.5, -0.5, 0.5), (2.5, 3.5, -0.5, 0.5)]
    assert pictures.tiles(row, 7.0, 9.0)[0].size == 0


def test_matrices_share_one_scale_whose_colour_changes_at_the_largest_trained_position():
    plain = PLAIN.relative(12)
    figure = figures.relative_matrices({"plain": plain, "ReRoPE": RE.relative(12)}, 6)
    assert [trace.type for trace in figure.data] == ["heatmap"] * 2
    np.testing.assert_array_equal(figure.data[1].z, RE.relative(12))
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, 11) and list(axis.colorbar.tickvals) == [0, 5, 11]
    at = [place for place, _ in axis.colorscale]
    # What stands exactly at the largest trained position is still blue.
    assert at[1] == at[2] == pytest.approx(5 / 11, abs=1e-5) and at[1] > 5 / 11 and (at[0], at[-1]) == (0.0, 1.0)
    assert axis.colorscale[1][1] != axis.colorscale[2][1]
    assert figure.layout.yaxis.autorange == "reversed" and figure.layout.yaxis.title.text == "query i"
    assert figure.data[0].texttemplate and [note.text for note in figure.layout.annotations] == ["<b>plain</b>", "<b>ReRoPE</b>"]


def test_a_tint_is_the_colour_mixed_with_white():
    assert [pictures.tint("#0072B2", share) for share in (0.0, 0.5, 1.0)] == ["#FFFFFF", "#80B8D8", "#0072B2"]


def test_where_all_is_trained_there_is_one_colour_and_the_scale_ends_with_the_window():
    figure = figures.relative_matrices({"grouped": maps.SelfExtend(window=16, near=4, group=4).relative(40)}, 16)
    axis = figure.layout.coloraxis
    assert axis.cmax == 15 and len(axis.colorscale) == 2 and not figure.data[0].texttemplate


def test_many_matrices_stand_in_rows_of_four():
    figure = figures.relative_matrices({kind.title: kind.default(16).relative(20) for kind in maps.MAPS}, 16, "all of them")
    assert len(figure.data) == len(maps.MAPS) and figure.layout.title.text == "all of them"
    assert len({axis.domain for axis in figure.select_yaxes()}) == -(-len(maps.MAPS) // 4)


def test_the_last_row_is_drawn_against_the_true_distance():
    figure = figures.last_rows({"grouped": GROUPED.relative(12), "sinks": maps.Sinks(window=6, sinks=2, recent=4).relative(12)}, 6)
    grouped, sinks = figure.data
    np.testing.assert_array_equal(grouped.x, np.arange(12))
    np.testing.assert_array_equal(grouped.y, [0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5])
    np.testing.assert_array_equal(sinks.y, [0, 1, 2, 3, *[np.nan] * 6, 4, 5])
    assert figure.layout.shapes[0].y0 == 5 and "tokens" in figure.layout.xaxis.title.text


def test_pairs_are_counted_by_whole_position_beside_a_training_row():
    figure = figures.pairs_by_position({"ReRoPE": RE.relative(12), "leaky": maps.LeakyReRoPE(window=6, near=3, slowing=4).relative(12)}, 6)
    training, held, leaky = figure.data
    np.testing.assert_array_equal(training.y, [6, 5, 4, 3, 2, 1])
    np.testing.assert_array_equal(held.y, [12, 11, 10, 9, 8, 28])
    assert sum(held.y) == sum(leaky.y) == 78 and figure.layout.shapes[0].x0 == 5 and figure.layout.yaxis.type == "log"


def test_rounding_does_not_put_a_position_beyond_the_window():
    np.testing.assert_array_equal(pictures.is_trained(np.array([5.0, 5 + 1e-12, 5.01]), 6), [True, True, False])
    np.testing.assert_array_equal(pictures.position_counts(np.array([[2.9999999, np.nan], [1.5, 0.0]]))[1], [1, 1, 0, 1])


@pytest.mark.parametrize("draw", [figures.relative_matrices, figures.last_rows, figures.pairs_by_position])
def test_a_figure_without_a_matrix_or_window_is_refused(draw):
    with pytest.raises(ValueError, match="no matrix given"):
        draw({}, 6)
    with pytest.raises(ValueError, match="window is 0"):
        draw({"one": torch.zeros(2, 2, dtype=torch.float64)}, 0)
