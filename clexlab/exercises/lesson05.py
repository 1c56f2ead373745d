"""Exercises of lesson 05, CLEX dynamics: the prior drift, a solver step, and five quirks of the released code to repair.

Each quirk appears in the lesson as a short re-creation of ours. Expected values are worked out from the formulas with
Python's `math`, never from the solutions below.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from clexlab import scaling
from clexlab.exercises import agrees, call, failed, judge, judge_in_turn, numbers, passed, unanswered

# --- the prior drift of CLEX ------------------------------------------------------------------------------------------


def check_drift(answer: object) -> bool:
    """`answer(head_dim, factor)` returns d ln θ_j/dt of CLEX before any training, one value per pair."""
    if unanswered(answer):
        return False
    expected = [0.0, -0.166667, -0.333333, -0.5]
    mistakes = [
        ([0.0, -1 / 12, -1 / 6, -1 / 4], "the inner derivative is missing: d(2t - 1)/dt = 2"),
        ([0.0, -2 / 15, -4 / 15, -6 / 15], "this is NTK at scale t; the released code uses 2t - 1"),
        ([0.0, -1 / 8, -1 / 4, -3 / 8], "the exponent of NTK is 2j/(d-2), not 2j/d"),
        ([0.0, -1 / 3, -2 / 3, -1.0], "j counts pairs here; the code's index is 2j, so the factor 2 came in twice"),
        ([0.0, 1 / 6, 1 / 3, 1 / 2], "the sign: frequencies fall when the text grows"),
    ]
    slope = "differentiate ln θ_j(t) = ln θ_j - (2j/(d-2))·ln(2t - 1) by t"
    return judge_in_turn(
        ("head_dim 8, factor 2.5", expected, call(answer, 8, 2.5), mistakes, slope),
        ("head_dim 8, factor 1", [0.0, -0.666667, -1.333333, -2.0], call(answer, 8, 1.0), [], slope),
        ("head_dim 6, factor 3", [0.0, -0.2, -0.4], call(answer, 6, 3.0), [], "right for head_dim 8 only; use the argument"),
    )


def hint_drift() -> None:
    print("ln θ_j(t) = ln θ_j - (2j/(d-2))·ln(2t - 1). The derivative of ln(2t - 1) is 2/(2t - 1).")


def solution_drift(head_dim: int, factor: float) -> Tensor:
    return -4 * torch.arange(head_dim // 2) / ((head_dim - 2) * (2 * factor - 1))


# --- one step of a solver ---------------------------------------------------------------------------------------------


def check_midpoint_step(answer: object) -> bool:
    """`answer(field, t, z, step)` returns z(t + step) by the midpoint rule; `field(t, z)` is dz/dt."""
    if unanswered(answer):
        return False
    mistakes = [
        (4.5, "one slope at the start is Euler's step; take the slope in the middle"),
        (6.0625, "this averages the slopes at both ends (Heun); the midpoint rule uses only the slope in the middle"),
        (5.75, "the slope in the middle needs the time of the middle too: t + step/2"),
        (4.78125, "the slope in the middle needs the state of the middle too: z + step/2 · slope"),
        (7.28125, "the state of the middle is half a step away: z + step/2 · slope"),
        (6.375, "the time of the middle is half a step away: t + step/2"),
        (4.03125, "this is the increment; add it to z"),
        (8.0625, "this is the slope in the middle; the step goes from z along it"),
        (9.375, "the arguments are exchanged: field(t, z), the time first"),
        (8.53125, "the arguments are exchanged in the middle: field(t, z), the time first"),
    ]
    value = call(answer, lambda t, z: t**2 + 2 * z, 1.0, 2.0, 0.5)
    return judge(6.03125, value, mistakes, "tried with dz/dt = t² + 2z, t = 1, z = 2, step 0.5: slope at the middle is 8.0625")


def hint_midpoint_step() -> None:
    print("Walk half a step along the slope at the start. The slope found there carries the whole step.")


def solution_midpoint_step(field: Callable, t: float, z: float | Tensor, step: float) -> float | Tensor:
    middle = z + step / 2 * field(t, z)
    return z + step * field(t + step / 2, middle)


# --- quirk 1: a table that is a table of something else at max_factor = 2 -----------------------------------------------


def check_table(answer: object) -> bool:
    """`answer(path, max_factor)` returns the frequencies at the whole factors 1 … max_factor, (max_factor, pairs)."""
    if unanswered(answer):
        return False
    path = scaling.DynamicNTK(head_dim=8, base=1e4, window=16, rate=2.0)
    rows = [  # closed form b^(-2j/d)·(2t-1)^(-2j/(d-2)), t = 1 … 4
        [1.0, 0.1, 0.01, 0.001],
        [1.0, 6.933612743506e-02, 4.807498567691e-03, 3.333333333333e-04],
        [1.0, 5.848035476426e-02, 3.419951893353e-03, 2.000000000000e-04],
        [1.0, 5.227579585747e-02, 2.732758832532e-03, 1.428571428571e-04],
    ]
    for max_factor in (4, 2, 1):
        expected, value = rows[:max_factor], call(answer, path, max_factor)
        if value is None or value is Ellipsis or isinstance(value, Exception):
            return judge(expected, value, [], "")
        table = numbers(value)
        if not isinstance(table, Tensor) or table.shape != (max_factor, 4):
            shape = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
            return failed(f"shape ({max_factor}, 4) at max_factor = {max_factor}", shape, _shape_mistake(table, max_factor))
        for factor, (row, given) in enumerate(zip(expected, table.detach(), strict=True), start=1):
            if not agrees(row, given):
                return failed(row, given.tolist(), f"row {factor} of the table must belong to factor {factor}")
    return passed("A function returns one thing, whatever the length of its grid.")


def _shape_mistake(table: object, max_factor: int) -> str:
    if isinstance(table, Tensor) and max_factor == 2:
        return "two grid points are still taken for a training step; what to return must not depend on how many points there are"
    if isinstance(table, Tensor) and table.shape[0] == max_factor - 1:
        return "the last factor is missing: torch.arange stops before its end"
    return "return one row per whole factor from 1 to max_factor, one column per pair"


def hint_table() -> None:
    print("Delete the question. The caller knows whether it wants a table or angles; the length of a grid does not say.")


def solution_table(path: scaling.Path, max_factor: int) -> Tensor:
    return path.inv_freq(torch.arange(1.0, max_factor + 1))


# --- quirk 2: a cache that is never invalidated -----------------------------------------------------------------------


def check_remember(answer: object) -> bool:
    """`answer(solve)` returns a function weight -> table that solves again exactly when the weight's values changed."""
    if unanswered(answer):
        return False
    solved = []

    def solve(weight: Tensor) -> Tensor:
        solved.append(weight.clone())
        return 10 * weight

    table, weight = call(answer, solve), torch.tensor([1.0, 2.0])
    if not callable(table):
        return judge("a function of the weight", table, [], "remember(solve) returns the inner function, not a table")
    first, again = call(table, weight), call(table, weight)
    if not agrees([10.0, 20.0], first):
        return judge([10.0, 20.0], first, [], "table(weight) must return solve(weight)")
    if not agrees(first, again) or len(solved) != 1:
        return failed("1 solve for two equal weights", f"{len(solved)} solves", _FORGETS)
    # New values that share with the old ones: sum and norm, then the first, then the last.
    in_place = "stale: an optimizer changes the weight in place, the object stays the same. Compare values with a copy"
    partial = "stale: the key is too small. A sum, a norm or one element can stay while the weight changes; compare all values"
    changes = (([3.0, 4.0], in_place), ([4.0, 3.0], partial), ([4.0, 7.0], partial), ([5.0, 7.0], partial))
    for count, (values, mistake) in enumerate(changes, start=2):
        weight.copy_(torch.tensor(values))
        expected, given = [10 * value for value in values], call(table, weight)
        if not agrees(expected, given):
            return judge(expected, given, [], mistake)
        if not agrees(expected, call(table, weight)) or len(solved) != count:
            return failed(f"{count} solves for {count} weights", f"{len(solved)} solves", _FORGETS)
    if not agrees([50.0, 70.0], call(table, weight.clone())) or len(solved) != 5:
        return failed("no solve for another tensor with equal values", "a solve", "the key holds the object; what counts is its values")
    if not agrees([20.0, 20.0], call(table, torch.full((2,), 2.0))):
        return failed([20.0, 20.0], "an older table", "stale: a different weight got the old table")
    return passed("The key of a cache must hold everything the value depends on.")


