"""The base model: a Llama of 6.2 million parameters with a window of 256 tokens, shipped so that every experiment starts from it.

    clexlab train words --out words        four stages, one after the other in one folder
    clexlab train recall --out recall
    clexlab train base --out base
    clexlab train keys --out keys          the shipped model

Trained on the source of Python's standard library: plain text and rows with pass keys and with spans to copy, so that recall within
the window can be tested beyond it; then rows that repeat themselves, on which heads that look back form; then both; then pass keys
in plenty, until they are recalled (the shares are in `configs`). Every row lies inside one document. Good inside its window,
clearly worse beyond: that is the exhibit.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from clexlab import bpe, corpora, interleaved, lookup, results, rows, tasks

FOLDER = results.ROOT / "data" / "models" / "base"
WINDOW = 256
# Which part of the rows comes from which source, in the third stage and in every tuning of the study.
SHARES = {"text": 0.7, "passkey": 0.1, "copy": 0.1, "echo": 0.07, "echo_few": 0.03}


def config() -> LlamaConfig:
    """The shipped model's shape, with plain RoPE of base 10 000."""
    return LlamaConfig(
        vocab_size=bpe.SIZE,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        # Twice the usual spread of first weights: so narrow a model learns faster from there.
        initializer_range=0.04,
    )


def fresh(seed: int) -> LlamaForCausalLM:
    """An untrained model, its weights drawn with `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config())


def data(
    documents: list[Int[Tensor, "_"]],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    count: int,
    generator: torch.Generator,
    shares: Mapping[str, float] = MappingProxyType(SHARES),
) -> rows.Rows:
    """`count` rows of `length` tokens in the `shares` of the parts; left out, those that the base was trained and methods are tuned on.

    Parts: "text", "passkey" and "copy" (things to recall in text), "keys" (pass keys, hardly any text), "echo" and "echo_few" (a span
    said again and again, of any token or of few), "interleaved" (chunks of four documents in turn), "lookup" (a table and questions).
    """
    text, size = cache(lambda: rows.Text(documents, length)), len(tokenizer)
    # Built only where asked for: not every part has rows of every length.
    makers = {
        "text": text,
        "interleaved": lambda: interleaved.Interleaved(documents, length),
        "passkey": lambda: tasks.Passkey(text(), tokenizer),
        "keys": lambda: tasks.Passkey.dense(text(), tokenizer),
        "copy": lambda: tasks.Copy(text(), size),
        "echo": lambda: tasks.Echo("echo", length, size, size - 1),
        "echo_few": lambda: tasks.Echo("echo_few", length, size, tasks.FEW),
        "lookup": lambda: lookup.Lookup(text(), tokenizer),
    }
    return rows.mix({make(): shares[name] for name, make in makers.items() if name in shares}, count, generator)


def never_drawn(documents: list[Int[Tensor, "_"]], length: int, shares: Mapping[str, float]) -> int:
    """How many documents are too short for every part of such rows: nothing of them is ever read."""
    needed = length // interleaved.TOGETHER if "interleaved" in shares else length
    return sum(len(document) < needed for document in documents)


def load(folder: Path = FOLDER) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The shipped model, in float32 and eval mode, and its tokenizer."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no model; data/README.md has the four commands that make the base model")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def held_out(count: int, length: int = 16 * WINDOW) -> list[Int[Tensor, "_"]]:
    """`count` texts of `length` + 1 tokens to measure on, cut without overlap from held-out documents, drawn with seed 0."""
    return cut(rows.encode([document.text for document in corpora.standard_library("held_out").documents], bpe.load()), count, length)


def cut(documents: list[Int[Tensor, "_"]], count: int, length: int) -> list[Int[Tensor, "_"]]:
    """`count` texts of `length` + 1 tokens, cut without overlap from `documents`, drawn with seed 0: always the same ones."""
    pieces = [piece for tokens in documents for piece in tokens.split(length + 1) if len(piece) == length + 1]
    if len(pieces) < count:
        raise ValueError(f"the held-out half has {len(pieces)} texts of {length + 1} tokens, {count} were asked for")
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
    return [pieces[index] for index in order[:count].tolist()]
