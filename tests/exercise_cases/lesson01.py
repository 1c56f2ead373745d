"""Solutions and planted mistakes of lesson 01."""

import math

import torch

from clexlab import rope
from clexlab.exercises import lesson01 as lesson


def rotated_in_place(x, angles):
    a, b = x.chunk(2, dim=-1)
    a = a * angles.cos() - b * angles.sin()
    return torch.cat((a, b * angles.cos() + a * angles.sin()), dim=-1)


def without_minus(x, angles):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() + b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1)


def minus_in_both(x, angles):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() - a * angles.sin()), dim=-1)


def joined_interleaved(x, angles):
    return rope.to_interleaved(rope.rotate(x, angles))


def cosine_only(q, k, distances, inv_freq):
    return (distances[:, None] * inv_freq).cos() @ (q * k).reshape(2, -1).sum(0)


def interleaved_scores(q, k, distances, inv_freq):
    return rope.scores(rope.to_half_split(q), rope.to_half_split(k), distances, inv_freq)


def moved_back(weight, heads):
    rows = weight.unflatten(0, (heads, -1))
    return rows[:, rope.permutation(rows.shape[1]).argsort()].flatten(0, 1)


CASES = [
    (
        lesson.check_rotate,
        lesson.solution_rotate,
        [
            (lambda x, angles: rope.rotate(x, angles, rope.Interleaved), "neighbours were paired"),
            (lambda x, angles: rope.rotate(x, -angles), "goes the other way"),
            (without_minus, "minus sign is missing"),
            (rotated_in_place, "keep the old value"),
            (joined_interleaved, "put back interleaved"),
            (minus_in_both, "minus in both halves"),
            (lambda x, angles: rope.rotate(x, angles.deg2rad()), "from degrees"),
            (lambda x, angles: rope.rotate(x, angles.rad2deg()), "to degrees"),
            (lambda x, angles: x, "unchanged"),
            (lambda x, angles: 2 * rope.rotate(x, angles), "a cos - b sin"),
            (lambda x, angles: x * angles, "raised"),
        ],
    ),
    (
        lesson.check_scores,
        lesson.solution_scores,
        [
            (lambda q, k, distances, inv_freq: rope.scores(q, k, -distances, inv_freq), "wrong sign"),
            (cosine_only, "sine term is missing"),
            (interleaved_scores, "neighbours were paired"),
            (lambda q, k, distances, inv_freq: rope.scores(q, k, distances, inv_freq) / math.sqrt(4), "√d"),
            (lambda q, k, distances, inv_freq: (q @ k).expand(len(distances)), "distance was not used"),
            (lambda q, k, distances, inv_freq: q @ k, "over pairs"),
            (lambda q, k, distances, inv_freq: lesson.solution_scores(q, k, distances, inv_freq)[:, None], "shape (3, 1)"),
        ],
    ),
    (
        lesson.check_move_weight,
        lesson.solution_move_weight,
        [
            (moved_back, "way back"),
            (lambda weight, heads: weight[rope.permutation(12)], "across all heads"),
            (lambda weight, heads: rope.to_half_split(weight), "rows, not columns"),
            (lambda weight, heads: weight.unflatten(0, (heads, 2, -1)).transpose(0, 1).flatten(0, 2), "as a block"),
            (lambda weight, heads: weight.flip(0), "first the even rows"),
            (lambda weight, heads: weight[:6], "first the even rows"),
            (lambda weight, heads: rope.to_half_split(lesson.solution_move_weight(weight, heads)), "columns moved too"),
        ],
    ),
    (
        lesson.check_exact_until,
        lesson.solution_exact_until(),
        [(128, "leading one"), (255, "power of two"), (257, "first that is lost"), (2048, "float16"), (1000, "8 bits")],
    ),
]