_FORGETS = "the table is not remembered; keep it while the weight is unchanged, also after a change"


def hint_remember() -> None:
    print("Keep two things: the table and a *copy* of the weight it was made from (weight.detach().clone()).")


def solution_remember(solve: Callable) -> Callable:
    kept: dict[str, Tensor] = {}

    def table(weight: Tensor) -> Tensor:
        if "weight" not in kept or not torch.equal(kept["weight"], weight):
            kept["weight"], kept["table"] = weight.detach().clone(), solve(weight)
        return kept["table"]

    return table


# --- quirk 3: the field always thinks the base is 10 000 ----------------------------------------------------------------


def check_base_error(answer: object) -> bool:
    """`answer` is the largest error of the network's input, in ln θ, at head_dim 128 and base 10⁶."""
    mistakes = [
        (math.log(100), "the last pair's exponent is 2j/d = 126/128, not 1"),
        (0.0, "the drift is unaffected because the base cancels there, but the network reads ln ν itself"),
        (math.log(1e6) * 126 / 128, "compare with the input at base 10 000, not with 0"),
        (100.0, "the input is a logarithm: ln 100, times the exponent"),
        (-4.53321440, "right, but for the sign: the size is asked"),
    ]
    return judge(4.53321440, answer, mistakes, "ln ν_j holds -(2j/d)·ln(base); take the last pair and both bases")


def hint_base_error() -> None:
    print("ln ν_j = -(2j/d)·ln(base) + terms without the base. Subtract the two bases; the last pair has j = 63.")


def solution_base_error() -> float:
    return (2 * 63 / 128) * (math.log(1e6) - math.log(1e4))


