"""Exercises of lesson 06, fine-tune and evaluate: a leak in a split, equal tokens, a paired difference, two claims and their controls.

Expected values are counted and worked out by hand, never from the solutions below. The claims and their numbers are made up.
"""

from collections.abc import Mapping, Sequence

from clexlab.exercises import agrees, call, failed, judge, judge_in_turn, passed, unanswered

# --- a split that leaks -----------------------------------------------------------------------------------------------

_TRAIN = [("a.py", "import os"), ("b.py", "x = 1"), ("b.py", "y = 2"), ("c.py", "print(3)")]


def check_leaked(answer: object) -> bool:
    """`answer(train, held_out)` gives the places in held_out of the rows that are no test: their file or their text was trained on."""
    if unanswered(answer):
        return False
    mixed = [("d.py", "z = 4"), ("b.py", "w = 5"), ("e.py", "print(3)"), ("a.py", "import os")]
    mistakes = [
        ([2, 3], "a row from a file that was trained on is no test, though its own text is new: the model has read what stands around it"),
        ([1, 3], "a copy under another name is the same text: compare texts too, not file names alone"),
        ([3], "either is enough: the same file, or the same text"),
        ([0], "these are the clean rows; the leaked ones are asked"),
        ([2, 3, 4], "places count from 0"),
        (3, "their places are asked, not how many there are"),
        ([0, 1, 2, 3], "d.py is in no training file, and its text in none"),
    ]
    rule = "a row leaks where its file, or its text, is among the training rows"
    clean = [("d.py", "z = 4"), ("e.py", "q = 6")]
    return judge_in_turn(
        ("a new file, a trained file, a copied text, both", [1, 2, 3], call(answer, _TRAIN, mixed), mistakes, rule),
        ("two new files", [], call(answer, _TRAIN, clean), [([0, 1], "these are the clean rows; the leaked ones are asked")], rule),
        ("no training rows at all", [], call(answer, [], mixed), [], rule),
    )


def hint_leaked() -> None:
    print("Two sets: the files of the training rows, and their texts. A held-out row leaks if it is in one of them.")


def solution_leaked(train: Sequence[tuple[str, str]], held_out: Sequence[tuple[str, str]]) -> list[int]:
    files, texts = {file for file, _ in train}, {text for _, text in train}
    return [place for place, (file, text) in enumerate(held_out) if file in files or text in texts]


# --- equal tokens -----------------------------------------------------------------------------------------------------


def check_long_rows(answer: object) -> bool:
    """`answer(rows, factor)`: how many rows of `factor` windows a step has the tokens of `rows` rows of one window; else ValueError."""
    if unanswered(answer):
        return False
    mistakes = [
        (64, "upside down: one long row has `factor` times the tokens of a short one, so there are fewer of them"),
        (16, "equal rows are not equal tokens: a row of 4 windows is 4 times as long"),
        (1, "attention is quadratic, tokens are not: the budget counts tokens"),
    ]
    rule = "rows · window tokens on one side, long rows · factor · window on the other"
    first = call(answer, 16, 4)
    if unanswered(first):
        return False
    if not agrees(4, first):
        print("tried with 16 rows, rows of 4 windows:")
        return judge(4, first, mistakes, rule)
    for rows, factor in ((8, 16), (12, 8)):
        value = call(answer, rows, factor)
        if not isinstance(value, ValueError):
            words = f"{rows} rows are no whole number of rows of {factor} windows; rounded, one method gets more tokens than the other"
            return failed("ValueError", value if not isinstance(value, Exception) else repr(value), words)
    return judge_in_turn(
        ("16 rows, rows of 16 windows", 1, call(answer, 16, 16), [], rule),
        ("24 rows, rows of 8 windows", 3, call(answer, 24, 8), [], rule),
    )


def hint_long_rows() -> None:
    print("Divide; `divmod` gives the rest too. A rest that is not zero, or no row at all, is a budget that is not equal.")


