"""Solutions and planted mistakes of lesson 02."""

import math

import torch

from clexlab.exercises import lesson02 as lesson


def pairs_that_fit(exponent, turn=2 * math.pi):
    """The solution's count with another wavelength: turn · base^(exponent · j/d)."""
    return lambda d, b, window: sum(turn * b ** (exponent * j / d) <= window for j in range(d // 2))


def ceiling(d, base, window):
    return math.ceil(d * math.log(window / (2 * math.pi)) / (2 * math.log(base)))


def first_true(d, base, window):
    exponents = 2 * torch.arange(d // 2, dtype=torch.float64) / d
    return int((2 * math.pi * base**exponents > window).int().argmax())


def angles_met(theta, window):
    return (torch.arange(window, dtype=torch.float64) * theta) % (2 * math.pi)


def degrees(holes):
    return math.degrees(holes.max())


CASES = [
    (
        lesson.check_critical_pair,
        lesson.solution_critical_pair,
        [
            (lambda d, b, window: lesson.solution_critical_pair(d, b, window) - 1, "last pair that does complete"),
            (lambda d, b, window: lesson.solution_critical_pair(d, b, window) + 1, "counted from 0"),
            (lambda d, b, window: d // 2 - lesson.solution_critical_pair(d, b, window), "how many pairs never"),
            (pairs_that_fit(2, turn=1.0), "2π is missing"),
            (pairs_that_fit(1), "come in pairs"),
            (pairs_that_fit(4), "not the number of pairs"),
            (ceiling, "no pair beyond"),
            (first_true, "argmax"),
            (lambda d, b, window: d, "count the pairs"),
            (lambda d, b: 46, "raised"),
        ],
    ),
    (
        lesson.check_largest_gap,
        lesson.solution_largest_gap,
        [
            (lambda theta, window: degrees(angles_met(theta, window).sort().values.diff()), "no ends"),
            (lambda theta, window: degrees(angles_met(theta, window).diff()), "sort the angles"),
            (lambda theta, window: math.radians(lesson.solution_largest_gap(theta, window)), "in radians"),
            (lambda theta, window: lesson.solution_largest_gap(theta, window + 1), "one distance too many"),
            (lambda theta, window: min(360.0, math.degrees(window * theta)), "arc that was travelled"),
            (lambda theta, window: 0.0, "reduce the angles"),
        ],
    ),
    (
        lesson.check_full_turn_window,
        lesson.solution_full_turn_window,
        [
            (lambda d, b: 2 * math.pi * b, "last index is d/2 - 1"),
            (lambda d, b: b ** ((d - 2) / d), "one radian"),
            (lambda d, b: 2 * math.pi, "slowest one decides"),
            (lambda d, b: 2 * math.pi * b ** ((d / 2 - 1) / d), "exponent is j/d"),
            (lambda d, b: 2 * math.pi * b ** ((d - 1) / d), "(d-1)/d"),
            (lambda d, b: 4096, "slowest pair"),
        ],
    ),
    (
        lesson.check_ntk_new_pairs,
        lesson.solution_ntk_new_pairs(),
        [
            (29, "exactly t"),
            (63, "another lap"),
            (64, "another lap"),
            (0, "by less"),
            (1, "other way round"),
            (35, "met every angle"),
            (17, "Llama-2"),
            (12, "count pairs that are slow"),
        ],
    ),
]
