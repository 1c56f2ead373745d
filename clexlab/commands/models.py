"""Models, texts and methods as a command line names them: a folder or a hub name, a method and its options, a device."""

import json
import re
import textwrap
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from clexlab import corpora, hf, scaling
from clexlab.commands.usage import Usage, one_line
from clexlab.hf import files, saving, spec

ADAPTER = "adapter_config.json"
UNTRAINED = "clex here is untrained: its field is zero and θ(t) is its prior's, NTK at 2t - 1; a trained one comes with its checkpoint"
# Options of a path that belong to the model and not to the method.
GEOMETRY = ("name", "head_dim", "base", "window")


@dataclass(frozen=True)
class Saved:
    """How a checkpoint of clexlab was extended; the model itself is restored, so that it can be its own control."""

    scaling: scaling.Path
    cache: type[hf.caches.CacheSemantics]
    factor: float | None
    schedule: hf.schedules.Schedule

    def on(self, model: nn.Module) -> AbstractContextManager:
        """The model extended as it was saved, for the length of a with-block."""
        return hf.extended(model, self.scaling, cache=self.cache, factor=self.factor, schedule=self.schedule)


def open_model(name: str, dtype: str) -> tuple[nn.Module, Saved | None]:
    """The plain model, and how it was extended if the checkpoint says so. Usage for what cannot be loaded whole, or is scaled."""
    check_place(name)
    precision = None if dtype == "auto" else getattr(torch, dtype)
    # A folder may hold anything and its loading may fail in any way; whatever it is, the user needs its one line.
    try:
        model = saving.load(name, dtype=precision) if is_extended(name) else load_stock(name, precision or "auto")
    except Usage:
        raise
    except Exception as error:
        raise Usage(f"{name} cannot be loaded: {textwrap.shorten(str(error), 300, placeholder=' …')}") from None
    saved = None
    if any(isinstance(module, hf.Rotary) for module in model.modules()):
        rotary = hf.rotary_of(model)
        saved = Saved(rotary.scaling, rotary.cache, rotary.factor, rotary.schedule)
        hf.restore(model)
    hf.geometry(model)
    return model.eval(), saved


def load_stock(name: str, dtype: torch.dtype | str) -> nn.Module:
    """A stock model, or an adapter on the stock model it names; Usage where weights are missing, which would be random."""
    base = adapter_base(name)
    if base is not None:
        from peft import PeftModel

        return PeftModel.from_pretrained(load_stock(base, dtype), name)
    # Left open, trust_remote_code would ask a question and wait for its answer.
    model, loading = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    missing = sorted(loading["missing_keys"])
    if missing:
        raise Usage(f"{name} lacks {len(missing)} weights of a {type(model).__name__}, {missing[0]} for one; they would be random")
    return model


def adapter_base(name: str) -> str | None:
    """The model a peft adapter was trained on, as the adapter names it; None for what is no adapter."""
    if files.find(name, ADAPTER) is None:
        return None
    base = files.read_json(name, ADAPTER).get("base_model_name_or_path")
    if not base:
        raise Usage(f"the adapter in {name} does not name its base model; write base_model_name_or_path into its {ADAPTER}")
    return base


def check_place(name: str) -> None:
    """Refuse early what looks like a path and leads to no model's folder; the hub is asked only for what could be a name there."""
    folder = Path(name)
    if folder.is_dir():
        if not any((folder / file).is_file() for file in ("config.json", ADAPTER)):
            raise Usage(f"{name} holds no config.json; give the folder of a saved model or a model's name on the hub")
    elif folder.exists():
        raise Usage(f"{name} is a file; give the folder of a saved model or a model's name on the hub")
    elif not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name):
        raise Usage(f"{name} is missing; give the folder of a saved model or a model's name on the hub")


def short_name(place: str) -> str:
    """The last part of a folder's path, a hub name whole: records tell no paths of this machine."""
    return Path(place).resolve().name if Path(place).exists() else place


def text_name(where: str) -> str:
    """The same for what names a text: a data set's folder is a path of this machine, too."""
    kind = corpora.HUB if where.startswith(corpora.HUB) else ""
    return kind + short_name(where.removeprefix(kind))


def is_extended(name: str) -> bool:
    """Whether a checkpoint is one that `clexlab.load` reads: saved by clexlab, official CLEX, or an adapter on such a model."""
    base = adapter_base(name)
    if base is not None:
        return is_extended(base)
    return mentions_clex(files.read_json(name, "config.json"))


def mentions_clex(config: object) -> bool:
    """Whether a config, or any part of it, was written by clexlab or names the rope type of official CLEX."""
    if not isinstance(config, dict):
        return False
    ours = "clexlab" in config or "clex" in (config.get("type"), config.get("rope_type"))
    return ours or any(mentions_clex(value) for value in config.values())


def window_for(model: nn.Module, saved: Saved | None, asked: int | None) -> int:
    """The trained length: as asked, else the saved path's, else the config's."""
    if saved is None:
        return asked or hf.geometry(model).window
    if asked not in (None, saved.scaling.window):
        raise Usage(f"--window is {asked}; the saved {saved.scaling.name} is built for a window of {saved.scaling.window}")
    return saved.scaling.window


def checked_name(name: str) -> str:
    """The name of a method as it was given; ValueError lists the names there are."""
    return scaling.by_name(name).name


def build(model: nn.Module, name: str, given: Mapping[str, object], window: int) -> scaling.Path:
    """The method on the model's geometry, with the options from the command line or a config in the place of its published ones."""
    path = hf.scaling_for(model, scaling.by_name(name), window=window)
    if not given:
        return path
    usual = spec.describe(path)
    # A description leaves the number of start tokens out where there are none.
    known = [option for option in usual if option not in GEOMETRY] + (["start"] if isinstance(path, scaling.LongRoPE) else [])
    for option in given:
        if option not in known:
            raise Usage(f"{name} has no option {option!r}; it has {', '.join(known) or 'none'}")
    return spec.build(usual | {option: parsed(value) if isinstance(value, str) else value for option, value in given.items()})


def parsed(text: str) -> object:
    """A number, a list or an object where the text is JSON, else the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def open_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer beside the weights; Usage with the cause where none can be made of what is there."""
    # What is raised depends on the kind of tokenizer and on which package of its is absent.
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        cause = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")
        raise Usage(
            f"{name} holds no tokenizer that loads ({cause}); save one beside the weights: tokenizer.save_pretrained(folder)"
        ) from None


def device_for(text: str | None) -> str:
    """A device that works here, the GPU if none is named."""
    if text is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise Usage(f"--device {text} cannot be used: {one_line(str(error).splitlines()[0])}") from None
    return text
