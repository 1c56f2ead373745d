"""Scaling methods as curves: what θ(t) does to the wavelength of every pair, and to one pair as the factor grows.

Every function takes paths (objects of `clexlab.scaling`) and returns a plotly Figure. The numbers come from the paths'
own `inv_freq` and `ratio`; nothing is computed a second way here.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch

from clexlab import frequencies
from clexlab.figures import style
from clexlab.figures.panels import factor_grid, guide, legend_below, level, numbers, row
from clexlab.scaling import Path


def require_paths(paths: Sequence[Path]) -> None:
    """Refuse an empty list, and paths of different geometry: their pairs are not comparable one by one."""
    if not paths:
        raise ValueError("no path given; pass at least one, for example [scaling.YaRN(head_dim=128, base=1e4, window=4096)]")
    geometries = {(path.head_dim, path.base, path.window) for path in paths}
    if len(geometries) > 1:
        raise ValueError(
            f"the paths have different (head_dim, base, window): {sorted(geometries)}; give all of them the same geometry"
        )


def require_pair(path: Path, pair: int) -> None:
    """Refuse a pair index the head does not have."""
    if not 0 <= pair < path.head_dim // 2:
        raise ValueError(f"pair is {pair}; a head of rotary dimension {path.head_dim} has pairs 0 to {path.head_dim // 2 - 1}")


def labels_of(paths: Sequence[Path], names: Sequence[str]) -> Sequence[str]:
    """Legend entries: the methods' titles, or one given name a path, for variants of one method."""
    if names and len(names) != len(paths):
        raise ValueError(f"{len(names)} names for {len(paths)} paths; give one name a path, or none")
    return names or [path.title for path in paths]


def scaling_curves(paths: Sequence[Path], factor: float, names: Sequence[str] = ()) -> go.Figure:
    """What each method does to every pair at one factor: the wavelength λ_j(t) in tokens, and the ratio θ_j(t)/θ_j(1).

    Left: 2π/θ_j(t) with the trained window (solid) and the wanted length t·window (dashed); a curve above the solid line
    belongs to pairs that never complete a turn in training. Right: the ratio, 1 = untouched, 1/t = fully interpolated.
    `names` replace the titles in the legend, for variants of one method.
    Raises ValueError without paths, for mixed geometries, and for a factor a path refuses.
    """
    require_paths(paths)
    labels = labels_of(paths, names)
    window = paths[0].window
    figure = row(("Wavelength per pair", f"What is left of θ at t = {factor:g}"), spacing=0.12)
    pairs = np.arange(paths[0].head_dim // 2)
    for index, path in enumerate(paths):
        look = dict(mode="lines", line=style.line(index), name=labels[index], legendgroup=str(index))
        wavelengths = numbers(frequencies.wavelengths(path.inv_freq(factor)))
        hover = "pair %{x}: %{y:.4~g}"
        figure.add_scatter(x=pairs, y=wavelengths, hovertemplate=hover + " tokens", **look, row=1, col=1)
        figure.add_scatter(x=pairs, y=numbers(path.ratio(factor)), hovertemplate=hover, showlegend=False, **look, row=1, col=2)
    level(figure, window, f"window {window:,} tokens", "solid")
    if factor > 1:
        level(figure, window * factor, f"t · window = {window * factor:,.0f}")
        level(figure, 1 / factor, "1/t", panel=2)
    figure.update_xaxes(title="pair j")
    figure.update_yaxes(title="wavelength (tokens)", type="log", exponentformat="power", dtick=1, col=1)
    figure.update_yaxes(style.log2_axis("θ(t) / θ(1)"), col=2)
    legend_below(figure)
    return figure


def curves_over_factor(paths: Sequence[Path], pair: int, max_factor: float = 16.0, names: Sequence[str] = ()) -> go.Figure:
    """One pair while the text grows: θ_j(t)/θ_j(1) for 1 ≤ t ≤ max_factor, every method one curve.

    The dashed line is 1/t: on it the pair reaches, at length t·window, exactly the largest angle it met in training.
    Above it the angles are new. `names` replace the titles in the legend.
    Raises ValueError for a pair the head does not have and for a factor a path refuses.
    """
    require_paths(paths)
    require_pair(paths[0], pair)
    labels = labels_of(paths, names)
    factors = factor_grid(max_factor)
    wavelength = float(frequencies.wavelengths(paths[0].inv_freq(1.0))[pair])
    figure = style.figure(f"Pair {pair}: one turn takes {wavelength:,.4g} tokens at t = 1", height=400)
    for index, path in enumerate(paths):
        figure.add_scatter(
            x=factors,
            y=over_factors(path, factors)[:, pair],
            mode="lines",
            name=labels[index],
            line=style.line(index),
            hovertemplate="t = %{x:.3~g}: %{y:.4~g}",
        )
    figure.add_scatter(x=factors, y=1 / factors, mode="lines", name="1/t", line=guide(), hoverinfo="skip")
    figure.update_layout(xaxis=style.log2_axis("factor t = length / window"), yaxis=style.log2_axis("θ(t) / θ(1)"))
    legend_below(figure)
    return figure


def over_factors(path: Path, factors: np.ndarray) -> np.ndarray:
    """θ(t)/θ(1) of one path on a grid of factors: (factors, pairs), float64."""
    with torch.no_grad():
        return numbers(path.ratio(torch.as_tensor(factors, dtype=torch.float64)))
