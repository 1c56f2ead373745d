"""LoRA: low-rank changes beside the attention's matrices, embeddings and norms trained with them, and all of it merged at the end.

    W' = W + (alpha / rank) · B A,    A (rank, in) random, B (out, rank) zero at first

As LongLoRA trains (dvlab-research/LongLoRA, `fine-tune.py`: rank 8, alpha 16, q, k, v, o, and every parameter named "embed" or "norm").
With the adapters merged what is left has the base model's own weights and names, so that any reading can take it.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from clexlab.sparse.base import check_whole


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """`learns` of a tuning: LoRA in the layers whose names end in `targets`, and every weight whose name holds one of `besides`.

    A is drawn with `seed`, the same for every training: trainings of one seed differ in what is compared and not in their first step.
    Raises ValueError where peft is not installed.
    """

    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    besides: tuple[str, ...] = ("embed", "norm")
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(rank=self.rank, alpha=self.alpha)

    def __call__(self, model: nn.Module) -> None:
        """Put the adapters in, and mark what learns."""
        try:
            import peft
        except ImportError as error:
            raise ValueError("LoRA needs peft, which is not installed: pip install clexlab[tune]") from error
        config = peft.LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets), bias="none")
        peft.inject_adapter_in_model(config, model)
        generator = torch.Generator().manual_seed(self.seed)
        for name, weight in model.named_parameters():
            if ".lora_A." in name:
                # As peft draws it, but from numbers of our own.
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
            elif any(word in name for word in self.besides):
                weight.requires_grad_(True)


def merged(model: nn.Module) -> None:
    """`settles` of a tuning with LoRA: W' in the place of W, the adapters gone."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    # Else the model would still say that it has adapters.
    model.__dict__.pop("peft_config", None)
