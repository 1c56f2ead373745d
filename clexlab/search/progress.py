"""How a search shows where it is: a bar on a terminal or in a notebook, lines in a file."""

from tqdm.auto import tqdm

from clexlab.search.history import Generation, Plan


class Report:
    """What a search tells; the verbs do nothing here, and what shows something overrides them."""

    def begin(self, plan: Plan, known: int) -> None:
        """The search begins, or goes on with `known` individuals that were measured before."""

    def measured(self, count: int, best: float) -> None:
        """So many more were measured; `best` is the lowest fitness so far."""

    def generation(self, generation: Generation) -> None:
        """A generation is complete, and kept if the search has a folder."""

    def end(self) -> None:
        """The search is over, or was stopped."""


class Bar(Report):
    """One line that fills, with the time left and the best so far; silent where there is neither a terminal nor a notebook."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def begin(self, plan: Plan, known: int) -> None:
        self.bar = tqdm(total=plan.evaluations, initial=known, unit="genome", dynamic_ncols=True, disable=None)

    def measured(self, count: int, best: float) -> None:
        self.bar.set_postfix_str(f"best {best:.4f}", refresh=False)
        self.bar.update(count)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Lines(Report):
    """A line for every generation, for what runs in the background."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def begin(self, plan: Plan, known: int) -> None:
        self.plan = plan

    def generation(self, generation: Generation) -> None:
        done = f"generation {generation.index + 1:>3} of {self.plan.generations}"
        print(f"{done}  best {min(generation.fitness):.4f}  worst {max(generation.fitness):.4f}", flush=True)
