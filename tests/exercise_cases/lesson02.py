"""Solutions and planted mistakes of lesson 02."""

import math

from clexlab.exercises import lesson02 as lesson


def pairs_that_fit(exponent, turn=2 * math.pi):
    """The solution's count with another wavelength: turn · base^(exponent · j/d)."""
    return lambda d, b, window: sum(turn * b ** (exponent * j / d) <= window for j in range(d // 2))


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
            (lambda d, b, window: d, "count the pairs"),
            (lambda d, b: 46, "raised"),
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
            (18, "exactly t"),
            (63, "another lap"),
            (64, "another lap"),
            (0, "by less"),
            (1, "other way round"),
            (46, "met every angle"),
            (12, "count pairs that are slow"),
        ],
    ),
    (
        lesson.check_ntk_factor,
        lesson.solution_ntk_factor,
        [
            (lambda t, critical, pairs: t, "t itself"),
            (lambda t, critical, pairs: t ** (critical / (pairs - 1)), "upside down"),
            (lambda t, critical, pairs: t ** (pairs / critical), "not the number of pairs"),
            (lambda t, critical, pairs: t ** ((pairs - 1) / (critical - 1)), "needs no protection"),
            (lambda t, critical, pairs: t * (pairs - 1) / critical, "not a multiple"),
            (lambda t, critical, pairs: 2 * t, "solve s^"),
        ],
    ),
]
