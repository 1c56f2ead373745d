"""Several methods on one model: the untouched model first, then each path, as rows of a table and as records."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Integer
from torch import Tensor, nn

from clexlab import hf, results
from clexlab.evaluation import contexts
from clexlab.evaluation.contexts import EVERYTHING, Context, Sliding, Truncated
from clexlab.evaluation.lengths import FACTORS, LossByLength, Progress, check_lengths, loss_by_length, path_of, scale_at
from clexlab.evaluation.recall import Recall
from clexlab.hf.schedules import Schedule, Whole
from clexlab.scaling.base import Path

# The row every comparison begins with: the model as it is, beyond its window too.
UNTOUCHED = "untouched"
# What a table of losses can show.
MEASURES = ("last", "whole")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One method on one model. `scaling` describes the path (`hf.spec.describe`), None for a model that is not extended."""

    label: str
    scaling: dict | None
    result: LossByLength
    seconds: float


def measure(
    model: nn.Module,
    label: str,
    tokens: Sequence[Integer[Tensor, "_"]],
    window: int,
    factors: Sequence[float] = FACTORS,
    *,
    context: Context = EVERYTHING,
    batch: int = 4,
    start: int | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """`loss_by_length` of the model as it is, plain or extended, with its time, its path and the name it shall have in a table."""
    began = time.perf_counter()
    result = loss_by_length(model, tokens, window, factors, context=context, batch=batch, start=start, progress=progress)
    path = path_of(model)
    scaling = None if path is None else hf.spec.describe(path)
    return Measurement(label=label, scaling=scaling, result=result, seconds=time.perf_counter() - began)


def baselines(
    model: nn.Module,
    tokens: Sequence[Integer[Tensor, "_"]],
    window: int,
    factors: Sequence[float] = FACTORS,
    *,
    name: str = UNTOUCHED,
    batch: int = 4,
    start: int | None = None,
) -> list[Measurement]:
    """What the model can do with long texts by its window alone: "{name}, truncated" and "{name}, sliding" (`contexts`).

    Of the last targets both are the loss at factor 1; over the whole text they are what every long reading has to beat. The sliding
    window reads every token four times.
    """
    contexts = (Truncated(), Sliding())
    return [
        measure(model, f"{name}, {context.name}", tokens, window, factors, context=context, batch=batch, start=start)
        for context in contexts
    ]


def compare(
    model: nn.Module,
    paths: Sequence[Path] | Mapping[str, Path],
    tokens: Sequence[Integer[Tensor, "_"]],
    window: int,
    factors: Sequence[float] = FACTORS,
    *,
    schedule: Schedule = Whole(),  # noqa: B008 - an immutable value
    batch: int = 4,
    start: int | None = None,
    progress: Progress | None = None,
) -> list[Measurement]:
    """`measure` the untouched model first, then with each of `paths` in the place of its frequencies; the model is restored.

    Paths are named by `label`, or by the keys of a mapping. Factor 1 is always measured: it is the truncation baseline. Everything
    is checked before the first measurement. Raises ValueError as `loss_by_length` and `clexlab.extend` do, for a path built for
    another window, and for two paths of one name.
    """
    named = dict(paths) if isinstance(paths, Mapping) else named_paths(paths)
    factors = (*factors, *(() if 1 in factors else (1.0,)))
    check_paths(model, named, window, max(check_lengths(window, factors)), schedule)

    def one(name: str, before: int) -> Measurement:
        def shifted(read: int, total: int) -> None:
            if progress is not None:
                progress(before * total + read, (len(named) + 1) * total)

        return measure(model, name, tokens, window, factors, batch=batch, start=start, progress=shifted)

    measured = [one(UNTOUCHED, 0)]
    for name, path in named.items():
        with hf.extended(model, path, schedule=schedule):
            measured.append(one(name, len(measured)))
    return measured


def check_paths(model: nn.Module, paths: Mapping[str, Path], window: int, longest: int, schedule: Schedule = Whole()) -> None:  # noqa: B008
    """Refuse before measuring: a model that cannot be extended, a path of another window, a length beyond a path's limit."""
    hf.geometry(model)
    for name, path in paths.items():
        if name == UNTOUCHED:
            raise ValueError(f"{UNTOUCHED!r} is the name of the model without any method; call the path otherwise")
        with hf.extended(model, path, schedule=schedule):
            if path.window != window:
                raise ValueError(f"{name} is built for a window of {path.window} tokens, the lengths are multiples of {window}")
            try:
                scale_at(model, longest)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


def label(path: Path) -> str:
    """The method's name, with the options that differ from its published ones: "yarn", "longrope max_factor=32"."""
    described = hf.spec.describe(path)
    usual = hf.spec.describe(type(path).default(head_dim=path.head_dim, base=path.base, window=path.window))
    own = [f"{name}={_brief(value)}" for name, value in described.items() if usual.get(name) != value]
    return " ".join([path.name, *own])


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("kind") or value.get("name") or value.get("own"))
    if isinstance(value, list):
        return "own"
    return f"{value:g}" if isinstance(value, float) else str(value)


