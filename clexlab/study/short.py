"""Train short, test long: every recipe that shows a short row the distances of a long one, beside training at full length.

A recipe is a distribution of positions (LongSkywork's: of content). Each has two paths, YaRN and Position Interpolation at t = 16, read
at θ(16) at every length, as recipes were published (E2-LLM: at a random whole g, read at g = n/L). PoSE, RandomPos, CLEX's scattering,
chunks, sentences and E2-LLM have ours too, YaRN's path with its pace learned, read at t = n/L, beside a control that differs in the path
alone; t is log-uniform, E2-LLM's g as before. The others have no such row: prefix has its loss on a run only, full length and interleaved
chunks are read at ordinary positions with t pinned.

Every row of a step has a draw of its own. Tokens *read* are equal: segments read a window of each row of 16 windows. Documents are not:
a row lies inside one, so rows of 16 windows (full length, segments) come from documents that long only, in Python 3.11 fewer than two in
five of those that rows of one window come from, and interleaved ones from documents of four windows. The texts that losses are measured
on are that long too, which may favour long rows. And of the fifth of all rows that are pass keys and copies, segments almost never read
both sayings of one: their rows get next to no training of recall.

Predictions were written before a row ran, with the study's records known (plain tuning, full length) and, of rung 6 of the ladder,
one seed. Order: YaRN's block, ours, PI's, so that what there is of a seed compares recipes under one path first. LongRecipe whole and
the tables came later and stand last: their predictions were written with seed 1 known of full length, PoSE, RandomPos, segments, gaps and
E2-LLM under YaRN.
"""

from dataclasses import replace

from clexlab import base, scaling
from clexlab.positions import E2LLM, ChunkSegments, FixedFactor, PrefixSegments, RandomPos, Sampler, Scattered, SkipWise
from clexlab.study.courses import ThreeStages
from clexlab.study.ladder import LADDER
from clexlab.study.methods import LOG_UNIFORM, OURS, PACE, WHOLE, YARN, Row, by_name, full_length
from clexlab.study.tuning import MAX_FACTOR, BySentence, Closed, EachRow, PathMaker, Positions, Taken, Tuning

FIXED = FixedFactor(float(MAX_FACTOR))
PI = Closed(scaling.Linear)
# The parts of every other training, with chunks of several documents in the place of text.
INTERLEAVED = {"interleaved": base.SHARES["text"], **{part: share for part, share in base.SHARES.items() if part != "text"}}
# LongSkywork whole: of the chunks a part is tables and questions about them.
TABLES = {**INTERLEAVED, "interleaved": 0.5, "lookup": 0.2}
RUNG, RUNG_CONTROL = (by_name(name, LADDER) for name in ("06-each-row", "06-control"))


def drawn(name: str, path: PathMaker, kind: type[Sampler]) -> Tuning:
    """Rows of one window at positions of 16, at t = 16."""
    return Tuning(name=f"short-{name}", path=path, positions=EachRow(Positions(kind, FIXED)), factor=FIXED.factor)


def taken(name: str, path: PathMaker, kind: type[Sampler]) -> Tuning:
    """Rows of 16 windows of which one is read, at t = 16."""
    objective = Taken(EachRow(Positions(kind, FIXED)))
    return Tuning(name=f"short-{name}", path=path, objective=objective, span=MAX_FACTOR, factor=FIXED.factor)


def sentences(name: str, path: PathMaker) -> Tuning:
    """Rows of one window with gaps between their sentences, at t = 16."""
    return Tuning(name=f"short-{name}", path=path, objective=BySentence(FIXED), factor=FIXED.factor)


def random_scale(name: str, path: PathMaker, path_rate: float = 0.0) -> Tuning:
    """E2-LLM: g whole and random, all but four tokens moved; nothing is pinned, so it is read at g = n/L."""
    return Tuning(name=f"short-{name}", path=path, positions=EachRow(Positions(E2LLM, WHOLE)), path_rate=path_rate)


def interleaved(name: str, path: PathMaker) -> Tuning:
    """Rows of 16 windows, chunks of four documents in turn, at ordinary positions and t = 16."""
    return Tuning(name=f"short-{name}", path=path, span=MAX_FACTOR, factor=FIXED.factor, shares=INTERLEAVED)


def three_stages(name: str, path: PathMaker) -> Tuning:
    """LongRecipe whole, after tuning at full length under YaRN, whose model says which tokens matter."""
    return replace(sentences(name, path), course=ThreeStages(), after=full_length(scaling.YaRN))


