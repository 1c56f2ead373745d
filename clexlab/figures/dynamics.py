"""Scaling methods as a flow: the state is z = ln θ, time is u = ln t, and every method is a velocity field dz/du.

For a closed form dz_j/du = t · d ln θ_j/dt depends on t alone; CLEX adds a learned part that depends on the state too
(arXiv 2310.16450). One picture therefore holds all of them, and any of them can be the prior drift of CLEX.
Functions take paths (objects of `clexlab.scaling`) or arrays, and return a plotly Figure.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from clexlab import frequencies
from clexlab.figures import style
from clexlab.figures.panels import factor_grid, joined, legend_below, level, numbers
from clexlab.figures.scaling import over_factors, require_pair, require_paths
from clexlab.scaling import CLEX, Path

Values = Sequence[float] | np.ndarray | torch.Tensor
BARB = 0.022  # length of an arrow's barb, as a share of the panel
Z_AXIS = "ln θ(t)/θ(1)"
ERROR_AXIS = "largest |error in ln θ|"
T_AXIS = "factor t = length / window"


def log_velocity(path: Path, factors: np.ndarray) -> np.ndarray:
    """d ln θ / d ln t on the path: t · velocity(t), (factors, pairs). 0 leaves a pair alone, -1 interpolates it fully."""
    grid = torch.as_tensor(factors, dtype=torch.float64)
    return factors[:, None] * numbers(path.velocity(grid, dtype=torch.float64))


def slice_velocity(path: Path, pair: int, factors: np.ndarray, states: np.ndarray) -> np.ndarray:
    """d ln θ_pair / d ln t at every factor and state = ln θ_pair/θ_pair(1), all other pairs on the path: (factors, states).

    A closed form gives one number for all states of a factor. CLEX does not: its field sees the whole state.
    """
    if not isinstance(path, CLEX):
        return np.repeat(log_velocity(path, factors)[:, [pair]], len(states), axis=1)
    grid = torch.as_tensor(factors, dtype=torch.float64)
    with torch.no_grad():
        z = path.inv_freq(grid, dtype=torch.float64).log()[:, None].repeat(1, len(states), 1)
        z[..., pair] = math.log(path.prior.inv_freq(1.0)[pair]) + torch.as_tensor(states)
        weight = next(path.field.parameters())
        rate = path.rate(grid.repeat_interleave(len(states)), z.flatten(0, 1).to(weight))
    return factors[:, None] * numbers(rate)[:, pair].reshape(len(factors), len(states))


def arrows(path: Path, pair: int, factors: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The velocity field as one NaN-joined line: (x, y), six points an arrow: tail, head, barb, head, barb, gap.

    All arrows cover the same stretch of ln t, so the slope of an arrow is the velocity there. Heads are strokes of the line:
    markers that point along it take the browser a quarter of the whole redraw.
    """
    span, height = math.log(factors[-1] / factors[0]), np.ptp(states)
    reach = 0.6 * span / (len(factors) - 1)
    slopes = slice_velocity(path, pair, factors, states)
    # Barbs are turned in shares of the panel, where a step in ln t and one in z are lengths on the screen.
    angle = np.arctan2(reach * slopes / height, reach / span)
    flat = np.zeros_like(slopes)
    u, z = [flat, flat + reach], [flat, reach * slopes]
    for turn in (-0.85 * math.pi, 0.85 * math.pi):
        u += [reach + BARB * span * np.cos(angle + turn), flat + reach]
        z += [reach * slopes + BARB * height * np.sin(angle + turn), reach * slopes]
    gap = np.full_like(slopes, np.nan)
    x = factors[:, None, None] * np.exp(np.stack([*u[:-1], gap], axis=-1))
    y = states[None, :, None] + np.stack([*z[:-1], gap], axis=-1)
    return x.ravel(), y.ravel()


def arrow_trace(x: np.ndarray, y: np.ndarray) -> go.Scatter:
    """The arrows as a thin grey line without hover."""
    line = dict(color=style.NEUTRAL, width=1)
    return go.Scatter(x=x, y=y, mode="lines", line=line, name="velocity field", hoverinfo="skip")


