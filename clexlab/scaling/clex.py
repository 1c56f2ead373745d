"""CLEX: frequencies as a continuous, learned function of the factor (arXiv 2310.16450).

    θ(t) = θ_prior(t) · exp r(t),   dr/du = field(u, r),   u = ln t,   r(1) = 0

The same flow as dz/dt = prior drift + learned field for z = ln θ. Default prior: the official one, NTK at 2t - 1. With the
field at zero θ(t) *is* the prior; a result of CLEX means little without that control beside it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clexlab import frequencies, ode
from clexlab.scaling.base import Factor, Path, Scaling, check_positive
from clexlab.scaling.dynamic_ntk import DynamicNTK

# Eight steps over the whole way in ln t; the error this makes is a test and a figure of lesson 05.
EIGHT_STEPS = ode.FixedStep(1 / 8)
# The official field is unbounded and was trained with steps of 0.01 in t: its default is finer.
OFFICIAL_STEPS = ode.FixedStep(1 / 96)


class CLEX(Path, nn.Module):
    """A trainable path: closed-form prior plus a learned field, solved for a number or for a whole grid of factors at once.

    `prior` any closed form, `field` an ode.BoundedField (default) or ode.OfficialField, `solver` and `step` of the solve over
    the share of the way from 0 to ln t. The temperature is the prior's. Every call integrates anew: no cache can go stale.
    Official meaning: `CLEX.official`. Differs from the official default: bounded field, real-valued t, steps in ln t.
    """

    name = "clex"
    title = "CLEX"
    paper = "https://arxiv.org/abs/2310.16450"

    def __init__(
        self,
        *,
        head_dim: int,
        base: float,
        window: int,
        max_factor: float = 16.0,
        prior: Scaling | None = None,
        field: ode.LearnedField | None = None,
        solver: ode.Solver = ode.RK4,
        step: ode.Step = EIGHT_STEPS,
    ) -> None:
        nn.Module.__init__(self)
        frequencies.check_geometry(head_dim, base, window)
        check_positive(max_factor=max_factor)
        if max_factor < 1:
            raise ValueError(f"max_factor is {max_factor}; it must be at least 1")
        ode.check_solver(solver, step)
        self.head_dim, self.base, self.window, self.max_factor = head_dim, base, window, max_factor
        self.prior = DynamicNTK(head_dim=head_dim, base=base, window=window, rate=2.0) if prior is None else prior
        self.field = ode.BoundedField(head_dim // 2) if field is None else field
        self.solver, self.step = solver, step
        self._check_parts()

    def _check_parts(self) -> None:
        prior, field = self.prior, self.field
        if not isinstance(prior, Scaling):
            raise ValueError(f"prior is {prior!r}; pass a closed-form path of clexlab.scaling")
        if (prior.head_dim, prior.base, prior.window) != (self.head_dim, self.base, self.window):
            raise ValueError(
                f"prior has head_dim, base, window = {prior.head_dim}, {prior.base}, {prior.window}, CLEX has"
                f" {self.head_dim}, {self.base}, {self.window}; build both on the same geometry"
            )
        if prior.limit < self.max_factor:
            raise ValueError(f"max_factor is {self.max_factor:g} but the prior ends at {prior.limit:g}; lower max_factor")
        if isinstance(field, ode.OfficialField):
            if not isinstance(prior, DynamicNTK) or prior.rate != 2:
                raise ValueError("the official field contains its drift, NTK at 2t - 1; use prior=None or DynamicNTK(rate=2)")
            if (field.head_dim, field.base) != (self.head_dim, self.base):
                raise ValueError(f"field is built for head_dim {field.head_dim}, base {field.base}; use CLEX's own")
        elif not isinstance(field, ode.BoundedField):
            raise ValueError(f"field is {type(field).__name__}; pass ode.BoundedField or ode.OfficialField")
        elif field.down.out_features != self.pairs:
            raise ValueError(f"field is built for {field.down.out_features} pairs, head_dim {self.head_dim} has {self.pairs}")

    @property
    def limit(self) -> float:
        return self.max_factor

    def residual(self, factor: Factor) -> Float[Tensor, "*factors pairs"]:
        """r(t) = ln θ(t) - ln θ_prior(t), what the field adds; differentiable in the weights, in their precision.

        All factors are one solve: each row runs over the share s ∈ [0, 1] of its own way, dr/ds = ln t · field(s ln t, r).
        """
        weight = next(self.field.parameters())
        frequencies.check_dtype(weight.dtype)
        end = self.check_factor(factor).log().to(weight.dtype).to(weight.device)
        start = torch.zeros(*end.shape, self.pairs, dtype=weight.dtype, device=weight.device)

        def along(share: Tensor, residual: Tensor) -> Tensor:
            return end[..., None] * self.field(share * end, residual)

        solution = ode.solve(along, start, torch.tensor([0.0, 1.0]), solver=self.solver, step=self.step)[-1]
        if not bool(torch.isfinite(solution).all()):
            raise ValueError("the learned field ran away: θ(t) is not finite; lower its learning rate or use ode.BoundedField")
        return solution

    def inv_freq(self, factor: Factor, dtype: torch.dtype = torch.float32) -> Float[Tensor, "*factors pairs"]:
        residual = self.residual(factor)
        return self.prior.inv_freq(factor, dtype).to(residual.device) * residual.exp().to(dtype)

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self.prior._ratio(t) * self.residual(t[..., 0]).to("cpu", torch.float64).exp()

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        residual = self.residual(t[..., 0])
        learned = self.field(t[..., 0].log().to(residual), residual).to("cpu", torch.float64)
        return self.prior._velocity(t) + learned / t

    def rate(self, factor: Factor, z: Float[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch pairs"]:
        """dz/dt at any factor and any state z = ln θ, not only on the path itself: the arrows of the phase picture."""
        return ode.Flow(self.prior, self.field)(self.check_factor(factor), z)

    def attention_scale(self, factor: float) -> float:
        self.check_factor(factor)
        return self.prior.attention_scale(factor)

    @classmethod
    def official(cls, state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> "CLEX":
        """CLEX with released weights: `….clex_layer.proj_func.ode_up_proj` and `ode_down_proj` of a state dict.

        `config` is the checkpoint's config.json: `rope_theta` (10 000 if absent, as in the code), `max_position_embeddings` (the base
        window L) and `rope_scaling` with `max_factor`, `param_factor`, `act` (absent in the first release, which had SiLU
        alone). head_dim is read off the weights. Raises ValueError when a weight or key is missing or the sizes disagree.
        """
        up, down = (_find(state_dict, f"proj_func.ode_{part}_proj").float() for part in ("up", "down"))
        try:
            scaling, window = config["rope_scaling"], config["max_position_embeddings"]
            max_factor, width = scaling["max_factor"], scaling["param_factor"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"config lacks {error}; pass the config.json of the official checkpoint as a dict") from error
        act = scaling.get("act", "silu")
        if act not in ("silu", "tanh"):
            raise ValueError(f"rope_scaling['act'] is {act!r}; the official code knows 'silu' and 'tanh'")
        head_dim, base = 2 * up.shape[0], float(config.get("rope_theta", 10_000.0))
        if up.shape[1] != width * head_dim or down.shape != (up.shape[1], up.shape[0]):
            raise ValueError(
                f"weights are {tuple(up.shape)} and {tuple(down.shape)}; param_factor {width} and {up.shape[0]} pairs need"
                f" ({up.shape[0]}, {width * head_dim}) and ({width * head_dim}, {up.shape[0]})"
            )
        field = ode.OfficialField(head_dim, base, width, nn.SiLU() if act == "silu" else nn.Tanh())
        field.load_state_dict({"ode_up_proj": up, "ode_down_proj": down})
        return cls(
            head_dim=head_dim, base=base, window=window, max_factor=float(max_factor), field=field, step=OFFICIAL_STEPS
        )


def _find(state_dict: Mapping[str, Tensor], ending: str) -> Tensor:
    found = [name for name in state_dict if name.endswith(ending)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} weights end in {ending!r}; an official CLEX state dict has exactly one")
    return state_dict[found[0]]
