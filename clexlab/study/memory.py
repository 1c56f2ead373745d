"""What a training needs of memory: the tensors alive at its highest point, counted over two steps of it.

Resident memory of the process would depend on what it had done before, and on what the system gives back; what the allocator is
asked for does not. A CPU's allocations are those that torch's profiler sees, plus the model's weights; a GPU counts its own. Two
steps, because the optimizer has its moments from the second one on; all later ones are alike.
"""

import tempfile
from itertools import accumulate
from pathlib import Path

import torch
from torch import nn
from torch.autograd import profiler

from clexlab import training
from clexlab.objectives import Objective
from clexlab.rows import Rows
from clexlab.training import Plan

STEPS = 2


def peak(model: nn.Module, data: Rows, plan: Plan, objective: Objective) -> int:
    """Bytes at the highest point of training `model` as `plan` says. A teacher counts on a GPU only; rows of tokens on neither."""
    weights = sum(weight.numel() * weight.element_size() for weight in (*model.parameters(), *model.buffers()))
    with tempfile.TemporaryDirectory() as folder:
        if plan.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            training.train(model, data, plan, folder=Path(folder), objective=objective)
            return torch.cuda.max_memory_allocated()
        with profiler.profile(profile_memory=True) as seen:
            training.train(model, data, plan, folder=Path(folder), objective=objective)
    changes = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    return weights + max(accumulate((event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())), initial=0))
