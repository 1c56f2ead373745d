"""TrainingMonitor: trainings one after the other in a notebook: their loss by part, what the field learns, stop and resume."""

import html
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import ipywidgets
import numpy as np
from torch import nn

from clexlab import scaling
from clexlab.figures import style
from clexlab.figures.looks import looks_of
from clexlab.figures.training import MOVED, moved, parts, points
from clexlab.widgets.explorer import LABEL, WIDE, Explorer, choices, control
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, as_look, look
from clexlab.widgets.safely import one_line

if TYPE_CHECKING:
    from clexlab.objectives import Objective
    from clexlab.rows import Rows
    from clexlab.training import Plan, Trained

FACTORS = (2, 4, 8, 16)
# Terms of an objective are known by name when they are first logged: room for so many curves by part.
PARTS = 6
REST = 0.3  # seconds between two redraws of the bar and of the field
ALL_ROWS = "loss"


@dataclass(frozen=True)
class Run:
    """One training: a model as it shall be trained, its rows, the plan; `objective` None is next-token prediction.

    Runs that are compared get one plan and rows drawn with one seed; every run needs a model of its own.
    """

    model: nn.Module
    rows: "Rows"
    plan: "Plan"
    objective: "Objective | None" = None

    @property
    def path(self) -> scaling.Path | None:
        """The path the model is extended with; None for a plain model."""
        from clexlab import evaluation

        return evaluation.path_of(self.model)

    @property
    def tokens(self) -> int:
        """Tokens of all steps."""
        return self.rows.tokens.numel()


