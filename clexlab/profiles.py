"""How much a lesson may spend: `smoke` (CI, under a minute), `cpu` (a laptop, up to three minutes), `gpu`.

The profile comes from the environment variable CLEXLAB_PROFILE, so the same notebook serves all three. A lesson asks
for its sizes with `pick`, and nothing else in the package looks at the variable.
"""

import os
from typing import TypeVar

VARIABLE = "CLEXLAB_PROFILE"
PROFILES = ("smoke", "cpu", "gpu")
DEFAULT = "cpu"

Choice = TypeVar("Choice")


def check(name: str) -> str:
    """Return `name` if it is a profile; raise ValueError otherwise."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; use one of {', '.join(PROFILES)} (variable {VARIABLE})")
    return name


def current() -> str:
    """The profile of this process: the value of CLEXLAB_PROFILE, or "cpu" where it is not set."""
    return check(os.environ.get(VARIABLE, DEFAULT))


def pick(*, smoke: Choice, cpu: Choice, gpu: Choice) -> Choice:
    """The one of three values that fits the current profile: `steps = pick(smoke=20, cpu=300, gpu=3000)`."""
    return {"smoke": smoke, "cpu": cpu, "gpu": gpu}[current()]
