"""How much a study spends: `smoke` shows that it runs, `cpu` fits a laptop, `gpu` one GPU in calls of ten minutes."""

from collections.abc import Sequence
from dataclasses import dataclass

from clexlab import training
from clexlab.evaluation.lengths import FACTORS


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The budget that all rows of a study have in common.

    `steps` of `rows` rows of one window, or of as many fewer longer ones: equal tokens. Measured on `texts` held-out texts at
    `factors`, and on `trials` things to recall at `depths` and `recall_factors` (none: recall is left out). `training_seconds` and
    `measuring_seconds` are first guesses for planning a call, replaced by what is seen.
    """

    name: str
    steps: int
    rows: int = 16
    rate: float = 3e-4
    warmup: int = 0
    texts: int = 16
    factors: tuple[float, ...] = FACTORS
    trials: int = 8
    depths: tuple[float, ...] = (0.1, 0.5, 0.9)
    recall_factors: tuple[float, ...] = (1.0, 8.0)
    seeds: tuple[int, ...] = (1, 2, 3)
    batch: int = 4
    log_every: int = 4
    save_every: int = 16
    training_seconds: float = 170.0
    measuring_seconds: float = 60.0
    note: str = ""

    def plan(self, seed: int, device: str, *, span: int, path_rate: float) -> training.Plan:
        """The same tokens, steps, rate and schedule for every row; `span` windows of each of its training rows are read."""
        if self.rows % span:
            raise ValueError(f"{self.rows} rows a step cannot be cut into rows of {span} windows; use a multiple of {span}")
        return training.Plan(
            steps=self.steps,
            rows=self.rows // span,
            rate=self.rate,
            path_rate=path_rate,
            warmup=self.warmup,
            seed=seed,
            log_every=self.log_every,
            save_every=self.save_every,
            device=device,
        )


PROFILES = (
    Profile(
        name="smoke",
        steps=2,
        texts=2,
        trials=1,
        depths=(0.5,),
        recall_factors=(1.0,),
        seeds=(1,),
        log_every=1,
        save_every=1,
        training_seconds=20.0,
        measuring_seconds=10.0,
        note="one seed and two steps: it shows that the study runs, and nothing else",
    ),
    Profile(name="cpu", steps=64, warmup=6),
    Profile(
        name="gpu",
        steps=1200,
        rows=32,
        warmup=60,
        texts=64,
        trials=20,
        depths=(0.0, 0.25, 0.5, 0.75, 1.0),
        recall_factors=(1.0, 2.0, 4.0, 8.0, 16.0),
        batch=16,
        log_every=20,
        save_every=300,
        training_seconds=90.0,
        measuring_seconds=20.0,
    ),
)


def by_name(name: str, profiles: Sequence[Profile] = PROFILES) -> Profile:
    """A profile by its name; ValueError lists the names."""
    for profile in profiles:
        if profile.name == name:
            return profile
    raise ValueError(f"no profile is named {name!r}; there are {', '.join(profile.name for profile in profiles)}")
