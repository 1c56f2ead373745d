"""Exercises of lesson 01: rotate, read the score off the distance, move weights between pairings, distrust bf16."""

import math

import torch

from clexlab import exercises


def check_rotate(answer: object) -> bool:
    """A function rotate(x, angles) on half-split pairs, against values worked out by hand at simple angles."""
    if exercises.unanswered(answer):
        return False
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    angles = torch.tensor([[math.pi / 2, 0.0], [math.pi / 6, math.pi / 3]])
    return exercises.judge(
        [[-3.0, 2.0, 1.0, 4.0], [-0.6339746, -2.4641016, 3.0980762, 3.7320508]],
        exercises.call(answer, x, angles),
        [
            (
                [[-2.0, 1.0, 3.0, 4.0], [-0.1339746, 2.2320508, -1.9641016, 4.5980762]],
                "neighbours were paired (interleaved); here coordinate j goes with coordinate j + head_dim/2",
            ),
            (
                [[3.0, 2.0, -1.0, 4.0], [2.3660254, 4.4641016, 2.0980762, 0.2679492]],
                "the rotation goes the other way: the minus sign belongs in the first coordinate",
            ),
            (
                [[3.0, 2.0, 1.0, 4.0], [2.3660254, 4.4641016, 3.0980762, 3.7320508]],
                "the minus sign is missing, so lengths change: a cos - b sin",
            ),
            (
                [[-3.0, 2.0, -3.0, 4.0], [-0.6339746, -2.4641016, 2.2810889, -0.1339746]],
                "the second coordinate was computed from the new first one; keep the old value for both",
            ),
            (
                [[-3.0, 1.0, 2.0, 4.0], [-0.6339746, 3.0980762, -2.4641016, 3.7320508]],
                "the pairs are right but were put back interleaved; join the two halves one after the other",
            ),
            (
                [[-3.0, 2.0, -1.0, 4.0], [-0.6339746, -2.4641016, 2.0980762, 0.2679492]],
                "there is a minus in both halves; only the first has one: a cos - b sin, b cos + a sin",
            ),
            (
                [[0.9173878, 2.0, 3.0262848, 4.0], [0.9725431, 1.9265619, 3.0090131, 4.0358840]],
                "the angles are in radians already; no conversion from degrees is needed",
            ),
            (
                [[-3.1300636, 2.0, -0.4502242, 4.0], [3.1183463, -0.6855835, -0.5252773, -4.4192732]],
                "the angles are in radians, and cos and sin take radians; no conversion to degrees is needed",
            ),
            ([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]], "x came back unchanged; the angles were not used"),
        ],
        "the formula differs: first half a cos - b sin, second half b cos + a sin, with a and b the two halves of x",
    )


def hint_rotate() -> None:
    """How to start."""
    print(
        "Split x into its two halves a and b with x.chunk(2, dim=-1).\n"
        "Each half has one number per pair, as the angles have. Rotate, then join with torch.cat((…, …), dim=-1)."
    )


def solution_rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Turn the pair (x_j, x_{j + d/2}) by angle j."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1)


def check_scores(answer: object) -> bool:
    """A function scores(q, k, distances, inv_freq) that rotates nothing; distance = query position - key position."""
    if exercises.unanswered(answer):
        return False
    q, k = torch.tensor([1.0, 2.0, 0.0, 1.0]), torch.tensor([2.0, 1.0, 1.0, 0.0])
    distances, inv_freq = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([math.pi / 2, math.pi / 6])
    return exercises.judge(
        [4.0, 2.2320508, -2.0],
        exercises.call(answer, q, k, distances, inv_freq),
        [
            ([4.0, 1.2320508, 2.0], "the sine has the wrong sign: that is distance -s"),
            ([4.0, 1.7320508, 0.0], "the sine term is missing; without it s and -s look alike"),
            ([4.0, -3.5, 2.0], "neighbours were paired (interleaved); coordinate j goes with j + head_dim/2"),
            ([2.0, 1.1160254, -1.0], "divided by √d; attention does that later, this score is the plain dot product"),
            ([4.0, 4.0, 4.0], "the distance was not used: this is the score without any rotation"),
        ],
        "the formula differs: sum (q_a k_a + q_b k_b) cos(sθ) + (q_a k_b - q_b k_a) sin(sθ) over pairs",
    )


