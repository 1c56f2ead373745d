"""Bounds on RoPE scores between and beyond known distances, and the least-squares picture of both.

A score depends on the distance s alone (Position Interpolation, arXiv 2306.15595)::

    a(s) = Re Σ_j h_j e^{i s θ_j},        h_j = q_j conj(k_j),   one complex number per rotated pair

**Between known distances.** Let s lie `offset` tokens after s1 and `spacing = s2 - s1`. Linear interpolation of a(s1)
and a(s2) misses a(s) by Re Σ h_j e^{i s1 θ_j} g_j(offset): s1 only turns h_j, so every bound depends on the offset.
Each bound below is for max|h_j| = 1; multiply by max|h_j|.

* `printed`: theorem 2.1, d · offset (spacing - offset) / (8 ln c).  **Not a bound**; see its docstring.
* `corrected`: ½ Σ θ_j² · offset (spacing - offset), the line of the paper's proof before the reversed step.
* `sharp`: Σ |g_j(offset)|, the largest value that some h with |h_j| ≤ 1 reaches; `worst_case` is that h.

**Beyond them.** `abel_sum` is B(s) of |a(s)| ≤ max|h_j - h_{j+1}| B(s); `trivial` is Σ|h_j|. Neither uses the window.
`fit_scores` fits a(s) to noise inside a window, the experiment of the paper's Figure 2.

Everything is float64 inside: slow pairs contribute deviations near 1e-9, which float32 rounds away.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from clexlab.frequencies import check_geometry, check_inv_freq
from clexlab.rope import HalfSplit


def scores(
    h: Complex[Tensor, "*batch pairs"], distances: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"]
) -> Float[Tensor, "*batch n"]:
    """Evaluate the score as a function of distance: a(s) = Re Σ_j h_j e^{i s θ_j}.

    Distances in tokens, any real number. Raises ValueError if h and inv_freq disagree on the number of pairs.
    Source: the a(s) of theorem 2.1, arXiv 2306.15595. `rope.scores` gives the same numbers from q and k.
    """
    h, inv_freq = _coefficients(h, inv_freq)
    angles = _vector("distances", distances)[:, None] * inv_freq
    return h.real @ angles.cos().mT - h.imag @ angles.sin().mT


def pair_products(
    q: Float[Tensor, "*batch head_dim"], k: Float[Tensor, "*batch head_dim"]
) -> Complex[Tensor, "*batch pairs"]:
    """Turn a query and a key (half-split pairing, before rotation) into h_j = q_j conj(k_j).

    With distance s = query position minus key position, a(s) = Re Σ h_j e^{i s θ_j} is their dot product after
    rotation. Raises ValueError for an odd or unequal last axis.
    Source: arXiv 2306.15595, whose pairing is interleaved.
    """
    if q.shape[-1] != k.shape[-1] or q.shape[-1] % 2:
        raise ValueError(f"q ends in {q.shape[-1]} and k in {k.shape[-1]} numbers; both need the same even head_dim")
    return torch.complex(*HalfSplit.split(q.double())) * torch.complex(*HalfSplit.split(k.double())).conj()


def linear_interpolation(
    h: Complex[Tensor, "*batch pairs"],
    distances: Float[Tensor, " n"],
    inv_freq: Float[Tensor, " pairs"],
    spacing: float = 1.0,
) -> Float[Tensor, "*batch n"]:
    """Interpolate a(s) linearly between its values at the multiples of `spacing`: a_lin(s) = (1-λ) a(s1) + λ a(s2).

    s1 is the last multiple of `spacing` not after s, s2 = s1 + spacing, λ = (s - s1)/spacing. Tokens.
    Raises ValueError for a spacing that is not positive. Source: theorem 2.1 of arXiv 2306.15595.
    """
    _check_spacing(spacing)
    distances = _vector("distances", distances)
    left = torch.floor(distances / spacing) * spacing
    share = (distances - left) / spacing
    return (1 - share) * scores(h, left, inv_freq) + share * scores(h, left + spacing, inv_freq)


def error_terms(
    offsets: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"], spacing: float = 1.0
) -> Complex[Tensor, "n pairs"]:
    """Interpolation error of each rotation: g_j = e^{i o θ_j} - (1-λ) - λ e^{i spacing θ_j}, λ = o / spacing.

    A score deviates from its linear interpolation by Re Σ_j h_j g_j on the interval that starts at distance 0, and by
    the same with h_j e^{i s1 θ_j} on the one that starts at s1. Offsets o in tokens, 0 ≤ o ≤ spacing, else ValueError.
    """
    offsets, inv_freq = _offsets(offsets, spacing), _frequencies(inv_freq)
    share = (offsets / spacing)[:, None]
    turn = torch.polar(torch.ones_like(inv_freq), spacing * inv_freq)
    angles = offsets[:, None] * inv_freq
    return torch.polar(torch.ones_like(angles), angles) - (1 - share) - share * turn


def printed(offsets: Float[Tensor, " n"], head_dim: int, base: float, spacing: float = 1.0) -> Float[Tensor, " n"]:
    """Theorem 2.1 as printed: d · o (spacing - o) / (8 ln c) for max|h_j| = 1. It is exceeded; do not rely on it.

    Why. The proof bounds |a - a_lin| by ½ o (spacing - o) Σ θ_j² and sums the geometric series θ_j² = c^{-4j/d} to
    (1 - c^{-2}) / (1 - c^{-4/d}). It then needs 1 - c^{-4/d} ≥ 4 ln c / d, and takes that from c^x ≤ 1 + x ln c at
    x = -4/d. But exp is convex and lies *above* its tangent: c^x ≥ 1 + x ln c. With y = 4 ln c / d this reads
    1 - e^{-y} ≤ y, and 1/(1 - e^{-y}) = 1/y + 1/2 + y/12 + … exceeds 1/y. The printed constant drops the positive rest.
    For d = 128, c = 10⁴, spacing 1, `worst_case` reaches 0.49388 in the middle, where this function says 0.43429.
    Heads above d ≈ 190 ln c and spacings of 4 and more escape by accident: there even `corrected` is far from sharp.

    The formula knows geometric frequencies θ_j = c^{-2j/d} only, hence head_dim d and base c instead of inv_freq.
    Source: theorem 2.1 of arXiv 2306.15595 and its proof, with (s - s1)(s2 - s) written as o (spacing - o).
    """
    check_geometry(head_dim, base, window=1)
    return head_dim / (8 * math.log(base)) * _parabola(offsets, spacing)


def corrected(
    offsets: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"], spacing: float = 1.0
) -> Float[Tensor, " n"]:
    """The bound that the paper's proof does give: ½ Σ_j θ_j² · o (spacing - o) for max|h_j| = 1, any inv_freq.

    e^{isθ} has second derivative of modulus θ², and linear interpolation of any f misses by at most
    ½ max|f''| o (spacing - o); sum over pairs.
    For θ_j = c^{-2j/d}: Σθ_j² = (1 - c^{-2}) / (1 - c^{-4/d}) = d/(4 ln c) + 1/2 + ln c/(3d) + …
    Differs from theorem 2.1 of arXiv 2306.15595, which keeps the first term of that series.
    """
    return _frequencies(inv_freq).square().sum() / 2 * _parabola(offsets, spacing)


def sharp(
    offsets: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"], spacing: float = 1.0
) -> Float[Tensor, " n"]:
    """The largest deviation that any h with |h_j| ≤ 1 reaches: Σ_j |g_j(o)|, in the middle Σ_j (1 - cos(spacing θ_j/2)).

    Each pair may turn its own g_j onto the real axis, so the maximum of a sum is the sum of moduli. Not in the paper.
    """
    return error_terms(offsets, inv_freq, spacing).abs().sum(-1)


def worst_case(inv_freq: Float[Tensor, " pairs"], spacing: float = 1.0) -> Complex[Tensor, " pairs"]:
    """The coefficients h_j = e^{-i spacing θ_j / 2} whose deviation at the middle of [0, spacing] equals `sharp`.

    There h_j g_j = 1 - cos(spacing θ_j / 2) ≥ 0 for every pair: the score is a crest over both of its neighbours.
    """
    _check_spacing(spacing)
    inv_freq = _frequencies(inv_freq)
    return torch.polar(torch.ones_like(inv_freq), -spacing / 2 * inv_freq)


Draw = Callable[[torch.Generator, int, int], Tensor]


def unit_phases(generator: torch.Generator, draws: int, pairs: int) -> Complex[Tensor, "draws pairs"]:
    """Draw |h_j| = 1 with independent uniform phases: the extreme points of |h_j| ≤ 1, where a maximum must lie."""
    phases = 2 * math.pi * torch.rand(draws, pairs, generator=generator, dtype=torch.float64)
    return torch.polar(torch.ones_like(phases), phases)


def unit_disc(generator: torch.Generator, draws: int, pairs: int) -> Complex[Tensor, "draws pairs"]:
    """Draw every h_j uniformly from the disc |h_j| ≤ 1 (the square root makes area, not radius, uniform)."""
    radius = torch.rand(draws, pairs, generator=generator, dtype=torch.float64).sqrt()
    return radius * unit_phases(generator, draws, pairs)


def sampled_deviation(
    generator: torch.Generator,
    draws: int,
    offsets: Float[Tensor, " n"],
    inv_freq: Float[Tensor, " pairs"],
    spacing: float = 1.0,
    draw: Draw = unit_phases,
    chunk: int = 8192,
) -> Float[Tensor, " n"]:
    """Largest |a - a_lin| at each offset over random h: a lower estimate of `sharp`, and a test of any claimed bound.

    `draw(generator, draws, pairs)` makes complex (draws, pairs). At most `chunk` draws are held at once.
    Raises ValueError for draws or chunk below 1.
    """
    if draws < 1 or chunk < 1:
        raise ValueError(f"draws {draws} and chunk {chunk} must both be at least 1")
    terms = error_terms(offsets, inv_freq, spacing)
    largest = torch.zeros(len(terms), dtype=torch.float64, device=terms.device)
    for start in range(0, draws, chunk):
        h = draw(generator, min(chunk, draws - start), terms.shape[-1]).to(terms.device)
        largest = torch.maximum(largest, (h @ terms.mT).real.abs().amax(0))
    return largest


def abel_sum(distances: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"]) -> Float[Tensor, " n"]:
    """B(s) = Σ_{k=1..pairs} |Σ_{j<k} e^{i s θ_j}| of the extrapolation bound |a(s)| ≤ largest_step(h) · B(s).

    Summation by parts with h_pairs = 0. B(0) = pairs (pairs + 1) / 2 is its largest value; it tends downwards with s
    and knows no window. Source: RoFormer (arXiv 2104.09864) section 3.4.3, as used in arXiv 2306.15595, which finds
    B(s) ≥ d numerically.
    """
    angles = _vector("distances", distances)[:, None] * _frequencies(inv_freq)
    return torch.polar(torch.ones_like(angles), angles).cumsum(-1).abs().sum(-1)


def largest_step(h: Complex[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch"]:
    """max_j |h_j - h_{j+1}| with h_pairs = 0: the factor before `abel_sum`, which the paper replaces by 2 max|h_j|."""
    return torch.diff(h, append=torch.zeros_like(h[..., :1])).abs().amax(-1).double()


def trivial(h: Complex[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch"]:
    """Σ_j |h_j|, which |a(s)| never exceeds at any distance and reaches at s if h_j = |h_j| e^{-i s θ_j}."""
    return h.abs().double().sum(-1)


def typical(h: Complex[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch"]:
    """√(½ Σ_j |h_j|²): root mean square of a(s) when the phases of the pairs are independent and uniform."""
    return (h.abs().double().square().sum(-1) / 2).sqrt()


@runtime_checkable
class LeastSquaresSolver(Protocol):
    """Anything with `solve`: the coefficients that bring design @ coefficients close to targets."""

    def solve(
        self, design: Float[Tensor, "rows columns"], targets: Float[Tensor, " rows"]
    ) -> Float[Tensor, " columns"]: ...


@dataclass(frozen=True)
class NormalEquations:
    """Solve (XᵀX + ridge·I) w = Xᵀy in `dtype`: cheap, squares the condition number, and is what Figure 2 does.

    `ridge` ≥ 0 is the weight of |w|² beside the squared error; negative or not finite raises ValueError.
    """

    dtype: torch.dtype = torch.float64
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype {self.dtype} is not supported; use torch.float32 or torch.float64")
        if not (math.isfinite(self.ridge) and self.ridge >= 0):
            raise ValueError(f"ridge {self.ridge} must be a finite number ≥ 0; 0 means no ridge")

    def solve(
        self, design: Float[Tensor, "rows columns"], targets: Float[Tensor, " rows"]
    ) -> Float[Tensor, " columns"]:
        design, targets = design.to(self.dtype), targets.to(self.dtype)
        gram = design.mT @ design
        gram.diagonal().add_(self.ridge)
        return torch.linalg.solve(gram, design.mT @ targets)


@dataclass(frozen=True)
class LeastSquares:
    """Minimise |Xw - y|² by the singular values of X in float64, keeping directions above `cutoff` × the largest.

    The default cutoff is rounding's own, float64 epsilon × rows (as numpy's `lstsq`); 0 keeps all directions, also
    those that only rounding separates from zero. Negative or ≥ 1 raises ValueError.
    """

    cutoff: float | None = None

    def __post_init__(self) -> None:
        if self.cutoff is not None and not 0 <= self.cutoff < 1:
            raise ValueError(f"cutoff {self.cutoff} must lie in [0, 1); it is a share of the largest singular value")

    def solve(
        self, design: Float[Tensor, "rows columns"], targets: Float[Tensor, " rows"]
    ) -> Float[Tensor, " columns"]:
        left, singular, right = torch.linalg.svd(design.double(), full_matrices=False)
        cutoff = max(design.shape) * torch.finfo(torch.float64).eps if self.cutoff is None else self.cutoff
        keep = singular > cutoff * singular[0]
        return right[keep].mT @ ((left[:, keep].mT @ targets.double()) / singular[keep])


def design_matrix(distances: Float[Tensor, " n"], inv_freq: Float[Tensor, " pairs"]) -> Float[Tensor, "n columns"]:
    """Columns cos(sθ_j) and -sin(sθ_j), so that design @ cat(Re h, Im h) = a(s); float64, 2·pairs columns."""
    angles = _vector("distances", distances)[:, None] * _frequencies(inv_freq)
    return torch.cat([angles.cos(), -angles.sin()], dim=-1)


def fit_scores(
    targets: Float[Tensor, " window"], inv_freq: Float[Tensor, " pairs"], solver: LeastSquaresSolver
) -> Complex[Tensor, " pairs"]:
    """Fit h so that a(s) follows `targets` at s = 0 … window-1 (window = len(targets)), by the given solver object.

    Source: Figure 2 of arXiv 2306.15595 and the script in its appendix (window 2048, targets of N(0, 1), no ridge).
    The design matrix is singular to rounding: without ridge, the size beyond the window shows the arithmetic used.
    """
    targets = _vector("targets", targets)
    design = design_matrix(torch.arange(len(targets), dtype=torch.float64, device=inv_freq.device), inv_freq)
    return torch.complex(*solver.solve(design, targets).double().chunk(2))


@dataclass(frozen=True)
class FitSizes:
    """Sizes of a fitted score: max|a| at the fitted distances, strictly between them and beyond them; max|h|."""

    inside: float
    between: float
    beyond: float
    coefficient: float


def evaluate(
    h: Complex[Tensor, " pairs"], inv_freq: Float[Tensor, " pairs"], window: int, fine: int = 8
) -> FitSizes:
    """Measure a fit on [0, window) at integers and at the other multiples of 1/`fine`, and on [window, 2·window) at integers.

    The paper draws the fine grid on [25, 75); here it covers the window. Raises ValueError for window < 2 or fine < 2.
    """
    if window < 2 or fine < 2:
        raise ValueError(f"window {window} and fine {fine} must both be at least 2")
    double = dict(dtype=torch.float64, device=inv_freq.device)
    whole = scores(h, torch.arange(2 * window, **double), inv_freq).abs()
    grid = torch.arange((window - 1) * fine, **double) / fine
    between = scores(h, grid[grid % 1 != 0], inv_freq).abs()
    return FitSizes(
        inside=whole[:window].max().item(),
        between=between.max().item(),
        beyond=whole[window:].max().item(),
        coefficient=h.abs().max().item(),
    )


def _parabola(offsets: Tensor, spacing: float) -> Tensor:
    offsets = _offsets(offsets, spacing)
    return offsets * (spacing - offsets)


def _offsets(offsets: Tensor, spacing: float) -> Tensor:
    _check_spacing(spacing)
    offsets = _vector("offsets", offsets)
    if len(offsets) and not (0 <= offsets.min() and offsets.max() <= spacing):
        raise ValueError(
            f"offsets run from {offsets.min():g} to {offsets.max():g}, outside [0, spacing] = [0, {spacing:g}]; "
            "give s - s1, the distance after the left neighbour, or a larger spacing"
        )
    return offsets


def _check_spacing(spacing: float) -> None:
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"spacing {spacing} must be a finite number of tokens above 0; neighbours have spacing 1")


def _vector(name: str, values: Tensor) -> Tensor:
    if not isinstance(values, Tensor) or values.ndim != 1 or len(values) == 0 or not values.isfinite().all():
        given = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else repr(values)
        raise ValueError(f"{name} must be a one-dimensional tensor of finite numbers, at least one; got {given}")
    return values.double()


def _frequencies(inv_freq: Tensor) -> Tensor:
    if inv_freq.ndim != 1 or len(inv_freq) == 0:
        raise ValueError(f"inv_freq has shape {tuple(inv_freq.shape)}; give one frequency per pair, shape (pairs,)")
    check_inv_freq(inv_freq)
    return inv_freq.double()


def _coefficients(h: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    inv_freq = _frequencies(inv_freq)
    if not h.is_complex() or h.shape[-1] != len(inv_freq):
        raise ValueError(
            f"h has shape {tuple(h.shape)} and dtype {h.dtype}; give one complex number per pair, last axis "
            f"{len(inv_freq)} (bounds.pair_products makes it from q and k)"
        )
    return h.to(torch.complex128), inv_freq
