"""Exercises of lesson 08, train short, test long: distances that are met, a plateau, whom an offset reaches, tokens in their places.

Expected values are counted by hand, never taken from the solutions below.
"""

from collections.abc import Sequence

from clexlab.exercises import call, judge_in_turn, unanswered

# --- distances that are met -------------------------------------------------------------------------------------------

# At distance 5: one pair, two, two, none, none.
_ROWS = [[0, 2, 7, 9], [0, 2, 5, 7], [0, 1, 5, 6], [0, 1, 2, 8], [0, 1, 2, 3]]


def check_met(answer: object) -> bool:
    """`answer(rows, distance)`: the share of rows, lists of positions, in which some two positions are `distance` apart."""
    if unanswered(answer):
        return False
    mistakes = [
        (1.0, "a row that holds the distance twice counts once: C(δ) asks whether, not how often"),
        (0.2, "these are the steps from one token to the next; attention sees every pair of a row"),
        (0.4, "these are the distances from the first token; attention sees every pair of a row"),
        (0.8, "long enough is not enough: a row that reaches further may still hold no pair at exactly this distance"),
        (3, "their share is asked, not how many there are"),
    ]
    rule = "of five rows three hold a pair that is 5 apart: 2 and 7; 0 and 5, 2 and 7; 0 and 5, 1 and 6"
    return judge_in_turn(
        ("five rows, distance 5", 0.6, call(answer, _ROWS, 5), mistakes, rule),
        ("the same rows, distance 9", 0.2, call(answer, _ROWS, 9), [], "0 and 9 of the first row, and no other pair"),
        ("the same rows, distance 20", 0.0, call(answer, _ROWS, 20), [], "no row is that long"),
        ("one row twice, distance 1", 1.0, call(answer, [[4, 5, 6], [4, 5, 6]], 1), [], "both rows hold it"),
    )


def hint_met() -> None:
    print("For one row: is p + distance among its positions for any of its positions p? `any` asks that; then the mean over rows.")


def solution_met(rows: Sequence[Sequence[int]], distance: int) -> float:
    return sum(any(place + distance in row for place in row) for row in rows) / len(rows)


# --- PoSE's plateau ---------------------------------------------------------------------------------------------------


def check_plateau(answer: object) -> bool:
    """`answer(window, factor)`: C(δ) of a row in two skip-wise chunks at a distance well beyond the window, well within the text."""
    if unanswered(answer):
        return False
    mistakes = [
        (31 / 224, "0 is a jump too: there are room + 1 of them, all equally likely"),
        (32 / 225, "how many jumps u bring some pair of the two chunks to this δ? δ - u has to be one of 1 … window-1"),
        (32 / 224, "two are off by one: there are room + 1 jumps, and window - 1 distances between the chunks before they move"),
        (31 / 256, "the jump is not drawn from all positions of the text: it has room = factor·window - window to move in"),
        (1 / 8, "not the share of the text that is read: count the jumps that bring a pair to this δ, out of all jumps"),
        (1 / 225, "more than one jump meets δ: the chunks hold many distances before they move"),
    ]
    rule = "the jumps that meet δ are δ-1, δ-2, … δ-(window-1), out of 0 … room: 31 of 225"
    return judge_in_turn(
        ("window 32, factor 8", 31 / 225, call(answer, 32, 8), mistakes, rule),
        ("window 2048, factor 8", 2047 / 14337, call(answer, 2048, 8), [], "2047 of 14,337"),
        ("window 16, factor 3", 15 / 33, call(answer, 16, 3), [], "15 of 33"),
    )


def hint_plateau() -> None:
    print("Before the jump the distances between the chunks are 1 … window-1; u is added. Which u make δ of one? How many u are there?")


def solution_plateau(window: int, factor: int) -> float:
    return (window - 1) / (factor * window - window + 1)


# --- whom an offset reaches -------------------------------------------------------------------------------------------


def check_far_pairs(answer: object) -> bool:
    """`answer(length, fixed)`: how many (query, key) pairs of a row change their distance when all but its first tokens move by τ."""
    if unanswered(answer):
        return False
    mistakes = [
        (496, "these are all pairs of the row; two tokens that move together stay as far apart as they were"),
        (378, "these are the pairs of moved tokens, and they keep their distances: RoPE sees differences only"),
        (4, "the first tokens are few, but every moved token sees each of them"),
        (28, "every one of the moved tokens sees all of the first ones, not one"),
        (128, "the first tokens do not move against each other"),
        (224, "the mask lets a token look back only: count each pair once"),
    ]
    rule = "a pair changes if one of its tokens moves and the other stays: 4 keys for each of 28 queries"
    return judge_in_turn(
        ("32 tokens, the first 4 stay", 112, call(answer, 32, 4), mistakes, rule),
        ("32 tokens, none stays", 0, call(answer, 32, 0), [], "where all tokens move nothing changes"),
        ("32 tokens, half of them stay", 256, call(answer, 32, 16), [], "16 keys for each of 16 queries"),
    )


def hint_far_pairs() -> None:
    print("Sort pairs by which of the two moves: both, none, or one of them. Whose distance has changed?")


def solution_far_pairs(length: int, fixed: int) -> int:
    return fixed * (length - fixed)


# --- tokens in their places -------------------------------------------------------------------------------------------

_TEXT = [5, 6, 7, 5, 6, 8, 9, 5]


def check_follows(answer: object) -> bool:
    """`answer(text, row, positions)`: whether every token of `row` is the token of `text` at its position."""
    if unanswered(answer):
        return False
    copied = [(True, "these tokens stand in the text, in this order, but elsewhere: look each one up at its own position")]
    first = [(True, "one token in its place is not enough, nor is the last: all of them")]
    apart = [(True, "right distances, wrong places: a row that begins at 3 has to hold the text's tokens from 3 on")]
    taken = [(False, "this row was taken at its positions: 5, 6 stand at 0 and 1, 9, 5 at 6 and 7")]
    rule = "row[k] == text[positions[k]] for every k: True or False"
    return judge_in_turn(
        ("tokens taken at 0, 1, 6, 7", True, call(answer, _TEXT, [5, 6, 9, 5], [0, 1, 6, 7]), taken, rule),
        ("the first four tokens at 0, 1, 6, 7", False, call(answer, _TEXT, [5, 6, 7, 5], [0, 1, 6, 7]), copied, rule),
        ("tokens 5, 6, 5, 5 at 0, 1, 2, 7", False, call(answer, _TEXT, [5, 6, 5, 5], [0, 1, 2, 7]), first, rule),
        ("the first three tokens at 3, 4, 5", False, call(answer, _TEXT, [5, 6, 7], [3, 4, 5]), apart, rule),
        ("tokens taken at 3, 4, 5", True, call(answer, _TEXT, [5, 6, 8], [3, 4, 5]), [], rule),
    )


def hint_follows() -> None:
    print("`zip(row, positions)` gives each token with its position; `all` asks whether every one is what the text has there.")


def solution_follows(text: Sequence[int], row: Sequence[int], positions: Sequence[int]) -> bool:
    return all(text[place] == token for token, place in zip(row, positions, strict=True))
