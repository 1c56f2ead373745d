"""E2-LLM's augmentation: a random scale, and all but the first tokens moved by one random offset (arXiv 2401.06951)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab import frequencies
from clexlab.positions.base import Draw, check_one_window, check_window
from clexlab.positions.coverage import room_for, two_runs, two_runs_pairs
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class E2LLM:
    """Contiguous positions whose tokens from number `fixed` on are moved by τ; the scale g is the draw's factor.

        g ~ factors,  τ ~ {0 … ⌊g·window⌋ - window}, all equally likely
        p_k = k for k < fixed,  p_k = k + τ for the others

    On `scaling.Linear`, whose θ(g) = θ/g, the angles are the paper's f(x, (k + τ)/g); with `factors=WholeFactors(G)` its g too. Rotary
    attention sees differences only, so τ does nothing between two moved tokens: distances beyond the text occur toward the
    first `fixed` tokens alone, see `pairs`, and with `fixed=0` nothing at all changes. It is `SkipWise` in two runs, always cut there.
    Source: the method as third parties describe it; the paper's section could not be read here and there is no official code. So
    unverified: the ends of τ's range, and whether rows of a batch share g and τ (here they do, as with every sampler; `PerRow`).
    """

    name: ClassVar[str] = "e2_llm"
    title: ClassVar[str] = "offset (E2-LLM)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2401.06951"
    window: int
    factors: Factors
    fixed: int = 4

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)
        if not frequencies.is_whole(self.fixed) or self.fixed < 0:
            raise ValueError(f"fixed is {self.fixed!r}; it must be a whole number of tokens, at least 0")

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and g; ValueError for a length below 1 or beyond the window, which g = 1 has no room for."""
        check_one_window(length, self.window)
        factor = self.factors.draw(generator)
        moved = torch.randint(room_for(self.window, factor) + 1, (), generator=generator, device=generator.device)
        places = torch.arange(length, device=generator.device)
        return Draw((places + moved * (places >= self.fixed)).float(), factor)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one g, entry δ = 0 … length+⌊g·window⌋-window-1, δ before the division by g. See `coverage.two_runs`."""
        return two_runs(self._firsts(length), room_for(self.window, factor))

    def pairs(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """The expected number of pairs δ apart, entries as in `coverage`: beyond the text it is at most `fixed`."""
        return two_runs_pairs(self._firsts(length), room_for(self.window, factor))

    def _firsts(self, length: int) -> Float[Tensor, "firsts"]:
        check_one_window(length, self.window)
        return torch.nn.functional.one_hot(torch.tensor(min(self.fixed, length)), length + 1).double()