def solution_long_rows(rows: int, factor: int) -> int:
    many, rest = divmod(rows, factor)
    if rest or not many:
        raise ValueError(f"{rows} rows of one window are no whole number of rows of {factor} windows")
    return many


# --- a paired difference ----------------------------------------------------------------------------------------------


def check_difference(answer: object) -> bool:
    """`answer(ours, control)`: mean, least and largest of ours - control over the seeds that both have; two mappings seed -> loss."""
    if unanswered(answer):
        return False
    ours, control = {0: 3.10, 1: 3.25, 2: 3.40}, {2: 3.41, 0: 3.12, 1: 3.30}
    mistakes = [
        ([0.08 / 3, 0.01, 0.05], "the sign: ours - control, so that a negative number is a lower loss of ours"),
        ([-0.08 / 3, -0.31, 0.13], "the order of a dictionary pairs other seeds: take both losses of one seed"),
        ([-0.08 / 3, -0.31, 0.28], "these are differences between seeds: subtract seed by seed first, then look at the spread"),
        ([-0.08 / 3, -0.02, -0.01], "these extremes belong to no seed; subtract seed by seed first"),
        ([-0.08 / 3, -0.01, -0.05], "least first: -0.05 is less than -0.01"),
        (-0.08 / 3, "right mean; give the least and the largest difference too: one number hides whether the seeds agree"),
    ]
    rule = "seed by seed: -0.02, -0.05, -0.01; then their mean, the least, the largest"
    more = {0: 3.0, 1: 3.0, 2: 3.0}
    missing = "a seed that only one of them has is no pair: leave it out"
    return judge_in_turn(
        ("three seeds", [-0.08 / 3, -0.05, -0.01], call(answer, ours, control), mistakes, rule),
        ("seeds 0, 1, 2 and seeds 1, 2, 3", [0.25, 0.0, 0.5], call(answer, more, {1: 3.0, 2: 2.5, 3: 9.0}), [], missing),
        ("seeds 1, 2, 3 and seeds 0, 1, 2", [-0.25, -0.5, 0.0], call(answer, {1: 3.0, 2: 2.5, 3: 9.0}, more), [], missing),
    )


def hint_difference() -> None:
    print("A list of ours[seed] - control[seed] for every seed in both; then its mean, its min, its max.")


def solution_difference(ours: Mapping[int, float], control: Mapping[int, float]) -> tuple[float, float, float]:
    gaps = [ours[seed] - control[seed] for seed in ours if seed in control]
    return sum(gaps) / len(gaps), min(gaps), max(gaps)


# --- the better-controlled of two claims ------------------------------------------------------------------------------

# What a claim can lack, and in which words the check says so.
LACKS = {
    "split": "text of the files it was measured on had been trained on",
    "targets": "it compares losses of different tokens: the targets change with the length, so a fall may be easier text",
    "tokens": "its rows were trained on different numbers of tokens: more training is another reason for a lower loss",
    "seeds": "one seed: how far two runs of the *same* method differ is not known, so no difference can be called large",
    "frozen": "no row with the same positions and the field frozen at zero: what the sampling does is credited to the field",
    "truncation": "no row that reads the last window alone: beating a model that breaks does not show that far context helps",
}

_SPLIT, _SAME, _WHOLE = "files held out", "the same last 64 tokens at every length", "all tokens of the text, at every length"


def _claim(
    says: str, loss: dict[str, float], *, targets: str = _SAME, seeds: int = 3, tokens: Sequence[float] = (2.0, 2.0)
) -> dict[str, object]:
    trained = [row for row in loss if row not in ("last window alone", "untouched")]
    return {
        "says": says,
        "split": _SPLIT,
        "targets": targets,
        "seeds": seeds,
        "million tokens of tuning": dict(zip(trained, tokens, strict=True)),
        "loss at 8 windows": loss,
    }


