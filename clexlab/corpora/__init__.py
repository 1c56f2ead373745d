"""Text to train and measure on: whole documents, each text once, and an account of everything that was left out.

A corpus is a tuple of documents, never one long stream: a text that ends is not context for the next one. What could not be
used (unreadable, not UTF-8, empty, too short, a repetition, …) is named in the corpus, so that nothing is dropped silently.

One function a source: `standard_library`, `folder`, `jsonl`, `hub`; `load` takes any of them as one word. `split` cuts every
corpus the same way into what is trained on and what is held out.
"""

from clexlab.corpora.base import REASONS, Corpus, Document
from clexlab.corpora.files import NOT_SOURCE, TEXT, check_suffixes, folder, standard_library
from clexlab.corpora.hub_data import hub
from clexlab.corpora.json_lines import jsonl
from clexlab.corpora.loading import HUB, STANDARD_LIBRARY, load
from clexlab.corpora.splits import SPLITS, check_split, is_held_out, split

__all__ = [
    "HUB",
    "NOT_SOURCE",
    "REASONS",
    "SPLITS",
    "STANDARD_LIBRARY",
    "TEXT",
    "Corpus",
    "Document",
    "check_split",
    "check_suffixes",
    "folder",
    "hub",
    "is_held_out",
    "jsonl",
    "load",
    "split",
    "standard_library",
]
