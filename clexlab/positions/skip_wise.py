"""PoSE's skip-wise positions: a short text in a few contiguous runs, with random jumps between them (arXiv 2309.10400)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_length
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class SkipWise:
    """Contiguous runs with jumps between them: neighbours stay neighbours, and every distance within t windows occurs.

        t ~ factors,  room = ⌊t·window⌋ - window
        run i begins at token s_i:  s_0 = 0,  s_1 < s_2 < … any choice of 1 … length-1, all equally likely
        and is moved by u_i:        u_0 = 0,  u_i ~ {u_(i-1), … room}, all equally likely
        p_k = k + u_i  for the tokens k of run i

    p_0 = 0, p_last ≤ t·window - 1, at most chunks - 1 jumps (each may be 0), t = 1 is 0, 1, 2 …; with two chunks every distance
    δ from window to room + 1 is met equally often (PoSE's coverage). A text of fewer tokens than chunks is cut at every token.
    Source: the paper's equations for `Pos(c_i)`, with `factors=FixedFactor(target/window)`. Its released code (dwzhu-pku/PoSE,
    train_pose.py) has two chunks, the first never longer than half a window, and keeps one draw per text for all epochs; here every
    step draws anew, and t with it. The paper's jumps in the *content* (v_i) are no matter of positions: the text stays whole here.
    """

    name: ClassVar[str] = "skip_wise"
    title: ClassVar[str] = "skip-wise (PoSE)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.10400"
    window: int
    factors: Factors
    chunks: int = 2

    def __post_init__(self) -> None:
        for name, value, unit in (("window", self.window, "tokens"), ("chunks", self.chunks, "runs")):
            if not frequencies.is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of {unit}, at least 1")
        check_factors(self.factors)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1 or beyond the window, which t = 1 has no room for."""
        check_length(length)
        if length > self.window:
            raise ValueError(
                f"length is {length} and the window {self.window}: skip-wise positions keep neighbours one apart, so a longer text"
                " does not fit in one window; train on rows of at most the window, or use Contiguous for full-length training"
            )
        factor = self.factors.draw(generator)
        room = math.floor(self.window * factor) - self.window
        starts = cut(length, min(self.chunks, length), generator)
        jumps = torch.zeros(length, dtype=torch.long, device=generator.device)
        moved = 0
        for start in starts.tolist():
            further = int(torch.randint(room - moved + 1, (), generator=generator, device=generator.device))
            jumps[start], moved = further, moved + further
        return Draw((torch.arange(length, device=generator.device) + jumps.cumsum(0)).float(), factor)


def cut(length: int, chunks: int, generator: torch.Generator) -> Int[Tensor, "jumps"]:
    """The tokens at which the second and later of `chunks` runs begin, rising; every choice equally likely."""
    return 1 + torch.randperm(length - 1, generator=generator, device=generator.device)[: chunks - 1].sort().values