# Made-up claims in pairs, the one with less behind it mostly the louder.
PAIRS = (
    {
        "A": _claim(
            "CLEX lowers the loss by 0.31 nats.",
            {"CLEX": 2.90, "field frozen": 3.21, "last window alone": 3.30},
            tokens=(8.0, 2.0),
        ),
        "B": _claim(
            "CLEX lowers the loss by 0.02 nats, more than the seeds' spread of 0.01.",
            {"CLEX": 3.19, "field frozen": 3.21, "last window alone": 3.30},
        ),
    },
    {
        "A": _claim(
            "CLEX changes nothing that three seeds could show.",
            {"CLEX": 3.20, "field frozen": 3.21, "last window alone": 3.30},
        ),
        "B": _claim(
            "CLEX uses all of its context: the loss falls from 3.42 at 1 window to 3.05 at 8.",
            {"CLEX": 3.05, "field frozen": 3.06, "last window alone": 3.44},
            targets=_WHOLE,
        ),
    },
    {
        "A": _claim(
            "CLEX beats its control by 0.12 nats.",
            {"CLEX": 3.09, "field frozen": 3.21, "last window alone": 3.30},
            seeds=1,
        ),
        "B": _claim(
            "CLEX beats its control by 0.01 to 0.04 nats, in every one of five seeds.",
            {"CLEX": 3.18, "field frozen": 3.21, "last window alone": 3.30},
            seeds=5,
        ),
    },
    {
        "A": _claim(
            "CLEX beats tuning without it by 1.5 nats: the learned field extends the window.",
            {"CLEX": 3.19, "plain tuning": 4.69, "last window alone": 3.30},
        ),
        "B": _claim(
            "CLEX is 0.01 nats worse than its control, within the spread.",
            {"CLEX": 3.22, "field frozen": 3.21, "last window alone": 3.30},
        ),
    },
    {
        "A": _claim(
            "With CLEX far context is worth 0.03 nats here, 0.01 of it from the field.",
            {"CLEX": 3.27, "field frozen": 3.28, "last window alone": 3.30},
        ),
        "B": _claim(
            "With CLEX far context is worth 1.6 nats.",
            {"CLEX": 3.34, "field frozen": 3.37, "untouched": 4.94},
        ),
    },
)
_RIGHT = (("B", "tokens"), ("A", "targets"), ("B", "seeds"), ("B", "frozen"), ("A", "truncation"))


def check_claims(answer: object) -> bool:
    """`answer` is a list, for every pair of PAIRS (the letter of the better-controlled claim, what the other one lacks)."""
    if unanswered(answer):
        return False
    form = f"one ('A' or 'B', one of {', '.join(LACKS)}) for each of the {len(PAIRS)} pairs"
    if not isinstance(answer, (list, tuple)) or len(answer) != len(PAIRS):
        return failed(form, answer, "a list with one entry a pair")
    for number, (given, (better, lack)) in enumerate(zip(answer, _RIGHT, strict=True), start=1):
        if given is None or given is Ellipsis:
            return unanswered(given)
        if not isinstance(given, (list, tuple)) or len(given) != 2 or given[0] not in ("A", "B") or given[1] not in LACKS:
            return failed(form, given, f"pair {number}: first the letter of the better claim, then one word for what the other lacks")
        if given[0] != better:
            return failed(better, given[0], f"pair {number}: {given[0]} has a flaw that {better} has not; {LACKS[lack]}")
        if given[1] != lack:
            return failed(lack, given[1], f"pair {number}: right claim; but the other does have its {given[1]!r} in order; {LACKS[lack]}")
    return passed("Each time the smaller or the emptier claim had more behind it.")


def hint_claims() -> None:
    print("Read field by field: which differs between A and B? Then the rows: is one missing that the sentence needs?")


def solution_claims() -> list[tuple[str, str]]:
    return [("B", "tokens"), ("A", "targets"), ("B", "seeds"), ("B", "frozen"), ("A", "truncation")]
