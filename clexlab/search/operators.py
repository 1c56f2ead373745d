"""Mutation and crossover of divisors that never fall: both move a divisor only between its two neighbours.

Divisors are counted in steps of the space's grid, so children lie on it exactly. The paper says that children are kept
monotone and not how; these operators need no trial and error for that.
"""

import torch

from clexlab.search.genome import Genome, Space


def mutated(genome: Genome, space: Space, chance: float, generator: torch.Generator) -> Genome:
    """Each divisor with probability `chance` redrawn uniformly between its neighbours, n̂ with the same from the space's starts.

    From the fastest pair to the slowest: the left neighbour is the child's, the right one still the parent's; the fastest goes
    down to 1, the slowest up to the limit. So does the released code (`evolution/algorithms/dim_mono.py`), with a limit of about
    1 + s and without n̂. It differs in two things: its chance of 0.3 is that of a sweep, and a sweep redraws every divisor, again
    until the vector is new; and for the fastest pair it excludes the right neighbour's own value, which may be drawn here as for
    every pair. May come out as it was.
    """
    steps = list(space.steps(genome))
    draws = torch.rand(space.pairs + 1, generator=generator).tolist()
    for pair in range(space.pairs):
        if draws[pair] < chance:
            low, high = _between(steps, pair, space)
            steps[pair] = int(torch.randint(low, high + 1, (), generator=generator))
    start = genome.start
    if draws[-1] < chance:
        start = space.starts[int(torch.randint(len(space.starts), (), generator=generator))]
    return space.genome(steps, start)


def crossed(first: Genome, second: Genome, space: Space, generator: torch.Generator) -> Genome:
    """The first parent, with about half of the divisors and n̂ taken from the second, as far as they fit between their neighbours.

    The released code takes a divisor with probability 0.15 and stops at the first vector that is new and monotone, so its child
    usually differs from the first parent in one divisor; it has no n̂. May come out as one of the parents.
    """
    steps, other = list(space.steps(first)), space.steps(second)
    takes = (torch.rand(space.pairs + 1, generator=generator) < 0.5).tolist()
    for pair in range(space.pairs):
        low, high = _between(steps, pair, space)
        if takes[pair] and low <= other[pair] <= high:
            steps[pair] = other[pair]
    return space.genome(steps, second.start if takes[-1] else first.start)


def _between(steps: list[int], pair: int, space: Space) -> tuple[int, int]:
    """The lowest and highest steps that keep a pair's divisor monotone."""
    return steps[pair - 1] if pair else 0, steps[pair + 1] if pair + 1 < len(steps) else space.top
