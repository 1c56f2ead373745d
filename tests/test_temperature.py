"""A learned temperature: the prior's at the start, bounded, the same number for users, seam, files and exports, and it learns."""

import math

import hf_models
import pytest
import torch
import transformers
from hf_training import WINDOW, Stretched, batch, build, loss
from torch import nn

import clexlab
from clexlab import hf, ode, scaling
from clexlab.hf import saving
from clexlab.positions import PerRow

GEOMETRY = dict(head_dim=16, base=1e4, window=WINDOW)
NAME = "rotary_emb.scaling.temperature.coefficients"


def warm(prior: scaling.Path | None = None, **options: object) -> scaling.CLEX:
    """A path whose field and temperature do something."""
    field = ode.fill_normal(ode.PairField(8), 0.5, torch.Generator().manual_seed(1))
    temperature = scaling.Temperature(bound=0.3)
    with torch.no_grad():
        temperature.coefficients.copy_(torch.tensor([0.8, -0.2]))
    prior = scaling.YaRN(**GEOMETRY) if prior is None else prior
    return scaling.CLEX(**GEOMETRY, prior=prior, field=field, temperature=temperature, **options)


@pytest.mark.parametrize("method", [scaling.YaRN, scaling.DynamicNTK, scaling.LongRoPE])
def test_it_starts_as_the_priors_bit_for_bit(method):
    prior = method.default(**GEOMETRY)
    path = scaling.CLEX(**GEOMETRY, prior=prior, temperature=scaling.Temperature())
    factors = [1.0, 1.5, 4.0, 16.0]
    assert [path.attention_scale(t) for t in factors] == [prior.attention_scale(t) for t in factors]
    assert path.attention_scales(factors).tolist() == torch.tensor([prior.attention_scale(t) for t in factors]).tolist()


def test_it_is_the_formula_written_out_and_one_at_factor_one():
    path, level, slope = warm(), 0.8, -0.2
    for t in (1.0, 1.3, 4.0, 16.0):
        u = math.log(t)
        wanted = (0.1 * u + 1) * math.exp(0.3 * u * math.tanh(level + slope * u))
        assert path.attention_scale(t) == pytest.approx(wanted, rel=1e-6)
    assert path.attention_scale(1.0) == 1.0 and path.attention_scales([1.0]).tolist() == [1.0]


def test_it_never_leaves_its_bound():
    temperature = scaling.Temperature(bound=0.2)
    u = torch.linspace(0, math.log(64), 50)
    for weights in ([100.0, 0.0], [-100.0, 0.0], [-3.0, 50.0]):
        with torch.no_grad():
            temperature.coefficients.copy_(torch.tensor(weights))
            assert bool((temperature(u).abs() <= 0.2 * u + 1e-6).all())


def test_a_closed_form_and_a_clex_without_it_answer_numbers():
    yarn = scaling.YaRN(**GEOMETRY)
    assert yarn.attention_scales([1.0, 4.0]) == scaling.CLEX(**GEOMETRY, prior=yarn).attention_scales([1.0, 4.0])
    assert yarn.attention_scales([1.0, 4.0]) == (1.0, yarn.attention_scale(4.0))


def test_gradients_reach_it_through_two_paths_and_pass_gradcheck():
    path = warm(prior=warm()).double()
    weights = [part.temperature.coefficients for part in (path, path.prior)]

    def scales(*values: torch.Tensor) -> torch.Tensor:
        given = {"temperature.coefficients": values[0], "prior.temperature.coefficients": values[1]}
        return torch.func.functional_call(Asked(path), {f"path.{name}": value for name, value in given.items()}, ([1.5, 8.0],))

    assert torch.autograd.gradcheck(scales, tuple(weight.detach().clone().requires_grad_() for weight in weights))


class Asked(nn.Module):
    """A module whose call is the temperature."""

    def __init__(self, path: scaling.CLEX) -> None:
        super().__init__()
        self.path = path

    def forward(self, factors: list[float]) -> torch.Tensor:
        return self.path.attention_scales(factors)


def learner(sampler: object) -> nn.Module:
    return clexlab.extend(build(), warm(max_factor=4.0), positions=sampler).train()


@pytest.mark.parametrize("rows", [False, True], ids=["shared", "per_row"])
def test_its_gradient_is_the_slope_of_the_loss(rows):
    sampler = PerRow(Stretched((2.0, 3.5))) if rows else Stretched((3.5,))
    model, tokens = learner(sampler), batch(rows=4)
    loss(model, tokens).backward()
    weight = dict(model.named_parameters())[f"model.{NAME}"]
    for place in range(2):
        values = []
        for moved in (0.05, -0.05):
            with torch.no_grad():
                weight[place] += moved
                values.append(loss(model, tokens).item())
                weight[place] -= moved
        slope = (values[0] - values[1]) / 0.1
        assert abs(slope) > 1e-3
        # The loss is known to 1e-6, the third derivative is small: a percent.
        assert weight.grad[place].item() == pytest.approx(slope, rel=0.02, abs=1e-4)


