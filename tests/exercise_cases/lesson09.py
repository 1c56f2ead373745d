"""Lesson 09: for each check its solution and planted mistakes with the words the printed verdict must hold."""

from clexlab.exercises import lesson09 as lesson


def padded(factors, limit):
    return [1.0, *factors, limit]


def apart(place):
    """Query minus key, each where `place(n, start, factor)` puts it."""
    return lambda query, key, start, factor: place(query, start, factor) - place(key, start, factor)


def divided(n, start, factor):
    return n if n < start else n / factor


def by_held_out(search, held_out, reference):
    best = min(held_out, key=held_out.get)
    return search[best] - search[reference], held_out[best] - held_out[reference]


def best_of_each(search, held_out, reference):
    return min(search.values()) - search[reference], min(held_out.values()) - held_out[reference]


CASES = [
    (
        lesson.check_room,
        lesson.solution_room,
        [
            (lambda factors, pair, limit: (1.0, limit), "without the constraint"),
            (lambda factors, pair, limit: (1.0, padded(factors, limit)[pair + 2]), "the neighbour below"),
            (lambda factors, pair, limit: (padded(factors, limit)[pair], limit), "the neighbour above"),
            (lambda factors, pair, limit: (factors[pair], padded(factors, limit)[pair + 2]), "may become smaller"),
            (lambda factors, pair, limit: (padded(factors, limit)[pair], factors[pair]), "may become larger"),
            (lambda factors, pair, limit: lesson.solution_room(factors, pair - 1, limit), "count from 0"),
            (lambda factors, pair, limit: lesson.solution_room(factors, pair, limit)[::-1], "least value first"),
            (lambda factors, pair, limit: (factors[pair - 1], padded(factors, limit)[pair + 2]), "factors[-1] is the last"),
            (lambda factors, pair, limit: ([0.0, *factors][pair], padded(factors, limit)[pair + 2]), "faster than it was trained"),
            (lambda factors, pair, limit: (padded(factors, limit)[pair], [*factors, factors[-1]][pair + 1]), "up to the limit"),
            (lambda factors, pair, limit: (padded(factors, limit)[pair], factors[(pair + 1) % 4]), "does not stand behind"),
            (lambda factors, pair, limit: (padded(factors, limit)[pair], factors[pair + 1]), "IndexError"),
            (lambda factors, pair, limit: 1.6, "between the factors"),
        ],
    ),
    (
        lesson.check_apart,
        lesson.solution_apart,
        [
            (lambda query, key, start, factor: query - key, "both positions are divided"),
            (apart(lambda n, start, factor: n if n < start else n * factor), "the factor divides the angle"),
            (lambda query, key, start, factor: -apart(divided)(query, key, start, factor), "query minus key"),
            (lambda query, key, start, factor: (query - key) / factor, "the key is one of the first 8"),
            (apart(lambda n, start, factor: n if n < start else start + (n - start) / factor), "counts on"),
            (lambda query, key, start, factor: query - key if key < start else (query - key) / factor, "the query is none"),
            (apart(lambda n, start, factor: n if n <= start else n / factor), "0 to 7"),
            (lambda query, key, start, factor: abs(apart(divided)(query, key, start, factor)), "leave the sign"),
            (lambda query, key, start, factor: max(0, apart(divided)(query, key, start, factor)), "a position n counts as n"),
            (lambda query, key, start, factor: divided(query, 1, factor) - (key if query >= 8 > key else key / factor), "neither position"),
        ],
    ),
    (
        lesson.check_report,
        lesson.solution_report,
        [
            (by_held_out, "held out no more"),
            (best_of_each, "two different candidates"),
            (lambda *given: tuple(-value for value in lesson.solution_report(*given)), "the sign"),
            (lambda search, held_out, reference: (search["A"], held_out["A"]), "these are losses"),
            (lambda *given: lesson.solution_report(*given)[::-1], "search texts first"),
            (lambda *given: lesson.solution_report(*given)[0], "what the search optimised"),
            (lambda *given: lesson.solution_report(*given)[1], "what was fitted"),
            (lambda *given: (lesson.solution_report(*given)[0],) * 2, "on its own texts"),
            (
                lambda search, held_out, reference: (search["A"] - search[reference], held_out["A"] - held_out[reference]),
                "both differences are 0",
            ),
        ],
    ),
]
