"""Exercises of lesson 07, cache and generation: turn a cached key, plan a factor, find the steps that need a refill.

Expected values are worked out from the formulas with Python's `math` and by counting, never from the solutions below.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import rope
from clexlab.exercises import call, judge_in_turn, unanswered

# --- turn a key that is already rotated -------------------------------------------------------------------------------


def check_turn(answer: object) -> bool:
    """`answer(keys, positions, old, new)` takes keys rotated with θ_old to the same keys rotated with θ_new."""
    if unanswered(answer):
        return False
    old, new = torch.tensor([1.0, 0.1]), torch.tensor([0.4, 0.05])
    # Raw keys (2, 0, 0, 3) at position 0 and (1, 0, 0, 1) at position 2: pair 0 is (x0, x2), pair 1 is (x1, x3).
    keys = torch.tensor([[2.0, 0.0, 0.0, 3.0], _key_at(2.0, 0.2)])
    start = keys[0].tolist()
    value = call(answer, keys, torch.tensor([0.0, 2.0]), old, new)
    mistakes = [
        ([start, _key_at(3.2, 0.3)], "the sign: the new angle minus the old one, θ_new - θ_old"),
        ([start, _key_at(2.8, 0.3)], "the key is rotated already; turning by p·θ_new adds to the old angle"),
        ([start, _key_at(0.0, 0.0)], "this undoes the old rotation and stops there; the key still needs its new angle"),
        ([start, _key_at(2.8, 1.2)], "angles add, they do not multiply: turn by the difference of θ, not by the ratio"),
        ([_turned(start, -0.6, -0.05), _key_at(1.4, 0.15)], "every key turns by its own position: p·(θ_new - θ_old)"),
        ([start, _interleaved(_key_at(2.0, 0.2), -1.2, -0.1)], "the other pairing: pair j is (x_j, x_(j + head_dim/2)) here"),
        (keys.tolist(), "nothing turned: these are the stale keys"),
    ]
    words = "position 2 stood at angles 2·θ_old = (2, 0.2) and belongs at 2·θ_new = (0.8, 0.1)"
    return judge_in_turn(("two keys, θ_old = (1, 0.1), θ_new = (0.4, 0.05)", [start, _key_at(0.8, 0.1)], value, mistakes, words))


def _key_at(first: float, second: float) -> list[float]:
    """The raw key (1, 0, 0, 1) with its two pairs at these angles."""
    return [math.cos(first), -math.sin(second), math.sin(first), math.cos(second)]


def _turned(key: list[float], first: float, second: float) -> list[float]:
    (a, c), (b, d) = _point(key[0], key[2], first), _point(key[1], key[3], second)
    return [a, b, c, d]


def _interleaved(key: list[float], first: float, second: float) -> list[float]:
    return [*_point(key[0], key[1], first), *_point(key[2], key[3], second)]


def _point(x: float, y: float, angle: float) -> tuple[float, float]:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def hint_turn() -> None:
    print("Rotations compose: angle p·θ_old, then p·(θ_new - θ_old), is angle p·θ_new. rope.rotate takes any angles.")


def solution_turn(
    keys: Float[Tensor, "seq head_dim"],
    positions: Float[Tensor, "seq"],
    old: Float[Tensor, "pairs"],
    new: Float[Tensor, "pairs"],
) -> Float[Tensor, "seq head_dim"]:
    return rope.rotate(keys, rope.angles(positions, new - old))


# --- plan one factor for a whole generation ---------------------------------------------------------------------------


def check_plan(answer: object) -> bool:
    """`answer(prompt, new_tokens, window)` returns the whole factor that `frozen` keeps from the first to the last token."""
    if unanswered(answer):
        return False
    mistakes = [
        (2, "this plans for the prompt; the text that is generated counts too"),
        (3, "this plans for the new tokens; the prompt stands before them"),
        (4, "rounded down: the last 8 tokens would lie beyond 4 windows; round up"),
        (4.0625, "not a whole factor: the schedule `Whole` rounds up"),
        (520, "this is the length; the factor is length / window"),
    ]
    exact = "a length of exactly one window needs t = 1: round up, do not add one"
    last = "count every token of the text, also the last, which is written and never read"
    return judge_in_turn(
        ("prompt 200, 320 new tokens, window 128", 5, call(answer, 200, 320, 128), mistakes, "⌈(prompt + new tokens) / window⌉"),
        ("prompt 100, 28 new tokens, window 128", 1, call(answer, 100, 28, 128), [(2, exact)], exact),
        ("prompt 100, 29 new tokens, window 128", 2, call(answer, 100, 29, 128), [(1, last)], last),
        ("prompt 3, 5 new tokens, window 4096", 1, call(answer, 3, 5, 4096), [(0, "t is at least 1")], "t is at least 1"),
    )


def hint_plan() -> None:
    print("Count every token of the text, also the last, which is written and never read; divide by the window, round up.")


def solution_plan(prompt: int, new_tokens: int, window: int) -> int:
    return math.ceil((prompt + new_tokens) / window)


# --- where refill pays ------------------------------------------------------------------------------------------------


def check_refills(answer: object) -> bool:
    """`answer(prompt, new_tokens, window)` lists the lengths at which `refill` sends the whole text again, t = ⌈n/window⌉."""
    if unanswered(answer):
        return False
    rule = "⌈n/window⌉ changes between n = window and n = window + 1"
    crossing = [
        ([128, 256, 384], "one early: 128 tokens still fit the window, the factor changes at 129"),
        ([257, 385], "the first change counts: the prompt was cached at t = 1"),
        ([129, 257], "the last change is missing: 385 tokens are read before the generation ends"),
        (3, "the lengths are asked, not how many there are"),
    ]
    early = [([129, 257, 385], "the prompt is read in one go at its own factor; nothing is cached before it")]
    late = [([129], "the last new token is never read: 29 new tokens after 100 make the model read 128 tokens at most")]
    return judge_in_turn(
        ("prompt 100, 300 new tokens, window 128", [129, 257, 385], call(answer, 100, 300, 128), crossing, rule),
        ("prompt 300, 100 new tokens, window 128", [385], call(answer, 300, 100, 128), early, rule),
        ("prompt 100, 29 new tokens, window 128", [], call(answer, 100, 29, 128), late, "the model reads 100 to 128 tokens"),
        ("prompt 128, 3 new tokens, window 128", [129], call(answer, 128, 3, 128), [([], "129 tokens are read here")], rule),
    )


def hint_refills() -> None:
    print("The model reads n = prompt, prompt + 1, …, prompt + new_tokens - 1 tokens. Compare ⌈n/window⌉ with that of n - 1.")


def solution_refills(prompt: int, new_tokens: int, window: int) -> list[int]:
    read = range(prompt + 1, prompt + new_tokens)
    return [length for length in read if math.ceil(length / window) != math.ceil((length - 1) / window)]
