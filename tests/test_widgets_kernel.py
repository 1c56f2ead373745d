"""The explorers whose numbers come from the kernel: move a control, compare what is drawn with the core's own numbers."""

import asyncio
import json
import math

import explorer_checks
import numpy as np
import pytest
import torch

from clexlab import bounds, frequencies, ode, presets, scaling
from clexlab.widgets import BoundExplorer, DynamicsExplorer, ScalingCalculator
from clexlab.widgets import bound_explorer as bound
from clexlab.widgets import dynamics_explorer as dynamics
from clexlab.widgets import scaling_calculator as calculator

EXPLORERS = (BoundExplorer, ScalingCalculator, DynamicsExplorer)
# The page is sent float32: seven digits.
SENT = dict(rtol=2e-7, atol=1e-7)


@pytest.fixture(params=EXPLORERS, ids=lambda kind: kind.__name__)
def explorer(request):
    return request.param()


# ------------------------------------------------------------------------------------------ what all of them share


def test_every_explorer_holds_one_live_chart_and_a_place_for_errors(explorer):
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)


def test_every_axis_has_a_title_every_curve_a_name_and_every_control_a_label(explorer):
    explorer_checks.names_every_axis_curve_and_control(explorer)


def test_all_real_models_are_offered_and_can_be_drawn(explorer):
    assert {geometry.name for geometry in presets.PRESETS} <= set(explorer.controls["preset"].options)
    # One of every head size: drawing does not depend on the name.
    for name in {geometry.head_dim: geometry.name for geometry in presets.PRESETS}.values():
        explorer.preset = name
        assert explorer.notice.value == "", name


def test_a_callback_that_fails_shows_its_error_and_the_next_that_works_clears_it(explorer):
    def fail():
        raise RuntimeError("the field <ran> away")

    explorer.listen(fail, "preset")
    explorer.preset = "Phi-2"
    assert "RuntimeError" in explorer.notice.value and "the field &lt;ran&gt; away" in explorer.notice.value
    explorer.controls["preset"].unobserve_all("value")
    explorer.listen(lambda: None, "preset")
    explorer.preset = "Llama-2-7B"
    assert explorer.notice.value == ""


def test_a_move_sends_one_message_with_the_columns_that_changed(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append((message, buffers)))
    explorer.preset = "Phi-2"
    assert len(sent) == 1
    message, buffers = sent[0]
    assert "finding" in message["state"] and buffers
    explorer.say(explorer.sentence)
    explorer.chart.draw({index: (drawn.x, drawn.y) for index, drawn in enumerate(explorer.chart.data)})
    assert len(sent) == 1


def test_a_new_view_is_given_all_that_is_drawn(explorer):
    explorer.preset = "Phi-2"
    state = explorer.chart.get_state()
    assert state["finding"] == explorer.sentence and state["names"] == [drawn.name for drawn in explorer.chart.data]
    for index, drawn in enumerate(explorer.chart.data):
        for axis in "xy":
            np.testing.assert_array_equal(np.frombuffer(state[f"{axis}{index}"], "<f4"), getattr(drawn, axis))


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        (BoundExplorer, "preset", "Llama-9", "'Llama-2-7B'"),
        (BoundExplorer, "head_dim", 127, "128"),
        (BoundExplorer, "spacing", 1000.0, "between 0.0625 and 16"),
        (BoundExplorer, "spacing", math.nan, "between"),
        (BoundExplorer, "precision", torch.bfloat16, "torch.float32"),
        (BoundExplorer, "ridge", -1.0, "choose one of"),
        (ScalingCalculator, "method", "magic", "'yarn'"),
        (ScalingCalculator, "length", "long", "of the kind of"),
        (DynamicsExplorer, "prior", "clex", "'dynamic_ntk'"),
        (DynamicsExplorer, "factor", 17.0, "between 1 and 16"),
        (DynamicsExplorer, "pair", 64, "between 0 and 63"),
        (DynamicsExplorer, "strength", True, "between 0 and 0.5"),
        (DynamicsExplorer, "steps", 0, "choose one of 1"),
    ],
)
def test_python_is_refused_what_no_control_could_hold(kind, name, value, words):
    explorer = kind()
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


@pytest.mark.parametrize("kind", EXPLORERS, ids=lambda kind: kind.__name__)
def test_an_unknown_model_is_refused_by_the_constructor(kind):
    with pytest.raises(ValueError, match="Llama-9"):
        kind(preset="Llama-9")


