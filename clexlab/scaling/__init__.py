"""Every path θ(t), A(t): what angle a position is turned into, as a function of the scale factor t = length / window.

One file a method, one line in `SCALINGS`. Tests, widgets, tables and lessons iterate over that tuple.
"""

from clexlab.scaling.abf import ABF
from clexlab.scaling.base import Path, Scaling
from clexlab.scaling.by_parts import (
    ByParts,
    FrequencyBlend,
    IndexRamp,
    TurnsRamp,
    UnroundedIndexRamp,
    WavelengthBlend,
)
from clexlab.scaling.clex import CLEX
from clexlab.scaling.dynamic_ntk import DynamicNTK
from clexlab.scaling.identity import Identity
from clexlab.scaling.linear import Linear
from clexlab.scaling.llama3 import Llama3
from clexlab.scaling.longrope import LongRoPE
from clexlab.scaling.ntk import NTK
from clexlab.scaling.temperature import Temperature
from clexlab.scaling.yarn import YaRN

SCALINGS = (Identity, Linear, NTK, DynamicNTK, ByParts, YaRN, Llama3, ABF, LongRoPE, CLEX)


def by_name(name: str) -> type[Path]:
    """The class of a method by its `name`, "yarn" for YaRN; ValueError lists the names."""
    for scaling in SCALINGS:
        if scaling.name == name:
            return scaling
    raise ValueError(f"no scaling is named {name!r}; there are {', '.join(scaling.name for scaling in SCALINGS)}")


__all__ = [
    "ABF",
    "CLEX",
    "SCALINGS",
    "ByParts",
    "DynamicNTK",
    "FrequencyBlend",
    "Identity",
    "IndexRamp",
    "Linear",
    "Llama3",
    "LongRoPE",
    "NTK",
    "Path",
    "Scaling",
    "Temperature",
    "TurnsRamp",
    "UnroundedIndexRamp",
    "WavelengthBlend",
    "YaRN",
    "by_name",
]