def named_paths(paths: Sequence[Path]) -> dict[str, Path]:
    """Each path under its `label`; ValueError where two have one."""
    labels = [label(path) for path in paths]
    repeated = sorted({name for name in labels if labels.count(name) > 1})
    if repeated:
        raise ValueError(f"several paths are called {', '.join(repeated)}; give a mapping of names of your own to paths")
    return dict(zip(labels, paths, strict=True))


def table(measurements: Sequence[Measurement], measure: str = "last") -> str:
    """A Markdown table in nats per token, a line a method, a column a length.

    `measure` is "last", the last quarter of a window, where the final line is truncation to the window, or "whole", all targets.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure is {measure!r}; a measurement has {' and '.join(MEASURES)}")
    rows = measurements[0].result.rows
    lines = [["method", *(f"{row.factor:g}× ({row.length})" for row in rows)], ["---"] * (len(rows) + 1)]
    lines += [[one.label, *(f"{getattr(row, measure):.3f}" for row in one.result.rows)] for one in measurements]
    first = measurements[0].result
    if measure == "last":
        lines.append([f"{measurements[0].label}, last {first.window} tokens only", *[f"{first.rows[0].last:.3f}"] * len(rows)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def record(
    measurement: Measurement,
    *,
    experiment: str,
    run: str,
    config: dict,
    seed: int,
    device: str,
    recalls: Sequence[Recall] = (),
) -> results.Record:
    """The measurement as a record: its metrics by factor ("1", "2" …), every document's loss, and the protocol in words.

    `recalls` of the same model add their metrics, "passkey" or "copy" and more; ValueError for two of one task or another window.
    """
    if len({one.task for one in recalls}) < len(recalls) or any(one.window != measurement.result.window for one in recalls):
        raise ValueError("recalls are of one task or of another window; give one for each task, at the window of the measurement")
    result = measurement.result
    by_factor = {f"{row.factor:g}": row for row in result.rows}
    return results.Record(
        experiment=experiment,
        run=run,
        config={
            **config,
            "method": measurement.label,
            "scaling": measurement.scaling,
            "window": result.window,
            **contexts.describe(result.context),
        },
        seed=seed,
        seconds=measurement.seconds,
        device=device,
        tokens=result.tokens,
        protocol=f"nats per token of the last {result.window // 4} tokens of every text, the same tokens at every length",
        metrics={
            "length": {factor: row.length for factor, row in by_factor.items()},
            "scale": {factor: row.scale for factor, row in by_factor.items()},
            "last": {factor: row.last for factor, row in by_factor.items()},
            "last_error": {factor: row.last_error for factor, row in by_factor.items()},
            "whole": {factor: row.whole for factor, row in by_factor.items()},
            "last_by_document": {factor: list(row.last_by_document) for factor, row in by_factor.items()},
            "whole_by_document": {factor: list(row.whole_by_document) for factor, row in by_factor.items()},
            "documents": result.documents,
            "too_short": result.too_short,
            "last_targets": result.last_targets,
            **{name: value for one in recalls for name, value in one.metrics().items()},
        },
    )
