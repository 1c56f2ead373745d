"""The ladder: from the official CLEX to ours, one change a rung, with what was expected of it before it ran.

`against` names the rung that a rung changes in one thing, `control` the row in which that path learns nothing. Controls are rows
of the ladder too: without them a rung says nothing about what was learned.
"""

from dataclasses import replace

from clexlab import scaling
from clexlab.positions import PerRow, Scattered, SkipWise
from clexlab.study.methods import LOG_UNIFORM, OFFICIAL, OFFICIAL_FROZEN, OFFICIAL_RATE, OURS, OURS_FROZEN, YARN, Row
from clexlab.study.tuning import Learned, Positions, Tuning, Under, bounded_field, distilled, official_drift, pair_field, path_only


def each_row(window: int) -> PerRow:
    """Skip-wise positions with a factor of its own for every row of a step."""
    return PerRow(SkipWise(window=window, factors=LOG_UNIFORM))


SCATTERED, SKIP_WISE = Positions(Scattered, LOG_UNIFORM), Positions(SkipWise, LOG_UNIFORM)
BOUNDED_DRIFT = Learned(prior=official_drift, field=bounded_field)
PAIRS = Learned(prior=YARN, field=pair_field)
WITH_TEMPERATURE = Learned(prior=YARN, field=pair_field, temperature=scaling.Temperature)
SMALL_RATE = 3e-4

