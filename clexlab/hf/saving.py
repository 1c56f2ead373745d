"""Load an extended model again: what `model.save_pretrained(folder)` wrote, an official CLEX checkpoint, or a peft adapter.

The folder's config.json holds the scaling's description (`spec`), its safetensors files hold the field among the model's
weights. The stock model is loaded with stock code, the path is built anew and extended on it. No remote code, no pickles, and
no weight that is not in the files.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedModel

from clexlab.hf import attach, files, schedules, spec
from clexlab.hf.schedules import Schedule
from clexlab.scaling import CLEX, Path

# Where an extended model keeps the weights of its path, and where the official code keeps those of its field.
SEAM, OFFICIAL = "rotary_emb.scaling.", "clex_layer."
_ADAPTER_CONFIG, _ADAPTER = "adapter_config.json", "adapter_model.safetensors"
_EXTEND = "model = AutoModelForCausalLM.from_pretrained(path); clexlab.extend(model, hf.scaling_for(model, scaling.YaRN))"


@dataclass(frozen=True)
class _Saved:
    """What a folder holds: the stock config.json, the path with its weights, and how it was extended."""

    config: dict[str, Any]
    scaling: Path
    ours: tuple[str, ...]
    cache: str = "frozen"
    factor: float | None = None
    schedule: str = schedules.Whole.name


def load(
    path: str | os.PathLike,
    *,
    scaling: Path | None = None,
    cache: str | None = None,
    factor: float | None = None,
    schedule: Schedule | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The extended model saved in a folder (or under a hub name), exactly as it was, in eval mode and without training positions.

    `path` holds what `save_pretrained` of an extended model wrote, an official CLEX checkpoint (`rope_scaling` of type "clex"), or a
    peft adapter, which names its base model itself. `cache`, `factor` and `schedule` replace what was saved; official checkpoints
    have none and get cache="frozen" ("rerotate" is the official one) and hf.Whole(), the official schedule. `dtype` is that of the
    weights, the saved one by default; frequencies and field stay float32.
    `scaling` is needed where the path is of a class of your own (build it as before; its field's weights come from the folder),
    and for an adapter on a stock model. With an official checkpoint it takes the place of the checkpoint's own path. `schedule` is
    needed where the saved one is of a class of your own.
    Raises ValueError: no safetensors, weights of the field or the model that are missing, left over or not finite, a stock
    checkpoint without `scaling`, a `scaling` other than the saved one, a schedule of your own that is not passed, an adapter that
    replaces the rotary module and not its field alone, an official checkpoint with `log_scale` (see `official`).
    """
    path = os.fspath(path)
    if files.find(path, _ADAPTER_CONFIG) is not None:
        again = partial(load, scaling=scaling, cache=cache, factor=factor, schedule=schedule, dtype=dtype, device=device)
        return _with_adapter(path, again)
    saved = _read(path, scaling)
    schedule = _schedule(path, saved.schedule) if schedule is None else schedule
    model = _stock_model(path, saved, dtype)
    if device is not None:
        model.to(device)
    return attach.extend(
        model,
        saved.scaling,
        cache=saved.cache if cache is None else cache,
        factor=saved.factor if factor is None else factor,
        schedule=schedule,
    )


def official(path: str | os.PathLike) -> CLEX:
    """The path of an official CLEX checkpoint, with its released weights; `scaling.CLEX.official` on the folder's files.

    `log_scale: true` in its config multiplies queries by ln n/ln L in the FlashAttention path of the official Llama file and in no
    other path of the official code. clexlab does not do it, and `load` refuses such a checkpoint rather than ignore the switch;
    load(path, scaling=hf.saving.official(path)) loads it without, as the official code runs it with any other attention.
    """
    path = os.fspath(path)
    return CLEX.official(files.tensors(files.weight_files(path), OFFICIAL), files.read_json(path, "config.json"))


