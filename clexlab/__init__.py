"""clexlab: how transformers know where a token is, and how far that knowledge stretches.

    score(i, j) = A(t)^2 <R(p_i θ(t)) q_i, R(p_j θ(t)) k_j> / sqrt(d) + B(i, j)    (masked by M(i, j))

What angle θ(t), A(t): `scaling`, `ode`, `frequencies`, `rope`. How large a score can get: `bounds`. Seen in `figures`,
live in `widgets`, practised in `exercises`. Submodules load on first use, so that `import clexlab` is instant.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBMODULES = (
    "bounds",
    "exercises",
    "figures",
    "frequencies",
    "lessons",
    "notebooks",
    "ode",
    "presets",
    "profiles",
    "results",
    "rope",
    "scaling",
    "toy",
    "widgets",
)


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return importlib.import_module(f"clexlab.{name}")
    raise AttributeError(f"module 'clexlab' has no attribute {name!r}; it has {', '.join(_SUBMODULES)}")


def __dir__() -> list[str]:
    return [*_SUBMODULES, "__version__"]
