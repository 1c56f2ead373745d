"""CLEX: frequencies as a continuous, learned function of the factor (arXiv 2310.16450).

    θ(t) = θ_prior(t) · exp r(t),   dr/du = field(u, r),   u = ln t,   r(1) = 0
    A(t) = A_prior(t) · exp g(u),   g = 0 unless a temperature is learned

The same flow as dz/dt = prior drift + learned field for z = ln θ. Default prior: the official one, NTK at 2t - 1. With the
field at zero θ(t) *is* the prior; a result of CLEX means little without that control beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clexlab import frequencies, ode
from clexlab.scaling.base import Factor, Path, check_positive
from clexlab.scaling.dynamic_ntk import DynamicNTK

# Eight steps over the whole way in ln t; the error this makes is a test and a figure of lesson 05.
EIGHT_STEPS = ode.FixedStep(1 / 8)
# The official field is unbounded and was trained with steps of 0.01 in t: its default is finer.
OFFICIAL_STEPS = ode.FixedStep(1 / 96)
_ACTS = {"silu": nn.SiLU, "tanh": nn.Tanh}
_TOP = ("rope_theta", "max_position_embeddings")
_TEMPERATURE = "a temperature maps ln t (factors,) to ln A - ln A_prior (factors,), 0 at t = 1"
_FIELD = "a field maps ln t (factors,) and the residual (factors, pairs) to d residual/d ln t (factors, pairs)"


class CLEX(Path, nn.Module):
    """A trainable path: closed-form prior plus a learned field, solved for a number or for a whole grid of factors at once.

    `prior` any path, `field` an ode.BoundedField (default), an ode.OfficialField or any module (ln t, residual) → d residual/d ln t
    with values (factors,), (factors, pairs) → (factors, pairs); `solver` and `step` of the solve over the share of the way from
    0 to ln t. The temperature A(t) is the prior's, or learned beside it: `temperature` a scaling.Temperature or any module ln t →
    ln A - ln A_prior that answers 0 at t = 1. Every call integrates anew: no cache can go stale. A default field draws its
    first layer from torch's global generator; pass a field of your own for one from yours. `state_dict` holds the field (and a
    trainable prior and temperature), not the options: build the same CLEX before loading it.
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
        prior: Path | None = None,
        field: nn.Module | None = None,
        solver: ode.Solver = ode.RK4,
        step: ode.Step = EIGHT_STEPS,
        temperature: nn.Module | None = None,
    ) -> None:
        nn.Module.__init__(self)
        frequencies.check_geometry(head_dim, base, window)
        check_positive(max_factor=max_factor)
        if max_factor < 1:
            raise ValueError(f"max_factor is {max_factor}; it must be at least 1")
        ode.check_solver(solver, step)
        self.head_dim, self.base, self.window, self.max_factor = int(head_dim), float(base), int(window), float(max_factor)
        self.prior = DynamicNTK(head_dim=head_dim, base=base, window=window, rate=2.0) if prior is None else prior
        self.field = ode.BoundedField(head_dim // 2) if field is None else field
        self.solver, self.step = solver, step
        self.temperature = temperature
        self._check_parts()

    def _check_parts(self) -> None:
        prior, field = self.prior, self.field
        if not isinstance(prior, Path):
            raise ValueError(f"prior is {prior!r}; pass a path of clexlab.scaling")
        if (prior.head_dim, prior.base, prior.window) != (self.head_dim, self.base, self.window):
            raise ValueError(
                f"prior has head_dim, base, window = {prior.head_dim}, {prior.base}, {prior.window}, CLEX has"
                f" {self.head_dim}, {self.base}, {self.window}; build both on the same geometry"
            )
        if prior.start:
            raise ValueError(f"the prior leaves {prior.start} start tokens unscaled, which a learned path cannot; use a prior with start=0")
        if prior.limit < self.max_factor:
            raise ValueError(f"max_factor is {self.max_factor:g} but the prior ends at {prior.limit:g}; lower max_factor")
        if isinstance(field, ode.OfficialField):
            if not isinstance(prior, DynamicNTK) or prior.rate != 2:
                raise ValueError("the official field contains its drift, NTK at 2t - 1; use prior=None or DynamicNTK(rate=2)")
            if (field.head_dim, field.base) != (self.head_dim, self.base):
                raise ValueError(f"field is built for head_dim {field.head_dim}, base {field.base}; use CLEX's own")
        if isinstance(field, ode.PaceField) and field.prior != prior:
            raise ValueError(f"the field quickens {field.prior!r} and the prior is {prior!r}; build ode.PaceField(prior) for this one")
        self._check_field()
        if self.temperature is not None:
            self._check_temperature()

    def _check_field(self) -> None:
        """Ask the field once, so that one of the wrong shape is refused here and not in the middle of a training run."""
        weight = self._weight()
        try:
            with torch.no_grad():
                answer = self.field(weight.new_zeros(2), weight.new_zeros(2, self.pairs))
        except Exception as error:
            raise ValueError(f"field {type(self.field).__name__} fails for {self.pairs} pairs: {error}; {_FIELD}") from error
        if not isinstance(answer, Tensor) or answer.shape != (2, self.pairs):
            raise ValueError(f"field {type(self.field).__name__} does not return (factors, {self.pairs}); {_FIELD}")

    @torch.no_grad()
    def _check_temperature(self) -> None:
        """Ask the temperature once too, at t = 1 and at the limit."""
        kind = type(self.temperature).__name__
        if not isinstance(self.temperature, nn.Module):
            raise ValueError(f"temperature is {self.temperature!r}; pass None for the prior's, or a module: scaling.Temperature()")
        try:
            answer = self._log_temperature([1.0, self.max_factor])
        except Exception as error:
            raise ValueError(f"temperature {kind} fails: {error}; {_TEMPERATURE}") from error
        if not isinstance(answer, Tensor) or answer.shape != (2,) or answer[0] != 0 or not bool(torch.isfinite(answer).all()):
            raise ValueError(f"temperature {kind} returns {answer!r} for t = 1 and {self.max_factor:g}; {_TEMPERATURE}")

    def _log_temperature(self, factors: Sequence[float]) -> Float[Tensor, "factors"]:
        """g(ln t), what the learned temperature adds to ln A."""
        weight = next(self.temperature.parameters(), self._weight())
        return self.temperature(torch.tensor(factors, dtype=torch.float64).log().to(weight.dtype).to(weight.device))

    def _weight(self) -> Tensor:
        """A weight of the field: the solve happens in its precision, where it lives."""
        return next(self.field.parameters(), torch.zeros(()))

    @property
    def limit(self) -> float:
        return self.max_factor

    def residual(self, factor: Factor) -> Float[Tensor, "*factors pairs"]:
        """r(t) = ln θ(t) - ln θ_prior(t), what the field adds; differentiable in the weights, in their precision.

        All factors are one solve: each row runs over the share s ∈ [0, 1] of its own way, dr/ds = ln t · field(s ln t, r).
        """
        weight = self._weight()
        frequencies.check_dtype(weight.dtype)
        t = self.check_factor(factor)
        # One factor is a grid of one: rows take torch's fast matrix product, a lone vector does not.
        end = t.log().reshape(-1).to(weight.dtype).to(weight.device)
        start = torch.zeros(len(end), self.pairs, dtype=weight.dtype, device=weight.device)

        def along(share: Tensor, residual: Tensor) -> Tensor:
            return end[..., None] * self.field(share * end, residual)

        solution = ode.solve(along, start, torch.tensor([0.0, 1.0]), solver=self.solver, step=self.step)[-1]
        return solution.reshape(*t.shape, self.pairs)

    def inv_freq(self, factor: Factor, dtype: torch.dtype = torch.float32) -> Float[Tensor, "*factors pairs"]:
        """θ(t) in `dtype` on the field's device, differentiable in its weights; t = 1 is exact for any weights.

        Raises ValueError as every path does, and when the field leads out of the finite, positive numbers.
        """
        theta = self.prior.inv_freq(factor, dtype).to(self.device_for(factor)) * self.residual(factor).exp().to(dtype)
        if not bool((torch.isfinite(theta) & (theta > 0)).all()):
            raise ValueError(f"θ(t) is not finite and positive; {ode.RAN_AWAY}")
        return theta

    forward = inv_freq

    def device_for(self, factor: Factor) -> torch.device:
        """Where the field's weights live, whatever the factor is."""
        return self._weight().device

    def extra_repr(self) -> str:
        return (
            f"head_dim={self.head_dim}, base={self.base:g}, window={self.window}, max_factor={self.max_factor:g},"
            f" prior={self.prior!r}, solver={self.solver.name}, step={self.step}"
        )

    def _ratio(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        return self.prior._ratio(t) * self.residual(t[..., 0]).to("cpu", torch.float64).exp()

    def _velocity(self, t: Float[Tensor, "*factors 1"]) -> Float[Tensor, "*factors pairs"]:
        residual = self.residual(t[..., 0])
        learned = self.field(t[..., 0].log().to(residual), residual).to("cpu", torch.float64)
        return self.prior._velocity(t) + learned / t

    def rate(self, factor: Factor, z: Float[Tensor, "*batch pairs"]) -> Float[Tensor, "*batch pairs"]:
        """dz/dt at any factor and any state z = ln θ, not only on the path itself: the arrows of the phase picture.

        One factor for all states, or one per row of z; z in the precision of the field.
        """
        t, weight = self.check_factor(factor), self._weight()
        if z.shape[-1] != self.pairs or (t.ndim and z.shape[:-1] != t.shape):
            raise ValueError(f"z is {tuple(z.shape)} for factor {tuple(t.shape)}; give (…, {self.pairs}), one factor or one per row")
        return ode.Flow(self.prior, self.field)(t, z.to(weight.device, weight.dtype))

    def attention_scales(self, factors: Sequence[float]) -> tuple[float, ...] | Float[Tensor, "factors"]:
        """A(t), differentiable where it is learned. Raises ValueError when the temperature leads out of the finite, positive numbers."""
        scales = self.prior.attention_scales(factors)
        if self.temperature is None:
            return scales
        learned = self._learned_temperature([self.check_single(factor) for factor in factors])
        return torch.as_tensor(scales, dtype=learned.dtype, device=learned.device) * learned

    def _attention_scale(self, t: float) -> float:
        learned = 1.0 if self.temperature is None else self._learned_temperature([t]).item()
        return self.prior.attention_scale(t) * learned

    def _learned_temperature(self, factors: Sequence[float]) -> Float[Tensor, "factors"]:
        """A(t)/A_prior(t)."""
        learned = self._log_temperature(factors).exp()
        if not bool((torch.isfinite(learned) & (learned > 0)).all()):
            raise ValueError("A(t) is not finite and positive; lower the temperature's learning rate, or use scaling.Temperature")
        return learned

    @classmethod
    def official(cls, state_dict: Mapping[str, Tensor], config: object) -> "CLEX":
        """CLEX with released weights: `….clex_layer.proj_func.ode_up_proj` and `ode_down_proj` of a state dict.

        `config` is the checkpoint's config.json as a dict, or a transformers config made from it: `rope_theta` (10 000 if absent, as
        in the code), `max_position_embeddings` (the base window L) and `rope_scaling` with `max_factor`, `param_factor`, `act`
        (absent in the first release, which had SiLU alone); transformers 5 keeps the last and rope_theta in `rope_parameters`.
        head_dim is read off the weights. Raises ValueError when a weight or key is missing, or sizes and kinds disagree.
        """
        up, down = (_find(state_dict, f"proj_func.ode_{part}_proj") for part in ("up", "down"))
        options = _official_options(config)
        head_dim, width = 2 * up.shape[0], options["param_factor"]
        if up.shape[1] != width * head_dim or down.shape != (up.shape[1], up.shape[0]):
            raise ValueError(
                f"weights are {tuple(up.shape)} and {tuple(down.shape)}; param_factor {width} and {up.shape[0]} pairs need"
                f" ({up.shape[0]}, {width * head_dim}) and ({width * head_dim}, {up.shape[0]})"
            )
        base, act = float(options["rope_theta"]), _ACTS[options["act"]]()
        field = ode.OfficialField(head_dim, base, width, act)
        field.load_state_dict({"ode_up_proj": up, "ode_down_proj": down})
        return cls(
            head_dim=head_dim,
            base=base,
            window=options["max_position_embeddings"],
            max_factor=options["max_factor"],
            field=field,
            step=OFFICIAL_STEPS,
        )


def _official_options(config: object) -> dict[str, Any]:
    """The five values the official layer is built from, wherever the config keeps them; ValueError names the one that is wrong."""
    to_dict = getattr(config, "to_dict", None)
    top = to_dict() if callable(to_dict) else config
    if not isinstance(top, Mapping):
        raise ValueError(f"config is {type(config).__name__}; pass the checkpoint's config.json as a dict, or a transformers config")
    nested = {**(top.get("rope_parameters") or {}), **(top.get("rope_scaling") or {})}
    found = {"rope_theta": 10_000.0, "act": "silu", **nested, **{key: top[key] for key in _TOP if top.get(key) is not None}}
    missing = [key for key in ("max_position_embeddings", "max_factor", "param_factor") if found.get(key) is None]
    if missing:
        raise ValueError(f"config lacks {', '.join(missing)}; pass the config.json of an official CLEX checkpoint")
    for key in ("max_position_embeddings", "param_factor"):
        if not frequencies.is_whole(found[key]) or found[key] < 1:
            raise ValueError(f"{key} is {found[key]!r}; the official config has a whole number of at least 1 there")
    check_positive(max_factor=found["max_factor"], rope_theta=found["rope_theta"])
    if found["act"] not in _ACTS:
        raise ValueError(f"rope_scaling['act'] is {found['act']!r}; the official code knows 'silu' and 'tanh'")
    return found


def _find(state_dict: Mapping[str, Tensor], ending: str) -> Tensor:
    found = [name for name in state_dict if name.endswith(ending)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} weights end in {ending!r}; an official CLEX state dict has exactly one")
    weight = state_dict[found[0]].float()
    if weight.ndim != 2 or not bool(torch.isfinite(weight).all()):
        raise ValueError(f"{found[0]} has shape {tuple(weight.shape)} or holds values that are not finite; it must be a finite matrix")
    return weight
