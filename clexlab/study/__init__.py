"""The study: every method of context extension on one model, one budget, one set of texts, several seeds.

    clexlab run study --profile cpu                  the table (`ROWS`);  --ladder: from the official CLEX to ours (`LADDER`)
                                                     --short: train short, test long (`SHORT`)
                                                     --untrained: maps of relative positions (`UNTRAINED`)
                                                     --families: every way to tell positions, from nothing (`FAMILIES`)
                                                     --sparse: sparse patterns in training (`SPARSE`)

A `Row` is a method: how it trains, how it is read, what was expected of it. `run` makes one record a row and seed and goes on
where the last call stopped; `table`, `costs` and `figures.study` show records.
"""

from clexlab.study.families import FAMILIES
from clexlab.study.ladder import LADDER
from clexlab.study.material import Material, shipped
from clexlab.study.methods import ROWS, Row, by_name
from clexlab.study.runner import Outcome, check, run
from clexlab.study.short import SHORT
from clexlab.study.sizes import PROFILES, Profile
from clexlab.study.sizes import by_name as profile_by_name
from clexlab.study.sparse import SPARSE
from clexlab.study.tables import by_row, costs, near_and_far, table
from clexlab.study.tuning import AsTrained, Closed, Learned, Mapped, Positions, Through, Tuning, Under
from clexlab.study.untrained import UNTRAINED

__all__ = [
    "FAMILIES",
    "LADDER",
    "PROFILES",
    "ROWS",
    "SHORT",
    "SPARSE",
    "UNTRAINED",
    "AsTrained",
    "Closed",
    "Learned",
    "Mapped",
    "Material",
    "Outcome",
    "Positions",
    "Profile",
    "Row",
    "Through",
    "Tuning",
    "Under",
    "by_name",
    "by_row",
    "check",
    "costs",
    "near_and_far",
    "profile_by_name",
    "run",
    "shipped",
    "table",
]
