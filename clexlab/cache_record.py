"""The record behind lesson 07: cached against uncached decoding over texts, methods, schedules and cache semantics.

    python -m clexlab.cache_record [--out FOLDER] [--seed 0] [--device cpu] [--texts 12]

Texts are held-out pieces of 8 windows and one token. Beside the trained pocket models stand two models of random weights, with
one and three layers: the exact case and its limit. About ten minutes on one thread.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import corpora, decoding, hf, pocket, results, scaling
from clexlab.decoding import Case, Disagreement

WINDOWS = 8
STRETCHES = ((0, 1), (1, 2), (2, 4), (4, 8))  # in windows: more than the first, at most the second
SINCE_CHANGE = ((0, 8), (8, 32), (32, None))  # tokens read under the present factor, in a text beyond its window
PROTOCOL = (
    "Teacher-forced: both runs read the same held-out text, and at every length their next-token distributions are compared."
    " stale, rerotate and refill follow the length (schedule), cached and uncached alike; frozen keeps the factor of the whole"
    " text in both runs. Every number is first a mean over the lengths of one text, then mean, smallest and largest over texts;"
    " kl in nats, KL(uncached ‖ cached); same: share of lengths after which both rank one token first; loss in nats per token."
)


def name_of(stretch: tuple[int, int | None]) -> str:
    """ "1–2" for more than one and at most two; "32+" where it is open."""
    low, high = stretch
    return f"{low}+" if high is None else f"{low}–{high}"


def since_change(run: Disagreement) -> Int[Tensor, "lengths"]:
    """How many tokens were read under the present factor, the last one included; the first factor counts from the start."""
    starts = torch.tensor([1, *run.changes])
    return run.lengths - starts[torch.searchsorted(starts, run.lengths, right=True) - 1] + 1


def spread(runs: Sequence[Disagreement]) -> dict[str, float | int | list[float]]:
    """The measures of one stretch of several texts: [mean, smallest, largest] over texts, and the largest KL of all tokens."""
    columns = {
        "kl": [run.divergence.mean() for run in runs],
        "same": [run.same.double().mean() for run in runs],
        "loss_uncached": [run.loss_uncached.mean() for run in runs],
        "loss_cached": [run.loss_cached.mean() for run in runs],
        "loss_added": [(run.loss_cached - run.loss_uncached).mean() for run in runs],
    }
    measured = {name: [_short(sum(values) / len(values)), _short(min(values)), _short(max(values))] for name, values in columns.items()}
    return {**measured, "largest_kl": _short(max(run.divergence.max() for run in runs)), "texts": len(runs)}


def _short(value: Tensor) -> float:
    """Five digits: more than a dozen texts can tell."""
    return float(f"{float(value):.5g}")


def summary(runs: Sequence[Disagreement], window: int) -> dict[str, dict]:
    """Every text's run of one case, by length in windows and by tokens since the last change of the factor."""
    beyond = [run.among(run.lengths > window) for run in runs]
    measured = {"beyond": spread(beyond), "by_length": _stretches(runs, [run.lengths / window for run in runs], STRETCHES)}
    if any(run.changes for run in runs):
        ages = [since_change(run)[run.lengths > window] for run in runs]
        measured["since_change"] = _stretches(beyond, ages, SINCE_CHANGE)
    return measured


def _stretches(
    runs: Sequence[Disagreement], places: Sequence[Tensor], stretches: Sequence[tuple[int, int | None]]
) -> dict[str, dict]:
    """`spread` over each stretch of `places`, one place per length of a run; stretches that no text reaches are left out."""
    chosen = {
        name_of(stretch): [run.among(_between(place, stretch)) for run, place in zip(runs, places, strict=True)]
        for stretch in stretches
    }
    reached = {name: [part for part in parts if len(part.lengths)] for name, parts in chosen.items()}
    return {name: spread(parts) for name, parts in reached.items() if parts}


def _between(values: Tensor, stretch: tuple[int, int | None]) -> Tensor:
    low, high = stretch
    return (values > low) & (values <= (torch.inf if high is None else high))


