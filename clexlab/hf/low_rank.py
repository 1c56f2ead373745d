"""LoRA as LongLoRA trains it: low ranks in every layer of attention, and embeddings, norms and what a scaling learns in full."""

from torch import nn
from transformers import PreTrainedModel

from clexlab import frequencies
from clexlab.hf.rotary import Rotary


def low_rank(model: PreTrainedModel, *, rank: int = 8, alpha: int = 16) -> nn.Module:
    """`model` wrapped by peft: LoRA of `rank` on the projections of attention, embeddings and norms trained in full, the rest frozen.

    The defaults are LongLoRA's (arXiv 2309.12307): rank 8, alpha 16, on q, k, v and o. Without embeddings and norms, its ablation says,
    LoRA stays clearly behind full fine-tuning at longer lengths. The field and temperature of a learned scaling (CLEX) are trained in
    full too, and saved with the adapter, if the model is extended *first*; any other scaling and a pattern may be put on before or
    after. The adapter is loaded as any of peft's. ValueError without peft, without attention to be found, for a rank that is no whole number.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError("low ranks are peft's and peft is not installed: pip install clexlab[tune]") from error
    for name, value in (("rank", rank), ("alpha", alpha)):
        if not frequencies.is_whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1")
    projections = {
        name
        for module in model.modules()
        if "Attention" in type(module).__name__
        for name, child in module.named_children()
        if isinstance(child, nn.Linear)
    }
    if not projections:
        raise ValueError(f"{type(model).__name__} has no module of attention with linear projections; make peft's LoraConfig yourself")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=sorted(projections),
        modules_to_save=sorted(_in_full(model)),
        ensure_weight_tying=bool(getattr(model.config, "tie_word_embeddings", False)),
    )
    return get_peft_model(model, config)


def _in_full(model: nn.Module) -> set[str]:
    """The names that embeddings, norms and the learned parts of a scaling have in their modules: what peft calls them by."""
    found = {
        name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Embedding) or "Norm" in type(module).__name__
    }
    for module in model.modules():
        if isinstance(module, Rotary) and isinstance(module.scaling, nn.Module):
            # Part by part: a copy of the whole rotary module could not follow the text's length.
            found |= {name for name, part in module.scaling.named_children() if any(True for _ in part.parameters())}
    return found
