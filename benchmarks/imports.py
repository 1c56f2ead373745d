"""How long `import clexlab` takes in a fresh interpreter; nothing heavy may load before it is used."""

import statistics
import subprocess
import sys

CODE = "import time; start = time.perf_counter(); import clexlab; print(time.perf_counter() - start)"
TARGETS = {"import_seconds": 0.3}
CONFIG = {"code": CODE, "processes": 9}


def run() -> dict:
    times = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
        for _ in range(CONFIG["processes"])
    ]
    median = statistics.median(times)
    return {"import_seconds": median, "worst": max(times), "targets": TARGETS, "met": median <= TARGETS["import_seconds"]}
