"""A path as plain JSON and back: what a saved model's config.json says about its scaling.

    {"name": "yarn", "head_dim": 128, …, "ramp": {"kind": "IndexRamp", "slow": 1.0, "fast": 32.0}, …}

A path is written under its `name`, every object it is made of (ramp, blend, field, step) under its class as `kind`, each with all of
its options, so that a later change of a default cannot change a saved model. Weights are not part of it: they lie in the
checkpoint. What clexlab does not know, a path or a field of your own, is written as {"own": class name}; only you can build it.
"""

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from clexlab import ode, scaling

_PARTS = (
    scaling.TurnsRamp,
    scaling.IndexRamp,
    scaling.UnroundedIndexRamp,
    scaling.FrequencyBlend,
    scaling.WavelengthBlend,
    ode.FixedStep,
    ode.Tolerance,
)
_ACTS = {"silu": nn.SiLU, "tanh": nn.Tanh}
_CLEX_OPTIONS = ("head_dim", "base", "window", "max_factor", "prior", "field", "solver", "step")
# Modules, whose options are no fields of a dataclass.
_MODULES = {
    ode.BoundedField: ("pairs", "hidden", "bound"),
    ode.OfficialField: ("head_dim", "base", "width", "act"),
    ode.PairField: ("pairs", "bound"),
    ode.PaceField: ("prior", "middle"),
    ode.NormCap: ("field", "cap"),
    scaling.Temperature: ("bound",),
}


def describe(path: scaling.Path) -> dict[str, Any]:
    """The path's class and every option, in what JSON can hold; `build` makes an equal path of it.

    A path, ramp, field … of a class outside clexlab becomes {"own": class name}. Raises ValueError for what is no path.
    """
    if not isinstance(path, scaling.Path):
        raise ValueError(f"scaling is {type(path).__name__}; pass a path of clexlab.scaling")
    if type(path) not in scaling.SCALINGS:
        return _own(path)
    names = _clex_options(path.temperature is not None) if isinstance(path, scaling.CLEX) else _path_options(type(path), path.start > 0)
    return {"name": path.name, **{name: _plain(getattr(path, name)) for name in names}}


def build(spec: Mapping[str, Any]) -> scaling.Path:
    """The path that `describe` wrote down; a field comes with fresh weights, to be loaded from the checkpoint.

    Raises ValueError for an unknown name, for options that are missing, unknown or refused by the method, and for a class of
    the user's own.
    """
    _check_known(spec)
    if "name" not in spec:
        raise ValueError(f"a scaling needs a name, one of {', '.join(s.name for s in scaling.SCALINGS)}; it was given {dict(spec)}")
    method = scaling.by_name(spec["name"])
    names = _clex_options("temperature" in spec) if method is scaling.CLEX else _path_options(method, "start" in spec)
    options = {name: _object(name, value) for name, value in _exactly(spec, "name", names).items()}
    return _made(method, options)


def _own(thing: object) -> dict[str, Any]:
    return {"own": type(thing).__name__}


def _clex_options(learns_temperature: bool) -> tuple[str, ...]:
    """A path with its prior's temperature is written without one."""
    return (*_CLEX_OPTIONS, "temperature") if learns_temperature else _CLEX_OPTIONS


def _path_options(kind: type[scaling.Path], has_start: bool) -> tuple[str, ...]:
    """A path without start tokens is written without their number: models and records that are stored have none."""
    return tuple(name for name in _options(kind) if name != "start" or has_start)


def _options(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _plain(value: object) -> Any:
    """One option as JSON: numbers as Python's, objects under their kind."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, scaling.Path):
        return describe(value)
    if isinstance(value, ode.Solver):
        return value.name
    if type(value) in _PARTS:
        return {"kind": type(value).__name__, **{name: _plain(getattr(value, name)) for name in _options(type(value))}}
    return _plain_module(value)


def _plain_module(module: object) -> dict[str, Any]:
    """A field or a temperature with its options; one of the user's own by its class."""
    module = _in_use(module)
    if type(module) not in _MODULES or (isinstance(module, ode.OfficialField) and _act(module) is None):
        return _own(module)
    read = {
        "pairs": lambda: module.down.out_features if isinstance(module, ode.BoundedField) else len(module.level),
        "hidden": lambda: module.up.out_features,
        "width": lambda: module.ode_up_proj.shape[1] // module.head_dim,
        "act": lambda: _act(module),
        "field": lambda: _plain_module(module.field),
    }
    options = {name: read[name]() if name in read else _plain(getattr(module, name)) for name in _MODULES[type(module)]}
    return {"kind": type(module).__name__, **options}


def _act(field: ode.OfficialField) -> str | None:
    return next((name for name, kind in _ACTS.items() if type(field.act) is kind), None)


def _in_use(field: object) -> object:
    """The field that is asked where a peft adapter keeps one of its own beside the original."""
    copies, active = getattr(field, "modules_to_save", {}), getattr(field, "active_adapters", ())
    return next((copies[name] for name in active if name in copies), getattr(field, "original_module", field))


def _check_known(spec: object) -> None:
    if not isinstance(spec, Mapping):
        raise ValueError(f"a scaling is described by a dictionary; it was given {spec!r}")
    if "own" in spec:
        raise ValueError(
            f"{spec['own']} is a class of your own, which a checkpoint cannot hold: build the scaling as you did before saving and"
            " pass it, clexlab.load(path, scaling=…)"
        )


def _exactly(spec: Mapping[str, Any], key: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The options without the class; ValueError unless they are the class's own, all of them."""
    given = {name: value for name, value in spec.items() if name != key}
    missing, unknown = [name for name in names if name not in given], [name for name in given if name not in names]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has unknown options {', '.join(map(str, unknown))}"
        raise ValueError(f"the description of {spec[key]} {wrong}; clexlab writes {', '.join(names) or 'no options'}")
    return given


def _object(name: str, value: object) -> Any:
    """One option as the object it describes."""
    if name == "solver":
        return _solver(value)
    if name == "factors":
        return tuple(value) if isinstance(value, list) else value
    if name == "prior":
        return build(value)
    return _part(value) if isinstance(value, Mapping) else value


def _solver(name: object) -> ode.Solver:
    for solver in ode.SOLVERS:
        if solver.name == name:
            return solver
    raise ValueError(f"no solver is named {name!r}; there are {', '.join(solver.name for solver in ode.SOLVERS)}")


def _part(spec: Mapping[str, Any]) -> Any:
    _check_known(spec)
    parts, modules = ({kind.__name__: kind for kind in kinds} for kinds in (_PARTS, _MODULES))
    kind = str(spec.get("kind"))
    if kind in parts:
        return _made(parts[kind], _exactly(spec, "kind", _options(parts[kind])))
    if kind not in modules:
        raise ValueError(f"no part of a scaling is of kind {kind!r}; there are {', '.join([*parts, *modules])}")
    options = {name: _object(name, value) for name, value in _exactly(spec, "kind", _MODULES[modules[kind]]).items()}
    if "act" in options:
        if options["act"] not in _ACTS:
            raise ValueError(f"act is {options['act']!r}; an official field has one of {', '.join(_ACTS)}")
        options["act"] = _ACTS[options["act"]]()
    # Rebuilding a path must not move the user's random numbers.
    with torch.random.fork_rng(devices=[]):
        return _made(modules[kind], options)


def _made(kind: Any, options: dict[str, Any]) -> Any:
    try:
        return kind(**options)
    except (TypeError, OverflowError, AttributeError) as error:
        raise ValueError(f"{kind.__name__} cannot be built from {options}: {error}") from error
