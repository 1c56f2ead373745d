"""Exercises of lesson 04, scaling methods: NTK, the scale a pair needs, YaRN's ramp, its temperature, a configuration.

Expected values come from the papers' formulas worked out with Python's `math`, never from the solutions below.
"""

import math

import torch
from torch import Tensor

from clexlab.exercises import call, failed, judge, judge_in_turn, numbers, passed, unanswered

# --- NTK-aware scaling ------------------------------------------------------------------------------------------------


def check_ntk(answer: object) -> bool:
    """`answer(head_dim, base, factor)` returns θ_j(t) of NTK-aware scaling, one value per pair."""
    if unanswered(answer):
        return False
    expected = [1.0, 0.0629960525, 0.00396850263, 0.00025]
    mistakes = [
        ([1.0, 0.0707106781, 0.005, 0.000353553391], "you multiplied the base by t; it is multiplied by t^(d/(d-2))"),
        ([1.0, 0.0793700526, 0.00629960525, 0.0005], "half the exponent: it is 2j/(d-2), or j/(pairs-1)"),
        ([1.0, 0.0771105413, 0.00594603558, 0.000458502022], "the power of t in the base is d/(d-2), not (d-2)/d"),
        ([0.629960525, 0.0396850263, 0.0025, 0.000157490131], "pairs are counted from 0: pair 0 keeps its frequency"),
        ([0.25, 0.025, 0.0025, 0.00025], "this divides every pair by t: Position Interpolation"),
        ([1.0, 0.1, 0.01, 0.001], "these are the base frequencies; the factor is not used"),
    ]
    ends = "the last pair must be divided by exactly 4, pair 0 by exactly 1"
    return judge_in_turn(
        ("head_dim 8, base 10 000, factor 4", expected, call(answer, 8, 1e4, 4.0), mistakes, ends),
        ("the same at factor 1", [1.0, 0.1, 0.01, 0.001], call(answer, 8, 1e4, 1.0), [], "factor 1 must change nothing"),
        (
            "head_dim 6, base 100, factor 2",
            [1.0, 0.152341538, 0.0232079442],
            call(answer, 6, 100.0, 2.0),
            [],
            "right for head_dim 8 and factor 4 only; use the arguments",
        ),
    )


def hint_ntk() -> None:
    print("Give the whole list one new base, b' = b · t^(d/(d-2)), and use the ordinary formula b'^(-2j/d).")


def solution_ntk(head_dim: int, base: float, factor: float) -> Tensor:
    stretched = base * factor ** (head_dim / (head_dim - 2))
    return stretched ** (-torch.arange(0, head_dim, 2) / head_dim)


# --- the NTK scale that keeps one pair in its trained range -----------------------------------------------------------


def check_needed_scale(answer: object) -> bool:
    """`answer(pair, head_dim, factor)` returns the NTK scale a at which the pair meets no new angle at factor · window."""
    if unanswered(answer):
        return False
    expected = 6.67667786
    mistakes = [
        (4.0, "that is the factor itself; only the last pair is slowed down by all of a"),
        (7.0, "that is 2t - 1, a rule of thumb; ask what this pair needs"),
        (2.75161, "the exponent is upside down: solve a^(2j/(d-2)) = t for a"),
        (6.88068, "the exponent of NTK is 2j/(d-2), not 2j/d"),
    ]
    slowed = "the pair is slowed down by a^(2j/(d-2)); the text is longer by t"
    return judge_in_turn(
        ("pair 46, head_dim 128, factor 4", expected, call(answer, 46, 128, 4.0), mistakes, slowed),
        ("pair 63, head_dim 128, factor 4", 4.0, call(answer, 63, 128, 4.0), [], "the last pair needs exactly the factor"),
        (
            "pair 20, head_dim 64, factor 2",
            2.92817139,
            call(answer, 20, 64, 2.0),
            [],
            "right for head_dim 128 only; the exponent is (head_dim - 2)/(2·pair)",
        ),
    )


