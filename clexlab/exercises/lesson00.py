"""Warm-up exercises of lesson 00: how far a pair of coordinates turns, and the oldest way to stretch a window."""

import torch

from clexlab import exercises


def check_turns(answer: object) -> bool:
    """A pair needs 5,000 tokens for one turn and the window holds 2,000: how many turns were seen in training?"""
    return exercises.judge(
        0.4,
        answer,
        [
            (2.5, "the fraction is upside down: divide the window by the wavelength"),
            (0.0, "only whole turns were counted; the pair did move through part of its circle"),
            (2.5132741, "this is the angle in radians; one turn is 2π of them"),
            (144.0, "this is the angle in degrees; one turn is 360 of them"),
            (40.0, "this is in per cent; the exercise asks for turns"),
            (3000.0, "window and wavelength were subtracted; how often does one fit into the other?"),
        ],
        "another formula; turns = tokens in the window / tokens per turn",
    )


def hint_turns() -> None:
    """How to start."""
    print("After 5,000 tokens the pair is back where it began. Which part of that way are 2,000 tokens?")


def solution_turns() -> float:
    """Tokens in the window divided by tokens per turn."""
    window, wavelength = 2000, 5000
    return window / wavelength


def check_interpolate(answer: object) -> bool:
    """Frequencies that make a text of factor × window cover the same angles as the window did before."""
    if exercises.unanswered(answer):
        return False
    inv_freq = torch.tensor([1.0, 0.1, 0.01])
    mistakes = [
        ([4.0, 0.4, 0.04], "multiplied instead of divided: the pairs now leave the known range even earlier"),
        ([1.0, 0.1, 0.01], "nothing changed: the factor was not used"),
        ([1.0, 0.1, 0.0025], "only the slowest pair was slowed down; here every pair turns more slowly"),
        ([0.0625, 0.00625, 0.000625], "divided twice by the factor"),
    ]
    return exercises.judge_in_turn(
        (
            "factor 4",
            [0.25, 0.025, 0.0025],
            exercises.call(answer, inv_freq, 4.0),
            mistakes,
            "another formula; every frequency, the fast ones too, is divided by the factor",
        ),
        (
            "factor 2.5",
            [0.4, 0.04, 0.004],
            exercises.call(answer, inv_freq, 2.5),
            [([0.25, 0.025, 0.0025], "a 4 was written into the function; use its argument `factor`")],
            "right at factor 4 only; every frequency is divided by the argument `factor`",
        ),
    )


def hint_interpolate() -> None:
    """How to start."""
    print(
        "The largest angle is frequency × length. The length grows by the factor.\n"
        "What must happen to the frequency so that the product stays as it was?"
    )


def solution_interpolate(inv_freq: torch.Tensor, factor: float) -> torch.Tensor:
    """Position Interpolation: the same angles, spread over a text that is `factor` times as long."""
    return inv_freq / factor
