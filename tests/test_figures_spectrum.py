"""What the spectrum figures draw: the traces hold the package's own numbers, the axes their units, the window a line."""

import math

import numpy as np
import pytest

from clexlab import figures, frequencies, presets, scaling
from clexlab.figures import style

LLAMA = presets.by_name("Llama-2-7B")
SEVERAL = [presets.by_name(name) for name in ("Llama-2-7B", "Llama-3.1-8B", "Qwen2.5-7B", "GPT-NeoX-20B", "Gemma-3-4B")]
PATHS = [path(head_dim=128, base=1e4, window=4096) for path in (scaling.Identity, scaling.Linear, scaling.NTK, scaling.YaRN)]
EVERY = {
    "wavelengths": lambda: figures.wavelengths_against_window(SEVERAL),
    "turns": lambda: figures.turns_in_training(SEVERAL),
    "circle": lambda: figures.circle_coverage(LLAMA, [2, 4, 8]),
    "coverage": lambda: figures.phase_coverage(PATHS, 8.0),
    "compared": lambda: figures.models_compared(presets.PRESETS),
}


def lines(figure):
    return [trace for trace in figure.data if getattr(trace, "mode", None) == "lines"]


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY)
def test_both_axes_of_every_figure_are_titled_and_the_paper_is_transparent(draw):
    figure = draw()
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text or figure.data[0].orientation == "h"
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


@pytest.mark.parametrize("name", ["wavelengths", "turns", "circle", "coverage"])
def test_lines_differ_in_colour_and_in_dash(name):
    drawn = lines(EVERY[name]())
    assert len({trace.line.color for trace in drawn}) == len({trace.line.dash for trace in drawn}) == len(drawn) > 1


@pytest.mark.parametrize("name", ["wavelengths", "turns", "coverage"])
def test_logarithmic_axes_show_all_values_with_few_powers_of_two(name):
    figure = EVERY[name]()
    axis = figure.layout.yaxis
    values = np.concatenate([np.asarray(trace.y, dtype=float) for trace in figure.data])
    assert axis.type == "log" and 2 <= len(axis.tickvals) <= 10
    assert all(math.log2(value).is_integer() for value in axis.tickvals)
    assert axis.range[0] <= math.log10(values.min()) and axis.range[1] >= math.log10(values.max())
    assert len(set(axis.ticktext)) == len(axis.ticktext)


def test_wavelengths_are_drawn_in_tokens_with_the_window_as_a_line():
    figure = figures.wavelengths_against_window([LLAMA])
    (line,) = lines(figure)
    # An explicit loop over the definition: one turn takes 2π/θ_j tokens.
    expected = [2 * math.pi * 10_000 ** (2 * j / 128) for j in range(64)]
    np.testing.assert_allclose(line.y, expected, rtol=1e-5)  # the figure's frequencies are float32
    assert [shape.y0 for shape in figure.layout.shapes] == [4096]
    assert "18 of 64" in line.name


def test_the_ring_sits_where_the_curve_crosses_its_window():
    for geometry in SEVERAL:
        figure = figures.wavelengths_against_window([geometry])
        (ring,) = [trace for trace in figure.data if trace.mode == "markers"]
        below, above = math.floor(ring.x[0]), math.ceil(ring.x[0])
        assert figure.data[0].y[below] <= geometry.window <= figure.data[0].y[above]
        assert above == frequencies.critical_pair(geometry.inv_freq(), geometry.window)


def test_each_distinct_window_is_drawn_once():
    figure = figures.wavelengths_against_window([presets.by_name(name) for name in ("Llama-3-8B", "Llama-3.1-8B", "Phi-2")])
    assert sorted(shape.y0 for shape in figure.layout.shapes) == [2048, 8192]


def test_circle_coverage_stops_at_a_full_circle_and_grows_with_the_factor():
    trained, *longer = [np.asarray(trace.y) for trace in lines(figures.circle_coverage(LLAMA, [2, 4, 8]))]
    assert trained.max() == 360 and (trained < 360).sum() == 18
    np.testing.assert_allclose(trained[63], 360 * 4096 / (2 * math.pi * 10_000 ** (126 / 128)), rtol=1e-5)
    for factor, angles in zip((2, 4, 8), longer, strict=True):
        np.testing.assert_allclose(angles, np.minimum(360, np.where(trained < 360, factor * trained, 360)), rtol=1e-6)


def test_phase_coverage_counts_the_pairs_that_meet_new_angles():
    names = [trace.name for trace in lines(figures.phase_coverage(PATHS, 8.0))]
    assert [int(name.split(": ")[1].split()[0]) for name in names] == [18, 0, 17, 0]


def test_phase_coverage_of_linear_scaling_is_one_and_of_none_the_factor():
    nothing, linear = lines(figures.phase_coverage(PATHS[:2], 8.0))
    np.testing.assert_allclose(nothing.y, 8.0, rtol=1e-6)
    np.testing.assert_allclose(linear.y, 1.0, rtol=1e-6)


def test_every_model_has_one_bar_whose_parts_add_up():
    figure = figures.models_compared(presets.PRESETS)
    assert len({bar.marker.color for bar in figure.data}) == len({bar.marker.pattern.shape for bar in figure.data}) == 3
    np.testing.assert_allclose(np.sum([bar.x for bar in figure.data], axis=0), 100.0)
    for row, name in enumerate(figure.data[0].y):
        assert sum(int(bar.text[row]) for bar in figure.data) == presets.by_name(name).pairs
    assert list(figure.data[2].x) == sorted(figure.data[2].x)


def test_a_model_without_a_slow_pair_has_no_ring():
    short = frequencies.Geometry("all pairs turn", 8, 100.0, 4096, "made up")
    figure = figures.wavelengths_against_window([short])
    assert len(figure.data) == 1 and "0 of 4" in figure.data[0].name


@pytest.mark.parametrize("draw", [figures.wavelengths_against_window, figures.turns_in_training, figures.models_compared])
def test_no_model_is_refused(draw):
    with pytest.raises(ValueError, match="no model given"):
        draw([])


@pytest.mark.parametrize("factors", [[], [0.5], [2.0, math.nan]])
def test_factors_below_one_are_refused(factors):
    with pytest.raises(ValueError, match="t ≥ 1"):
        figures.circle_coverage(LLAMA, factors)


def test_paths_of_different_models_are_refused():
    with pytest.raises(ValueError, match="same geometry"):
        figures.phase_coverage([PATHS[0], scaling.Linear(head_dim=64, base=1e4, window=4096)], 2.0)


def test_the_template_is_the_house_style():
    assert figures.turns_in_training([LLAMA]).layout.template.layout.colorway == tuple(style.COLOURS)
