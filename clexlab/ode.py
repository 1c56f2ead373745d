"""Frequencies as a flow: a vector field over z = ln θ, a solver, a step and a grid. The only file that imports torchdiffeq.

    dz/dt = prior drift(t) + learned field(z, t),   z(1) = ln θ(1)                      (CLEX, arXiv 2310.16450)

The prior drift is the velocity of a closed form ln θ_prior(t), so only what the field adds has to be integrated. With the
residual r = z - ln θ_prior(t) and u = ln t:   dr/du = t · learned field,  r = 0 at t = 1. A field that is zero returns its
prior exactly, and a few steps in u are enough where the official code takes a hundred for every unit of t.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torchdiffeq import odeint

from clexlab import frequencies

if TYPE_CHECKING:
    from clexlab.scaling.base import Path

# The base inside the official field, whatever the model's own base is (`get_time_embedding` is never given another).
OFFICIAL_BASE = 10_000.0


@dataclass(frozen=True)
class Solver:
    """A method of torchdiffeq by its name there, its order, and whether it chooses its own steps."""

    name: str
    order: int
    adaptive: bool = False


EULER = Solver("euler", order=1)
MIDPOINT = Solver("midpoint", order=2)
RK4 = Solver("rk4", order=4)  # torchdiffeq's is the 3/8 rule, not the classical tableau
DOPRI5 = Solver("dopri5", order=5, adaptive=True)
DOPRI8 = Solver("dopri8", order=8, adaptive=True)
SOLVERS = (EULER, MIDPOINT, RK4, DOPRI5, DOPRI8)


@dataclass(frozen=True)
class FixedStep:
    """Steps of at most `size`: every interval of the grid is cut into equal steps, so grid points are hit exactly."""

    size: float

    def __post_init__(self) -> None:
        if not frequencies.is_finite(self.size) or self.size <= 0:
            raise ValueError(f"step size is {self.size!r}; it must be a finite number above 0")

    def refine(self, grid: Float[Tensor, "times"]) -> Float[Tensor, "fine"]:
        """All points the solver visits, the grid's own among them."""
        pieces = [grid[:1]]
        for start, end in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            # The small allowance keeps 1/(1/6) from becoming seven steps.
            count = max(1, math.ceil((end - start) / self.size - 1e-6))
            pieces.append(torch.linspace(start, end, count + 1, dtype=grid.dtype, device=grid.device)[1:])
        return torch.cat(pieces)


@dataclass(frozen=True)
class Tolerance:
    """For adaptive solvers: the error allowed per step, relative and absolute."""

    rtol: float = 1e-10
    atol: float = 1e-12

    def __post_init__(self) -> None:
        if not all(frequencies.is_finite(value) and value > 0 for value in (self.rtol, self.atol)):
            raise ValueError(f"tolerances are {self.rtol!r} and {self.atol!r}; both must be finite numbers above 0")


Step = FixedStep | Tolerance
RAN_AWAY = "the field ran away: lower its weights or learning rate, shorten the grid, or use ode.BoundedField"


def check_solver(solver: Solver, step: Step) -> None:
    """Refuse a solver that is none of `SOLVERS`, and a step that does not belong to it."""
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; choose one of ode.{', ode.'.join(s.name.upper() for s in SOLVERS)}")
    needed = Tolerance if solver.adaptive else FixedStep
    if not isinstance(step, needed):
        raise ValueError(f"{solver.name} takes a {needed.__name__}, it was given {step!r}")


def solve(
    field: Callable[[Tensor, Tensor], Tensor],
    start: Float[Tensor, "*state"],
    grid: Shaped[Tensor, "times"],
    solver: Solver = RK4,
    step: Step = FixedStep(0.01),
) -> Float[Tensor, "times *state"]:
    """Integrate dz/dτ = field(τ, z) from `start` at grid[0] through every point of the grid; row 0 is `start`.

    Differentiable by plain back-propagation through the steps. Raises ValueError for a grid that does not rise, for half
    precision, for a step that does not belong to the solver, and when the solution leaves the finite numbers.
    """
    check_solver(solver, step)
    frequencies.check_dtype(start.dtype)
    grid = grid.to(start.device, start.dtype)
    if grid.ndim != 1 or len(grid) < 2 or not bool((grid.diff() > 0).all()) or not bool(torch.isfinite(grid).all()):
        raise ValueError(f"grid is {grid.tolist()}; give at least two finite times in rising order")
    if isinstance(step, FixedStep):
        fine = step.refine(grid)
        solution = odeint(field, start, grid, method=solver.name, options={"grid_constructor": lambda f, z, t: fine})
    else:
        # Without step_t torchdiffeq interpolates at the grid, which costs dopri8 six digits.
        options = {"step_t": grid[1:]}
        try:
            solution = odeint(field, start, grid, method=solver.name, rtol=step.rtol, atol=step.atol, options=options)
        except AssertionError as error:
            raise ValueError(f"{solver.name} gave up ({error}); {RAN_AWAY}") from error
    if not bool(torch.isfinite(solution).all()):
        raise ValueError(f"the solution leaves the finite numbers; {RAN_AWAY}")
    return solution


