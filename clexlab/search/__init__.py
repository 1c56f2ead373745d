"""Search for the divisors of LongRoPE: an evolution of monotone vectors, on the loss of long texts.

`starts_from` gives what it begins with, `search` does it and returns a `History`; `TextLoss` is the fitness of a model. `scoring`
says what the result is worth on documents the search never saw, `extend_progressively` and `readjust` go far and come back.
"""

from clexlab.search.evolution import Fitness, search
from clexlab.search.fitness import TextLoss
from clexlab.search.genome import STARTS, Genome, Space, starts_from
from clexlab.search.history import Generation, History, Plan
from clexlab.search.operators import crossed, mutated
from clexlab.search.progress import Bar, Lines, Report
from clexlab.search.progressive import Readjusted, Stage, Tuned, extend_progressively, readjust

__all__ = [
    "STARTS",
    "Bar",
    "Fitness",
    "Generation",
    "Genome",
    "History",
    "Lines",
    "Plan",
    "Readjusted",
    "Report",
    "Space",
    "Stage",
    "TextLoss",
    "Tuned",
    "crossed",
    "extend_progressively",
    "mutated",
    "readjust",
    "search",
    "starts_from",
]
