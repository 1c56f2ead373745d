"""Sparse in training: LoRA and YaRN on rows of four windows under each pattern, beside full attention, and beside short rows.

Every training reads as many tokens as the others, three quarters of the study's (`budget`), with θ(4) pinned, LoRA on q, k, v, o,
embeddings and norms trained too, as LongLoRA does; the chunk of a pattern is a quarter of a row, here one window. Models are read with
full attention, as LongLoRA reads, and through the pattern they were trained with, at θ(4) at every length: beyond four windows nothing
was trained. SCCA's numbers are of an unknown one of the two. PI, the papers' path, is a block of its own. Rows of one window are the
control: block-local heads never see more at once. LongNet's and DiNAT's patterns come alone, without the mixtures and the layers of near
neighbours that their papers put beside them.

Predictions were written before a row ran, with the study's records known (YaRN not tuned, plain and full-length tuning).
"""

from dataclasses import replace

from clexlab import scaling, sparse
from clexlab.evaluation.contexts import Truncated
from clexlab.study.lora import LoRA, merged
from clexlab.study.methods import YARN, Row
from clexlab.study.sizes import Profile
from clexlab.study.tuning import AsTrained, Closed, PathMaker, PatternMaker, Through, Tuning, Under

WINDOWS = 4
PI = Closed(scaling.Linear)


def tuned(name: str, path: PathMaker, pattern: PatternMaker | None = None, learns: LoRA = LoRA(), windows: int = WINDOWS) -> Tuning:  # noqa: B008
    """LoRA on rows of `windows` windows at θ(4), seeing what `pattern` shows."""
    return Tuning(name=f"lora-{name}", path=path, learns=learns, settles=merged, span=windows, factor=float(WINDOWS), pattern=pattern)


SHORT = tuned("short-yarn", YARN, windows=1)
FULL = tuned("full-yarn", YARN)
# What was expected of each, read with full attention and read through the pattern.
EXPECTED = {
    sparse.Local: (
        "Within a hundredth of short rows at every length: a token sees its window and no more, only at larger positions.",
        "Flat over lengths, and the loss of short rows read by the window: the last targets stand at the end of a chunk of one window.",
    ),
    sparse.S2: (
        "Between block local and full rows at 4×, within two hundredths of either: what LoRA learns in so few steps is the text and θ(4),"
        " not to look far.",
        "Some hundredths above block local: half of the heads see half a chunk where the last targets stand, and six layers of reach"
        " bring little of what a single look brings.",
    ),
    sparse.SCCAFixed: (
        "Two or three hundredths above S2: half of the heads learn to do without the nearest tokens, which full attention gives back.",
        "A tenth above S2, whose shifted heads keep the nearest tokens: here they do not, at the end of a chunk.",
    ),
    sparse.SCCAFlow: (
        "A tenth above S2 although its heads see every key: three of four heads had nothing near in training.",
        "The worst of the chunked ones, half a nat above block local: one head in four sees near tokens, and most of the loss is local.",
    ),
    sparse.Dilated: (
        "A tenth above S2: each head was silent for every other token, and speaks at all of them when read with full attention.",
        "Half a nat above block local: no head sees the token before the last.",
    ),
    sparse.DilatedNeighbourhood: (
        "Two tenths above S2: no head saw a token nearer than four places back.",
        "A nat or more above block local, the worst of all: every head keeps to one class, so three of four near tokens are never known.",
    ),
    sparse.SDA: (
        "A tenth above S2: near tokens were seen by one head each.",
        "Half a nat above block local, and recall at 4× above every chunked pattern: some head sees every key, at any distance.",
    ),
    sparse.SelectedSDA: (
        "As the dilated pattern within three hundredths, whose heads are as silent.",
        "As the dilated pattern read through itself, within a tenth: both keep classes of two apart.",
    ),
    sparse.LongMixed: (
        "Between SCCA fixed and SDA: half of its heads are of the one, half of the other.",
        "Better than fixed and SDA alone in recall at 4×, between them in loss.",
    ),
}
# In two words, for the titles of rows.
SHORTER = {kind: kind.title.split(" (")[0] for kind in (*sparse.PATTERNS, *sparse.LEAKING)}


def named(kind: type[sparse.Pattern]) -> str:
    return kind.name.replace("_", "-")


def under(kind: type[sparse.Pattern], path: PathMaker = YARN, suffix: str = "yarn", prediction: str = "") -> Row:
    """Trained under a pattern, read with full attention."""
    return Row(
        name=f"lora-{named(kind)}-{suffix}",
        title=f"{path.method.title}, {SHORTER[kind]}",
        about=f"LoRA on rows of four windows under {kind.title}, read with full attention; t = 4",
        tuning=tuned(f"{named(kind)}-{suffix}", path, kind.default),
        against=f"lora-full-{suffix}",
        prediction=prediction,
    )


