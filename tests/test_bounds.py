"""Bounds on scores: properties first, then loops and other libraries as a second source, then the published numbers."""

import cmath
import math

import numpy
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clexlab import bounds, frequencies, rope

MIDDLE = torch.tensor([0.5], dtype=torch.float64)
OFFSETS = torch.linspace(0, 1, 9, dtype=torch.float64)
# Sums of at most 256 numbers near 1 in float64: rounding stays below this.
ROUNDING = 1e-12

head_dims = st.integers(2, 128).map(lambda pairs: 2 * pairs)
bases = st.floats(1e3, 1e7)
spacings = st.floats(0.05, 8.0)


def geometric(head_dim: int = 128, base: float = 1e4) -> torch.Tensor:
    """θ_j = base^(-2j/d) as a loop, independent of clexlab.frequencies."""
    return torch.tensor([base ** (-2 * j / head_dim) for j in range(head_dim // 2)], dtype=torch.float64)


def phases(generator: torch.Generator, *shape: int) -> torch.Tensor:
    angles = 2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.polar(torch.ones_like(angles), angles)


@settings(max_examples=150, deadline=None)
@given(head_dims, bases, spacings)
def test_sharp_never_exceeds_corrected_and_worst_case_reaches_sharp_in_the_middle(head_dim, base, spacing):
    inv_freq = geometric(head_dim, base)
    offsets = OFFSETS * spacing
    sharp, corrected = bounds.sharp(offsets, inv_freq, spacing), bounds.corrected(offsets, inv_freq, spacing)
    assert (sharp <= corrected + ROUNDING).all()
    middle = offsets[4:5]
    h = bounds.worst_case(inv_freq, spacing)
    reached = bounds.scores(h, middle, inv_freq) - bounds.linear_interpolation(h, middle, inv_freq, spacing)
    torch.testing.assert_close(reached, sharp[4:5], rtol=0, atol=ROUNDING)


@settings(max_examples=50, deadline=None)
@given(head_dims, bases, spacings, st.floats(0, 1))
def test_sharp_is_reached_at_every_offset(head_dim, base, spacing, share):
    """Turning each error term onto the real axis is a choice of |h_j| ≤ 1."""
    inv_freq, offset = geometric(head_dim, base), torch.tensor([share * spacing], dtype=torch.float64)
    h = torch.sgn(bounds.error_terms(offset, inv_freq, spacing)[0]).conj()
    deviation = bounds.scores(h, offset, inv_freq)
    deviation = deviation - (1 - share) * bounds.scores(h, torch.zeros(1, dtype=torch.float64), inv_freq)
    deviation = deviation - share * bounds.scores(h, torch.tensor([spacing], dtype=torch.float64), inv_freq)
    torch.testing.assert_close(deviation, bounds.sharp(offset, inv_freq, spacing), rtol=0, atol=ROUNDING)


@settings(max_examples=100, deadline=None)
@given(head_dims, bases)
def test_the_printed_theorem_is_exceeded_by_the_worst_case_at_neighbouring_tokens(head_dim, base):
    inv_freq = geometric(head_dim, base)
    h = bounds.worst_case(inv_freq)
    reached = bounds.scores(h, MIDDLE, inv_freq) - bounds.linear_interpolation(h, MIDDLE, inv_freq)
    assert h.abs().max() <= 1 + ROUNDING
    assert reached > bounds.printed(MIDDLE, head_dim, base)


@settings(max_examples=100, deadline=None)
@given(head_dims, bases)
def test_the_step_of_the_proof_is_reversed(head_dim, base):
    """1/(1 - c^{-4/d}) ≥ d/(4 ln c), not ≤; the sum of squares itself exceeds the printed constant."""
    assert 1 / (1 - base ** (-4 / head_dim)) >= head_dim / (4 * math.log(base))
    assert geometric(head_dim, base).square().sum() > head_dim / (4 * math.log(base))


@pytest.mark.parametrize("draw", [bounds.unit_phases, bounds.unit_disc])
def test_a_hundred_thousand_random_scores_stay_within_sharp_and_corrected(generator, draw):
    inv_freq = geometric()
    sampled = bounds.sampled_deviation(generator, 100_000, OFFSETS, inv_freq, draw=draw)
    assert (sampled <= bounds.sharp(OFFSETS, inv_freq) + ROUNDING).all()
    assert (sampled <= bounds.corrected(OFFSETS, inv_freq) + ROUNDING).all()
    # A useless sampler would pass the lines above; random phases alone come within 30 % of the maximum.
    assert draw is bounds.unit_disc or sampled[4] > 0.7 * bounds.sharp(MIDDLE, inv_freq)[0]


def test_random_scores_stay_within_the_bounds_for_scaled_frequencies_and_wide_spacing(generator):
    inv_freq = geometric(64, 5e5) / torch.linspace(1, 8, 32, dtype=torch.float64)
    sampled = bounds.sampled_deviation(generator, 20_000, 3 * OFFSETS, inv_freq, spacing=3.0)
    assert (sampled <= bounds.sharp(3 * OFFSETS, inv_freq, 3.0) + ROUNDING).all()


def test_sampling_does_not_depend_on_how_many_draws_are_held_at_once():
    whole, parts = (
        bounds.sampled_deviation(torch.Generator().manual_seed(3), 1000, OFFSETS, geometric(32), chunk=chunk)
        for chunk in (1000, 96)
    )
    torch.testing.assert_close(whole, parts)


def test_draws_have_the_moduli_they_promise(generator):
    assert torch.allclose(bounds.unit_phases(generator, 500, 8).abs(), torch.ones(500, 8, dtype=torch.float64))
    disc = bounds.unit_disc(generator, 20_000, 8).abs()
    assert disc.max() <= 1
    # Uniform in area: P(|h| ≤ 1/2) = 1/4; four standard errors of 160000 draws.
    assert abs((disc <= 0.5).double().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 160_000)


def test_dividing_frequencies_and_stretching_the_spacing_cancel():
    """Position Interpolation by t: θ/t on a grid of spacing t is θ on the unit grid."""
    inv_freq = geometric()
    for bound in (bounds.sharp, bounds.corrected):
        torch.testing.assert_close(bound(8 * OFFSETS, inv_freq / 8, 8.0), bound(OFFSETS, inv_freq))
    torch.testing.assert_close(bounds.printed(8 * OFFSETS, 128, 1e4, 8.0), 64 * bounds.printed(OFFSETS, 128, 1e4))


def test_bounds_vanish_at_the_known_distances():
    ends, inv_freq = torch.tensor([0.0, 2.0], dtype=torch.float64), geometric()
    for values in (
        bounds.sharp(ends, inv_freq, 2.0),
        bounds.corrected(ends, inv_freq, 2.0),
        bounds.printed(ends, 128, 1e4, 2.0),
    ):
        torch.testing.assert_close(values, torch.zeros(2, dtype=torch.float64), rtol=0, atol=ROUNDING)


def test_interpolation_is_exact_on_its_grid_and_linear_between(generator):
    inv_freq, h = geometric(32), phases(generator, 5, 16)
    grid = torch.arange(0, 9, 2, dtype=torch.float64)
    fine = torch.linspace(0, 7.9, 80, dtype=torch.float64)
    known = bounds.scores(h, grid, inv_freq)
    torch.testing.assert_close(bounds.linear_interpolation(h, grid, inv_freq, 2.0), known)
    expected = numpy.stack([numpy.interp(fine.numpy(), grid.numpy(), row.numpy()) for row in known])
    torch.testing.assert_close(bounds.linear_interpolation(h, fine, inv_freq, 2.0), torch.from_numpy(expected))


def test_deviation_on_any_interval_is_the_error_terms_with_turned_coefficients(generator):
    inv_freq, h, start = geometric(64), phases(generator, 32), 117.0
    deviation = bounds.scores(h, start + OFFSETS[:-1], inv_freq)
    deviation = deviation - bounds.linear_interpolation(h, start + OFFSETS[:-1], inv_freq)
    turned = h * torch.polar(torch.ones_like(inv_freq), start * inv_freq)
    terms = bounds.error_terms(OFFSETS[:-1], inv_freq)
    torch.testing.assert_close(deviation, (terms @ turned).real, rtol=0, atol=ROUNDING)


def test_scores_equal_the_explicit_sum_and_the_rotated_dot_product(generator):
    q, k = torch.randn(2, 16, generator=generator, dtype=torch.float64)
    inv_freq = frequencies.inv_freq(16, 1e4, torch.float64)
    distances = torch.tensor([0.0, 1.0, 2.5, 1000.0], dtype=torch.float64)
    actual = bounds.scores(bounds.pair_products(q, k), distances, inv_freq)
    loop = [
        sum((complex(q[j], q[j + 8]) * complex(k[j], -k[j + 8]) * cmath.exp(1j * s * inv_freq[j].item())).real for j in range(8))
        for s in distances.tolist()
    ]
    torch.testing.assert_close(actual, torch.tensor(loop, dtype=torch.float64))
    torch.testing.assert_close(actual, rope.scores(q, k, distances, inv_freq))


def test_sharp_equals_an_explicit_loop_over_pairs():
    inv_freq, spacing = geometric(32), 1.5
    for offset in (0.1, 0.75, 1.4):
        share, total = offset / spacing, 0.0
        for theta in inv_freq.tolist():
            total += abs(cmath.exp(1j * offset * theta) - (1 - share) - share * cmath.exp(1j * spacing * theta))
        actual = bounds.sharp(torch.tensor([offset], dtype=torch.float64), inv_freq, spacing).item()
        assert actual == pytest.approx(total, rel=1e-12)


def test_no_search_finds_more_than_sharp(generator):
    """Gradient ascent over the phases, a second source for the maximum: it climbs to sharp and no further."""
    inv_freq = geometric(32)
    terms = bounds.error_terms(MIDDLE, inv_freq)[0]
    angles = (2 * math.pi * torch.rand(16, generator=generator, dtype=torch.float64)).requires_grad_()
    # Flat directions of slow pairs need large steps: their terms are near 1e-7.
    optimizer = torch.optim.Adam([angles], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-(terms * torch.polar(torch.ones_like(angles), angles)).real.sum()).backward()
        optimizer.step()
    reached = (terms * torch.polar(torch.ones_like(angles), angles)).real.sum().item()
    sharp = bounds.sharp(MIDDLE, inv_freq).item()
    assert sharp - 1e-6 < reached <= sharp + ROUNDING


@pytest.mark.parametrize(
    ("head_dim", "sharp", "printed", "corrected"),
    [
        (32, 0.1799, 0.1086, 0.1828),
        (64, 0.2818, 0.2171, 0.2856),
        (128, 0.49388, 0.43429, 0.49979),
        (256, 0.9222, 0.8686, 0.9326),
    ],
)
def test_values_at_base_ten_thousand_and_unit_spacing(head_dim, sharp, printed, corrected):
    """Recomputed by hand from the closed forms; half a unit of the last printed digit."""
    inv_freq = geometric(head_dim)
    digits = 5e-6 if head_dim == 128 else 5e-5
    assert bounds.sharp(MIDDLE, inv_freq).item() == pytest.approx(sharp, abs=digits)
    assert bounds.printed(MIDDLE, head_dim, 1e4).item() == pytest.approx(printed, abs=digits)
    assert bounds.corrected(MIDDLE, inv_freq).item() == pytest.approx(corrected, abs=digits)


def test_corrected_constant_follows_its_series():
    """Σθ² = d/(4 ln c) + 1/2 + ln c/(3d) + …; the next term is y³/720 with y = 4 ln c/d."""
    for head_dim in (64, 128, 256):
        y = 4 * math.log(1e4) / head_dim
        series = 1 / y + 1 / 2 + y / 12
        assert geometric(head_dim).square().sum().item() == pytest.approx(series, abs=y**3 / 500)


def test_printed_holds_by_accident_for_very_wide_heads_and_wide_spacing():
    """At base 10⁴ the first head that escapes at unit spacing has dimension 1748, about 190 ln c."""
    for head_dim, exceeded in ((1746, True), (1748, False)):
        sharp, printed = bounds.sharp(MIDDLE, geometric(head_dim)), bounds.printed(MIDDLE, head_dim, 1e4)
        assert (sharp > printed).item() is exceeded
    middle = torch.tensor([2.0], dtype=torch.float64)
    assert bounds.sharp(middle, geometric(), 4.0) < bounds.printed(middle, 128, 1e4, 4.0)


def test_scores_never_exceed_the_abel_bound_or_the_trivial_one(generator):
    inv_freq, distances = geometric(), torch.arange(0, 9000, 7, dtype=torch.float64)
    h = phases(generator, 200, 64) * torch.rand(200, 64, generator=generator, dtype=torch.float64)
    size = bounds.scores(h, distances, inv_freq).abs()
    assert (size <= bounds.largest_step(h)[:, None] * bounds.abel_sum(distances, inv_freq) + ROUNDING).all()
    assert (size <= bounds.trivial(h)[:, None] + ROUNDING).all()


def test_abel_sum_equals_explicit_partial_sums():
    inv_freq = geometric(16)
    for s in (0.0, 3.0, 250.5):
        partial, total = 0j, 0.0
        for theta in inv_freq.tolist():
            partial += cmath.exp(1j * s * theta)
            total += abs(partial)
        assert bounds.abel_sum(torch.tensor([s]), inv_freq).item() == pytest.approx(total, rel=1e-12)


def test_abel_sum_extremes_for_128_dimensions_within_4096_tokens():
    relative = bounds.abel_sum(torch.arange(4096, dtype=torch.float64), geometric()) / 128
    assert relative.argmax() == 0 and relative.max().item() == pytest.approx(64 * 65 / 2 / 128)
    assert relative.argmin() == 3643 and relative.min().item() == pytest.approx(1.116, abs=5e-4)
    assert relative.mean().item() == pytest.approx(2.80, abs=5e-3)


def test_largest_step_counts_the_step_to_zero_after_the_last_pair():
    h = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]], dtype=torch.complex128)
    torch.testing.assert_close(bounds.largest_step(h), torch.tensor([1.0, 2.0], dtype=torch.float64))