def _read(path: str, scaling: Path | None) -> _Saved:
    raw = files.read_json(path, "config.json")
    entries: list[Any] = []
    stock = _without_entries(raw, entries)
    if entries:
        return _read_extended(path, stock, entries, scaling)
    kind = next((rope for key in ("rope_scaling", "rope_parameters") if isinstance(rope := raw.get(key), dict)), {})
    if "clex" in (kind.get("type"), kind.get("rope_type")):
        return _read_official(path, raw, kind, scaling)
    if scaling is None:
        raise ValueError(f"{path} is a stock checkpoint, it says nothing of a scaling; load and extend it: {_EXTEND}")
    return _Saved(raw, scaling, ours=())


def _without_entries(raw: Any, entries: list[Any]) -> Any:
    """The config before `extend` wrote into it; what it wrote goes to `entries`."""
    if not isinstance(raw, dict):
        return raw
    if "clexlab" in raw:
        entries.append(raw["clexlab"])
        raw = {**{key: value for key, value in raw.items() if key != "clexlab"}, "rope_type": "default"}
    return {key: _without_entries(value, entries) for key, value in raw.items()}


def _read_extended(path: str, stock: dict[str, Any], entries: list[Any], scaling: Path | None) -> _Saved:
    entry = entries[0]
    if len(entries) > 1 or not isinstance(entry, dict) or not {"scaling", "cache", "factor", "schedule"} <= set(entry):
        raise ValueError(f"config.json of {path} describes no scaling that clexlab wrote: {entries}")
    if scaling is None:
        scaling = spec.build(entry["scaling"])
    elif spec.describe(scaling) != entry["scaling"]:
        raise ValueError(
            f"{path} was saved with {entry['scaling']}, scaling is {spec.describe(scaling)}; pass an equal one, or none,"
            " and extend anew after clexlab.restore(model)"
        )
    _fill(scaling, files.tensors(files.weight_files(path), SEAM), path)
    return _Saved(stock, scaling, (re.escape(SEAM),), entry["cache"], entry["factor"], entry["schedule"])


def _schedule(path: str, name: object) -> Schedule:
    """The schedule of this name; ValueError for one of the user's own."""
    if name not in [known.name for known in schedules.SCHEDULES]:
        raise ValueError(
            f"{path} was saved under a schedule named {name!r}: a class of your own, which a checkpoint cannot hold; build the schedule"
            " as you did before saving and pass it, clexlab.load(path, schedule=…)"
        )
    return schedules.by_name(name)


def _read_official(path: str, raw: dict[str, Any], kind: dict[str, Any], scaling: Path | None) -> _Saved:
    if scaling is None and (kind.get("log_scale") or raw.get("log_scale")):
        raise ValueError(
            f"{path} asks for log_scale, queries times ln n/ln L, which the official code does in its FlashAttention path alone and"
            " clexlab does not do; clexlab.load(path, scaling=hf.saving.official(path)) loads it without"
        )
    stock = {key: value for key, value in raw.items() if key not in ("rope_scaling", "rope_parameters", "log_scale")}
    stock["rope_parameters"] = {"rope_type": "default", "rope_theta": kind.get("rope_theta", raw.get("rope_theta", 10_000.0))}
    return _Saved(stock, official(path) if scaling is None else scaling, (re.escape(OFFICIAL),))


def _fill(scaling: Path, weights: Mapping[str, Tensor], path: str) -> None:
    """Put the file's weights into the path; ValueError unless they are all of its weights, finite and in full precision."""
    wanted = _weights(scaling)
    _check_names(path, wanted, weights)
    for name, weight in weights.items():
        if weight.shape != wanted[name].shape:
            raise ValueError(f"{path} holds {name} of shape {tuple(weight.shape)}; the scaling has {tuple(wanted[name].shape)}")
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{path} holds {name} in {weight.dtype}; a field is saved in float32, so another program has rounded it")
    if wanted:
        scaling.load_state_dict(dict(weights), strict=True, assign=True)


def _weights(scaling: Path) -> dict[str, Tensor]:
    return scaling.state_dict() if isinstance(scaling, nn.Module) else {}


def _check_names(path: str, wanted: Iterable[str], weights: Mapping[str, Tensor]) -> None:
    missing, unexpected = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    if missing or unexpected:
        wrong = f"lacks {missing}" if missing else f"holds {unexpected}, which the scaling does not have"
        raise ValueError(f"{path} {wrong}; the weights of a field are loaded whole or not at all")
    broken = sorted(name for name, weight in weights.items() if not bool(torch.isfinite(weight).all()))
    if broken:
        raise ValueError(f"{path} holds values that are not finite in {broken}; the field ran away in training or the file is damaged")


