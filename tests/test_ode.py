"""The solve: known solutions, observed order, semigroup, gradients; scipy as the second source; bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from clexlab import frequencies, ode, scaling


def decay(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """dz/dt = -z/t, solved by z(t) = z(1)/t: Position Interpolation for θ itself."""
    return -z / t


def swing(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """dz/dt = z cos t, solved by z(t) = z(1) exp(sin t - sin 1); RK4 solves `decay` exactly, so orders need this one."""
    return z * t.cos()


START = torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64)


def test_known_solution_is_reached_at_every_grid_point():
    grid = torch.tensor([1.0, 1.3, 2.0, 7.7], dtype=torch.float64)
    solution = ode.solve(decay, START, grid, step=ode.FixedStep(0.01))
    assert torch.equal(solution[0], START)
    # RK4: a hundredth to the fourth, times derivatives of 1/t of order 24.
    torch.testing.assert_close(solution, START / grid[:, None], rtol=1e-7, atol=0)


@pytest.mark.parametrize("solver", [solver for solver in ode.SOLVERS if not solver.adaptive], ids=lambda s: s.name)
def test_observed_order_is_the_solvers(solver):
    sizes = np.array([0.1, 0.05, 0.025, 0.0125])
    grid = torch.tensor([1.0, 3.0], dtype=torch.float64)
    exact = START * math.exp(math.sin(3) - math.sin(1))
    errors = [float((ode.solve(swing, START, grid, solver, ode.FixedStep(size))[-1] - exact).abs().max()) for size in sizes]
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope - solver.order) < 0.15


@pytest.mark.parametrize("solver", [solver for solver in ode.SOLVERS if solver.adaptive], ids=lambda s: s.name)
def test_adaptive_solvers_keep_their_tolerance(solver):
    grid = torch.tensor([1.0, 2.0, 16.0], dtype=torch.float64)
    solution = ode.solve(decay, START, grid, solver, ode.Tolerance(1e-10, 1e-12))
    torch.testing.assert_close(solution, START / grid[:, None], rtol=1e-8, atol=0)


def test_two_legs_equal_one_way(generator):
    flow = ode.Flow(
        scaling.DynamicNTK(head_dim=16, base=1e4, window=64, rate=2.0),
        ode.fill_normal(ode.OfficialField(16, 1e4, generator=generator), 0.02, generator),
    ).double()
    start = frequencies.inv_freq(16, dtype=torch.float64).log()
    # Steps that do not meet at 2 on the direct way, so the two ways are different arithmetic.
    adaptive = dict(solver=ode.DOPRI5, step=ode.Tolerance(1e-10, 1e-12))
    whole = ode.solve(flow, start, torch.tensor([1.0, 4.0]), **adaptive)[-1]
    half = ode.solve(flow, start, torch.tensor([1.0, 2.0]), **adaptive)[-1]
    legs = ode.solve(flow, half, torch.tensor([2.0, 4.0]), **adaptive)[-1]
    torch.testing.assert_close(whole, legs, rtol=0, atol=1e-8)
    # And the second leg must know that it starts at 2.
    restarted = ode.solve(flow, half, torch.tensor([1.0, 3.0]), **adaptive)[-1]
    assert (restarted - whole).abs().max() > 0.1


def test_fixed_steps_hit_every_grid_point_and_a_sixth_is_six_steps():
    fine = ode.FixedStep(1 / 6).refine(torch.tensor([0.0, 1.0]))
    assert len(fine) == 7
    grid = torch.tensor([1.0, 1.25, 2.0])
    assert all(point in ode.FixedStep(0.1).refine(grid).tolist() for point in grid.tolist())


@pytest.mark.parametrize("act", ["silu", "tanh"])
@pytest.mark.parametrize("width", [1, 2])
def test_official_flow_equals_the_equations_written_out_and_scipys_solution(act, width, generator):
    head_dim, base = 8, 1e6
    activation = torch.nn.SiLU() if act == "silu" else torch.nn.Tanh()
    field = ode.fill_normal(ode.OfficialField(head_dim, base, width, activation, generator), 0.05, generator).double()
    up, down = field.ode_up_proj.detach().numpy(), field.ode_down_proj.detach().numpy()

    def written_out(t: float, z: np.ndarray) -> np.ndarray:
        """clex.md §3.2 with loops, base 10 000 inside the field."""
        d, a = head_dim, 2 * t - 1
        nu = [1e4 ** (-2 * j / d) * a ** (-2 * j / (d - 2)) for j in range(d // 2)]
        delta = [-(4 * j / (d - 2)) * 1e4 ** (-2 * j / d) * a ** (-2 * j / (d - 2) - 1) for j in range(d // 2)]
        u = [z[j] + math.log(nu[j]) for j in range(d // 2)]
        h = [sum(u[r] * up[r, c] for r in range(d // 2)) for c in range(width * d)]
        h = [x / (1 + math.exp(-x)) if act == "silu" else math.tanh(x) for x in h]
        return np.array([sum(h[c] * down[c, j] for c in range(width * d)) + delta[j] / nu[j] for j in range(d // 2)])

    flow = ode.Flow(scaling.DynamicNTK(head_dim=head_dim, base=base, window=64, rate=2.0), field)
    start = frequencies.inv_freq(head_dim, base, torch.float64).log()
    for t in (1.0, 2.5, 4.0):
        z = start - 0.3 * (t - 1)
        ours = flow(torch.tensor(t, dtype=torch.float64), z).detach().numpy()
        np.testing.assert_allclose(ours, written_out(t, z.numpy()), rtol=1e-10, atol=1e-12)
    expected = solve_ivp(written_out, (1, 4), start.numpy(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    ours = ode.solve(flow, start, torch.tensor([1.0, 4.0]))[-1].detach().numpy()
    # RK4 at 0.01 against an adaptive solver of order 8: 1e-9, clex.md §3.5.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8)


def test_bounded_field_never_exceeds_its_bound(generator):
    field = ode.fill_normal(ode.BoundedField(8, bound=0.25, generator=generator), 10.0, generator)
    rate = field(torch.rand(500, generator=generator) * 4, torch.randn(500, 8, generator=generator) * 10)
    assert 0.2 < rate.abs().max() <= 0.25


def test_a_pair_field_is_its_two_numbers_per_pair_and_stays_within_its_bound(generator):
    field = ode.fill_normal(ode.PairField(4, bound=0.25), 1.0, generator)
    u, r = torch.rand(50, generator=generator) * 3, torch.randn(50, 4, generator=generator)
    rate = field(u, r)
    for row in range(50):
        for pair in range(4):
            inner = float(field.level[pair]) + float(field.slope[pair]) * float(u[row])
            assert float(rate[row, pair]) == pytest.approx(0.25 * math.tanh(inner), abs=1e-6)
    assert torch.equal(rate, field(u, -r)) and rate.abs().max() <= 0.25
    # One state without a batch, as a solver may ask.
    assert torch.equal(field(u[0], r[0]), rate[0])


def test_every_number_of_a_pair_field_has_a_gradient_from_the_first_step_on():
    field = ode.PairField(4)
    (field(torch.tensor([0.7, 1.5]), torch.zeros(2, 4)) * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    assert bool((field.level.grad != 0).all()) and bool((field.slope.grad != 0).all())
    # Pairs are independent: a loss of the first alone leaves the others.
    field.zero_grad()
    field(torch.tensor([1.5]), torch.zeros(1, 4))[:, 0].sum().backward()
    assert field.level.grad.tolist()[1:] == field.slope.grad.tolist()[1:] == [0.0] * 3


def test_a_pace_field_is_the_priors_speed_times_a_number_per_pair(generator):
    prior = scaling.YaRN(head_dim=16, base=1e4, window=256)
    field = ode.fill_normal(ode.PaceField(prior, middle=0.5), 1.0, generator)
    u = torch.tensor([0.0, 0.9, 2.0], dtype=torch.float64)
    rate = field.double()(u, torch.zeros(3, 8, dtype=torch.float64))
    for row, log_factor in enumerate(u.tolist()):
        # The prior's speed by differences of its frequencies, one-sided at t = 1.
        low, high = (prior.inv_freq(math.exp(log_factor + step), torch.float64).log() for step in (0.0 if row == 0 else -1e-6, 1e-6))
        speed = (high - low) / (1e-6 if row == 0 else 2e-6)
        wanted = speed * (field.level + field.slope * (log_factor - 0.5)).tanh()
        torch.testing.assert_close(rate[row], wanted, rtol=1e-4, atol=1e-6)
    assert torch.equal(rate[0], field(u[0], torch.ones(8, dtype=torch.float64)))


def test_a_pace_field_leaves_what_the_prior_leaves_and_at_most_undoes_or_doubles_the_rest(generator):
    prior = scaling.YaRN(head_dim=64, base=1e4, window=2048)
    path = scaling.CLEX(head_dim=64, base=1e4, window=2048, prior=prior, field=ode.PaceField(prior), max_factor=16.0)
    with torch.no_grad():
        path.field.level.copy_(20 * torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0))
    way = prior.ratio(16.0).log()
    found = path.residual(16.0).detach().double()
    assert bool((way == 0).any()) and not found[way == 0].any()
    # RK4 with eight steps; the ramp's speed is smooth.
    torch.testing.assert_close(found, torch.where(torch.arange(32) % 2 == 0, way, -way), rtol=2e-3, atol=1e-5)


def test_a_norm_cap_keeps_the_direction_and_a_slow_field(generator):
    inner = ode.fill_normal(ode.BoundedField(8, generator=generator), 3.0, generator)
    u, r = torch.rand(200, generator=generator) * 3, torch.randn(200, 8, generator=generator)
    free, held = inner(u, r), ode.NormCap(inner, cap=0.5)(u, r)
    assert free.norm(dim=-1).max() > 1 and held.norm(dim=-1).max() < 0.5
    torch.testing.assert_close(held / held.norm(dim=-1, keepdim=True), free / free.norm(dim=-1, keepdim=True))
    # Written out for one state.
    size = math.sqrt(sum(float(v) ** 2 for v in free[0]))
    assert held[0].tolist() == pytest.approx([float(v) / math.sqrt(1 + (size / 0.5) ** 2) for v in free[0]], rel=1e-5)
    torch.testing.assert_close(ode.NormCap(inner, cap=1e6)(u, r), free)
    # A field of zeros has a gradient: the norm itself has none there.
    still = ode.NormCap(ode.BoundedField(8))
    still(u, r).sum().backward()
    assert still.field.down.weight.grad.isfinite().all() and still.field.down.weight.grad.any()


@pytest.mark.parametrize(
    "field",
    [ode.OfficialField(8, 1e4), ode.BoundedField(4), ode.PairField(4), ode.PaceField(scaling.YaRN(head_dim=8, base=1e4, window=64))],
    ids=["official", "bounded", "pair", "pace"],
)
def test_fields_start_at_zero_and_a_seed_fills_them_the_same(field):
    u, r = torch.rand(5), torch.randn(5, 4)
    assert not field(u, r).any()
    first = ode.fill_normal(field, 0.1, torch.Generator().manual_seed(3))(u, r)
    assert first.any()
    assert torch.equal(first, ode.fill_normal(field, 0.1, torch.Generator().manual_seed(3))(u, r))


@pytest.mark.parametrize("solver, step", [(ode.RK4, ode.FixedStep(0.1)), (ode.DOPRI5, ode.Tolerance(1e-8, 1e-8))])
def test_a_solution_that_runs_away_is_refused(solver, step):
    with pytest.raises(ValueError, match="ran away"):
        ode.solve(lambda t, z: 1e3 * z**3, torch.ones(1), torch.tensor([0.0, 1.0]), solver, step)


def test_bad_input_is_refused(generator):
    grid = torch.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="takes a Tolerance"):
        ode.solve(decay, START, grid, ode.DOPRI5, ode.FixedStep(0.1))
    with pytest.raises(ValueError, match="takes a FixedStep"):
        ode.solve(decay, START, grid, ode.RK4, ode.Tolerance())
    with pytest.raises(ValueError, match="choose one of ode.EULER"):
        ode.solve(decay, START, grid, ode.Solver("tsit5", 5, True), ode.Tolerance())
    with pytest.raises(ValueError, match="rising order"):
        ode.solve(decay, START, torch.tensor([2.0, 1.0]))
    with pytest.raises(ValueError, match="rising order"):
        ode.solve(decay, START, torch.tensor([1.0]))
    with pytest.raises(ValueError, match="float32 or float64"):
        ode.solve(decay, START.half(), grid)
    for size in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="step size"):
            ode.FixedStep(size)
    with pytest.raises(ValueError, match="tolerances"):
        ode.Tolerance(0.0, 1e-9)
    with pytest.raises(ValueError, match="width"):
        ode.OfficialField(8, 1e4, width=0)
    with pytest.raises(ValueError, match="bound"):
        ode.BoundedField(4, bound=float("inf"))
    with pytest.raises(ValueError, match="pairs"):
        ode.BoundedField(0)
    with pytest.raises(ValueError, match="pairs is 0"):
        ode.PairField(0)
    with pytest.raises(ValueError, match="bound is 0"):
        ode.PairField(4, bound=0)
    with pytest.raises(ValueError, match="residual has 3 pairs, the field 4"):
        ode.PairField(4)(torch.ones(2), torch.zeros(2, 3))
    yarn = scaling.YaRN(head_dim=8, base=1e4, window=64)
    with pytest.raises(ValueError, match="residual has 3 pairs, the prior 4"):
        ode.PaceField(yarn)(torch.ones(2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="pass the path that the field is to quicken"):
        ode.PaceField(ode.PairField(4))
    with pytest.raises(ValueError, match="middle is"):
        ode.PaceField(yarn, middle=math.inf)
    with pytest.raises(ValueError, match="cap is -1"):
        ode.NormCap(ode.PairField(4), cap=-1)
    with pytest.raises(ValueError, match="knows OfficialField, BoundedField, PairField, PaceField"):
        ode.fill_normal(torch.nn.Linear(2, 2), 0.1, generator)


def test_a_cap_needs_a_field(unchecked):
    with pytest.raises(ValueError, match="field is 4; pass a module"):
        ode.NormCap(4)
