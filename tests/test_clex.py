"""CLEX: closed-form limit, the official vectors of clex.md §3.5, accuracy of the default solve, gradients, bad input."""

import copy
import math
import pickle

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from clexlab import frequencies, ode, scaling

GEOMETRY = dict(head_dim=128, base=1e4, window=4096)
CLOSED = tuple(method for method in scaling.SCALINGS if method is not scaling.CLEX)

# θ(t) of the official layer with the weights of `vector_weights`, by an adaptive order-8 solver (clex.md §3.5 B).
OFFICIAL_VECTORS = {
    ("silu", 2): [9.9824533721e-01, 6.8785218411e-02, 4.7746128281e-03, 3.3352002975e-04],
    ("silu", 4): [9.9388925140e-01, 5.0897357531e-02, 2.6712986499e-03, 1.4316347586e-04],
    ("tanh", 2): [9.9952724862e-01, 6.8726050253e-02, 4.7640570398e-03, 3.3300976632e-04],
    ("tanh", 4): [9.9832336273e-01, 5.0817069143e-02, 2.6549009195e-03, 1.4243875930e-04],
}
# Field values at z = z(1), the same source.
OFFICIAL_FIELD = {
    ("silu", 1.0): [-1.47750103e-03, -6.73716706e-01, -1.33947414e00, -1.99958574e00],
    ("tanh", 1.0): [-3.89634038e-04, -6.74851859e-01, -1.34178866e00, -2.00095167e00],
    ("silu", 2.5): [-1.77657e-03, -1.7470765e-01, -3.4024588e-01, -4.9942875e-01],
}
# θ(t) with zero weights, closed form (clex.md §3.5 A).
UNTRAINED = {
    (8, 2): [1.0, 6.933612743506e-02, 4.807498567691e-03, 3.333333333333e-04],
    (8, 4): [1.0, 5.227579585747e-02, 2.732758832532e-03, 1.428571428571e-04],
    (16, 4): [1.0, 2.394813560060e-01, 5.735131987446e-02, 1.373457185227e-02, 3.289173891343e-03, 7.876958236383e-04,
              1.886384639652e-04, 4.517539514526e-05],
}  # fmt: skip


def vector_weights() -> dict[str, torch.Tensor]:
    rows, columns = torch.arange(4.0).double()[:, None], torch.arange(8.0).double()
    up = 0.05 * torch.sin(1 + 8 * rows + columns)
    down = 0.02 * torch.cos(2 + 4 * torch.arange(8.0).double()[:, None] + torch.arange(4.0).double())
    return {"model.clex_layer.proj_func.ode_up_proj": up, "model.clex_layer.proj_func.ode_down_proj": down}


def official_config(act: str = "silu", **changes: object) -> dict:
    scaling_ = {"type": "clex", "max_factor": 16, "param_factor": 1, "act": act, "time_dt": 0.01}
    return {"rope_theta": 1e4, "max_position_embeddings": 4096, "rope_scaling": scaling_, **changes}


def official_in_float64(act: str) -> scaling.CLEX:
    """The vectors' weights without the rounding to float32 that a released checkpoint has."""
    clex = scaling.CLEX.official(vector_weights(), official_config(act)).double()
    weights = {name.split(".")[-1]: value for name, value in vector_weights().items()}
    clex.field.load_state_dict(weights)
    return clex


def lively(seed: int = 0, **options: object) -> scaling.CLEX:
    """A CLEX whose field does something: it moves ln θ by about a half at t = 16."""
    generator = torch.Generator().manual_seed(seed)
    field = ode.fill_normal(ode.BoundedField(64, generator=generator), 0.1, generator)
    return scaling.CLEX(**GEOMETRY, field=field, **options)


def adaptive(clex: scaling.CLEX) -> scaling.CLEX:
    """The same path solved in float64 to twelve digits."""
    reference = scaling.CLEX(
        **GEOMETRY, prior=clex.prior, field=ode.BoundedField(64), solver=ode.DOPRI8, step=ode.Tolerance(1e-12, 1e-13)
    ).double()
    reference.load_state_dict(clex.state_dict())
    return reference


