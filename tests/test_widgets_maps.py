"""RelativeMatrixExplorer: what is drawn is the map's own matrix; every map there is can be chosen, every option moved."""

from dataclasses import fields

import explorer_checks
import numpy as np
import pytest

from clexlab.positions import maps
from clexlab.widgets import WIDGETS, RelativeMatrixExplorer
from clexlab.widgets import relative_matrix_explorer as page


@pytest.fixture
def explorer():
    return RelativeMatrixExplorer()


def curve(explorer, index):
    return explorer.chart.data[index]


def drawn(explorer):
    """The matrix as its shades show it: the number of each cell's shade, -1 where there is none; no cell has two."""
    found = np.full((explorer.length, explorer.length), -1)
    for shade in range(page.SHADES):
        one = curve(explorer, shade)
        for (left, right), top in zip(one.x.reshape(-1, 5)[:, :2], one.y.reshape(-1, 5)[:, 0], strict=True):
            cells = found[round(top + 0.5), round(left + 0.5) : round(right + 0.5)]
            assert (cells == -1).all()
            cells[:] = shade
    return found


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert RelativeMatrixExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


@pytest.mark.parametrize("window", page.WINDOWS)
@pytest.mark.parametrize("kind", maps.MAPS, ids=lambda kind: kind.name)
def test_every_map_starts_with_its_published_options_and_shows_them_alone(explorer, kind, window):
    explorer.window, explorer.map = window, kind.name
    assert explorer.notice.value == "" and explorer.shown.title in explorer.sentence
    shown = {name for name in page.OPTIONS if explorer.controls[name].layout.display is None}
    assert shown == {field.name for field in fields(kind)} - {"window", "noise"}
    np.testing.assert_array_equal(explorer.shown.relative(40), kind.default(window).relative(40))


def test_no_map_has_an_option_that_cannot_be_set():
    for kind in maps.MAPS:
        assert {field.name for field in fields(kind)} <= {"window", "noise", *page.OPTIONS}, kind.name


@pytest.mark.parametrize("kind", maps.MAPS, ids=lambda kind: kind.name)
def test_the_heat_map_is_the_matrix_blue_up_to_the_largest_trained_position(explorer, kind):
    explorer.map, explorer.length = kind.name, 40
    shades, matrix = drawn(explorer), explorer.shown.relative(40).numpy()
    np.testing.assert_array_equal(shades == -1, np.isnan(matrix))
    beyond = shades >= len(page.TRAINED_SHADES)
    np.testing.assert_array_equal(beyond, matrix > 15 + 1e-6)
    # A later shade is a larger position.
    tops = [matrix[shades == shade] for shade in range(page.SHADES) if (shades == shade).any()]
    assert all(one.max() <= other.min() for one, other in zip(tops, tops[1:], strict=False))
    assert len(tops) >= 2


@pytest.mark.parametrize(
    ("name", "owner", "value"),
    [
        ("near", "rerope", 7),
        ("slowing", "leaky_rerope", 2),
        ("group", "self_extend", 2),
        ("chunk", "dual_chunk", 8),
        ("ceiling", "dual_chunk", 13),
        ("shift", "string", 9),
        ("local", "string", 3),
        ("local", "lm_infinite", 9),
        ("tail", "gali", 8),
        ("chunk", "gali", 2),
        ("sinks", "sinks", 2),
        ("recent", "sinks", 9),
        ("starts", "lm_infinite", 1),
        ("limit", "lm_infinite", 20),
    ],
)
def test_every_option_changes_what_is_drawn(explorer, name, owner, value):
    explorer.map = owner
    before = drawn(explorer)
    assert getattr(explorer, name) != value
    setattr(explorer, name, value)
    assert explorer.notice.value == "" and getattr(explorer.shown, name) == value
    assert not np.array_equal(drawn(explorer), before)


def test_the_last_row_and_the_counts_are_those_of_the_matrix(explorer):
    matrix = explorer.shown.relative(48)
    np.testing.assert_array_equal(curve(explorer, page.ROW).x, np.arange(48))
    np.testing.assert_array_equal(curve(explorer, page.ROW).y, matrix[-1].flip(0))
    np.testing.assert_array_equal(curve(explorer, page.PLAIN).y, [0, 47])
    assert curve(explorer, page.COUNT).y.sum() == 48 * 49 / 2
    np.testing.assert_array_equal(curve(explorer, page.TRAINING).y, np.arange(16, 0, -1))
    assert set(curve(explorer, page.LEVEL).y) == set(curve(explorer, page.EDGE).x) == {15.0}


def test_the_sentence_has_the_largest_position_and_the_longest_safe_length(explorer):
    explorer.group, explorer.near = 3, 4
    explorer.length = int(explorer.shown.longest)
    assert "largest position <b>15</b>" in explorer.sentence and "so all are trained" in explorer.sentence
    assert f"Longest safe length <b>{explorer.shown.longest}</b>" in explorer.sentence
    explorer.length = 60
    matrix = explorer.shown.relative(60)
    share = (matrix > 15).sum() / (~matrix.isnan()).sum()
    assert f"<b>{share:.1%}</b> of pairs are beyond it" in explorer.sentence
    explorer.map = "rerope"
    assert "Safe at any length" in explorer.sentence and "sees 60 of 60 keys, at 5 different positions" in explorer.sentence


def test_what_is_dropped_and_what_lies_between_positions_is_counted(explorer):
    explorer.map = "sinks"
    explorer.sinks, explorer.recent = 2, 6
    assert "sees 8 of 48 keys" in explorer.sentence and "between" not in explorer.sentence
    explorer.map = "gali"
    assert "of pairs stand between two whole positions" in explorer.sentence


def test_options_that_exclude_each_other_are_explained_and_the_next_choice_works(explorer):
    explorer.map = "dual_chunk"
    explorer.chunk = 30
    assert "use smaller chunks" in explorer.notice.value
    explorer.chunk = 8
    assert explorer.notice.value == "" and explorer.shown.chunk == 8


def test_a_new_length_moves_the_axes_of_the_matrix_with_row_zero_on_top(explorer):
    explorer.length = 20
    matrix = explorer.chart.panels[page.MATRIX]
    assert (matrix["x"]["low"], matrix["x"]["high"]) == (-0.5, 19.5) and (matrix["y"]["low"], matrix["y"]["high"]) == (19.5, -0.5)


def test_a_move_sends_one_message(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append(message))
    explorer.group = 3
    assert len(sent) == 1 and "finding" in sent[0]["state"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("map", "magic", "'self_extend'"), ("window", 17, "choose one of 8"), ("length", 65, "between 2 and 64"), ("group", 0, "between 1")],
)
def test_python_is_refused_what_no_control_could_hold(explorer, name, value, words):
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    if name != "group":
        with pytest.raises(ValueError, match=words):
            RelativeMatrixExplorer(**{name: value})
