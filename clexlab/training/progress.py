"""How a training shows where it is: a bar on a terminal or in a notebook, lines in a file."""

from tqdm.auto import tqdm
from transformers import TrainerCallback


class Display(TrainerCallback):
    """A callback that shows progress: a training that is given one goes without a bar of its own."""


class Bar(Display):
    """One line that fills, with the time left and the last losses; silent where there is neither a terminal nor a notebook."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True, disable=None)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(losses(logs), refresh=False)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Lines(Display):
    """A line for every entry of the log, for what runs in the background."""

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if state.is_world_process_zero:
            seconds = f"{logs['seconds']:.0f} s"
            print(f"step {state.global_step:>6} of {state.max_steps}  {losses(logs)}  rate {logs['rate']:.2g}  {seconds}", flush=True)


def losses(entry: dict[str, float]) -> str:
    """The losses of one entry in a few words."""
    return "  ".join(f"{name} {value:.3f}" for name, value in entry.items() if name not in ("step", "rate", "seconds"))
