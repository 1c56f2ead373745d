"""Loss by length under one protocol: the same target tokens at 1, 2, 4, 8, 16 times the window, for one or several methods.

`sample` turns documents into tokens, `loss_by_length` measures a model as it is, `compare` measures methods on one model with
the untouched model beside them; `table` prints them and `record` keeps them.
"""

from clexlab.evaluation.lengths import FACTORS, LengthLoss, LossByLength, Progress, check_lengths, loss_by_length, path_of, scale_at
from clexlab.evaluation.methods import UNTOUCHED, Measurement, check_paths, compare, label, measure, named_paths, record, table
from clexlab.evaluation.texts import Sample, check_tokenizer, sample, start_token

__all__ = [
    "FACTORS",
    "UNTOUCHED",
    "LengthLoss",
    "LossByLength",
    "Measurement",
    "Progress",
    "Sample",
    "check_lengths",
    "check_paths",
    "check_tokenizer",
    "compare",
    "label",
    "loss_by_length",
    "measure",
    "named_paths",
    "path_of",
    "record",
    "sample",
    "scale_at",
    "start_token",
    "table",
]
