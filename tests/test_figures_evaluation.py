"""Loss by length as a figure: the numbers are the measurement's own, the window is a line, bars and bands say what they are of."""

import numpy as np
import pytest

from clexlab import figures
from clexlab.evaluation import LengthLoss, LossByLength
from clexlab.widgets import ModelExplorer, model_explorer
from clexlab.widgets.model_explorer import TITLES


def measured(*losses, window=64, spread=0.0, factors=(1, 2, 4)):
    """A measurement of two documents whose mean losses are the given ones."""
    rows = tuple(
        LengthLoss(
            factor=float(factor),
            length=factor * window,
            scale=float(factor),
            last_by_document=(loss - spread, loss + spread),
            whole_by_document=(loss + 1, loss + 1),
        )
        for factor, loss in zip(factors, losses, strict=True)
    )
    return LossByLength(window=window, rows=rows, too_short=0)


UNTOUCHED, SCALED = measured(2.0, 5.0, 6.0), measured(2.0, 2.1, 2.3, spread=0.25)


def trace(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_a_curve_is_the_loss_of_the_last_tokens_against_the_length_in_tokens():
    figure = figures.loss_by_length({"untouched": UNTOUCHED, "YaRN": SCALED})
    for name, run in (("untouched", UNTOUCHED), ("YaRN", SCALED)):
        np.testing.assert_array_equal(trace(figure, name).x, [64, 128, 256])
        np.testing.assert_array_equal(trace(figure, name).y, [row.last for row in run.rows])


def test_axes_carry_units_and_lengths_double_from_tick_to_tick():
    figure = figures.loss_by_length({"untouched": UNTOUCHED})
    assert figure.layout.xaxis.title.text == "length (tokens)" and figure.layout.yaxis.title.text == "loss (nats per token)"
    assert figure.layout.xaxis.type == "log" and figure.layout.xaxis.dtick == pytest.approx(np.log10(2))


def test_the_window_is_a_line_that_the_axis_holds_even_where_nothing_was_measured_at_it():
    figure = figures.loss_by_length({"untouched": measured(5.0, 6.0, factors=(2, 4))})
    (line,) = figure.layout.shapes
    low, high = figure.layout.xaxis.range
    assert line.x0 == line.x1 == 64 and low < np.log10(64) and high > np.log10(256)
    assert figure.layout.annotations[0].text == "window 64" and figure.layout.annotations[0].x == pytest.approx(np.log10(64))


def test_one_measurement_carries_the_standard_error_over_its_documents():
    figure = figures.loss_by_length({"YaRN": SCALED})
    # Two values 0.5 apart: deviation 0.25·√2, error of their mean 0.25.
    np.testing.assert_allclose(trace(figure, "YaRN").error_y.array, 0.25, rtol=1e-12)


def test_several_runs_are_their_mean_in_a_band_from_lowest_to_highest_and_carry_no_bars():
    runs = [measured(2.0, 4.0, 6.0), measured(2.2, 4.8, 6.2), measured(2.4, 3.2, 7.0)]
    figure = figures.loss_by_length({"seeds": runs})
    np.testing.assert_allclose(trace(figure, "seeds").y, [2.2, 4.0, 6.4])
    assert trace(figure, "seeds").error_y.array is None
    band = next(trace for trace in figure.data if trace.fill == "toself")
    np.testing.assert_allclose(band.y, [2.0, 3.2, 6.0, 7.0, 4.8, 2.4])
    np.testing.assert_array_equal(band.x, [64, 128, 256, 256, 128, 64])
    red, green, blue = (int(trace(figure, "seeds").line.color[at : at + 2], 16) for at in (1, 3, 5))
    assert band.fillcolor.startswith(f"rgba({red},{green},{blue},")


def test_a_method_has_one_colour_whatever_stands_beside_it_and_never_the_untouched_models():
    titles = {name: "LongRoPE's start" if name == "longrope" else title for name, title in TITLES.items()}
    alone = {name: trace(figures.loss_by_length({title: SCALED}), title).line for name, title in titles.items()}
    together = figures.loss_by_length({"untouched": UNTOUCHED, **{title: SCALED for title in reversed(titles.values())}})
    own = trace(together, "untouched").line.color
    for name, title in titles.items():
        line = trace(together, title).line
        assert (line.color, line.dash) == (alone[name].color, alone[name].dash) and line.color != own
        assert trace(figures.loss_by_length({name: SCALED}), name).line.color == line.color
        drawn = ModelExplorer().chart.curves[model_explorer._index(name)]
        assert (drawn["colour"], drawn["dash"]) == (line.color, line.dash)
    assert len({one.line.color for one in together.data}) == len(titles) + 1


def test_two_curves_of_one_method_share_its_colour_and_differ_in_dash():
    figure = figures.loss_by_length({"longrope": UNTOUCHED, "longrope max_factor=32": SCALED, "my own": SCALED})
    first, second, other = (one.line for one in figure.data)
    assert first.color == second.color and first.dash != second.dash
    assert (other.color, other.dash) not in {(first.color, first.dash), (second.color, second.dash)}


def test_a_single_document_has_no_bars_because_it_says_nothing_about_others():
    row = LengthLoss(factor=1.0, length=64, scale=1.0, last_by_document=(2.0,), whole_by_document=(2.0,))
    figure = figures.loss_by_length({"one": LossByLength(window=64, rows=(row,), too_short=3)})
    assert trace(figure, "one").error_y.array is None


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ({}, "no measurement"),
        ({"YaRN": []}, "at least one for every name"),
        ({"a": UNTOUCHED, "b": measured(2.0, 3.0, 4.0, window=128)}, r"windows \[64, 128\]"),
        ({"seeds": [UNTOUCHED, measured(5.0, 6.0, factors=(2, 4))]}, "runs of 'seeds' were measured at different lengths"),
    ],
)
def test_what_cannot_be_compared_is_refused(curves, words):
    with pytest.raises(ValueError, match=words):
        figures.loss_by_length(curves)
