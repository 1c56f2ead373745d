"""Write an extended model as a stock checkpoint, frozen at one factor: any program that reads transformers' configs can run it.

    θ_stock = θ(t),  A_stock = A(t)   →   config.json of a stock rope type, weights without the field

The method's own type where transformers has one, else `longrope` with divisors θ(1)/θ(t). Nothing is believed: the config is read
back, the stock rotary module built from it, and its frequencies compared with the method's.
"""

import copy
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as Folder
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from clexlab.hf import attach
from clexlab.hf.rotary import Rotary
from clexlab.scaling.base import Path

# Half a unit in the last of float32's 24 bits, relative.
ROUNDING = 2.0**-24
# Files of a tokenizer as transformers names them; copied as they are.
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
)


def export(model: nn.Module, factor: float, path: str | os.PathLike) -> None:
    """Write the extended `model` to the folder `path` as a stock checkpoint for texts of up to window · factor tokens.

    Unmodified transformers gives the logits the extended model has at this factor, at every length; so do texts within the window,
    which therefore pay what a fixed factor costs there. `max_position_embeddings` becomes window · factor. The tokenizer's files are
    copied when the model came from a folder. The model itself stays as it is.
    Raises ValueError: a model that is not extended, a factor beyond the path's limit, a folder that holds anything, a peft model
    (merge it first), or frequencies that no stock type reproduces; then nothing is written.
    """
    if not isinstance(model, PreTrainedModel) or hasattr(model, "peft_config"):
        raise ValueError(
            f"model is a {type(model).__name__}; export takes a model of transformers: merge adapters with merge_and_unload() first"
        )
    rotary = attach.rotary_of(model)
    t = rotary.scaling.check_single(factor)
    target = Folder(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; export writes to a new one")
    config = stock_config(model, t)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as workshop:
        written = Folder(workshop) / "model"
        with _config_of(model, config):
            model.save_pretrained(written, state_dict=_stock_weights(model, rotary))
        _copy_tokenizer(model, written)
        _check(type(config).from_pretrained(written), rotary, t, str(path))
        if target.exists():
            target.rmdir()
        written.rename(target)


def tolerance(factor: float) -> float:
    """How far a stock type's float32 may be from θ(t), relative: 6e-7 at factor 4, 1.4e-6 at 16.

    Powers of the base come within four roundings. Where a method blends, γ is off by about one rounding of the number 1, which
    weighs t times as much in a frequency that is divided by t (measured up to base 1e7 and t = 64: 1.15 t in all).
    """
    return (4 + 1.25 * factor) * ROUNDING


def stock_config(model: nn.Module, factor: float) -> PreTrainedConfig:
    """The config of an extended model as plain transformers needs it to have the method's angles at this factor, always.

    The method's own rope type if this architecture takes it and its frequencies agree, else `longrope`. Raises ValueError if
    neither does.
    """
    rotary = attach.rotary_of(model)
    t, refusals = rotary.scaling.check_single(factor), []
    own, divisors = rotary.scaling.rope_parameters(t), rotary.scaling.longrope_parameters(t)
    # Phi-3 takes no type but longrope; yarn in a nested config loses its `truncate`: both fall through to the second.
    for entry in (own, divisors) if own["rope_type"] != "longrope" else (own,):
        try:
            config = _with_entry(model, rotary, _for_vllm(_refined(entry, rotary.scaling, t), t), t)
            _check(config, rotary, t, entry["rope_type"])
            return config
        except (ValueError, KeyError, StrictDataclassError) as error:
            refusals.append(f"{entry['rope_type']}: {error}")
    raise ValueError(f"no stock rope type gives {type(model).__name__} these frequencies ({'; '.join(refusals)})")


def _refined(entry: dict[str, Any], path: Path, t: float) -> dict[str, Any]:
    """longrope's divisors, each moved by a few units in the last place to where its float32 formula comes closest to θ(t)."""
    if entry["rope_type"] != "longrope":
        return entry
    wanted = path.inv_freq(t).detach().cpu()
    exponents = torch.arange(0, path.head_dim, 2, dtype=torch.int64).float() / path.head_dim
    divisors = torch.tensor(entry["long_factor"], dtype=torch.float32)
    units = torch.arange(-4, 5, dtype=torch.float64)[:, None] * torch.finfo(torch.float32).eps / 2
    near = (divisors.double() * (1 + units)).float()
    miss = (1.0 / (near * entry["rope_theta"] ** exponents) - wanted).abs()
    best = near.gather(0, miss.argmin(0, keepdim=True))[0].tolist()
    return {**entry, "short_factor": best, "long_factor": best}


def _for_vllm(entry: dict[str, Any], t: float) -> dict[str, Any]:
    """The temperature under the names vLLM reads, where its own formula gives another; transformers says once that it skips them.

    vLLM's longrope takes `short_mscale` and `long_mscale`, else √(1 + ln t/ln L); its yarn, before it learnt `attention_factor`,
    multiplied 0.1 ln t + 1 by `attn_factor` (vllm-project/vllm, model_executor/layers/rotary_embedding; read, not run).
    """
    if entry["rope_type"] == "longrope":
        scale, own = entry["attention_factor"], math.sqrt(1 + math.log(t) / math.log(max(2, entry["original_max_position_embeddings"])))
        return entry if math.isclose(scale, own) else {**entry, "short_mscale": scale, "long_mscale": scale}
    if entry["rope_type"] == "yarn":
        scale, own = entry["attention_factor"], 0.1 * math.log(t) + 1
        return entry if math.isclose(scale, own) else {**entry, "attn_factor": scale / own}
    return entry


def _with_entry(model: nn.Module, rotary: Rotary, entry: dict[str, Any], t: float) -> PreTrainedConfig:
    """The model's config before `extend`, with this rope entry where the path was, made anew from its JSON as a reader would."""
    config = copy.deepcopy(model.config)
    inner = config if rotary.config is model.config else config.get_text_config()
    inner.__class__ = rotary.patch.mark.kind
    stock = copy.deepcopy(rotary.patch.mark.rope_parameters)
    if rotary.scaled is None:
        inner.rope_parameters = {**stock, **entry}
    else:
        inner.rope_parameters = {**stock, **{kind: {**stock[kind], **entry} for kind in rotary.scaled}}
    window = rotary.scaling.window
    inner.max_position_embeddings = math.floor(window * t + 1e-6)
    # transformers' longrope fails on a head_dim that is there and None, as Mixtral has it.
    if getattr(inner, "head_dim", 0) is None:
        inner.head_dim = inner.hidden_size // inner.num_attention_heads
    # Phi-3 keeps the trained length beside the rope entry as well, and lets it win.
    if hasattr(inner, "original_max_position_embeddings"):
        inner.original_max_position_embeddings = window
    return type(config).from_dict(json.loads(config.to_json_string(use_diff=False)))


@torch.no_grad()
def _check(config: PreTrainedConfig, rotary: Rotary, t: float, what: str) -> None:
    """Build the stock rotary module and compare its frequencies and temperature with the method's, for short and for long texts."""
    inner = config if isinstance(config, rotary.patch.mark.kind) else config.get_text_config()
    stock = type(rotary.original)(inner)
    wanted, scale = rotary.scaling.inv_freq(t).detach().cpu(), rotary.scaling.attention_scale(t)
    kind = None if rotary.scaled is None else rotary.scaled[0]
    prefix = "" if kind is None else f"{kind}_"
    for length in (1, inner.max_position_embeddings):
        # longrope and dynamic types choose their frequencies by the length they meet.
        try:
            stock(torch.zeros(1), torch.tensor([[length - 1]]), *(() if kind is None else (kind,)))
        except Exception as error:
            # transformers 5.17 cannot run longrope in a config with several layer types.
            raise ValueError(f"this version of transformers fails on its own {what} ({error}); export with a newer one") from error
        given, temperature = getattr(stock, f"{prefix}inv_freq"), getattr(stock, f"{prefix}attention_scaling")
        same = given.shape == wanted.shape and torch.allclose(given, wanted, rtol=tolerance(t), atol=0)
        # The temperature is a number of Python's on both sides.
        if not same or not math.isclose(temperature, scale):
            error = (given / wanted - 1).abs().max().item() if given.shape == wanted.shape else math.nan
            raise ValueError(
                f"{what} turns by other frequencies than {rotary.scaling.title} at factor {t:g} and {length} tokens (relative error"
                f" {error:.1e}, temperature {temperature:g} for {scale:g})"
            )


def _stock_weights(model: PreTrainedModel, rotary: Rotary) -> dict[str, Tensor]:
    seam = next(name for name, module in model.named_modules() if module is rotary)
    return {name: weight for name, weight in model.state_dict().items() if not name.startswith(f"{seam}.")}


@contextmanager
def _config_of(model: PreTrainedModel, config: PreTrainedConfig) -> Iterator[None]:
    """`save_pretrained` writes, and changes, the config it finds on the model: for its length that is another one."""
    own, model.config = model.config, config
    try:
        yield
    finally:
        model.config = own


def _copy_tokenizer(model: PreTrainedModel, written: Folder) -> None:
    """Beside the weights the files that made the tokens, unchanged. A model that did not come from a folder has none."""
    source = Folder(model.name_or_path or "")
    for name in _TOKENIZER if model.name_or_path and source.is_dir() else ():
        if (source / name).is_file():
            shutil.copyfile(source / name, written / name)
