"""The families: one small model per way to tell positions, trained from nothing at one window, read at one to eight.

Every bias of `biases.BIASES`; RoPE as it is, read under YaRN, and read with every map of `maps.MAPS`; every pattern of
`sparse.PATTERNS`, with RoPE. The same tokens in the same order, the same first weights where models have the same parts, the same
target tokens. Rows are text and text with marks (`clexlab.marks`): a token to find again however far back it stands. Loss beyond the
window stays flat for a model that looks at its neighbours alone; whether it *uses* what is far, the marks tell: near and far in one
length of text.

Predictions were written before a row ran, with lesson 06's records known and, of this experiment, one short training of RoPE for the
budget. They are of `PREDICTIONS`; a method without one has none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from clexlab import biases, evaluation, marks, receptive, rows, scaling, small, sparse
from clexlab.positions import maps
from clexlab.results import Record
from clexlab.study import material
from clexlab.study.material import Material
from clexlab.study.methods import Row
from clexlab.study.sizes import Profile
from clexlab.study.tables import by_row
from clexlab.study.tuning import AsTrained, Tuning

WINDOW, BASE = 128, 10_000.0
FACTORS = (1.0, 2.0, 4.0, 8.0)
SHARES = {"text": 0.7, "mark": 0.3}
# Where a mark stands in a text of eight windows: its beginning, its middle, and within a window of the question.
FAR, MIDDLE, NEAR = 0.0, 0.5, 0.95
# At so many distances a record has the bias of every layer and head.
POINTS = 24
