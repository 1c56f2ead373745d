"""Far keys that count as often as they would occur: a short row then spreads its attention as the long text it stands for would.

    counts   a run of n tokens, followed by a jump over g positions, stands for n + g tokens: each of its tokens counts 1 + g/n times
    logits   q·k + ln count(k) for keys of other runs, q·k for keys of the query's own run

so that softmax gives a far key the share that count(k) keys like it would have together. Positions drawn for a short row put its keys
at the distances of a long text, but there are as few of them as before. That is what a path or a model trained on them never
meets: 16 times the window brings 16 times the keys, most of them of no use, and each takes a little of the attention.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.positions.base import Draw, Sampler, check_sampler, draws_for


@dataclass(frozen=True)
class Diluted:
    """The draws of `sampler`, with the count of every token: Diluted(SkipWise(window=256, factors=…)). Ours, of no paper.

    Counts of whole positions add up to last - first + 1: every place between them is counted once, what lies before the first position
    never (SkipWise, Scattered, E2LLM and Sentences begin at 0; RandomPos and segments do not). A text without jumps is left alone.
    The mask holds length² numbers a draw, and attention with a mask is slower than without.
    What it cannot know: the left-out text is taken to be like the run before it, so a key worth finding is as much more of a target
    as useless ones are more in the way. Training goes through the model's attention mask: see `bias`.
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
        """The draw of `sampler`, counted."""
        return counted(self.sampler.draw(length, generator))

    def draw_rows(self, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
        """The draws of `sampler` for a batch: one, or one a row, as it has them."""
        return [counted(draw) for draw in draws_for(self.sampler, rows, length, generator)]


def counted(draw: Draw) -> Draw:
    """The draw with the number of tokens of the long text that each of its tokens stands for."""
    run, steps = runs(draw.positions), draw.positions.diff()
    tokens = torch.bincount(run).float()
    left_out = torch.zeros_like(tokens).index_add(0, run[:-1], (steps - 1).clamp(min=0).float())
    return replace(draw, counts=(1 + left_out / tokens)[run])


def runs(positions: Float[Tensor, "length"]) -> Tensor:
    """The number of the contiguous run that each token belongs to: a new one begins after every step of more than 1."""
    return torch.cat([torch.zeros(1, dtype=torch.long, device=positions.device), (positions.diff() > 1).long().cumsum(0)])


def bias(draw: Draw, dtype: torch.dtype = torch.float32) -> Float[Tensor, "length length"]:
    """What is added to the logits of query i and key j: ln count_j between runs, 0 within one, the lowest number for j > i."""
    run = runs(draw.positions)
    counts = torch.ones_like(draw.positions) if draw.counts is None else draw.counts
    added = counts.log().expand(len(run), -1).masked_fill(run[:, None] == run, 0.0).to(dtype)
    return added.masked_fill(torch.ones_like(added, dtype=torch.bool).triu(1), torch.finfo(dtype).min)
