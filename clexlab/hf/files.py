"""What lies in a checkpoint, in a folder or on the hub: config.json and single tensors of safetensors files. Never pickles."""

import json
import os
from collections.abc import Iterable
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file


def find(path: str, name: str) -> str | None:
    """One file of a folder or of a hub repository, as a local path; None if it is not there."""
    if os.path.isdir(path):
        local = os.path.join(path, name)
        return local if os.path.isfile(local) else None
    try:
        # Offline, a file that was never asked for may be missing or only unknown: the reader says what it needed.
        return cached_file(path, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False)
    except OSError as error:
        raise ValueError(f"{path} is no folder on this machine and no model of the hub within reach: {error}") from error


def read_json(path: str, name: str) -> dict[str, Any]:
    """One JSON file of a checkpoint; ValueError if it is missing or no JSON object."""
    file = find(path, name)
    if file is None:
        raise ValueError(f"{path} holds no {name} within reach; pass the folder of a saved model or the name of one on the hub")
    try:
        with open(file, encoding="utf-8") as text:
            content = json.load(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} of {path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} of {path} is not a JSON object")
    return content


def weight_files(path: str) -> list[str]:
    """The safetensors files of a checkpoint, one or many; ValueError if there are none."""
    single = find(path, SAFE_WEIGHTS_NAME)
    if single is not None:
        return [single]
    if find(path, SAFE_WEIGHTS_INDEX_NAME) is None:
        raise ValueError(
            f"{path} holds no {SAFE_WEIGHTS_NAME} and no {SAFE_WEIGHTS_INDEX_NAME}; clexlab reads safetensors only, never pickled weights:"
            " convert them with transformers' save_pretrained first"
        )
    names = sorted(set(read_json(path, SAFE_WEIGHTS_INDEX_NAME)["weight_map"].values()))
    files = [find(path, name) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}, which its index names")
    return files


def tensors(files: Iterable[str], part: str) -> dict[str, Tensor]:
    """Every tensor of these files whose name contains `part`, under what follows it; all others stay on disk.

    Raises ValueError when two of them would have one name.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        for name, weight in _matching(file, part).items():
            rest = name.rpartition(part)[2]
            if rest in found:
                raise ValueError(f"{file} holds a second {rest}; a model has one path")
            found[rest] = weight
    return found


def _matching(file: str, part: str) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as content:
            return {name: content.get_tensor(name) for name in content.keys() if part in name}  # noqa: SIM118 - not a dictionary
    except SafetensorError as error:
        raise ValueError(f"{file} is no complete safetensors file: {error}") from error
