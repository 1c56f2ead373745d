"""Lesson 11: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import math

from clexlab.exercises import lesson11 as lesson


def bucket(rule):
    """T5's bucket with another rule for distances from 16 on."""

    def answer(distance):
        return distance if distance < 16 else rule(distance)

    return answer


def grown(distance):
    return 16 * math.log(distance / 16) / math.log(8)


def psi(rate, x):
    return math.log(rate * x + 1)


CASES = [
    (
        lesson.check_slopes,
        lesson.solution_slopes,
        [
            (lambda heads: [2 ** (-8 * h / heads) for h in range(heads)], "not 1: h begins at 1"),
            (lambda heads: lesson.solution_slopes(heads)[::-1], "steepest first"),
            (lambda heads: [-slope for slope in lesson.solution_slopes(heads)], "a slope is positive"),
            (lambda heads: [8 * slope for slope in lesson.solution_slopes(heads)], "stands in the exponent"),
            (lambda heads: [2.0**-h for h in range(1, heads + 1)], "do not stop early"),
            (lambda heads: lesson.solution_slopes(heads) if heads > 1 else [1 / 2], "one head has h = H"),
        ],
    ),
    (
        lesson.check_looks,
        lesson.solution_looks,
        [
            (lambda slope, share: math.ceil(-math.log(1 - share) / slope), "one less is enough"),
            (lambda slope, share: math.floor(-math.log(1 - share) / slope) - 1, "round up, not down"),
            (lambda slope, share: -math.log(1 - share) / slope, "a whole number of tokens"),
            (lambda slope, share: 0, "sum it over all keys"),
            (lambda slope, share: math.ceil(-math.log(1 - share)) - 1, "the slope is 1/2"),
            (lambda slope, share: math.ceil(-math.log2(1 - share) / slope) - 1, "not of 2"),
            (lambda slope, share: 9 if slope == 1 / 2 else 589, "not ln 10"),
            (lambda slope, share: lesson.solution_looks(slope, 0.99), "1 - e^-1 = 0.63"),
        ],
    ),
    (
        lesson.check_bucket,
        lesson.solution_bucket,
        [
            (lambda distance: min(distance, 31), "from 16 on buckets grow"),
            (bucket(lambda n: min(31, 16 + int(math.log(n / 16)))), "multiply by 16"),
            (bucket(lambda n: min(31, 16 + round(grown(n)))), "floor, not round"),
            (bucket(lambda n: 17 + int(grown(n))), "bucket 16 begins at 16"),
            (bucket(lambda n: 16 + int(grown(n))), "cap at 31"),
            (bucket(lambda n: min(32, 16 + int(grown(n)))), "cap at 31"),
            (lambda distance: distance if distance < 15 else 16, "have a bucket each"),
        ],
    ),
    (
        lesson.check_share,
        lesson.solution_share,
        [
            (lambda query, key, threshold, rate: (query - key) / max(threshold, query), "ψ is a logarithm"),
            (lambda query, key, threshold, rate: psi(rate, query - key) / psi(rate, query), "is ψ(L), not ψ(i)"),
            (lambda query, key, threshold, rate: psi(rate, query - key) / psi(rate, threshold), "without max(L, i)"),
            (lambda query, key, threshold, rate: min(1.0, psi(rate, query - key) / psi(rate, threshold)), "not cut off at 1"),
            (lambda query, key, threshold, rate: 1 - lesson.solution_share(query, key, threshold, rate), "ln 26.6 / ln 52.2"),
        ],
    ),
]
