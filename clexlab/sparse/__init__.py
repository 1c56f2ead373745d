"""Which pairs are computed at all, M(i, j): sparse attention patterns, a boolean matrix for every head.

A pattern is a frozen dataclass: `visible` is its mask, `mask_mod` the same for flex attention, `keys_per_row` its cost by formula,
`empty` what rows without keys do. `reach` and `coverage` say what layers of it carry where;
`attention` computes those that come in chunks without a mask as large as the text.
PATTERNS lists those a language model can use, LEAKING those that see the future and are here to be looked at.
"""

from clexlab.sparse.base import Pattern
from clexlab.sparse.chunked import attention, computed
from clexlab.sparse.dilated import Dilated, DilatedNeighbourhood, TwoSidedNeighbourhood
from clexlab.sparse.empty import RULES, EmptyRows, FirstChunk, Itself, OwnChunk, ZeroOutput
from clexlab.sparse.local import Local
from clexlab.sparse.mixed import LongMixed, Mixed
from clexlab.sparse.reach import coverage, entries, leaks, reach
from clexlab.sparse.s2 import S2, RolledS2
from clexlab.sparse.scca import SCCAFixed, SCCAFlow, ShiftMask, SlotTriangle, TruePosition, WrappedTriangle
from clexlab.sparse.sda import SDA, SelectedSDA

PATTERNS = (Local, S2, SCCAFixed, SCCAFlow, Dilated, DilatedNeighbourhood, SDA, SelectedSDA, LongMixed)
LEAKING = (RolledS2, TwoSidedNeighbourhood)


def by_name(name: str) -> type[Pattern]:
    """The class of a pattern by its `name`, "s2" for S2; ValueError lists the names."""
    for pattern in (*PATTERNS, *LEAKING):
        if pattern.name == name:
            return pattern
    raise ValueError(f"no pattern is named {name!r}; there are {', '.join(pattern.name for pattern in (*PATTERNS, *LEAKING))}")


__all__ = [
    "LEAKING",
    "PATTERNS",
    "RULES",
    "SDA",
    "S2",
    "Dilated",
    "DilatedNeighbourhood",
    "EmptyRows",
    "FirstChunk",
    "Itself",
    "Local",
    "LongMixed",
    "Mixed",
    "OwnChunk",
    "Pattern",
    "RolledS2",
    "SCCAFixed",
    "SCCAFlow",
    "SelectedSDA",
    "ShiftMask",
    "SlotTriangle",
    "TruePosition",
    "TwoSidedNeighbourhood",
    "WrappedTriangle",
    "ZeroOutput",
    "attention",
    "by_name",
    "computed",
    "coverage",
    "entries",
    "leaks",
    "reach",
]
