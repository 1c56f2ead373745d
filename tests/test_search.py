"""LongRoPE's search: the space, what moves in it, an evolution that finds a known optimum and goes on after a kill."""

import json
import math
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clexlab import scaling, search
from clexlab.frequencies import Geometry
from clexlab.search import Generation, Genome, History, Plan, Space, crossed, keeping, mutated, starts_from

GEOMETRY = Geometry("a small model", 16, 1e4, 64, "tests")
SPACE = Space(8, 5.0, starts=(0, 1, 2, 4))
SMALL = Plan(population=10, generations=4, parents=4, mutations=3, crossovers=3)
FIRST = starts_from(GEOMETRY, 4.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Distance:
    """‖λ - λ*‖² + |n̂ - n̂*|: the optimum is known. Counts what it is asked."""

    def __init__(self, wanted, start=2):
        self.wanted, self.start, self.asked = torch.tensor(wanted, dtype=torch.float64), start, []

    def __call__(self, genomes):
        self.asked += genomes
        factors = torch.tensor([genome.factors for genome in genomes], dtype=torch.float64)
        return (factors - self.wanted).square().sum(1) + torch.tensor([abs(genome.start - self.start) for genome in genomes])


def wanted(pairs=8, last=4.5):
    return torch.linspace(1.2, last, pairs).tolist()


def quiet(*arguments, **options):
    return search.search(*arguments, **options, report=search.Report())


# Steps above 1 that never fall, and one of the starts.
STEPS = st.lists(st.integers(0, SPACE.top), min_size=8, max_size=8).map(sorted)
STARTS = st.sampled_from(SPACE.starts)


# ------------------------------------------------------------------------------------------------ the space


@given(STEPS, STARTS)
@settings(max_examples=30)
def test_steps_and_genomes_are_one_to_one(steps, start):
    genome = SPACE.genome(steps, start)
    SPACE.check(genome)
    assert list(SPACE.steps(genome)) == steps
    assert SPACE.genome(SPACE.steps(genome), genome.start) == genome == SPACE.nearest(genome)
    assert Genome.from_dict(json.loads(json.dumps(genome.to_dict()))) == genome


def test_the_size_of_a_space_is_the_count_of_its_genomes():
    space = Space(3, 1.5, step=0.1, starts=(0, 4))
    grid = [round(1 + 0.1 * count, 1) for count in range(6)]
    rising = [vector for vector in product(grid, repeat=3) if all(a <= b for a, b in pairwise(vector))]
    assert space.top == 5 and space.size == 2 * len(rising) == 2 * 56
    for vector in rising:
        space.check(Genome(vector, 4))


def test_the_paper_s_space_ends_at_125_percent_in_steps_of_a_hundredth():
    space = Space(64, 1.25 * 8)
    assert space.top == 900 and space.genome([900] * 64).factors[-1] == 10.0 and len(space.starts) == 14


def test_the_first_genomes_are_pi_ntk_and_yarn():
    linear, ntk, yarn = FIRST
    assert linear.factors == (4.0,) * 8
    torch.testing.assert_close(torch.tensor(ntk.factors), torch.tensor([4.0 ** (2 * j / 14) for j in range(8)]), rtol=1e-6, atol=0)
    theta = scaling.YaRN(head_dim=16, base=1e4, window=64)
    divisors = theta.inv_freq(1.0, torch.float64) / theta.inv_freq(4.0, torch.float64)
    torch.testing.assert_close(torch.tensor(yarn.factors, dtype=torch.float64), divisors, rtol=1e-12, atol=0)
    for genome in FIRST:
        SPACE.check(SPACE.nearest(genome))


@pytest.mark.parametrize(
    "genome, words",
    [
        (Genome((1.0,) * 7), "7 divisors, the space 8 pairs"),
        (Genome((1.0,) * 8, 3), "start 3 is none of 0, 1, 2, 4"),
        (Genome((0.5,) + (2.0,) * 7), "divisor 0.5 is outside 1 … 5"),
        (Genome((1.0,) * 7 + (5.5,)), "divisor 5.5 is outside 1 … 5"),
        (Genome((1.0,) * 7 + (1.005,)), "1.005 of pair 7 is off the grid of 0.01"),
        (Genome((1.0,) * 6 + (2.0, 1.5)), "fall from pair 6 to 7, 2 to 1.5"),
    ],
)
def test_what_is_outside_the_space_is_refused(genome, words):
    with pytest.raises(ValueError, match=words):
        SPACE.check(genome)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Genome(()), "finite divisor for every pair"),
        (lambda: Genome((1.0, math.nan)), "finite divisor for every pair"),
        (lambda: Genome((1.0,), -1), "start is -1"),
        (lambda: Space(0, 5.0), "pairs is 0"),
        (lambda: Space(8, 1.0), "limit is 1.0"),
        (lambda: Space(8, math.inf), "limit is inf"),
        (lambda: Space(8, 5.0, step=0.0), "step is 0.0"),
        (lambda: Space(8, 5.0, step=4.5), "at most 4"),
        (lambda: Space(8, 5.0, starts=()), "starts is"),
        (lambda: Space(8, 5.0, starts=(0, 0)), "each once"),
        (lambda: starts_from(GEOMETRY, 1.0), "must be above 1"),
        (lambda: Plan(population=0), "population is 0"),
        (lambda: Plan(parents=65), "parents is 65, the population 64"),
        (lambda: Plan(mutations=-1), "mutations is -1"),
        (lambda: Plan(mutations=0, crossovers=0), "nothing new"),
        (lambda: Plan(parents=1), "need two parents"),
        (lambda: Plan(chance=0.0), "chance is 0.0"),
        (lambda: Generation(0, (), ()), "0 genomes"),
        (lambda: Generation(0, FIRST, (1.0,)), "3 genomes and 1 values"),
        (lambda: History(SPACE, SMALL, ()), "at least one"),
        (lambda: History(SPACE, SMALL, (Generation(1, FIRST, (1.0, 2.0, 3.0)),)), "from 0 on"),
    ],
)
def test_bad_options_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# ------------------------------------------------------------------------------------------------ operators


