"""Without training: the base model beyond its window under every map of relative positions, plain, under YaRN, and both together.

No row is trained, so there is one run of each and no spread over seeds: rows are compared text by text, on the same target tokens
(`untrained_claims`). GALI's noise is drawn from one fixed generator. Options are `Kind.default(window)`, what was published scaled to
the window, but where a row says otherwise. A row "with YaRN" lets YaRN carry the model to four windows, t pinned at 4, and its map, made
for a window four times as wide, to whatever is longer; two rows have both at full stretch. Depths of the cpu profile put no needle among
the first tokens, where sinks would keep it.

Predictions were written with the study's records of the untouched model, truncation and YaRN known, and no map measured.
"""

from dataclasses import replace

from clexlab.evaluation import FACTORS
from clexlab.positions import maps
from clexlab.study.methods import YARN, Row, by_name
from clexlab.study.sizes import Profile
from clexlab.study.tuning import Mapped

# How far YaRN carries the model in the rows that share the work.
SHARED = 4.0


def few_groups(window: int) -> maps.SelfExtend:
    """Self-Extend for six windows instead of sixteen."""
    return replace(maps.SelfExtend.default(window), group=8)


def quiet(window: int) -> maps.GALI:
    """GALI without its noise."""
    return replace(maps.GALI.default(window), noise=None)


def long_tail(window: int) -> maps.GALI:
    """GALI with a tail of window/8 whole positions, its chunk longer than that."""
    return replace(quiet(window), tail=window // 8)


def short_chunks(window: int) -> maps.GALI:
    """GALI whose chunks fit into such a tail."""
    return replace(long_tail(window), chunk=window // 8)


def profile_of(profile: Profile) -> Profile:
    """The same profile with recall at every length that losses have, up to its largest."""
    return replace(profile, recall_factors=tuple(factor for factor in FACTORS if factor <= max(profile.recall_factors)))


PREDICTIONS = {
    maps.ReRoPE: "Two hundredths above the untouched model at 1×, where 64 tokens keep their distance and 192 lose it. Below truncation"
    " up to 4×, above it at 16×, where thousands of keys stand in one place and attention thins out. Pass keys at every depth of 8×.",
    maps.LeakyReRoPE: "Within two hundredths of ReRoPE at every length: far steps of 1/22 are too small to tell one token from the next.",
    maps.SelfExtend: "Within two hundredths of Leaky ReRoPE at every length: its positions rounded down.",
    maps.DualChunk: "Equal to the untouched model at 1×, where no distance is clipped. Half a tenth above ReRoPE at 8× and 16×: a key's"
    " distance jumps at the border of a chunk. Pass keys at every depth.",
    maps.STRING: "Two hundredths worse at 1×, with no recall to gain: rows of this model's training fill the window, so its far positions"
    " are not rare enough. Beyond 1.3 windows as lost as the untouched model: it does not extend.",
    maps.GALI: "A few hundredths above ReRoPE at 2×, a tenth and more at 8× and 16×: whole places at the end get fewer, 32 and 16, for"
    " chunks of 93 queries, the others lose the token before them, and noise of up to one nat of score adds to it.",
    maps.Sinks: "Truncation's loss within two hundredths at every length, pass keys only where the last 250 tokens hold them.",
    maps.LMInfinite: "Within a hundredth of the sinks' loss at every length.",
}
SHARED_PREDICTIONS = {
    maps.ReRoPE: "Pays for θ(4) at 1×, some hundredths. Below YaRN at t = n/L and below ReRoPE alone at 8× and 16×.",
    maps.LeakyReRoPE: "Within two hundredths of ReRoPE with YaRN.",
    maps.SelfExtend: "Within two hundredths of ReRoPE with YaRN.",
    maps.DualChunk: "Within three hundredths of ReRoPE with YaRN, as published for Qwen2: the lowest loss of all that sees the whole text.",
    maps.STRING: "At 4× a few hundredths above YaRN, whose far positions were never rare in training; lost at 16×.",
    maps.GALI: "Half a tenth above ReRoPE with YaRN.",
    maps.Sinks: "The lowest loss of all at 16×: YaRN's 4× held for any length. No pass key from further than a thousand tokens.",
    maps.LMInfinite: "Within a hundredth of sinks with YaRN.",
}


def alone(kind: type[maps.Map]) -> Row:
    """The base model read through a map with its published options."""
    return Row(
        name=kind.name.replace("_", "-"),
        title=kind.title,
        about=f"the base model read through {kind.title}, published options scaled to its window",
        reading=Mapped(kind.default),
        prediction=PREDICTIONS[kind],
        against="yarn",
    )


def shared(kind: type[maps.Map]) -> Row:
    """YaRN to four windows, the map from there on."""
    return Row(
        name=f"{kind.name.replace('_', '-')}-yarn",
        title=f"{kind.title} with YaRN",
        about=f"YaRN pinned at t = {SHARED:g}, and {kind.title} made for a window {SHARED:g} times as wide",
        reading=Mapped(kind.default, path=YARN, factor=SHARED),
        prediction=SHARED_PREDICTIONS[kind],
        against=kind.name.replace("_", "-"),
    )


def stretched_twice(kind: type[maps.Map]) -> Row:
    """YaRN at t = n/L and the map for the window: each alone would do."""
    return Row(
        name=f"{kind.name.replace('_', '-')}-yarn-twice",
        title=f"{kind.title} and YaRN, both at full stretch",
        about=f"YaRN at t = n/L, and {kind.title} made for the window: each alone would keep positions in range",
        reading=Mapped(kind.default, path=YARN),
        prediction="Worse than the map alone from 2× on: its positions are within the window already, and YaRN slows the angles they turn"
        " by.",
        against=kind.name.replace("_", "-"),
    )


UNTRAINED = (
    by_name("untouched"),
    by_name("truncation"),
    by_name("yarn"),
    *(alone(kind) for kind in maps.MAPS),
    *(shared(kind) for kind in maps.MAPS),
    Row(
        name="self-extend-8",
        title="Self-Extend, groups of 8",
        about="groups of 8 instead of 32: safe up to 1600 tokens, six windows",
        reading=Mapped(few_groups),
        prediction="A hundredth below groups of 32 up to 4×; two tenths above them at 16×, where positions leave the trained range.",
        against="self-extend",
    ),
    Row(
        name="gali-quiet",
        title="GALI without noise",
        about="the same positions and mixes, nothing drawn",
        reading=Mapped(quiet),
        prediction="Better than with noise at every length beyond 1×, by half a tenth: the published gain of the noise does not show here.",
        against="gali",
    ),
    Row(
        name="gali-tail",
        title="GALI, longer tail",
        about="no noise, 32 whole positions at the end instead of 4, chunks of 93 tokens as before",
        reading=Mapped(long_tail),
        prediction="Within a hundredth of the short tail up to 8×, where both give the same places; lower by a few hundredths at 16×, with"
        " 42 whole places at the end instead of 16.",
        against="gali-quiet",
    ),
    Row(
        name="gali-chunk",
        title="GALI, chunk within the tail",
        about="no noise, chunks of 32 tokens, as many as the tail has whole positions",
        reading=Mapped(short_chunks),
        prediction="Below the longer chunks, by two hundredths at 4× and half a tenth at 8× and 16×: every query has the tokens before it"
        " at whole distances.",
        against="gali-tail",
    ),
    stretched_twice(maps.ReRoPE),
    stretched_twice(maps.SelfExtend),
)
