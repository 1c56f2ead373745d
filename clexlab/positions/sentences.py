"""LongRecipe's index transformation: sentences stay whole, with random gaps between them (arXiv 2409.00509)."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
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
        self._check_length(length)
        factor, device = self.factors.draw(generator), generator.device
        count, sizes = len(self.sentences), torch.tensor(self.sentences, device=device)
        free = self.window + room_for(self.window, factor) - length + count
        slots = torch.randperm(free, generator=generator, device=device)[:count].sort().values
        slots[0] = 0
        gaps = (slots - torch.arange(count, device=device)).repeat_interleave(sizes)
        kept = torch.randint(1, (length + 1) // 2 + 1, (), generator=generator, device=device)
        places = torch.arange(length, device=device)
        return Draw((places + gaps * (places >= kept)).float(), factor)

    def pairs(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """The expected number of pairs δ apart at one t, entry δ = 0 … M-1. There is no formula for C(δ): see below.

        Tokens a < b of sentences i < j are b - a apart, and the gap more that came between them, if r lets them:
            both before r, with chance (H-b)⁺/H, H = ⌊(length+1)/2⌋:    no gap
            both behind, min(a, H)/H:                                   q_j - q_i - (j-i), or q_j - j behind the first sentence
            one on either side:                                         q_j - j
        with q_j = x in C(x, j) C(Y-1-x, N-1-j) of the C(Y, N) choices, j counted from 0, and q_j - q_i = e in C(e-1, j-i-1)
        C(Y-e, N-j+i) of them. C would take the chance that *none* of a distance's pairs occurs, and the gaps of all N sentences have a
        part in it: `sampled_coverage` counts it.
        """
        self._check_length(length)
        slots, count = self.window + room_for(self.window, factor), len(self.sentences)
        free, half, places = slots - length + count, (length + 1) // 2, torch.arange(length)
        owner = torch.arange(count).repeat_interleave(torch.tensor(self.sentences))
        found = torch.zeros(slots, dtype=torch.float64)
        found[0] = length
        for i, j in itertools.combinations_with_replacement(range(count), 2):
            a, b = (part.flatten() for part in torch.meshgrid(places[owner == i], places[owner == j], indexing="ij"))
            a, b = a[a < b], b[a < b]
            before, behind = (half - b).clamp(min=0).double() / half, a.clamp(max=half).double() / half
            near = torch.zeros(slots, dtype=torch.float64)
            parts = [(_between(free, count, i, j), behind), (_in_front(free, count, j), 1 - before - behind)]
            found += near.index_add(0, b - a, before)
            for gaps, chance in parts:
                near = torch.zeros(length, dtype=torch.float64).index_add(0, b - a, chance)
                spread = torch.from_numpy(np.convolve(near.numpy(), gaps))
                found[: len(spread)] += spread
        return found

    def _check_length(self, length: int) -> None:
        check_one_window(length, self.window)
        if length != sum(self.sentences):
            raise ValueError(f"length is {length} and the sentences have {sum(self.sentences)} tokens; these positions are for one text")


def _in_front(free: int, count: int, j: int) -> np.ndarray:
    """The chance of every gap in front of sentence j = 0, 1 …, in all: q_j - j of `count` slots out of `free`, q_0 := 0."""
    if j == 0:
        return np.ones(1)
    ways = [math.comb(j + gap, j) * math.comb(free - 1 - j - gap, count - 1 - j) for gap in range(free - count + 1)]
    return np.array([way / math.comb(free, count) for way in ways])


def _between(free: int, count: int, i: int, j: int) -> np.ndarray:
    """The chance of every gap between the beginnings of sentences i ≤ j."""
    if i == 0 or i == j:
        return _in_front(free, count, j if i == 0 else 0)
    apart = j - i
    ways = [math.comb(apart + gap - 1, apart - 1) * math.comb(free - apart - gap, count - apart) for gap in range(free - count + 1)]
    return np.array([way / math.comb(free, count) for way in ways])


def sentence_lengths(tokens: Int[Tensor, "length"], ends: Iterable[int]) -> tuple[int, ...]:
    """How many tokens each sentence has: one ends with every token of `ends` (`in_sentences.sentence_ends`), the last with the text."""
    last = torch.isin(tokens, torch.tensor(sorted(ends), dtype=tokens.dtype, device=tokens.device))
    last[-1] = True
    places = last.nonzero()[:, 0].tolist()
    return tuple(here - before for before, here in zip([-1, *places], places, strict=False))
