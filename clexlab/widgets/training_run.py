"""What TrainingMonitor runs, without any widget: one training of `clexlab.training`, watched, stopped and gone on with."""

from collections.abc import Callable
from pathlib import Path

from transformers import TrainerControl

from clexlab import training
from clexlab.commands.usage import quiet
from clexlab.objectives import NextToken
from clexlab.widgets.training_monitor import Run


class Stopped(Exception):
    """The training was stopped after a step and saved; it can go on from there."""


class Watch(training.Display):
    """Tells where the training begins, every step, every entry of the log; stops it after a step, with its state saved.

    `begin(step, entries)` gets the step it begins at and the log so far, `go_on(step)` answers whether to, `log(entry)` gets an entry as
    `training.Trained.curve` has it. `stopped` says whether it was.
    """

    def __init__(self, begin: Callable[[int, list], None], go_on: Callable[[int], bool], log: Callable[[dict], None]) -> None:
        self.begin, self.go_on, self.log = begin, go_on, log
        self.stopped = False

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.begin(state.global_step, [*state.log_history])

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        self.log({"step": state.global_step, **logs})

    def on_step_end(self, args, state, control, **kwargs) -> TrainerControl:
        if not self.go_on(state.global_step) and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = self.stopped = True
        return control


def train(run: Run, folder: Path, watch: Watch) -> training.Trained:
    """Train `run`, from the last checkpoint in `folder` if there is one. Raises Stopped, with a checkpoint there, when `watch` stops it."""
    resume = training.last_checkpoint(folder) is not None
    objective = NextToken() if run.objective is None else run.objective
    # A thread's output would land in whichever cell ran last.
    with quiet():
        done = training.train(run.model, run.rows, run.plan, folder=folder, objective=objective, callbacks=(watch,), resume=resume)
    if watch.stopped:
        raise Stopped
    return done
