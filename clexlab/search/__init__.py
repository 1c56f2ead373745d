"""Search for the divisors of LongRoPE: an evolution of monotone vectors, on the loss of long texts.

`starts_from` gives what it begins with, `search` does it and returns a `History`.
"""

from clexlab.search.evolution import Fitness, search
from clexlab.search.genome import STARTS, Genome, Space, starts_from
from clexlab.search.history import Generation, History, Plan
from clexlab.search.operators import crossed, mutated
from clexlab.search.progress import Bar, Lines, Report

__all__ = [
    "STARTS",
    "Bar",
    "Fitness",
    "Generation",
    "Genome",
    "History",
    "Lines",
    "Plan",
    "Report",
    "Space",
    "crossed",
    "mutated",
    "search",
    "starts_from",
]
