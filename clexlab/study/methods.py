"""The rows of the study: every method of one table, trained with the same tokens and measured on the same ones.

A row is a training (or none) and a reading. Rows that share a training share the trained model: every closed form "after plain
tuning" is one more reading of the plainly tuned model. Predictions were written before the rows ran.
"""

from dataclasses import dataclass

from clexlab import scaling
from clexlab.evaluation.contexts import Truncated
from clexlab.positions import LogUniformFactors, Scattered, SkipWise, WholeFactors
from clexlab.scaling.clex import OFFICIAL_STEPS
from clexlab.study.tuning import (
    MAX_FACTOR,
    AsTrained,
    Closed,
    Learned,
    Positions,
    Reading,
    Tuning,
    Under,
    bounded_field,
    official_drift,
    official_field,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method of the study. `name` names its records, `title` its line in a table, `about` says in a sentence what it is.

    `tuning` is how it is trained (None: it is not), `reading` how it is measured. `prediction` is what was expected, and why,
    before it ran. `control` names the row that differs in the learned part alone, `against` the one it changes in one thing.
    """

    name: str
    title: str
    about: str
    tuning: Tuning | None = None
    reading: Reading = AsTrained()
    prediction: str = ""
    control: str = ""
    against: str = ""


CLOSED = tuple(method for method in scaling.SCALINGS if method not in (scaling.Identity, scaling.CLEX))
TITLES = {method: "LongRoPE's start" if method is scaling.LongRoPE else method.title for method in CLOSED}

WHOLE, LOG_UNIFORM = WholeFactors(MAX_FACTOR), LogUniformFactors(MAX_FACTOR)
YARN = Closed(scaling.YaRN)
# The official code trains its field at 2e-5; so small a rate keeps it from running away (clex.md §10).
OFFICIAL_RATE = 1e-5

PLAIN = Tuning(name="plain")
OFFICIAL = Tuning(
    name="clex-official",
    path=Learned(prior=official_drift, field=official_field, step=OFFICIAL_STEPS),
    positions=Positions(Scattered, WHOLE),
    path_rate=OFFICIAL_RATE,
)
OFFICIAL_FROZEN = Tuning(name="clex-official-frozen", path=official_drift, positions=Positions(Scattered, WHOLE))
OURS = Tuning(
    name="clex-bounded",
    path=Learned(prior=YARN, field=bounded_field),
    positions=Positions(SkipWise, LOG_UNIFORM),
    path_rate=3e-3,
)
OURS_FROZEN = Tuning(name="skip-wise-yarn", path=YARN, positions=Positions(SkipWise, LOG_UNIFORM))


def full_length(method: type[scaling.Path]) -> Tuning:
    """Rows of 16 windows with θ(16) from the first to the last: what the method was published with, at 16 times the length of a row."""
    return Tuning(name=f"full-{method.name}", path=Closed(method), span=MAX_FACTOR, factor=float(MAX_FACTOR))


ROWS = (
    Row(
        name="untouched",
        title="untouched",
        about="the base model as it is, beyond its window too",
    ),
    Row(
        name="truncation",
        title="truncation",
        about="the base model reads the last window alone: what every longer text has to beat",
        reading=AsTrained(Truncated()),
    ),
    *(
        Row(
            name=method.name.replace("_", "-"),
            title=TITLES[method],
            about=f"the base model under {TITLES[method]} at t = n/L, not tuned",
            reading=Under(Closed(method)),
        )
        for method in CLOSED
    ),
    Row(
        name="plain",
        title="plain tuning",
        about="tuned at 1×, read without any path",
        tuning=PLAIN,
    ),
    Row(
        name="plain-truncation",
        title="plain tuning, truncation",
        about="tuned at 1×, reads the last window alone",
        tuning=PLAIN,
        reading=AsTrained(Truncated()),
    ),
    *(
        Row(
            name=f"plain-{method.name.replace('_', '-')}",
            title=f"plain tuning, then {TITLES[method]}",
            about=f"tuned at 1× without a path, read under {TITLES[method]} at t = n/L",
            tuning=PLAIN,
            reading=Under(Closed(method)),
        )
        for method in CLOSED
    ),
    *(
        Row(
            name=f"full-{method.name}",
            title=f"{method.title}, full length",
            about=f"tuned on rows of 16 windows at θ(16) and read at θ(16) at every length: an upper bound for {method.title} at 16×,"
            " not for 1×, where θ(16) costs",
            tuning=full_length(method),
        )
        for method in (scaling.Linear, scaling.YaRN)
    ),
    Row(
        name="clex-official",
        title="CLEX, official recipe",
        about="NTK at 2t - 1 and the official field, scattered positions, whole t up to 16",
        tuning=OFFICIAL,
        control="clex-official-frozen",
    ),
    Row(
        name="clex-official-frozen",
        title="official recipe, field frozen at zero",
        about="the control of the official recipe: the same positions and t, nothing learned about θ(t)",
        tuning=OFFICIAL_FROZEN,
    ),
    Row(
        name="clex-ours",
        title="CLEX, ours",
        about="YaRN's path and temperature with a bounded field on top, skip-wise positions, log-uniform t up to 16",
        tuning=OURS,
        control="clex-ours-frozen",
    ),
    Row(
        name="clex-ours-frozen",
        title="ours, field frozen at zero",
        about="the control of ours, and the row to beat: skip-wise positions with YaRN's path and temperature",
        tuning=OURS_FROZEN,
    ),
)


def by_name(name: str, rows: tuple[Row, ...] = ROWS) -> Row:
    """A row by its name; ValueError lists the names."""
    for row in rows:
        if row.name == name:
            return row
    raise ValueError(f"no row is named {name!r}; there are {', '.join(row.name for row in rows)}")
