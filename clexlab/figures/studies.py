"""A study from its records: loss against length, a line a method, a band from the lowest to the highest seed."""

from collections.abc import Sequence

import plotly.graph_objects as go

from clexlab import evaluation
from clexlab.figures.evaluation import loss_by_length
from clexlab.results import Record
from clexlab.study.tables import by_row

# What is drawn unless rows are named: baselines, bounds, both CLEX and what each has to beat.
HEADLINE = (
    "untouched",
    "truncation",
    "yarn",
    "plain-yarn",
    "full-yarn",
    "clex-official",
    "clex-official-frozen",
    "clex-ours",
    "clex-ours-frozen",
)


def study(records: Sequence[Record], rows: Sequence[str] = (), title: str = "") -> go.Figure:
    """`loss_by_length` of the records of a study, under the titles of their rows; the window is a line.

    `rows` names what is drawn; without names the headline of the study, or every row of records that are not of the study, as a
    ladder's. Raises ValueError for a row without a record, and as `study.by_row` does.
    """
    found = by_row(records)
    missing = [name for name in rows if name not in found]
    if missing:
        raise ValueError(f"no record of {', '.join(missing)}; there are {', '.join(found) or 'none'}")
    chosen = list(rows) or [name for name in HEADLINE if name in found] or list(found)
    return loss_by_length({found[name][0].config["title"]: [evaluation.loss_of(one) for one in found[name]] for name in chosen}, title)
