"""What every training that is compared has in common: the budget."""

from dataclasses import dataclass

import torch

from clexlab import frequencies


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`steps` of `rows` rows, however many processes share them.

    AdamW with `rate` for the model and `path_rate` for the path, `warmup` steps up and a cosine down to `floor` of that rate, decay
    `weight_decay` on matrices of the model. `seed` seeds the order of the data and everything drawn in training; `log_every` and
    `save_every` count steps (None: no checkpoints). `device` "cpu" or "cuda".
    """

    steps: int
    rows: int = 16
    rate: float = 3e-4
    path_rate: float = 3e-4
    warmup: int = 0
    weight_decay: float = 0.1
    floor: float = 0.0
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
        if not frequencies.is_whole(self.seed) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed!r}; it must be a whole number from 0, below 2^32")
        for name in ("rate", "path_rate", "weight_decay"):
            value = getattr(self, name)
            if not frequencies.is_finite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a finite number of 0 or more")
        if not frequencies.is_finite(self.floor) or not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor!r}; it is a share of the rate, from 0 to 1")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f'device is {self.device!r}; it must be "cpu" or "cuda"')

    @property
    def bf16(self) -> bool:
        """Whether the model computes in bfloat16 under autocast: on a GPU that has it.

        On a CPU it does not: without AMX or AVX-512 BF16 it is emulated and slower than float32, and results would depend on the
        machine. Weights, frequencies and loss are float32 either way.
        """
        return self.device == "cuda" and torch.cuda.is_bf16_supported()

    def share(self, processes: int) -> int:
        """The rows of a step that each of `processes` reads; ValueError where they cannot be shared equally."""
        if self.rows % processes:
            raise ValueError(f"{self.rows} rows a step cannot be shared by {processes} processes; use a multiple of {processes}")
        return self.rows // processes
