"""BiasExplorer: what is drawn is what the package computes; every bias can be chosen and every option changes something."""

import explorer_checks
import numpy as np
import pytest
import torch

from clexlab import biases, receptive
from clexlab.widgets import WIDGETS, BiasExplorer
from clexlab.widgets import bias_explorer as page

# The page is sent float32: seven digits.
SENT = dict(rtol=3e-7, atol=1e-6)


@pytest.fixture
def explorer():
    return BiasExplorer(heads=4, window=64, factor=4)


def curve(explorer, index):
    return explorer.chart.data[index]


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert BiasExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


def test_every_bias_is_offered_and_shows_its_options_alone(explorer):
    assert {name for _, name in explorer.controls["method"].options} == {kind.name for kind in biases.BIASES}
    shown = {}
    for kind in biases.BIASES:
        explorer.method = kind.name
        assert explorer.notice.value == "" and type(explorer.bias) is kind and kind.title in explorer.sentence
        shown[kind.name] = {name for name in (*page.OPTIONS, "fall") if explorer.controls[name].layout.display is None}
    assert shown["t5"] == {"buckets", "furthest", "fall"} and shown["sandwich"] == {"width"} and shown["fire"] == {"rate", "fall"}
    assert shown["kerple_log"] == shown["kerple_power"] == {"fall", "rate"}
    assert shown["alibi"] == shown["nope"] == shown["cope"] == shown["interpolated_alibi"] == set()


@pytest.mark.parametrize("kind", biases.BIASES)
def test_what_is_drawn_is_what_the_package_computes(explorer, kind):
    explorer.method = kind.name
    wanted = receptive.curve(explorer.bias, 256)
    reached = receptive.field(wanted)
    np.testing.assert_array_equal(curve(explorer, page.FIELDS).y, np.maximum(reached.numpy(), 0.5))
    flattest, drawn = int(reached.argmax()), curve(explorer, page.FLATTEST_WITHIN)
    within = receptive.weights(wanted).cumsum(-1)[flattest]
    np.testing.assert_allclose(drawn.y, within[drawn.x.astype(int)], **SENT)
    seen = curve(explorer, page.FLATTEST_B)
    values, known = (wanted[flattest] - wanted[flattest, 0])[seen.x.astype(int)].numpy(), ~np.isnan(seen.y)
    np.testing.assert_allclose(seen.y[known], values[known], **SENT)
    assert (values[~known] < page.LOWEST).all()


def test_the_sentence_counts_heads_beyond_the_window(explorer):
    explorer.factor = 4
    beyond = int((receptive.field(biases.ALiBi(heads=4).curve(256)) >= 64).sum())
    assert f"<b>{beyond} of 4</b> heads look beyond the window of 64" in explorer.sentence and "256 keys" in explorer.sentence
    explorer.method = "nope"
    assert "<b>4 of 4</b>" in explorer.sentence and "0.00 more logit" in explorer.sentence


def test_interpolation_stretches_every_head_with_the_text(explorer):
    plain = explorer.fields
    explorer.method = "interpolated_alibi"
    torch.testing.assert_close(explorer.curve, biases.ALiBi(heads=4).curve(256) / 4)
    assert (explorer.fields >= plain).all() and explorer.fields[0] > plain[0]


def test_what_is_learned_is_made_up_and_the_sentence_says_so(explorer):
    for kind in page.MADE_UP:
        explorer.method = kind.name
        assert page.MADE_UP[kind] in explorer.sentence
        falls = (explorer.curve.diff(dim=-1) <= 1e-9).all()
        assert falls and explorer.curve[0, -1] < explorer.curve[-1, -1] < explorer.curve[0, 0] + 1e-9
    explorer.method = "cope"
    assert "matter of content" in explorer.sentence


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("t5", "buckets"),
        ("t5", "furthest"),
        ("t5", "fall"),
        ("sandwich", "width"),
        ("fire", "rate"),
        ("fire", "fall"),
        ("kerple_log", "rate"),
        ("kerple_power", "fall"),
        ("alibi", "heads"),
        ("alibi", "factor"),
        ("alibi", "window"),
        ("alibi", "share"),
    ],
)
def test_every_control_changes_what_is_drawn(explorer, method, name):
    explorer.method = method
    before = (curve(explorer, page.HEADS_B).y.tobytes(), curve(explorer, page.FIELDS).y.tobytes())
    held = explorer.controls[name]
    if hasattr(held, "options"):
        values = [one[1] if isinstance(one, tuple) else one for one in held.options]
        setattr(explorer, name, next(one for one in values if one != held.value))
    else:
        setattr(explorer, name, held.value / 2)
    assert (curve(explorer, page.HEADS_B).y.tobytes(), curve(explorer, page.FIELDS).y.tobytes()) != before
    assert explorer.notice.value == ""


def test_what_a_bias_cannot_be_is_explained_and_the_next_choice_works(explorer):
    explorer.method = "t5"
    explorer.furthest = 64
    explorer.buckets = 64
    assert explorer.notice.value == ""
    assert explorer.bias.bucket(torch.tensor(10_000)) == 63


def test_a_move_sends_one_message(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append(message))
    explorer.factor = 8
    assert len(sent) == 1 and "finding" in sent[0]["state"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("method", "magic", "'alibi'"), ("heads", 3, "choose one of 1, 2"), ("factor", 17, "choose"), ("fall", 99, "between")],
)
def test_python_is_refused_what_no_control_could_hold(explorer, name, value, words):
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
