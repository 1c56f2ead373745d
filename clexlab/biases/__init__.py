"""Every bias B(i, j): position as a number added to the score, beside or instead of an angle.

One file a method or family, one line in `BIASES`. Tests, widgets, tables and lessons iterate over that tuple.
"""

from clexlab.biases.alibi import ALiBi, InterpolatedALiBi, slopes
from clexlab.biases.base import Bias
from clexlab.biases.cope import CoPE
from clexlab.biases.fire import FIRE
from clexlab.biases.kerple import KERPLELog, KERPLEPower
from clexlab.biases.nope import NoPE
from clexlab.biases.sandwich import Sandwich
from clexlab.biases.t5 import T5

BIASES = (NoPE, ALiBi, InterpolatedALiBi, T5, KERPLELog, KERPLEPower, Sandwich, FIRE, CoPE)


def by_name(name: str) -> type[Bias]:
    """The class of a bias by its `name`, "alibi" for ALiBi; ValueError lists the names."""
    for bias in BIASES:
        if bias.name == name:
            return bias
    raise ValueError(f"no bias is named {name!r}; there are {', '.join(bias.name for bias in BIASES)}")


__all__ = [
    "ALiBi",
    "BIASES",
    "Bias",
    "CoPE",
    "FIRE",
    "InterpolatedALiBi",
    "KERPLELog",
    "KERPLEPower",
    "NoPE",
    "Sandwich",
    "T5",
    "by_name",
    "slopes",
]