def hint_needed_scale() -> None:
    print("NTK divides pair j by a^(2j/(d-2)). The largest angle at t·L stays the trained one when that divisor equals t.")


def solution_needed_scale(pair: int, head_dim: int, factor: float) -> float:
    return factor ** ((head_dim - 2) / (2 * pair))


# --- the ramp of YaRN's code ------------------------------------------------------------------------------------------


def check_ramp(answer: object) -> bool:
    """`answer(head_dim, base, window, slow, fast)` returns γ_j, the share of each pair that YaRN's code leaves alone."""
    if unanswered(answer):
        return False
    expected = [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]
    mistakes = [
        ([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0], "reversed: fast pairs (small j) are kept, so γ falls from 1 to 0"),
        (
            [1.0, 0.798985697, 0.230604293, 0.0508663116, 0.0, 0.0, 0.0, 0.0],
            "this is the paper's ramp, linear in turns; the code's is linear in j",
        ),
        ([1.0, 0.937505, 0.605310, 0.273115, 0.0, 0.0, 0.0, 0.0], "the code rounds: floor for the fast end, ceil for the slow end"),
        ([1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5, -0.75], "clip γ to the range from 0 to 1"),
        ([1.0, 1.0, 0.666667, 0.333333, 0.0, 0.0, 0.0, 0.0], "round() takes the nearest; the code takes floor below and ceil above"),
        ([1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], "floor and ceil are exchanged: floor for the fast end, ceil for the slow end"),
        ([1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0], "the 2π is missing: a pair makes window/(2π) · θ turns"),
        ([0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], "slow and fast are exchanged: the ramp starts at the index of `fast` turns"),
    ]
    linear = "γ falls linearly in j from floor(j at 32 turns) to ceil(j at 1 turn)"
    llama = numbers(call(answer, 128, 1e4, 4096, 1.0, 32.0))
    picked = llama[[19, 20, 33, 46]] if isinstance(llama, Tensor) and llama.shape == (64,) else llama
    ends = "return 64 values; the ramp runs from pair 20 to pair 46"
    return judge_in_turn(
        ("head_dim 16, base 10 000, window 512, slow 1, fast 32", expected, call(answer, 16, 1e4, 512, 1.0, 32.0), mistakes, linear),
        ("Llama-2 (128, 10 000, 4096, 1, 32), pairs 19, 20, 33, 46", [1.0, 1.0, 0.5, 0.0], picked, [], ends),
    )


def hint_ramp() -> None:
    print("A pair makes r turns in L tokens at index j(r) = d·ln(L/(2πr)) / (2 ln b). low = floor(j(fast)), high = ceil(j(slow)).")
    print("Then γ_j = 1 - clip((j - low)/(high - low), 0, 1).")