def test_at_factor_1_it_is_in_the_graph_with_zero_gradient():
    model = learner(Stretched((1.0,)))
    loss(model, batch()).backward()
    gradient = dict(model.named_parameters())[f"model.{NAME}"].grad
    assert gradient is not None and not gradient.any()


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt_neox"])
def test_the_model_computes_with_the_number_that_users_are_told(name):
    tiny = hf_models.by_name(name)
    model, stock = tiny.build(1, WINDOW), tiny.build(1, WINDOW)
    found = hf.geometry(model)
    temperature = scaling.Temperature(bound=0.3)
    temperature.coefficients.fill_(0.7)
    path = scaling.CLEX(head_dim=found.head_dim, base=found.base, window=WINDOW, temperature=temperature)
    clexlab.extend(model, path)
    prefix = "full_attention_" if name == "gemma3" else ""
    setattr(stock.get_decoder().rotary_emb, f"{prefix}inv_freq", path.inv_freq(3.0))
    setattr(stock.get_decoder().rotary_emb, f"{prefix}attention_scaling", path.attention_scale(3.0))
    (text,) = hf_models.tokens(40)
    torch.testing.assert_close(model(text).logits, stock(text).logits, rtol=0, atol=2e-5)
    # Rows of two factors: each as it is alone.
    short = hf_models.tokens(10)[0]
    rows = model(**hf_models.pad([text, short], "right")).logits
    torch.testing.assert_close(rows[1:, :10], model(short).logits, rtol=0, atol=2e-5)


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same_bit_for_bit_in_bf16_too(tmp_path):
    (text,) = hf_models.tokens(40)
    for dtype in (torch.float32, torch.bfloat16):
        model = clexlab.extend(build(1), warm()).to(dtype)
        folder = tmp_path / str(dtype)
        model.save_pretrained(folder)
        again = saving.load(folder)
        assert torch.equal(again(text).logits, model(text).logits)
        coefficients = again.state_dict()[f"model.{NAME}"]
        assert coefficients.dtype == torch.float32 and torch.equal(coefficients, torch.tensor([0.8, -0.2]))


@torch.no_grad()
def test_an_export_has_it_in_its_attention_factor(tmp_path):
    model = clexlab.extend(build(1), warm(), factor=4.0)
    clexlab.export(model, 4.0, tmp_path / "out")
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert stock.config.rope_parameters["attention_factor"] == warm().attention_scale(4.0)
    (text,) = hf_models.tokens(4 * WINDOW)
    assert (stock(text).logits - model(text).logits).abs().max() < 1e-4


@torch.no_grad()
def test_rerotated_keys_have_the_new_temperature():
    """One layer: the cached run across two factors is the uncached one."""
    model = clexlab.extend(build(1), warm(), cache="rerotate").eval()
    (text,) = hf_models.tokens(WINDOW + 4)
    cache = model(text[:, :WINDOW], use_cache=True).past_key_values
    last = model(text[:, WINDOW:], past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(last, model(text, use_cache=False).logits[:, WINDOW:], rtol=0, atol=5e-5)


def test_turning_cached_keys_leaves_no_graph_on_them():
    model = clexlab.extend(build(1), warm(), cache="rerotate").eval()
    (text,) = hf_models.tokens(WINDOW + 4)
    with torch.no_grad():
        cache = model(text[:, :WINDOW], use_cache=True).past_key_values
    cached = cache.layers[0].keys
    before = cached.clone()
    model(text[:, WINDOW:], past_key_values=cache, use_cache=True)
    assert not cached.requires_grad and not torch.equal(cached, before)


class Own(nn.Module):
    """ln A - ln A_prior = answer(u), a temperature of one's own without weights."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, log_factor: torch.Tensor) -> torch.Tensor:
        return self.answer(log_factor)


def test_a_temperature_of_ones_own_is_taken():
    path = scaling.CLEX(**GEOMETRY, temperature=Own(lambda u: 0.1 * u))
    assert path.attention_scale(4.0) == pytest.approx(4**0.1, rel=1e-6)


def test_bad_temperatures_are_refused(unchecked):
    for temperature, words in [
        (0.1, "temperature is 0.1; pass None"),
        (scaling.Temperature, "temperature is <class"),
        (nn.Linear(3, 3), "temperature Linear fails"),
        (Own(lambda u: u + 1), "0 at t = 1"),
        (Own(lambda u: u[:, None]), "a temperature maps ln t"),
        (Own(lambda u: u / 0), "a temperature maps ln t"),
        (Own(lambda u: None), "a temperature maps ln t"),
    ]:
        with pytest.raises(ValueError, match=words):
            scaling.CLEX(**GEOMETRY, temperature=temperature)
    with pytest.raises(ValueError, match="outside 1 … 16"):
        warm().attention_scales([1.0, 17.0])
    with pytest.raises(ValueError, match="not finite and positive"):
        scaling.CLEX(**GEOMETRY, temperature=Own(lambda u: 100 * u)).attention_scale(8.0)
    for bound in (0, -1.0, math.inf, "1"):
        with pytest.raises(ValueError, match="bound is"):
            scaling.Temperature(bound=bound)
