"""LongRecipe's index transformation: sentences stay whole, with random gaps between them (arXiv 2409.00509)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_one_window, check_window
from clexlab.positions.coverage import room_for
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Positions of one text whose `sentences` have these numbers of tokens: see `sentence_lengths`.

        t ~ factors,  M = ⌊t·window⌋,  N sentences,  q_1 < … < q_N: any N of M - length + N slots, q_1 := 0
        sentence i begins at q_i + (tokens before it) - (i - 1);   r ~ {1 … ⌊(length+1)/2⌋};   p_k = k for k < r

    The last position is at most M - 1; the skipped ones, those after the last sentence too, are M - length. Token r may jump inside
    its sentence; all others stand one behind their neighbour unless a sentence begins. As the first of N drawn slots is replaced
    by 0, the first gap is longer than the others on average.
    Source: zhiyuanhubj/LongRecipe, preprocess_token_PI/FSProcessor.py at 500f7c9 with one sentence per chunk, and `setting_choice`
    "LongRecipe" of utils/preprocess_data.py at 4eab696. The paper's equation has one more skipped index between all sentences,
    against its own words. Differs: the code draws once per document before training. Which sentences are kept is another matter.
    """

    name: ClassVar[str] = "sentences"
    title: ClassVar[str] = "gaps between sentences (LongRecipe)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2409.00509"
    window: int
    factors: Factors
    sentences: tuple[int, ...]

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)
        if not self.sentences or not all(frequencies.is_whole(size) and size >= 1 for size in self.sentences):
            raise ValueError(f"sentences are {self.sentences!r}; give the number of tokens of each, at least 1, as sentence_lengths does")

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length beyond the window or other than the sentences' tokens."""
        check_one_window(length, self.window)
        if length != sum(self.sentences):
            raise ValueError(f"length is {length} and the sentences have {sum(self.sentences)} tokens; these positions are for one text")
        factor, device = self.factors.draw(generator), generator.device
        count, sizes = len(self.sentences), torch.tensor(self.sentences, device=device)
        free = self.window + room_for(self.window, factor) - length + count
        slots = torch.randperm(free, generator=generator, device=device)[:count].sort().values
        slots[0] = 0
        gaps = (slots - torch.arange(count, device=device)).repeat_interleave(sizes)
        kept = torch.randint(1, (length + 1) // 2 + 1, (), generator=generator, device=device)
        places = torch.arange(length, device=device)
        return Draw((places + gaps * (places >= kept)).float(), factor)


def sentence_lengths(tokens: Int[Tensor, "length"], ends: Iterable[int]) -> tuple[int, ...]:
    """How many tokens each sentence has: one ends with every token of `ends` (Llama-3: 13, 198, 30, 0, 627), the last with the text."""
    last = torch.isin(tokens, torch.tensor(sorted(ends), dtype=tokens.dtype, device=tokens.device))
    last[-1] = True
    places = last.nonzero()[:, 0].tolist()
    return tuple(here - before for before, here in zip([-1, *places], places, strict=False))
