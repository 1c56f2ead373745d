"""What every explorer that computes in the kernel must have, whichever test module builds it."""

from clexlab.widgets.live_chart import LiveChart
from clexlab.widgets.safely import ErrorNotice


def children(widget):
    """The widget and all widgets inside it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from children(child)


def holds_one_chart_and_one_place_for_errors(explorer):
    inside = list(children(explorer))
    assert sum(isinstance(widget, LiveChart) for widget in inside) == 1
    assert sum(isinstance(widget, ErrorNotice) for widget in inside) == 1
    assert explorer.notice.value == "" and "<b>" in explorer.sentence


def names_every_axis_curve_and_control(explorer):
    assert all(panel[axis]["title"] and panel["title"] for panel in explorer.chart.panels for axis in "xy")
    assert all(explorer.chart.names) and len(explorer.chart.names) == len(explorer.chart.data)
    assert all(control.description for control in explorer.controls.values())
