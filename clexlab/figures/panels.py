"""What the figures of scaling and dynamics share: numbers out of tensors, many lines in one trace, panels in one row."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from clexlab.figures import style


def numbers(values: Tensor) -> np.ndarray:
    """A tensor as float64 numbers for a figure, cut off from the gradient."""
    return values.detach().cpu().double().numpy()


def joined(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Many lines as one trace: x (points,) and rows (lines, points), with a NaN after each line so that the pen lifts.

    A browser redraws one trace of 64 lines about 1.6 times as fast as 64 traces.
    """
    gap = np.full((len(rows), 1), np.nan)
    xs = np.concatenate([np.broadcast_to(x, rows.shape), gap], axis=1)
    return xs.ravel(), np.concatenate([rows, gap], axis=1).ravel()


def factor_grid(max_factor: float, points: int = 97) -> np.ndarray:
    """Factors from exactly 1 to exactly `max_factor`, evenly spaced in ln t."""
    if not np.isfinite(max_factor) or max_factor <= 1:
        raise ValueError(f"max_factor is {max_factor!r}; it must be a finite number above 1: where the drawn range ends")
    grid = np.exp(np.linspace(0.0, np.log(max_factor), points))
    grid[0], grid[-1] = 1.0, max_factor
    return grid


def row(titles: Sequence[str], height: int = 400, spacing: float = 0.1) -> go.Figure:
    """One row of panels with bold titles, in the house style."""
    figure = make_subplots(cols=len(titles), subplot_titles=[f"<b>{title}</b>" for title in titles], horizontal_spacing=spacing)
    figure.update_layout(template=style.TEMPLATE, height=height)
    figure.update_annotations(font_size=14, yshift=8)
    return figure


def guide(dash: str = "dash") -> dict:
    """The thin grey line of a limit or a reference."""
    return dict(color=style.NEUTRAL, width=1, dash=dash)


def level(figure: go.Figure, y: float, label: str, dash: str = "dash", panel: int = 1) -> None:
    """A labelled horizontal guide at `y` on the logarithmic y axis of a panel (counted from 1)."""
    axis = "" if panel == 1 else str(panel)
    where = dict(xref=f"x{axis} domain", yref=f"y{axis}")
    figure.add_shape(type="line", x0=0, x1=1, y0=y, y1=y, line=guide(dash), **where)
    # Shapes take the value itself on a logarithmic axis, annotations its logarithm.
    text = dict(text=label, font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    figure.add_annotation(x=0.01, y=float(np.log10(y)), xanchor="left", yanchor="bottom", **text, **where)


def legend_below(figure: go.Figure) -> None:
    """The legend at the very bottom, where no axis title can meet it."""
    figure.update_layout(legend=dict(orientation="h", yref="container", y=0, yanchor="bottom", x=0, itemwidth=44), margin=dict(b=92))
