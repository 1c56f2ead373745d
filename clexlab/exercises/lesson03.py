"""Exercises of lesson 03: the sharp constant, an honest ratio, where a false theorem happens to hold, and ridge."""

import math

import torch

from clexlab import exercises


def check_midpoint(answer: object) -> bool:
    """A function midpoint(inv_freq): the largest |a - a_lin| half-way between neighbouring tokens, all |h_j| ≤ 1."""
    if exercises.unanswered(answer):
        return False
    return exercises.judge(
        0.4676221,
        exercises.call(answer, torch.tensor([2.0, 0.25, 0.03125], dtype=torch.float64)),
        [
            (1.4477227, "a whole step was used: the middle is half a token from its neighbours, so the angle is θ/2"),
            (0.5079346, "that is the corrected bound Σθ²/8, which no h reaches; the exact error of one pair is 1 - cos(θ/2)"),
            (2.0317383, "the offset is missing: ½Σθ² still has to be multiplied by offset·(1 - offset) = ¼"),
            (2.5323779, "those are the interpolated values cos(θ/2); the error is their distance from 1"),
            (0.9817701, "the error of a crest is 1 - cos(θ/2); the sine of θ/2 is the slope on its flank"),
            ([0.4596977, 0.0078023, 0.0001221], "one number per pair; every pair may be at its worst at once, so add them"),
            (0.4596977, "that is the largest pair; every pair may be at its worst at once, so add them"),
            (0.2562392, "that is h = 1, every pair at a crest on the left neighbour; which h has its crest in the middle?"),
            (0.1558740, "that is the mean over pairs; every pair may be at its worst at once, so add them"),
        ],
        "turn each pair so that its crest sits in the middle: the score there is 1, its neighbours are cos(θ/2)",
    )


def hint_midpoint() -> None:
    """How to start."""
    print(
        "Take one pair with h = e^{-iθ/2}. Its score is cos((s - ½)θ).\n"
        "What is it at s = 0, at s = 1, at s = ½? The error is the value in the middle minus the mean of the ends.\n"
        "Then add up the pairs."
    )


def solution_midpoint(inv_freq: torch.Tensor) -> torch.Tensor:
    """Crest minus chord, 1 - cos(θ/2), added over pairs."""
    return (1 - torch.cos(inv_freq / 2)).sum()


def check_ratio(answer: object) -> bool:
    """A number: largest attainable |a(s)| over largest attainable |a - a_lin|, d = 128, base 10⁴, unit spacing."""
    return exercises.judge(
        129.587272,
        answer,
        [
            (
                589.461784,
                "that is the paper's 600: twice the extrapolation bound d over the printed constant;"
                " the first is never reached, the second is exceeded",
            ),
            (600.0, "that is the paper's number; it divides one loose bound by another that is not a bound"),
            (512.216664, "the constant is corrected, but 2d is still four times what any score with |h_j| ≤ 1 can reach"),
            (518.349087, "the denominator is right; in the numerator, d/2 pairs of modulus 1 cannot add up to 2d"),
            (128.054166, "almost: the corrected bound is not attained, divide by the sharp one"),
            (147.365446, "the printed constant is not a bound; divide by the sharp one"),
            (259.174544, "there are d/2 pairs, not d, so the largest |a(s)| is 64"),
            (0.007716807, "upside down: largest score over largest deviation"),
        ],
        "numerator: Σ|h_j| with every |h_j| = 1 is the number of pairs; denominator: bounds.sharp in the middle",
    )


def hint_ratio() -> None:
    """How to start."""
    print(
        "How large can |Σ h_j e^{isθ_j}| be if every |h_j| ≤ 1, whatever s is? Some h reaches it: which?\n"
        "For the other number ask bounds.sharp at offset 0.5."
    )


def solution_ratio() -> float:
    """64 pairs of modulus 1 in phase, over the crest of the worst case."""
    return 64 / sum(1 - math.cos(1e4 ** (-j / 64) / 2) for j in range(64))


