"""Lesson 08: for each check its solution and planted mistakes with the words the printed verdict must hold."""

from itertools import combinations, pairwise

from clexlab.exercises import lesson08 as lesson


def share(holds):
    """The share of rows for which `holds` is true."""

    def answer(rows, distance):
        return sum(holds(row, distance) for row in rows) / len(rows)

    return answer


def pairs(row, distance):
    return sum(late - early == distance for early, late in combinations(row, 2))


def some(rule):
    """True where one token follows the rule, not all."""

    def answer(text, row, positions):
        return any(text[place] == token for token, place in zip(row, positions, strict=True)) and rule(text, row, positions)

    return answer


def in_order(text, row, positions):
    return any(text[start : start + len(row)] == row for start in range(len(text)))


def at_one_place(text, row, positions):
    return row == [text[place - positions[0]] for place in positions] or lesson.solution_follows(text, row, positions)


CASES = [
    (
        lesson.check_met,
        lesson.solution_met,
        [
            (share(pairs), "counts once"),
            (share(lambda row, distance: any(late - early == distance for early, late in pairwise(row))), "from one token to the next"),
            (share(lambda row, distance: row[0] + distance in row), "from the first token"),
            (share(lambda row, distance: row[-1] - row[0] >= distance), "long enough is not enough"),
            (lambda rows, distance: sum(pairs(row, distance) > 0 for row in rows), "not how many"),
            (lambda rows, distance: 0.6, "distance 9"),
            (lambda rows, distance: 0.5, "three hold a pair"),
            (lambda rows, distance: 0.6 if distance == 5 else 0.2, "no row is that long"),
        ],
    ),
    (
        lesson.check_plateau,
        lesson.solution_plateau,
        [
            (lambda window, factor: (window - 1) / (factor * window - window), "0 is a jump too"),
            (lambda window, factor: window / (factor * window - window + 1), "some pair of the two chunks"),
            (lambda window, factor: 1 / (factor - 1), "two are off by one"),
            (lambda window, factor: (window - 1) / (factor * window), "from all positions"),
            (lambda window, factor: 1 / factor, "the share of the text"),
            (lambda window, factor: 1 / (factor * window - window + 1), "more than one jump"),
            (lambda window, factor: 31 / 225, "window 2048"),
            (lambda window, factor: 0.5, "31 of 225"),
        ],
    ),
    (
        lesson.check_far_pairs,
        lesson.solution_far_pairs,
        [
            (lambda length, fixed: length * (length - 1) // 2, "all pairs of the row"),
            (lambda length, fixed: (length - fixed) * (length - fixed - 1) // 2, "keep their distances"),
            (lambda length, fixed: fixed, "every moved token sees each"),
            (lambda length, fixed: length - fixed, "not one"),
            (lambda length, fixed: fixed * length, "against each other"),
            (lambda length, fixed: 2 * fixed * (length - fixed), "look back only"),
            (lambda length, fixed: 112, "none stays"),
            (lambda length, fixed: 1, "one of its tokens moves"),
        ],
    ),
    (
        lesson.check_follows,
        lesson.solution_follows,
        [
            (in_order, "taken at its positions"),
            (lambda text, row, positions: set(row) <= set(text), "but elsewhere"),
            (some(lambda text, row, positions: text[positions[-1]] == row[-1]), "but elsewhere"),
            (lambda text, row, positions: not in_order(text, row, positions) and text[positions[0]] == row[0], "not enough"),
            (at_one_place, "right distances, wrong places"),
            (lambda text, row, positions: True, "but elsewhere"),
            (lambda text, row, positions: False, "taken at its positions"),
            (lambda text, row, positions: [text[place] for place in positions] == row and positions[0] == 0, "taken at 3, 4, 5"),
        ],
    ),
]
