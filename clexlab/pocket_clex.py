"""The pocket model with a trained CLEX, and its control: what lessons measure key caches on.

    python -m clexlab.pocket_clex --out FOLDER --seed 1 --device cpu --steps 300

The shipped pocket model, extended with CLEX up to factor 8 and trained on windows of 128 bytes at scattered positions; the same
again with the field frozen at zero; and closed forms without any training, all measured on the same bytes. One seed and a few
minutes of training: a trained CLEX to look at, no claim that it wins.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

import clexlab
from clexlab import corpora, evaluation, hf, ode, pocket, results, scaling
from clexlab.evaluation import Measurement
from clexlab.positions import Scattered, WholeFactors

FOLDER = results.ROOT / "data" / "models" / "pocket_clex"
MAX_FACTOR = 8
TEXTS = 128
FACTORS = (1, 2, 4, 8)
RATE = 1e-3
# With the model's own rate an unbounded field runs away (clex.md §10.1); this one is bounded and still gets a small rate.
FIELD_RATE = 0.1 * RATE
CLOSED = (scaling.YaRN, scaling.NTK, scaling.DynamicNTK)
NOTE = "one seed, {steps} steps of {rows} rows of one window; `residual` is ln θ(t)/θ_prior(t); read it beside the run `control`"


def fresh(seed: int) -> scaling.CLEX:
    """CLEX on the pocket model's geometry up to factor 8: a bounded field that is zero, its first layer drawn with `seed`."""
    found = hf.geometry(pocket.load()[0])
    field = ode.BoundedField(found.head_dim // 2, generator=torch.Generator().manual_seed(seed))
    return scaling.CLEX(head_dim=found.head_dim, base=found.base, window=found.window, max_factor=MAX_FACTOR, field=field)


def frozen(path: scaling.CLEX) -> scaling.CLEX:
    """The same path with a field that training leaves alone: the control."""
    path.requires_grad_(False)
    return path


def tune(options: argparse.Namespace, name: str, path: scaling.CLEX) -> tuple[LlamaForCausalLM, Measurement, dict]:
    """Train the pocket model with `path`, and its field unless that is frozen; the model, its losses, what else its record holds."""
    began = time.perf_counter()
    sampler = Scattered(window=path.window, factors=WholeFactors(MAX_FACTOR))
    model = clexlab.extend(pocket.load()[0], path, positions=sampler)
    texts = [document.text for document in corpora.standard_library("train").documents]
    with tempfile.TemporaryDirectory() as scratch:
        model, log = pocket.train(
            model,
            texts,
            steps=options.steps,
            seed=options.seed,
            device=options.device,
            scratch=Path(scratch),
            rate=RATE,
            field=[weight for weight in path.parameters() if weight.requires_grad],
            field_rate=FIELD_RATE,
        )
    model.to("cpu").eval()
    seconds = time.perf_counter() - began
    measured = evaluation.measure(model, name, pocket.held_out(TEXTS), pocket.WINDOW, FACTORS, batch=16)
    residual = path.residual(torch.tensor([float(t) for t in FACTORS])).detach()
    curve = {str(entry["step"]): entry["loss"] for entry in log if "loss" in entry}
    return model, replace(measured, seconds=seconds), {"training_loss": curve, "residual": residual.tolist()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train both, measure all, save the trained CLEX to --out and records to --records; status 2 for bad input."""
    options = pocket.parser("pocket_clex", "train CLEX on the pocket model", seed=1, steps=300).parse_args(arguments)
    names = ["untouched", *(method.name for method in CLOSED), "clex", "control"]
    if not pocket.may_start(options, [options.records / "pocket_clex" / f"{name}-seed{options.seed}.json" for name in names]):
        return 2
    untouched, tokenizer = pocket.load()
    paths = [hf.scaling_for(untouched, method) for method in CLOSED]
    measured = evaluation.compare(untouched, paths, pocket.held_out(TEXTS), pocket.WINDOW, FACTORS, batch=16)
    extras: list[dict] = [{} for _ in measured]
    for name, path in (("clex", fresh(options.seed)), ("control", frozen(fresh(options.seed)))):
        model, measurement, extra = tune(options, name, path)
        measured.append(measurement)
        extras.append(extra)
        if name == "clex":
            model.save_pretrained(options.out)
            tokenizer.save_pretrained(options.out)
    print(evaluation.table(measured))
    for name, measurement, extra in zip(names, measured, extras, strict=True):
        results.write(_record(options, name, measurement, extra), options.records)
    return 0


def _record(options: argparse.Namespace, name: str, measurement: Measurement, extra: dict) -> results.Record:
    """A tuned model's record says how it was tuned and how long that took; a closed form's says that nothing was trained."""
    config = {"model": "pocket", "tuned": bool(extra)}
    if extra:
        config |= {"steps": options.steps, "rows_per_step": pocket.BATCH, "rate": RATE, "field_rate": FIELD_RATE * (name == "clex")}
        config |= {"positions": f"scattered, whole factors up to {MAX_FACTOR}"}
    done = evaluation.record(
        measurement,
        experiment="pocket_clex",
        run=f"{name}-seed{options.seed}",
        config=config,
        seed=options.seed,
        device=options.device,
    )
    note = NOTE.format(steps=options.steps, rows=pocket.BATCH) if extra else "nothing was trained"
    tokens = options.steps * pocket.BATCH * pocket.WINDOW if extra else done.tokens
    return replace(done, protocol=f"{done.protocol}; {note}", metrics={**done.metrics, **extra}, tokens=tokens)


if __name__ == "__main__":
    sys.exit(main())
