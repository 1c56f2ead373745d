"""A model small enough to train in a lesson's cell, whose RoPE scores can be read off its weights.

Look-back task: at every position a query asks "which token stands r steps back?", r random up to `reach` - 1, tokens
random. Nothing but position helps, so attention must learn one score curve a(s) per question r, with its crest at s = r.
It is one attention head, not a language model: it shows what *trained* coefficients h_j look like, nothing about text.
"""

import math

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from clexlab import bounds, frequencies, rope


class LookBack(nn.Module):
    """One RoPE attention head: a query vector per question, a key and a row of output logits per token of the vocabulary.

    Weights are drawn from `generator`. Questions are 0 … reach-1, tokens 0 … vocabulary-1; scores carry 1/√head_dim.
    """

    def __init__(
        self, generator: torch.Generator, reach: int, head_dim: int = 32, base: float = 1e4, vocabulary: int = 16
    ) -> None:
        super().__init__()
        if reach < 1 or vocabulary < 2:
            raise ValueError(f"reach {reach} must be at least 1 and vocabulary {vocabulary} at least 2")
        self.register_buffer("inv_freq", frequencies.inv_freq(head_dim, base), persistent=False)
        self.queries = nn.Parameter(torch.randn(reach, head_dim, generator=generator))
        self.keys = nn.Parameter(torch.randn(vocabulary, head_dim, generator=generator))
        self.values = nn.Parameter(8 * torch.eye(vocabulary))

    def forward(
        self, tokens: Int[Tensor, "batch seq"], questions: Int[Tensor, "batch seq"], factor: float = 1.0
    ) -> Float[Tensor, "batch seq vocabulary"]:
        """Logits of the answer at every position; `factor` ≥ 1 divides positions, as Position Interpolation does."""
        if not (math.isfinite(factor) and factor >= 1):
            raise ValueError(f"factor {factor} must be a finite number of at least 1: length / window")
        angles = rope.angles(torch.arange(tokens.shape[1]) / factor, self.inv_freq)
        q, k = rope.rotate(self.queries[questions], angles), rope.rotate(self.keys[tokens], angles)
        future = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
        attention = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(future, -math.inf).softmax(-1)
        return attention @ self.values[tokens]

    @torch.no_grad()
    def coefficients(self) -> Complex[Tensor, "reach vocabulary pairs"]:
        """h_j of every question and every token: their score at distance s is bounds.scores(h, s, inv_freq)."""
        q, k = torch.broadcast_tensors(self.queries[:, None], self.keys)
        return bounds.pair_products(q, k) / math.sqrt(q.shape[-1])


def look_back_batch(
    generator: torch.Generator, model: LookBack, batch: int, length: int
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"], Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Draw tokens, questions, answers, and where the answer exists (questions that reach before the first token have none)."""
    tokens = torch.randint(len(model.keys), (batch, length), generator=generator)
    questions = torch.randint(len(model.queries), (batch, length), generator=generator)
    sources = torch.arange(length) - questions
    return tokens, questions, tokens.gather(1, sources.clamp(min=0)), sources >= 0


def train_look_back(generator: torch.Generator, window: int, steps: int, head_dim: int = 32, base: float = 1e4) -> LookBack:
    """Train a `LookBack` of reach `window` on texts of `window` tokens: Adam, batches of 32, about 5 s for 600 steps on a CPU."""
    model = LookBack(generator, window, head_dim, base)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        tokens, questions, answers, exists = look_back_batch(generator, model, 32, window)
        loss = nn.functional.cross_entropy(model(tokens, questions)[exists], answers[exists])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def accuracy(generator: torch.Generator, model: LookBack, length: int, factor: float = 1.0, batch: int = 32) -> float:
    """Share of right answers at the last half of the window's worth of positions in texts of `length` tokens."""
    tokens, questions, answers, exists = look_back_batch(generator, model, batch, length)
    last = slice(-(len(model.queries) // 2), None)
    right = model(tokens, questions, factor).argmax(-1) == answers
    return right[:, last][exists[:, last]].float().mean().item()
