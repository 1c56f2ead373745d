"""A draw of its own for every row of a batch: a step then sees many factors instead of one, and its gradient is less noisy."""

from dataclasses import dataclass

import torch

from clexlab.positions.base import Draw, Sampler, check_sampler


@dataclass(frozen=True)
class PerRow:
    """Every row has its own t and positions, drawn one after the other by `sampler`: PerRow(SkipWise(window=256, factors=…)).

    CLEX's code and the samplers alone share one draw among the rows of a step. The distribution of a row is the sampler's own, so
    the expected gradient is the same; only its noise is less. Of several processes `clexlab.training` gives each the draws of its rows.
    """

    sampler: Sampler

    def __post_init__(self) -> None:
        check_sampler(self.sampler)

    # What `extend` compares with the path; a sampler of the user's own may have neither.
    @property
    def window(self) -> object:
        return self.sampler.window

    @property
    def factors(self) -> object:
        return self.sampler.factors

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """The draw of one row."""
        return self.sampler.draw(length, generator)

    def draw_rows(self, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
        """One draw for each of `rows` rows, in their order."""
        return [self.sampler.draw(length, generator) for _ in range(rows)]