def hint_scores() -> None:
    """How to start."""
    print(
        "For each pair compute two numbers that do not know the distance: q_a k_a + q_b k_b and q_a k_b - q_b k_a.\n"
        "phi = distances[:, None] * inv_freq has one row per distance.\n"
        "phi.cos() @ first + phi.sin() @ second sums over pairs."
    )


def solution_scores(
    q: torch.Tensor, k: torch.Tensor, distances: torch.Tensor, inv_freq: torch.Tensor
) -> torch.Tensor:
    """A sum of one cosine and one sine per pair; the positions themselves never appear."""
    (q_a, q_b), (k_a, k_b) = q.chunk(2), k.chunk(2)
    phi = distances[:, None] * inv_freq
    return phi.cos() @ (q_a * k_a + q_b * k_b) + phi.sin() @ (q_a * k_b - q_b * k_a)


def _numbered_rows(order: list[int]) -> torch.Tensor:
    """A (12, 12) matrix whose entry tells its original row and column: 100 · row + column."""
    return 100.0 * torch.tensor(order)[:, None] + torch.arange(12.0)


def check_move_weight(answer: object) -> bool:
    """A function move_weight(weight, heads) that takes a query projection from interleaved to half-split pairs."""
    if exercises.unanswered(answer):
        return False
    weight, columns = _numbered_rows(list(range(12))), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    moved = exercises.numbers(exercises.call(answer, weight.clone(), 2))
    if exercises.agrees(_numbered_rows(columns), moved):
        return exercises.passed("The model keeps its scores and speaks the other convention.")
    inverse, across = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11], [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
    unmoved, blocks = list(range(12)), [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]
    rows = moved
    if isinstance(moved, torch.Tensor) and moved.shape == (12, 12):
        rows = moved[:, 0].div(100).floor()
        if exercises.agrees(columns, rows):
            words = "the rows are right, but columns moved too: a column is an input of the projection and stays"
            return exercises.failed("columns " + str(list(range(12))), "columns " + str((moved[0] % 100).int().tolist()), words)
        rows = rows.int().tolist()
    return exercises.judge(
        columns,
        rows,
        [
            (inverse, "this is the way back, from half-split to interleaved"),
            (across, "the permutation ran across all heads at once; every head keeps its own rows"),
            (unmoved, "the rows stayed where they were; a projection's outputs are its rows, not columns"),
            (blocks, "half a head was moved as a block; rows 0, 2, 4 come first, then 1, 3, 5"),
        ],
        "another order; these are the old rows as they should stand: in every head first the even rows, then the odd ones",
    )


def hint_move_weight() -> None:
    """How to start."""
    print(
        "weight has heads × head_dim rows. weight.unflatten(0, (heads, -1)) gives (heads, head_dim, hidden).\n"
        "Index the middle axis with rope.permutation(head_dim), then flatten(0, 1)."
    )


def solution_move_weight(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Within every head: even rows first, then odd rows."""
    rows = weight.unflatten(0, (heads, -1))
    return torch.cat((rows[:, 0::2], rows[:, 1::2]), dim=1).flatten(0, 1)


def check_exact_until(answer: object) -> bool:
    """The last position up to which every whole number is a bf16 number."""
    return exercises.judge(
        256,
        answer,
        [
            (128, "bf16 stores 7 bits after the leading one; that one counts too, so there are 8"),
            (255, "255 is the largest number of 8 bits, but 256 is a power of two, and those are exact"),
            (257, "257 is the first that is lost: it becomes 256"),
            (2048, "this is float16, which stores 10 bits and has a far smaller range"),
            (16777216, "this is float32, which stores 23 bits"),
        ],
        "8 bits count up to a power of two; compare torch.arange(n).to(torch.bfloat16) with torch.arange(n)",
    )


def hint_exact_until() -> None:
    """How to start."""
    print("positions = torch.arange(1000)\nCompare positions.to(torch.bfloat16).long() with them. Where do they part?")


def solution_exact_until() -> int:
    """The position before the first one that bf16 changes."""
    positions = torch.arange(1000)
    return int((positions.to(torch.bfloat16).long() != positions).nonzero()[0]) - 1