# --- quirk 4: training positions that step back -------------------------------------------------------------------------


def check_positions(answer: object) -> bool:
    """`answer(length, window, factor, generator)` returns increasing positions from 0 to factor·window - 1, (length,)."""
    if unanswered(answer):
        return False
    for length, window, factor in ((16, 16, 1), (16, 16, 4), (64, 16, 1), (64, 16, 2), (64, 16, 4)):
        for seed in range(20):
            value = _draw(answer, length, window, factor, seed)
            if unanswered(value):
                return False
            right = isinstance(value, Tensor) and value.shape == (length,)
            mistake = _position_mistake(value, factor * window - 1) if right else f"return a tensor of {length} positions"
            if mistake:
                print(f"tried with length {length}, window {window}, factor {factor}:")
                return judge(f"0 < … < {factor * window - 1}", value, [], mistake)
    draws = [_draw(answer, 16, 16, 4, seed) for seed in (0, 0, 1)]
    if not torch.equal(draws[0], draws[1]):
        return failed("one generator state, one draw", draws[1], "draw with the generator you are given, not with another one")
    if torch.equal(draws[0], draws[2]):
        return failed("different draws from different generators", draws[0], "the positions are not random; draw with the generator")
    return passed()


def _draw(answer: object, length: int, window: int, factor: int, seed: int) -> object:
    """One draw from a fresh generator, as a tensor where it holds numbers."""
    value = call(answer, length, window, factor, torch.Generator().manual_seed(seed))
    return value if value is None or value is Ellipsis else numbers(value)


def _position_mistake(positions: Tensor, last: int) -> str | None:
    if not bool(torch.isfinite(positions).all()):
        return "a position is not a finite number"
    if abs(float(positions[0])) > 1e-6:
        return "the first position must be 0"
    if abs(float(positions[-1]) - last) > 1e-3:
        return f"the last position must be factor·window - 1 = {last}: the indices of a text that long"
    gaps = positions.diff()
    if bool((gaps < 0).any()):
        return "a position is smaller than the one before it: time runs backwards there"
    if bool((gaps == 0).any()):
        return "two tokens share a position"
    return None


def hint_positions() -> None:
    print("Draw sorted distinct whole numbers from 0 to length·factor - 1, ends included.")
    print("One multiplication then maps the last of them to factor·window - 1.")


def solution_positions(length: int, window: int, factor: int, generator: torch.Generator) -> Tensor:
    cells = length * factor
    inner = 1 + torch.randperm(cells - 2, generator=generator)[: length - 2].sort().values
    drawn = torch.cat([torch.tensor([0]), inner, torch.tensor([cells - 1])])
    return drawn.double() * (factor * window - 1) / (cells - 1)


# --- quirk 5: frequencies in half precision -----------------------------------------------------------------------------


def check_cosines(answer: object) -> bool:
    """`answer(head_dim, base, position, dtype)` returns cos(position·θ_j) in `dtype`, right to that type's precision."""
    if unanswered(answer):
        return False
    expected = [-0.065976, 0.459863, -0.994033, -0.578908]
    rounded = [
        ([-0.066, 0.0779, -0.989, -0.581], "θ was rounded to bfloat16 before it met the position: compute the angle in float32"),
        ([0.804, 0.369, -0.993, -0.578], "the position was rounded: bfloat16 has no 4095, it holds 4096 instead"),
        ([0.804, -0.0222, -0.987, -0.580], "the angle was rounded to bfloat16 before the cosine"),
    ]
    value = call(answer, 8, 1e4, 4095, torch.bfloat16)
    if value is None or value is Ellipsis or isinstance(value, Exception):
        return judge(expected, value, [], "")
    if not isinstance(value, Tensor):
        return failed("a torch tensor", type(value).__name__, "return a torch tensor: only a tensor can be in bfloat16")
    if value.shape != (4,):
        return judge(expected, value, [], "return a tensor of 4 cosines")
    if value.dtype != torch.bfloat16:
        return failed("torch.bfloat16", value.dtype, "cast at the end: the model wants cosines in its own type")
    if agrees(expected, value, rtol=0.0, atol=4e-3):
        single = call(answer, 8, 1e4, 4095, torch.float32)
        if getattr(single, "dtype", None) != torch.float32 or not agrees(expected, single, rtol=0.0, atol=1e-3):
            return failed(f"{expected} in torch.float32", single, "asked for float32, it must return float32; dtype is an argument")
        return passed("Angles in float32, cosines in the model's type.")
    for wrong, words in rounded:
        if agrees(wrong, value, rtol=0.0, atol=1e-2):
            return failed(expected, value.tolist(), words)
    return failed(expected, value.tolist(), "something was rounded to bfloat16 before the cosine; round last")


def hint_cosines() -> None:
    print("Only one `.to(dtype)`, and it is the last thing that happens.")


def solution_cosines(head_dim: int, base: float, position: int, dtype: torch.dtype) -> Tensor:
    angles = position * base ** (-torch.arange(0, head_dim, 2) / head_dim)
    return angles.cos().to(dtype)
