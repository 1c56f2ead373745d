"""Exercises of lesson 02: the critical pair, the hole left in a circle, a long enough window, what NTK leaves out of range."""

import math
from collections.abc import Sequence

import torch

from clexlab import exercises

# Llama-2, Llama-3.2-1B, and a small head in a window so long that every pair completes a turn.
_MODELS = ((128, 10_000.0, 4096), (64, 500_000.0, 8192), (16, 10_000.0, 2**20))
_HEADS = ((128, 10_000.0), (64, 500_000.0), (24, 10_000.0))
# Half a circle in steps, many laps, a small arc, and five steps that end evenly spread: (radians per token, window).
_CIRCLES = ((math.pi / 4, 4), (1.0, 100), (0.01, 100), (0.8 * math.pi, 5))


def _over(answer: object, cases: Sequence[tuple]) -> object:
    """The learner's function on every case; the first thing that is no result (nothing, an exception) stands for all."""
    results = [exercises.call(answer, *case) for case in cases]
    for result in results:
        if result is None or result is Ellipsis or isinstance(result, Exception):
            return result
    return results


def check_critical_pair(answer: object) -> bool:
    """A function critical_pair(head_dim, base, window): the first pair whose turn takes longer than the window."""
    if exercises.unanswered(answer):
        return False
    return exercises.judge(
        [46, 18, 8],
        _over(answer, _MODELS),
        [
            ([45, 17, 7], "one too few: this is the last pair that does complete a turn, the question is the next one"),
            ([47, 19, 9], "one too many: pairs are counted from 0, so the number of fast pairs is the index wanted"),
            ([18, 14, 0], "this is how many pairs never complete a turn; the index of the first one is the rest of them"),
            ([58, 22, 8], "2π is missing: a turn takes 2π/θ tokens, after 1/θ tokens the angle is one radian"),
            ([64, 32, 8], "the exponent is j/d; coordinates come in pairs, so θ of pair j is base^(-2j/d)"),
            ([46, 18, 11], "a head has no pair beyond d/2 - 1: where every pair completes a turn the answer is d/2"),
            ([46, 18, 0], "argmax over no True is 0; where every pair completes a turn the answer is d/2"),
            ([23, 9, 6], "the exponent is 4j/d: d is the rotary dimension, not the number of pairs"),
        ],
        "count the pairs with 2π · base^(2j/d) ≤ window, j = 0 … d/2 - 1",
    )


def hint_critical_pair() -> None:
    """How to start."""
    print(
        "One turn of pair j takes 2π · base ** (2 * j / head_dim) tokens, and that grows with j.\n"
        "So the pairs that fit into the window come first. How many are there, and what index has the next one?"
    )


