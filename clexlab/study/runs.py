"""One run of a study: train a tuning once, measure a row with it, and put both into one record."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from transformers import TrainerCallback

from clexlab import evaluation, hf, results, scaling, training
from clexlab.study import memory
from clexlab.study.courses import Work
from clexlab.study.material import Material
from clexlab.study.methods import Row
from clexlab.study.sizes import Profile
from clexlab.study.tuning import Tuning

# What a record's config says of its row, and not of what was done.
NAMES = ("row", "title", "about", "prediction", "control", "against")
WEIGHTS, BEGUN, TRAINED, MEMORY = "model.safetensors", "begun.json", "trained.json", "memory.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and on what a study runs: base model and texts, budget, device, scratch folder for trainings that go on after a stop."""

    material: Material
    profile: Profile
    device: str
    work: Path

    def folder(self, tuning: Tuning, seed: int) -> Path:
        """Scratch of one training: its checkpoints, then its weights."""
        return self.work / f"{self.profile.name}-{tuning.name}-seed{seed}"

    def is_trained(self, tuning: Tuning, seed: int) -> bool:
        return (self.folder(tuning, seed) / TRAINED).is_file()


def train(place: Place, tuning: Tuning, seed: int, callbacks: Sequence[TrainerCallback] = ()) -> None:
    """Train `tuning` from the base model, or go on from its last checkpoint; its weights stay in the scratch folder.

    Raises ValueError where the checkpoints are of a training that was asked for otherwise, of another base model for one, and where the
    training that this one comes after has not been done.
    """
    folder = place.folder(tuning, seed)
    asked, begun = _asked(place, tuning, seed), tuning.course.begun(folder)
    if begun:
        _check_asked(folder, BEGUN, json.loads((folder / BEGUN).read_text(encoding="utf-8")), asked)
    else:
        _put(folder / BEGUN, asked)
    model = _extended(place, tuning, seed, training_time=True)
    tuning.learns(model)
    work = Work(
        material=place.material,
        seed=seed,
        plan=_plan(place, tuning, seed),
        objective=tuning.objective(place.material.model()),
        folder=folder,
        span=tuning.span,
        shares=tuning.shares,
        earlier=None if tuning.after is None else trained(place, tuning.after, seed)[0],
        callbacks=callbacks,
        resume=begun,
    )
    done, told = tuning.course(model, work)
    tuning.settles(done.model)
    safetensors.torch.save_model(done.model, str(folder / WEIGHTS))
    # Of a long row a tuning may read a part.
    tokens = done.tokens * tuning.windows // tuning.span
    left = {"seconds": done.seconds, "tokens": tokens, "curve": done.curve, "asked": asked, "course": told}
    # Written last: where it is, the weights are whole.
    _put(folder / TRAINED, left)
    for checkpoint in folder.rglob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def trained(place: Place, tuning: Tuning, seed: int) -> tuple[nn.Module, dict]:
    """The trained model, extended as it was trained but for positions, and what its training left: seconds, tokens, curve.

    Raises ValueError where the scratch folder holds no training, or one that was asked for otherwise.
    """
    folder = place.folder(tuning, seed)
    if not place.is_trained(tuning, seed):
        raise ValueError(f"{tuning.name} has not been trained with seed {seed}; train it first")
    left = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
    _check_asked(folder, TRAINED, left["asked"], _asked(place, tuning, seed))
    model = _extended(place, tuning, seed, training_time=False)
    safetensors.torch.load_model(model, str(folder / WEIGHTS))
    return model.eval(), left


def measure(place: Place, row: Row, seed: int, experiment: str, run: str) -> results.Record:
    """Measure `row` with its trained model, or the untouched one, and make the record of the run."""
    began = time.perf_counter()
    model, log = (place.material.model(), {}) if row.tuning is None else trained(place, row.tuning, seed)
    model = row.reading.prepare(model).to(place.device)
    profile, window = place.profile, place.material.window
    texts = place.material.texts(profile.texts, round(max(profile.factors) * window))
    measured = evaluation.measure(model, row.name, texts, window, profile.factors, context=row.reading.context, batch=profile.batch)
    config = _config(place, row, seed)
    recalls = _recalls(place, model, row)
    made = evaluation.record(
        measured, experiment=experiment, run=run, config=config, seed=seed, device=place.device, recalls=recalls
    )
    metrics = {**made.metrics, **_path_metrics(evaluation.path_of(model), measured.result)}
    metrics |= {} if row.tuning is None else row.tuning.found(model)
    measuring = time.perf_counter() - began
    metrics |= {"measuring_seconds": measuring, "training_seconds": log.get("seconds", 0.0), "curve": log.get("curve", [])}
    metrics |= {"course": log["course"]} if log.get("course") else {}
    return replace(
        made,
        metrics=metrics,
        seconds=measuring + log.get("seconds", 0.0),
        tokens=log.get("tokens"),
        protocol="; ".join(part for part in (made.protocol, _protocol(place, row), profile.note) if part),
    )


def with_memory(place: Place, record: results.Record, row: Row, seed: int) -> results.Record:
    """The record and what its training needs of memory, in bytes: a step of it, "step", and a step of a single row, "row".

    A few steps are trained for that, once for all readings of a training: records that were taken over may be older than this measurement.
    """
    if row.tuning is None or "memory" in record.metrics:
        return record
    file = place.folder(row.tuning, seed) / MEMORY
    if not file.is_file():
        rows = _plan(place, row.tuning, seed).rows
        step = _memory(place, row.tuning, seed, rows)
        _put(file, {"step": step, "row": step if rows == 1 else _memory(place, row.tuning, seed, 1)})
    found = json.loads(file.read_text(encoding="utf-8"))
    return replace(record, metrics={**record.metrics, "memory": found}, protocol=f"{record.protocol}; memory over two steps more")


