"""The rows of the study: every method of one table, trained with the same tokens and measured on the same ones.

A row is a training (or none) and a reading. Rows that share a training share the trained model: every closed form "after plain
tuning" is one more reading of the plainly tuned model. Predictions were written before the rows ran, where a row has one.
"""

from dataclasses import dataclass, replace

from clexlab import scaling
from clexlab.evaluation.contexts import Truncated
from clexlab.positions import Diluted, LogUniformFactors, PerRow, Scattered, SkipWise, WholeFactors
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
    distilled,
    official_drift,
    official_field,
    pace_field,
    path_only,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method of the study. `name` names its records, `title` its line in a table, `about` says in a sentence what it is.

    `tuning` is how it is trained (None: it is not), `reading` how it is measured. `prediction` is what was expected, and why,
    before it ran. `control` names the row that differs in the learned part alone, `against` the row it is to be compared with. `tasks` is
    what it has to recall.
    """

    name: str
    title: str
    about: str
    tuning: Tuning | None = None
    reading: Reading = AsTrained()
    prediction: str = ""
    control: str = ""
    against: str = ""
    tasks: tuple[str, ...] = ("passkey", "copy")


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
# Beside a model that learns, and alone.
PATH_RATE, PATH_RATE_ALONE = 5e-3, 2e-2


def diluted_rows(window: int) -> PerRow:
    """Skip-wise positions with a factor for every row, far keys counted as often as they would occur."""
    return PerRow(Diluted(SkipWise(window=window, factors=LOG_UNIFORM)))


PACE = Learned(prior=YARN, field=pace_field)
OURS = Tuning(name="clex-ours", path=PACE, positions=diluted_rows, objective=distilled, path_rate=PATH_RATE)
OURS_FROZEN = Tuning(name="clex-ours-frozen", path=YARN, positions=diluted_rows, objective=distilled)
SKIP_WISE_YARN = Tuning(name="skip-wise-yarn", path=YARN, positions=Positions(SkipWise, LOG_UNIFORM))
PATH_ONLY = Tuning(
    name="clex-path",
    path=replace(PACE, temperature=scaling.Temperature),
    positions=diluted_rows,
    learns=path_only,
    path_rate=PATH_RATE_ALONE,
)


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
            about=f"tuned on rows of 16 windows, from documents that long, at θ(16) and read at θ(16) at every length: an upper bound"
            f" for {method.title} at 16×, not for 1×, where θ(16) costs",
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
        name="skip-wise-yarn",
        title="skip-wise YaRN",
        about="skip-wise positions with YaRN's path and temperature, log-uniform t, nothing learned about θ(t): the row to beat",
        tuning=SKIP_WISE_YARN,
    ),
    Row(
        name="clex-path",
        title="CLEX, path alone",
        about="the base model's weights stay: the speed of every pair on YaRN's path and its temperature are learned, on diluted"
        " skip-wise positions",
        prediction="Half a tenth better than YaRN at 8× and 16×, as in a pilot; nothing lost at 1×, where the path is fixed.",
        tuning=PATH_ONLY,
        control="yarn",
    ),
    Row(
        name="clex-ours",
        title="CLEX, ours",
        about="the speed of every pair on YaRN's path is learned with the model: diluted skip-wise positions, a t for every row,"
        " distillation with weight 4",
        prediction="Below every other row but full length from 4× on, a tenth below skip-wise YaRN at 16×, as in pilots; a few hundredths"
        " lost at 1×. Within two hundredths of its control: what gains is what the control has too.",
        tuning=OURS,
        control="clex-ours-frozen",
    ),
    Row(
        name="clex-ours-frozen",
        title="ours, field frozen at zero",
        about="the control of ours: the same positions, t and distillation with weight 4, nothing learned about θ(t)",
        tuning=OURS_FROZEN,
    ),
)


def by_name(name: str, rows: tuple[Row, ...] = ROWS) -> Row:
    """A row by its name; ValueError lists the names."""
    for row in rows:
        if row.name == name:
            return row
    raise ValueError(f"no row is named {name!r}; there are {', '.join(row.name for row in rows)}")
