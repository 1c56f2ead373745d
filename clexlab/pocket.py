"""The pocket model: a Llama of 0.8 million parameters that reads bytes, shipped for lessons to measure on.

    python -m clexlab.pocket --out FOLDER --seed 0 --device cpu --steps 2500

Trained on the source of Python's standard library, in windows of 128 bytes. Every row lies inside one document: no attention
across documents, and positions start at 0 in every row; a separator token begins and ends each document. Good inside its
window, clearly worse beyond: that is what it is for. One seed and a short training: it is no judge of methods.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from jaxtyping import Int
from tokenizers import Tokenizer, decoders, models
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer

from clexlab import corpora, evaluation, results
from clexlab.training import own_group

FOLDER = results.ROOT / "data" / "models" / "pocket"
# Rows in a step, and tokens in a row. The token after the bytes begins and ends a document.
BATCH, WINDOW, SEPARATOR = 16, 128, 256


def config(
    *,
    hidden_size: int = 128,
    intermediate_size: int = 384,
    num_hidden_layers: int = 4,
    num_attention_heads: int = 4,
    num_key_value_heads: int = 2,
    max_position_embeddings: int = WINDOW,
    rope_parameters: dict | None = None,
) -> LlamaConfig:
    """The shipped model's shape, with plain RoPE of base 10 000; every part of it can be another, for smaller models in tests."""
    return LlamaConfig(
        vocab_size=257,
        bos_token_id=SEPARATOR,
        eos_token_id=SEPARATOR,
        tie_word_embeddings=True,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=num_attention_heads,
        num_key_value_heads=num_key_value_heads,
        max_position_embeddings=max_position_embeddings,
        rope_parameters=rope_parameters or {"rope_type": "default", "rope_theta": 10_000.0},
        # Three times the usual spread of first weights: so narrow a model learns faster from there.
        initializer_range=0.06,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte of UTF-8, the token's id is the byte; 256 is the separator."""
    rules = Tokenizer(models.BPE(vocab={f"<0x{byte:02X}>": byte for byte in range(256)}, merges=[], byte_fallback=True))
    rules.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    ends = dict(bos_token="<|document|>", eos_token="<|document|>")
    return PreTrainedTokenizerFast(tokenizer_object=rules, clean_up_tokenization_spaces=False, **ends)


def encode(documents: Sequence[str]) -> list[Int[Tensor, "tokens"]]:
    """Tokens of every document, with the separator before and after: what `tokenizer` gives, without its detour over text."""
    return [torch.tensor([SEPARATOR, *text.encode(), SEPARATOR]) for text in documents]


def rows(
    documents: Sequence[Int[Tensor, "_"]], length: int, count: int, generator: torch.Generator
) -> Int[Tensor, "count length"]:
    """Draw `count` rows of `length` tokens, each inside one document, every place of every document equally likely.

    Documents shorter than a row have no place and are never drawn. Raises ValueError when all are.
    """
    places = torch.tensor([max(0, len(tokens) - length + 1) for tokens in documents])
    ends = places.cumsum(0)
    if not len(documents) or ends[-1] == 0:
        raise ValueError(f"none of {len(documents)} documents has {length} tokens; give longer texts or shorter rows")
    drawn = torch.randint(int(ends[-1]), (count,), generator=generator)
    owner = torch.searchsorted(ends, drawn, right=True)
    starts = (drawn - (ends - places)[owner]).tolist()
    return torch.stack([documents[one][start : start + length] for one, start in zip(owner.tolist(), starts, strict=True)])


def train(
    model: LlamaForCausalLM,
    documents: Sequence[str],
    *,
    steps: int,
    seed: int,
    device: str,
    scratch: Path,
    rate: float = 3e-3,
    field: Sequence[nn.Parameter] = (),
    field_rate: float = 0.0,
) -> tuple[LlamaForCausalLM, list[dict]]:
    """Train `model` on rows of its window for `steps` steps of 16 rows with transformers' Trainer; the model and the log.

    AdamW, learning rate `rate` with up to 100 steps of warm-up and a cosine to zero, weight decay 0.1, float32; the parameters in
    `field` get `field_rate` and no decay. Two runs with one seed on one machine and one thread are equal. `scratch` is a folder
    the Trainer may use; nothing is kept there.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = rows(encode(documents), model.config.max_position_embeddings, BATCH * steps, generator)
    texts = [{"input_ids": row, "labels": row} for row in drawn]
    trainer = Trainer(model=model, args=_arguments(steps, seed, device, scratch, rate), train_dataset=texts)
    if field:
        own_group(trainer.create_optimizer(), field, field_rate)
    trainer.train()
    # The Trainer switches the cache off and would save that.
    trainer.model.config.use_cache = True
    return trainer.model, trainer.state.log_history


def _arguments(steps: int, seed: int, device: str, scratch: Path, rate: float) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=str(scratch),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=rate,
        warmup_steps=min(100, steps // 2),
        lr_scheduler_type="cosine",
        weight_decay=0.1,
        adam_beta2=0.98,
        logging_steps=max(1, steps // 50),
        save_strategy="no",
        seed=seed,
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
    )


def held_out(count: int, length: int = 8 * WINDOW) -> list[Int[Tensor, "_"]]:
    """`count` texts of `length` + 1 tokens to measure on, cut without overlap from held-out documents, drawn with seed 0."""
    documents = [torch.tensor([*document.text.encode()]) for document in corpora.standard_library("held_out").documents]
    pieces = [piece for tokens in documents for piece in tokens.split(length + 1) if len(piece) == length + 1]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
    return [pieces[index] for index in order[:count].tolist()]


def load(folder: Path = FOLDER) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The shipped model, in float32 and eval mode, and its tokenizer. Any folder that `main` wrote will do."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no model; make one with python -m clexlab.pocket --out {folder}")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save to --out, measure, and write a record to --records; status 2 and a line on stderr for bad input."""
    options = parser("pocket", "train the pocket model", seed=0, steps=2500).parse_args(arguments)
    run = f"{options.out.name}-seed{options.seed}"
    if not may_start(options, [options.records / "pocket" / f"{run}.json"]):
        return 2
    corpus, began = corpora.standard_library("train"), time.perf_counter()
    texts = [document.text for document in corpus.documents]
    torch.manual_seed(options.seed)
    model = LlamaForCausalLM(config())
    with tempfile.TemporaryDirectory() as scratch:
        model, log = train(model, texts, steps=options.steps, seed=options.seed, device=options.device, scratch=Path(scratch))
    seconds = time.perf_counter() - began
    for part in (model, tokenizer()):
        part.save_pretrained(options.out)
    model, _ = load(options.out)
    measured = evaluation.compare(model, [], held_out(256), WINDOW, (1, 2, 4, 8), batch=16)
    curve = {str(entry["step"]): entry["loss"] for entry in log if "loss" in entry}
    print(evaluation.table(measured))
    about = dict(config=_settings(options, corpus), seed=options.seed, device=options.device)
    done = evaluation.record(measured[0], experiment="pocket", run=run, **about)
    tokens, metrics = options.steps * BATCH * WINDOW, {**done.metrics, "training_loss": curve}
    results.write(replace(done, seconds=seconds, tokens=tokens, metrics=metrics), options.records)
    return 0


def _settings(options: argparse.Namespace, corpus: corpora.Corpus) -> dict:
    return {
        "command": f"python -m clexlab.pocket --out {options.out.name} --seed {options.seed} --steps {options.steps}",
        "model": config().to_diff_dict(),
        "corpus": corpus.source,
        "fingerprint": corpus.fingerprint,
        "documents": len(corpus.documents),
        "never_drawn": sum(len(document.text.encode()) < WINDOW - 2 for document in corpus.documents),
        "steps": options.steps,
        "rows": f"{BATCH} a step, each inside one document",
    }


def parser(name: str, purpose: str, *, seed: int, steps: int) -> argparse.ArgumentParser:
    """The command line of a module that trains a shipped model."""
    found = argparse.ArgumentParser(prog=f"python -m clexlab.{name}", description=purpose, allow_abbrev=False)
    found.add_argument("--out", type=Path, required=True, help="folder to make for the model and its tokenizer")
    found.add_argument("--records", type=Path, default=results.FOLDER, help="where records live (default: data/results)")
    found.add_argument("--seed", type=int, default=seed)
    found.add_argument("--steps", type=int, default=steps, help=f"steps of {BATCH} rows of {WINDOW} tokens (default: {steps})")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return found


def may_start(options: argparse.Namespace, records: Sequence[Path]) -> bool:
    """False, with a line on stderr that says why, where something would be overwritten, or there is nothing to do."""
    taken = [path.name for path in (options.out, *records) if path.exists()]
    if taken:
        print(f"{', '.join(taken)} exists and is never overwritten; choose another --out, --seed or --records", file=sys.stderr)
    elif options.steps < 1:
        print(f"steps is {options.steps}; it must be at least 1", file=sys.stderr)
    return not taken and options.steps >= 1


if __name__ == "__main__":
    sys.exit(main())
