"""transformers' Trainer with an objective of ours, the loss of every part in its log, and a group of its own for the path."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from clexlab import hf
from clexlab.objectives import NextToken, Objective
from clexlab.positions import Draw, Sampler
from clexlab.training.plan import Plan

# Parameters below this name belong to the path, not to the model.
PATH = ".scaling."
# What a gradient is cut to, the model's and the path's each on its own.
NORM = 1.0


class Diverged(ValueError):
    """The loss is no finite number any more; nothing that was trained is of use."""


class PartTrainer(Trainer):
    """The Trainer on `Rows`. An entry of its log: mean loss since the last entry, of every part and term too, rate, seconds."""

    def __init__(self, *args, objective: Objective, **kwargs) -> None:
        self.clock = Clock()
        super().__init__(*args, **kwargs)
        self.add_callback(Clip())
        # Last, so that it sees what every other callback asked for.
        self.add_callback(self.clock)
        self.objective = objective
        # The objective gives a mean over rows; the Trainer must divide it where it accumulates.
        self.model_accepts_loss_kwargs = False
        self._parts = sorted(set(self.train_dataset.parts))
        # Losses stay where they were computed until they are logged: reading one waits for the GPU.
        self._seen: list[tuple[Sequence[str], dict[str, Tensor]]] = []

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean over rows of the sum of all terms."""
        terms = self.objective(model, inputs["input_ids"])
        self._seen.append((inputs["part"], {name: values.detach() for name, values in terms.items()}))
        return sum(terms.values()).mean()

    def floating_point_ops(self, inputs) -> int:
        """Not counted: it walks over all weights in every step."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep and tell one entry; the Trainer's summary at the end is none. Raises Diverged for a loss that is no number."""
        if "loss" not in logs:
            return
        entry = {"loss": logs["loss"], **self._means(), "rate": logs["learning_rate"], "seconds": round(self.clock.seconds, 3)}
        step = self.state.global_step
        if not math.isfinite(entry["loss"]):
            raise Diverged(f"the loss is {entry['loss']} at step {step}; use a smaller rate or path_rate, or a longer warmup")
        self.state.log_history.append({"step": step, **entry})
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, entry)

    def _means(self) -> dict[str, float]:
        """The mean of every part that occurred since the last entry, and of every term, over the rows of all processes."""
        sums = {name: [0.0, 0] for name in self._parts}
        for parts, terms in self._seen:
            for name, values in terms.items():
                for part, value in zip(parts, values.tolist(), strict=True):
                    total = sums.setdefault(part if name == NextToken.name else name, [0.0, 0])
                    total[0], total[1] = total[0] + value, total[1] + 1
        self._seen.clear()
        both = torch.tensor(list(sums.values()), dtype=torch.float64, device=self.args.device)
        totals = self.accelerator.reduce(both, reduction="sum").tolist()
        return {name: total / count for name, (total, count) in zip(sums, totals, strict=True) if count}


class Clock(TrainerCallback):
    """Seconds of training, those before an interruption too; and an entry of the log at every checkpoint and at the end.

    With that, no checkpoint is written in the middle of a sum, and a resumed training logs what an uninterrupted one logs.
    """

    def __init__(self) -> None:
        self.before, self.began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.before = state.log_history[-1]["seconds"] if state.log_history else 0.0
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if control.should_save or state.global_step >= state.max_steps:
            control.should_log = True


class Clip(TrainerCallback):
    """Before a step the gradient of the model is cut to `NORM`, and that of the path to `NORM`, each on its own.

    Cut together, as the Trainer does it, they share one norm: dθ is multiplied by positions, so at large t a field's gradient is many
    times the model's (3 times with two numbers per pair, 1000 times with the official field), and the model would learn that much
    less from long texts than beside a field frozen at zero. Such a control would differ in more than the field.
    """

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        path = path_parameters(model)
        learned = {id(weight) for weight in path}
        self.groups = (path, [weight for weight in model.parameters() if id(weight) not in learned])

    def on_pre_optimizer_step(self, args, state, control, **kwargs) -> None:
        for weights in self.groups:
            nn.utils.clip_grad_norm_(weights, NORM)


@dataclass(frozen=True)
class Share:
    """What one process of several draws where rows have draws of their own: its rows out of those of the whole step.

    All processes draw the same numbers from equal generators, so a step has the draws that one process alone would give it.
    """

    sampler: Sampler
    rank: int
    processes: int

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        return self.sampler.draw(length, generator)

    def draw_rows(self, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
        drawn = self.sampler.draw_rows(rows * self.processes, length, generator)
        return drawn if len(drawn) == 1 else drawn[self.rank * rows : (self.rank + 1) * rows]


@contextmanager
def sharing_draws(model: nn.Module, rank: int, processes: int) -> Iterator[None]:
    """While this lasts, samplers in `model` that draw per row draw for this process's rows."""
    seams = [module for module in model.modules() if isinstance(module, hf.Rotary) and hasattr(module.positions, "draw_rows")]
    samplers = [seam.positions for seam in seams]
    for seam in seams if processes > 1 else ():
        seam.positions = Share(seam.positions, rank, processes)
    try:
        yield
    finally:
        for seam, sampler in zip(seams, samplers, strict=True):
            seam.positions = sampler


def path_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What the path has to learn: its field, its temperature."""
    return [weight for name, weight in model.named_parameters() if PATH in f".{name}" and weight.requires_grad]


def collate(entries: Sequence[dict]) -> dict[str, object]:
    """Rows of one step: tokens stacked, the names of their parts as they are."""
    return {"input_ids": torch.stack([entry["input_ids"] for entry in entries]), "part": [entry["part"] for entry in entries]}


def own_group(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate: float) -> None:
    """Take `parameters` out of the optimizer's groups, into one of their own without weight decay."""
    moved = {id(parameter) for parameter in parameters}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in moved]
    optimizer.add_param_group({"params": list(parameters), "lr": rate, "weight_decay": 0.0})


def arguments(plan: Plan, folder: Path, use_cache: bool) -> transformers.TrainingArguments:
    """The plan in the Trainer's words. ValueError for rows that the processes cannot share equally."""
    saving = dict(save_strategy="no") if plan.save_every is None else dict(save_strategy="steps", save_steps=plan.save_every)
    made = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        learning_rate=plan.rate,
        warmup_steps=plan.warmup,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": plan.floor},
        weight_decay=plan.weight_decay,
        adam_beta2=0.98,
        # `Clip` does it.
        max_grad_norm=0.0,
        logging_steps=plan.log_every,
        logging_first_step=True,
        # A loss that is no number shall be seen; and looking for it in every step waits for the GPU.
        logging_nan_inf_filter=False,
        save_total_limit=2,
        seed=plan.seed,
        use_cpu=plan.device == "cpu",
        bf16=plan.bf16,
        use_cache=use_cache,
        report_to="none",
        disable_tqdm=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        **saving,
    )
    if made.n_gpu > 1:
        raise ValueError(f"{made.n_gpu} GPUs are visible to one process; start with accelerate launch, or set CUDA_VISIBLE_DEVICES=0")
    # Known only now: how many processes there are.
    made.per_device_train_batch_size = plan.share(made.world_size)
    return made
