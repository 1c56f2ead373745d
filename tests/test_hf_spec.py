"""A path written as JSON comes back equal, with every option; what cannot come back is refused with a reason."""

import copy
import json

import pytest
import torch
from torch import nn

from clexlab import ode, scaling
from clexlab.hf import spec

GEOMETRY = dict(head_dim=16, base=5e5, window=64)
PRIOR = scaling.YaRN(**GEOMETRY, ramp=scaling.TurnsRamp(slow=2, fast=9), mscale_all_dim=0.5)


def with_every_option_changed() -> list[scaling.Path]:
    parts = dict(ramp=scaling.TurnsRamp(slow=0.5, fast=3.0), blend=scaling.WavelengthBlend())
    return [
        scaling.Identity(**GEOMETRY),
        scaling.Linear(**GEOMETRY),
        scaling.NTK(**GEOMETRY),
        scaling.DynamicNTK(**GEOMETRY, rate=1.3),
        scaling.ByParts(**GEOMETRY, **parts),
        scaling.ByParts(**GEOMETRY, ramp=scaling.UnroundedIndexRamp(slow=1.5, fast=8.0)),
        scaling.YaRN(**GEOMETRY, **parts, mscale=0.7, mscale_all_dim=0.3),
        scaling.Llama3(**GEOMETRY, ramp=scaling.TurnsRamp(slow=2.0, fast=6.0)),
        scaling.ABF(**GEOMETRY, new_base=3e6, at_factor=5.0),
        # Thirds have no exact decimal: the digits written must be enough to come back bit for bit.
        scaling.LongRoPE(**GEOMETRY, factors=tuple(1 + j / 3 for j in range(8)), max_factor=20 / 3),
        scaling.CLEX(
            **GEOMETRY,
            max_factor=6.5,
            prior=PRIOR,
            field=ode.BoundedField(8, hidden=5, bound=0.25),
            solver=ode.MIDPOINT,
            step=ode.FixedStep(1 / 7),
        ),
        scaling.CLEX(**GEOMETRY, solver=ode.DOPRI5, step=ode.Tolerance(rtol=1e-6, atol=1e-7)),
        scaling.CLEX(**GEOMETRY, field=ode.OfficialField(16, 5e5, width=2, act=nn.SiLU())),
        scaling.CLEX(**GEOMETRY, field=ode.OfficialField(16, 5e5), prior=scaling.DynamicNTK(**GEOMETRY, rate=2)),
        scaling.CLEX(**GEOMETRY, field=ode.PairField(8, bound=0.3), temperature=scaling.Temperature(bound=0.2)),
        scaling.CLEX(**GEOMETRY, field=ode.PaceField(PRIOR, middle=0.5), prior=PRIOR),
        scaling.CLEX(**GEOMETRY, field=ode.NormCap(ode.BoundedField(8, hidden=4), cap=0.7)),
        scaling.CLEX(**GEOMETRY, field=ode.NormCap(ode.NormCap(ode.PairField(8), cap=2.0)), prior=PRIOR),
        scaling.CLEX(**GEOMETRY, max_factor=4, prior=scaling.CLEX(**GEOMETRY, max_factor=8, prior=PRIOR)),
    ]


def through_json(path: scaling.Path) -> scaling.Path:
    return spec.build(json.loads(json.dumps(spec.describe(path), allow_nan=False)))


def same(path: scaling.Path, again: scaling.Path) -> bool:
    """Equal descriptions, and with the same weights equal frequencies, bit for bit."""
    if isinstance(path, nn.Module):
        again.load_state_dict(path.state_dict(), strict=True)
    grid = torch.tensor([1.0, 1.7, 3.0])
    return (
        type(again) is type(path)
        and spec.describe(again) == spec.describe(path)
        and torch.equal(again.inv_freq(grid), path.inv_freq(grid))
        and again.attention_scale(3.0) == path.attention_scale(3.0)
    )


@pytest.mark.parametrize("method", scaling.SCALINGS)
def test_every_method_with_its_defaults_comes_back_equal(method):
    path = method.default(**GEOMETRY)
    assert same(path, through_json(path))


@pytest.mark.parametrize("path", with_every_option_changed(), ids=lambda path: path.name)
def test_every_option_comes_back_equal(path):
    again = through_json(path)
    assert same(path, again)
    if not isinstance(path, nn.Module):
        assert again == path


def test_every_method_is_tried_with_changed_options():
    assert {type(path) for path in with_every_option_changed()} == set(scaling.SCALINGS)


def test_building_does_not_move_the_global_random_numbers():
    described = spec.describe(scaling.CLEX(**GEOMETRY))
    before = torch.get_rng_state()
    spec.build(described)
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_of_numpy_become_plain_json(unchecked):
    numpy = pytest.importorskip("numpy")
    path = scaling.DynamicNTK(head_dim=numpy.int64(16), base=numpy.float32(1e4), window=64, rate=numpy.float32(2))
    assert json.loads(json.dumps(spec.describe(path)))["rate"] == 2.0


class OwnField(nn.Module):
    def forward(self, log_factor, residual):
        return -residual


class OwnTemperature(nn.Module):
    def forward(self, log_factor):
        return 0.1 * log_factor


