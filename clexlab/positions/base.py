"""What every sampler of training positions answers: which index each token of a short text gets, and at which factor."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clexlab import frequencies


@dataclass(frozen=True)
class Draw:
    """One drawn step of training: rising positions, one per token, in tokens of the long text, and the factor t they belong to.

    `counts`, if any, says how many tokens of the long text each token stands for: see `Diluted`. `learned`, if any, says which tokens
    are targets of the loss: see `PrefixSegments`.
    """

    positions: Float[Tensor, "length"]
    factor: float
    counts: Float[Tensor, "length"] | None = None
    learned: Bool[Tensor, "length"] | None = None


@runtime_checkable
class Sampler(Protocol):
    """One verb: `draw` positions for a text of `length` tokens, from the given generator alone.

    Every row of a batch shares the draw, as in CLEX's code: a step has one factor. A sampler with a second verb,
    `draw_rows(rows, length, generator)`, gives each row its own: see `PerRow`.
    """

    def draw(self, length: int, generator: torch.Generator) -> Draw: ...


def draws_for(sampler: Sampler, rows: int, length: int, generator: torch.Generator) -> list[Draw]:
    """The draws of one batch: one that all rows share, or one per row where the sampler has `draw_rows`."""
    each = getattr(sampler, "draw_rows", None)
    drawn = [sampler.draw(length, generator)] if each is None else each(rows, length, generator)
    if len(drawn) not in (1, rows):
        raise ValueError(f"{type(sampler).__name__} gave {len(drawn)} draws for {rows} rows; give one for all of them, or one for each")
    return drawn


def check_sampler(sampler: object) -> None:
    """Refuse what draws no positions: a class instead of an object, None, a number."""
    if isinstance(sampler, type) or not callable(getattr(sampler, "draw", None)):
        raise ValueError(f"positions is {sampler!r}; pass a sampler of clexlab.positions, with draw(length, generator)")


def check_reach(sampler: object, window: int, limit: float) -> None:
    """Refuse positions drawn for another window than a path's, or for factors beyond its limit.

    Samplers of clexlab say so themselves; one of the user's own need not.
    """
    own, reach = getattr(sampler, "window", window), getattr(getattr(sampler, "factors", None), "limit", 1.0)
    if own != window or reach > limit:
        raise ValueError(
            f"positions are drawn for window {own} and factors up to {reach:g}; the path has window {window} and ends at"
            f" {limit:g}: build both on the same numbers"
        )


def check_length(length: int) -> None:
    """Refuse a text without tokens, and a length that is no whole number."""
    if not frequencies.is_whole(length) or length < 1:
        raise ValueError(f"length is {length!r}; it must be a whole number of tokens, at least 1")


def check_window(window: int) -> None:
    """Refuse a window that is no number of tokens."""
    if not frequencies.is_whole(window) or window < 1:
        raise ValueError(f"window is {window!r}; it must be a whole number of tokens, at least 1")


def check_one_window(length: int, window: int) -> None:
    """Refuse what `check_length` does, and a text that has no room in one window, which is all there is at t = 1."""
    check_length(length)
    if length > window:
        raise ValueError(
            f"length is {length} and the window {window}: a longer text does not fit in one window with neighbours at least one apart;"
            " train on rows of at most the window, or use Contiguous for full-length training"
        )