def test_typical_is_the_root_mean_square_over_random_phases(generator):
    modulus = torch.rand(64, generator=generator, dtype=torch.float64)
    h = modulus * phases(generator, 20_000, 64)
    measured = bounds.scores(h, torch.tensor([500.0]), geometric())[:, 0].square().mean().sqrt()
    # The relative standard error of a root mean square of 20000 near-normal draws is 1/√40000.
    torch.testing.assert_close(measured, bounds.typical(h[0]), rtol=4 / 200, atol=0)


def well_posed(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return geometric(16, 10.0), torch.randn(200, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("solver", [bounds.NormalEquations(), bounds.LeastSquares(), bounds.LeastSquares(cutoff=0.0)])
def test_solvers_agree_with_scipy_where_the_problem_is_well_posed(generator, solver):
    inv_freq, targets = well_posed(generator)
    distances = torch.arange(200, dtype=torch.float64)
    design = bounds.design_matrix(distances, inv_freq)
    expected = scipy.linalg.lstsq(design.numpy(), targets.numpy())[0]
    h = bounds.fit_scores(targets, inv_freq, solver)
    torch.testing.assert_close(torch.cat([h.real, h.imag]), torch.from_numpy(expected), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(design @ torch.cat([h.real, h.imag]), bounds.scores(h, distances, inv_freq))


def test_ridge_equals_least_squares_with_extra_rows(generator):
    inv_freq, targets = well_posed(generator)
    design = bounds.design_matrix(torch.arange(200, dtype=torch.float64), inv_freq)
    rows = torch.cat([design, math.sqrt(3.0) * torch.eye(16, dtype=torch.float64)])
    expected = scipy.linalg.lstsq(rows.numpy(), torch.cat([targets, torch.zeros(16, dtype=torch.float64)]).numpy())[0]
    h = bounds.fit_scores(targets, inv_freq, bounds.NormalEquations(ridge=3.0))
    torch.testing.assert_close(torch.cat([h.real, h.imag]), torch.from_numpy(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("solver", "beyond"),
    [
        (bounds.NormalEquations(torch.float32), (3e1, 5e3)),
        (bounds.NormalEquations(), (1e5, 1e10)),
        (bounds.LeastSquares(), (1e7, 1e13)),
        (bounds.NormalEquations(ridge=1e-6), (1e2, 1e4)),
        (bounds.NormalEquations(ridge=1e-3), (5, 5e2)),
        (bounds.NormalEquations(ridge=1.0), (0.3, 10)),
        (bounds.NormalEquations(ridge=10.0), (0.1, 3)),
    ],
    ids=["float32", "float64", "svd", "1e-6", "1e-3", "1", "10"],
)
def test_figure_2_is_calm_inside_and_its_height_beyond_is_set_by_the_solver(solver, beyond):
    """Orders of magnitude over seeds; without ridge they are rounding's, so a factor of hundreds is left."""
    for seed in range(2):
        targets = torch.randn(2048, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        sizes = bounds.evaluate(bounds.fit_scores(targets, geometric(), solver), geometric(), 2048)
        # Without ridge, cancelling coefficients of 1e8 leave rounding of this order inside as well.
        assert sizes.inside < 30 and sizes.between < 30
        assert beyond[0] < sizes.beyond < beyond[1]


def test_more_ridge_means_smaller_coefficients_and_calmer_extrapolation(generator):
    targets = torch.randn(2048, generator=generator, dtype=torch.float64)
    fits = [bounds.fit_scores(targets, geometric(), bounds.NormalEquations(ridge=r)) for r in (1e-3, 1.0, 100.0)]
    sizes = [bounds.evaluate(h, geometric(), 2048) for h in fits]
    assert sizes[0].coefficient > sizes[1].coefficient > sizes[2].coefficient
    assert sizes[0].beyond > sizes[1].beyond > sizes[2].beyond


def test_evaluate_measures_what_it_says(generator):
    h, inv_freq = phases(generator, 8), geometric(16)
    sizes = bounds.evaluate(h, inv_freq, window=50, fine=4)
    size = [abs(sum((h[j] * cmath.exp(1j * s / 4 * inv_freq[j])).real.item() for j in range(8))) for s in range(400)]
    assert sizes.inside == pytest.approx(max(size[:200:4]))
    assert sizes.between == pytest.approx(max(value for s, value in enumerate(size[:197]) if s % 4))
    assert sizes.beyond == pytest.approx(max(size[200:400:4]))
    assert sizes.coefficient == pytest.approx(1.0)


def test_a_score_with_its_crests_at_integers_is_smaller_between_them():
    """One pair that turns once per token: a(s) = cos(2πs), so the two columns cannot share a value."""
    sizes = bounds.evaluate(torch.ones(1, dtype=torch.complex128), torch.tensor([2 * math.pi]), window=5, fine=3)
    assert sizes.inside == pytest.approx(1.0, abs=1e-6) and sizes.between == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounds.sharp(torch.tensor([1.5]), geometric()), "larger spacing"),
        (lambda: bounds.corrected(torch.tensor([-0.1]), geometric()), "larger spacing"),
        (lambda: bounds.corrected(MIDDLE, geometric(), 0.0), "above 0"),
        (lambda: bounds.worst_case(geometric(), math.nan), "above 0"),
        (lambda: bounds.printed(MIDDLE, 127, 1e4), "head_dim"),
        (lambda: bounds.printed(MIDDLE, 128, 1.0), "base"),
        (lambda: bounds.sharp(torch.tensor([math.nan]), geometric()), "finite"),
        (lambda: bounds.sharp(MIDDLE, -geometric()), "positive"),
        (lambda: bounds.sharp(MIDDLE, geometric()[:0]), "one frequency per pair"),
        (lambda: bounds.sharp(MIDDLE, geometric().bfloat16()), "float32 or float64"),
        (lambda: bounds.sampled_deviation(torch.Generator(), 0, MIDDLE, geometric()), "at least 1"),
        (lambda: bounds.pair_products(torch.ones(5), torch.ones(5)), "same even head_dim"),
        (lambda: bounds.NormalEquations(dtype=torch.float16), "torch.float32 or torch.float64"),
        (lambda: bounds.NormalEquations(ridge=-1.0), "ridge"),
        (lambda: bounds.LeastSquares(cutoff=1.0), "cutoff"),
        (lambda: bounds.evaluate(bounds.worst_case(geometric()), geometric(), 1), "at least 2"),
        (lambda: bounds.evaluate(bounds.worst_case(geometric()), geometric(), 9, fine=1), "at least 2"),
    ],
)
def test_bad_values_are_refused_with_the_fix(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounds.scores(torch.ones(64), MIDDLE, geometric()), "one complex number per pair"),
        (lambda: bounds.scores(bounds.worst_case(geometric()), MIDDLE, geometric(64)), "one complex number per pair"),
        (lambda: bounds.sharp(torch.ones(2, 2), geometric()), "one-dimensional"),
        (lambda: bounds.sharp(MIDDLE, torch.ones(2, 2)), "one frequency per pair"),
        (lambda: bounds.pair_products(torch.ones(4), torch.ones(6)), "same even head_dim"),
        (lambda: bounds.fit_scores(torch.ones(4, 4), geometric(), bounds.LeastSquares()), "targets"),
    ],
)
def test_wrong_shapes_and_types_are_refused_outside_the_suite_too(call, words):
    with pytest.raises(ValueError, match=words):
        call()
