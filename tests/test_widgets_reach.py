"""ReachExplorer: what is drawn is what patterns show and reach; every pattern there is can be chosen, with its own options."""

import explorer_checks
import numpy as np
import pytest

from clexlab import sparse
from clexlab.widgets import WIDGETS, ReachExplorer
from clexlab.widgets import reach_explorer as page


@pytest.fixture
def explorer():
    return ReachExplorer(length=16)


def drawn(explorer, *indices):
    """The True entries that these curves fill."""
    mask = np.zeros((explorer.length,) * 2, dtype=bool)
    for index in indices:
        x, y = (values.reshape(-1, 6) for values in (explorer.chart.data[index].x, explorer.chart.data[index].y))
        for left, right, top in zip(x[:, 0], x[:, 1], y[:, 0], strict=True):
            mask[int(top + 0.5), int(left + 0.5) : int(right + 0.5)] = True
    return mask


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert ReachExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


@pytest.mark.parametrize("kind", page.KINDS, ids=lambda kind: kind.name)
def test_every_pattern_is_drawn_as_it_is(explorer, kind):
    explorer.pattern = kind.name
    assert explorer.notice.value == "" and type(explorer.shown) is kind
    for head in range(4):
        explorer.head = head
        np.testing.assert_array_equal(drawn(explorer, page.KEYS, page.HEAD_LEAKS), explorer.shown.visible(4, 16)[head])
    for layers in (1, 3, 8):
        explorer.layers = layers
        reached = sparse.reach(explorer.shown, 4, 16, layers)[-1].numpy()
        np.testing.assert_array_equal(drawn(explorer, *page.DEPTH), np.tril(reached))
        np.testing.assert_array_equal(drawn(explorer, page.LEAKS), np.triu(reached, 1))
    np.testing.assert_allclose(explorer.chart.data[page.ALL_TOKENS].y, sparse.coverage(explorer.shown, 4, 16, 8), rtol=1e-6)


def test_every_pattern_shows_its_options_alone(explorer):
    seen = {}
    for kind in page.KINDS:
        explorer.pattern = kind.name
        seen[kind.name] = {option for option in page.OPTIONS if explorer.controls[option].layout.display is None}
    assert seen["s2"] == seen["rolled_s2"] == seen["local"] == {"chunk"} and seen["sda"] == {"interval", "empty"}
    assert seen["scca_fixed"] == {"chunk", "shift_by", "mask", "empty"} and seen["scca_flow"] == {"chunk", "chunks", "mask", "empty"}
    assert seen["dilated"] == {"segment", "ratio", "empty"} and seen["dilated_neighbourhood"] == {"neighbours", "dilation"}


def test_no_pattern_has_an_option_that_cannot_be_set():
    for kind in page.KINDS:
        # SDA's first offset only renames its heads.
        assert {field.name for field in page.fields(kind)} <= {*page.OPTIONS, "first"}, kind.name


@pytest.mark.parametrize("name", page.OPTIONS)
def test_every_option_changes_the_pattern(explorer, name):
    owner = {
        "chunk": "s2",
        "chunks": "scca_flow",
        "segment": "dilated",
        "ratio": "dilated",
        "neighbours": "dilated_neighbourhood",
        "dilation": "dilated_neighbourhood",
        "interval": "sda",
    }
    explorer.pattern = owner.get(name, "scca_fixed")
    before, value = explorer.shown, getattr(explorer, name)
    slider = explorer.controls[name]
    values = [entry[1] if isinstance(entry, tuple) else entry for entry in slider.options] if hasattr(slider, "options") else [value - 1]
    setattr(explorer, name, next(one for one in values if one != value))
    assert explorer.shown != before and explorer.notice.value == ""


def test_layers_shade_a_pair_by_the_first_that_reaches_it(explorer):
    explorer.layers = 8
    one, two, three, more = (drawn(explorer, index) for index in page.DEPTH)
    reached = sparse.reach(explorer.shown, 4, 16, 8).numpy()
    for depth, before, after in ((two, 0, 1), (three, 1, 2), (more, 2, 7)):
        np.testing.assert_array_equal(depth, np.tril(reached[after] & ~reached[before]))
    np.testing.assert_array_equal(one, np.tril(reached[0]))


def test_the_token_has_its_own_curve_and_a_frame_around_its_row(explorer):
    explorer.token = 9
    reached = sparse.reach(explorer.shown, 4, 16, 8)[:, 9, :9].double().mean(1)
    np.testing.assert_allclose(explorer.chart.data[page.ONE_TOKEN].y, reached, rtol=1e-6)
    assert set(explorer.chart.data[page.TOKEN].y.tolist()) == {8.5, 9.5}
    assert "Of the 9 tokens before it token 9 sees" in explorer.sentence
    explorer.token = 0
    assert explorer.notice.value == "" and explorer.chart.data[page.ONE_TOKEN].y.tolist() == [1.0] * 8


def test_a_leak_is_told_and_what_has_none_is_not_blamed(explorer):
    assert "leaks" not in explorer.sentence
    explorer.pattern, explorer.layers = "rolled_s2", 1
    leaks = np.triu(explorer.shown.visible(4, 16).any(0).numpy(), 1).sum()
    assert f"<b>leaks</b>: {leaks} pairs see the future in one layer, {leaks} know of it after 1" in explorer.sentence


def test_empty_rows_are_told_head_by_head_and_their_rule_is_drawn(explorer):
    explorer.pattern, explorer.chunk = "scca_flow", 4
    assert "head by head: 0, 4, 8, 12 of 16" in explorer.sentence
    explorer.head, explorer.empty = 1, "own"
    assert drawn(explorer, page.KEYS)[:4].sum() == 10


def test_a_rule_that_knows_chunks_brings_the_chunk(explorer):
    explorer.pattern = "sda"
    assert explorer.controls["chunk"].layout.display == "none"
    explorer.empty = "first"
    assert explorer.controls["chunk"].layout.display is None


def test_a_shorter_text_or_fewer_heads_keep_token_and_head_inside(explorer):
    explorer.length, explorer.heads = 32, 8
    explorer.token, explorer.head = 31, 7
    explorer.length, explorer.heads = 16, 2
    assert (explorer.token, explorer.head) == (15, 1) and explorer.notice.value == ""


def test_heads_that_a_pattern_cannot_divide_are_explained_and_the_next_choice_works(explorer):
    explorer.heads = 3
    assert "no half" in explorer.notice.value
    explorer.heads = 2
    assert explorer.notice.value == ""


def test_a_move_sends_one_message(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append(message))
    explorer.layers = 5
    assert len(sent) == 1 and "finding" in sent[0]["state"]
