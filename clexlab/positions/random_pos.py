"""RandomPos: the positions of a short text are any of a long one's, sorted (randomized positional encodings, arXiv 2305.16843)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.positions.base import Draw, check_one_window, check_window
from clexlab.positions.coverage import apart, residues, room_for
from clexlab.positions.factors import Factors, check_factors


@dataclass(frozen=True, kw_only=True)
class RandomPos:
    """A sorted sample without replacement: every choice of `length` positions out of those of t windows is equally likely.

        t ~ factors,  M = ⌊t·window⌋,  p = sorted sample of length from {0 … M-1}
        E p_k = (k+1)(M+1)/(length+1) - 1,  mean gap (M+1)/(length+1)

    The first position is not 0, and hardly two neighbours stay neighbours. `Scattered` is this with both ends fixed.
    Source: google-deepmind/randomized_positional_encodings at 57bc5d0 (`noisy_fixed_positional_encodings`), with
    `factors=FixedFactor(M/window)`; the same draw is the RandPos baseline of PoSE's train_pose.py. Differs: DeepMind's code draws a new
    subset in every attention layer, for all rows at once, and also when the model is tested; here a step has one for all layers,
    and a model in eval mode gets ordinary positions. Drawn anew for every step, not once before training as in PoSE's code.
    """

    name: ClassVar[str] = "random_pos"
    title: ClassVar[str] = "random (RandomPos)"
    paper: ClassVar[str] = "https://arxiv.org/abs/2305.16843"
    window: int
    factors: Factors

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        """`length` positions and a factor; ValueError for a length below 1 or beyond the window, which t = 1 has no positions for."""
        check_one_window(length, self.window)
        factor = self.factors.draw(generator)
        slots = math.floor(self.window * factor)
        chosen = torch.randperm(slots, generator=generator, device=generator.device)[:length].sort().values
        return Draw(chosen.float(), factor)

    def coverage(self, length: int, factor: float) -> Float[Tensor, "slots"]:
        """C(δ) at one t, entry δ = 0 … M-1: 1 minus the share of choices without two positions δ apart. See `coverage.apart`."""
        check_one_window(length, self.window)
        slots = self.window + room_for(self.window, factor)
        met = [1 - apart(residues(slots, distance), 0, length) for distance in range(1, slots)]
        return torch.tensor([1.0, *met], dtype=torch.float64)
