"""Exercises of lesson 09, search the factors: the room of a mutation, what start tokens do to a distance, what a search may report.

Expected values are worked out by hand, never by the solutions below. The losses are made up.
"""

from collections.abc import Mapping, Sequence

from clexlab.exercises import call, judge_in_turn, unanswered

# --- the room of a mutation -------------------------------------------------------------------------------------------


def check_room(answer: object) -> bool:
    """`answer(factors, pair, limit)`: least and largest value the factor of `pair` may be redrawn to, so that none falls."""
    if unanswered(answer):
        return False
    factors = (1.2, 1.5, 2.0, 4.0)
    middle = [
        ((1.0, 10.0), "this is the room of a vector without the constraint: the child would fall at its neighbours"),
        ((1.0, 2.0), "the neighbour below is a bound too: the child would fall from 1.2"),
        ((1.2, 10.0), "the neighbour above is a bound too: the child would fall to 2.0"),
        ((1.5, 2.0), "the factor's own value is no bound: it may become smaller too"),
        ((1.2, 1.5), "the factor's own value is no bound: it may become larger too"),
        ((1.0, 1.5), "pairs count from 0"),
        ((2.0, 1.2), "the least value first"),
    ]
    first = [
        ((4.0, 1.5), "factors[-1] is the last pair in Python; before the first there is none, and the bound is 1"),
        ((0.0, 1.5), "a factor below 1 turns a pair faster than it was trained: the bound is 1"),
        ((1.2, 1.5), "the factor's own value is no bound: it may become smaller too"),
    ]
    last = [
        ((2.0, 4.0), "nothing stands behind the last pair: it may grow up to the limit"),
        ((2.0, 1.2), "factors[0] does not stand behind the last pair: it may grow up to the limit"),
    ]
    rule = "between the factors of the two neighbours; 1 in front of the first, the limit behind the last"
    return judge_in_turn(
        ("pair 1 of four", (1.2, 2.0), call(answer, factors, 1, 10.0), middle, rule),
        ("pair 0 of four", (1.0, 1.5), call(answer, factors, 0, 10.0), first, rule),
        ("pair 3 of four", (2.0, 10.0), call(answer, factors, 3, 10.0), last, rule),
    )


def hint_room() -> None:
    print("Two neighbours, factors[pair - 1] and factors[pair + 1]. Pair 0 lacks the first, the last pair lacks the second.")


def solution_room(factors: Sequence[float], pair: int, limit: float) -> tuple[float, float]:
    low = factors[pair - 1] if pair > 0 else 1.0
    high = factors[pair + 1] if pair + 1 < len(factors) else limit
    return low, high


# --- start tokens and distances ---------------------------------------------------------------------------------------


def check_apart(answer: object) -> bool:
    """`answer(query, key, start, factor)`: the distance that a pair of this factor sees between two positions; it may be below 0."""
    if unanswered(answer):
        return False
    behind = [
        (40, "neither is one of the start tokens: both positions are divided"),
        (160, "the factor divides the angle, so it divides the position"),
        (-10, "query minus key"),
    ]
    across = [
        (24, "the key is one of the first 8 tokens: its position is not divided"),
        (96, "the query is none of the first 8 tokens: its position is divided"),
        (27, "this counts on from the last start token; in the method a later position n is n / factor, counted from 0"),
        (-21, "query minus key"),
    ]
    border = [
        (4, "the first 8 tokens are 0 to 7; and a distance is never compared with `start`, positions are"),
        (2, "leave the sign: the query comes out in front of its key"),
        (1, "the key is one of the start tokens: its position is not divided"),
    ]
    within = [(1, "both are start tokens: neither position is divided"), (-4, "query minus key")]
    rule = "a position n counts as n below `start`, and as n / factor from `start` on; then query minus key"
    return judge_in_turn(
        ("query 100, key 60, start 8, factor 4", 10, call(answer, 100, 60, 8, 4.0), behind, rule),
        ("query 100, key 4, start 8, factor 4", 21, call(answer, 100, 4, 8, 4.0), across, rule),
        ("query 8, key 4, start 8, factor 4", -2, call(answer, 8, 4, 8, 4.0), border, rule),
        ("query 6, key 2, start 8, factor 4", 4, call(answer, 6, 2, 8, 4.0), within, rule),
    )


def hint_apart() -> None:
    print("A small function inside: where does one position n count as standing? Then call it twice and subtract.")


def solution_apart(query: int, key: int, start: int, factor: float) -> float:
    def place(n: int) -> float:
        return n if n < start else n / factor

    return place(query) - place(key)


# --- what a search may report -----------------------------------------------------------------------------------------


def check_report(answer: object) -> bool:
    """`answer(search, held_out, reference)`: the found candidate minus the reference, on search texts and on held-out text."""
    if unanswered(answer):
        return False
    search = {"A": 2.70, "YaRN": 2.90, "B": 2.80, "C": 2.85}
    held_out = {"B": 2.95, "A": 3.05, "YaRN": 3.00, "C": 3.02}
    mistakes = [
        ((-0.10, -0.05), "chosen by its held-out loss: then that text took part in the search, and is held out no more"),
        ((-0.20, -0.05), "two different candidates: report the one that the search found on both"),
        ((0.20, -0.05), "the sign: candidate minus reference, so that a negative number is a lower loss"),
        ((2.70, 3.05), "these are losses; the differences to the reference are asked"),
        ((0.05, -0.20), "the other way round: search texts first"),
        (-0.20, "this is what the search optimised; its held-out difference belongs beside it"),
        (0.05, "give the difference on the search texts too: the two together show what was fitted"),
        ((-0.20, -0.20), "each difference on its own texts: the second from `held_out`"),
    ]
    rule = "the candidate with the lowest search loss; its loss minus the reference's, on both kinds of text"
    same = "where nothing beats the reference the search returns it: both differences are 0"
    return judge_in_turn(
        ("three candidates and YaRN", (-0.20, 0.05), call(answer, search, held_out, "YaRN"), mistakes, rule),
        ("a reference that nothing beats", (0.0, 0.0), call(answer, {"PI": 2.0, "A": 2.1}, {"PI": 3.0, "A": 2.5}, "PI"), [], same),
    )


def hint_report() -> None:
    print("min(search, key=search.get) is what a search returns: it sees nothing else. Then two subtractions.")


def solution_report(search: Mapping[str, float], held_out: Mapping[str, float], reference: str) -> tuple[float, float]:
    found = min(search, key=search.get)
    return search[found] - search[reference], held_out[found] - held_out[reference]
