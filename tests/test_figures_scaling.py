"""Figures of scaling methods: the data they hold are the paths' own numbers; guides and units are where they belong."""

import math

import numpy as np
import pytest
import torch

from clexlab import figures, scaling
from clexlab.figures.panels import factor_grid, joined, level

SHAPE = dict(head_dim=64, base=1e4, window=2048)
PATHS = [kind.default(**SHAPE) for kind in scaling.SCALINGS]


def named(figure, name, panel=None):
    return [trace for trace in figure.data if trace.name == name and (panel is None or (trace.xaxis or "x") == panel)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_right_panel_holds_the_ratio_of_every_path(path):
    figure = figures.scaling_curves([path], 4.0)
    left, right = figure.data
    # Float32 frequencies carry 6e-8 relative rounding; the figure divides none of it away.
    np.testing.assert_allclose(right.y, path.ratio(4.0).detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(left.y, 2 * math.pi / path.inv_freq(4.0).detach().double().numpy(), rtol=1e-6)


def test_the_window_and_the_wanted_length_are_guides_in_tokens():
    figure = figures.scaling_curves([PATHS[1]], 4.0)
    assert {shape.y0 for shape in figure.layout.shapes} == {2048, 8192, 0.25}
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert "window 2,048 tokens" in texts and "t · window = 8,192" in texts


def test_axes_carry_units_and_ratios_are_on_a_log_scale_of_two():
    figure = figures.scaling_curves(PATHS[:2], 4.0)
    assert figure.layout.yaxis.title.text == "wavelength (tokens)"
    assert figure.layout.yaxis2.type == "log" and figure.layout.yaxis2.dtick == pytest.approx(math.log10(2))


def test_no_two_methods_share_both_colour_and_dash():
    figure = figures.scaling_curves(PATHS, 4.0)
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == len(PATHS)


def test_a_curve_over_the_factor_starts_at_one_and_ends_at_the_ratio_of_its_end():
    figure = figures.curves_over_factor(PATHS, pair=20, max_factor=8.0)
    for path in PATHS:
        (trace,) = named(figure, path.title)
        assert trace.y[0] == pytest.approx(1, abs=1e-12)
        # The solve of CLEX runs on a grid here and alone there: the same steps, rounded differently in float32.
        assert trace.y[-1] == pytest.approx(path.ratio(8.0)[20].item(), rel=1e-6)


def test_position_interpolation_lies_on_the_guide_line():
    figure = figures.curves_over_factor([scaling.Linear(**SHAPE)], pair=5)
    pi, guide = figure.data
    np.testing.assert_allclose(pi.y, guide.y, rtol=1e-12)


def test_figures_do_not_keep_the_gradient_of_a_trainable_path():
    clex = scaling.CLEX(**SHAPE)
    figures.scaling_curves([clex], 4.0)
    assert all(parameter.grad is None for parameter in clex.parameters())


def test_lines_joined_into_one_trace_come_apart_at_the_gaps():
    x, rows = np.arange(4.0), np.random.default_rng(0).normal(size=(3, 4))
    xs, ys = joined(x, rows)
    assert np.isnan(ys[4::5]).all() and np.isfinite(np.delete(ys, [4, 9, 14])).all()
    np.testing.assert_array_equal(ys.reshape(3, 5)[:, :4], rows)
    np.testing.assert_array_equal(xs.reshape(3, 5)[:, :4], np.tile(x, (3, 1)))


def test_a_factor_grid_hits_both_ends_exactly():
    grid = factor_grid(7.3, 50)
    assert grid[0] == 1 and grid[-1] == 7.3
    np.testing.assert_allclose(np.diff(np.log(grid)), math.log(7.3) / 49, rtol=1e-9)


def test_a_label_stands_where_its_line_is_on_a_log_axis():
    figure = figures.scaling_curves([PATHS[0]], 1.0)
    level(figure, 100.0, "here")
    assert figure.layout.shapes[-1].y0 == 100 and figure.layout.annotations[-1].y == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.scaling_curves([], 4.0), "no path"),
        (lambda: figures.scaling_curves([PATHS[0], scaling.NTK(head_dim=32, base=1e4, window=2048)], 4.0), "same geometry"),
        (lambda: figures.scaling_curves(PATHS[:1], 0.5), "1 …"),
        (lambda: figures.curves_over_factor(PATHS, pair=32), "0 to 31"),
        (lambda: figures.curves_over_factor(PATHS, pair=3, max_factor=64.0), "larger max_factor"),
        (lambda: figures.curves_over_factor(PATHS, pair=3, max_factor=1.0), "above 1"),
        (lambda: figures.curves_over_factor(PATHS, pair=3, max_factor=math.nan), "above 1"),
    ],
)
def test_impossible_requests_are_refused_with_the_fix(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_ratios_over_a_grid_are_those_of_each_factor():
    factors = np.array([1.0, 2.5, 7.0])
    for path in PATHS:
        grid = figures.scaling.over_factors(path, factors)
        alone = torch.stack([path.ratio(float(factor)).detach() for factor in factors]).numpy()
        np.testing.assert_allclose(grid, alone, rtol=1e-6)