def solution_critical_pair(head_dim: int, base: float, window: int) -> int:
    """Wavelengths grow with j, so the number of pairs that fit is the index of the first that does not."""
    return sum(2 * math.pi * base ** (2 * j / head_dim) <= window for j in range(head_dim // 2))


def check_largest_gap(answer: object) -> bool:
    """A function largest_gap(theta, window): the largest arc, in degrees, that no distance 0 … window-1 falls into."""
    if exercises.unanswered(answer):
        return False
    return exercises.judge(
        [225.0, 7.6055122, 303.27718, 72.0],
        _over(answer, _CIRCLES),
        [
            ([45.0, 7.6055122, 0.57295780, 72.0], "the arc from the last angle round to the first is missing; a circle has no ends"),
            ([45.0, 57.295780, 0.57295780, 144.0], "sort the angles after reducing them modulo 2π; neighbours in time are not neighbours"),
            ([225.0, 57.295780, 303.27718, 144.0], "sort the angles after reducing them modulo 2π; neighbours in time are not neighbours"),
            ([3.9269908, 0.13274123, 5.2931853, 1.2566371], "this is in radians; degrees are asked"),
            ([180.0, 7.6055122, 302.70422, 72.0], "one distance too many: in a window of L tokens distances end at L - 1"),
            ([180.0, 360.0, 57.295780, 360.0], "this is the arc that was travelled; asked is the largest hole that was left"),
        ],
        "reduce the angles modulo 2π, sort them, take the differences and the arc from the last round to the first",
    )


def hint_largest_gap() -> None:
    """How to start."""
    print(
        "angles = (torch.arange(window, dtype=torch.float64) * theta) % (2 * math.pi), sorted.\n"
        "The holes are their differences, and one more: from the last angle on, past zero, to the first."
    )


def solution_largest_gap(theta: float, window: int) -> float:
    """Sorted angles on the circle; the last hole goes past zero."""
    angles = ((torch.arange(window, dtype=torch.float64) * theta) % (2 * math.pi)).sort().values
    holes = torch.cat((angles.diff(), angles[:1] + 2 * math.pi - angles[-1:]))
    return math.degrees(float(holes.max()))


def check_full_turn_window(answer: object) -> bool:
    """A function full_turn_window(head_dim, base): the shortest window, in tokens, in which every pair completes a turn."""
    if exercises.unanswered(answer):
        return False
    return exercises.judge(
        [54410.143, 2084764.77, 29163.963],
        _over(answer, _HEADS),
        [
            ([62831.853, 3141592.65, 62831.853], "2π · base is pair d/2, which does not exist; the last index is d/2 - 1"),
            ([8659.6432, 331800.62, 4641.5888], "2π is missing: this is the length at which the slowest pair has turned one radian"),
            ([6.2831853] * 3, "this is the fastest pair; the slowest one decides"),
            ([584.69566, 3619.2490, 428.06832], "the exponent is j/d; θ of pair j is base^(-2j/d)"),
            ([58469.566, 2559195.5, 42806.843], "the exponent is (d-1)/d; the last pair has j = d/2 - 1, so 2j/d = (d-2)/d"),
        ],
        "the wavelength of the slowest pair, j = d/2 - 1: 2π · base^((d-2)/d)",
    )


def hint_full_turn_window() -> None:
    """How to start."""
    print("The slowest pair decides. Which index has it, and how many tokens does one of its turns take?")


def solution_full_turn_window(head_dim: int, base: float) -> float:
    """The wavelength of the last pair."""
    return 2 * math.pi * base ** ((head_dim - 2) / head_dim)


def check_ntk_new_pairs(answer: object) -> bool:
    """How many of Llama-3-8B's pairs meet new angles at t = 4 under NTK scaling built for t = 4."""
    return exercises.judge(
        28,
        answer,
        [
            (29, "almost: the last pair is divided by exactly t, so its largest angle is the one it had in training"),
            (63, "pairs before the critical one have met the whole circle; a larger angle is another lap, not a new angle"),
            (64, "the fastest pairs have met the whole circle; a larger angle is another lap, not a new angle"),
            (0, "only the last pair is divided by all of t; the other slow ones by less, so their angles still grow"),
            (1, "it is the other way round: the last pair stays in range, the rest of the slow ones do not"),
            (35, "these pairs complete a turn in training; they have met every angle"),
            (17, "that is Llama-2; a larger base makes more pairs slow"),
        ],
        "count pairs that are slow (from the critical pair on) and whose largest angle still grows: 4 / 4^(j/63) > 1",
    )


def hint_ntk_new_pairs() -> None:
    """How to start."""
    print(
        "frequencies.meets_new_angles(scaled, trained, window, length) answers for every pair.\n"
        "scaled = scaling.NTK(head_dim=128, base=5e5, window=8192).inv_freq(4.0), length = 4 * 8192."
    )


def solution_ntk_new_pairs() -> int:
    """The 29 slow pairs, except the last, which NTK divides by exactly t."""
    return sum(4.0 / 4.0 ** (j / 63) > 1 for j in range(35, 64))
