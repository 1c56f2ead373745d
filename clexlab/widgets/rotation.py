"""RotationExplorer: a query and a key as arrows in one pair's plane, turned by their positions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from clexlab.widgets.page_widget import Choice, Number, PageWidget, Whole, page_code

PAIRINGS = ("HalfSplit", "Interleaved")


class Vector(traitlets.TraitType):
    """An even number of finite coordinates: a list, an array or a tensor of one axis; ValueError for anything else."""

    def validate(self, obj: traitlets.HasTraits, value: object) -> list[float]:
        try:
            numbers = [float(number) for number in value]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name} is {value!r}; pass one vector of numbers, the rotary part of a head") from error
        if len(numbers) < 4 or len(numbers) % 2 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self.name} has {len(numbers)} coordinates; pass an even number, at least 4, all of them finite")
        return numbers


def _sample(head_dim: int, seed: int) -> list[float]:
    return torch.randn(head_dim, generator=torch.Generator().manual_seed(seed)).tolist()


class RotationExplorer(PageWidget):
    """Turn a query at token m and a key at token n in the plane of pair j, shift both, and watch the score stay.

    `q` and `k` are any two vectors of one even length, for example of a trained model; by default two random ones of 16
    coordinates. `pairing` is "HalfSplit" or "Interleaved" (the classes of `clexlab.rope`): the other one reads the same
    coordinates as different pairs. Traits: `query_position` and `key_position` 0 … 64, `shift` 0 … 512, `pair`, `base`.
    Everything is drawn by the page; a value outside its range is a ValueError.
    """

    _esm = page_code("rotation")

    q = Vector().tag(sync=True)
    k = Vector().tag(sync=True)
    base = Number(10_000.0, 1.01, 1e10, "(10_000 for Llama-2)").tag(sync=True)
    pair = Whole(1, 0, 4096, "(a pair's index)").tag(sync=True)
    pairing = Choice("HalfSplit", PAIRINGS).tag(sync=True)
    query_position = Whole(12, 0, 64, "tokens").tag(sync=True)
    key_position = Whole(8, 0, 64, "tokens").tag(sync=True)
    shift = Whole(0, 0, 512, "tokens").tag(sync=True)

    def __init__(
        self, q: Sequence[float] | Tensor | None = None, k: Sequence[float] | Tensor | None = None, base: float = 10_000.0
    ) -> None:
        q = _sample(16, seed=0) if q is None else q
        k = _sample(len(q), seed=1) if k is None else k
        if len(q) != len(k):
            raise ValueError(f"q has {len(q)} coordinates and k {len(k)}; both must be of one head")
        super().__init__(q=q, k=k, base=base)

    @traitlets.validate("q", "k")
    def _check_length(self, proposal: dict[str, Any]) -> list[float]:
        other = self.k if proposal["trait"].name == "q" else self.q
        if other and len(other) != len(proposal["value"]):
            raise ValueError(
                f"{proposal['trait'].name} has {len(proposal['value'])} coordinates, the other vector {len(other)};"
                " make a new RotationExplorer(q, k) for a head of another size"
            )
        return proposal["value"]

    @traitlets.validate("pair")
    def _check_pair(self, proposal: dict[str, Any]) -> int:
        if self.q and proposal["value"] >= len(self.q) // 2:
            raise ValueError(f"pair is {proposal['value']}; {len(self.q)} coordinates form pairs 0 to {len(self.q) // 2 - 1}")
        return proposal["value"]
