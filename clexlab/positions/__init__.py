"""Which index p each token is given: in training, samplers that let a short text meet the positions of a long one; in inference, `maps`.

A sampler is a distribution over positions, its `factors` one over t; `clexlab.extend(model, path, positions=sampler)` draws
both anew at every training step, for all rows together or, with `PerRow(sampler)`, for each; `Diluted(sampler)` lets far keys count
as often as they would occur. SAMPLERS lists the samplers, FACTORS the distributions of t. SEGMENTS are samplers for tokens *taken*
at the positions, out of a long text: `clexlab.taken.TakenAt` trains with them. `Sentences` is for one text:
`clexlab.in_sentences.InSentences` makes it for every row. Which distances a sampler shows: its `coverage`, or `sampled_coverage` of
any; how many pairs of tokens have them: its `pairs`. MAPS lists the maps of relative positions that need no training.
"""

from clexlab.positions import maps
from clexlab.positions.base import Draw, Sampler
from clexlab.positions.chunk_segments import ChunkSegments
from clexlab.positions.contiguous import Contiguous
from clexlab.positions.coverage import sampled_coverage
from clexlab.positions.cuts import Anywhere, Cut, FirstHalf
from clexlab.positions.diluted import Diluted
from clexlab.positions.e2_llm import E2LLM
from clexlab.positions.factors import FACTORS, Factors, FixedFactor, LogUniformFactors, UniformFactors, WholeFactors
from clexlab.positions.maps import (
    GALI,
    MAPS,
    STRING,
    DualChunk,
    LeakyReRoPE,
    LMInfinite,
    Map,
    ReRoPE,
    SelfExtend,
    Sinks,
)
from clexlab.positions.per_row import PerRow
from clexlab.positions.prefix_segments import PrefixSegments
from clexlab.positions.random_pos import RandomPos
from clexlab.positions.scattered import Scattered
from clexlab.positions.sentences import Sentences, sentence_lengths
from clexlab.positions.skip_wise import SkipWise

SAMPLERS = (Contiguous, Scattered, SkipWise, RandomPos, E2LLM)
SEGMENTS = (ChunkSegments, PrefixSegments)

__all__ = [
    "FACTORS",
    "GALI",
    "MAPS",
    "SAMPLERS",
    "SEGMENTS",
    "STRING",
    "Anywhere",
    "ChunkSegments",
    "Contiguous",
    "Cut",
    "Diluted",
    "Draw",
    "DualChunk",
    "E2LLM",
    "Factors",
    "FirstHalf",
    "FixedFactor",
    "LMInfinite",
    "LeakyReRoPE",
    "LogUniformFactors",
    "Map",
    "PerRow",
    "PrefixSegments",
    "RandomPos",
    "ReRoPE",
    "Sampler",
    "Scattered",
    "SelfExtend",
    "Sentences",
    "Sinks",
    "SkipWise",
    "UniformFactors",
    "WholeFactors",
    "maps",
    "sampled_coverage",
    "sentence_lengths",
]