def solution_ramp(head_dim: int, base: float, window: int, slow: float, fast: float) -> Tensor:
    def index(turns: float) -> float:
        return head_dim * math.log(window / (2 * math.pi * turns)) / (2 * math.log(base))

    low, high = max(math.floor(index(fast)), 0), min(math.ceil(index(slow)), head_dim - 1)
    return 1 - ((torch.arange(head_dim // 2) - low) / (high - low)).clamp(0, 1)


# --- the temperature --------------------------------------------------------------------------------------------------


def check_logit_factor(answer: object) -> bool:
    """`answer` is the number by which YaRN multiplies every attention logit at factor 16."""
    mistakes = [
        (1.27725887, "that is A; it multiplies the query and the key, so the logit gets it twice"),
        (2.66143, "too often: A once through the query, once through the key"),
        (0.612974, "upside down: longer text needs sharper attention, the logits grow"),
        (1.55451774, "A² is not 0.2·ln t + 1; square the whole sum"),
    ]
    return judge(1.63139, answer, mistakes, "A = 0.1·ln t + 1 multiplies cos and sin, hence both q and k")


def hint_logit_factor() -> None:
    print("A(16) = 0.1·ln 16 + 1. Rotated query and rotated key carry one A each.")


def solution_logit_factor() -> float:
    return (0.1 * math.log(16) + 1) ** 2


# --- a configuration --------------------------------------------------------------------------------------------------

_WANTED = {"rope_type": "yarn", "rope_theta": 500_000.0, "factor": 8.0, "original_max_position_embeddings": 8192}
# What transformers fills in by itself; whoever writes it out must write the same.
_OWN = {"beta_slow": 1.0, "beta_fast": 32.0, "truncate": True, "attention_factor": 1.2079441542}
# Read by transformers, but for other models: DeepSeek's temperature, and heads that rotate in part.
_OTHERS = {"mscale", "mscale_all_dim", "partial_rotary_factor"}
_MISTAKES = {
    "rope_type": 'the method asked for is YaRN, written "yarn"',
    "rope_theta": "rope_theta is the model's base, 500 000",
    "factor": "factor is wanted length / trained window = 65 536 / 8192",
    "original_max_position_embeddings": "original_max_position_embeddings is the trained window, never the extended length",
    "beta_slow": "YaRN's ramp ends at 1 turn; leave the key out and it does",
    "beta_fast": "YaRN's ramp starts at 32 turns; leave the key out and it does",
    "truncate": "YaRN's code rounds the ends of its ramp; leave the key out and it does",
    "attention_factor": "YaRN's A is 0.1·ln t + 1; leave the key out and transformers computes it",
}
_MISSING = {
    "rope_type": "the key that names the method is rope_type",
    "rope_theta": "rope_theta, the model's base, is missing; without it transformers takes 10 000",
}


def check_rope_parameters(answer: object) -> bool:
    """`answer` is the rope_parameters dictionary for YaRN at 65 536 tokens, base 500 000, trained window 8192."""
    if unanswered(answer):
        return False
    if not isinstance(answer, dict):
        return failed("a dictionary", type(answer).__name__, "rope_parameters is a Python dictionary with string keys")
    for key, value in (_WANTED | _OWN).items():
        if key not in answer and key in _WANTED:
            return failed(f"{key!r}: {value!r}", "no such key", _MISSING.get(key, f"{key} is missing. {_MISTAKES[key]}"))
        if key in answer and not _same(value, answer[key]):
            return failed(f"{key!r}: {value!r}", f"{key!r}: {answer[key]!r}", _kind(answer[key]) or _MISTAKES[key])
    for key in answer:
        if key in _OTHERS:
            return failed(f"the keys {', '.join(_WANTED)}", key, f"transformers reads {key}, but this model does not need it")
        if key not in _WANTED | _OWN:
            return failed(f"the keys {', '.join(_WANTED)}", key, f"transformers' YaRN does not read {key}")
    return passed("This dictionary goes into the model's config.json as it is.")


def _same(wanted: object, given: object) -> bool:
    """Equal as JSON values: a number for a number, and never a tensor or a text that looks like one."""
    if isinstance(wanted, (str, bool)) or not isinstance(given, (int, float)) or isinstance(given, bool):
        return type(wanted) is type(given) and wanted == given
    return math.isclose(wanted, given, rel_tol=1e-4)


def _kind(given: object) -> str | None:
    """Words for a value that no config.json can hold; None for the others."""
    plain = isinstance(given, (str, int, float, bool)) or given is None
    return None if plain else f"{type(given).__name__} is no plain number or text; config.json holds nothing else"


def hint_rope_parameters() -> None:
    print("Four keys: rope_type, rope_theta (the base), factor (how many windows), original_max_position_embeddings (the window).")


def solution_rope_parameters() -> dict[str, object]:
    return {
        "rope_type": "yarn",
        "rope_theta": 500_000.0,
        "factor": 65_536 / 8192,
        "original_max_position_embeddings": 8192,
    }
