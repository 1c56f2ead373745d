"""PoSE's skip-wise positions: a short text in a few contiguous runs, with random jumps between them (arXiv 2309.10400)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_one_window
from clexlab.positions.coverage import room_for, three_runs, two_runs
from clexlab.positions.cuts import Anywhere, Cut
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class SkipWise:
    """Contiguous runs with jumps between them: neighbours stay neighbours, and every distance within t windows occurs.

        t ~ factors,  room = ⌊t·window⌋ - window
        run i begins at token s_i:  s_0 = 0,  s_1 < s_2 < … ~ cut, by default any choice of 1 … length-1, all equally likely
        and is moved by u_i:        u_0 = 0,  u_i ~ {u_(i-1), … room}, all equally likely
        p_k = k + u_i  for the tokens k of run i

    p_0 = 0, p_last ≤ t·window - 1, at most chunks - 1 jumps (each may be 0), t = 1 is 0, 1, 2 …; with two chunks every distance
    δ from window to room + 1 is met equally often (PoSE's coverage). A text of fewer tokens than chunks is cut at every token.
    Source: the paper's equations for `Pos(c_i)`, with `factors=FixedFactor(target/window)`. Its released code (dwzhu-pku/PoSE,
    train_pose.py at 43b43b3) has two chunks, the first never longer than half a text: `cut=FirstHalf()`. It moves a text shorter than
    the window by up to target - length, here by up to target - window as in the paper, which has no such texts; and it keeps one draw
    per text for all epochs, where here every step draws anew, and t with it. Both jump in the *content* too (v_i, in the code from a
    document of up to five windows); that is no matter of positions: the text stays whole here.
    """

    name: ClassVar[str] = "skip_wise"
    title: ClassVar[str] = "skip-wise (PoSE)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.10400"
    window: int
    factors: Factors
    chunks: int = 2
    cut: Cut = Anywhere()

    def __post_init__(self) -> None:
        for name, value, unit in (("window", self.window, "tokens"), ("chunks", self.chunks, "runs")):
            if not frequencies.is_whole(value) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of {unit}, at least 1")
        check_factors(self.factors)
        if not isinstance(self.cut, Cut):
            raise ValueError(f"cut is {self.cut!r}; pass Anywhere() for the paper's, FirstHalf() for the released code's")
        if self.chunks > self.cut.most:
            raise ValueError(f"chunks is {self.chunks} and {self.cut!r} makes at most {self.cut.most}; use Anywhere() for more")

    def __repr__(self) -> str:
        # Records know a training by this text, and the cut came later: where it is the default it goes without saying.
        cut = "" if self.cut == Anywhere() else f", cut={self.cut!r}"
        return f"SkipWise(window={self.window!r}, factors={self.factors!r}, chunks={self.chunks!r}{cut})"

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1 or beyond the window, which t = 1 has no room for."""
        check_one_window(length, self.window)
        factor = self.factors.draw(generator)
        room = room_for(self.window, factor)
        starts = self.cut.draw(length, min(self.chunks, length), generator)
        jumps = torch.zeros(length, dtype=torch.long, device=generator.device)
        moved = 0
        for start in starts.tolist():
            further = int(torch.randint(room - moved + 1, (), generator=generator, device=generator.device))
            jumps[start], moved = further, moved + further
        return Draw((torch.arange(length, device=generator.device) + jumps.cumsum(0)).float(), factor)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one t, entry δ = 0 … length+room-1: see `coverage.two_runs` and `three_runs`, which is for a few dozen tokens.

        With two chunks and length = window it is level at (window-1)/(room+1) from window to room+1, and (t·window-δ)/(room+1) beyond.
        ValueError for four chunks or more: every jump begins where the one before ended, so all of them would have to be gone through.
        """
        check_one_window(length, self.window)
        room, runs = room_for(self.window, factor), min(self.chunks, length)
        if runs > 3:
            raise ValueError(f"chunks is {self.chunks}; there are formulas for up to 3, count draws with positions.sampled_coverage")
        if runs == 3:
            return three_runs(length, room)
        # One run is two of which the first has every token.
        whole = torch.nn.functional.one_hot(torch.tensor(length), length + 1).double()
        return two_runs(self.cut.firsts(length) if runs == 2 else whole, room)