@given(STEPS, STARTS, st.floats(0.05, 1.0), st.integers(0, 2**31))
@settings(max_examples=30)
def test_a_mutation_stays_in_the_space(steps, start, chance, seed):
    SPACE.check(mutated(SPACE.genome(steps, start), SPACE, chance, seeded(seed)))


@given(STEPS, STEPS, st.integers(0, 2**31))
@settings(max_examples=30)
def test_a_crossover_stays_in_the_space_and_takes_every_divisor_from_a_parent(steps, others, seed):
    one, other = SPACE.genome(steps, 0), SPACE.genome(others, 4)
    child = crossed(one, other, SPACE, seeded(seed))
    SPACE.check(child)
    assert all(factor in pair for factor, *pair in zip(child.factors, one.factors, other.factors, strict=True))
    assert child.start in (one.start, other.start)


def test_every_divisor_moves_uniformly_between_its_neighbours():
    space, parent = Space(3, 2.0, step=0.1, starts=(0, 1)), Genome((1.2, 1.5, 1.7))
    drawn = [mutated(parent, space, 1.0, generator) for generator in [seeded()] for _ in range(1000)]
    first = torch.tensor([genome.factors[0] for genome in drawn])
    # The fastest lies between 1 and its old neighbour, 1.5: six values; four standard errors of a share of 1/6 are 0.047.
    for value in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5):
        assert abs(float((first - value).abs().lt(1e-6).float().mean()) - 1 / 6) < 0.047
    assert max(genome.factors[2] for genome in drawn) == 2.0
    assert abs(sum(genome.start for genome in drawn) / 1000 - 0.5) < 0.064


