"""Lesson 10: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import math

from clexlab.exercises import lesson10 as lesson


def by_distance(far, boundary=lambda distance, shift: distance < shift):
    """STRING with another rule for far keys, or another boundary."""

    def answer(i, j, shift, local):
        distance = i - j
        return distance if boundary(distance, shift) else far(distance, shift, local)

    return answer


def moved(distance, shift, local):
    return distance - shift + local


def mixing(rule):
    """GALI with another rule for what lies between two positions."""

    def answer(score, r):
        below = math.floor(r)
        return score(r) if r == below else rule(score, below, r - below)

    return answer


CASES = [
    (
        lesson.check_shifted,
        lesson.solution_shifted,
        [
            (by_distance(moved, lambda distance, shift: False), "keeps its true distance"),
            (by_distance(lambda distance, shift, local: distance - shift), "`local` positions are missing"),
            (by_distance(lambda distance, shift, local: distance - shift - local), "`local` is added"),
            (by_distance(lambda distance, shift, local: distance - local), "the shift is not lost"),
            (by_distance(moved, lambda distance, shift: distance <= shift), "weigh twice"),
            (lambda i, j, shift, local: i - j, "moves back by `shift`"),
            (by_distance(lambda distance, shift, local: distance - 2), "80 - 50 + 8"),
            (lambda i, j, shift, local: {8: 6, 2: 2, 3: 1}.get(i - j, 0), "80 - 50 + 8"),
            (lambda i, j, shift, local: moved(i - j, shift, local) if i - j > 2 else i - j, "plain RoPE"),
            (lambda i, j, shift, local: 99, "from there on"),
        ],
    ),
    (
        lesson.check_longest,
        lesson.solution_longest,
        [
            (lambda window, near, group: window * group, "near tokens take a position each"),
            (lambda window, near, group: (window - near) * group, "add them"),
            (lambda window, near, group: (window - near) * group + near - 1, "a length, not a position"),
            (lambda window, near, group: (window - near) * group + near + 1, "never showed"),
            (lambda window, near, group: window - 1 + near, "holds `group`"),
            (lambda window, near, group: window - 1, "beyond `near`"),
            (lambda window, near, group: 12, "1024"),
            (lambda window, near, group: {3: 12, 4: 13312}.get(group, 0), "groups of one"),
            (lambda window, near, group: 100, "3 + (6 - 3)"),
        ],
    ),
    (
        lesson.check_mixed,
        lesson.solution_mixed,
        [
            (lambda score, r: score(r), "rotates by 2.5"),
            (lambda score, r: score(math.floor(r)), "rounds down"),
            (lambda score, r: score(math.ceil(r)), "rounds up"),
            (mixing(lambda score, below, share: score(below) + score(below + 1)), "add up to 1"),
            (mixing(lambda score, below, share: share * score(below) + (1 - share) * score(below + 1)), "the wrong way round"),
            (lambda score, r: 0.5 * score(math.floor(r)) + 0.5 * score(math.floor(r) + 1), "r = 2.25"),
            (lambda score, r: -0.7030696 if r == 2.5 else -0.5596081 if r == 2.25 else 0.0, "left alone"),
            (
                lambda score, r: 0.75 * score(2) + 0.25 * score(3) if r == 2.25 else (score(math.floor(r)) + score(math.ceil(r))) / 2,
                "a third",
            ),
            (lambda score, r: 1.0, "half of cos 2"),
        ],
    ),
    (
        lesson.check_sees,
        lesson.solution_sees,
        [
            (lambda i, j, sinks, recent: True, "it was dropped"),
            (lambda i, j, sinks, recent: j <= i and i - j < recent, "never dropped"),
            (lambda i, j, sinks, recent: j <= i and (j <= sinks or i - j < recent), "i = 200, j = 4"),
            (lambda i, j, sinks, recent: j <= i and (j < sinks or i - j <= recent), "counts the query itself"),
            (lambda i, j, sinks, recent: j < sinks or i - j < recent, "no key behind itself"),
            (lambda i, j, sinks, recent: j < sinks, "59 back"),
            (lambda i, j, sinks, recent: False, "never dropped"),
        ],
    ),
]
