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
            ("0.4", "without quotes"),
            (0.401, "digits you gave"),
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
            (lambda inv_freq, factor: inv_freq / 4, "4 was written into"),
            (lambda inv_freq, factor: inv_freq / 2 ** (factor // 2), "factor 4 only"),
            (lambda inv_freq, factor: (inv_freq / factor)[:, None], "shape (3, 1)"),
            (lambda inv_freq, factor: print(inv_freq / factor), "return missing"),
        ],
    ),
]
