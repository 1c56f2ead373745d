"""The frequencies of real models: wavelengths against the window, turns made in training, angles met and not met.

Geometries (see `clexlab.presets`) or paths in, a plotly Figure out. The numbers come from `clexlab.frequencies`; nothing
is computed a second way here.
"""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from clexlab import frequencies
from clexlab.figures import style
from clexlab.figures.panels import guide, legend_below, level, numbers
from clexlab.figures.scaling import require_paths
from clexlab.frequencies import Geometry
from clexlab.scaling import Path

# Classes of pairs by turns made in training; 32 is where YaRN starts to touch a pair (its `fast`).
MANY_TURNS = 32
# Fainter than the grid, so that a grey note on it stays legible on white and on black.
_SHADE = "rgba(127,127,127,0.12)"


def wavelengths_against_window(geometries: Sequence[Geometry]) -> go.Figure:
    """How many tokens one turn of each pair takes, and the trained window: pairs above the line never complete a turn.

    λ_j = 2π/θ_j in tokens on a log2 axis against the pair index; one line a model, a ring where it crosses its window,
    one horizontal line per distinct window. The legend counts the pairs above. ValueError without models.
    """
    require_geometries(geometries)
    figure = style.figure("One turn of each pair, and the trained window", height=460)
    for index, geometry in enumerate(geometries):
        inv_freq = geometry.inv_freq()
        critical = frequencies.critical_pair(inv_freq, geometry.window)
        never = geometry.pairs - critical
        name = f"{geometry.name}: {never} of {geometry.pairs} never complete a turn"
        _line(figure, index, name, numbers(frequencies.wavelengths(inv_freq)), "pair %{x}: %{y:,.4~r} tokens a turn")
        if never:
            crossing = _crossing(geometry)
            _ring(figure, index, crossing, geometry.window, f"{geometry.name}: first of them is pair {critical}")
    for index, window in enumerate(sorted({geometry.window for geometry in geometries})):
        _window_line(figure, window, index)
    figure.update_layout(xaxis=_pair_axis(geometries), yaxis=_power_axis(figure, "tokens per turn λ"))
    legend_below(figure)
    return figure


def turns_in_training(geometries: Sequence[Geometry]) -> go.Figure:
    """How often each pair goes round within the trained window: r_j = L·θ_j/2π on a log2 axis, the line at one turn.

    Below 1 the pair has met only a part of the circle. ValueError without models.
    """
    require_geometries(geometries)
    figure = style.figure("Turns made within the trained window", height=420)
    for index, geometry in enumerate(geometries):
        made = numbers(frequencies.turns(geometry.inv_freq(), geometry.window))
        _line(figure, index, f"{geometry.name} ({geometry.window:,} tokens)", made, "pair %{x}: %{y:,.4~r} turns")
    level(figure, 1.0, "one turn", "solid")
    level(figure, MANY_TURNS, f"{MANY_TURNS} turns")
    figure.update_layout(xaxis=_pair_axis(geometries), yaxis=_power_axis(figure, "turns in training"))
    legend_below(figure)
    return figure


def circle_coverage(geometry: Geometry, factors: Sequence[float]) -> go.Figure:
    """How much of its circle each pair has met in training (filled), and reaches at t·window without scaling (lines).

    min(1, t·r_j)·360 degrees against the pair index. What lies between the filled area and a line is new to the model.
    Raises ValueError without factors and for a factor below 1.
    """
    if not factors or not all(math.isfinite(factor) and factor >= 1 for factor in factors):
        raise ValueError(f"factors are {list(factors)}; give at least one t ≥ 1, for example [2, 4, 8]")
    figure = style.figure(f"{geometry.name}: how much of the circle each pair meets", height=420)
    for index, factor in enumerate((1.0, *factors)):
        made = numbers(frequencies.turns(geometry.inv_freq(), factor * geometry.window))
        name = f"t = {factor:g}: {factor * geometry.window:,.0f} tokens" if index else f"training: {geometry.window:,} tokens"
        _line(figure, index, name, 360 * np.minimum(made, 1.0), "pair %{x}: %{y:.1f}° of 360°")
    figure.data[0].update(fill="tozeroy", fillcolor="rgba(0,114,178,0.18)")
    figure.update_layout(xaxis=_pair_axis([geometry]))
    quarters = [0, 90, 180, 270, 360]
    figure.update_yaxes(title="angles met (degrees)", range=[0, 380], tickvals=quarters, ticktext=[f"{q}°" for q in quarters])
    legend_below(figure)
    return figure


