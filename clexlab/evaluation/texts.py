"""Documents as tokens: drawn in a fixed order, long enough, with what the tokenizer and the model have to agree on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies
from clexlab.corpora import Document


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Documents as tokens, each long enough. `too_short` of the `looked_at` documents were not; the rest was not needed."""

    names: tuple[str, ...]
    tokens: tuple[Int[Tensor, "_"], ...]
    too_short: int
    looked_at: int


def sample(
    documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, length: int, count: int, generator: torch.Generator
) -> Sample:
    """Draw up to `count` documents of more than `length` tokens, in an order drawn from `generator`; whole, no special tokens added.

    Documents are read in that order until enough are found. Raises ValueError where none is long enough.
    """
    for name, value in (("length", length), ("count", count)):
        if not frequencies.is_whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1")
    found: dict[str, Tensor] = {}
    longest, looked_at = 0, 0
    for index in torch.randperm(len(documents), generator=generator).tolist():
        tokens = tokenizer.encode(documents[index].text, add_special_tokens=False, verbose=False)
        longest, looked_at = max(longest, len(tokens)), looked_at + 1
        if len(tokens) > length:
            found[documents[index].name] = torch.tensor(tokens)
        if len(found) == count:
            break
    if not found:
        raise ValueError(
            f"no text is long enough: the longest of {looked_at} has {longest} tokens, window · largest factor + 1 = {length + 1} are"
            " needed; measure smaller factors or give longer texts"
        )
    return Sample(names=tuple(found), tokens=tuple(found.values()), too_short=looked_at - len(found), looked_at=looked_at)


def start_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token this tokenizer puts before every text, which its model expects there; None if it puts none."""
    first = tokenizer.encode("a")[:1]
    return first[0] if first and first[0] == tokenizer.bos_token_id else None


def check_tokenizer(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that can give tokens the model has no embedding for."""
    entries, wanted = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values()) + 1
    if wanted > entries:
        raise ValueError(f"the tokenizer has {wanted} tokens, the model {entries}; use the tokenizer the model was trained with")
