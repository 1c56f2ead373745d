"""Sparse patterns as figures: every square shows the entries it was given, every line the numbers; bad input."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from clexlab import figures, sparse
from clexlab.figures import style
from clexlab.figures.sparse import tiles

LOCAL, ROLLED = sparse.Local(chunk=4), sparse.RolledS2(chunk=4)


def squares(figure):
    return {trace.name: np.asarray(trace.z) for trace in figure.data if trace.type == "heatmap"}


def legend(figure):
    return [trace.name for trace in figure.data if trace.type == "scatter"]


def test_a_mask_is_drawn_entry_by_entry_with_its_leaks_and_empty_rows():
    flow = sparse.SCCAFlow(chunk=4, chunks=3).visible(3, 12)[1]
    figure = figures.visible_keys({"rolled": ROLLED.visible(2, 12)[1], "flow": flow})
    drawn = squares(figure)
    np.testing.assert_array_equal((drawn["rolled"] == 1) | (drawn["rolled"] == 2), ROLLED.visible(2, 12)[1])
    assert (drawn["rolled"] == 2).sum() == 4 and not (drawn["rolled"] == 3).any()
    assert np.flatnonzero((drawn["flow"] == 3).any(1)).tolist() == [0, 1, 2, 3] and (drawn["flow"] == 1).sum() == 32
    assert legend(figure) == ["seen", "leak: a key of the future", "row that sees nothing"]


def test_the_legend_names_only_what_is_there():
    assert legend(figures.visible_keys({"local": LOCAL.visible(2, 12)[0]})) == ["seen"]


def test_the_first_query_is_on_top_and_squares_are_square():
    figure = figures.visible_keys({str(number): torch.eye(4, dtype=torch.bool) for number in range(7)})
    assert len(squares(figure)) == 7
    for number in range(1, 8):
        axis = figure.layout["yaxis" if number == 1 else f"yaxis{number}"]
        assert axis.autorange == "reversed" and axis.scaleanchor == ("x" if number == 1 else f"x{number}")


def test_layers_that_a_pair_takes_are_drawn_in_shades_and_leaks_apart():
    needed = torch.tensor([[1, 0, 3], [2, 1, 0], [6, 4, 1]])
    figure = figures.layers_needed({"any": needed})
    np.testing.assert_array_equal(squares(figure)["any"], [[1, 0, 5], [2, 1, 0], [4, 4, 1]])
    assert legend(figure) == ["one layer", "two layers", "four layers or more", "leak, after any number"]


def test_coverage_is_drawn_layer_by_layer():
    shares = sparse.coverage(sparse.S2(chunk=4), 2, 12, 4).tolist()
    (line,) = figures.coverage_by_layer({"S2": shares}).data
    np.testing.assert_array_equal(line.x, [1, 2, 3, 4])
    np.testing.assert_array_equal(line.y, shares)


@pytest.mark.parametrize("draw", [figures.entries_by_length, figures.seconds_by_length])
def test_counts_and_seconds_are_lines_over_the_length_on_two_logarithmic_axes(draw):
    figure = draw({"full attention": {64: 2080, 128: 8256}, "local": {64: 544, 128: 1088}})
    assert [(list(line.x), list(line.y)) for line in figure.data] == [([64, 128], [2080, 8256]), ([64, 128], [544, 1088])]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert figure.data[0].line.color == style.COLOURS[0] != figure.data[1].line.color


def test_counted_and_measured_stand_side_by_side():
    counted, measured = figures.counted_and_measured({"local": 0.25, "sda": 0.25}, {"local": 0.4, "sda": 1.3}).data
    assert list(counted.y) == ["local", "sda"] and list(counted.x) == [0.25, 0.25] and list(measured.x) == [0.4, 1.3]


def test_tiles_cover_exactly_the_true_entries():
    mask = sparse.SDA(interval=2).visible(2, 12)[1].numpy() | LOCAL.visible(1, 12)[0].numpy()
    x, y = (values.reshape(-1, 6) for values in tiles(mask))
    assert np.isnan(x[:, 5]).all() and np.isnan(y[:, 5]).all()
    drawn = np.zeros_like(mask)
    for left, right, top in zip(x[:, 0], x[:, 1], y[:, 0], strict=True):
        assert not drawn[int(top + 0.5), int(left + 0.5) : int(right + 0.5)].any()
        drawn[int(top + 0.5), int(left + 0.5) : int(right + 0.5)] = True
    np.testing.assert_array_equal(drawn, mask)
    assert tiles(np.zeros((3, 3), dtype=bool))[0].size == 0


@pytest.mark.parametrize(
    ("draw", "given", "words"),
    [
        (figures.visible_keys, {}, "no mask given"),
        (figures.layers_needed, {}, "no mask given"),
        (figures.visible_keys, {"wide": torch.ones(2, 3, dtype=torch.bool)}, "has shape \\(2, 3\\); a picture shows one square"),
        (figures.coverage_by_layer, {}, "no pattern given"),
        (figures.entries_by_length, {}, "no line given"),
        (figures.seconds_by_length, {"full": {}}, "no line given"),
    ],
)
def test_a_figure_of_nothing_or_of_no_square_is_refused(draw, given, words):
    with pytest.raises(ValueError, match=words):
        draw(given)


def test_all_heads_at_once_are_no_picture():
    with pytest.raises((ValueError, TypeCheckError)):
        figures.visible_keys({"heads": LOCAL.visible(2, 4)})


def test_other_names_on_the_two_sides_are_refused():
    with pytest.raises(ValueError, match="counted has local, measured has sda"):
        figures.counted_and_measured({"local": 1.0}, {"sda": 1.0})