LADDER = (
    Row(
        name="01-official",
        title="1 official recipe",
        about="NTK at 2t - 1, official field at 1e-5, scattered positions, whole t",
        tuning=OFFICIAL,
        control="01-control",
        prediction="Flatter than plain tuning at 8× and 16×, worse at 1×: scattered positions tear neighbours apart. No different from"
        " its control, because the field hardly moves at this rate in so few steps.",
    ),
    Row(
        name="01-control",
        title="1 control",
        about="the official recipe with the field frozen at zero",
        tuning=OFFICIAL_FROZEN,
        prediction="Equal to the official recipe within the seeds' spread.",
    ),
    Row(
        name="02-real-factors",
        title="2 real t, log-uniform",
        about="t real-valued, every doubling equally often, in the place of whole t",
        tuning=replace(OFFICIAL, name="real-factors", positions=SCATTERED),
        control="02-control",
        against="01-official",
        prediction="Better at 1× and 2×, which whole t up to 16 hardly ever draws; a little worse at 16×, drawn less often.",
    ),
    Row(
        name="02-control",
        title="2 and 3 control",
        about="rungs 2 and 3 with the field frozen at zero: NTK at 2t - 1, scattered positions, log-uniform t",
        tuning=replace(OFFICIAL_FROZEN, name="real-factors-frozen", positions=SCATTERED),
        against="01-control",
        prediction="Equal to rung 2 within the seeds' spread.",
    ),
    Row(
        name="03-bounded-field",
        title="3 bounded field in ln t",
        about="the official field replaced by a bounded one in ln t, at the same small rate",
        tuning=Tuning(name="bounded-field", path=BOUNDED_DRIFT, positions=SCATTERED, path_rate=OFFICIAL_RATE),
        control="02-control",
        against="02-real-factors",
        prediction="No change: at this rate neither field leaves zero. What it buys is that a larger rate becomes possible.",
    ),
    Row(
        name="04-skip-wise",
        title="4 skip-wise positions",
        about="two contiguous runs with a jump in the place of scattered positions",
        tuning=Tuning(name="skip-wise-drift", path=BOUNDED_DRIFT, positions=SKIP_WISE, path_rate=OFFICIAL_RATE),
        control="04-control",
        against="03-bounded-field",
        prediction="The largest single gain, at every length: neighbours stay neighbours, and most of the loss is local.",
    ),
    Row(
        name="04-control",
        title="4 control",
        about="rung 4 with the field frozen at zero: NTK at 2t - 1, skip-wise positions",
        tuning=replace(OURS_FROZEN, name="skip-wise-drift-frozen", path=official_drift),
        against="02-control",
        prediction="Equal to rung 4 within the seeds' spread.",
    ),
    Row(
        name="05-yarn",
        title="5 YaRN's path and temperature, nothing learned",
        about="YaRN in the place of NTK at 2t - 1; no field: the row to beat, and the control of every rung below",
        tuning=OURS_FROZEN,
        against="04-control",
        prediction="Flat to 16×: high frequencies, which carry the neighbourhood, do not move at all with t, so there is less to relearn.",
    ),
    Row(
        name="06-field",
        title="6 bounded field at 3e-3",
        about="a bounded field on top of YaRN, at ten times the usual rate of a field",
        tuning=OURS,
        control="05-yarn",
        against="05-yarn",
        prediction="No gain, and a loss of some hundredths at 8× and 16×, as in the first look: the field moves faster than the model"
        " follows.",
    ),
    Row(
        name="07-pair-field",
        title="7 two numbers per pair",
        about="a field of two numbers per pair in the place of the network",
        tuning=replace(OURS, name="pair-field", path=PAIRS),
        control="05-yarn",
        against="06-field",
        prediction="Closer to the control than rung 6: pairs that carry no loss have no gradient and stay, where the network moves all"
        " together. The slowest pairs move most, for they decide what is far.",
    ),
    Row(
        name="08-small-rate",
        title="8 smaller rate of the field",
        about="the field of rung 7 at 3e-4",
        tuning=replace(OURS, name="small-rate", path=PAIRS, path_rate=SMALL_RATE),
        control="05-yarn",
        against="07-pair-field",
        prediction="What rung 7 loses goes; a gain, if there is one, is within the seeds' spread.",
    ),
    Row(
        name="09-temperature",
        title="9 learned temperature",
        about="A(t) learned beside the field, two numbers more",
        tuning=replace(OURS, name="temperature", path=WITH_TEMPERATURE, path_rate=SMALL_RATE),
        control="05-yarn",
        against="08-small-rate",
        prediction="A small gain at 16×: YaRN's 0.1 ln t was fitted to large models, and every head of a small one spreads its attention"
        " over 16 times the keys.",
    ),
    Row(
        name="10-each-row",
        title="10 a factor for every row",
        about="positions and t drawn for every row of a step in the place of once for all",
        tuning=replace(OURS, name="each-row", path=PAIRS, positions=each_row, path_rate=SMALL_RATE),
        control="10-control",
        against="08-small-rate",
        prediction="Smaller spread over seeds and a gain of about a hundredth at all lengths: 16 factors a step make a calmer gradient."
        " Most of the gain is in the control too.",
    ),
    Row(
        name="10-control",
        title="10 control",
        about="rung 10 with the field frozen at zero",
        tuning=replace(OURS_FROZEN, name="each-row-frozen", positions=each_row),
        against="05-yarn",
        prediction="Better than rung 5 by most of what rung 10 gains.",
    ),
    Row(
        name="11-path-only",
        title="11 model frozen, field and temperature trained",
        about="the base model's weights stay; its path alone is trained, at 3e-3: nothing has to follow it",
        tuning=replace(OURS, name="path-only", path=WITH_TEMPERATURE, learns=path_only),
        control="11-control",
        prediction="A gain over YaRN without tuning beyond 4×, worse than every tuned rung: a few dozen numbers move where attention"
        " looks, not what the model does with it. Nothing is lost at 1×, where the path is fixed.",
    ),
    Row(
        name="11-control",
        title="11 control",
        about="YaRN on the untouched model: neither model nor path is trained",
        reading=Under(YARN),
        prediction="The base model's 1×, and a rise of a tenth or so by 16×.",
    ),
    Row(
        name="12-distilled",
        title="12 distillation",
        about="beside the next token, the untouched model's predictions of the same row within its window, with weight 1",
        tuning=replace(OURS, name="distilled", path=PAIRS, path_rate=SMALL_RATE, objective=distilled),
        control="12-control",
        against="08-small-rate",
        prediction="Flatter, because every token tells what to predict at length and not one answer; about the base model's loss at 1×, so"
        " a little worse than rung 8 there. The field gains a calmer gradient, a hundredth at most at 16×.",
    ),
    Row(
        name="12-control",
        title="12 control",
        about="rung 12 with the field frozen at zero",
        tuning=replace(OURS_FROZEN, name="distilled-frozen", objective=distilled),
        against="05-yarn",
        prediction="Most of what rung 12 gains over rung 8 is a gain of this row over rung 5 too.",
    ),
)