def _memory(place: Place, tuning: Tuning, seed: int, rows: int) -> int:
    """Bytes at the highest point of two steps of this training with so many rows a step."""
    plan = replace(_plan(place, tuning, seed), steps=memory.STEPS, rows=rows, warmup=0, save_every=None)
    model = _extended(place, tuning, seed, training_time=True)
    tuning.learns(model)
    data = place.material.rows(seed, memory.STEPS * rows, tuning.span, tuning.shares)
    return memory.peak(model, data, plan, tuning.objective(place.material.model()))


def renamed(place: Place, record: results.Record, row: Row, seed: int, experiment: str, run: str) -> results.Record | None:
    """A record of the same training, read in the same way, as that of `row`; None where anything but its names differs.

    None as well where it has no recall at a length that is asked for.
    """
    config = json.loads(json.dumps(_config(place, row, seed)))
    if record.device != place.device or any(record.config.get(name) != config[name] for name in config if name not in NAMES):
        return None
    if not _recalled(place) <= set(record.metrics.get("passkey", {})):
        return None
    protocol = f"{record.protocol}; training and measurement are those of {record.experiment}/{record.run}"
    named = {name: config[name] for name in NAMES} | {"method": row.name}
    return replace(record, experiment=experiment, run=run, config={**record.config, **named}, protocol=protocol)


def _check_asked(folder: Path, file: str, before: dict, asked: dict) -> None:
    """ValueError where `file` in `folder` tells of another training than the one that is asked for."""
    if before != asked:
        raise ValueError(f"{folder} holds a model that was trained otherwise (see {file} there); remove the folder to train anew")


def _put(file: Path, content: dict) -> None:
    """Write `content` in one move: the file is there whole, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    os.replace(draft, file)


def _extended(place: Place, tuning: Tuning, seed: int, *, training_time: bool) -> nn.Module:
    """The base model under the tuning's path; at training time with its positions and its pattern too."""
    model = tuning.start(place.material, seed)
    if tuning.path is not None:
        path = tuning.path(hf.geometry(model), seed)
        sampler = tuning.positions(place.material.window) if training_time and tuning.positions is not None else None
        # A sampler draws t; what it was fixed at in training is pinned in reading.
        hf.extend(model, path, factor=tuning.factor if sampler is None else None, positions=sampler)
    if training_time and tuning.pattern is not None:
        hf.sparsify(model, tuning.pattern(tuning.span * place.material.window))
    return model


def _plan(place: Place, tuning: Tuning, seed: int) -> training.Plan:
    return place.profile.plan(seed, place.device, span=tuning.windows, path_rate=tuning.path_rate)


def _asked(place: Place, tuning: Tuning, seed: int) -> dict:
    """Everything a trained model depends on, as JSON gives it back."""
    path = None if tuning.path is None else hf.spec.describe(tuning.path(hf.geometry(place.material.model()), seed))
    asked = {**tuning.describe(place.material.window), "path": path, "plan": asdict(_plan(place, tuning, seed))}
    return json.loads(json.dumps(asked | _origin(place)))


def _origin(place: Place) -> dict:
    return {"weights": place.material.weights, "documents": place.material.fingerprint}


def _config(place: Place, row: Row, seed: int) -> dict:
    """Everything that says how the numbers came about, and what was expected of them."""
    profile = place.profile
    config = {"row": row.name, "title": row.title, "about": row.about, "prediction": row.prediction, "control": row.control}
    config |= {"against": row.against, "profile": profile.name, "model": place.material.folder.name}
    config |= {"texts": profile.texts, "trials": profile.trials, "depths": list(profile.depths)}
    config |= {**_origin(place), **row.reading.describe(place.material.window), "tuning": None}
    return config if row.tuning is None else config | {"tuning": _asked(place, row.tuning, seed)}


def _protocol(place: Place, row: Row) -> str:
    if row.tuning is None:
        return "nothing was trained, so there is one run for all seeds"
    profile, tuning, window = place.profile, row.tuning, place.material.window
    rows = f"{profile.rows // tuning.windows} rows of {tuning.span * window} tokens"
    if tuning.windows < tuning.span:
        rows += f", {tuning.windows * window} of each read"
    return f"tuned for {profile.steps} steps of {rows}, the same rows in the same order for every method of a seed with such rows"


def _recalls(place: Place, model: nn.Module, row: Row) -> list[evaluation.Recall]:
    """Exact recall of the row's tasks by length and depth; none where the profile has no trials."""
    profile, window = place.profile, place.material.window
    if not profile.trials:
        return []
    longest, context, batch = round(max(profile.recall_factors) * window), row.reading.context, profile.batch
    trials = (place.material.tasks[task](profile.trials, longest) for task in row.tasks)
    return [evaluation.recall(model, some, window, profile.recall_factors, profile.depths, context=context, batch=batch) for some in trials]


def _recalled(place: Place) -> set[str]:
    """The lengths that a record of this profile has recall at, by their factors."""
    return {f"{factor:g}" for factor in place.profile.recall_factors} if place.profile.trials else set()


def _path_metrics(path: scaling.Path | None, result: evaluation.LossByLength) -> dict:
    """A(t) and what a field has learned, ln θ(t)/θ_prior(t) of every pair, at the t that each length was read with."""
    if path is None:
        return {}
    factors = {f"{row.factor:g}": row.scale for row in result.rows}
    with torch.no_grad():
        learned = {"temperature": {name: path.attention_scale(factor) for name, factor in factors.items()}}
        if isinstance(path, scaling.CLEX):
            learned["residual"] = {name: path.residual(factor).tolist() for name, factor in factors.items()}
    return learned
