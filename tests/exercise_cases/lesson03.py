"""Solutions and planted mistakes of lesson 03."""

import math

import torch

from clexlab import bounds, frequencies
from clexlab.exercises import lesson03 as lesson


def normal_equations(change):
    def fit(design, targets, ridge):
        gram = change(design.mT @ design, ridge)
        return torch.linalg.solve(gram, design.mT @ targets)

    return fit


def on_diagonal(gram, amount):
    return gram + amount * torch.eye(len(gram), dtype=gram.dtype)


inv_freq = frequencies.inv_freq(128, 1e4, torch.float64)
middle = torch.tensor([0.5], dtype=torch.float64)
sharp, corrected = bounds.sharp(middle, inv_freq).item(), bounds.corrected(middle, inv_freq).item()
printed = bounds.printed(middle, 128, 1e4).item()

CASES = [
    (
        lesson.check_midpoint,
        lesson.solution_midpoint,
        [
            (lambda theta: (1 - theta.cos()).sum(), "whole step"),
            (lambda theta: theta.square().sum() / 8, "no h reaches"),
            (lambda theta: theta.square().sum() / 2, "offset is missing"),
            (lambda theta: (theta / 2).cos().sum(), "distance from 1"),
            (lambda theta: (theta / 2).sin().sum(), "slope"),
            (lambda theta: (1 - (theta / 2).cos()).mean(), "mean over pairs"),
            (lambda theta: 1 - (theta / 2).cos(), "one number per pair"),
            (lambda theta: (1 - (theta / 2).cos()).max(), "largest pair"),
            (lambda theta: ((theta / 2).cos() - (1 + theta.cos()) / 2).sum(), "h = 1"),
            (lambda theta: theta.nonsense, "the function raised"),
        ],
    ),
    (
        lesson.check_ratio,
        lesson.solution_ratio(),
        [
            (256 / printed, "the second is exceeded"),
            (130, "digits you gave"),
            (600, "paper's number"),
            (256 / corrected, "four times"),
            (256 / sharp, "cannot add up"),
            (64 / corrected, "not attained"),
            (64 / printed, "printed constant"),
            (128 / sharp, "d/2 pairs"),
            (sharp / 64, "upside down"),
            ("many", "likely mistake"),
        ],
    ),
    (
        lesson.check_escape,
        lesson.solution_escape(),
        [
            (1746, "last head"),
            (874, "number of pairs"),
            (1747, "even"),
            (2490, "500 000"),
            (128, "exceeds the printed"),
            (99, "steps of two"),
        ],
    ),
    (
        lesson.check_ridge,
        lesson.solution_ridge,
        [
            (normal_equations(lambda gram, ridge: gram), "not used"),
            (normal_equations(lambda gram, ridge: gram + ridge), "every entry"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, ridge**2)), "squared"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, 2 * ridge)), "doubled"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, ridge / 2)), "halved"),
            (lambda design, targets, ridge: lesson.solution_ridge(design, targets, ridge)[:, None], "shape (3, 1)"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, math.sqrt(ridge))), "square root"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, -ridge)), "subtracted"),
            (normal_equations(lambda gram, ridge: on_diagonal(gram, 5 * ridge)), "number of rows"),
        ],
    ),
]
