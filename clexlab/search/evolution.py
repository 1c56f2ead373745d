"""LongRoPE's evolutionary search (arXiv 2402.13753, Algorithm 1): measure, keep the best, mutate and cross them, again.

    P_0     = PI, NTK, YaRN and mutations of them
    P_{i+1} = best `parents` of all so far  ∪  `mutations` of them  ∪  `crossovers` of them

No individual is measured twice. After every generation its state can be kept in a folder, from which a search that was killed
goes on to the same result, bit for bit.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.search import keeping
from clexlab.search.genome import Genome, Space
from clexlab.search.history import Generation, History, Plan
from clexlab.search.operators import crossed, mutated
from clexlab.search.progress import Bar, Report

# How good genomes are, lower is better: one number each.
Fitness = Callable[[Sequence[Genome]], Float[Tensor, "genomes"]]
# Genomes a fitness is asked for at once: some for a batch, few enough to see that the search moves.
PORTION = 4
# Crossovers of two parents before one is mutated instead, as in the released code, and mutations before the search gives up.
CROSSINGS, MUTATIONS = 20, 1000


def search(
    fitness: Fitness,
    space: Space,
    plan: Plan,
    first: Sequence[Genome],
    generator: torch.Generator,
    folder: Path | None = None,
    report: Report | None = None,
) -> History:
    """Search `space` for the genome of lowest `fitness` as `plan` says, beginning with `first` and mutations of them.

    `first` (`starts_from`) are moved to the nearest genomes of the space. Everything drawn comes from `generator`, a CPU one. With a
    `folder` the search is kept there after every generation, and goes on from there if it holds one. `report` is told what happens,
    a `Bar` by default.
    Differs from the released search: it begins with three methods and not with one vector, searches n̂ too, and see `operators`.
    Raises ValueError: no `first`, more than the population, two of them in one place or outside the space; a space too small for
    the plan; a fitness of the wrong length or not finite; a folder with another search (plan, space, first, seed, and what the
    fitness says of itself as `about`).
    """
    first = tuple(space.nearest(genome) for genome in first)
    _check(space, plan, first)
    report = Bar() if report is None else report
    about = getattr(fitness, "about", None)
    begun = keeping.Begun(space=space, plan=plan, first=first, fitness=about, random=keeping.random_state(generator))
    done = [] if folder is None else keeping.read(folder, begun, generator)
    known = {genome: value for one in done for genome, value in zip(one.genomes, one.fitness, strict=True)}
    report.begin(plan, len(known))
    try:
        while len(done) < plan.generations:
            genomes = _children(known, space, plan, generator) if done else _beginning(first, space, plan, generator)
            for values in _measured(fitness, [genome for genome in genomes if genome not in known]):
                known.update(values)
                report.measured(len(values), min(known.values()))
            done.append(Generation(len(done), genomes, tuple(known[genome] for genome in genomes)))
            if folder is not None:
                keeping.write(folder, begun, done, generator)
            report.generation(done[-1])
    finally:
        report.end()
    return History(space, plan, tuple(done))


def _check(space: Space, plan: Plan, first: tuple[Genome, ...]) -> None:
    if not first or len(set(first)) < len(first):
        raise ValueError(f"first holds {len(first)} genomes, {len(set(first))} different on the grid; give at least one, each once")
    if len(first) > plan.population:
        raise ValueError(f"first holds {len(first)} genomes for a population of {plan.population}; give fewer, or raise population")
    if space.size < 2 * plan.evaluations:
        raise ValueError(
            f"the space has {space.size} genomes and the plan measures {plan.evaluations} different ones; use a finer step or a"
            " smaller plan"
        )


def _beginning(first: tuple[Genome, ...], space: Space, plan: Plan, generator: torch.Generator) -> tuple[Genome, ...]:
    """The first population: what was given and new mutations of it, of each in turn."""
    genomes = dict.fromkeys(first)
    while len(genomes) < plan.population:
        parent = first[len(genomes) % len(first)]
        genomes[_new_mutation(parent, genomes, space, plan, generator)] = None
    return tuple(genomes)


def _children(known: dict[Genome, float], space: Space, plan: Plan, generator: torch.Generator) -> tuple[Genome, ...]:
    """The next population: the best so far and new ones made of them. Of equals the one that was found first is the better one."""
    parents = sorted(known, key=known.__getitem__)[: plan.parents]
    seen, children = dict.fromkeys(known), []
    for index in range(plan.children):
        if index < plan.mutations:
            child = _new_mutation(_one_of(parents, generator), seen, space, plan, generator)
        else:
            child = _new_crossing(parents, seen, space, plan, generator)
        seen[child] = None
        children.append(child)
    return (*parents, *children)


def _new_mutation(parent: Genome, seen: dict[Genome, None], space: Space, plan: Plan, generator: torch.Generator) -> Genome:
    """A mutation that was never seen, if need be a mutation of a mutation."""
    for _ in range(MUTATIONS):
        parent = mutated(parent, space, plan.chance, generator)
        if parent not in seen:
            return parent
    raise ValueError(f"{MUTATIONS} mutations led to nothing new; use a finer step than {space.step:g}, or a smaller plan")


def _new_crossing(parents: list[Genome], seen: dict[Genome, None], space: Space, plan: Plan, generator: torch.Generator) -> Genome:
    """A crossover of two parents that was never seen, else a mutation of the first."""
    pair = torch.randperm(len(parents), generator=generator)[:2].tolist()
    one, other = parents[pair[0]], parents[pair[1]]
    for _ in range(CROSSINGS):
        child = crossed(one, other, space, generator)
        if child not in seen:
            return child
    return _new_mutation(one, seen, space, plan, generator)


def _one_of(parents: list[Genome], generator: torch.Generator) -> Genome:
    return parents[int(torch.randint(len(parents), (), generator=generator))]


def _measured(fitness: Fitness, genomes: list[Genome]):  # noqa: ANN202 - a generator of dictionaries
    """The fitness of genomes, portion by portion."""
    for begin in range(0, len(genomes), PORTION):
        portion = genomes[begin : begin + PORTION]
        values = fitness(portion)
        if not isinstance(values, Tensor) or values.shape != (len(portion),):
            given = getattr(values, "shape", values)
            raise ValueError(f"fitness gave {given!r} for {len(portion)} genomes; give a tensor with one number for each")
        values = values.detach().cpu().double().tolist()
        if not all(map(frequencies.is_finite, values)):
            raise ValueError(f"fitness is {values}; every value must be finite, lower is better")
        yield dict(zip(portion, values, strict=True))
