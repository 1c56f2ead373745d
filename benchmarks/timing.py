"""Fair timing on a shared machine: the candidates take turns, and medians are compared."""

import gc
import random
import statistics
import time
from collections.abc import Callable

import numpy


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def take_turns(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate over `rounds` rounds in which every candidate runs once, after one warm-up each."""
    for work in candidates.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            times[name].append(seconds(work))
    return {name: statistics.median(values) for name, values in times.items()}


def paired(candidates: dict[str, Callable[[], object]], rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """CPU seconds of this thread for every candidate in every round, in a random order per round, after one warm-up each.

    CPU time of one thread does not count the time in which other programs hold the core, and nearby calls share what
    remains of the neighbours' influence, so compare candidates round by round: `ratio`. The collector of cycles waits.
    """
    order, shuffle = list(candidates), random.Random(seed).shuffle
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for work in candidates.values():
        work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                start = time.thread_time()
                candidates[name]()
                times[name].append(time.thread_time() - start)
    finally:
        gc.enable()
    return times


def ratio(times: list[float], base: list[float], samples: int = 2000) -> dict[str, float]:
    """Median of the rounds' ratios times/base, and the interval that holds 95 % of the medians of resampled rounds."""
    ratios = numpy.array(times) / numpy.array(base)
    resampled = numpy.random.default_rng(0).choice(ratios, (samples, len(ratios)))
    low, high = numpy.quantile(numpy.median(resampled, axis=1), [0.025, 0.975])
    return {"ratio": round(float(numpy.median(ratios)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
