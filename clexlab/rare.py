"""A toy in which far positions are rare: rows of keys and values, most of them short, and a question about what stood far back.

    row        k_3 v_9 k_7 v_1 k_3 v_9 …     a key has one value in a row, another in the next
    learned    the value behind a key that stood in the row before; nothing else can be known
    asked      the last pair's key stood once, `distance` tokens before; everything between is of other keys

Position i occurs in max(n - i, 0) pairs of a row of n tokens, so the mix of lengths says how rare far ones are. The model is a
`small.Small` with plain RoPE; it is read with a map by `model.read_with`. It shows what rare positions do, nothing about text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from clexlab import frequencies, scaling, small
from clexlab.positions.maps import Map

KEYS, VALUES = 24, 24
WINDOW = 128
# A right answer by chance.
CHANCE = 1 / VALUES
CONFIG = small.Config(vocabulary=KEYS + VALUES, hidden=64, layers=2, heads=4, window=WINDOW)


@dataclass(frozen=True)
class Lengths:
    """Which rows training has: tokens of a row, and the share of steps with such rows. A step has as many tokens whatever its rows."""

    tokens: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.tokens or len(self.tokens) != len(self.shares) or any(one % 2 or not 2 <= one <= WINDOW for one in self.tokens):
            raise ValueError(f"rows have {self.tokens} tokens with shares {self.shares}; give even numbers up to {WINDOW}, a share each")
        if min(self.shares) <= 0:
            raise ValueError(f"shares are {self.shares}; each must be above 0")


RARE = Lengths((16, 32, 64, 128), (0.4, 0.4, 0.195, 0.005))
COMMON = Lengths((128,), (1.0,))


def draw_rows(generator: torch.Generator, count: int, length: int) -> tuple[Int[Tensor, "count length"], Bool[Tensor, "count length"]]:
    """Rows, and where in them a key stands that stood in the row before: the next token can be known there."""
    keys = torch.randint(KEYS, (count, length // 2), generator=generator)
    values = KEYS + torch.randint(VALUES, (count, KEYS), generator=generator).gather(1, keys)
    known = (keys[:, :, None] == keys[:, None, :]).tril(-1).any(-1)
    return _woven(keys, values), _woven(known, torch.zeros_like(known))


def train(seed: int, lengths: Lengths, steps: int, tokens: int = 4096, rate: float = 3e-3) -> small.Small:
    """Train the toy from scratch: AdamW, `tokens` a step, the rate falling to zero. Weights and rows are drawn with `seed`."""
    if not frequencies.is_whole(steps) or steps < 1:
        raise ValueError(f"steps is {steps!r}; it must be a whole number, at least 1")
    path = scaling.Identity(head_dim=CONFIG.head_dim, base=1e4, window=WINDOW)
    model, generator = small.fresh(CONFIG, seed, scaling=path), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        length = lengths.tokens[int(torch.multinomial(torch.tensor(lengths.shares), 1, generator=generator))]
        rows, known = draw_rows(generator, tokens // length, length)
        logits = model(rows).logits[:, :-1]
        loss = functional.cross_entropy(logits[known[:, :-1]], rows[:, 1:][known[:, :-1]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def ask(generator: torch.Generator, distance: int, count: int, length: int = WINDOW) -> Int[Tensor, "count length"]:
    """Rows whose last key stood once before, `distance` tokens back; the last token is the answer. ValueError for no such place."""
    if distance % 2 or not 2 <= distance <= length - 2:
        raise ValueError(
            f"distance is {distance}; of {length} tokens give an even number from 2 to {length - 2}: keys stand at even places"
        )
    asked = torch.randint(KEYS, (count, 1), generator=generator)
    # Any key but the one that is asked for.
    keys = (asked + torch.randint(1, KEYS, (count, length // 2), generator=generator)) % KEYS
    keys[:, -1:] = keys[:, -1 - distance // 2, None] = asked
    values = KEYS + torch.randint(VALUES, (count, KEYS), generator=generator).gather(1, keys)
    return _woven(keys, values)


@torch.no_grad()
def accuracy(model: small.Small, m: Map | None, distances: Sequence[int], count: int, seed: int) -> dict[int, float]:
    """Share of right answers by distance, the same rows for every reading of a seed; read with the map `m`, or plainly with None."""
    read, generator = model.read_with(replace(model.places, positions=m)), torch.Generator().manual_seed(seed)
    found = {}
    for distance in distances:
        rows = ask(generator, distance, count)
        answers = read(rows[:, :-1], logits_to_keep=1).logits[:, -1].argmax(-1)
        found[distance] = (answers == rows[:, -1]).double().mean().item()
    return found


def _woven(first: Tensor, second: Tensor) -> Tensor:
    """Columns of both in turn."""
    return torch.stack([first, second], dim=-1).flatten(1)
