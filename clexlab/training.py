"""Training under one protocol: transformers' Trainer on drawn rows, the same for every method that is compared.

The model comes as it shall be trained: plain, or extended with a path and a sampler of positions (`clexlab.extend(..., positions=)`).
What a method learns about θ(t) are the parameters of its path; they form a group of their own, with their own rate and no decay.
Because it is the Trainer, `accelerate launch`, resuming, logging and mixed precision come with it.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from clexlab import frequencies
from clexlab.objectives import NextToken, Objective
from clexlab.rows import Rows

# Parameters below this name belong to the path, not to the model.
PATH = ".scaling."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every method that is compared has in common: the budget.

    `steps` of `rows` rows; AdamW with `rate` for the model and `path_rate` for the path, `warmup` steps up and a cosine to zero, decay
    `weight_decay` on matrices of the model. `seed` seeds the order of the data and everything drawn in training; `log_every` and
    `save_every` count steps (None: no checkpoints). `device` "cpu" or "cuda", where bfloat16 autocast is used if the GPU has it.
    """

    steps: int
    rows: int = 16
    rate: float = 3e-4
    path_rate: float = 3e-4
    warmup: int = 0
    weight_decay: float = 0.1
    seed: int = 0
    log_every: int = 10
    save_every: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "log_every", *(("save_every",) if self.save_every is not None else ())):
            value = getattr(self, name)
            if not frequencies.is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
        if not frequencies.is_whole(self.warmup) or not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup is {self.warmup!r}; it must be a whole number of steps, at most all {self.steps}")
        for name in ("rate", "path_rate", "weight_decay"):
            value = getattr(self, name)
            if not frequencies.is_finite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a finite number of 0 or more")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f'device is {self.device!r}; it must be "cpu" or "cuda"')

    @property
    def bf16(self) -> bool:
        """Whether this device computes in bfloat16 faster than in float32."""
        return self.device == "cuda" and torch.cuda.is_bf16_supported()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training. `curve` has an entry per log: step, loss, the loss of every part and term, the rate."""

    model: nn.Module
    curve: list[dict] = field(repr=False)
    seconds: float
    tokens: int


def train(
    model: nn.Module,
    data: Rows,
    plan: Plan,
    *,
    folder: Path,
    objective: Objective = NextToken(),  # noqa: B008 - an immutable value
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = False,
) -> Trained:
    """Train `model` on `data` as `plan` says, in place; checkpoints and logs go to `folder`.

    `resume` goes on from the last whole checkpoint in `folder`, to the same weights as a training that was never interrupted.
    Raises ValueError where the data have not exactly the rows the plan asks for, and where resuming finds no checkpoint.
    """
    if len(data) != plan.steps * plan.rows:
        raise ValueError(f"the data have {len(data)} rows; {plan.steps} steps of {plan.rows} need exactly {plan.steps * plan.rows}")
    began = time.perf_counter()
    trainer = PartTrainer(
        model=model,
        args=_arguments(plan, folder),
        train_dataset=data,
        data_collator=collate,
        callbacks=list(callbacks),
        objective=objective,
    )
    if any(isinstance(callback, Display) for callback in callbacks):
        trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)
    path = [weight for name, weight in model.named_parameters() if PATH in f".{name}" and weight.requires_grad]
    if path:
        own_group(trainer.create_optimizer(), path, plan.path_rate)
    trainer.train(resume_from_checkpoint=resume or None)
    # The Trainer switches the cache off and would save that.
    model.config.use_cache = True
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    seconds = time.perf_counter() - began
    return Trained(model=model.to("cpu").eval(), curve=curve, seconds=seconds, tokens=data.tokens.numel())


class Display(TrainerCallback):
    """A callback that shows progress itself: a training that has one goes without the Trainer's own bar."""


class PartTrainer(Trainer):
    """The Trainer, with an objective of ours and the loss of every part of the data in its log."""

    def __init__(self, *args, objective: Objective, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective
        # The objective gives a mean over rows; the Trainer must divide it where it accumulates.
        self.model_accepts_loss_kwargs = False
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean over rows of the sum of all terms."""
        terms = self.objective(model, inputs["input_ids"])
        self._count(inputs["part"], {name: values.detach() for name, values in terms.items()})
        return sum(terms.values()).mean()

    def _count(self, parts: Sequence[str], terms: dict[str, Tensor]) -> None:
        for name, values in terms.items():
            for part, value in zip(parts, values.tolist(), strict=True):
                for key in (part,) if name == NextToken.name else (name,):
                    total = self._sums[key]
                    total[0], total[1] = total[0] + value, total[1] + 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The Trainer's entry and, beside its loss, the mean of every part since the last one."""
        if "loss" in logs:
            logs = {**logs, **{name: total / count for name, (total, count) in self._sums.items()}}
            self._sums.clear()
        super().log(logs, start_time)


def collate(entries: Sequence[dict]) -> dict[str, object]:
    """Rows of one step: tokens stacked, the names of their parts as they are."""
    return {"input_ids": torch.stack([entry["input_ids"] for entry in entries]), "part": [entry["part"] for entry in entries]}


def own_group(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate: float) -> None:
    """Take `parameters` out of the optimizer's groups, into one of their own without weight decay."""
    moved = {id(parameter) for parameter in parameters}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in moved]
    optimizer.add_param_group({"params": list(parameters), "lr": rate, "weight_decay": 0.0})


def _arguments(plan: Plan, folder: Path) -> transformers.TrainingArguments:
    saving = dict(save_strategy="no") if plan.save_every is None else dict(save_strategy="steps", save_steps=plan.save_every)
    return transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        per_device_train_batch_size=plan.rows,
        learning_rate=plan.rate,
        warmup_steps=plan.warmup,
        lr_scheduler_type="cosine",
        weight_decay=plan.weight_decay,
        adam_beta2=0.98,
        logging_steps=plan.log_every,
        logging_first_step=True,
        save_total_limit=2,
        seed=plan.seed,
        use_cpu=plan.device == "cpu",
        bf16=plan.bf16,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        **saving,
    )
