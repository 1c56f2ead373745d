"""What tests of the study share: a tiny model with random weights, texts of random tokens, a budget of three steps."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from clexlab import bpe, study
from clexlab.study import runs

WINDOW = 64
LONGEST = 16 * WINDOW
# Estimates of nothing: whatever fits into a call is decided by what was seen.
TINY = study.Profile(
    name="tiny",
    steps=3,
    texts=2,
    trials=1,
    depths=(0.5,),
    recall_factors=(1.0, 2.0),
    seeds=(1, 2),
    log_every=1,
    save_every=1,
    training_seconds=0.0,
    measuring_seconds=0.0,
)


def quiet(line):
    pass


def material(folder):
    """A model with random weights and texts of random tokens: enough for everything but the size of a number."""
    tokenizer = bpe.load()
    config = LlamaConfig(
        vocab_size=bpe.SIZE,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, bpe.SIZE, (LONGEST + 200,), generator=generator) for _ in range(8)]
    return study.Material(
        folder=folder, tokenizer=tokenizer, window=WINDOW, train=texts[:4], held_out=texts[4:], fingerprint="random tokens"
    )


def place(given, folder, profile=TINY):
    return runs.Place(material=given, profile=profile, device="cpu", work=folder)
