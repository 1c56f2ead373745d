"""LongRecipe's long simulation: every row's own sentences, with random gaps between them (arXiv 2409.00509)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies
from clexlab.objectives import NextToken, next_token_loss
from clexlab.placed import logits_at, of_this_process
from clexlab.positions.base import Draw, check_window
from clexlab.positions.factors import Factors, check_factors
from clexlab.positions.sentences import Sentences, sentence_lengths

MARKS = (".", "!", "?", "\n")


@dataclass(frozen=True, kw_only=True)
class InSentences:
    """An objective: each row is cut where its sentences end and stands at positions of `positions.Sentences`, at a factor of its own.

        row x, sentences of n_1, n_2 … tokens:   p ~ Sentences(window, factors, (n_1, n_2 …));   mean of -ln p(x_k | before)

    `ends` are the tokens that end a sentence: `sentence_ends(tokenizer)`. A row without any is one sentence and stands where it always
    did, at the factor drawn. Extend the model without `positions`: the path gets the factor of every row's draw, drawn or fixed; pinned
    at a factor, it wants draws at that one. Draws come from torch's global generator, one number a row, so that a row's draw does not
    hang on the sentences of the rows before it.
    Source: as `Sentences`. Differs: the code draws once per document, before training, and shows it at a fixed larger base, which is
    `scaling.ABF` with `FixedFactor`. All tokens of the row are kept; the paper selects them first.
    """

    name: ClassVar[str] = "in_sentences"
    window: int
    factors: Factors
    ends: tuple[int, ...]

    def __post_init__(self) -> None:
        check_window(self.window)
        check_factors(self.factors)
        if not self.ends or not all(frequencies.is_whole(token) and token >= 0 for token in self.ends):
            raise ValueError(f"ends are {self.ends!r}; give the tokens that end a sentence, as sentence_ends(tokenizer) does")

    def __call__(self, model: nn.Module, tokens: Int[Tensor, "rows length"]) -> dict[str, Float[Tensor, "rows"]]:
        """One term, `next`. ValueError: rows beyond the window, and what `placed.logits_at` refuses."""
        draws = self.draws(tokens)
        return {NextToken.name: next_token_loss(logits_at(model, tokens, draws, self), tokens)}

    def draws(self, tokens: Int[Tensor, "rows length"]) -> list[Draw]:
        """The draw of every row."""
        count, mine = of_this_process(len(tokens))
        seeds = torch.randint(2**62, (count,))[mine].tolist()
        return [self._draw(row, torch.Generator().manual_seed(seed)) for row, seed in zip(tokens.cpu(), seeds, strict=True)]

    def _draw(self, row: Int[Tensor, "length"], generator: torch.Generator) -> Draw:
        sampler = Sentences(window=self.window, factors=self.factors, sentences=sentence_lengths(row, self.ends))
        return sampler.draw(len(row), generator)


def sentence_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end a sentence, rising: those whose text ends with . ! ? or a new line, blanks behind it left aside.

    A new line and the indentation behind it are one token in many a tokenizer, hence the blanks. Special tokens end none. ValueError
    where there is no such token. Source: the paper's delimiters; its code names five tokens of Llama-3 (13, 198, 30, 0, 627), which
    are the marks by themselves and ".\\n".
    """
    special = set(tokenizer.all_special_ids)
    texts = {token: tokenizer.decode([token]) for token in range(len(tokenizer)) if token not in special}
    ends = tuple(token for token, text in texts.items() if text.rstrip(" \t").endswith(MARKS))
    if not ends:
        raise ValueError(f"no token of this tokenizer ends with one of {MARKS}; give the tokens that end a sentence yourself")
    return ends