@pytest.mark.parametrize("head_dim, base", [(8, 1e4), (16, 1e4), (128, 1e6)])
@pytest.mark.parametrize("t", [1.0, 1.7, 2.0, 4.0, 16.0])
def test_untrained_clex_is_ntk_at_2t_minus_1_for_any_base(head_dim, base, t):
    clex = scaling.CLEX(head_dim=head_dim, base=base, window=4096)
    j = torch.arange(head_dim // 2, dtype=torch.float64)
    expected = base ** (-2 * j / head_dim) * (2 * t - 1) ** (-2 * j / (head_dim - 2))
    torch.testing.assert_close(clex.inv_freq(t, torch.float64).detach(), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("head_dim, t", UNTRAINED)
def test_untrained_clex_has_the_stored_values(head_dim, t):
    expected = torch.tensor(UNTRAINED[head_dim, t], dtype=torch.float64)
    clex = scaling.CLEX(head_dim=head_dim, base=1e4, window=4096)
    torch.testing.assert_close(clex.inv_freq(t, torch.float64).detach(), expected, rtol=1e-11, atol=0)


def test_untrained_clex_is_transformers_dynamic_type_with_factor_two():
    clex = scaling.CLEX(**GEOMETRY)
    for t in (2, 5, 16):
        config = LlamaConfig(hidden_size=128, num_attention_heads=1, head_dim=128, max_position_embeddings=4096,
                             rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})  # fmt: skip
        expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, device="cpu", seq_len=t * 4096)
        torch.testing.assert_close(clex.inv_freq(float(t)).detach(), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("method", CLOSED)
def test_a_zero_field_returns_any_prior_exactly(method):
    prior = method.default(**GEOMETRY)
    clex = scaling.CLEX(**GEOMETRY, prior=prior)
    grid = torch.linspace(1, 16, 16)
    assert torch.equal(clex.inv_freq(grid).detach(), prior.inv_freq(grid))
    assert clex.attention_scale(8.0) == prior.attention_scale(8.0)


@pytest.mark.parametrize("act, t", OFFICIAL_VECTORS)
def test_official_mode_reproduces_the_stored_vectors(act, t):
    expected = torch.tensor(OFFICIAL_VECTORS[act, t], dtype=torch.float64)
    exact = official_in_float64(act)
    torch.testing.assert_close(exact.inv_freq(float(t), torch.float64).detach(), expected, rtol=1e-9, atol=0)
    released = scaling.CLEX.official(vector_weights(), official_config(act))
    # The official float32 layer itself is good to 1e-5 (clex.md §3.5).
    torch.testing.assert_close(released.inv_freq(float(t)).detach().double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("act, t", OFFICIAL_VECTORS)
def test_integrating_the_official_way_reproduces_them_too(act, t):
    exact = official_in_float64(act)
    start = frequencies.inv_freq(8, dtype=torch.float64).log()
    solution = ode.solve(ode.Flow(exact.prior, exact.field), start, torch.tensor([1.0, float(t)]), step=ode.FixedStep(0.01))
    expected = torch.tensor(OFFICIAL_VECTORS[act, t], dtype=torch.float64)
    torch.testing.assert_close(solution[-1].exp().detach(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("act, t", OFFICIAL_FIELD)
def test_official_field_has_the_stored_values(act, t):
    rate = official_in_float64(act).rate(t, frequencies.inv_freq(8, dtype=torch.float64).log()).detach()
    # Printed with 6 to 9 digits.
    torch.testing.assert_close(rate, torch.tensor(OFFICIAL_FIELD[act, t], dtype=torch.float64), rtol=2e-6, atol=1e-8)


def test_official_config_is_read_as_the_code_reads_it():
    first_release = official_config()
    del first_release["rope_scaling"]["act"], first_release["rope_theta"]
    clex = scaling.CLEX.official(vector_weights(), first_release)
    assert isinstance(clex.field.act, torch.nn.SiLU) and clex.base == 1e4
    assert (clex.head_dim, clex.window, clex.max_factor) == (8, 4096, 16)
    mixtral = scaling.CLEX.official(vector_weights(), official_config(rope_theta=1e6))
    assert mixtral.base == 1e6
    # Base 10 000 inside the field whatever the model's: the network of a base-10⁶ model reads z(1) + ln ν with ν at 10 000.
    up, down = (weight.double() for weight in vector_weights().values())
    read = frequencies.inv_freq(8, 1e6, torch.float64).log() + frequencies.inv_freq(8, 1e4, torch.float64).log()
    expected = torch.nn.functional.silu(read @ up) @ down
    drift = mixtral.prior.velocity(1.0, torch.float64)
    start = frequencies.inv_freq(8, 1e6).log()
    torch.testing.assert_close(mixtral.rate(1.0, start).double().detach(), drift + expected, rtol=1e-5, atol=1e-6)


def test_max_factor_two_works_where_the_official_code_doubles_the_width():
    clex = scaling.CLEX(**GEOMETRY, max_factor=2)
    assert clex.inv_freq(torch.arange(1.0, 3.0)).shape == (2, 64)


def test_changing_a_weight_changes_the_next_answer():
    clex = lively()
    before = clex.inv_freq(8.0).detach().clone()
    with torch.no_grad():
        clex.field.down.weight.mul_(2)
    assert not torch.equal(clex.inv_freq(8.0).detach(), before)


@pytest.mark.parametrize("prior", [scaling.DynamicNTK, scaling.YaRN, scaling.Linear])
def test_default_steps_are_accurate_to_a_few_parts_in_a_hundred_thousand(prior):
    clex = lively(prior=prior.default(**GEOMETRY))
    grid = torch.linspace(1, 16, 31)
    reference = adaptive(clex).residual(grid)
    assert reference.abs().max() > 0.3
    # Eight steps of RK4 over ln 16: measured 1e-5; 1e-4 is what `benchmarks` promises.
    torch.testing.assert_close(clex.residual(grid).double(), reference, rtol=0, atol=5e-5)


def test_error_of_the_default_solve_falls_with_the_fourth_power_of_the_step():
    reference = adaptive(lively()).residual(16.0).detach()
    errors = []
    for count in (8, 16, 32):
        clex = scaling.CLEX(**GEOMETRY, field=ode.BoundedField(64), step=ode.FixedStep(1 / count)).double()
        clex.load_state_dict(lively().state_dict())
        errors.append(float((clex.residual(16.0).detach() - reference).abs().max()))
    assert 10 < errors[0] / errors[1] < 24 and 10 < errors[1] / errors[2] < 24


def test_our_solve_is_the_full_flow_integrated_in_t():
    clex = adaptive(lively())
    start = frequencies.inv_freq(128, dtype=torch.float64).log()
    grid = torch.tensor([1.0, 2.0, 9.5, 16.0], dtype=torch.float64)
    whole = ode.solve(ode.Flow(clex.prior, clex.field), start, grid, ode.DOPRI8, ode.Tolerance(1e-11, 1e-12))
    torch.testing.assert_close(whole, clex.inv_freq(grid, torch.float64).log(), rtol=0, atol=1e-9)


def test_velocity_of_a_working_field_agrees_with_finite_differences():
    clex, h = adaptive(lively()), 1e-4
    for t in (1.5, 4.0, 12.0):
        with torch.no_grad():
            difference = (clex.ratio(t + h).log() - clex.ratio(t - h).log()) / (2 * h)
        # Central differences: h² = 1e-8 of the third derivative; the solve itself keeps twelve digits.
        torch.testing.assert_close(clex.velocity(t, torch.float64).detach(), difference, rtol=1e-6, atol=1e-7)


def test_the_way_to_a_factor_may_be_interrupted():
    clex = adaptive(lively())
    flow = ode.Flow(clex.prior, clex.field)
    half = clex.inv_freq(4.0, torch.float64).log().detach()
    rest = ode.solve(flow, half, torch.tensor([4.0, 16.0], dtype=torch.float64), ode.DOPRI8, ode.Tolerance(1e-11, 1e-12))
    torch.testing.assert_close(rest[-1], clex.inv_freq(16.0, torch.float64).log(), rtol=0, atol=1e-9)


def test_velocity_is_the_rate_on_the_path():
    clex = adaptive(lively())
    for t in (1.0, 3.3, 16.0):
        z = clex.inv_freq(t, torch.float64).log()
        torch.testing.assert_close(clex.rate(t, z), clex.velocity(t, torch.float64), rtol=1e-9, atol=1e-12)


def test_residual_stays_within_bound_times_log_factor():
    generator = torch.Generator().manual_seed(1)
    field = ode.fill_normal(ode.BoundedField(64, bound=0.5, generator=generator), 5.0, generator)
    clex = scaling.CLEX(**GEOMETRY, field=field)
    grid = torch.linspace(1, 16, 16)
    assert bool((clex.residual(grid).abs() <= 0.5 * grid.log()[:, None] + 1e-6).all())


def test_gradients_reach_every_weight_and_pass_gradcheck():
    generator = torch.Generator().manual_seed(2)
    field = ode.fill_normal(ode.BoundedField(2, hidden=3, generator=generator), 0.3, generator)
    clex = scaling.CLEX(head_dim=4, base=1e4, window=64, field=field).double()
    names, weights = zip(*clex.named_parameters(), strict=True)

    def path(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(clex, dict(zip(names, values, strict=True)), (torch.tensor([1.5, 8.0]), torch.float64))

    assert torch.autograd.gradcheck(path, tuple(weight.detach().clone().requires_grad_() for weight in weights))
    clex.inv_freq(8.0).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in weights)


def test_official_gradient_matches_central_differences():
    clex = official_in_float64("silu")
    clex.inv_freq(4.0, torch.float64)[2].backward()
    weight, h = clex.field.ode_down_proj, 1e-6
    values = []
    with torch.no_grad():
        for change in (h, -2 * h):
            weight[3, 2] += change
            values.append(float(clex.inv_freq(4.0, torch.float64)[2]))
    assert math.isclose(float(weight.grad[3, 2]), (values[0] - values[1]) / (2 * h), rel_tol=1e-6)


def test_the_first_step_of_training_moves_only_the_last_layer():
    clex = scaling.CLEX(**GEOMETRY)
    clex.inv_freq(4.0).sum().backward()
    assert clex.field.down.weight.grad.any() and not clex.field.up.weight.grad.any()


def test_at_factor_one_every_parameter_is_still_in_the_graph():
    clex = lively()
    clex.inv_freq(1.0).sum().backward()
    # Zero, not None: distributed training then needs no search for unused parameters.
    assert all(weight.grad is not None and not weight.grad.any() for weight in clex.parameters())


def test_a_runaway_field_is_refused_with_the_way_out():
    clex = scaling.CLEX.official(vector_weights(), official_config())
    with torch.no_grad():
        clex.field.ode_up_proj.fill_(-10.0)
        clex.field.ode_down_proj.fill_(-10.0)
    with pytest.raises(ValueError, match="ran away"):
        clex.inv_freq(16.0)
    # A residual that is a number can still be none as a frequency.
    for push in (60.0, -60.0):
        field = ode.BoundedField(64, bound=100.0)
        with torch.no_grad():
            field.down.bias.fill_(push)
        with pytest.raises(ValueError, match="finite and positive"):
            scaling.CLEX(**GEOMETRY, field=field).inv_freq(16.0)


class Still(torch.nn.Module):
    """A field of one's own: constant in ln t, without weights."""

    def __init__(self, pairs: int, speed: float = 0.25) -> None:
        super().__init__()
        self.pairs, self.speed = pairs, speed

    def forward(self, log_factor: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return torch.full((*log_factor.shape, self.pairs), self.speed)


def test_a_field_and_a_prior_of_ones_own_are_taken():
    clex = scaling.CLEX(**GEOMETRY, field=Still(64), prior=lively())
    expected = lively().inv_freq(8.0) * 8**0.25
    # The same float32 numbers, multiplied in another order.
    torch.testing.assert_close(clex.inv_freq(8.0), expected, rtol=2e-6, atol=0)


def test_copies_and_stored_weights_give_the_same_path(tmp_path):
    clex = lively(prior=scaling.YaRN(**GEOMETRY))
    expected = clex.inv_freq(7.5)
    assert torch.equal(copy.deepcopy(clex).inv_freq(7.5), expected)
    assert torch.equal(pickle.loads(pickle.dumps(clex)).inv_freq(7.5), expected)
    torch.save(clex.state_dict(), tmp_path / "field.pt")
    other = lively(seed=1, prior=scaling.YaRN(**GEOMETRY))
    assert not torch.equal(other.inv_freq(7.5), expected)
    other.load_state_dict(torch.load(tmp_path / "field.pt"))
    assert torch.equal(other.inv_freq(7.5), expected)
    assert "max_factor=16" in repr(clex) and "YaRN" in repr(clex)


def test_calling_it_is_asking_for_frequencies():
    clex = lively()
    assert torch.equal(clex(4.0), clex.inv_freq(4.0))


@pytest.mark.parametrize("kind", ["dict", "transformers", "object of transformers"])
def test_official_config_is_found_where_transformers_5_keeps_it(kind):
    old = official_config(rope_theta=1e6)
    new = LlamaConfig(hidden_size=8, num_attention_heads=1, **copy.deepcopy(old))
    config = {"dict": old, "transformers": new.to_dict(), "object of transformers": new}[kind]
    clex = scaling.CLEX.official(vector_weights(), config)
    assert (clex.base, clex.window, clex.max_factor) == (1e6, 4096, 16)


def test_bad_parts_are_refused(unchecked):
    other = dict(GEOMETRY, window=2048)
    for options, words in [
        (dict(prior=scaling.Linear(**other)), "same geometry"),
        (dict(prior=torch.nn.Linear(64, 64)), "a path of clexlab.scaling"),
        (dict(prior=scaling.LongRoPE(**GEOMETRY, factors=(2.0,) * 64, max_factor=8.0)), "lower max_factor"),
        (dict(prior=scaling.YaRN(**GEOMETRY), field=ode.PaceField(scaling.NTK(**GEOMETRY))), "the field quickens NTK"),
        (dict(field=ode.BoundedField(32)), "fails for 64 pairs"),
        (dict(field=torch.nn.Linear(64, 64)), "a field maps ln t"),
        (dict(field=Still(32)), "does not return"),
        (dict(field=ode.OfficialField(128, 1e4), prior=scaling.NTK(**GEOMETRY)), "contains its drift"),
        (dict(field=ode.OfficialField(64, 1e4)), "use CLEX's own"),
        (dict(max_factor=0.5), "at least 1"),
        (dict(max_factor=float("nan")), "max_factor"),
        (dict(step=ode.Tolerance()), "takes a FixedStep"),
    ]:
        with pytest.raises(ValueError, match=words):
            scaling.CLEX(**GEOMETRY, **options)
    with pytest.raises(ValueError, match="larger max_factor"):
        scaling.CLEX(**GEOMETRY).inv_freq(16.5)
    with pytest.raises(ValueError, match="float32 or float64"):
        scaling.CLEX(**GEOMETRY).bfloat16().inv_freq(2.0)


def test_broken_official_checkpoints_are_refused():
    weights, config = vector_weights(), official_config()
    with pytest.raises(ValueError, match="ode_down_proj"):
        scaling.CLEX.official({name: value for name, value in weights.items() if "up" in name}, config)
    with pytest.raises(ValueError, match="max_factor"):
        scaling.CLEX.official(weights, {"max_position_embeddings": 4096, "rope_scaling": {"param_factor": 1}})
    with pytest.raises(ValueError, match="config lacks max_factor, param_factor"):
        scaling.CLEX.official(weights, {"max_position_embeddings": 4096, "rope_scaling": None})
    with pytest.raises(ValueError, match="config.json as a dict"):
        scaling.CLEX.official(weights, "config.json")
    for key, value in [("param_factor", 1.5), ("param_factor", "1"), ("max_factor", "many"), ("max_factor", 0)]:
        broken = official_config()
        broken["rope_scaling"][key] = value
        with pytest.raises(ValueError, match=key):
            scaling.CLEX.official(weights, broken)
    for broken_weight in (torch.zeros(8), torch.full((4, 8), float("nan"))):
        with pytest.raises(ValueError, match="finite matrix"):
            scaling.CLEX.official({**weights, "model.clex_layer.proj_func.ode_up_proj": broken_weight}, config)
    with pytest.raises(ValueError, match="'silu' and 'tanh'"):
        scaling.CLEX.official(weights, official_config("relu"))
    wide = official_config()
    wide["rope_scaling"]["param_factor"] = 2
    with pytest.raises(ValueError, match="param_factor 2"):
        scaling.CLEX.official(weights, wide)
