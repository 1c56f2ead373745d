"""Which index p each token is given, in training: samplers that let a short text meet the positions of a long one.

A sampler is a distribution over positions, its `factors` one over t; `clexlab.extend(model, path, positions=sampler)` draws
both anew at every training step, for all rows together or, with `PerRow(sampler)`, for each; `Diluted(sampler)` lets far keys count
as often as they would occur. SAMPLERS lists the samplers, FACTORS the
distributions of t.
"""

from clexlab.positions.base import Draw, Sampler
from clexlab.positions.contiguous import Contiguous
from clexlab.positions.diluted import Diluted
from clexlab.positions.factors import FACTORS, Factors, FixedFactor, LogUniformFactors, UniformFactors, WholeFactors
from clexlab.positions.per_row import PerRow
from clexlab.positions.scattered import Scattered
from clexlab.positions.skip_wise import SkipWise

SAMPLERS = (Contiguous, Scattered, SkipWise)

__all__ = [
    "FACTORS",
    "SAMPLERS",
    "Contiguous",
    "Diluted",
    "Draw",
    "Factors",
    "FixedFactor",
    "LogUniformFactors",
    "PerRow",
    "Sampler",
    "Scattered",
    "SkipWise",
    "UniformFactors",
    "WholeFactors",
]
