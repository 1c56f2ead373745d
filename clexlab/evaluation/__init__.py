"""Loss by length under one protocol: the same target tokens at 1, 2, 4, 8, 16 times the window, for one or several methods.

`sample` turns documents into tokens, `loss_by_length` measures a model as it is, `compare` measures methods on one model with
the untouched model beside them; `table` prints them and `record` keeps them. `recall` asks for what was read far back: `passkeys`
and `copies` make its texts. `seeds_table` puts records of several seeds beside each other.
"""

from clexlab.evaluation.contexts import CONTEXTS, EVERYTHING, Context, Everything, Sliding, Truncated
from clexlab.evaluation.lengths import FACTORS, LengthLoss, LossByLength, Progress, check_lengths, loss_by_length, path_of, scale_at
from clexlab.evaluation.methods import (
    MEASURES,
    UNTOUCHED,
    Measurement,
    baselines,
    check_paths,
    compare,
    label,
    measure,
    named_paths,
    record,
    table,
)
from clexlab.evaluation.recall import DEPTHS, Recall, RecallRow, recall, wilson
from clexlab.evaluation.recall import table as recall_table
from clexlab.evaluation.seeds import Spread, by_method, loss_of, seeds_table
from clexlab.evaluation.texts import Sample, check_tokenizer, sample, start_token
from clexlab.evaluation.trials import Trial, copies, passkeys

__all__ = [
    "CONTEXTS",
    "DEPTHS",
    "EVERYTHING",
    "FACTORS",
    "MEASURES",
    "UNTOUCHED",
    "Context",
    "Everything",
    "LengthLoss",
    "LossByLength",
    "Measurement",
    "Progress",
    "Recall",
    "RecallRow",
    "Sample",
    "Sliding",
    "Spread",
    "Trial",
    "Truncated",
    "baselines",
    "by_method",
    "check_lengths",
    "check_paths",
    "check_tokenizer",
    "compare",
    "copies",
    "label",
    "loss_by_length",
    "loss_of",
    "measure",
    "named_paths",
    "passkeys",
    "path_of",
    "recall",
    "recall_table",
    "record",
    "sample",
    "scale_at",
    "seeds_table",
    "start_token",
    "table",
    "wilson",
]
