"""`python -m benchmarks [NAME …] [--out FOLDER]`: run, print, and keep one record each in data/results/benchmarks."""

import argparse
import importlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from clexlab import results

BENCHMARKS = ("imports", "solve", "decode", "memory", "latency", "throughput", "sparse")


def main() -> int:
    """Exit status 0 when every benchmark met its targets, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all when left out")
    parser.add_argument("--out", type=Path, default=results.FOLDER, help="where records go (default: data/results)")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    met = True
    for name in options.names or BENCHMARKS:
        benchmark = importlib.import_module(f"benchmarks.{name}")
        start = time.perf_counter()
        metrics = benchmark.run()
        record = results.Record(
            experiment="benchmarks",
            run=f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
            config=benchmark.CONFIG,
            metrics=metrics,
            seed=0,
            seconds=time.perf_counter() - start,
            protocol=benchmark.__doc__.splitlines()[0],
        )
        path = results.write(record, options.out)
        print(f"{name}: {'targets met' if metrics['met'] else 'TARGET MISSED'} -> {path.name}")
        print(json.dumps(metrics, indent=2))
        met = met and metrics["met"]
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