def test_slow_work_waits_for_the_hand_to_rest_and_the_last_value_wins():
    explorer, done = DynamicsExplorer(), []

    async def drag():
        for value in range(5):
            explorer.later(lambda value=value: done.append(value))
        assert done == []
        await asyncio.sleep(1.0)

    asyncio.run(drag())
    assert done == [4]


# ---------------------------------------------------------------------------------------------------- BoundExplorer


def test_the_bounds_drawn_are_those_of_the_core():
    explorer = BoundExplorer()
    explorer.spacing = 2.0
    x = torch.tensor(explorer.chart.data[bound.SHARP].x.tolist(), dtype=torch.float64)
    inv_freq = frequencies.inv_freq(128, 1e4, torch.float64)
    expected = {
        bound.PRINTED: bounds.printed(x, 128, 1e4, 2.0),
        bound.CORRECTED: bounds.corrected(x, inv_freq, 2.0),
        bound.SHARP: bounds.sharp(x, inv_freq, 2.0),
    }
    for index, values in expected.items():
        np.testing.assert_allclose(explorer.chart.data[index].y, values.numpy(), **SENT)


def test_the_counterexample_to_the_printed_bound_is_seen_and_said():
    explorer = BoundExplorer(preset="Llama-2-7B")
    worst, printed = (explorer.chart.data[index].y[32] for index in (bound.WORST, bound.PRINTED))
    # Values of the paper's setting d = 128, c = 10⁴, computed independently.
    assert worst == pytest.approx(0.49388, abs=1e-5) and printed == pytest.approx(0.43429, abs=1e-5)
    assert "exceeds" in explorer.sentence and "0.4939" in explorer.sentence


def test_more_random_h_come_closer_and_never_beyond_the_sharp_bound():
    explorer, largest = BoundExplorer(draws=1), []
    for draws in (1, 64, 4096):
        explorer.draws = draws
        sampled, sharp = (np.asarray(explorer.chart.data[index].y) for index in (bound.SAMPLED, bound.SHARP))
        assert (sampled <= sharp + 1e-6).all()
        largest.append(sampled.max())
    assert largest == sorted(largest) and largest[0] < largest[-1]


def test_own_numbers_leave_the_model_and_a_model_brings_its_own():
    explorer = BoundExplorer()
    explorer.head_dim = 64
    assert explorer.preset == bound.CUSTOM
    explorer.preset = "Llama-3.1-8B"
    assert (explorer.head_dim, explorer.base, explorer.preset) == (128, 500_000.0, "Llama-3.1-8B")
    trivial = explorer.chart.data[bound.TRIVIAL].y
    np.testing.assert_array_equal(trivial, 64)


