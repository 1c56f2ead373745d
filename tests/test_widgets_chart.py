"""The live chart on its own: what it holds, and what it refuses. What it draws is asked in the browser."""

import numpy as np
import pytest

from clexlab.widgets.live_chart import SCALES, Axis, Curve, LiveChart, Panel

PANEL = Panel("Wavelengths", Axis("pair j"), Axis("wavelength", "tokens", scale="log2"))


def test_curves_are_empty_at_first_and_read_back_as_drawn():
    chart = LiveChart([PANEL], [Curve(0, "trained"), Curve(0, "scaled")])
    assert [(drawn.name, len(drawn.x)) for drawn in chart.data] == [("trained", 0), ("scaled", 0)]
    chart.draw({1: (np.arange(3), np.array([1.0, np.nan, 1 / 3]))})
    np.testing.assert_array_equal(chart.data[1].y, np.array([1, np.nan, 1 / 3], dtype=np.float32))
    assert len(chart.data[0].x) == 0
    chart.rename({1: "YaRN"})
    assert chart.names == ["trained", "YaRN"] == [drawn.name for drawn in chart.data]


def test_two_charts_do_not_share_their_columns():
    one, other = (LiveChart([PANEL], [Curve(0, "trained")]) for _ in range(2))
    one.draw({0: (np.arange(2), np.arange(2))})
    assert len(other.data[0].x) == 0 and other.x0 == b""


@pytest.mark.parametrize(
    ("x", "y"), [(np.arange(3), np.arange(4)), (np.zeros((2, 2)), np.zeros((2, 2)))]
)
def test_columns_that_are_not_two_vectors_of_one_length_are_refused(x, y):
    chart = LiveChart([PANEL], [Curve(0, "trained")])
    with pytest.raises(ValueError, match="'trained'.*two vectors of one length"):
        chart.draw({0: (x, y)})


def test_a_curve_outside_the_panels_and_an_unknown_scale_are_refused():
    with pytest.raises(ValueError, match="'lost' is in panel 1; there are panels 0 to 0"):
        LiveChart([PANEL], [Curve(1, "lost")])
    with pytest.raises(ValueError, match=", ".join(SCALES)):
        Axis("t", scale="log3")
