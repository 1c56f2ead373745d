"""Lesson 06: for each check its solution and planted mistakes with the words the printed verdict must hold."""

from clexlab.exercises import lesson06 as lesson

RIGHT = lesson.solution_claims()


def leaked(condition, start=0):
    """Places whose condition on (file known, text known) holds."""

    def answer(train, held_out):
        files, texts = {file for file, _ in train}, {text for _, text in train}
        return [place for place, (file, text) in enumerate(held_out, start) if condition(file in files, text in texts)]

    return answer


def refusing(many):
    """Refuse what is no whole number, and else answer `many`."""

    def answer(rows, factor):
        lesson.solution_long_rows(rows, factor)
        return many(rows, factor)

    return answer


def by_order(ours, control):
    gaps = [a - b for a, b in zip(ours.values(), control.values(), strict=True)]
    return sum(gaps) / len(gaps), min(gaps), max(gaps)


def of_extremes(ours, control):
    mean = sum(ours.values()) / len(ours) - sum(control.values()) / len(control)
    return mean, min(ours.values()) - max(control.values()), max(ours.values()) - min(control.values())


def at_extremes(ours, control):
    mean, *_ = lesson.solution_difference(ours, control)
    return mean, min(ours.values()) - min(control.values()), max(ours.values()) - max(control.values())


def negated(ours, control):
    mean, least, most = lesson.solution_difference(ours, control)
    return -mean, -most, -least


def swapped(ours, control):
    mean, least, most = lesson.solution_difference(ours, control)
    return mean, most, least


def with_zero(ours, control):
    gaps = [ours.get(seed, 0.0) - control.get(seed, 0.0) for seed in ours | control]
    return sum(gaps) / len(gaps), min(gaps), max(gaps)


def changed(pair, letter, lack):
    return [*RIGHT[: pair - 1], (letter, lack), *RIGHT[pair:]]


CASES = [
    (
        lesson.check_leaked,
        lesson.solution_leaked,
        [
            (leaked(lambda file, text: text), "what stands around it"),
            (leaked(lambda file, text: file), "copy under another name"),
            (leaked(lambda file, text: file and text), "either is enough"),
            (leaked(lambda file, text: not file and not text), "clean rows"),
            (leaked(lambda file, text: file or text, start=1), "count from 0"),
            (lambda train, held_out: len(lesson.solution_leaked(train, held_out)), "not how many"),
            (leaked(lambda file, text: True), "in no training file"),
            (lambda train, held_out: [1, 2, 3], "two new files"),
            (lambda train, held_out: [1, 2, 3] if len(held_out) == 4 else [], "no training rows"),
        ],
    ),
    (
        lesson.check_long_rows,
        lesson.solution_long_rows,
        [
            (lambda rows, factor: rows * factor, "upside down"),
            (lambda rows, factor: rows, "equal rows are not equal tokens"),
            (lambda rows, factor: rows // factor**2, "quadratic"),
            (lambda rows, factor: rows // factor, "rounded"),
            (lambda rows, factor: max(1, rows // factor), "rounded"),
            (lambda rows, factor: rows / factor, "no whole number"),
            (lambda rows, factor: rows // (rows % factor == 0) // factor, "ZeroDivisionError"),
            (refusing(lambda rows, factor: 4), "rows of 16 windows"),
            (lambda rows, factor: 5, "on the other"),
        ],
    ),
    (
        lesson.check_difference,
        lesson.solution_difference,
        [
            (negated, "the sign"),
            (by_order, "pairs other seeds"),
            (of_extremes, "subtract seed by seed first"),
            (at_extremes, "belong to no seed"),
            (swapped, "least first"),
            (lambda ours, control: lesson.solution_difference(ours, control)[0], "whether the seeds agree"),
            (with_zero, "is no pair"),
            (lambda ours, control: lesson.solution_difference(ours, {seed: control[seed] for seed in ours}), "KeyError"),
            (lambda ours, control: (0.0, 0.0, 0.0), "seed by seed"),
        ],
    ),
    (
        lesson.check_claims,
        RIGHT,
        [
            (changed(1, "A", "tokens"), "pair 1: A has a flaw"),
            (changed(2, "B", "seeds"), "easier text"),
            (changed(3, "A", "seeds"), "*same* method"),
            (changed(4, "A", "frozen"), "credited to the field"),
            (changed(5, "B", "truncation"), "last window alone"),
            (changed(1, "B", "seeds"), "right claim"),
            (changed(4, "B", "split"), "does have its 'split' in order"),
            (changed(2, "A", "luck"), "one word for what the other lacks"),
            (["B", "A", "B", "B", "A"], "pair 1: first the letter"),
            (RIGHT[:4], "one entry a pair"),
        ],
    ),
]