def test_ridge_tames_the_fit_beyond_the_window_and_precision_sets_its_height():
    explorer = BoundExplorer()
    beyond = {}
    for precision in (torch.float32, torch.float64):
        explorer.precision = precision
        fit = np.asarray(explorer.chart.data[bound.FIT].y)
        beyond[precision] = fit[len(fit) // 2 :].max()
    # Without ridge the height is rounding: float64, which can resolve more, strays further.
    assert beyond[torch.float64] > 1e3 * beyond[torch.float32] > 1e3
    explorer.ridge = 10.0
    fit = np.asarray(explorer.chart.data[bound.FIT].y)
    assert fit[len(fit) // 2 :].max() < 2


# ------------------------------------------------------------------------------------------------ ScalingCalculator


@pytest.mark.parametrize("kind", scaling.SCALINGS, ids=lambda kind: kind.name)
def test_the_calculator_shows_the_config_of_the_method_itself(kind):
    explorer = ScalingCalculator(preset="Llama-3.1-8B", method=kind.name, length=32_768)
    path = kind.default(head_dim=128, base=5e5, window=8192)
    assert explorer.factor == 4
    assert json.loads(explorer.config) == json.loads(json.dumps(path.rope_parameters(4.0)))
    expected = frequencies.wavelengths(path.inv_freq(4.0)).detach().numpy()
    np.testing.assert_allclose(explorer.chart.data[calculator.SCALED].y, expected, rtol=1e-6)
    assert explorer.chart.data[calculator.SCALED].name == path.title


def test_the_python_lines_give_the_same_config():
    explorer = ScalingCalculator(preset="Qwen2.5-7B", method="ntk", length=100_000)

    class Config:
        rope_parameters = {"partial_rotary_factor": 0.5}

    config = Config()
    exec(explorer.code, {"scaling": scaling, "config": config})
    assert config.rope_parameters == {"partial_rotary_factor": 0.5, **json.loads(explorer.config)}
    assert config.max_position_embeddings == 100_000


def test_pairs_with_new_angles_are_marked():
    explorer = ScalingCalculator(method="identity", length=8192)
    marked = explorer.chart.data[calculator.NEW]
    np.testing.assert_array_equal(marked.x, np.arange(46, 64))
    assert "18 of 64" in explorer.sentence
    explorer.method = "linear"
    assert len(explorer.chart.data[calculator.NEW].x) == 0 and "0 of 64" in explorer.sentence


def test_length_and_factor_move_together():
    explorer = ScalingCalculator()
    explorer.length = 16_384
    assert explorer.factor == explorer.controls["factor"].value == 4
    explorer.controls["factor"].value = 2.0
    assert explorer.length == 8192
    explorer.factor = 3.0
    assert explorer.length == 12_288 and explorer.controls["factor"].value == 3
    explorer.preset = "Phi-2"
    assert explorer.length == 3 * 2048


@pytest.mark.parametrize(
    ("method", "length", "words"), [("yarn", 1000, "t = length / window"), ("longrope", 10**6, "max_factor")]
)
def test_an_impossible_length_is_explained_in_the_widget_and_leaves_no_config_to_copy(method, length, words):
    explorer = ScalingCalculator(method=method)
    explorer.length = length
    assert words in explorer.notice.value and explorer.config == "" and explorer.code == ""
    explorer.length = 8192
    assert explorer.notice.value == "" and json.loads(explorer.config)


# ------------------------------------------------------------------------------------------------- DynamicsExplorer


def test_the_flow_drawn_is_that_of_the_path():
    explorer = DynamicsExplorer(points=33)
    explorer.strength, explorer.seed, explorer.prior = 0.2, 3, "yarn"
    path = explorer.clex
    assert path.prior == scaling.YaRN(head_dim=128, base=1e4, window=4096)
    lines = np.asarray(explorer.chart.data[dynamics.FLOW].y).reshape(64, 34)
    grid = torch.as_tensor(explorer.factors)
    np.testing.assert_allclose(lines[:, :-1].T, path.ratio(grid).log().detach().numpy(), **SENT)
    assert np.isnan(lines[:, -1]).all()


def test_the_middle_panel_is_the_path_and_its_prior_at_the_chosen_factor():
    explorer = DynamicsExplorer()
    explorer.factor = 5.0
    path = explorer.clex
    # One factor alone and a grid of them are the same steps with another order of rounding in float32.
    np.testing.assert_allclose(explorer.chart.data[dynamics.PATH_AT].y, path.ratio(5.0).detach().numpy(), rtol=2e-6)
    np.testing.assert_allclose(explorer.chart.data[dynamics.PRIOR_AT].y, path.prior.ratio(5.0).numpy(), rtol=1e-6)


def test_without_a_field_clex_is_its_prior_and_the_solver_makes_no_error():
    explorer = DynamicsExplorer(strength=0.0)
    path, prior = (explorer.chart.data[index].y for index in (dynamics.PATH_AT, dynamics.PRIOR_AT))
    np.testing.assert_array_equal(path, prior)
    assert np.max(explorer.chart.data[dynamics.ERRORS].y) == 0


def test_the_error_falls_with_the_order_of_the_solver():
    explorer = DynamicsExplorer(strength=0.05)
    for solver in (ode.EULER, ode.RK4):
        explorer.solver = solver
        curve = explorer.chart.data[dynamics.ERRORS]
        counts, errors = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
        order = -np.polyfit(np.log(counts[4:]), np.log(errors[4:]), 1)[0]
        # Between 6 and 24 steps the next power of the step still shows.
        assert order == pytest.approx(solver.order, abs=0.5)


def test_the_marked_error_is_that_of_the_chosen_steps():
    explorer = DynamicsExplorer()
    assert explorer.steps == 8
    explorer.steps = 12
    mark, curve = explorer.chart.data[dynamics.ERROR], explorer.chart.data[dynamics.ERRORS]
    assert mark.x[0] == 12 and mark.y[0] == curve.y[list(curve.x).index(12)]
    assert "12 rk4 steps" in explorer.sentence


def test_a_model_with_fewer_pairs_moves_the_pair_into_its_range():
    explorer = DynamicsExplorer()
    explorer.pair = 60
    explorer.preset = "Phi-2"
    assert explorer.pair == 15 and explorer.notice.value == ""
    assert len(explorer.chart.data[dynamics.PATH_AT].y) == 16