class OfficialField(nn.Module):
    """The learned part of the official code: act((z + ln ν(t)) W_up) W_down, ν the NTK frequencies at 2t - 1 and base 10 000.

    `ode_up_proj` (pairs, width·head_dim) and `ode_down_proj` (width·head_dim, pairs), no bias, stored and named as in
    DAMO-NLP-SG/CLEX commit 023709d; `ode_down_proj` starts at zero. Quirks kept, because released weights were trained with them:
    the time enters only through ln ν, whose base ignores the model's; the field is unbounded for SiLU.
    Its drift is fixed: it belongs to the prior DynamicNTK(rate=2) on the same geometry.
    """

    ode_up_proj: Tensor
    ode_down_proj: Tensor

    def __init__(
        self,
        head_dim: int,
        base: float,
        width: int = 1,
        act: nn.Module | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        frequencies.check_geometry(head_dim, base, 1)
        if not frequencies.is_whole(width) or width < 1:
            raise ValueError(f"width is {width!r}; it must be a whole number of at least 1 (param_factor in the official config)")
        self.head_dim, self.base = head_dim, base
        self.act = nn.Tanh() if act is None else act
        self.ode_up_proj = nn.Parameter(torch.empty(head_dim // 2, width * head_dim))
        self.ode_down_proj = nn.Parameter(torch.zeros(width * head_dim, head_dim // 2))
        nn.init.kaiming_uniform_(self.ode_up_proj, a=math.sqrt(5), generator=generator)

    def forward(
        self, log_factor: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch pairs"]:
        """dr/du at u = ln t: t times the learned part of dz/dt."""
        dtype, device = self.ode_up_proj.dtype, self.ode_up_proj.device
        index = torch.arange(self.head_dim // 2, dtype=dtype, device=device)
        factor = log_factor.exp()[..., None]
        ntk = -2 * index / (self.head_dim - 2) * (2 * factor - 1).log()
        log_state = -2 * index / self.head_dim * math.log(self.base) + ntk + residual
        log_time = -2 * index / self.head_dim * math.log(OFFICIAL_BASE) + ntk
        return factor * (self.act((log_state + log_time) @ self.ode_up_proj) @ self.ode_down_proj)


class BoundedField(nn.Module):
    """Our learned part: a small tanh network of the residual and ln t, never faster than `bound` in d ln θ / d ln t.

    dr/du = bound · tanh(W_2 tanh(W_1 [r, u] + b_1) + b_2), W_2 = b_2 = 0 at first. So |r(t)| ≤ bound · ln t: with bound = 1 the
    field can at most undo, or double, the speed of Position Interpolation (-1). It cannot run away.
    """

    def __init__(
        self, pairs: int, hidden: int = 64, bound: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not all(frequencies.is_whole(value) and value > 0 for value in (pairs, hidden)):
            raise ValueError(f"pairs is {pairs!r} and hidden {hidden!r}; both must be whole numbers of at least 1")
        _check_bound(bound)
        self.bound = bound
        self.up, self.down = nn.Linear(pairs + 1, hidden), nn.Linear(hidden, pairs)
        nn.init.kaiming_uniform_(self.up.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.up.bias)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(
        self, log_factor: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch pairs"]:
        """dr/du at u = ln t."""
        inputs = torch.cat((residual, log_factor[..., None]), dim=-1)
        return self.bound * self.down(self.up(inputs).tanh()).tanh()


class PairField(nn.Module):
    """Two numbers per pair and nothing shared: dr_j/du = bound · tanh(c_j0 + c_j1 u), all 0 at first.

    Every pair moves on its own, as a closed form would move it, and never faster than `bound` in d ln θ / d ln t. With so few numbers
    each has a strong gradient from the first step on: a network that starts with a last layer of zeros has none in its first layer.
    """

    def __init__(self, pairs: int, bound: float = 1.0) -> None:
        super().__init__()
        if not frequencies.is_whole(pairs) or pairs < 1:
            raise ValueError(f"pairs is {pairs!r}; it must be a whole number of at least 1")
        _check_bound(bound)
        self.bound = bound
        self.level, self.slope = nn.Parameter(torch.zeros(pairs)), nn.Parameter(torch.zeros(pairs))

    def forward(
        self, log_factor: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch pairs"]:
        """dr/du at u = ln t, whatever the residual is; ValueError for a residual of other pairs."""
        if residual.shape[-1] != len(self.level):
            raise ValueError(f"residual has {residual.shape[-1]} pairs, the field {len(self.level)}; build it for the path's own")
        return self.bound * (self.level + self.slope * log_factor[..., None]).tanh()


class PaceField(nn.Module):
    """The prior's own way, faster or slower: dr_j/du = v_j(u) · tanh(c_j0 + c_j1 (u - middle)), v_j = d ln θ_prior,j/du, all 0 at first.

    So every pair goes at between 0 and 2 times the speed of the closed form: one that the prior leaves alone stays, a slow one can be
    interpolated not at all or twice as much (on a logarithmic scale). With YaRN as prior the fast pairs, which carry the neighbourhood
    and feel the smallest change at every distance, are out of reach. `middle` is the u at which the second number does nothing.
    """

    def __init__(self, prior: "Path", middle: float = math.log(4)) -> None:
        super().__init__()
        if not callable(getattr(prior, "_velocity", None)):
            raise ValueError(f"prior is {prior!r}; pass the path that the field is to quicken, for example scaling.YaRN(…)")
        if not frequencies.is_finite(middle):
            raise ValueError(f"middle is {middle!r}; it is a value of ln t, finite")
        self.prior, self.middle = prior, middle
        self.level, self.slope = nn.Parameter(torch.zeros(prior.pairs)), nn.Parameter(torch.zeros(prior.pairs))

    def forward(
        self, log_factor: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch pairs"]:
        """dr/du at u = ln t, whatever the residual is; ValueError for a residual of other pairs."""
        if residual.shape[-1] != len(self.level):
            raise ValueError(f"residual has {residual.shape[-1]} pairs, the prior {len(self.level)}; build both for one model")
        u = log_factor.detach().to("cpu", torch.float64)[..., None]
        # Solvers look a little beyond the last factor, so the path's own limit is not checked here.
        speed = (u.exp() * self.prior._velocity(u.exp())).to(residual)
        return speed * (self.level + self.slope * (log_factor[..., None] - self.middle)).tanh()

    def extra_repr(self) -> str:
        return f"prior={self.prior!r}, middle={self.middle:g}"


class NormCap(nn.Module):
    """Any field, held below `cap` in all: v / √(1 + |v|²/cap²), |v| the Euclidean norm over the pairs.

    The direction stays, and a slow field is hardly touched; a bound per pair (`BoundedField`) lets all pairs run at once.
    """

    def __init__(self, field: nn.Module, cap: float = 1.0) -> None:
        super().__init__()
        if not isinstance(field, nn.Module):
            raise ValueError(f"field is {field!r}; pass a module (ln t, residual) -> d residual/d ln t, for example BoundedField(32)")
        if not frequencies.is_finite(cap) or cap <= 0:
            raise ValueError(f"cap is {cap!r}; it must be a finite number above 0")
        self.field, self.cap = field, cap

    def forward(
        self, log_factor: Float[Tensor, "*batch"], residual: Float[Tensor, "*batch pairs"]
    ) -> Float[Tensor, "*batch pairs"]:
        """dr/du at u = ln t."""
        rate = self.field(log_factor, residual)
        return rate / (1 + (rate / self.cap).square().sum(-1, keepdim=True)).sqrt()


def _check_bound(bound: object) -> None:
    if not frequencies.is_finite(bound) or bound <= 0:
        raise ValueError(f"bound is {bound!r}; it must be a finite number above 0")


@torch.no_grad()
def fill_normal(field: nn.Module, std: float, generator: torch.Generator) -> nn.Module:
    """Give the last layer normal weights of deviation `std`: a field that does something, without any training.

    Returns the same field of this module; ValueError for another one, whose last layer is not known here.
    """
    pairwise = ("level", "slope")
    known = {OfficialField: ("ode_down_proj",), BoundedField: ("down.weight",), PairField: pairwise, PaceField: pairwise}
    if not isinstance(field, tuple(known)):
        raise ValueError(f"field is {type(field).__name__}; fill_normal knows {', '.join(kind.__name__ for kind in known)}")
    for name in next(names for kind, names in known.items() if isinstance(field, kind)):
        last = field.get_parameter(name)
        # Drawn on the CPU in float32, so that a seed means the same field everywhere.
        last.copy_(torch.randn(last.shape, generator=generator) * std)
    return field


class Flow(nn.Module):
    """The full vector field dz/dt = d ln θ_prior/dt + learned(z, t) at any t ≥ 1 and any state, for pictures and for solvers.

    `field=None` is the closed form alone. Times may be one number for all states or one per row.
    """

    def __init__(self, prior: "Path", field: nn.Module | None = None) -> None:
        super().__init__()
        self.prior, self.field = prior, field

    def forward(self, t: Float[Tensor, "*time"], z: Float[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch pairs"]:
        """dz/dt, radians per token on a natural log scale, per unit of t."""
        factor = t.detach().to("cpu", torch.float64)[..., None]
        # Adaptive solvers look beyond the last grid point, so the path's own limit is not checked here.
        drift = self.prior._velocity(factor).to(z)
        if self.field is None:
            return drift.expand_as(z)
        start = frequencies.inv_freq(self.prior.head_dim, self.prior.base, torch.float64)
        residual = z - (start.log() + self.prior._ratio(factor).log()).to(z)
        time = t.to(z).expand(z.shape[:-1])
        return drift + self.field(time.log(), residual) / time[..., None]