class TrainingMonitor(Explorer):
    """Trainings one after the other, in a thread of their own: the loss as it falls, θ(t) as it is learned, seconds left.

    `runs` maps a name to a `Run`. Left: one part of the loss, all runs. Middle: all parts, one run. Right, where a path has a learned
    field: how far it has moved θ(t) of that run from its prior, which is what its frozen control keeps.

    `start()` begins as the button does, `stop()` ends after the step and saves, `resume()` goes on to the same weights as a training
    that was never stopped, `wait()` lets a script wait, and tells it of a failure. `training` says whether one is under way; `curves`
    and `trained` hold what came out so far, by name. Attributes, readable and settable: `run` (the one looked at; it follows the
    training) and `part`.
    Checkpoints vanish with the kernel, unless a `folder` is given: there a later monitor of the same runs can go on.

    Training draws from torch's global generator: code that draws from it meanwhile changes what is drawn. So of two monitors the one
    that starts stops the other.
    """

    run, part = control("run"), control("part")
    _active: ClassVar["TrainingMonitor | None"] = None

    def __init__(self, runs: Mapping[str, Run], folder: str | Path | None = None) -> None:
        self.runs = check_runs(runs)
        self._scratch = tempfile.TemporaryDirectory(prefix="clexlab-training-") if folder is None else None
        self.folder = Path(self._scratch.name if folder is None else folder)
        self._fields = {name: one.path for name, one in self.runs.items() if hasattr(one.path, "residual")}
        counts = Counter(part for one in self.runs.values() for part in one.rows.parts)
        self._parts = [part for part, _ in counts.most_common()]
        sorts = [("all rows", ALL_ROWS), *((f"{part} rows", part) for part in self._parts)]
        names = list(self.runs)
        controls = {"run": choices("look at", names, names[0]), "part": choices("compare", sorts, ALL_ROWS)}
        super().__init__("Training", controls, _chart(self.runs, bool(self._fields)))
        self._add_buttons()
        self._thread: threading.Thread | None = None
        self._stopping, self._drawing = threading.Event(), threading.RLock()
        self._failure: Exception | None = None
        self.training = False
        self.curves: dict[str, list[dict]] = {}
        self.trained: dict[str, Trained] = {}
        self._running(False)
        self.listen(self._draw, "run", "part")
        self._draw()

    def _add_buttons(self) -> None:
        wide = dict(layout=dict(width="auto"))
        self._start = ipywidgets.Button(description="start", button_style="primary", icon="play", **wide)
        self._end = ipywidgets.Button(description="stop", icon="stop", **wide, tooltip="after this step; a checkpoint is saved")
        self._again = ipywidgets.Button(description="resume", icon="step-forward", **wide, tooltip="go on from the checkpoint")
        steps = sum(one.plan.steps for one in self.runs.values())
        self._progress = ipywidgets.IntProgress(0, 0, steps, description="ready", style=LABEL, layout=WIDE)
        self._status = ipywidgets.HTML(f"{len(self.runs)} to train, {steps:,} steps")
        row = dict(grid_template_columns="1fr 1fr 1fr", grid_gap="8px")
        buttons = ipywidgets.GridBox([self._start, self._end, self._again], layout=row)
        self.panel.children = (*self.panel.children[:-1], buttons, self._progress, self._status, self.notice)
        self._start.on_click(lambda button: self.press(self.start))
        self._again.on_click(lambda button: self.press(self.resume))
        self._end.on_click(lambda button: self.stop())

    @property
    def begun(self) -> bool:
        """Whether there is something to resume: a run that was started here, or a checkpoint in the folder."""
        return bool(self.curves) or any(self.folder.glob("*/checkpoint-*"))

    def start(self) -> None:
        """Train all runs from their beginning; returns at once. ValueError where one was begun before."""
        if self.begun and not self.training:
            raise ValueError(f"the training of {', '.join(self.curves) or self.folder} was begun before; resume it, or build new runs")
        self._begin()

    def resume(self) -> None:
        """Go on from the last checkpoint; returns at once. ValueError where nothing is left to do."""
        if not self.training and not self.begun:
            raise ValueError("nothing was started yet; start it")
        if len(self.trained) == len(self.runs):
            raise ValueError("every run is trained; build new runs to train again")
        self._begin()

    def stop(self) -> None:
        """End the training after the step that is under way, and save it; what is drawn stays."""
        self._stopping.set()
        if self.training:
            self._progress.description = "stopping"

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the training is over, or stopped; False if it is not after `seconds`. ValueError where a run failed."""
        if self._thread is not None:
            self._thread.join(seconds)
        if self._failure is not None:
            raise self._failure
        return self._thread is None or not self._thread.is_alive()

    def _begin(self) -> None:
        if self.training:
            raise ValueError("a training is under way; stop it first, or wait until it is done")
        other, TrainingMonitor._active = TrainingMonitor._active, self
        if other is not None:
            other.stop()
        self._stopping.clear()
        self._failure, self._clock = None, None
        self.notice.clear()
        self._running(True)
        # A daemon: closing the notebook must not wait for a training.
        self._thread = threading.Thread(target=self._work, args=(other,), daemon=True)
        self._thread.start()

    def _running(self, now: bool) -> None:
        # The free buttons last: a press that finds one free must not meet a thread that is about to end.
        left = self.begun and len(self.trained) < len(self.runs)
        self._end.disabled = not now
        self.training = now
        self._start.disabled, self._again.disabled = now or self.begun, now or not left

    def _work(self, other: "TrainingMonitor | None") -> None:
        from clexlab.widgets.training_run import Stopped

        name = ""
        try:
            if other is not None:
                other._thread.join()
            for name in [name for name in self.runs if name not in self.trained]:
                self._train(name)
            self._tell("done", f"{len(self.runs)} trained")
        except Stopped:
            self._tell("stopped", f"{html.escape(name)} is saved after step {self._step}; resume goes on from there")
        except Exception as error:  # the reader's model may fail in any way, and a thread's error is seen by nobody
            self._failure = ValueError(f"{name}: {one_line(error)}")
            self._tell("failed", "")
            self.notice.tell(self._failure)
        finally:
            if TrainingMonitor._active is self:
                TrainingMonitor._active = None
            self._running(False)

    def _train(self, name: str) -> None:
        from clexlab.widgets import training_run

        self._step, self._drawn = 0, 0.0
        self._tell(f"{list(self.runs).index(name) + 1} of {len(self.runs)}", f"{html.escape(name)}: preparing …")
        self.run = name

        def begin(step: int, entries: list[dict]) -> None:
            self._step, self.curves[name] = step, entries
            self._draw()

        def log(entry: dict) -> None:
            self.curves[name].append(entry)
            self._draw()

        def go_on(step: int) -> bool:
            self._count(name, step)
            return not self._stopping.is_set()

        watch = training_run.Watch(begin, go_on, log)
        folder = self.folder / f"{list(self.runs).index(name)}-{re.sub(r'[^A-Za-z0-9.]+', '-', name)}"
        self.trained[name] = training_run.train(self.runs[name], folder, watch)
        self._draw()

    def _answer(self, callback: object) -> None:
        # The reader's thread and the training's draw on one chart.
        with self._drawing:
            super()._answer(callback)
        # A control that works empties the notice; why the training failed stays.
        if self._failure is not None:
            self.notice.tell(self._failure)

    def _tell(self, word: str, status: str) -> None:
        self._progress.description, self._status.value = word, status

    def _count(self, name: str, step: int) -> None:
        """After every step: move the bar, and what the field has learned with it, as often as somebody can see."""
        self._step, now = step, time.monotonic()
        run, finished = self.runs[name], [self.runs[done] for done in self.trained]
        tokens = sum(one.tokens for one in finished) + run.tokens * step / run.plan.steps
        if self._clock is None:
            # The first step pays for much that the others do not.
            self._clock = now, tokens
        if now - self._drawn < REST and step < run.plan.steps:
            return
        self._drawn = now
        self._progress.value = sum(one.plan.steps for one in finished) + step
        left = time_left(now - self._clock[0], tokens - self._clock[1], sum(one.tokens for one in self.runs.values()) - tokens)
        self._status.value = f"{html.escape(name)}: step {step:,} of {run.plan.steps:,}{left}"
        if self.run == name and name in self._fields:
            with self._drawing:
                self.chart.draw(self._field_curves())

    def _draw(self) -> None:
        """All curves, their names and the sentence, as one message."""
        with self._drawing, self.chart.hold_sync():
            drawn = {1 + index: points(self.curves.get(name, ()), self.part) for index, name in enumerate(self.runs)}
            first = 2 + len(self.runs)
            curve = self.curves.get(self.run, ())
            terms = [term for term in parts({self.run: curve}) if term not in (ALL_ROWS, *self._parts)]
            named = [*self._parts, *terms][:PARTS]
            drawn |= {first + place: points(curve, part) for place, part in enumerate(named)}
            drawn |= {first + place: points(()) for place in range(len(named), PARTS)}
            self.chart.draw(drawn | self._field_curves())
            self.chart.rename({first + place: part for place, part in enumerate(named)})
            self.say(self._finding())

    def _field_curves(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """The third panel: the prior as a line at zero, then a curve a factor; empty for a run without a field."""
        if not self._fields:
            return {}
        first = 2 + len(self.runs) + PARTS
        percent = moved(self._fields[self.run], FACTORS) if self.run in self._fields else {}
        pairs = np.arange(next(iter(self._fields.values())).pairs)
        nothing = points(())
        prior = (pairs[[0, -1]], np.zeros(2)) if percent else nothing
        return {first: prior} | {
            first + 1 + place: (pairs, percent[factor]) if factor in percent else nothing for place, factor in enumerate(FACTORS)
        }

    def _finding(self) -> str:
        """The runs at the last step that all of them have reached, and what the field has done meanwhile."""
        curves = {name: dict(zip(*points(curve, self.part), strict=True)) for name, curve in self.curves.items()}
        common = set.intersection(*map(set, curves.values())) if curves else set()
        if not common:
            return "Press <b>start</b>: the runs are trained one after the other, each as its plan says."
        rows = dict((value, title) for title, value in self.controls["part"].options)[self.part]
        told = "; ".join(f"{html.escape(name)} <b>{curve[max(common)]:.3f}</b>" for name, curve in curves.items())
        said = f"Step {max(common):,.0f}, {rows}, nats per token: {told}."
        if self.run not in self._fields:
            return f"{said} Which of them reads long texts better is not seen here: measure it."
        factor, percent = list(moved(self._fields[self.run], FACTORS).items())[-1]
        pair = int(np.abs(percent).argmax())
        return (
            f"{said} The field of {html.escape(self.run)} has moved θ({factor:g}) by <b>{percent[pair]:+.3g} %</b> at most (pair {pair});"
            " a frozen control stays at 0. Whether that helps long texts is not seen here: measure both."
        )


def check_runs(runs: object) -> dict[str, Run]:
    """The runs by name; ValueError where there is none, one is something else, or two would train one model."""
    if not isinstance(runs, Mapping) or not runs or not all(isinstance(one, Run) for one in runs.values()):
        raise ValueError("runs is no mapping of names to widgets.Run; pass {'YaRN': widgets.Run(model, rows, plan), …}")
    if len({id(one.model) for one in runs.values()}) < len(runs):
        raise ValueError("two runs share a model, so the second would go on where the first ended; load one for each")
    return dict(runs)


def time_left(seconds: float, tokens: float, remaining: float) -> str:
    """The words ", about 1 min 20 s left" at the speed so far; nothing before there is a speed."""
    if tokens <= 0 or remaining <= 0:
        return ""
    minutes, rest = divmod(round(remaining * seconds / tokens), 60)
    return f", about {f'{minutes} min ' if minutes else ''}{rest} s left"


def _chart(runs: Mapping[str, Run], with_field: bool) -> LiveChart:
    loss = Axis("loss", "nats per token")
    panels = [Panel("Loss, all runs", Axis("step"), loss), Panel("Loss by part", Axis("step"), loss)]
    curves = [
        Curve(0, "steps to come", width=0, legend=False, told=False),
        *(Curve(0, name, **as_look(line)) for name, line in looks_of(runs).items()),
        Curve(1, "steps to come", width=0, legend=False, told=False),
        *(Curve(1, f"part {place + 1}", **look(place), passing=True) for place in range(PARTS)),
    ]
    if with_field:
        panels.append(Panel("What the field has learned", Axis("pair j"), Axis(MOVED)))
        curves.append(Curve(2, "prior", colour=style.NEUTRAL, width=1, legend=False))
        # One colour, the farther the denser: none of the colours that stand for runs and parts.
        dense = zip(FACTORS, ("dot", "dashdot", "dash", "solid"), strict=True)
        curves += [Curve(2, f"t = {factor:g}", colour="#8C6BD0", dash=dash, passing=True) for factor, dash in dense]
    chart = LiveChart(panels, curves)
    reach = np.array([0.0, max(one.plan.steps for one in runs.values())]), np.full(2, np.nan)
    chart.draw({0: reach, 1 + len(runs): reach})
    return chart
