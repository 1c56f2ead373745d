"""LiveChart: a row of panels whose curves the kernel computes and the page draws on a canvas, in one message an update."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import anywidget
import numpy as np
import traitlets

from clexlab.figures import style
from clexlab.widgets.page_widget import page_code, page_style

SCALES = ("linear", "log2", "log10")


@dataclass(frozen=True)
class Axis:
    """Title, unit and scale (one of SCALES); `low` and `high` are fixed ends, None lets the numbers decide.

    Open ends of a y axis are rounded outwards and stay while the numbers fit and fill the axis, so a drag does not shake it.
    """

    title: str
    unit: str = ""
    scale: str = "linear"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale is {self.scale!r}; choose one of {', '.join(SCALES)}")


@dataclass(frozen=True)
class Panel:
    """One plot of the row: its title and its two axes."""

    title: str
    x: Axis
    y: Axis


@dataclass(frozen=True)
class Curve:
    """How one curve looks. A NaN lifts the pen, so a curve may be many lines.

    `width` 0 draws no line, `marker` 0 no signs (both in pixels); a `sign` is a "diamond" or a "cross"; `fill` fills what the line
    encloses. `legend` names the curve below the panels, `told` in the read-out beside the pointer, for curves that have one value
    at every x. A `passing` curve is named only while it has points.
    """

    panel: int
    name: str
    colour: str = style.NEUTRAL
    dash: str = "solid"
    width: float = 2
    marker: float = 0
    sign: str = "diamond"
    opacity: float = 1
    fill: bool = False
    legend: bool = True
    told: bool = True
    passing: bool = False


def look(index: int, width: float = 2) -> dict[str, object]:
    """Colour, dash and width of the index-th curve of a panel, as in the lessons' figures."""
    return as_look(style.line(index, width))


def as_look(line: Mapping[str, object]) -> dict[str, object]:
    """A line of a figure as the look of a curve."""
    return dict(colour=line["color"], dash=line["dash"], width=line["width"])


@dataclass
class Drawn:
    """What a curve shows now: its name and its points, as the page holds them."""

    name: str
    x: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    y: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


class LiveChart(anywidget.AnyWidget):
    """Curves of the kernel on the page's canvas: `chart.draw({index: (x, y)})`, read back as `chart.data[index].x`.

    Every column of numbers is a trait of its own in float32: of an update only the columns that changed travel, all of
    them in one message (`hold_sync` joins several calls), and a second view or a reloaded page finds the whole state.
    The page draws once a frame, from the last values: a fast drag queues nothing. `finding` is HTML below the panels.
    """

    _esm = page_code("chart")
    _css = page_style()

    panels = traitlets.List().tag(sync=True)
    curves = traitlets.List().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    finding = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int().tag(sync=True)

    def __init__(self, panels: Sequence[Panel], curves: Sequence[Curve], height: int = 300) -> None:
        for curve in curves:
            if not 0 <= curve.panel < len(panels):
                raise ValueError(f"curve {curve.name!r} is in panel {curve.panel}; there are panels 0 to {len(panels) - 1}")
        columns = [f"{axis}{index}" for index in range(len(curves)) for axis in "xy"]
        self.add_traits(**{name: traitlets.Bytes().tag(sync=True) for name in columns})
        self.data = tuple(Drawn(curve.name) for curve in curves)
        described = dict(panels=[asdict(panel) for panel in panels], curves=[asdict(curve) for curve in curves])
        super().__init__(**described, names=[curve.name for curve in curves], height=height)

    def draw(self, curves: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """New x and y for some curves, by index; what is equal to the drawn numbers is not sent again."""
        with self.hold_sync():
            for index, (x, y) in curves.items():
                drawn = self.data[index]
                if np.shape(x) != np.shape(y) or np.ndim(x) != 1:
                    raise ValueError(f"{drawn.name!r} has x {np.shape(x)} and y {np.shape(y)}; give two vectors of one length")
                drawn.x, drawn.y = (np.asarray(column, dtype="<f4") for column in (x, y))
                self.set_trait(f"x{index}", drawn.x.tobytes())
                self.set_trait(f"y{index}", drawn.y.tobytes())

    def relabel(self, index: int, panel: Panel) -> None:
        """Another title and other axes for one panel; its curves stay."""
        self.panels = [asdict(panel) if place == index else one for place, one in enumerate(self.panels)]

    def rename(self, names: Mapping[int, str]) -> None:
        """New names for some curves, in the legend and in the read-out."""
        for index, name in names.items():
            self.data[index].name = name
        self.names = [drawn.name for drawn in self.data]