def through(kind: type[sparse.Pattern]) -> Row:
    """The same training, read through its pattern."""
    return Row(
        name=f"lora-{named(kind)}-through-yarn",
        title=f"YaRN, {SHORTER[kind]}, read through it",
        about=f"LoRA on rows of four windows under {kind.title}, read through the pattern; t = 4",
        tuning=tuned(f"{named(kind)}-yarn", YARN, kind.default),
        reading=Through(kind.default, WINDOWS),
        against="lora-local-through-yarn" if kind is not sparse.Local else "lora-short-truncation",
        prediction=EXPECTED[kind][1],
    )


PUBLISHED = {
    sparse.S2: "Half a tenth above full attention at every length, which LongLoRA finds as good: more of the loss is in squeezed positions,"
    " and each pattern shows fewer pairs of them.",
    sparse.SCCAFixed: "Below S2 by some hundredths, as second-hand numbers have it: more pairs of a row are seen, so squeezed positions are"
    " learned faster.",
    sparse.SCCAFlow: "Above S2 by a tenth: three of four heads never see near tokens, where squeezed positions have to be learned.",
    sparse.LongMixed: "Above SCCA fixed, unlike the second-hand numbers: half of its heads see near tokens thinly.",
}

SPARSE = (
    Row(
        name="yarn-at-4",
        title="YaRN at θ(4), not tuned",
        about="the base model under YaRN's path, t = 4 at every length",
        reading=Under(YARN, factor=float(WINDOWS)),
        prediction="The study's 2.44 at 4×, three hundredths above the untouched model at 1×, and a steep rise beyond 4×.",
    ),
    Row(
        name="lora-short-yarn",
        title="YaRN, short rows",
        about="LoRA on rows of one window at θ(4), with as many tokens: what every pattern has to beat, and cheaper than all of them",
        tuning=SHORT,
        against="lora-full-yarn",
        prediction="Within two hundredths of full rows at 4×, which have far pairs to learn from and hardly need them.",
    ),
    Row(
        name="lora-short-truncation",
        title="YaRN, short rows, truncation",
        about="the same model, which reads the last window alone at θ(4)",
        tuning=SHORT,
        reading=AsTrained(Truncated()),
        prediction="Its own 1× at every length, a tenth above the same model read whole at 4×.",
    ),
    Row(
        name="lora-full-yarn",
        title="YaRN, full rows",
        about="LoRA on rows of four windows with full attention; t = 4: what patterns shall be as good as",
        tuning=FULL,
        prediction="Three hundredths below the untuned model at 4×: LoRA moves the model a fifth as far as tuning all of it would.",
    ),
    *(under(kind, prediction=EXPECTED[kind][0]) for kind in sparse.PATTERNS),
    Row(
        name="lora-s2-bare-yarn",
        title="YaRN, S2-Attn, LoRA alone",
        about="LoRA on rows of four windows under S2-Attn, embeddings and norms not trained; read with full attention; t = 4",
        tuning=tuned("s2-bare-yarn", YARN, sparse.S2.default, LoRA(besides=())),
        against="lora-s2-yarn",
        prediction="Two hundredths above S2 with embeddings and norms: a tied embedding is a sixth of this model, and it fits a text.",
    ),
    replace(
        under(sparse.RolledS2),
        about="LoRA on rows of four windows under rolled S2-Attn, whose first tokens see the last ones; read with full attention; t = 4",
        against="lora-s2-yarn",
        prediction="Within a hundredth of S2, read with full attention. Its training loss is lower by a hundredth or less: the first"
        " half window is an eighth of a row, and LoRA has few steps to learn to copy from the end.",
    ),
    *(through(kind) for kind in sparse.PATTERNS),
    Row(
        name="linear-at-4",
        title="PI at t = 4, not tuned",
        about="the base model under Position Interpolation, t = 4 at every length",
        reading=Under(PI, factor=float(WINDOWS)),
        prediction="Above 4 nats at every length: neighbours look a quarter of a token apart.",
    ),
    Row(
        name="lora-full-linear",
        title="PI, full rows",
        about="LoRA on rows of four windows with full attention; t = 4",
        tuning=tuned("full-linear", PI),
        prediction="Half a nat or more above YaRN at 4×: these few steps do not undo the squeezing, though they take a nat off.",
    ),
    *(under(kind, PI, "linear", words) for kind, words in PUBLISHED.items()),
)


def budget(profile: Profile) -> Profile:
    """The profile with three quarters of its steps, and recall asked for up to the length of the training rows.

    A step of long rows under a mask costs more than one of the study, so fewer of them keep a run within three minutes of a core.
    """
    recalled = tuple(sorted({min(factor, float(WINDOWS)) for factor in profile.recall_factors}))
    return replace(profile, steps=max(1, 3 * profile.steps // 4), warmup=3 * profile.warmup // 4, recall_factors=recalled)
