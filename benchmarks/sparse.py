"""Forward and backward of one layer of sparse attention over full attention's, by length, beside the counts: at most 0.7 in chunks.

One layer's queries, keys and values, chunks of a quarter of the text as in LongLoRA. Full attention is SDPA's own causal kernel; each
pattern is computed by its mask, and chunk by chunk where it comes in chunks, after both were found equal. Peaks of memory come from
processes of their own. Masks are made once for all layers of a model, and are not in the time.
"""

import gc
import json
import os
import statistics
import subprocess
import sys

import psutil
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.memory import peak
from benchmarks.timing import paired, ratio
from clexlab import sparse
from clexlab.sparse import PATTERNS, Pattern

LENGTHS, HEADS, HEAD_DIM, ROUNDS = (512, 1024, 2048, 4096), 4, 64, 9
# What must pay at the longest text: patterns whose chunks hold a quarter of the dense scores, or an eighth of them more.
BOUND, TARGET = ("local", "s2", "scca_fixed"), 0.7
# (way, pattern) of the cases whose memory is measured, at the two longest texts.
REMEMBERED = (("full", "local"), ("masked", "s2"), ("chunked", "s2"), ("chunked", "scca_flow"))
# float32 sums of up to 4096 terms of unit size in another order.
TOLERANCE = 1e-4
CONFIG = {
    "lengths": list(LENGTHS),
    "heads": HEADS,
    "head_dim": HEAD_DIM,
    "rounds": ROUNDS,
    "chunk": "length / 4",
    "target": TARGET,
    "dtype": "float32",
    "clock": "CPU time of one thread",
}


def run() -> dict:
    """Ratios, counts and memory per length; `met` when every bound pattern in chunks is within the target at the longest."""
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    found = {str(length): measure(length) for length in LENGTHS}
    longest = {name: found[str(max(LENGTHS))][name]["chunked"]["ratio"] for name in BOUND}
    return {
        "met": all(value <= TARGET for value in longest.values()),
        "worst": max(longest.values()),
        "target": TARGET,
        "load": load,
        "load_after": os.getloadavg()[0],
        **found,
        "memory": {str(length): memory_by_case(length) for length in LENGTHS[-2:]},
    }


def measure(length: int) -> dict:
    """One length: full attention twice, then every pattern, masked and in chunks, with what its formulas count."""
    given, found = states(length), {}
    patterns = {kind.name: kind.default(length) for kind in PATTERNS}
    ways = {"full": lambda: full(*given), "full_again": lambda: full(*given)}
    for name, pattern in patterns.items():
        mask = pattern.visible(HEADS, length)
        ways[f"{name}.masked"] = lambda mask=mask: masked(*given, mask)
        if in_chunks(pattern):
            ways[f"{name}.chunked"] = lambda pattern=pattern: sparse.attention(*given, pattern)
            check_equal(name, ways[f"{name}.chunked"](), ways[f"{name}.masked"]())
    times = paired({name: lambda way=way: step(way(), given) for name, way in ways.items()}, ROUNDS)
    base = times.pop("full")
    found["full_ms"], found["full_again"] = milliseconds(base), ratio(times.pop("full_again"), base)
    for name, pattern in patterns.items():
        found[name] = counts(pattern, length)
    for case, taken in times.items():
        name, way = case.split(".")
        found[name][way] = {"ms": milliseconds(taken), **ratio(taken, base)}
    return found


def counts(pattern: Pattern, length: int) -> dict:
    """Pairs the pattern has over those of the causal triangle, and scores its chunks compute over the same, of all heads."""
    triangle = HEADS * length * (length + 1) // 2
    shares = {"pairs": round(int(sparse.entries(pattern, HEADS, length).sum()) / triangle, 4)}
    if in_chunks(pattern):
        shares["computed"] = round(sparse.computed(pattern, HEADS, length) / triangle, 4)
    return shares


def in_chunks(pattern: Pattern) -> bool:
    try:
        pattern.windows(HEADS)
    except ValueError:
        return False
    return True


def states(length: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, HEADS, length, HEAD_DIM, generator=generator, requires_grad=True) for _ in range(3)]


def full(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, key, value, is_causal=True)


def masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """As `hf.Masked` does it: empty rows see everything and are put to zero."""
    blank = ~mask.any(-1, keepdim=True)
    return scaled_dot_product_attention(query, key, value, attn_mask=(mask | blank)[None]).masked_fill(blank, 0.0)


def step(output: Tensor, given: list[Tensor]) -> None:
    """The backward pass; gradients are not kept."""
    torch.autograd.grad(output, given, output)


def check_equal(name: str, one: Tensor, other: Tensor) -> None:
    """Both must compute the same, else their times compare different things."""
    apart = float((one - other).detach().abs().max())
    if apart > TOLERANCE:
        raise RuntimeError(f"{name} in chunks differs from its mask by {apart:.1e}; they are not the same pattern")


def memory_by_case(length: int) -> dict:
    """Megabytes (10⁶ bytes) at the peak of one step beyond queries, keys and values; the mask counts, as it has to be somewhere."""
    found = {}
    # Large blocks go back to the system when they are freed, so that a peak is what was held and not how the heap lies (glibc only).
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    for way, name in REMEMBERED:
        command = [sys.executable, "-m", "benchmarks.sparse", json.dumps({"way": way, "pattern": name, "length": length})]
        label = way if way == "full" else f"{name}.{way}"
        found[label] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    return found


def one_peak(case: dict) -> float:
    """One case, in this process: what it held at its peak beyond what it held before the step."""
    torch.set_num_threads(1)
    prepare(case | {"length": 64})()
    given_work = prepare(case)
    gc.collect()
    before = psutil.Process().memory_info().rss
    given_work()
    return round((peak() - before) / 1e6, 1)


def prepare(case: dict):
    """The inputs of a case, and one step on them as a function without arguments."""
    given, pattern = states(case["length"]), sparse.by_name(case["pattern"]).default(case["length"])
    if case["way"] == "full":
        return lambda: step(full(*given), given)
    if case["way"] == "chunked":
        return lambda: step(sparse.attention(*given, pattern), given)
    return lambda: step(masked(*given, pattern.visible(HEADS, case["length"])), given)


def milliseconds(times: list[float]) -> float:
    return round(1e3 * statistics.median(times), 2)


if __name__ == "__main__":
    print(json.dumps(one_peak(json.loads(sys.argv[1]))))
