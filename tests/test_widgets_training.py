"""TrainingMonitor: what it draws is what the training logs; stopped and resumed it ends where an uninterrupted one does."""

import re
import threading

import explorer_checks
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import clexlab
from clexlab import figures, hf, positions, rows, scaling, training
from clexlab.widgets import Run, TrainingMonitor, training_monitor
from clexlab.widgets.safely import ErrorNotice

WINDOW, VOCABULARY, STEPS, ROWS = 8, 24, 6, 4
SMALL = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
PLAN = training.Plan(steps=STEPS, rows=ROWS, rate=1e-2, path_rate=1e-2, log_every=2)


def plain():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=WINDOW, **SMALL))


def learner(frozen=False):
    """A tiny model with CLEX, trained at drawn positions; frozen, it is its own control."""
    model = plain()
    path = hf.scaling_for(model, scaling.CLEX, window=WINDOW)
    path.requires_grad_(not frozen)
    sampler = positions.Scattered(window=WINDOW, factors=positions.WholeFactors(4))
    return clexlab.extend(model, path, positions=sampler)


def data(steps=STEPS):
    tokens = torch.randint(VOCABULARY, (ROWS * steps, WINDOW), generator=torch.Generator().manual_seed(1))
    return rows.Rows(tokens, ["text", "text", "passkey", "copy"] * steps)


def runs(**changes):
    return {"CLEX": Run(learner(), data(), PLAN, **changes), "CLEX, frozen": Run(learner(frozen=True), data(), PLAN)}


def finished(monitor):
    assert monitor.wait(120)
    return monitor


def shown(monitor):
    return re.sub(r"<[^>]*>", "", monitor.notice.value)


def curve(monitor, name):
    """The points of the drawn curve of this name."""
    (drawn,) = (drawn for drawn in monitor.chart.data if drawn.name == name)
    return drawn


def stop_at(monitor, step):
    """Press stop as soon as the first run has done this step, as a hand would, whatever the machine's pace."""
    count = monitor._count

    def counted(name, now):
        count(name, now)
        if (name, now) == (next(iter(monitor.runs)), step):
            monitor.stop()

    monitor._count = counted


@pytest.fixture(scope="module")
def done():
    monitor = TrainingMonitor(runs())
    monitor.start()
    return finished(monitor)


def weights(monitor, name="CLEX"):
    return monitor.runs[name].model.state_dict()


def same_weights(left, right):
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_it_has_one_chart_one_place_for_errors_and_labels_everywhere():
    monitor = TrainingMonitor(runs())
    explorer_checks.holds_one_chart_and_one_place_for_errors(monitor)
    explorer_checks.names_every_axis_curve_and_control(monitor)
    assert not monitor._start.disabled and monitor._end.disabled and monitor._again.disabled


def test_all_runs_are_trained_in_their_order_and_the_bar_ends_full(done):
    assert list(done.trained) == ["CLEX", "CLEX, frozen"] and not done.training and done.notice.value == ""
    assert done._progress.value == done._progress.max == 2 * STEPS and done._progress.description == "done"
    assert done._start.disabled and done._end.disabled and done._again.disabled
    assert done.run == "CLEX, frozen"


def test_a_watched_training_is_the_training_itself(done):
    """The same steps, log and weights as `training.train` alone: watching draws nothing from any generator."""
    alone = learner()
    known = training.train(alone, data(), PLAN, folder=done.folder / "alone")
    same_weights(alone.state_dict(), weights(done))
    for entry, wanted in zip(done.curves["CLEX"], known.curve, strict=True):
        assert {**entry, "seconds": 0} == {**wanted, "seconds": 0}
    assert done.curves["CLEX"] == done.trained["CLEX"].curve


def test_loss_is_drawn_as_it_is_logged_by_run_and_by_part(done):
    done.run, done.part = "CLEX", "text"
    entries = done.curves["CLEX"]
    for name, key in (("CLEX", "text"), ("text", "text"), ("passkey", "passkey"), ("copy", "copy")):
        wanted = [(entry["step"], entry[key]) for entry in entries if key in entry]
        np.testing.assert_array_equal(curve(done, name).x, [step for step, _ in wanted])
        np.testing.assert_allclose(curve(done, name).y, [loss for _, loss in wanted], rtol=2e-7)
    done.part = "loss"
    np.testing.assert_allclose(curve(done, "CLEX").y, [entry["loss"] for entry in entries], rtol=2e-7)


def test_what_the_field_has_learned_is_drawn_and_its_control_is_flat(done):
    done.run = "CLEX"
    for factor in (2, 4, 8, 16):
        residual = done.runs["CLEX"].path.residual(float(factor)).detach().double()
        drawn = curve(done, f"t = {factor}")
        np.testing.assert_allclose(drawn.y, 100 * residual.expm1(), rtol=1e-5, atol=1e-6)
    assert np.abs(drawn.y).max() > 0 and "has moved θ(16) by" in done.sentence
    done.run = "CLEX, frozen"
    assert not np.any([curve(done, f"t = {factor}").y for factor in (2, 4, 8, 16)])


def test_the_sentence_compares_the_runs_at_one_step(done):
    done.part = "loss"
    for name in done.runs:
        assert f"{name} <b>{done.curves[name][-1]['loss']:.3f}</b>" in done.sentence
    assert f"Step {STEPS}, all rows" in done.sentence


