"""LoRA as LongLoRA trains it: low ranks in every layer of attention, and embeddings and norms in full."""

from torch import nn
from transformers import PreTrainedModel

from clexlab import frequencies


def low_rank(model: PreTrainedModel, *, rank: int = 8, alpha: int = 16) -> nn.Module:
    """`model` wrapped by peft: LoRA of `rank` on the projections of attention, embeddings and norms trained in full, the rest frozen.

    The defaults are LongLoRA's (arXiv 2309.12307): rank 8, alpha 16, on q, k, v and o. Without embeddings and norms, its ablation says,
    LoRA stays clearly behind full fine-tuning at longer lengths. The model may be extended and sparsified before or after; its adapter
    is saved and loaded as any of peft's. ValueError without peft, without attention to be found, for a rank that is no whole number.
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
        modules_to_save=sorted({name.rpartition(".")[2] for name, module in model.named_modules() if _in_full(module)}),
        ensure_weight_tying=bool(getattr(model.config, "tie_word_embeddings", False)),
    )
    return get_peft_model(model, config)


def _in_full(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) or "Norm" in type(module).__name__