def test_a_divisor_is_redrawn_with_the_given_chance():
    space, parent = Space(4, 50.0), Genome((1.0, 11.0, 21.0, 31.0))
    drawn = [mutated(parent, space, 0.3, generator) for generator in [seeded()] for _ in range(1000)]
    for pair in range(4):
        moved = sum(genome.factors[pair] != parent.factors[pair] for genome in drawn) / 1000
        # A thousand grid points: hardly ever the old one. Four standard errors are 0.058.
        assert abs(moved - 0.3) < 0.06


# ------------------------------------------------------------------------------------------------ the evolution


@given(st.integers(0, 2**31))
@settings(max_examples=6)
def test_every_individual_is_monotone_unique_inside_the_space_and_measured_once(seed):
    fitness = Distance(wanted())
    history = quiet(fitness, SPACE, SMALL, FIRST, seeded(seed))
    assert len(fitness.asked) == len(set(fitness.asked)) == len(history.fitness) == SMALL.evaluations == 28
    for generation in history.generations:
        assert len(set(generation.genomes)) == len(generation.genomes) == 10
        for genome in generation.genomes:
            SPACE.check(genome)
            assert list(genome.factors) == sorted(genome.factors)
    assert history.generations[0].genomes[:3] == tuple(map(SPACE.nearest, FIRST))


@given(st.integers(0, 2**31))
@settings(max_examples=6)
def test_the_best_fitness_never_rises_and_parents_are_the_best_so_far(seed):
    history = quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded(seed))
    assert all(later <= earlier for earlier, later in pairwise(history.best_by_generation))
    known = {}
    for generation in history.generations:
        if known:
            assert list(generation.genomes[:4]) == sorted(known, key=known.__getitem__)[:4]
        known |= dict(zip(generation.genomes, generation.fitness, strict=True))
    assert history.best_fitness == min(known.values()) == known[history.best] == history.best_by_generation[-1]


def test_a_known_optimum_is_found():
    """‖λ - λ*‖² with a λ* that none of the first three is: 5.4 for the best of them, about 0.005 after forty generations."""
    fitness = Distance(wanted())
    history = quiet(fitness, SPACE, Plan(), FIRST, seeded())
    began = min(history.generations[0].fitness[:3])
    assert began > 5 and history.best_fitness < 0.05 and history.best.start == 2
    assert max(abs(a - b) for a, b in zip(history.best.factors, wanted(), strict=True)) < 0.15


def test_an_optimum_among_the_first_is_kept():
    history = quiet(Distance(SPACE.nearest(FIRST[2]).factors, start=0), SPACE, SMALL, FIRST, seeded())
    assert history.best == SPACE.nearest(FIRST[2]) and history.best_by_generation == (0.0,) * 4


def test_the_same_seed_gives_the_same_history_and_another_seed_another():
    one, again, other = (quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded(seed)) for seed in (3, 3, 4))
    assert one == again != other
    assert History.from_dict(json.loads(json.dumps(one.to_dict()))) == one


# ------------------------------------------------------------------------------------------------ interrupted


class Killed(Exception):
    pass


class KilledAfter(Distance):
    """Dies at the n-th individual."""

    def __init__(self, count):
        super().__init__(wanted())
        self.count = count

    def __call__(self, genomes):
        values = super().__call__(genomes)
        if len(self.asked) >= self.count:
            raise Killed
        return values


# In the first generation, at its end, in every later one, and in the last portion of all.
@pytest.mark.parametrize("count", [1, 10, 11, 16, 22, 28])
def test_a_search_that_was_killed_goes_on_to_the_same_history(count, tmp_path):
    whole = quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded())
    with pytest.raises(Killed):
        quiet(KilledAfter(count), SPACE, SMALL, FIRST, seeded(), folder=tmp_path)
    left = Distance(wanted())
    assert quiet(left, SPACE, SMALL, FIRST, seeded(), folder=tmp_path) == whole
    # Generations that were complete are not measured again.
    complete = 0 if count <= 10 else 10 + (count - 11) // 6 * 6
    assert len(left.asked) == 28 - complete


