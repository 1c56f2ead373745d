"""Lesson 07: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import math

from clexlab import rope
from clexlab.exercises import lesson07 as lesson


def turned_by(angles):
    """A turn whose angles come from a formula of (position, θ_old, θ_new)."""
    return lambda keys, positions, old, new: rope.rotate(keys, angles(positions[:, None], old, new))


def paired_otherwise(keys, positions, old, new):
    return rope.rotate(keys, rope.angles(positions, new - old), rope.Interleaved)


def changes(lengths, window):
    return [n for n in lengths if math.ceil(n / window) != math.ceil((n - 1) / window)]


def one_early(prompt, new_tokens, window):
    return [n - 1 for n in lesson.solution_refills(prompt, new_tokens, window)]


CASES = [
    (
        lesson.check_turn,
        lesson.solution_turn,
        [
            (turned_by(lambda p, old, new: p * (old - new)), "the sign"),
            (turned_by(lambda p, old, new: p * new), "rotated already"),
            (turned_by(lambda p, old, new: -p * old), "undoes the old rotation"),
            (turned_by(lambda p, old, new: p * new / old), "not by the ratio"),
            (turned_by(lambda p, old, new: (new - old).expand(len(p), -1)), "its own position"),
            (paired_otherwise, "other pairing"),
            (lambda keys, positions, old, new: keys, "stale"),
            (lambda keys, positions, old, new: lesson.solution_turn(keys, positions, old, new)[None], "right numbers, shape"),
            (turned_by(lambda p, old, new: p * (new - old) / 2), "belongs at"),
        ],
    ),
    (
        lesson.check_plan,
        lesson.solution_plan,
        [
            (lambda prompt, new, window: math.ceil(prompt / window), "plans for the prompt"),
            (lambda prompt, new, window: math.ceil(new / window), "plans for the new tokens"),
            (lambda prompt, new, window: (prompt + new) // window, "rounded down"),
            (lambda prompt, new, window: (prompt + new) / window, "not a whole factor"),
            (lambda prompt, new, window: prompt + new, "this is the length"),
            (lambda prompt, new, window: 1 + (prompt + new) // window, "do not add one"),
            (lambda prompt, new, window: math.ceil((prompt + new - 1) / window), "written and never read"),
            (lambda prompt, new, window: round((prompt + new) / window + 0.5 - 1e-9) if prompt > 3 else 0, "at least 1"),
            (lambda prompt, new, window: 7, "prompt + new tokens"),
        ],
    ),
    (
        lesson.check_refills,
        lesson.solution_refills,
        [
            (one_early, "one early"),
            (lambda prompt, new, window: lesson.solution_refills(prompt, new, window)[1:], "the first change counts"),
            (lambda prompt, new, window: lesson.solution_refills(prompt, new, window)[:-1], "the last change is missing"),
            (lambda prompt, new, window: len(lesson.solution_refills(prompt, new, window)), "the lengths are asked"),
            (lambda prompt, new, window: changes(range(2, prompt + new), window), "read in one go"),
            (lambda prompt, new, window: changes(range(prompt + 1, prompt + new + 1), window), "never read"),
            (lambda prompt, new, window: changes(range(prompt + 2, prompt + new), window), "129 tokens are read"),
            (lambda prompt, new, window: list(range(prompt, prompt + new)), "changes between"),
        ],
    ),
]