def phase_coverage(paths: Sequence[Path], factor: float) -> go.Figure:
    """The largest angle each pair reaches at t·window, over the largest it reached in training, one line per method.

    Shaded: the pairs that never complete a turn in training. Above the line at 1 and in the shade, angles are new; left of
    the shade a pair has met the whole circle and only laps. ValueError without paths, for mixed geometries, for a factor a
    path refuses.
    """
    require_paths(paths)
    base, window = frequencies.inv_freq(paths[0].head_dim, paths[0].base), paths[0].window
    critical = frequencies.critical_pair(base, window)
    figure = style.figure(f"Largest angle at t = {factor:g}, over the largest in training", height=420)
    for index, path in enumerate(paths):
        scaled = path.inv_freq(factor)
        coverage = numbers(frequencies.phase_coverage(scaled, base, window, factor * window))
        new = int(frequencies.meets_new_angles(scaled, base, window, factor * window).sum())
        _line(figure, index, f"{path.title}: {new} pairs meet new angles", coverage, "pair %{x}: %{y:.3~r} × trained")
    level(figure, 1.0, "largest angle in training", "solid")
    figure.add_vrect(x0=critical - 0.5, x1=len(base) - 0.5, fillcolor=_SHADE, line_width=0, layer="below")
    note = dict(text="never completed a turn", font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    figure.add_annotation(x=len(base) - 0.7, y=0.88, xanchor="right", yanchor="top", yref="paper", **note)
    axis = dict(title="pair j", range=[-0.5, len(base) - 0.5])
    figure.update_layout(xaxis=axis, yaxis=_power_axis(figure, "largest angle / largest trained angle"))
    legend_below(figure)
    return figure


def models_compared(geometries: Sequence[Geometry]) -> go.Figure:
    """Each model's pairs in three classes: many turns in training (32 or more), some (1 to 32), never a whole one.

    One bar a model, shares of its pairs in percent, counts in the bar, sorted by the share that never completes a turn.
    ValueError without models.
    """
    require_geometries(geometries)
    rows = sorted(((_classes(g), g.name, g) for g in geometries), key=lambda row: (row[0][0] / row[2].pairs, row[1]))
    figure = style.figure("Which pairs complete a turn in training", height=130 + 24 * len(rows))
    labels = (f"{MANY_TURNS} turns or more", f"1 to {MANY_TURNS} turns", "never a whole turn")
    for index, (label, shape) in enumerate(zip(labels, ("", "/", "x"), strict=True)):
        pattern = dict(shape=shape, fillmode="overlay", fgcolor="white", fgopacity=0.25, size=6)
        figure.add_bar(
            orientation="h",
            name=label,
            y=[geometry.name for _, _, geometry in rows],
            x=[100 * counts[2 - index] / geometry.pairs for counts, _, geometry in rows],
            text=[str(counts[2 - index]) for counts, _, _ in rows],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            insidetextfont=dict(color="white", size=11),
            marker=dict(color=style.COLOURS[(2, 0, 1)[index]], pattern=pattern),
            hovertext=[f"{g.name}: head_dim {g.head_dim}, base {g.base:,.0f}, window {g.window:,}" for _, _, g in rows],
            hovertemplate="%{hovertext}<br>%{text} pairs, %{x:.0f} %",
        )
    figure.update_layout(barmode="stack", bargap=0.25, xaxis=dict(title="share of the pairs (%)", range=[0, 100]))
    legend_below(figure)
    figure.update_layout(legend_traceorder="normal")
    return figure


def require_geometries(geometries: Sequence[Geometry]) -> None:
    """Refuse an empty list of models."""
    if not geometries:
        raise ValueError("no model given; pass at least one, for example [presets.by_name('Llama-2-7B')]")


def _classes(geometry: Geometry) -> tuple[int, int, int]:
    """Pairs that never complete a turn, that make fewer than `MANY_TURNS`, and the rest."""
    made = frequencies.turns(geometry.inv_freq(), geometry.window)
    never, many = int((made < 1).sum()), int((made >= MANY_TURNS).sum())
    return never, geometry.pairs - never - many, many


def _crossing(geometry: Geometry) -> float:
    """The (fractional) pair index whose wavelength is the window: j = d·ln(L/2π) / (2 ln base)."""
    return geometry.head_dim * math.log(geometry.window / frequencies.TURN) / (2 * math.log(geometry.base))


def _line(figure: go.Figure, index: int, name: str, values: np.ndarray, hover: str) -> None:
    look = dict(mode="lines", line=style.line(index), name=name, hovertemplate=hover + "<extra></extra>")
    figure.add_scatter(x=np.arange(len(values)), y=values, **look)


def _ring(figure: go.Figure, index: int, x: float, y: float, hover: str) -> None:
    marker = dict(symbol="circle-open", size=11, color=style.line(index)["color"], line=dict(width=2))
    figure.add_scatter(x=[x], y=[y], mode="markers", marker=marker, showlegend=False, hovertemplate=hover + "<extra></extra>")


def _window_line(figure: go.Figure, window: int, index: int) -> None:
    """A trained window; labels go left and right by turns, so that windows a factor of two apart stay legible."""
    x, anchor = ((0.01, "left"), (0.99, "right"))[index % 2]
    figure.add_hline(y=window, line=guide("solid"))
    text = dict(text=f"window {window:,} tokens", font=dict(size=11, color=style.NEUTRAL), showarrow=False)
    # Annotations on a logarithmic axis take the logarithm, lines the value itself.
    figure.add_annotation(x=x, xref="paper", xanchor=anchor, y=math.log10(window), yanchor="bottom", **text)


def _pair_axis(geometries: Sequence[Geometry]) -> dict:
    return dict(title="pair j (0 turns fastest)", range=[-0.5, max(geometry.pairs for geometry in geometries) - 0.5])


def _power_axis(figure: go.Figure, title: str) -> dict:
    """A logarithmic axis ticked at powers of two, at most nine of them, whole numbers written out and shares as 1/n."""
    values = np.concatenate([np.asarray(trace.y, dtype=float) for trace in figure.data])
    low, high = math.floor(math.log2(values.min())), math.ceil(math.log2(max(values.max(), 2 * values.min())))
    step = max(1, math.ceil((high - low) / 8))
    powers = range(step * math.floor(low / step), high + step, step)
    labels = [f"{2**power:,}" if power >= 0 else f"1/{2**-power:,}" for power in powers]
    margin = 0.04 * (high - low) * math.log10(2)
    span = [low * math.log10(2) - margin, high * math.log10(2) + margin]
    return dict(title=title, type="log", range=span, tickvals=[2.0**power for power in powers], ticktext=labels)