def any_factor(name: str, kind: type[Sampler], path: PathMaker = YARN, path_rate: float = 0.0) -> Tuning:
    """Rows of one window at positions of t windows, t log-uniform up to 16."""
    return Tuning(name=f"short-{name}", path=path, positions=EachRow(Positions(kind, LOG_UNIFORM)), path_rate=path_rate)


def taken_at_any(name: str, path: PathMaker = YARN, path_rate: float = 0.0) -> Tuning:
    """Pieces of rows of 16 windows that lie within the first t, t log-uniform up to 16."""
    objective = Taken(EachRow(Positions(ChunkSegments, LOG_UNIFORM)))
    return Tuning(name=f"short-{name}", path=path, objective=objective, span=MAX_FACTOR, path_rate=path_rate)


def sentences_at_any(name: str, path: PathMaker = YARN, path_rate: float = 0.0) -> Tuning:
    """Gaps between the sentences of rows of one window, t log-uniform up to 16."""
    return Tuning(name=f"short-{name}", path=path, objective=BySentence(LOG_UNIFORM), path_rate=path_rate)


RATE = OURS.path_rate
RECALLED = by_name("untouched").tasks

SHORT = (
    by_name("untouched"),
    by_name("truncation"),
    by_name("plain-yarn"),
    by_name("plain-linear"),
    by_name("full-yarn"),
    by_name("full-linear"),
    Row(
        name="pose-yarn",
        title="YaRN, PoSE",
        about="skip-wise positions of the paper, two runs cut anywhere, a draw for every row; t = 16",
        tuning=drawn("pose-yarn", YARN, SkipWise),
        against="full-yarn",
        prediction="At 1× within two hundredths of full length, which pays as much for θ(16); a tenth above it at 16×, where 256 keys have"
        " not shown what 4096 do to attention.",
    ),
    Row(
        name="random-yarn",
        title="YaRN, RandomPos",
        about="any 256 of the 4096 positions, sorted; read at ordinary ones, as every row; t = 16",
        tuning=drawn("random-yarn", YARN, RandomPos),
        against="pose-yarn",
        prediction="The worst of YaRN's block, half a nat above PoSE at every length: no two neighbours are trained as neighbours, and most"
        " of the loss is local.",
    ),
    Row(
        name="scattered-yarn",
        title="YaRN, CLEX's scattering",
        about="sorted random positions with both ends fixed; t = 16",
        tuning=drawn("scattered-yarn", YARN, Scattered),
        against="random-yarn",
        prediction="Within two hundredths of RandomPos at every length: fixed ends are two tokens of 256.",
    ),
    Row(
        name="chunks-yarn",
        title="YaRN, chunk-0.25 segments",
        about="four pieces of 64 tokens of a text of 16 windows, at their own positions; t = 16; pieces almost never hold both sayings of a"
        " pass key or copy, so recall is hardly trained",
        tuning=taken("chunks-yarn", YARN, ChunkSegments),
        against="pose-yarn",
        prediction="Within three hundredths of PoSE at every length: that the far pieces belong to the text helps a little, that each has"
        " but 64 neighbouring tokens costs a little.",
    ),
    Row(
        name="prefix-yarn",
        title="YaRN, prefix-0.25 segments",
        about="a run of 64 tokens behind 192 scattered over the text before it, at their own positions, loss on the run; t = 16; a row"
        " almost never holds both sayings of a pass key or copy, so recall is hardly trained",
        tuning=taken("prefix-yarn", YARN, PrefixSegments),
        against="chunks-yarn",
        prediction="A tenth above chunks at 1× and 16×: a quarter of the targets, and nothing near before the run. Far below RandomPos: the"
        " run is of neighbours.",
    ),
    Row(
        name="sentences-yarn",
        title="YaRN, LongRecipe's gaps",
        about="random gaps between the sentences of a row, in code mostly its lines; all tokens kept; t = 16",
        tuning=sentences("sentences-yarn", YARN),
        against="pose-yarn",
        prediction="A tenth above PoSE at every length, below RandomPos: lines are short, so many neighbours are torn apart and little of"
        " the row is near a token.",
    ),
    Row(
        name="e2-yarn",
        title="YaRN, E2-LLM",
        about="whole random g up to 16 for every row, all but four tokens moved by one offset; read at g = n/L",
        tuning=random_scale("e2-yarn", YARN),
        prediction="Best of YaRN's block at 1× and 2×, where its g is small. At 16× no better than a tenth below plain tuning: of long"
        " distances it sees those to four tokens.",
    ),
    Row(
        name="interleaved-yarn",
        title="YaRN, interleaved chunks (LongSkywork)",
        about="full length, but text rows are chunks of a window of four documents in turn; ordinary positions, t = 16",
        tuning=interleaved("interleaved-yarn", YARN),
        against="full-yarn",
        prediction="Within two hundredths of full length up to 4×; three above it at 16×, where three quarters of what came before are of"
        " other documents.",
    ),
    Row(
        name="pose-control",
        title="YaRN, PoSE at any t",
        about="rung 6's control in the ladder: t log-uniform for every row, read at t = n/L, the field frozen at zero",
        tuning=RUNG_CONTROL.tuning,
        against="pose-yarn",
        prediction="One seed was known, 2.54 at 1× and 2.49 at 16×: better than a fixed t at 1×, where θ(1) is trained and read, no better"
        " at 16×.",
    ),
    Row(
        name="pose-clex",
        title="CLEX, PoSE",
        about="rung 6 of the ladder: the pace of every pair learned, t log-uniform for every row, read at t = n/L",
        tuning=RUNG.tuning,
        control="pose-control",
        prediction="One seed was known, which was within a hundredth of its control up to 8× and 0.05 above it at 16×: no gain.",
    ),
    Row(
        name="random-control",
        title="YaRN, RandomPos at any t",
        about="the control of CLEX with RandomPos: t log-uniform, the field frozen at zero",
        tuning=any_factor("random-control", RandomPos),
        against="random-yarn",
        prediction="Three tenths below a fixed t at 1×: rows of t near 1 keep their neighbours. As bad at 16×.",
    ),
    Row(
        name="random-clex",
        title="CLEX, RandomPos",
        about="the pace of every pair learned, any positions of t windows, t log-uniform",
        tuning=any_factor("random-clex", RandomPos, PACE, RATE),
        control="random-control",
        prediction="Not below its control at any length: torn neighbours ask fast pairs to slow down, which a reading at ordinary"
        " positions does not want.",
    ),
    Row(
        name="scattered-control",
        title="YaRN, CLEX's scattering at any t",
        about="the control of CLEX with its own positions: t log-uniform, the field frozen at zero",
        tuning=any_factor("scattered-control", Scattered),
        against="scattered-yarn",
        prediction="Within two hundredths of RandomPos at any t.",
    ),
    Row(
        name="scattered-clex",
        title="CLEX, its own scattering",
        about="the pace of every pair learned, sorted random positions with fixed ends, t log-uniform",
        tuning=any_factor("scattered-clex", Scattered, PACE, RATE),
        control="scattered-control",
        prediction="As CLEX with RandomPos, within two hundredths.",
    ),
    Row(
        name="chunks-control",
        title="YaRN, chunk-0.25 at any t",
        about="the control of CLEX with segments: pieces within t windows, t log-uniform, the field frozen at zero; recall is hardly"
        " trained, as in every row of pieces",
        tuning=taken_at_any("chunks-control"),
        against="chunks-yarn",
        prediction="Half a tenth below a fixed t at 1×, as with PoSE; within two hundredths at 16×.",
    ),
    Row(
        name="chunks-clex",
        title="CLEX, chunk-0.25 segments",
        about="the pace of every pair learned, four pieces of a text at their own positions, t log-uniform; recall is hardly trained, as in"
        " every row of pieces",
        tuning=taken_at_any("chunks-clex", PACE, RATE),
        control="chunks-control",
        prediction="Within two hundredths of its control at every length: a model that may follow any path gains little from choosing one.",
    ),
    Row(
        name="sentences-control",
        title="YaRN, LongRecipe's gaps at any t",
        about="the control of CLEX with gaps between sentences: t log-uniform, the field frozen at zero",
        tuning=sentences_at_any("sentences-control"),
        against="sentences-yarn",
        prediction="Half a tenth below a fixed t at 1×, as with PoSE; within two hundredths at 16×.",
    ),
    Row(
        name="sentences-clex",
        title="CLEX, LongRecipe's gaps",
        about="the pace of every pair learned, gaps between the sentences of a row, t log-uniform",
        tuning=sentences_at_any("sentences-clex", PACE, RATE),
        control="sentences-control",
        prediction="Within two hundredths of its control at every length.",
    ),
    Row(
        name="e2-clex",
        title="CLEX, E2-LLM",
        about="the pace of every pair learned, whole random g up to 16 for every row, all but four tokens moved; read at g = n/L",
        tuning=random_scale("e2-clex", PACE, RATE),
        control="e2-yarn",
        prediction="Within two hundredths of its control at every length: the far distances of a row are to four tokens only, so what the"
        " field learns is how to read 256 neighbours at every g, which the model learns as well.",
    ),
    Row(
        name="pose-linear",
        title="PI, PoSE",
        about="skip-wise positions of the paper, two runs cut anywhere, a draw for every row; t = 16",
        tuning=drawn("pose-linear", PI, SkipWise),
        against="full-linear",
        prediction="Flat, and within a tenth of full length at every length, as published: both spend these few steps on positions squeezed"
        " 16 times, which is where their loss comes from.",
    ),
    Row(
        name="random-linear",
        title="PI, RandomPos",
        about="any 256 of the 4096 positions, sorted; read at ordinary ones, as every row; t = 16",
        tuning=drawn("random-linear", PI, RandomPos),
        against="pose-linear",
        prediction="Two tenths above PoSE: a mean gap of 16 undoes PI in training, so the squeezed neighbours it is read with were hardly"
        " trained.",
    ),
    Row(
        name="scattered-linear",
        title="PI, CLEX's scattering",
        about="sorted random positions with both ends fixed; t = 16",
        tuning=drawn("scattered-linear", PI, Scattered),
        against="random-linear",
        prediction="Within two hundredths of RandomPos at every length.",
    ),
    Row(
        name="chunks-linear",
        title="PI, chunk-0.25 segments",
        about="four pieces of 64 tokens of a text of 16 windows, at their own positions; t = 16; pieces almost never hold both sayings of a"
        " pass key or copy, so recall is hardly trained",
        tuning=taken("chunks-linear", PI, ChunkSegments),
        against="pose-linear",
        prediction="Within three hundredths of PoSE at every length.",
    ),
    Row(
        name="prefix-linear",
        title="PI, prefix-0.25 segments",
        about="a run of 64 tokens behind 192 scattered over the text before it, at their own positions, loss on the run; t = 16; a row"
        " almost never holds both sayings of a pass key or copy, so recall is hardly trained",
        tuning=taken("prefix-linear", PI, PrefixSegments),
        against="chunks-linear",
        prediction="A tenth above chunks: a quarter of the targets to learn squeezed neighbours from.",
    ),
    Row(
        name="sentences-linear",
        title="PI, LongRecipe's gaps",
        about="random gaps between the sentences of a row, in code mostly its lines; all tokens kept; t = 16",
        tuning=sentences("sentences-linear", PI),
        against="pose-linear",
        prediction="Half a tenth above PoSE, below RandomPos.",
    ),
    Row(
        name="e2-linear",
        title="PI, E2-LLM",
        about="whole random g up to 16 for every row, all but four tokens moved by one offset; read at g = n/L",
        tuning=random_scale("e2-linear", PI),
        prediction="Far below every other PI row up to 4×, where g is small and little is squeezed; within a tenth of PoSE at 16×, where"
        " squeezing is what costs and g is near 16 in few rows.",
    ),
    Row(
        name="interleaved-linear",
        title="PI, interleaved chunks (LongSkywork)",
        about="full length, but text rows are chunks of a window of four documents in turn; ordinary positions, t = 16",
        tuning=interleaved("interleaved-linear", PI),
        against="full-linear",
        prediction="Within two hundredths of full length at every length: neither has learned to look far after so few steps.",
    ),
    Row(
        name="longrecipe-yarn",
        title="YaRN, LongRecipe whole",
        about="50 of 64 steps on sentences that hold tokens which full-length tuning moves, with gaps between them; 14 of replay at a tenth"
        " of the rate; then half of this model and half of the base; t = 16",
        tuning=three_stages("longrecipe-yarn", YARN),
        against="sentences-yarn",
        prediction="At 1× and 16× between gaps alone and untuned YaRN at t = 16, nearer to the better of the two: half of what tuning moved"
        " is taken back, and what it learned of θ(16) with it.",
    ),
    Row(
        name="tables-yarn",
        title="YaRN, interleaved chunks and tables (LongSkywork)",
        about="full length: half of the rows chunks of four documents in turn, a fifth a table with questions; ordinary positions, t = 16",
        tuning=Tuning(name="short-tables-yarn", path=YARN, span=MAX_FACTOR, factor=FIXED.factor, shares=TABLES),
        against="interleaved-yarn",
        tasks=(*RECALLED, "lookup"),
        prediction="Text within two hundredths of interleaved chunks alone. Some cells of a table are found where chunks alone find none,"
        " hardly any at 8×: a cell wants a row and a column, and 64 steps are few.",
    ),
    Row(
        name="interleaved-tables",
        title="YaRN, interleaved chunks, asked for tables",
        about="the training of interleaved chunks, without tables, asked for their cells as well",
        tuning=interleaved("interleaved-yarn", YARN),
        tasks=(*RECALLED, "lookup"),
        prediction="Next to no cell is found at any length: nothing has asked for one.",
    ),
)