def test_stopped_and_resumed_it_ends_at_the_weights_of_an_uninterrupted_training(done):
    monitor = TrainingMonitor(runs())
    stop_at(monitor, 3)
    monitor.start()
    finished(monitor)
    assert monitor.trained == {} and monitor.curves["CLEX"][-1]["step"] == 3 and "CLEX is saved after step 3" in monitor._status.value
    assert monitor._progress.description == "stopped" and monitor.notice.value == ""
    assert monitor._start.disabled and monitor._end.disabled and not monitor._again.disabled
    with pytest.raises(ValueError, match="resume it"):
        monitor.start()
    # What the reader does meanwhile must not matter.
    torch.rand(7)
    monitor.resume()
    finished(monitor)
    assert list(monitor.trained) == ["CLEX", "CLEX, frozen"]
    for name in monitor.runs:
        same_weights(weights(monitor, name), weights(done, name))
    assert [entry["step"] for entry in monitor.curves["CLEX"]] == [1, 2, 3, 4, 6]
    with pytest.raises(ValueError, match="every run is trained"):
        monitor.resume()


def test_in_a_folder_of_the_reader_a_later_monitor_goes_on(done, tmp_path):
    first = TrainingMonitor({"CLEX": runs()["CLEX"]}, folder=tmp_path)
    stop_at(first, 4)
    first.start()
    finished(first)
    later = TrainingMonitor({"CLEX": runs()["CLEX"]}, folder=tmp_path)
    assert later._start.disabled and not later._again.disabled
    later.resume()
    finished(later)
    same_weights(weights(later), weights(done))
    assert [entry["step"] for entry in later.curves["CLEX"]] == [1, 2, 4, 6]


def test_a_second_start_is_refused_and_another_monitor_takes_over(monkeypatch):
    reached, release = threading.Event(), threading.Event()
    original = training.train

    def gated(*arguments, **options):
        reached.set()
        assert release.wait(60)
        return original(*arguments, **options)

    monkeypatch.setattr(training, "train", gated)
    first, second = TrainingMonitor(runs()), TrainingMonitor({"CLEX": runs()["CLEX"]})
    first.start()
    assert reached.wait(60) and first.training and first._start.disabled and not first._end.disabled
    with pytest.raises(ValueError, match="under way"):
        first.start()
    second.start()
    release.set()
    finished(first)
    finished(second)
    assert first._progress.description == "stopped" and list(second.trained) == ["CLEX"]


def test_an_error_is_one_line_that_names_the_run_and_a_moved_control_leaves_it():
    monitor = TrainingMonitor({"fine": runs()["CLEX"], "<b>short</b>": Run(learner(), data(1), PLAN)})
    monitor._start.click()
    with pytest.raises(ValueError, match="the data have 4 rows"):
        monitor.wait(120)
    assert shown(monitor).startswith("&lt;b&gt;short&lt;/b&gt;: the data have 4 rows") and 'role="alert"' in monitor.notice.value
    assert "Traceback" not in monitor.notice.value and monitor._progress.description == "failed" and list(monitor.trained) == ["fine"]
    monitor.part = "text"
    assert "the data have 4 rows" in shown(monitor)
    assert sum(isinstance(widget, ErrorNotice) for widget in explorer_checks.children(monitor)) == 1


def test_an_error_that_comes_before_the_press_has_returned_stays(monkeypatch):
    start = threading.Thread.start

    def start_and_finish(thread):
        start(thread)
        thread.join()

    monitor = TrainingMonitor({"short": Run(learner(), data(1), PLAN)})
    monkeypatch.setattr(threading.Thread, "start", start_and_finish)
    monitor._start.click()
    assert "the data have 4 rows" in shown(monitor)


def test_a_plain_model_has_no_panel_for_a_field():
    monitor = TrainingMonitor({"plain": Run(plain(), data(), PLAN)})
    assert [panel["title"] for panel in monitor.chart.panels] == ["Loss, all runs", "Loss by part"]


def test_nothing_is_resumed_that_was_not_started():
    with pytest.raises(ValueError, match="start it"):
        TrainingMonitor(runs()).resume()


@pytest.mark.parametrize(("given", "words"), [({}, "pass"), ({"a": "b"}, "widgets.Run")])
def test_what_is_no_run_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        training_monitor.check_runs(given)


def test_two_runs_of_one_model_are_refused():
    model = learner()
    with pytest.raises(ValueError, match="share a model"):
        TrainingMonitor({"a": Run(model, data(), PLAN), "b": Run(model, data(), PLAN)})


@pytest.mark.parametrize(("name", "value"), [("run", "other"), ("part", "music")])
def test_python_is_refused_what_no_control_could_hold(name, value):
    monitor = TrainingMonitor(runs())
    with pytest.raises(ValueError, match="choose one of"):
        setattr(monitor, name, value)


def test_the_time_left_is_that_of_the_speed_so_far():
    assert training_monitor.time_left(10, 100, 350) == ", about 35 s left"
    assert training_monitor.time_left(10, 100, 1250) == ", about 2 min 5 s left"
    assert training_monitor.time_left(0, 0, 350) == training_monitor.time_left(10, 100, 0) == ""


def test_the_same_curves_go_into_figures(done):
    figure = figures.training_loss(done.curves, "text")
    assert [trace.name for trace in figure.data] == ["CLEX", "CLEX, frozen"]
    assert list(figure.data[0].y) == [entry["text"] for entry in done.curves["CLEX"] if "text" in entry]
    learned = figures.learned_frequencies(done.runs["CLEX"].path)
    assert [trace.name for trace in learned.data] == ["t = 2", "t = 4", "t = 8", "t = 16"]
    with pytest.raises(ValueError, match="has logged 'music'; there are loss, "):
        figures.training_loss(done.curves, "music")