def check_escape(answer: object) -> bool:
    """A number: the smallest even head_dim for which nothing exceeds the printed theorem (base 10⁴, unit spacing)."""
    return exercises.judge(
        1748,
        answer,
        [
            (1746, "that is the last head that is still exceeded; the next even one escapes"),
            (874, "that is its number of pairs; head_dim is twice that"),
            (1747, "head_dim is even: pairs come in twos"),
            (2490, "that is for base 500 000; the question asks for base 10 000"),
            (128, "the worst case of this lesson exceeds the printed value at 128: 0.4939 against 0.4343"),
        ],
        "compare bounds.sharp and bounds.printed in the middle while head_dim grows in steps of two; the corrected bound"
        " never falls below the printed one, so it cannot tell",
    )


def hint_escape() -> None:
    """How to start."""
    print(
        "Write a loop over head_dim = 4, 6, 8, … that stops when bounds.sharp(middle, frequencies.inv_freq(head_dim)) no\n"
        "longer exceeds bounds.printed(middle, head_dim, 1e4). The answer is far above any published head."
    )


def solution_escape() -> int:
    """Search head dimensions upwards until the sharp value falls to the printed one."""
    head_dim = 4
    while _sharp_in_the_middle(head_dim) > head_dim / (32 * math.log(1e4)):
        head_dim += 2
    return head_dim


def _sharp_in_the_middle(head_dim: int) -> float:
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    return (1 - torch.cos(1e4**-exponents / 2)).sum().item()


def check_ridge(answer: object) -> bool:
    """A function ridge_fit(design, targets, ridge): the coefficients that minimise |Xw - y|² + ridge·|w|²."""
    if exercises.unanswered(answer):
        return False
    design = torch.tensor([[1, 0, 2], [0, 1, 1], [1, 1, 0], [2, 0, 1], [0, 2, 1]], dtype=torch.float64)
    targets = torch.tensor([1, 2, 3, -1, 0], dtype=torch.float64)
    return exercises.judge(
        [0.1218698, 0.5091820, 0.0984975],
        exercises.call(answer, design, targets, 3.0),
        [
            ([0.2352941, 0.8235294, -0.0588235], "the ridge was not used: these are the plain least-squares coefficients"),
            ([0.0045249, 0.5927602, -0.0588235], "the ridge was added to every entry of XᵀX; it belongs on the diagonal"),
            ([0.0838231, 0.3059078, 0.1091865], "the ridge was squared; it multiplies |w|² as it is"),
            ([0.0972836, 0.3802906, 0.1130764], "the ridge was doubled; both squares give a 2 in the derivative, and it cancels"),
            ([0.1502654, 0.6214781, 0.0628828], "the ridge was halved; both squares give a 2 in the derivative, and it cancels"),
            ([0.1441487, 0.6003645, 0.0712675], "the square root of the ridge was added; that is for extra rows of X, not for XᵀX"),
            ([-1.0, 1.0, 1.0], "the ridge was subtracted; it must add to the diagonal"),
            ([0.0667829, 0.2214838, 0.0940190], "the ridge was multiplied by the number of rows; this sum of squares is not a mean"),
        ],
        "solve (XᵀX + ridge·I) w = Xᵀy",
    )


def hint_ridge() -> None:
    """How to start."""
    print(
        "Set the derivative to zero: XᵀXw - Xᵀy + ridge·w = 0.\n"
        "torch.linalg.solve(A, b) solves A w = b; torch.eye(n, dtype=design.dtype) is the identity."
    )


def solution_ridge(design: torch.Tensor, targets: torch.Tensor, ridge: float) -> torch.Tensor:
    """Normal equations with the ridge on the diagonal."""
    gram = design.mT @ design + ridge * torch.eye(design.shape[1], dtype=design.dtype)
    return torch.linalg.solve(gram, design.mT @ targets)
