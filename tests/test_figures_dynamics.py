"""Figures of the flow: arrows have the slope of the velocity, lines follow the paths, orders are fitted."""

import math

import numpy as np
import pytest
import torch

from clexlab import figures, ode, scaling
from clexlab.figures import dynamics
from clexlab.figures.panels import factor_grid

SHAPE = dict(head_dim=32, base=1e4, window=2048)
CLOSED = [kind.default(**SHAPE) for kind in scaling.SCALINGS if kind is not scaling.CLEX]


@pytest.fixture
def learned(generator):
    field = ode.fill_normal(ode.BoundedField(16, generator=generator), 0.3, generator)
    return scaling.CLEX(**SHAPE, field=field)


def slopes(x, y):
    """Slope in ln t of every arrow of a NaN-joined trace."""
    tails, heads = np.array([x[0::6], y[0::6]]), np.array([x[1::6], y[1::6]])
    return (heads[1] - tails[1]) / np.log(heads[0] / tails[0])


@pytest.mark.parametrize("path", CLOSED, ids=lambda path: path.name)
def test_the_velocity_is_the_slope_of_ln_theta_over_ln_t(path):
    factor, step = 3.0, 1e-5
    ends = path.ratio(torch.tensor([factor * math.exp(-step), factor * math.exp(step)], dtype=torch.float64)).log().numpy()
    # A central difference errs by step²·z'''/6, about 1e-10 here, plus rounding of 1e-16/step = 1e-11.
    velocity = dynamics.log_velocity(path, np.array([factor]))[0]
    np.testing.assert_allclose(velocity, (ends[1] - ends[0]) / (2 * step), atol=1e-8)


def test_arrows_of_a_closed_form_do_not_depend_on_the_state():
    path, factors, states = scaling.YaRN(**SHAPE), factor_grid(8, 5)[:-1], np.linspace(-2, 0, 4)
    found = slopes(*dynamics.arrows(path, 9, factors, states)).reshape(4, 4)
    expected = np.array([factor * float(path.velocity(float(factor))[9]) for factor in factors])
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 4, axis=1), atol=1e-6)


def test_arrows_of_clex_on_its_own_trajectory_are_its_velocity(learned):
    factor, pair = 4.0, 11
    state = learned.ratio(factor)[pair].log().item()
    slope = dynamics.slice_velocity(learned, pair, np.array([factor]), np.array([state]))[0, 0]
    # The field runs in float32; z is about 7, so one unit in the last place moves it by 5e-7.
    assert slope == pytest.approx(factor * learned.velocity(factor)[pair].item(), abs=1e-5)


def test_arrows_of_clex_change_with_the_state(learned):
    column = dynamics.slice_velocity(learned, 11, np.array([4.0]), np.linspace(-4, 1, 6))[0]
    assert np.ptp(column) > 1e-3


def test_arrows_of_an_untrained_clex_are_those_of_its_prior():
    clex, factors, states = scaling.CLEX(**SHAPE), np.array([1.0, 3.0]), np.array([-1.0, 0.0])
    mine, prior = (dynamics.slice_velocity(path, 7, factors, states) for path in (clex, clex.prior))
    np.testing.assert_allclose(mine, prior, atol=1e-6)


def test_the_trajectory_in_the_portrait_is_the_paths_own(learned):
    figure = figures.phase_portrait(learned, 11, max_factor=8.0, others=(learned.prior,))
    _, path, prior = figure.data
    np.testing.assert_allclose(path.y[-1], learned.ratio(8.0)[11].log().item(), atol=1e-6)
    np.testing.assert_allclose(prior.y[-1], float(learned.prior.ratio(8.0)[11].log()), atol=1e-12)
    assert figure.layout.xaxis.title.text == "factor t = length / window"


def test_all_pairs_are_one_trace_of_the_flow():
    path = scaling.NTK(**SHAPE)
    pairs = figures.flow_lines(path, 4.0).data[0]
    lines = np.asarray(pairs.y).reshape(16, -1)
    assert np.isnan(lines[:, -1]).all()
    expected = 2 * math.pi / path.inv_freq(4.0, dtype=torch.float64).numpy()
    np.testing.assert_allclose(lines[:, -2], expected, rtol=1e-12)


def test_velocity_fields_are_zero_without_scaling_and_minus_one_for_interpolation():
    figure = figures.velocity_fields([scaling.Identity(**SHAPE), scaling.Linear(**SHAPE)], columns=2)
    nothing, interpolation = figure.data
    assert np.abs(nothing.z).max() == 0
    np.testing.assert_allclose(interpolation.z, -1, atol=1e-12)
    assert nothing.z.shape == (16, 49)


def test_every_method_has_its_panel_on_one_colour_scale():
    figure = figures.velocity_fields([kind.default(**SHAPE) for kind in scaling.SCALINGS])
    assert [trace.name for trace in figure.data] == [kind.title for kind in scaling.SCALINGS]
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_fitted_order_is_that_of_a_power_law(order):
    steps = np.array([0.5, 0.25, 0.125])
    assert dynamics.fitted_order(steps, 3.0 * steps**order) == pytest.approx(order, abs=1e-9)


def test_convergence_names_the_order_of_every_solver():
    steps = np.array([0.5, 0.25, 0.125])
    figure = figures.convergence(steps, {"euler": steps, "rk4": 1e-3 * steps**4})
    assert [trace.name for trace in figure.data if trace.name] == ["euler: order 1.00", "rk4: order 4.00"]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_the_title_of_the_solver_error_names_the_fewest_steps_that_suffice():
    figure = figures.solver_error([2, 4, 8], [1e-2, 5e-5, 1e-7], tolerance=1e-4)
    assert "4 steps keep 0.0001" in figure.layout.title.text
    assert "none" in figures.solver_error([2], [1.0]).layout.title.text


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.phase_portrait(CLOSED[0], 16), "0 to 15"),
        (lambda: figures.phase_portrait(CLOSED[0], -1), "0 to 15"),
        (lambda: figures.velocity_fields([]), "no path"),
        (lambda: figures.convergence([0.5, 0.25], {"rk4": [1.0]}), "one error a step"),
        (lambda: figures.convergence([0.5, 0.25], {"rk4": [0.0, 1e-3]}), "fewer than two"),
        (lambda: figures.solver_error([1, 2], [1.0]), "one error each"),
        (lambda: figures.flow_lines(scaling.CLEX(**SHAPE), 32.0), "larger max_factor"),
    ],
)
def test_impossible_requests_are_refused_with_the_fix(call, words):
    with pytest.raises(ValueError, match=words):
        call()