def phase_portrait(path: Path, pair: int, max_factor: float = 16.0, others: Sequence[Path] = ()) -> go.Figure:
    """The flow of one pair: its state ln θ(t)/θ(1) against t, the velocity field as arrows, the trajectory from 0.

    The thick line is `path`; `others` are drawn beside it for comparison. Arrows that change along a vertical line mean that
    the velocity depends on the state: only CLEX does that, and its arrows hold all other pairs on the path.
    Raises ValueError for a pair the head does not have and for a factor a path refuses.
    """
    require_paths([path, *others])
    require_pair(path, pair)
    factors = factor_grid(max_factor)
    curves = [np.log(over_factors(each, factors)[:, pair]) for each in (path, *others)]
    low, high = min(curve.min() for curve in curves) - 0.4, max(curve.max() for curve in curves) + 0.4
    figure = style.figure(f"Pair {pair} of {path.title}: velocity field and trajectory", height=440)
    figure.add_trace(arrow_trace(*arrows(path, pair, factor_grid(max_factor, 15)[:-1], np.linspace(low, high, 13))))
    for index, (each, curve) in enumerate(zip((path, *others), curves, strict=True)):
        line = style.line(index, width=2 if index else 4)
        figure.add_scatter(x=factors, y=curve, mode="lines", line=line, name=each.title, hovertemplate="t = %{x:.3~g}: %{y:.3f}")
    figure.update_layout(xaxis=style.log2_axis(T_AXIS), yaxis=dict(title=f"{Z_AXIS}, pair {pair}", range=[low, high]))
    figure.update_xaxes(range=[-0.01, math.log10(max_factor)])
    legend_below(figure)
    return figure


def flow_lines(path: Path, max_factor: float = 16.0) -> go.Figure:
    """All pairs at once: wavelength 2π/θ_j(t) in tokens against t, every pair one thin line, drawn as one trace.

    The two grey lines are the trained window and the wanted length t·window. A pair that starts above the window never
    completed a turn in training; where its line stays above t·window it still does not at the wanted length.
    """
    factors = factor_grid(max_factor)
    start = numbers(frequencies.wavelengths(path.inv_freq(1.0, dtype=torch.float64)))
    x, y = joined(factors, start[:, None] / over_factors(path, factors).T)
    figure = style.figure(f"{path.title}: the wavelengths of {path.pairs} pairs as the text grows", height=440)
    figure.add_scatter(x=x, y=y, mode="lines", line=dict(style.line(0), width=1), name="pairs", hoverinfo="skip")
    ends = np.array([1.0, max_factor])
    for y_ends, dash, name in ((path.window + 0 * ends, "solid", "window"), (path.window * ends, "dash", "t · window")):
        figure.add_scatter(x=ends, y=y_ends, mode="lines", line=dict(color=style.COLOURS[1], width=2, dash=dash), name=name)
    figure.update_layout(
        xaxis=style.log2_axis(T_AXIS),
        yaxis=dict(title="wavelength (tokens)", type="log", dtick=1, exponentformat="power"),
    )
    legend_below(figure)
    return figure


