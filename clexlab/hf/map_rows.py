"""What a mapped model takes of positions and masks that it is given: maps count tokens from the start of a text."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def check_places(position_ids: Int[Tensor, "rows queries"], starts: list[int], ends: list[int], cached: int) -> None:
    """Positions must count the tokens of the text, or of the row with its padding: keys in the cache are taken to stand so."""
    for row, start, end in zip(position_ids, starts, ends, strict=True):
        begin = max(start, cached)
        given = row[begin - cached : end - cached]
        own = torch.arange(begin, end, device=given.device)
        if len(given) and not (torch.equal(given, own - start) or torch.equal(given, own)):
            raise ValueError(
                f"position_ids are {given[:4].tolist()} … where tokens {begin - start} … {end - start - 1} of one text stand; a map makes"
                " relative positions of the count of tokens: leave position_ids out, and give every text a row of its own"
            )


def as_padding(mask: Bool[Tensor, "rows 1 queries tokens"], cache: Any) -> Bool[Tensor, "rows tokens"]:
    """The mask with one entry per token that this causal one was made of; ValueError for any other."""
    new, cached = mask.shape[-2], 0 if cache is None else int(cache.get_seq_length())
    padding = mask[:, 0, -1].clone()
    padding[:, cached + new :] = False
    places = torch.arange(mask.shape[-1], device=mask.device)
    causal = places <= torch.arange(cached, cached + new, device=mask.device)[:, None]
    if not torch.equal(mask[:, 0], padding[:, None] & causal):
        raise ValueError("attention_mask is not causal with padding; a mapped model takes a mask with one entry per token")
    return padding
