"""Peak memory of evaluating a text of 32,768 tokens on the base model's shape, over weights and key cache: at most 1.2.

Each case runs in a process of its own. Counted is what the process holds at its peak beyond what it held when everything was
imported and a first small model had been read. Weights are random: memory does not depend on them.
"""

import json
import subprocess
import sys
import time

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.peaks import peak
from clexlab import evaluation, hf, scaling
from clexlab.evaluation import prefill

WINDOW, LENGTH = 256, 32_768
SHAPE = dict(vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4)
TINY = dict(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
TARGET = 1.2
# Case by case: the tokens, how the model is extended, and whether the text is read at once, as it was before there were chunks.
CASES = {
    "yarn": {"length": LENGTH, "method": "yarn", "cache": "rerotate", "at_once": False},
    "yarn_quarter_at_once": {"length": LENGTH // 4, "method": "yarn", "cache": "rerotate", "at_once": True},
}
BOUND = ("yarn",)
CONFIG = {**SHAPE, "window": WINDOW, "cases": CASES, "target": TARGET, "dtype": "float32", "threads": 1, "attention": "sdpa"}


def run() -> dict:
    """Peak, weights, cache and their ratio for every case; `met` when the bound cases stay within the target."""
    found = {name: in_a_process(case) for name, case in CASES.items()}
    return {"met": all(found[name]["ratio"] <= TARGET for name in BOUND), "target": TARGET, **found}


def in_a_process(case: dict) -> dict:
    """`measure` in a fresh process: a peak is never given back, so each case needs its own."""
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(case)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(case: dict) -> dict:
    """One case, in this process. Megabytes are 10⁶ bytes."""
    torch.set_num_threads(1)
    usual, prefill.AT_ONCE = prefill.AT_ONCE, WINDOW
    # What is imported at its first use is no part of an evaluation: all of it runs once, in chunks, on next to nothing.
    evaluate(extended(TINY, case), 2 * WINDOW)
    prefill.AT_ONCE = case["length"] if case["at_once"] else usual
    before = psutil.Process().memory_info().rss
    model = extended(SHAPE, case)
    began = time.perf_counter()
    loss = evaluate(model, case["length"])
    seconds = time.perf_counter() - began
    extra = peak() - before
    weights, cache = weight_bytes(model), cache_bytes(model, case["length"])
    return {
        "ratio": round(extra / (weights + cache), 3),
        "peak_mb": round(extra / 1e6, 1),
        "weights_mb": round(weights / 1e6, 1),
        "cache_mb": round(cache / 1e6, 1),
        "libraries_mb": round(before / 1e6, 1),
        "loss": round(loss, 4),
        "seconds": round(seconds, 1),
    }


def build(shape: dict) -> LlamaForCausalLM:
    """A random Llama in float32 and eval mode."""
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    return LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=WINDOW, rope_parameters=rope, tie_word_embeddings=True)).eval()


def extended(shape: dict, case: dict) -> LlamaForCausalLM:
    model = build(shape)
    return hf.extend(model, hf.scaling_for(model, scaling.by_name(case["method"])), cache=case["cache"])


def evaluate(model: LlamaForCausalLM, length: int) -> float:
    """Loss of a random text of `length` tokens."""
    tokens = torch.randint(1, model.config.vocab_size, (length + 1,), generator=torch.Generator().manual_seed(0))
    return evaluation.loss_by_length(model, [tokens], WINDOW, (length / WINDOW,)).rows[0].whole


def weight_bytes(model: LlamaForCausalLM) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def cache_bytes(model: LlamaForCausalLM, length: int) -> int:
    """Keys and values of all layers."""
    config = model.config
    heads = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * length * model.dtype.itemsize


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
