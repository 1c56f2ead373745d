"""Made-up records of a study, in the shape `clexlab run study` writes them, for tests of what shows records."""

import math

from clexlab import results

FACTORS = (1, 2, 4, 8, 16)
WINDOW = 256


def record(method, rise=0.0, seed=0, *, title="", control="", profile="cpu", shift=0.0, experiment="study", **more):
    """Loss 3.5 at one window and `rise` more for every doubling; `shift` moves all of it, `more` are further metrics."""
    last = {f"{factor}": 3.5 + shift + rise * math.log2(factor) for factor in FACTORS}
    config = {"method": method, "row": method, "title": title or method, "control": control, "profile": profile, "window": WINDOW}
    lengths = {f"{factor}": factor * WINDOW for factor in FACTORS}
    metrics = {"length": lengths, "last": last, "whole": {factor: value + 0.25 for factor, value in last.items()}, **more}
    about = dict(commit="unknown", machine="made up", versions={})
    return results.Record(
        experiment=experiment, run=f"{profile}-{method}-seed{seed}", config=config, metrics=metrics, seed=seed, seconds=1.0, **about
    )


def study():
    """Two rows without training, three with three seeds; a CLEX just below its control, within the seeds' spread; recall of those two."""
    found = [record("untouched", 0.8), record("yarn", 0.05, title="YaRN")]
    for seed, shift in ((1, 0.0), (2, 0.02), (3, -0.01)):
        found += [
            record("plain-yarn", 0.04, seed, title="plain tuning, then YaRN", shift=shift - 0.1),
            record(
                "clex-ours", 0.010, seed, title="CLEX, ours", control="clex-ours-frozen", shift=shift - 0.1, passkey={"1": 1.0, "8": 0.9}
            ),
            record("clex-ours-frozen", 0.012, seed, title="ours, field <frozen>", shift=1.1 * shift - 0.1, passkey={"1": 1.0, "8": 0.75}),
        ]
    return found
