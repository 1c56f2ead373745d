"""What drawn rows show: the distances they hold, how many pairs at each, how many neighbours stay neighbours, who is a far key.

Any sampler with whole positions can be counted so. Where a sampler has formulas, `known_coverage` and `known_pairs` give their values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clexlab.positions.base import Draw, Sampler, check_window
from clexlab.positions.factors import FixedFactor


@dataclass(frozen=True)
class Seen:
    """Counted in `draws` rows of one length; entry δ = 0 … slots-1 of the two vectors is the distance δ.

    `coverage` is C(δ), the share of rows with a pair δ apart, `pairs` the mean number of such pairs, `neighbours` the share of
    tokens that stand one behind the token before them, `far_keys` the mean number of tokens that a later one sees from further
    than a window away. A share c is off by sqrt(c(1-c)/draws), one standard error.
    """

    coverage: Float[Tensor, "slots"]
    pairs: Float[Tensor, "slots"]
    neighbours: float
    far_keys: float
    draws: int


def seen(draws: Sequence[Draw], window: int, slots: int) -> Seen:
    """Count `draws`, whose positions are whole and less than `slots` apart. ValueError for others, and for rows of several lengths."""
    check_window(window)
    positions = _table(draws)
    rows, length = positions.shape
    late, early = np.tril_indices(length, -1)
    apart = positions[:, late] - positions[:, early]
    if apart.size and apart.max() >= slots:
        raise ValueError(f"two positions are {apart.max()} apart and slots is {slots}; give the number of positions there are, ⌊t·window⌋")
    # Every row has its own stretch of `slots` counters.
    counts = np.bincount((apart + slots * np.arange(rows)[:, None]).ravel(), minlength=rows * slots).reshape(rows, slots)
    counts[:, 0] += length
    steps = np.diff(positions)
    far = positions[:, -1:] - positions > window
    return Seen(
        coverage=torch.from_numpy((counts > 0).mean(0)),
        pairs=torch.from_numpy(counts.mean(0)),
        neighbours=float((steps == 1).mean()) if steps.size else 1.0,
        far_keys=float(far.sum(1).mean()),
        draws=rows,
    )


def known_coverage(sampler: Sampler, length: int, factor: float) -> Float[Tensor, "slots"] | None:
    """C(δ) by the sampler's formula, None where it has none, or none for its options; t must be fixed, or it says nothing of them all."""
    return _known(sampler, "coverage", length, factor)


def known_pairs(sampler: Sampler, length: int, factor: float) -> Float[Tensor, "slots"] | None:
    """The expected number of pairs δ apart by the sampler's formula, None as in `known_coverage`; entry 0 are the tokens themselves."""
    return _known(sampler, "pairs", length, factor)


def _known(sampler: Sampler, name: str, length: int, factor: float) -> Float[Tensor, "slots"] | None:
    formula, factors = getattr(sampler, name, None), getattr(sampler, "factors", None)
    if formula is None or not isinstance(factors, FixedFactor):
        return None
    if factor != factors.factor:
        raise ValueError(f"factor is {factor:g} and the sampler draws at {factors.factor:g}; ask for that one")
    sampler.draw(length, torch.Generator())
    try:
        return formula(length, factor)
    except ValueError:
        # What can be drawn and not written down, as four skip-wise chunks.
        return None


def _table(draws: Sequence[Draw]) -> np.ndarray:
    """All positions as whole numbers (draws, length)."""
    lengths = {len(draw.positions) for draw in draws}
    if len(lengths) != 1:
        raise ValueError(f"{len(draws)} draws of lengths {sorted(lengths)}; give at least one, all of one length")
    positions = torch.stack([draw.positions for draw in draws]).double().cpu()
    if not torch.equal(positions, positions.round()):
        raise ValueError("these positions are no whole numbers, so distances never repeat; count rows of at most one window")
    return positions.long().numpy()
