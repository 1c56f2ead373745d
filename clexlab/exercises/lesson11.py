"""Exercises of lesson 11, biases and the atlas: ALiBi's slopes, how far a head looks, T5's buckets, a share instead of a distance.

Expected values are the published ones or worked out by hand, never taken from the solutions below.
"""

import math

from clexlab.exercises import call, judge_in_turn, unanswered

# --- slopes -----------------------------------------------------------------------------------------------------------


def check_slopes(answer: object) -> bool:
    """`answer(heads)`: ALiBi's slopes for a power of two of heads, the steepest first."""
    if unanswered(answer):
        return False
    eight = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    mistakes = [
        ([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128], "the first slope is 2^(-8/H), not 1: h begins at 1"),
        (eight[::-1], "steepest first: h = 1 has the largest slope"),
        ([-slope for slope in eight], "a slope is positive; the minus stands in B = -m n"),
        ([1 / 2**h for h in range(8, 0, -1)], "steepest first: h = 1 has the largest slope"),
        ([8 * slope for slope in eight], "the 8 stands in the exponent"),
    ]
    four = [(eight[:4], "with fewer heads the slopes do not stop early: the last is 2^-8 whatever H is")]
    rule = "m_h = 2^(-8h/H), h = 1 … H: from 1/2 down to 1/256 for 8 heads"
    return judge_in_turn(
        ("8 heads", eight, call(answer, 8), mistakes, rule),
        ("4 heads", [1 / 4, 1 / 16, 1 / 64, 1 / 256], call(answer, 4), four, "every head's exponent is 8/4 = 2 larger"),
        ("1 head", [1 / 256], call(answer, 1), [], "one head has h = H"),
    )


def hint_slopes() -> None:
    print("A list over h = 1 … heads of 2 ** (-8 * h / heads).")


def solution_slopes(heads: int) -> list[float]:
    return [2 ** (-8 * h / heads) for h in range(1, heads + 1)]


# --- how far a head looks ---------------------------------------------------------------------------------------------


def check_looks(answer: object) -> bool:
    """`answer(slope, share)`: the smallest n for which keys at distances 0 … n hold `share` of an ALiBi head's attention."""
    if unanswered(answer):
        return False
    mistakes = [
        (10, "the keys at 0 … n are n + 1 keys: one less is enough"),
        (8, "n = 8 holds 98.9 %: round up, not down"),
        (9.210340371976182, "a distance is a whole number of tokens: the smallest that holds the share"),
        (0, "e^(-m n) is the weight of one key; sum it over all keys up to n"),
        (4, "the slope is 1/2: the weights fall by e^(-1/2), not by e^-1, from key to key"),
        (13, "the weights are powers of e, not of 2: softmax takes exp"),
    ]
    rule = "the share within n is 1 - e^(-m(n+1)); at m = 1/2 that passes 99 % with n = 9: 99.3 %"
    flat = [(1178, "keys 0 … n are n + 1 keys"), (589, "1 - e^(-m(n+1)) ≥ 0.99, so m(n+1) ≥ ln 100, not ln 10")]
    return judge_in_turn(
        ("slope 1/2, share 0.99", 9, call(answer, 1 / 2, 0.99), mistakes, rule),
        ("slope 1/256, share 0.99", 1178, call(answer, 1 / 256, 0.99), flat[1:], "ln 100 · 256 = 1178.9, so n + 1 = 1179"),
        ("slope 1/2, share 0.5", 1, call(answer, 1 / 2, 0.5), [], "1 - e^-0.5 = 0.39, 1 - e^-1 = 0.63"),
    )


def hint_looks() -> None:
    print("Geometric series: Σ e^(-m k) over k = 0 … n is (1 - e^(-m(n+1))) / (1 - e^-m). What is left of it divided by the whole sum?")


def solution_looks(slope: float, share: float) -> int:
    return math.ceil(-math.log(1 - share) / slope) - 1


# --- T5's buckets -----------------------------------------------------------------------------------------------------