def _stock_model(path: str, saved: _Saved, dtype: torch.dtype | None) -> PreTrainedModel:
    """The model with the stock class and config, without a word about the weights that are ours."""
    config = _stock_config(path, saved.config)
    found = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if found is None:
        raise ValueError(f"{path} holds a {type(config).__name__}, which is no causal language model of transformers")
    kind = found[0] if isinstance(found, (tuple, list)) else found
    # from_pretrained asks the class which weights may be left over; a subclass may say so without a change to the stock class.
    quiet = type(kind.__name__, (kind,), {"__module__": kind.__module__, "_keys_to_ignore_on_load_unexpected": _ignored(kind, saved.ours)})
    files.weight_files(path)
    try:
        model, report = quiet.from_pretrained(
            path,
            config=config,
            dtype="auto" if dtype is None else dtype,
            use_safetensors=True,
            # Reported and refused below, with their names.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError) as error:
        raise ValueError(f"the weights in {path} do not load as a {kind.__name__}: {error}") from error
    model.__class__ = kind
    wrong = {name: sorted(map(str, keys)) for name, keys in report.items() if keys and name != "error_msgs"}
    if wrong:
        raise ValueError(f"the weights in {path} are not those of a {kind.__name__}: {wrong}")
    return model


def _ignored(kind: type[PreTrainedModel], ours: tuple[str, ...]) -> list[str]:
    return [*(kind._keys_to_ignore_on_load_unexpected or ()), *ours]


def _stock_config(path: str, raw: dict[str, Any]) -> Any:
    if raw.get("model_type") not in CONFIG_MAPPING:
        raise ValueError(f"{path} holds a model of type {raw.get('model_type')!r}, which this version of transformers does not know")
    config = CONFIG_MAPPING[raw["model_type"]].from_dict(raw)
    config._name_or_path = path
    return config


def _with_adapter(path: str, load_base: Callable[[str], nn.Module]) -> nn.Module:
    """The base model an adapter names, loaded by `load_base`, with the adapter on it, whole in what it holds of the field."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise ValueError(f"{path} is a peft adapter and peft is not installed: pip install clexlab[tune]") from error
    config = files.read_json(path, _ADAPTER_CONFIG)
    base = config.get("base_model_name_or_path")
    if not base:
        raise ValueError(
            f"the adapter in {path} names no base model; load and extend that yourself, then PeftModel.from_pretrained(model, path)"
        )
    file = files.find(path, _ADAPTER)
    if file is None:
        raise ValueError(f"{path} holds no {_ADAPTER}; clexlab reads safetensors only")
    model = load_base(base)
    _check_replaced(path, model, config.get("modules_to_save") or ())
    try:
        model = PeftModel.from_pretrained(model, path)
    except KeyError as error:
        raise ValueError(f"the adapter in {path} lacks {error}; an adapter is loaded whole or not at all") from error
    except RuntimeError as error:
        raise ValueError(f"the adapter in {path} does not fit its base model {base}: {error}") from error
    # What the adapter trains in the field depends on its kind (all of it, LoRA's factors beside it); peft alone knows the names.
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    _check_names(path, [name.rpartition(SEAM)[2] for name in own if SEAM in name], files.tensors([file], SEAM))
    return model


def _check_replaced(path: str, model: nn.Module, replaced: Iterable[str]) -> None:
    """Refuse an adapter with a copy of the rotary module or of the whole path: the hooks on the original do not reach a copy."""
    rotary = attach.rotary_of(model)
    seam = next(name for name, module in model.named_modules() if module is rotary)
    # peft takes every module whose name ends so.
    wrong = [ending for ending in replaced if any(name.endswith(ending) for name in (seam, f"{seam}.scaling"))]
    if wrong:
        raise ValueError(
            f"the adapter in {path} was made with modules_to_save={wrong}, a copy of the rotary module, which cannot follow the"
            " text's length; make it anew with modules_to_save=['field'], which trains all there is to train"
        )
