"""`clexlab export`: a model with a method, frozen at one factor, as a checkpoint that unmodified transformers loads."""

import argparse
import math
import os
import tempfile
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerBase

from clexlab import hf, scaling
from clexlab.commands.models import UNTRAINED, build, checked_name, open_model, open_tokenizer, window_for
from clexlab.commands.usage import Usage, check_writable, quiet, refusing
from clexlab.hf import exporting


def run(options: argparse.Namespace) -> int:
    """Write the checkpoint beside its place first, then move it there whole."""
    out = Path(options.out)
    with quiet(), refusing():
        if out.exists() or out.is_symlink():
            raise Usage(f"{out} exists; export writes a new folder, choose another --out")
        above = check_writable(out)
        if len(options.methods) > 1:
            raise Usage("export takes one --method; a checkpoint has one way to turn its positions")
        wanted = [(checked_name(name), given) for name, given in options.methods]
        model, saved = open_model(options.model, "auto")
        if saved is None and not wanted:
            raise Usage(f"{options.model} is a stock model; say with what it shall be exported, for example --method yarn")
        if saved is not None and wanted:
            raise Usage(f"{options.model} was saved with {saved.scaling.name}; export it without --method")
        window = window_for(model, saved, options.window)
        path = build(model, *wanted[0], window) if saved is None else saved.scaling
        path.check_single(options.factor)
        # A stock checkpoint holds one weight where an adapter has a product beside it.
        model = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
        try:
            tokenizer, lack = open_tokenizer(options.model), None
        except Usage as error:
            # A checkpoint without one is of use too; whoever wants it is told why it is not there.
            tokenizer, lack = None, str(error)
        with tempfile.TemporaryDirectory(dir=above, prefix=".clexlab-export-") as draft:
            write_checkpoint(model, path, options.factor, Path(draft) / "checkpoint", tokenizer)
            out.parent.mkdir(parents=True, exist_ok=True)
            os.rename(Path(draft) / "checkpoint", out)
    print(f"{out}: {path.name} at factor {options.factor:g}, {window} → {math.floor(window * options.factor)} tokens")
    print(f'load it with transformers alone: AutoModelForCausalLM.from_pretrained("{out}")')
    if saved is None and isinstance(path, scaling.CLEX):
        print(UNTRAINED)
    if lack is not None:
        print(lack)
    return 0


def write_checkpoint(model: nn.Module, path: scaling.Path, factor: float, at: Path, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """The model with `path` frozen at `factor` in the folder `at`, and its tokenizer."""
    with hf.extended(model, path, factor=factor):
        exporting.export(model, factor, at)
    # From a folder its files came along unchanged; a model from the hub has them elsewhere.
    if tokenizer is not None and not (at / "tokenizer_config.json").exists():
        tokenizer.save_pretrained(at)
