"""What every run of a study starts from: one base model, one tokenizer, documents to train on and others to measure on."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from clexlab import base, bpe, corpora, evaluation, lookup, rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """`folder` of the base model, whose window is `window`; `train` and `held_out` are whole documents as tokens."""

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    window: int
    train: list[Int[Tensor, "_"]]
    held_out: list[Int[Tensor, "_"]]
    fingerprint: str

    def model(self) -> LlamaForCausalLM:
        """The untouched base model, its own copy each time."""
        return base.load(self.folder)[0]

    @property
    def weights(self) -> str:
        """What the base model's weights are known by: a model that is trained anew has others."""
        files = sorted(self.folder.glob("*.safetensors"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def rows(self, seed: int, count: int, span: int = 1, shares: Mapping[str, float] | None = None) -> rows.Rows:
        """Training rows of `span` windows, of the base's parts or of other `shares`: the same ones for every method of a seed."""
        generator = torch.Generator().manual_seed(seed)
        return base.data(self.train, self.tokenizer, span * self.window, count, generator, base.SHARES if shares is None else shares)

    def texts(self, count: int, longest: int) -> list[Int[Tensor, "_"]]:
        """Held-out texts of `longest` + 1 tokens, the same ones for every run of every seed."""
        return base.cut(self.held_out, count, longest)

    @property
    def tasks(self) -> Mapping[str, Callable[[int, int], tuple[evaluation.Trial, ...]]]:
        """What can be asked for, by its name: each draws `count` trials for texts of up to `longest` tokens."""
        return {"passkey": self.passkeys, "copy": self.copies, "lookup": self.lookups}

    def passkeys(self, count: int, longest: int) -> tuple[evaluation.Trial, ...]:
        """Pass keys in held-out text, the same ones for every run of every seed."""
        return evaluation.passkeys(self.tokenizer, self.held_out, longest, count, torch.Generator().manual_seed(0))

    def copies(self, count: int, longest: int) -> tuple[evaluation.Trial, ...]:
        """Spans of random tokens in held-out text, the same ones for every run of every seed."""
        return evaluation.copies(len(self.tokenizer), self.held_out, longest, count, torch.Generator().manual_seed(0))

    def lookups(self, count: int, longest: int) -> tuple[evaluation.Trial, ...]:
        """Cells of tables as long as the text, the same ones for every run of every seed."""
        return lookup.lookups(self.tokenizer, self.held_out, longest, count, torch.Generator().manual_seed(0))


def shipped() -> Material:
    """The shipped base model and tokenizer, and the standard library."""
    tokenizer = bpe.load()
    halves = {half: corpora.standard_library(half) for half in ("train", "held_out")}
    coded = {half: rows.encode([document.text for document in corpus.documents], tokenizer) for half, corpus in halves.items()}
    return Material(
        folder=base.FOLDER,
        tokenizer=tokenizer,
        window=base.WINDOW,
        train=coded["train"],
        held_out=coded["held_out"],
        fingerprint=halves["train"].fingerprint,
    )
