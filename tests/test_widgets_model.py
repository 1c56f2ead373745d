"""ModelExplorer: what it measures is what evaluation measures; it runs beside the page, stops, and says errors in one line."""

import re
import threading
import time

import explorer_checks
import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from clexlab import corpora, evaluation, figures, hf, pocket, scaling
from clexlab.widgets import WIDGETS, ErrorNotice, ModelExplorer, measuring
from clexlab.widgets import model_explorer as explorer_module

WINDOW = 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny models and two folders of text, as a reader would have them."""
    root = tmp_path_factory.mktemp("mine")
    small = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
    plain = pocket.config(**small, max_position_embeddings=WINDOW)
    yarn = scaling.YaRN(head_dim=16, base=1e4, window=WINDOW).rope_parameters(4.0)
    torch.manual_seed(0)
    models = {
        "plain": LlamaForCausalLM(plain),
        "scaled": LlamaForCausalLM(pocket.config(**small, max_position_embeddings=4 * WINDOW, rope_parameters=yarn)),
        "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=257, n_positions=WINDOW)),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        pocket.tokenizer().save_pretrained(root / name)
    extended = LlamaForCausalLM(plain)
    hf.extend(extended, hf.scaling_for(extended, scaling.YaRN)).save_pretrained(root / "extended")
    (root / "empty").mkdir()
    for name, text in (("texts", "to be or not to be; "), ("short", "be")):
        (root / name).mkdir()
        for number in range(3):
            (root / name / f"{number}.txt").write_text(f"{number} " + 20 * text)
    return root


def explorer(folders, **changes):
    settings = dict(model=folders / "plain", text=folders / "texts", methods=("linear", "longrope"), largest=4, documents=2)
    return ModelExplorer(**{**settings, **changes})


def measured(folders, **changes):
    one = explorer(folders, **changes)
    one.measure()
    assert one.wait(60)
    return one


def shown(one):
    """The text of the notice, without its markup."""
    return re.sub(r"<[^>]*>", "", one.notice.value)


def test_it_is_one_of_the_explorers_with_one_chart_one_notice_and_labels_everywhere():
    one = ModelExplorer()
    assert ModelExplorer in WIDGETS and "<b>measure</b>" in one.sentence and one.notice.value == ""
    assert sum(isinstance(widget, ErrorNotice) for widget in explorer_checks.children(one)) == 1
    assert sum(widget is one.chart for widget in explorer_checks.children(one)) == 1
    assert all(control.description for control in one.controls.values()) and all(one.chart.names)
    assert all(panel[axis]["title"] and panel[axis]["unit"] for panel in one.chart.panels for axis in "xy")


def test_all_closed_forms_are_offered_and_the_guess_is_called_a_guess():
    names = {kind.name for kind in scaling.SCALINGS} - {"identity", "clex"}
    assert set(explorer_module.TITLES) == names
    assert explorer_module.TITLES["longrope"] == "LongRoPE's start"


def test_the_points_are_those_of_the_evaluation(folders):
    one = measured(folders)
    assert one.notice.value == ""
    setup = measuring.prepare(str(folders / "plain"), str(folders / "texts"), one.methods, 4, 2)
    expected = evaluation.compare(setup.model, setup.paths, setup.texts, WINDOW, (1, 2, 4))
    assert [name for name in one.curves] == ["", "linear", "longrope"]
    for name, known in zip(one.curves, expected, strict=True):
        for row, wanted in zip(one.curves[name].rows, known.result.rows, strict=True):
            assert (row.length, row.scale) == (wanted.length, wanted.scale)
            # One text a forward here, four there: the same sums in another order.
            np.testing.assert_allclose(row.last_by_document, wanted.last_by_document, rtol=1e-5)


def test_what_is_drawn_is_what_was_measured_with_the_window_as_a_line(folders):
    one = measured(folders)
    for name, curve in one.curves.items():
        drawn = one.chart.data[explorer_module._index(name)]
        np.testing.assert_array_equal(drawn.x, [32, 64, 128])
        np.testing.assert_allclose(drawn.y, [row.last for row in curve.rows], rtol=2e-7)
    np.testing.assert_array_equal(one.chart.data[explorer_module.WINDOW].x, [WINDOW, WINDOW])
    low, high = one.chart.data[explorer_module.REACH].x
    assert low < WINDOW and high > 4 * WINDOW and np.isnan(one.chart.data[explorer_module.REACH].y).all()
    losses = [row.last for curve in one.curves.values() for row in curve.rows]
    np.testing.assert_allclose(one.chart.data[explorer_module.WINDOW].y, [min(losses), max(losses)], rtol=2e-7)
    assert one.chart.data[explorer_module._index("longrope")].name == "LongRoPE's start"


def test_the_sentence_compares_the_untouched_model_with_the_best_method(folders):
    one = measured(folders)
    last = {name: curve.rows[-1].last for name, curve in one.curves.items()}
    best = min(("linear", "longrope"), key=last.get)
    assert f"<b>{last['']:.3f}</b>" in one.sentence and f"<b>{last[best]:.3f}</b>" in one.sentence
    assert "After 128 tokens (4 × window)" in one.sentence and "16 rotary dimensions" in one.sentence
    alone = one.curves[""].rows[0].last
    assert f"on one window alone (truncation): <b>{alone:.3f}</b>" in one.sentence


def test_the_untouched_model_is_measured_even_without_a_method(folders):
    one = measured(folders, methods=())
    assert list(one.curves) == [""] and len(one.curves[""].rows) == 3 and "untouched" in one.sentence


def test_the_curves_go_into_the_figure(folders):
    one = measured(folders)
    figure = figures.loss_by_length({name or "untouched": curve for name, curve in one.curves.items()})
    assert [trace.name for trace in figure.data] == ["untouched", "linear", "longrope"]


def test_short_lengths_come_first_and_all_curves_grow_together(folders):
    grown = []
    setup = measuring.prepare(str(folders / "plain"), str(folders / "texts"), ("yarn",), 2, 1)
    for name, curve in measuring.points(setup, (1, 2), lambda *count: None):
        grown.append((name, len(curve.rows)))
    assert grown == [("", 1), ("yarn", 1), ("", 2), ("yarn", 2)]


def test_the_progress_bar_counts_every_token_and_ends_full(folders):
    one = measured(folders)
    assert one._progress.value == one._progress.max == 3 * 2 * (32 + 64 + 128)
    assert one._progress.description == "done" and not one._start.disabled and one._end.disabled


def test_the_model_is_left_as_it_was(folders):
    setup = measuring.prepare(str(folders / "plain"), str(folders / "texts"), ("yarn",), 2, 1)
    list(measuring.points(setup, (1, 2), lambda *count: None))
    with pytest.raises(ValueError, match="not extended"):
        hf.rotary_of(setup.model)


def held_back(monkeypatch):
    """A gate in front of every measurement: `release.set()` opens it; `reached` is set when a measurement stands before it."""
    reached, release = threading.Event(), threading.Event()
    original = evaluation.loss_by_length

    def gated(*arguments, **options):
        reached.set()
        assert release.wait(60)
        return original(*arguments, **options)

    monkeypatch.setattr(evaluation, "loss_by_length", gated)
    return reached, release


def test_measuring_does_not_block_and_a_second_start_is_refused(folders, monkeypatch):
    reached, release = held_back(monkeypatch)
    one = explorer(folders)
    began = time.monotonic()
    one.measure()
    assert one.measuring and one._start.disabled and not one._end.disabled
    assert reached.wait(60) and time.monotonic() - began < 60
    with pytest.raises(ValueError, match="under way; stop it first"):
        one.measure()
    # What the controls say now belongs to the next measurement.
    one.methods = ("ntk",)
    release.set()
    assert one.wait(60) and list(one.curves) == ["", "linear", "longrope"]


def test_stop_ends_the_measurement_at_the_next_text_and_keeps_what_is_drawn(folders, monkeypatch):
    one = explorer(folders)
    original = one._draw

    def draw_and_stop(*arguments):
        original(*arguments)
        if len(one.curves) == 2:
            one.stop()

    monkeypatch.setattr(one, "_draw", draw_and_stop)
    one.measure()
    assert one.wait(60)
    assert {name: len(curve.rows) for name, curve in one.curves.items()} == {"": 1, "linear": 1}
    assert one._progress.description == "stopped" and one.notice.value == "" and not one._start.disabled
    assert list(one.chart.data[explorer_module.UNTOUCHED].x) == [32]


def test_after_a_stop_it_measures_again_from_the_start(folders):
    one = explorer(folders)
    one.measure()
    one.stop()
    assert one.wait(60)
    one.measure()
    assert one.wait(60)
    assert one._progress.description == "done" and {len(curve.rows) for curve in one.curves.values()} == {3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(model="./nowhere"), "./nowhere is missing; give the folder of a saved model"),
        (dict(model="nobody/nothing"), "nobody/nothing"),
        (dict(model="empty"), "holds no config.json"),
        (dict(model="gpt2"), "no rotary module"),
        (dict(model="scaled"), "already scaled"),
        (dict(model="extended"), "is extended already, with YaRN"),
        (dict(text="nowhere"), "is missing; give the folder"),
        (dict(text="empty"), "no document with suffix"),
        (dict(text="short"), "no text is long enough: the longest of 3 has 42 tokens"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line_without_a_traceback(folders, changes, words):
    own = {name: folders / value for name, value in changes.items() if (folders / value).is_dir()}
    one = measured(folders, **{**changes, **own})
    assert words in shown(one) and "\n" not in one.notice.value
    assert "Traceback" not in one.notice.value and 'role="alert"' in one.notice.value
    assert one._progress.description == "failed" and not one._start.disabled
    assert one.curves == {} and one.sentence == "Nothing is measured yet."


def test_the_next_measurement_that_works_clears_the_error(folders):
    one = measured(folders, model="./nowhere")
    one.model = str(folders / "plain")
    one.measure()
    assert one.wait(60) and one.notice.value == "" and len(one.curves) == 3


def test_an_error_that_comes_before_the_press_has_returned_stays(folders, monkeypatch):
    one = explorer(folders, model="./nowhere")
    start = threading.Thread.start

    def start_and_finish(thread):
        start(thread)
        thread.join()

    monkeypatch.setattr(threading.Thread, "start", start_and_finish)
    one._start.click()
    assert "./nowhere is missing" in shown(one)


def test_a_press_that_is_refused_says_why_and_the_next_one_clears_it(folders):
    one = explorer(folders, window="half")
    one._start.click()
    assert "give a whole number of tokens" in shown(one) and not one.measuring
    one.window = ""
    one._start.click()
    assert one.wait(60) and one.notice.value == "" and len(one.curves) == 3


def test_an_error_nobody_foresaw_is_a_line_too_with_its_kind(folders, monkeypatch):
    monkeypatch.setattr(measuring, "prepare", lambda *arguments: 1 / 0)
    one = measured(folders)
    assert shown(one) == "ZeroDivisionError: division by zero"


def test_markup_in_a_name_is_shown_as_it_was_typed(folders):
    one = measured(folders, model="./<b>bold</b>")
    assert "&lt;b&gt;bold" in one.notice.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(methods=("magic",)), "'yarn'"),
        (dict(methods=("clex",)), "choose from"),
        (dict(largest=3), "choose one of 1, 2, 4, 8, 16"),
        (dict(documents=0), "between 1 and 32"),
    ],
)
def test_python_is_refused_what_no_control_could_hold(changes, words):
    with pytest.raises(ValueError, match=words):
        ModelExplorer(**changes)


def test_boxes_and_names_of_methods_follow_each_other():
    one = ModelExplorer(methods=("yarn", "linear"))
    boxes = one.controls["methods"].boxes
    assert one.methods == ("linear", "yarn") and boxes["yarn"].value and not boxes["ntk"].value
    boxes["ntk"].value, boxes["linear"].value = True, False
    assert one.methods == ("ntk", "yarn")
    one.methods = ("abf",)
    assert [name for name, box in boxes.items() if box.value] == ["abf"]


def test_the_window_field_takes_the_place_of_what_the_config_claims(folders):
    one = measured(folders, window=WINDOW // 2)
    assert one.notice.value == "" and [row.length for row in one.curves["linear"].rows] == [16, 32, 64]
    setup = measuring.prepare(str(folders / "plain"), str(folders / "texts"), ("linear",), 4, 2, WINDOW // 2)
    assert setup.paths["linear"].window == WINDOW // 2
    (known,) = evaluation.compare(setup.model, {}, setup.texts, WINDOW // 2, (1, 2, 4))
    np.testing.assert_allclose([row.last for row in one.curves[""].rows], [row.last for row in known.result.rows], rtol=1e-5)


@pytest.mark.parametrize("typed", ["half", "-32", "3", "32.5"])
def test_a_window_that_is_no_length_is_refused(folders, typed):
    with pytest.raises(ValueError, match="give a whole number of tokens, at least 4, or leave the field empty"):
        explorer(folders, window=typed).measure()


def test_another_model_without_texts_gets_the_larger_part_of_the_library(folders):
    train = {document.text for document in corpora.standard_library("train").documents}
    setup = measuring.prepare(str(folders / "plain"), "", (), 2, 2)
    assert all(any(text.encode()[: len(tokens)] == bytes(tokens.tolist()) for text in train) for tokens in setup.texts)


def test_left_empty_it_measures_the_shipped_model_on_the_held_out_standard_library():
    setup = measuring.prepare("", "", (), 2, 2)
    held_out = {document.text for document in corpora.standard_library("held_out").documents}
    texts = [setup_text.tolist() for setup_text in setup.texts]
    assert setup.geometry.window == pocket.WINDOW and [len(text) for text in texts] == [2 * pocket.WINDOW + 1] * 2
    assert all(any(text.encode()[: len(tokens)] == bytes(tokens) for text in held_out) for tokens in texts)