def check_bucket(answer: object) -> bool:
    """`answer(distance)`: T5's bucket of a distance into the past: 32 buckets, 16 of them exact, 128 the furthest."""
    if unanswered(answer):
        return False
    middle = [
        (17, "the survey's example; T5 keeps single distances up to 15, and 19 is the first of bucket 17's successor"),
        (20, "from 16 on buckets grow: 16 + 16 · ln(n/16) / ln(128/16)"),
        (16, "ln(n/16), not ln n: and multiply by 16, the buckets that are left"),
        (18, "floor, not round: 20 is still in bucket 17"),
    ]
    last = [(32, "there are 32 buckets, 0 to 31: cap at 31"), (58, "the last bucket is for all that is further: cap at 31")]
    return judge_in_turn(
        ("distance 15", 15, call(answer, 15), [], "distances below 16 have a bucket each"),
        ("distance 16", 16, call(answer, 16), [(17, "bucket 16 begins at 16: ln(16/16) = 0")], "bucket 16 begins at 16"),
        ("distance 20", 17, call(answer, 20), middle[1:], "16 + 16 · ln(20/16)/ln 8 = 17.7, floored"),
        ("distance 46", 24, call(answer, 46), [(25, "floor, do not round up")], "46 is the first distance of bucket 24"),
        ("distance 113", 31, call(answer, 113), [], "the last bucket begins at 113"),
        ("distance 4000", 31, call(answer, 4000), last, "all far distances share the last bucket"),
    )


def hint_bucket() -> None:
    print("Below 16 the distance itself. From 16 on: 16 + int(16 * log(n / 16) / log(128 / 16)), at most 31.")


def solution_bucket(distance: int) -> int:
    if distance < 16:
        return distance
    return min(31, 16 + int(16 * math.log(distance / 16) / math.log(8)))


# --- a share instead of a distance ------------------------------------------------------------------------------------


def check_share(answer: object) -> bool:
    """`answer(query, key, threshold, rate)`: what FIRE's network is given for a pair of positions."""
    if unanswered(answer):
        return False
    inner = math.log(0.1 * 256 + 1) / math.log(0.1 * 512 + 1)
    far = math.log(0.1 * 1024 + 1) / math.log(0.1 * 2048 + 1)
    short = [
        (math.log(0.1 * 50 + 1) / math.log(0.1 * 100 + 1), "below the threshold the divisor is ψ(L), not ψ(i)"),
        (50 / 512, "ψ is a logarithm: ln(rate · x + 1), of the distance and of the divisor"),
    ]
    beyond = [
        (math.log(0.1 * 1024 + 1) / math.log(0.1 * 512 + 1), "beyond L the divisor is ψ(i): without max(L, i) far text leaves 0 … 1"),
        (0.5, "ψ is a logarithm: ln(rate · x + 1), of the distance and of the divisor"),
        (1.0, "the share is not cut off at 1: it never gets there, because the divisor grows with the query"),
    ]
    return judge_in_turn(
        ("query 512, key 256, threshold 512, rate 0.1", inner, call(answer, 512, 256, 512, 0.1), [(0.5, short[1][1])], "ln 26.6 / ln 52.2"),
        ("query 100, key 50", math.log(6) / math.log(52.2), call(answer, 100, 50, 512, 0.1), short, "ln 6 / ln 52.2: L is larger than i"),
        ("query 2048, key 1024", far, call(answer, 2048, 1024, 512, 0.1), beyond, "ln 103.4 / ln 205.8"),
        ("query 2048, key 0", 1.0, call(answer, 2048, 0, 512, 0.1), [], "the first token is at 1 for every query beyond L"),
    )


def hint_share() -> None:
    print("ψ(x) = ln(rate · x + 1); the share is ψ(query - key) / ψ(max(threshold, query)).")


def solution_share(query: int, key: int, threshold: float, rate: float) -> float:
    return math.log(rate * (query - key) + 1) / math.log(rate * max(threshold, query) + 1)