def test_a_search_that_is_over_is_read_back_without_measuring(tmp_path):
    whole = quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded(), folder=tmp_path)
    fitness = Distance(wanted())
    assert quiet(fitness, SPACE, SMALL, FIRST, seeded(), folder=tmp_path) == whole and not fitness.asked
    assert [place.name for place in tmp_path.iterdir()] == [keeping.FILE]


def test_a_search_of_something_else_is_not_gone_on_with(tmp_path):
    quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded(), folder=tmp_path)

    class Other(Distance):
        about = {"texts": "others"}

    for arguments, words in (
        ((Distance(wanted()), Space(8, 6.0), SMALL, FIRST, seeded()), "another space"),
        ((Distance(wanted()), SPACE, Plan(population=9, parents=4), FIRST, seeded()), "another plan"),
        ((Distance(wanted()), SPACE, SMALL, FIRST[:2], seeded()), "another first"),
        ((Distance(wanted()), SPACE, SMALL, FIRST, seeded(1)), "another seed"),
        ((Other(wanted()), SPACE, SMALL, FIRST, seeded()), "another fitness"),
    ):
        with pytest.raises(ValueError, match=words):
            quiet(*arguments, folder=tmp_path)
    (tmp_path / keeping.FILE).write_text("{}")
    with pytest.raises(ValueError, match="is not a search"):
        quiet(Distance(wanted()), SPACE, SMALL, FIRST, seeded(), folder=tmp_path)


# ------------------------------------------------------------------------------------------------ refusals, progress


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(first=()), "give at least one"),
        (dict(first=FIRST + FIRST[:1]), "4 genomes, 3 different"),
        (dict(first=(Genome((1.0,) * 7 + (9.0,)),)), "divisor 9 is outside"),
        (dict(plan=Plan(population=2, parents=2, generations=2)), "first holds 3 genomes for a population of 2"),
        (dict(space=Space(8, 5.0, step=4.0, starts=(0,))), "the space has 9 genomes"),
    ],
)
def test_a_search_that_cannot_be_begun_is_refused_before_anything_is_measured(change, words):
    fitness = Distance(wanted())
    options = dict(space=SPACE, plan=SMALL, first=FIRST) | change
    with pytest.raises(ValueError, match=words):
        quiet(fitness, options["space"], options["plan"], options["first"], seeded())
    assert not fitness.asked


@pytest.mark.parametrize(
    "values, words", [(lambda n: torch.full((n,), math.nan), "must be finite"), (lambda n: torch.zeros(n + 1), "one number for each")]
)
def test_a_fitness_that_is_none_stops_the_search(values, words, unchecked):
    with pytest.raises(ValueError, match=words):
        quiet(lambda genomes: values(len(genomes)), SPACE, SMALL, FIRST, seeded())


class Heard(search.Report):
    def __init__(self):
        self.said = []

    def begin(self, plan, known):
        self.said.append(("begin", plan.evaluations, known))

    def measured(self, count, best):
        self.said.append(("measured", count))

    def generation(self, generation):
        self.said.append(("generation", generation.index))

    def end(self):
        self.said.append(("end",))


def test_a_report_hears_of_every_individual_and_generation_also_when_the_search_goes_on(tmp_path):
    with pytest.raises(Killed):
        quiet(KilledAfter(17), SPACE, SMALL, FIRST, seeded(), folder=tmp_path)
    heard = Heard()
    search.search(Distance(wanted()), SPACE, SMALL, FIRST, seeded(), tmp_path, heard)
    assert heard.said[0] == ("begin", 28, 16) and heard.said[-1] == ("end",)
    assert sum(what[1] for what in heard.said if what[0] == "measured") == 12
    assert [what[1] for what in heard.said if what[0] == "generation"] == [2, 3]


def test_the_bar_is_silent_without_a_terminal_and_lines_tell_every_generation(capfd):
    search.search(Distance(wanted()), SPACE, SMALL, FIRST, seeded())
    assert capfd.readouterr() == ("", "")
    search.search(Distance(wanted()), SPACE, SMALL, FIRST, seeded(), report=search.Lines())
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[3].startswith("generation   4 of 4  best ")
