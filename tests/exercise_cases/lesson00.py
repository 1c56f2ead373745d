"""Solutions and planted mistakes of lesson 00."""

from clexlab.exercises import lesson00 as lesson

CASES = [
    (
        lesson.check_turns,
        lesson.solution_turns(),
        [
            (5000 / 2000, "upside down"),
            (2000 // 5000, "whole turns"),
            (2 * 3.14159265 * 0.4, "radians"),
            (144, "degrees"),
            (40, "per cent"),
            (3000, "subtracted"),
            (0.7, "tokens per turn"),
        ],
    ),
    (
        lesson.check_interpolate,
        lesson.solution_interpolate,
        [
            (lambda inv_freq, factor: inv_freq * factor, "multiplied instead of divided"),
            (lambda inv_freq, factor: inv_freq, "was not used"),
            (lambda inv_freq, factor: inv_freq / factor**2, "divided twice"),
            (lambda inv_freq, factor: inv_freq - factor, "divided by the factor"),
            (lambda inv_freq: inv_freq, "raised"),
        ],
    ),
]