def study(
    cases: Sequence[Case], texts: Sequence[Int[Tensor, "_"]], schedules: Iterable[hf.schedules.Schedule]
) -> dict[str, dict[str, dict[str, dict]]]:
    """Measures by title of the case, name of the schedule and name of the semantics, over texts of one length."""
    schedules = list(schedules)
    return {
        case.title: {
            schedule.name: {
                semantics.name: summary(
                    [
                        decoding.compare(case.model, case.path, text.to(case.model.device), semantics, schedule, top=1)
                        for text in texts
                    ],
                    case.path.window,
                )
                for semantics in decoding.SEMANTICS
            }
            for schedule in schedules
        }
        for case in cases
    }


def random_cases(seed: int, layers: Sequence[int] = (1, 3)) -> tuple[Case, ...]:
    """Models of random weights under dynamic NTK: with one layer turned keys are exact, with three they are not."""
    generator = torch.Generator().manual_seed(seed)
    models = [decoding.random_llama(generator, count) for count in layers]
    titles = [f"random weights, {count} layer{'s' if count > 1 else ''}" for count in layers]
    return tuple(
        Case(title=title, model=model, path=hf.scaling_for(model, scaling.DynamicNTK))
        for title, model in zip(titles, models, strict=True)
    )


def random_texts(seed: int, count: int, length: int, vocabulary: int = 257) -> list[Int[Tensor, "_"]]:
    """Texts of random tokens for the models of random weights."""
    return list(torch.randint(vocabulary, (count, length), generator=torch.Generator().manual_seed(seed)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write one record; status 2 and a line on stderr where the pocket model or the device is missing."""
    options = _parser().parse_args(arguments)
    try:
        record = run(options.seed, options.device, options.texts)
        path = results.write(record, options.out)
    except (ValueError, RuntimeError) as error:
        print(f"clexlab.cache_record: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    print(path.name)
    return 0


def run(seed: int, device: str, count: int) -> results.Record:
    """The record of one run: `count` held-out texts on `device`, random weights and random texts drawn from `seed`."""
    began = time.perf_counter()
    texts = pocket.held_out(count, WINDOWS * pocket.WINDOW)
    if count < 1 or len(texts) < count:
        raise ValueError(f"{count} texts asked for; the held-out split has {len(texts)} of this length: ask for 1 to {len(texts)}")
    trained = [replace(case, model=case.model.to(device)) for case in decoding.pocket_cases()]
    metrics = study(trained, texts, (hf.Whole(), hf.Doubling()))
    exact = random_cases(seed)
    window = exact[0].path.window
    metrics |= study(exact, random_texts(seed, count, WINDOWS * window + 1), (hf.Whole(),))
    config = {
        "command": f"python -m clexlab.cache_record --seed {seed} --device {device} --texts {count}",
        "texts": f"{count} pieces of {len(texts[0])} bytes, {corpora.standard_library('held_out').source}",
        "corpus": corpora.standard_library("held_out").fingerprint,
        "weights": {folder.name: _fingerprint(folder) for folder in _folders()},
        "window": pocket.WINDOW,
        "random_window": window,
        "windows": WINDOWS,
        "cases": [case.title for case in (*trained, *exact)],
    }
    seconds = time.perf_counter() - began
    tokens = count * len(texts[0])
    name = f"decoding-seed{seed}-{device}-{count}texts"
    return results.Record(
        experiment="cache", run=name, config=config, metrics=metrics, seed=seed, seconds=seconds, device=device, tokens=tokens,
        protocol=PROTOCOL,
    )  # fmt: skip


def _folders() -> list[Path]:
    """The shipped models that `decoding.pocket_cases` reads."""
    return sorted(path.parent for path in pocket.FOLDER.parent.glob("pocket*/model.safetensors"))


def _fingerprint(folder: Path) -> str:
    """Sixteen hex digits of the weights: a record says which model it measured."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clexlab.cache_record", description="measure key caches", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=results.FOLDER, help="where records live (default: data/results)")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights and random texts")
    parser.add_argument("--device", default="cpu", help="where the pocket models run (default: cpu)")
    parser.add_argument("--texts", type=int, default=12, help="held-out texts of 8 windows (default: 12)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