def velocity_fields(paths: Sequence[Path], max_factor: float = 16.0, columns: int = 5) -> go.Figure:
    """Every method's velocity d ln θ_j / d ln t as a map over (t, pair), one panel a method, one colour scale for all.

    0 (light) leaves a pair alone, -1 interpolates it at full speed, below -1 overshoots. Raises ValueError as the paths do.
    """
    require_paths(paths)
    factors = factor_grid(max_factor, 49)
    rows = -(-len(paths) // columns)
    titles = [f"<b>{path.title}</b>" for path in paths]
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, shared_xaxes=True, shared_yaxes=True,
        horizontal_spacing=0.035, vertical_spacing=0.12,
    )  # fmt: skip
    hover = "t = %{x:.3~g}, pair %{y}: %{z:.3f}"
    maps = [log_velocity(path, factors).T for path in paths]
    for index, path in enumerate(paths):
        look = dict(coloraxis="coloraxis", hovertemplate=hover, name=path.title)
        figure.add_heatmap(x=factors, z=maps[index], **look, row=index // columns + 1, col=index % columns + 1)
    bar = dict(title="d ln θ / d ln t", thickness=14)
    # Set, not found: plotly widens the range of a constant map, and 0 must be the light end.
    limits = dict(cmin=min(-1.0, min(z.min() for z in maps)), cmax=max(0.0, max(z.max() for z in maps)))
    axis = dict(colorscale="Cividis", colorbar=bar, **limits)
    figure.update_layout(template=style.TEMPLATE, height=90 + 230 * rows, coloraxis=axis)
    figure.update_xaxes(type="log", dtick=math.log10(4), range=[0, math.log10(max_factor)], showgrid=False)
    figure.update_yaxes(showgrid=False, range=[-0.5, paths[0].pairs - 0.5])
    figure.update_xaxes(title="t = length / window", row=rows)
    figure.update_yaxes(title="pair j", col=1)
    figure.update_annotations(font_size=14)
    return figure


def fitted_order(steps: np.ndarray, errors: np.ndarray) -> float:
    """The slope p of error ≈ C · step^p, by least squares on the logarithms; ValueError without two positive errors."""
    usable = np.isfinite(errors) & (errors > 0)
    if usable.sum() < 2:
        raise ValueError("fewer than two errors are positive and finite; an order needs two; take larger steps")
    return float(np.polyfit(np.log(steps[usable]), np.log(errors[usable]), 1)[0])


def convergence(steps: Values, errors: Mapping[str, Values]) -> go.Figure:
    """Error against step size for every solver, with the order fitted to it: halving the step divides the error by 2^p.

    `steps` are sizes in ln t, `errors` maps the solver's name to its largest |error in ln θ| at each of them. The dotted
    line is the fit. Fit where rounding does not show: an error that no longer falls has no order.
    """
    sizes = np.asarray(steps, dtype=float)
    figure = style.figure("Error of a fixed-step solve", height=420)
    for index, (name, values) in enumerate(errors.items()):
        measured = np.asarray(values, dtype=float)
        if measured.shape != sizes.shape:
            raise ValueError(f"{name} has {measured.size} errors for {sizes.size} steps; give one error a step")
        order = fitted_order(sizes, measured)
        level = np.exp(np.mean(np.log(measured[measured > 0]) - order * np.log(sizes[measured > 0])))
        look = style.line(index)
        fit = dict(look, width=1, dash="dot")
        figure.add_scatter(x=sizes, y=level * sizes**order, mode="lines", line=fit, showlegend=False, hoverinfo="skip")
        marker = dict(color=look["color"], symbol=index, size=9)
        hover = "step %{x:.3~g}: %{y:.2e}"
        figure.add_scatter(
            x=sizes, y=measured, mode="markers", marker=marker, name=f"{name}: order {order:.2f}", hovertemplate=hover
        )
    figure.update_layout(xaxis=style.log2_axis("step in ln t"), yaxis=error_axis())
    legend_below(figure)
    return figure


def solver_error(counts: Sequence[int], errors: Values, tolerance: float = 1e-4) -> go.Figure:
    """Largest |error in ln θ| of a fixed number of steps in ln t, against an adaptive float64 solve of the same field.

    The dashed line is the accuracy asked for; the title names the smallest number of steps that keeps it.
    """
    measured = np.asarray(errors, dtype=float)
    if len(counts) != measured.size:
        raise ValueError(f"{measured.size} errors for {len(counts)} numbers of steps; give one error each")
    enough = [count for count, error in zip(counts, measured, strict=True) if error <= tolerance]
    words = f"{min(enough)} steps keep {tolerance:g}" if enough else f"none of these keeps {tolerance:g}"
    figure = style.figure(f"Solver error: {words}", height=400)
    look = style.line(0)
    figure.add_scatter(x=list(counts), y=measured, mode="lines+markers", line=look, hovertemplate="%{x} steps: %{y:.2e}")
    level(figure, tolerance, f"{tolerance:g}")
    figure.update_layout(xaxis=style.log2_axis("steps from 1 to t (even in ln t)"), yaxis=error_axis(), showlegend=False)
    return figure


def error_axis() -> dict:
    """A log axis for an error of ln θ, one tick a power of ten."""
    return dict(title=ERROR_AXIS, type="log", dtick=1, exponentformat="power")
