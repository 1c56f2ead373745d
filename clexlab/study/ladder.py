"""The ladder: from the official CLEX to ours, a step a rung, with what was expected of it before it ran.

`against` names the rung that a rung goes on from, `control` the row in which that path learns nothing. From rung 3 on a step is one
change; rung 2 is several, which it names. Controls are rows of the ladder too: without them a rung says nothing about what was
learned. Where a prediction speaks of pilots, those were single trainings, not recorded, on texts that are none of the study's.
"""

from dataclasses import replace

from clexlab import scaling
from clexlab.positions import PerRow, SkipWise
from clexlab.study.methods import (
    LOG_UNIFORM,
    OFFICIAL,
    OFFICIAL_FROZEN,
    OFFICIAL_RATE,
    OURS,
    OURS_FROZEN,
    PACE,
    PATH_ONLY,
    SKIP_WISE_YARN,
    YARN,
    Row,
)
from clexlab.study.tuning import Learned, Under, bounded_field, next_token, official_drift


def each_row(window: int) -> PerRow:
    """Skip-wise positions with a factor of its own for every row of a step."""
    return PerRow(SkipWise(window=window, factors=LOG_UNIFORM))


BOUNDED_DRIFT = Learned(prior=official_drift, field=bounded_field)

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
        name="02-skip-wise",
        title="2 skip-wise positions, real t",
        about="two contiguous runs with a jump in the place of scattered positions, t real and log-uniform; the field bounded, in ln t,"
        " solved in eight steps",
        tuning=replace(SKIP_WISE_YARN, name="skip-wise-drift", path=BOUNDED_DRIFT, path_rate=OFFICIAL_RATE),
        control="02-control",
        against="01-official",
        prediction="The largest single gain, at every length: neighbours stay neighbours, and most of the loss is local. Nothing of it is"
        " the field's.",
    ),
    Row(
        name="02-control",
        title="2 control",
        about="rung 2 with the field frozen at zero",
        tuning=replace(SKIP_WISE_YARN, name="skip-wise-drift-frozen", path=official_drift),
        against="01-control",
        prediction="Equal to rung 2 within the seeds' spread.",
    ),
    Row(
        name="03-yarn",
        title="3 YaRN's path and temperature, nothing learned",
        about="YaRN in the place of NTK at 2t - 1; no field: the row to beat",
        tuning=SKIP_WISE_YARN,
        against="02-control",
        prediction="Better at 8× and 16×: high frequencies, which carry the neighbourhood, hardly move with t, so there is less to relearn."
        " Not flat to 16×: the pilot was 0.24 above its own 1× there.",
    ),
    Row(
        name="04-network",
        title="4 bounded network at 5e-3",
        about="a bounded field on top of YaRN, at seventeen times the model's rate",
        tuning=replace(SKIP_WISE_YARN, name="bounded-field", path=Learned(prior=YARN, field=bounded_field), path_rate=OURS.path_rate),
        control="03-yarn",
        against="03-yarn",
        prediction="Worse by some hundredths at 8× and a tenth at 16×, as in the first look: the field moves faster than the model"
        " follows.",
    ),
    Row(
        name="05-pairs",
        title="5 YaRN's way, faster or slower",
        about="two numbers per pair in the place of the network: each goes YaRN's own way at up to twice its speed",
        tuning=replace(SKIP_WISE_YARN, name="pace-field", path=PACE, path_rate=OURS.path_rate),
        control="03-yarn",
        against="04-network",
        prediction="Closer to the control than rung 4: fast pairs, which carry the neighbourhood, stay where YaRN leaves them, and the"
        " network moves all together.",
    ),
    Row(
        name="06-each-row",
        title="6 a factor for every row",
        about="positions and t drawn for every row of a step in the place of once for all",
        tuning=replace(OURS, name="each-row", positions=each_row, objective=next_token),
        control="06-control",
        against="05-pairs",
        prediction="A gain of two hundredths at 8× and 16×, in the control as much: 16 factors a step make a calmer gradient.",
    ),
    Row(
        name="06-control",
        title="6 control",
        about="rung 6 with the field frozen at zero",
        tuning=replace(OURS_FROZEN, name="each-row-frozen", positions=each_row, objective=next_token),
        against="03-yarn",
        prediction="Better than rung 3 by most of what rung 6 gains on rung 5.",
    ),
    Row(
        name="07-diluted",
        title="7 diluted positions",
        about="far keys count as often as they would occur in the long text",
        tuning=replace(OURS, name="diluted", objective=next_token),
        control="07-control",
        against="06-each-row",
        prediction="Half a tenth at 8×, a tenth at 16×, as in a pilot without a field: 256 keys do not show what 4096 do to attention."
        " For the first time the field is asked the question of the long text.",
    ),
    Row(
        name="07-control",
        title="7 control",
        about="rung 7 with the field frozen at zero",
        tuning=replace(OURS_FROZEN, name="diluted-frozen", objective=next_token),
        against="06-control",
        prediction="Most of the gain of rung 7 is here too; what the field adds is a hundredth at 16×.",
    ),
    Row(
        name="08-distilled",
        title="8 distillation: ours",
        about="beside the next token, the untouched model's predictions of the same row within its window, with weight 4",
        tuning=OURS,
        control="08-control",
        against="07-diluted",
        prediction="Three hundredths at 8× and 16× in model and control: every token tells what to predict at length and not one answer.",
    ),
    Row(
        name="08-control",
        title="8 control: ours, frozen",
        about="rung 8 with the field frozen at zero",
        tuning=OURS_FROZEN,
        against="07-control",
        prediction="Within a hundredth of rung 8 at every length: a model that may follow any path gains little from choosing one.",
    ),
    Row(
        name="09-temperature",
        title="9 learned temperature",
        about="A(t) learned beside the field, two numbers more",
        tuning=replace(OURS, name="temperature", path=replace(PACE, temperature=scaling.Temperature)),
        control="08-control",
        against="08-distilled",
        prediction="Worse by a hundredth or two beyond 4×: in the pilots A(16) fell from 1.28 to 1.1, because a counted key that is worth"
        " finding counts as many times over, so that attention need not be sharp.",
    ),
    Row(
        name="10-path",
        title="10 model frozen, field and temperature trained",
        about="the base model's weights stay; speeds and temperature of its path alone are trained, at 2e-2: nothing has to follow it",
        tuning=PATH_ONLY,
        control="10-control",
        prediction="Half a tenth better than YaRN at 8× and 16×, as in a pilot; nothing lost at 1×, where the path is fixed. Worse than"
        " every tuned rung: some dozen numbers move where attention looks, not what the model does with it.",
    ),
    Row(
        name="10-control",
        title="10 control",
        about="YaRN on the untouched model: neither model nor path is trained",
        reading=Under(YARN),
        prediction="The base model's 1×, and a rise of four tenths by 16×, as in a pilot.",
    ),
    Row(
        name="11-speeds",
        title="11 model frozen, field alone trained",
        about="rung 10 without its temperature: A(t) stays YaRN's",
        tuning=replace(PATH_ONLY, name="clex-speeds", path=PACE),
        control="10-control",
        against="10-path",
        prediction="Written after the first seed of rung 10, which was worse than YaRN at 16×: better than rung 10 there, whose"
        " temperature had fallen to 1.14; within two hundredths of YaRN at every length.",
    ),
)
