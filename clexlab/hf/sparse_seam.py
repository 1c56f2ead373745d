"""What a sparsified model's config carries, and what every kernel refuses: calls, masks and texts that the pattern was not made for."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers.masking_utils import causal_mask_function

from clexlab.hf.padding import texts
from clexlab.sparse.base import Pattern

NAME = "clexlab_sparse"


@dataclass
class Seam:
    """What a sparsified model's config carries: the pattern, the number of query heads, and who called while it is being verified."""

    pattern: Pattern
    heads: int
    calls: list[bool] | None = field(default=None, compare=False)

    def heard(self, sparse: bool) -> None:
        """One layer computed its attention, sparse or as a local layer of the model's own."""
        if self.calls is not None:
            self.calls.append(sparse)


def seam_of(config: Any) -> Seam:
    """The pattern on a config; ValueError where there is none."""
    seam = getattr(config, "clexlab_sparse", None)
    if seam is None:
        raise ValueError(f"{NAME} attention was asked for on a model without a pattern; call clexlab.sparsify(model, pattern)")
    return seam


def check_call(pattern: Pattern, mask_function: Any, q_length: int, kv_length: int, q_offset: int | Tensor, kv_offset: int) -> None:
    """Refuse several texts in a row, and a cache for a pattern whose early tokens see late ones."""
    if mask_function is not causal_mask_function:
        raise ValueError(
            "a sparse pattern counts from the first token of a row, and these rows hold several texts or a mask of their own, or are"
            " taken to under torch.compile: position_ids with jumps and compiled models need an attention_mask of ones, packed texts a"
            " row each"
        )
    if not pattern.causal and (q_length != kv_length or q_offset or kv_offset):
        raise ValueError(f"{type(pattern).__name__} lets tokens see later ones, which no cache holds yet; use use_cache=False")


def check_attention(seam: Seam, mask: Any, local: bool, others: dict[str, Any], kind: type[Tensor] | type[BlockMask]) -> None:
    """Refuse a mask that is not the pattern's own: given as four dimensions, transformers passes it on unasked.

    Accepted is a mask of the kernel's kind, boolean, with one matrix for every query head, or one for all in a layer that is local by
    itself. A caller's own mask of just this form cannot be told from ours, and takes the pattern's place.
    """
    fits = isinstance(mask, kind) and getattr(mask, "dtype", torch.bool) == torch.bool and mask.shape[1] == (1 if local else seam.heads)
    if not fits:
        given = "none" if mask is None else f"a {type(mask).__name__} of shape {tuple(mask.shape)}"
        raise ValueError(
            f"the attention mask of a sparsified layer is {given} and not the pattern's own; give a two-dimensional attention_mask or none"
        )
    check_added(others)


def check_added(others: dict[str, Any]) -> None:
    """Refuse what a layer adds to its scores or its softmax, and weights it is asked for."""
    if others.get("s_aux") is not None:
        raise ValueError("this model adds a learned sink to every softmax, which clexlab's masks leave out; it cannot be sparsified")
    if others.get("position_bias") is not None:
        raise ValueError("this model adds a bias of positions to its scores, which clexlab's masks leave out; it cannot be sparsified")
    if others.get("output_attentions"):
        raise ValueError("a sparsified layer keeps no weights to return; leave output_attentions out, or read them with eager attention")


def check_lengths(seam: Seam, lengths: Tensor) -> None:
    for length in lengths.unique().tolist():
        seam.pattern.check(seam.heads, length)


def real_tokens(attention_mask: Tensor | None, length: int) -> Bool[Tensor, "rows length"] | None:
    """Which of the first `length` places hold a token; None where all do."""
    if attention_mask is None:
        return None
    real = attention_mask[:, :length].bool()
    real = nn.functional.pad(real, (0, length - real.shape[1]))
    return None if bool(real.all()) else real


def bounds(real: Bool[Tensor, "rows length"]) -> tuple[Tensor, Tensor]:
    """Where each row's text begins and how many tokens it has. ValueError for a row without any, and for holes in a text."""
    if not bool(real.any(-1).all()):
        raise ValueError("a row of the attention_mask holds no token; leave such rows out")
    starts, ends = texts(real)
    return starts, ends - starts
