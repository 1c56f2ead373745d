"""What a search was told to do, and everything it did: generation by generation, as plain JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clexlab import frequencies
from clexlab.search.genome import Genome, Space


@dataclass(frozen=True)
class Plan:
    """How much is searched. The defaults are the paper's; beyond 512k tokens it halves population, mutations and crossovers.

    `generations` populations are measured. The first has `population` individuals; every later one the best `parents` of all so
    far, `mutations` and `crossovers` of them. `chance` is the probability with which a mutation redraws each divisor, and n̂.
    """

    population: int = 64
    generations: int = 40
    parents: int = 32
    mutations: int = 16
    crossovers: int = 16
    chance: float = 0.3

    def __post_init__(self) -> None:
        least = {"population": 1, "generations": 1, "parents": 1, "mutations": 0, "crossovers": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if not frequencies.is_whole(value) or value < lowest:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {lowest}")
        if self.parents > self.population:
            raise ValueError(f"parents is {self.parents}, the population {self.population}; parents are chosen from the population")
        if self.crossovers and self.parents < 2:
            raise ValueError("crossovers need two parents; raise parents, or use crossovers=0")
        if not self.mutations + self.crossovers:
            raise ValueError("mutations and crossovers are both 0; later generations would hold nothing new")
        if not frequencies.is_finite(self.chance) or not 0 < self.chance <= 1:
            raise ValueError(f"chance is {self.chance!r}; it is a probability, above 0 and at most 1")

    @property
    def children(self) -> int:
        """New individuals in every generation but the first."""
        return self.mutations + self.crossovers

    @property
    def evaluations(self) -> int:
        """Individuals that are measured in all; none is measured twice."""
        return self.population + (self.generations - 1) * self.children

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Plan":
        return cls(**given)


@dataclass(frozen=True)
class Generation:
    """One population and the fitness of each, lower is better: parents, best first, then mutations, then crossovers.

    Generation 0 has no parents: the genomes the search was given, then mutations of them.
    """

    index: int
    genomes: tuple[Genome, ...]
    fitness: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.genomes or len(self.genomes) != len(self.fitness):
            raise ValueError(f"generation {self.index} has {len(self.genomes)} genomes and {len(self.fitness)} values of fitness")

    @property
    def best(self) -> Genome:
        return self.genomes[self.fitness.index(min(self.fitness))]

    def to_dict(self) -> dict[str, Any]:
        return {"index": self.index, "genomes": [genome.to_dict() for genome in self.genomes], "fitness": list(self.fitness)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Generation":
        genomes = tuple(Genome.from_dict(genome) for genome in given["genomes"])
        return cls(index=given["index"], genomes=genomes, fitness=tuple(given["fitness"]))


@dataclass(frozen=True)
class History:
    """A search from the first generation to the last. Because the best parents stay, the best fitness never rises."""

    space: Space
    plan: Plan
    generations: tuple[Generation, ...]

    def __post_init__(self) -> None:
        if not self.generations or [generation.index for generation in self.generations] != list(range(len(self.generations))):
            raise ValueError("generations must be those from 0 on, in order, at least one")

    @property
    def best(self) -> Genome:
        """The individual with the lowest fitness; of equals the first that was found."""
        found = self.fitness
        return min(found, key=found.__getitem__)

    @property
    def best_fitness(self) -> float:
        return min(self.fitness.values())

    @property
    def best_by_generation(self) -> tuple[float, ...]:
        """The lowest fitness in each generation."""
        return tuple(min(generation.fitness) for generation in self.generations)

    @property
    def fitness(self) -> dict[Genome, float]:
        """Every individual that was measured, in the order in which it was."""
        return {
            genome: value
            for generation in self.generations
            for genome, value in zip(generation.genomes, generation.fitness, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, numbers exact."""
        return {
            "space": self.space.to_dict(),
            "plan": self.plan.to_dict(),
            "generations": [generation.to_dict() for generation in self.generations],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "History":
        return cls(
            space=Space.from_dict(given["space"]),
            plan=Plan.from_dict(given["plan"]),
            generations=tuple(Generation.from_dict(generation) for generation in given["generations"]),
        )