class OwnPath(scaling.YaRN):
    name = "own"


@pytest.mark.parametrize(
    "path, name",
    [
        (scaling.CLEX(**GEOMETRY, field=OwnField()), "OwnField"),
        (scaling.CLEX(**GEOMETRY, field=ode.OfficialField(16, 5e5, act=nn.GELU())), "OfficialField"),
        (scaling.CLEX(**GEOMETRY, field=ode.NormCap(OwnField())), "OwnField"),
        (scaling.CLEX(**GEOMETRY, temperature=OwnTemperature()), "OwnTemperature"),
        (scaling.CLEX(**GEOMETRY, prior=OwnPath(**GEOMETRY)), "OwnPath"),
        (OwnPath(**GEOMETRY), "OwnPath"),
    ],
)
def test_a_class_of_the_users_own_is_named_and_asked_for(path, name):
    described = spec.describe(path)
    assert f'"own": "{name}"' in json.dumps(described)
    with pytest.raises(ValueError, match=rf"{name} is a class of your own.*clexlab\.load\(path, scaling="):
        spec.build(described)


def changed(path: scaling.Path, change) -> dict:
    described = copy.deepcopy(spec.describe(path))
    change(described)
    return described


YARN, CLEX = scaling.YaRN(**GEOMETRY), scaling.CLEX(**GEOMETRY)


@pytest.mark.parametrize(
    "broken, message",
    [
        ("yarn", "described by a dictionary"),
        (None, "described by a dictionary"),
        ({}, "needs a name"),
        ({"name": "yam"}, "no scaling is named 'yam'"),
        ({"name": ["yarn"]}, "no scaling is named"),
        ({"name": "yarn"}, "lacks head_dim, base, window, ramp, blend, mscale, mscale_all_dim"),
        (changed(YARN, lambda d: d.update(strength=2)), "unknown options strength"),
        (changed(YARN, lambda d: d.update(head_dim=15)), "head_dim is 15"),
        (changed(YARN, lambda d: d.update(mscale="1")), "mscale is '1'"),
        (changed(YARN, lambda d: d.update(ramp=3)), "ramp is 3"),
        (changed(YARN, lambda d: d.update(ramp={})), "no part of a scaling is of kind"),
        (changed(YARN, lambda d: d["ramp"].pop("slow")), "IndexRamp lacks slow"),
        (changed(YARN, lambda d: d["ramp"].update(slow=-1)), "slow is -1"),
        (changed(YARN, lambda d: d.update(ramp={"kind": "FrequencyBlend"})), "ramp is"),
        (changed(CLEX, lambda d: d.update(prior=None)), "described by a dictionary"),
        (changed(CLEX, lambda d: d.pop("prior")), "lacks prior"),
        (changed(CLEX, lambda d: d["prior"].update(base=1e4)), "same geometry"),
        (changed(CLEX, lambda d: d.update(solver="newton")), "no solver is named 'newton'"),
        (changed(CLEX, lambda d: d.update(solver="dopri5")), "takes a Tolerance"),
        (changed(CLEX, lambda d: d.update(max_factor=0)), "max_factor is 0"),
        (changed(CLEX, lambda d: d["field"].update(pairs=7)), "BoundedField"),
        (changed(CLEX, lambda d: d["field"].update(kind="eval")), "kind 'eval'"),
        (changed(CLEX, lambda d: d.update(field={"kind": "NormCap", "field": 3, "cap": 1.0})), "field is 3"),
        (changed(CLEX, lambda d: d.update(field={"kind": "NormCap", "field": {"kind": "PairField"}})), "lacks cap"),
        (changed(CLEX, lambda d: d.update(temperature=0.1)), "temperature is 0.1"),
        (changed(CLEX, lambda d: d.update(temperature={"kind": "Temperature", "bound": 0})), "bound is 0"),
        (changed(CLEX, lambda d: d.update(temperature={"kind": "PairField", "pairs": 8, "bound": 1.0})), "temperature PairField fails"),
        (
            changed(CLEX, lambda d: d.update(field={"kind": "OfficialField", "head_dim": 16, "base": 5e5, "width": 1, "act": "gelu"})),
            "act is 'gelu'",
        ),
        (changed(scaling.LongRoPE.default(**GEOMETRY), lambda d: d["factors"].pop()), "7 for 8 pairs"),
    ],
)
def test_a_malformed_description_is_refused_with_a_reason(broken, message, unchecked):
    with pytest.raises(ValueError, match=message):
        spec.build(broken)


def test_only_paths_are_described(unchecked):
    with pytest.raises(ValueError, match="pass a path"):
        spec.describe("yarn")


def test_a_field_that_an_adapter_keeps_beside_the_original_is_described_as_what_it_is():
    peft = pytest.importorskip("peft")
    path = scaling.CLEX(head_dim=8, base=1e4, window=32)
    wanted = spec.describe(path)
    config = peft.LoraConfig(target_modules=["1"], modules_to_save=["field"])
    tuned = peft.get_peft_model(nn.Sequential(path, nn.Linear(2, 2)), config)
    assert type(path.field) is not ode.BoundedField and spec.describe(path) == wanted
    with tuned.disable_adapter():
        assert spec.describe(path) == wanted
