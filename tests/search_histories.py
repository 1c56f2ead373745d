"""A made-up search over four pairs, small enough to work out by hand what an explorer has to show of it."""

from clexlab.search import Generation, Genome, History, Plan, Space

PI, NTK, YARN = Genome((4.0, 4.0, 4.0, 4.0)), Genome((1.0, 1.5, 2.5, 4.0)), Genome((1.0, 1.0, 2.0, 4.0))
CHILD, BEST = Genome((1.0, 1.25, 2.0, 4.0)), Genome((1.0, 1.25, 2.5, 4.5), start=8)
FITNESS = {PI: 4.0, NTK: 3.5, YARN: 3.0, CHILD: 2.9, BEST: 2.8}
HELD_OUT = {PI: 4.2, NTK: 3.6, YARN: 3.1, CHILD: 3.02, BEST: 3.05}


def history(fitness=FITNESS):
    """Three generations: what it was given, a child that is better, a child with start tokens that is better still."""

    def generation(index, *genomes):
        return Generation(index, genomes, tuple(fitness[genome] for genome in genomes))

    return History(
        Space(pairs=4, limit=5.0, starts=(0, 8)),
        Plan(population=3, generations=3, parents=2, mutations=1, crossovers=0),
        (generation(0, PI, NTK, YARN), generation(1, YARN, NTK, CHILD), generation(2, CHILD, YARN, BEST)),
    )
