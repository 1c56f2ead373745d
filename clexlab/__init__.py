"""clexlab: how transformers know where a token is, and how far that knowledge stretches.

    score(i, j) = A(t)^2 <R(p_i θ(t)) q_i, R(p_j θ(t)) k_j> / sqrt(d) + B(i, j)    (masked by M(i, j))

What angle θ(t), A(t): `scaling`, `ode`, `frequencies`, `rope`. How large a score can get: `bounds`. Seen in `figures`,
live in `widgets`, practised in `exercises`. On a model of transformers: `extend`, `extended`, `restore`, `load`, `export`
(`hf`), measured by `evaluation`. Submodules load on first use, so that `import clexlab` is instant.
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
    "absolute",
    "base",
    "bounds",
    "bpe",
    "corpora",
    "decoding",
    "evaluation",
    "exercises",
    "figures",
    "frequencies",
    "hf",
    "impact",
    "in_sentences",
    "interleaved",
    "lessons",
    "lookup",
    "merging",
    "notebooks",
    "objectives",
    "ode",
    "pocket",
    "placed",
    "pocket_clex",
    "positions",
    "presets",
    "profiles",
    "results",
    "rope",
    "rows",
    "scaling",
    "search",
    "sparse",
    "study",
    "taken",
    "tasks",
    "toy",
    "training",
    "widgets",
)


# Functions that are called often enough to have a short name, and the submodule each lives in.
_FUNCTIONS = {
    "extend": "hf.attach",
    "extended": "hf.attach",
    "restore": "hf.attach",
    "load": "hf.saving",
    "export": "hf.exporting",
    "sparsify": "hf.sparsify",
    "sparsified": "hf.sparsify",
    "unsparsify": "hf.sparsify",
}


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"clexlab.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"clexlab.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'clexlab' has no attribute {name!r}; it has {', '.join(__dir__()[:-1])}")


def __dir__() -> list[str]:
    return [*_SUBMODULES, *_FUNCTIONS, "__version__"]
