"""Which tokens a model predicts otherwise once it was tuned on long text, and the sentences that hold them (LongRecipe, arXiv 2409.00509).

    Δ(v) = Σ over places k with x_k = v of  S'(v | x_<k) - S(v | x_<k)        S logits of the base, S' of the tuned model, v a token type
    anchors: the top 20 % of the types by Δ;   kept: sentences with an anchor, in order, until there are enough tokens

`impact` sums Δ, `Impact.top` gives anchors, `select` and the rows of `Selected` keep their sentences. A sum, so frequent types count for
more. Logits are raw, and a constant that tuning adds to all of them at a place is in Δ, though it changes no prediction.
Source: the paper's equations. Differs: it counts the parts of speech of the top types and takes as anchors those that are frequent among
them (numerals first); that needs a tagger, so here the types themselves are the anchors. Unverified: that the share is one of the types
that occur. Its released code has none of this: it keeps sentences with a digit, and of the others a random part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clexlab import frequencies
from clexlab.evaluation.lengths import measuring
from clexlab.positions.sentences import sentence_lengths
from clexlab.rows import check_length


@dataclass(frozen=True, kw_only=True, eq=False)
class Impact:
    """Of every token type Δ, in logits, and how often it occurred as a target."""

    total: Float[Tensor, "vocabulary"]
    counts: Int[Tensor, "vocabulary"]

    def top(self, share: float = 0.2) -> Int[Tensor, "anchors"]:
        """The `share` of the types that occurred with the largest Δ, rounded up, largest first; of equals the lower token.

        ValueError for what is no share above 0.
        """
        if not frequencies.is_finite(share) or not 0 < share <= 1:
            raise ValueError(f"share is {share!r}; it is a part of the types that occurred, above 0 and at most 1")
        occurred = self.counts.nonzero()[:, 0]
        # Rounded first: a fifth of 15 types shall be 3, and 0.2 · 15 is a little more.
        count = -int(-round(share * len(occurred), 6) // 1)
        return occurred[self.total[occurred].argsort(descending=True, stable=True)[:count]]


def impact(base: nn.Module, tuned: nn.Module, texts: Int[Tensor, "texts length"], batch: int = 4) -> Impact:
    """Δ of every type over all tokens of the texts but the first of each, which nothing predicts.

    Both models read the same texts as they are: extended ones at the factor their own rule gives this length. Memory is that of a
    forward of `batch` texts. Raises ValueError for models that have other vocabularies, texts without targets, and one model given twice.
    """
    check_length(texts.shape[1])
    if not frequencies.is_whole(batch) or batch < 1:
        raise ValueError(f"batch is {batch!r}; it must be a whole number of texts, at least 1")
    if base is tuned:
        raise ValueError("base and tuned are one model, whose logits do not differ; load the base once more beside it")
    sums: list[Tensor] = []
    with measuring(base), measuring(tuned):
        for rows in texts.split(batch):
            before, after = (model(input_ids=rows, use_cache=False).logits for model in (base, tuned))
            if before.shape != after.shape:
                raise ValueError(f"the models predict {before.shape[-1]} and {after.shape[-1]} tokens; compare two with one tokenizer")
            targets = rows[:, 1:, None]
            told = [logits[:, :-1].double().gather(2, targets) for logits in (before, after)]
            sums.append(torch.zeros(before.shape[-1], dtype=torch.float64).index_add(0, targets.flatten(), (told[1] - told[0]).flatten()))
    vocabulary = len(sums[0])
    return Impact(total=torch.stack(sums).sum(0), counts=texts[:, 1:].flatten().bincount(minlength=vocabulary))


def anchored(tokens: Int[Tensor, "_"], ends: Iterable[int], anchors: Int[Tensor, "anchors"]) -> tuple[Int[Tensor, "_"], ...]:
    """The sentences of a text that hold an anchor, in order and whole; `ends` as in `in_sentences.sentence_ends`."""
    sentences = tokens.split(list(sentence_lengths(tokens, ends)))
    return tuple(sentence for sentence in sentences if bool(torch.isin(sentence, anchors).any()))


def select(tokens: Int[Tensor, "_"], ends: Iterable[int], anchors: Int[Tensor, "anchors"], length: int) -> Int[Tensor, "length"]:
    """The first `length` tokens of the sentences that hold an anchor; of the last one its beginning. ValueError where there are fewer."""
    check_length(length)
    kept = anchored(tokens, ends, anchors)
    there = sum(map(len, kept))
    if there < length:
        raise ValueError(f"sentences with an anchor have {there} of the text's {len(tokens)} tokens, {length} were asked for")
    return torch.cat(kept)[:length]


class Selected:
    """Rows of the part "selected": of one document `length` tokens of sentences that hold an anchor, from the beginning of one of them.

    Every sentence behind which there is enough is equally likely to be the first. `in_sentences.InSentences` trains with such rows, and
    finds their sentences again by the same `ends`. Documents with too little are never drawn: `never_drawn` counts them. ValueError
    when all are.
    """

    name = "selected"

    def __init__(
        self, documents: Sequence[Int[Tensor, "_"]], length: int, ends: Sequence[int], anchors: Int[Tensor, "anchors"]
    ) -> None:
        check_length(length)
        self.length = length
        kept = [anchored(document, ends, anchors) for document in documents]
        long = [sentences for sentences in kept if sum(map(len, sentences)) >= length]
        if not long:
            raise ValueError(
                f"none of {len(kept)} documents has {length} tokens in sentences with an anchor; use more anchors or shorter rows"
            )
        self.never_drawn = len(kept) - len(long)
        texts = [torch.cat(sentences) for sentences in long]
        self._starts = [
            (text, start)
            for text, sentences in zip(texts, long, strict=True)
            for start in _starts(sentences)
            if start + length <= len(text)
        ]

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens."""
        text, start = self._starts[int(torch.randint(len(self._starts), (), generator=generator))]
        return text[start : start + self.length]


def _starts(sentences: Sequence[Int[Tensor, "_"]]) -> list[int]:
    """Where each begins when they stand one after the other."""
    return torch.tensor([0, *map(len, sentences[:-1])]).cumsum(0).tolist()
