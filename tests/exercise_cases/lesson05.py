"""Lesson 05: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import functools
import math

import torch

from clexlab.exercises import lesson05 as lesson


def drift(head_dim, factor, inner=2, exponent=2, below=2, sign=-1):
    grown = 2 * factor - 1 if inner else factor
    return sign * exponent * max(inner, 1) * torch.arange(head_dim // 2) / ((head_dim - below) * grown)


def heun(field, t, z, step):
    slope = field(t, z)
    return z + step * (slope + field(t + step, z + step * slope)) / 2


def table_by_its_length(path, max_factor):
    theta = path.inv_freq(torch.arange(1.0, max_factor + 1))
    return torch.cat([theta[-1], theta[-1]]) if len(theta) == 2 else theta


def never_again(solve):
    kept = {}

    def table(weight):
        if "table" not in kept:
            kept["table"] = solve(weight)
        return kept["table"]

    return table


def same_object(solve):
    kept = {}

    def table(weight):
        if kept.get("weight") is not weight:
            kept["weight"], kept["table"] = weight, solve(weight)
        return kept["table"]

    return table


def remembered_by(key):
    """A cache whose key is only part of the truth."""

    def remember(solve):
        kept = {}

        def table(weight):
            if key(weight) not in kept:
                kept[key(weight)] = solve(weight)
            return kept[key(weight)]

        return table

    return remember


def first_two_calls_only(solve):
    kept, calls = {}, []

    def table(weight):
        calls.append(1)
        if len(calls) != 2:
            kept["table"] = solve(weight)
        return kept["table"]

    return table


def own_generator(length, window, factor, generator):
    return lesson.solution_positions(length, window, factor, torch.Generator().manual_seed(torch.seed() % 2**32))


def not_a_number(length, window, factor, generator):
    return lesson.solution_positions(length, window, factor, generator) * torch.nan


def released_positions(length, window, factor, generator):
    spans = max(1, length // window)
    inner = 1 + torch.randperm(length * factor - 2, generator=generator)[: length - 2].sort().values
    return torch.cat([torch.tensor([0.0]), inner / spans, torch.tensor([length * factor // spans - 1.0])])


def even_positions(length, window, factor, generator):
    return torch.linspace(0, factor * window - 1, length)


def too_far(length, window, factor, generator):
    return lesson.solution_positions(length, window, factor, generator) * factor * window / (factor * window - 1)


def with_repeats(length, window, factor, generator):
    return lesson.solution_positions(length, window, factor, generator).floor()


def unsorted_positions(length, window, factor, generator):
    positions = lesson.solution_positions(length, window, factor, generator)
    return torch.cat([positions[:1], positions[1:-1].flip(0), positions[-1:]])


def thetas(head_dim, base):
    return base ** (-torch.arange(0, head_dim, 2) / head_dim)


def as_list(function):
    """The same answer, in a plain list: right numbers count in any container."""
    return lambda *arguments: function(*arguments).tolist()


CASES = [
    (lesson.check_table, as_list(lesson.solution_table), [(as_list(table_by_its_length), "two grid points are still taken")]),
    (lesson.check_positions, as_list(lesson.solution_positions), [(as_list(even_positions), "not random")]),
    (
        lesson.check_drift,
        lesson.solution_drift,
        [
            (functools.partial(drift, exponent=1), "inner derivative"),
            (functools.partial(drift, inner=0), "NTK at scale t"),
            (functools.partial(drift, below=0), "not 2j/d"),
            (functools.partial(drift, exponent=4), "the factor 2 came in twice"),
            (functools.partial(drift, sign=1), "the sign"),
            (lambda head_dim, factor: drift(head_dim, 2.5), "differentiate"),
            (lambda head_dim, factor: -2 * torch.arange(head_dim // 2) / (3 * (2 * factor - 1)), "use the argument"),
        ],
    ),
    (
        lesson.check_midpoint_step,
        lesson.solution_midpoint_step,
        [
            (lambda field, t, z, step: z + step * field(t, z), "Euler"),
            (heun, "Heun"),
            (lambda field, t, z, step: z + step * field(t, z + step / 2 * field(t, z)), "time of the middle"),
            (lambda field, t, z, step: z + step * field(t + step / 2, z), "state of the middle"),
            (lambda field, t, z, step: lesson.solution_midpoint_step(field, t, z, step) - z, "increment"),
            (lambda field, t, z, step: field(t + step / 2, z + step / 2 * field(t, z)), "the slope in the middle"),
            (lambda field, t, z, step: z + step * field(z + step / 2 * field(z, t), t + step / 2), "exchanged: field(t, z)"),
            (lambda field, t, z, step: z + step * field(z + step / 2 * field(t, z), t + step / 2), "exchanged in the middle"),
            (lambda field, t, z, step: z + step * field(t + step / 2, z + step * field(t, z)), "state of the middle is half"),
            (lambda field, t, z, step: z + step * field(t + step, z + step / 2 * field(t, z)), "time of the middle is half"),
        ],
    ),
    (
        lesson.check_table,
        lesson.solution_table,
        [
            (table_by_its_length, "two grid points are still taken"),
            (lambda path, max_factor: path.inv_freq(torch.arange(1.0, max_factor)), "the last factor is missing"),
            (lambda path, max_factor: path.inv_freq(float(max_factor)), "one row per whole factor"),
            (lambda path, max_factor: path.inv_freq(torch.ones(max_factor)), "row 2 of the table"),
            (lambda path, max_factor: path.inv_freq(float(max_factor)).expand(max_factor, -1), "row 1 of the table"),
            (lambda path, max_factor: path.inv_freq(torch.linspace(1, max_factor, max_factor) ** 2 / max_factor + 1), "row 1"),
        ],
    ),
    (
        lesson.check_remember,
        lesson.solution_remember,
        [
            (never_again, "in place"),
            (same_object, "in place"),
            (lambda solve: functools.cache(solve), "in place"),
            (lambda solve: solve, "not remembered"),
            (first_two_calls_only, "not remembered"),
            (remembered_by(lambda weight: float(weight.sum())), "the key is too small"),
            (remembered_by(lambda weight: float(weight.norm())), "the key is too small"),
            (remembered_by(lambda weight: float(weight[0])), "the key is too small"),
            (remembered_by(lambda weight: float(weight[1])), "the key is too small"),
            (remembered_by(lambda weight: (id(weight), weight._version)), "the key holds the object"),
            (lambda solve: solve(torch.ones(2)), "returns the inner function"),
            (lambda solve: lambda weight: weight, "must return solve(weight)"),
        ],
    ),
    (
        lesson.check_base_error,
        lesson.solution_base_error(),
        [
            (math.log(100), "126/128"),
            (0.0, "reads ln ν itself"),
            (math.log(1e6) * 126 / 128, "not with 0"),
            (100.0, "logarithm"),
            (1.0, "take the last pair"),
            (-math.log(100) * 126 / 128, "the size is asked"),
            (4.53, "more digits"),
        ],
    ),
    (
        lesson.check_positions,
        lesson.solution_positions,
        [
            (released_positions, "time runs backwards"),
            (unsorted_positions, "time runs backwards"),
            (even_positions, "not random"),
            (own_generator, "the generator you are given"),
            (not_a_number, "not a finite number"),
            (too_far, "the last position must be"),
            (with_repeats, "share a position"),
            (lambda *question: 1 + lesson.solution_positions(*question), "first position must be 0"),
            (lambda *question: lesson.solution_positions(*question)[:-1], "return a tensor of 16 positions"),
        ],
    ),
    (
        lesson.check_cosines,
        lesson.solution_cosines,
        [
            (lambda d, base, position, dtype: (position * thetas(d, base).to(dtype).float()).cos().to(dtype), "θ was rounded"),
            (lambda d, base, position, dtype: (torch.tensor(position).to(dtype) * thetas(d, base)).cos().to(dtype), "holds 4096"),
            (lambda d, base, position, dtype: (position * thetas(d, base)).to(dtype).cos(), "the angle was rounded"),
            (lambda d, base, position, dtype: (position * thetas(d, base)).cos(), "cast at the end"),
            (lambda d, base, position, dtype: (position * thetas(d, base)).sin().to(dtype), "round last"),
            (lambda d, base, position, dtype: (position * thetas(d, base)).cos().tolist(), "return a torch tensor"),
            (lambda d, base, position, dtype: (position * thetas(d, base)).cos().bfloat16(), "dtype is an argument"),
        ],
    ),
]
