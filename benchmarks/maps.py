"""Time and memory of reading texts of 1 to 16 windows through each map, beside plain attention, on the base model's shape.

Plain attention is transformers' fused one. Times are CPU times of one thread, candidates in turns, compared round by round. For memory
every candidate has a process of its own, which reads one length after the other, and counted is what it holds at its peak beyond what it
held before the first. Weights are random: neither depends on them.
"""

import json
import os
import subprocess
import sys

import psutil
import torch
from torch import nn

from benchmarks.memory import SHAPE, WINDOW, build
from benchmarks.peaks import peak
from benchmarks.timing import paired, ratio
from clexlab import hf
from clexlab.positions import maps

WINDOWS, LONGEST = (1, 2, 4, 8, 16), 16
ROUNDS = {1: 12, 2: 8, 4: 6, 8: 4, 16: 3}
PLAIN = "plain"
# No map that scores each pair once may cost twice plain attention. GALI, which turns all keys twice for every chunk, is not bound.
TIME_TARGET, MEMORY_TARGET = 2.0, 2.0
BOUND = tuple(kind.name for kind in maps.MAPS if kind is not maps.GALI)
CONFIG = {
    **SHAPE,
    "window": WINDOW,
    "windows": list(WINDOWS),
    "rounds": {f"{windows}x": rounds for windows, rounds in ROUNDS.items()},
    "maps": {kind.name: repr(kind.default(WINDOW)) for kind in maps.MAPS},
    "time_target": TIME_TARGET,
    "memory_target": MEMORY_TARGET,
    "dtype": "float32",
    "threads": 1,
    "clock": "CPU time of one thread",
}


def run() -> dict:
    """By map the ratio of times at every length with its interval, and peaks in megabytes; `met` where both targets are."""
    torch.set_num_threads(1)
    names = (PLAIN, *(kind.name for kind in maps.MAPS))
    # Before this process has grown, for where a peak is not told apart from that of the process that started it.
    peaks = {name: in_a_process(name) for name in names}
    times = {windows: measure_times(windows) for windows in WINDOWS}
    found = {
        name: {
            "time": {f"{windows}x": times[windows][name] for windows in WINDOWS},
            "peak_mb": peaks[name],
            "peak_ratio": round(peaks[name][f"{LONGEST}x"] / peaks[PLAIN][f"{LONGEST}x"], 2),
        }
        for name in names
    }
    quick = all(found[name]["time"][f"{LONGEST}x"]["ratio"] <= TIME_TARGET for name in BOUND)
    small = all(found[name]["peak_ratio"] <= MEMORY_TARGET for name in names)
    return {"met": quick and small, "time_target": TIME_TARGET, "memory_target": MEMORY_TARGET, **found}


def candidates(*names: str) -> dict[str, nn.Module]:
    """The same random model, plain or read through the default map of that name."""
    found = {}
    for name in names:
        model = build(SHAPE)
        found[name] = (model if name == PLAIN else hf.remap(model, maps.by_name(name).default(WINDOW))).get_decoder()
    return found


def read(decoder: nn.Module, windows: int) -> None:
    """One text in one call, with its key cache."""
    tokens = torch.randint(1, SHAPE["vocab_size"], (1, windows * WINDOW), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoder(tokens, use_cache=True)


def measure_times(windows: int) -> dict[str, dict[str, float]]:
    """Every candidate at one length: the ratio to plain attention, and its median in milliseconds."""
    readers = {
        name: lambda decoder=decoder: read(decoder, windows)
        for name, decoder in candidates(PLAIN, *(kind.name for kind in maps.MAPS)).items()
    }
    times = paired(readers, ROUNDS[windows])
    return {name: ratio(taken, times[PLAIN]) | {"ms": round(1000 * sorted(taken)[len(taken) // 2], 1)} for name, taken in times.items()}


def in_a_process(name: str) -> dict[str, float]:
    """`measure_peaks` in a fresh process: a peak is never given back."""
    command = [sys.executable, "-m", "benchmarks.maps", name]
    # Large blocks go back to the system when they are freed, so that a peak is what was held and not how the heap lies (glibc only).
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure_peaks(name: str) -> dict[str, float]:
    """Megabytes of 10⁶ bytes beyond the weights, at every length, in this process; lengths rise, so each is a peak of its own."""
    torch.set_num_threads(1)
    (decoder,) = candidates(name).values()
    # What is imported or set up at its first use is no part of a reading.
    with torch.no_grad():
        decoder(torch.ones(1, 8, dtype=torch.long), use_cache=True)
    before, found = psutil.Process().memory_info().rss, {}
    for windows in WINDOWS:
        read(decoder, windows)
        found[f"{windows}x"] = round((peak() - before) / 1e6, 1)
    return found


if __name__ == "__main__":
    print(json.dumps(measure_peaks(sys.argv[1])))
