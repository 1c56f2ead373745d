"""Lesson 04: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import math

import torch

from clexlab.exercises import lesson04 as lesson


def exponents(head_dim):
    return torch.arange(0, head_dim, 2) / head_dim


def base_times_factor(head_dim, base, factor):
    return (base * factor) ** -exponents(head_dim)


def half_exponent(head_dim, base, factor):
    return base ** -exponents(head_dim) * factor ** (-torch.arange(head_dim // 2) / (head_dim - 2))


def power_upside_down(head_dim, base, factor):
    return (base * factor ** ((head_dim - 2) / head_dim)) ** -exponents(head_dim)


def counted_from_one(head_dim, base, factor):
    return base ** -exponents(head_dim) * factor ** (-2 * torch.arange(1, head_dim // 2 + 1) / (head_dim - 2))


def interpolation(head_dim, base, factor):
    return base ** -exponents(head_dim) / factor


def only_right_at_four(head_dim, base, factor):
    return lesson.solution_ntk(head_dim, base, 4.0)


def ramp(head_dim, base, window, slow, fast, low=math.floor, high=math.ceil, clip=True):
    index = lambda turns: head_dim * math.log(window / (2 * math.pi * turns)) / (2 * math.log(base))  # noqa: E731
    start, end = low(index(fast)), high(index(slow))
    share = 1 - (torch.arange(head_dim // 2) - start) / (end - start)
    return share.clamp(0, 1) if clip else share


def paper_ramp(head_dim, base, window, slow, fast):
    turns = window * base ** -exponents(head_dim) / (2 * math.pi)
    return ((turns - slow) / (fast - slow)).clamp(0, 1)


def always_head_dim_8(head_dim, base, factor):
    return base ** -exponents(head_dim) * factor ** (-torch.arange(head_dim // 2) / 3)


def ramp_without_two_pi(head_dim, base, window, slow, fast):
    return ramp(head_dim, base, window * 2 * math.pi, slow, fast)


def same(value):
    return value


def as_list(function):
    """The same answer, in a plain list: right numbers count in any container."""
    return lambda *arguments: function(*arguments).tolist()


CONFIG = lesson.solution_rope_parameters()

CASES = [
    (
        lesson.check_ntk,
        lesson.solution_ntk,
        [
            (base_times_factor, "t^(d/(d-2))"),
            (half_exponent, "half the exponent"),
            (power_upside_down, "not (d-2)/d"),
            (counted_from_one, "counted from 0"),
            (interpolation, "Position Interpolation"),
            (lambda head_dim, base, factor: base ** -exponents(head_dim), "factor is not used"),
            (only_right_at_four, "factor 1 must change nothing"),
            (always_head_dim_8, "use the arguments"),
            (lambda head_dim, base, factor: lesson.solution_ntk(head_dim, base, factor)[None], "shape (1, 4)"),
            (lambda head_dim, base, factor: lesson.solution_ntk(head_dim, base, factor) if factor == 4 else None, "return missing"),
            (lambda head_dim: head_dim, "the function raised"),
        ],
    ),
    (
        lesson.check_needed_scale,
        lesson.solution_needed_scale,
        [
            (lambda pair, head_dim, factor: factor, "the factor itself"),
            (lambda pair, head_dim, factor: 2 * factor - 1, "rule of thumb"),
            (lambda pair, head_dim, factor: factor ** (2 * pair / (head_dim - 2)), "upside down"),
            (lambda pair, head_dim, factor: factor ** (head_dim / (2 * pair)), "not 2j/d"),
            (lambda pair, head_dim, factor: factor ** ((head_dim - 2) / 92), "last pair needs exactly"),
            (lambda pair, head_dim, factor: factor ** (63 / pair), "right for head_dim 128 only"),
            (lambda pair, head_dim, factor: round(factor ** ((head_dim - 2) / (2 * pair)), 1), "more digits"),
        ],
    ),
    (
        lesson.check_ramp,
        lesson.solution_ramp,
        [
            (lambda *geometry: 1 - ramp(*geometry), "reversed"),
            (paper_ramp, "the paper's ramp"),
            (lambda *geometry: ramp(*geometry, low=same, high=same), "the code rounds"),
            (lambda *geometry: ramp(*geometry, clip=False), "clip"),
            (lambda *geometry: torch.tensor([1, 0.75, 0.5, 0.25, 0, 0, 0, 0]), "64 values"),
            (lambda *geometry: ramp(*geometry, low=round, high=round), "round() takes the nearest"),
            (lambda *geometry: ramp(*geometry, low=math.ceil, high=math.floor), "floor and ceil are exchanged"),
            (ramp_without_two_pi, "the 2π is missing"),
            (lambda d, base, window, slow, fast: ramp(d, base, window, fast, slow), "slow and fast are exchanged"),
        ],
    ),
    (lesson.check_ntk, as_list(lesson.solution_ntk), [(as_list(interpolation), "Position Interpolation")]),
    (lesson.check_ramp, as_list(lesson.solution_ramp), [(as_list(paper_ramp), "the paper's ramp")]),
    (
        lesson.check_logit_factor,
        lesson.solution_logit_factor(),
        [
            (0.1 * math.log(16) + 1, "gets it twice"),
            ((0.1 * math.log(16) + 1) ** 4, "too often"),
            ((0.1 * math.log(16) + 1) ** -2, "upside down"),
            (0.2 * math.log(16) + 1, "square the whole sum"),
            (16.0, "multiplies cos and sin"),
            (1.63, "more digits"),
            ("1.63139", "without quotes"),
        ],
    ),
    (
        lesson.check_rope_parameters,
        CONFIG,
        [
            ({**CONFIG, "factor": 65_536}, "wanted length / trained window"),
            ({**CONFIG, "original_max_position_embeddings": 65_536}, "never the extended length"),
            ({key: CONFIG[key] for key in CONFIG if key != "rope_theta"}, "takes 10 000"),
            ({**CONFIG, "rope_type": "dynamic"}, "the method asked for is YaRN"),
            ({key: CONFIG[key] for key in CONFIG if key != "rope_type"}, "the key that names the method"),
            ({key: CONFIG[key] for key in CONFIG if key != "factor"}, "factor is missing"),
            ({**CONFIG, "beta": 32}, "does not read beta"),
            ({**CONFIG, "mscale": 1.0}, "transformers reads mscale"),
            ({**CONFIG, "partial_rotary_factor": 1.0}, "does not need it"),
            ({**CONFIG, "attention_factor": 99}, "0.1·ln t + 1"),
            ({**CONFIG, "beta_fast": 1, "beta_slow": 32}, "ramp ends at 1 turn"),
            ({**CONFIG, "beta_fast": 1}, "ramp starts at 32 turns"),
            ({**CONFIG, "truncate": False}, "rounds the ends"),
            ({**CONFIG, "factor": torch.tensor(8.0)}, "no plain number"),
            ({**CONFIG, "factor": torch.tensor([8.0, 1.0])}, "no plain number"),
            ({**CONFIG, "factor": "8"}, "wanted length / trained window"),
            (8.0, "is a Python dictionary"),
        ],
    ),
    (
        lesson.check_rope_parameters,
        {**CONFIG, "beta_fast": 32, "beta_slow": 1, "truncate": True, "attention_factor": 0.1 * math.log(8) + 1},
        [({**CONFIG, "factor": True}, "wanted length / trained window")],
    ),
]
