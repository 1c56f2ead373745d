"""Exercises of lesson 10, without training: STRING's positions, Self-Extend's reach, GALI's mixed score, what sinks leave to see.

Expected values are worked out by hand or are of the papers' own examples, never taken from the solutions below.
"""

import math

from clexlab.exercises import call, judge_in_turn, unanswered

# --- STRING's positions -----------------------------------------------------------------------------------------------


def check_shifted(answer: object) -> bool:
    """`answer(i, j, shift, local)`: the relative position that STRING gives key j for query i."""
    if unanswered(answer):
        return False
    near = [
        (0, "the condition as the paper prints it holds for every pair; a key nearer than `shift` keeps its true distance"),
        (-1, "the condition as the paper prints it holds for every pair; a key nearer than `shift` keeps its true distance"),
    ]
    far = [
        (5, "the `local` positions are missing: what is moved back would share positions 0 … local-1 with true neighbours"),
        (8, "a key as far as `shift` or further moves back by `shift`"),
        (4, "`local` is added, so that far keys stay behind the nearest ones"),
        (7, "`local` is added to the shifted distance, and the shift is not lost: 8 - 3 + 1"),
    ]
    edge = [(3, "at a distance of exactly `shift` the key is far already: P = local; counted in both parts it would weigh twice")]
    rule = "distance i - j where it is below `shift`, i - j - shift + local from there on"
    return judge_in_turn(
        ("i = 8, j = 0, shift 3, local 1 (the paper's figure)", 6, call(answer, 8, 0, 3, 1), far, rule),
        ("i = 8, j = 6", 2, call(answer, 8, 6, 3, 1), near, rule),
        ("i = 8, j = 5", 1, call(answer, 8, 5, 3, 1), edge, rule),
        ("i = 90, j = 10, shift 50, local 8", 38, call(answer, 90, 10, 50, 8), [], "80 - 50 + 8"),
        ("i = 90, j = 10, shift 100, local 8", 80, call(answer, 90, 10, 100, 8), [], "nothing is further than the shift: plain RoPE"),
    )


def hint_shifted() -> None:
    print("Two cases of d = i - j: below `shift` it stays; from `shift` on it moves back by `shift`, and `local` keeps it off the nearest.")


def solution_shifted(i: int, j: int, shift: int, local: int) -> int:
    distance = i - j
    return distance if distance < shift else distance - shift + local


# --- how far Self-Extend reaches --------------------------------------------------------------------------------------


def check_longest(answer: object) -> bool:
    """`answer(window, near, group)`: the greatest length whose positions all stay below `window` under Self-Extend; group divides near."""
    if unanswered(answer):
        return False
    mistakes = [
        (18, "only what is further than `near` is grouped: near tokens take a position each"),
        (9, "the `near` tokens themselves are part of the text: add them"),
        (11, "a length, not a position: the last index is one less than the length"),
        (13, "one token more would reach position `window`, which training never showed"),
        (8, "each position left for far keys holds `group` of them"),
        (5, "the positions run to window - 1, and each of those beyond `near` holds `group` keys"),
    ]
    rule = "near positions hold one key each, the other window - near hold `group` each: 3 + (6 - 3)·3"
    return judge_in_turn(
        ("window 6, near 3, group 3", 12, call(answer, 6, 3, 3), mistakes, rule),
        ("window 4096, near 1024, group 4", 13312, call(answer, 4096, 1024, 4), [], "1024 + 3072·4"),
        ("window 256, near 64, group 1", 256, call(answer, 256, 64, 1), [], "groups of one are plain RoPE, which ends at its window"),
    )


def hint_longest() -> None:
    print("Count positions: 0 … near-1 are used by one key each. How many are left below `window`, and how many keys does each hold?")


def solution_longest(window: int, near: int, group: int) -> int:
    return (window - near) * group + near


# --- GALI's mixed score -----------------------------------------------------------------------------------------------


def check_mixed(answer: object) -> bool:
    """`answer(score, r)`: what GALI takes for the score at a position r ≥ 0 that may be no whole number; `score` is a function of P."""
    if unanswered(answer):
        return False
    half = [
        (-0.801144, "this rotates by 2.5, a position that training never showed; mix the scores at 2 and 3 instead"),
        (-0.416147, "this rounds down; the fraction says how much of the next score to take"),
        (-0.989992, "this rounds up; the fraction says how much of the next score to take"),
        (-1.406139, "the weights have to add up to 1"),
    ]
    quarter = [(-0.846531, "the weights are the wrong way round: near 2, most of the score is that of 2")]
    rule = "(1 - f)·score(⌊r⌋) + f·score(⌊r⌋ + 1), f the fraction of r: half of cos 2 and half of cos 3"
    return judge_in_turn(
        ("score = cos, r = 2.5", -0.7030696, call(answer, math.cos, 2.5), half, rule),
        ("score = cos, r = 2.25", -0.5596081, call(answer, math.cos, 2.25), quarter, rule),
        ("score = cos, r = 3", -0.9899925, call(answer, math.cos, 3), [], "a whole position is left alone"),
        ("score = cos, r = 5/3", -0.0973304, call(answer, math.cos, 5 / 3), [], "a third of cos 1 and two thirds of cos 2"),
    )


def hint_mixed() -> None:
    print("`math.floor(r)` is the position below; r minus it is the share of the next one.")


def solution_mixed(score: object, r: float) -> float:
    below = math.floor(r)
    return (below + 1 - r) * score(below) + (r - below) * score(below + 1)


# --- what sinks let a query see ---------------------------------------------------------------------------------------


def check_sees(answer: object) -> bool:
    """`answer(i, j, sinks, recent)`: whether query i sees key j where the first `sinks` and the last `recent` tokens are kept."""
    if unanswered(answer):
        return False
    edge = [(True, "`recent` counts the query itself: of 60 recent tokens the furthest is 59 back")]
    middle = [(True, "this key is neither among the first `sinks` nor among the last `recent`: it was dropped")]
    sink = [(False, "a sink is never dropped, however far back it stands: a needle placed there is found by every such method")]
    future = [(True, "a query sees no key behind itself")]
    return judge_in_turn(
        ("i = 200, j = 100, 4 sinks, 60 recent", False, call(answer, 200, 100, 4, 60), middle, "dropped long ago"),
        ("i = 200, j = 2, 4 sinks, 60 recent", True, call(answer, 200, 2, 4, 60), sink, "one of the sinks"),
        ("i = 200, j = 4, 4 sinks, 60 recent", False, call(answer, 200, 4, 4, 60), middle, "sinks are keys 0 … 3"),
        ("i = 200, j = 140, 4 sinks, 60 recent", False, call(answer, 200, 140, 4, 60), edge, "60 back is one too far"),
        ("i = 200, j = 141, 4 sinks, 60 recent", True, call(answer, 200, 141, 4, 60), [], "59 back is the furthest of 60"),
        ("i = 1, j = 3, 4 sinks, 60 recent", False, call(answer, 1, 3, 4, 60), future, "the mask is causal"),
    )


def hint_sees() -> None:
    print("Two ways to be seen: j among the first `sinks`, or i - j below `recent`. And j may not lie behind i.")


def solution_sees(i: int, j: int, sinks: int, recent: int) -> bool:
    return j <= i and (j < sinks or i - j < recent)
