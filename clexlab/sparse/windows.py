"""Where the keys of a chunk of queries lie, for patterns that come in chunks: one contiguous window each."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab.sparse.empty import EmptyRows, ZeroOutput


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What some heads have in common: chunk c of G queries begins at token cG - `offset`, its window of G keys `shift` tokens earlier.

    Where the whole window lies before the text, `empty` says which one is looked at instead.
    """

    heads: tuple[int, ...]
    chunk: int
    offset: int = 0
    shift: int = 0
    empty: EmptyRows = ZeroOutput()

    def __post_init__(self) -> None:
        if not self.empty.fits(self.chunk):
            raise ValueError(f"{self.empty!r} shows keys that are no window of {self.chunk}; give it a chunk of that size")

    def moved(self, heads: int) -> "Windows":
        """The same for heads that come `heads` later."""
        return Windows(
            heads=tuple(head + heads for head in self.heads), chunk=self.chunk, offset=self.offset, shift=self.shift, empty=self.empty
        )

    def chunks(self, length: int) -> int:
        """How many chunks of queries a text has, cut ones included."""
        return -(-(length + self.offset) // self.chunk)

    def skipped(self, length: int) -> int:
        """How many of the first chunks have no keys and no rule that finds them any."""
        return min((self.shift + self.offset) // self.chunk, self.chunks(length)) if isinstance(self.empty, ZeroOutput) else 0

    def queries(self, length: int, device: torch.device) -> Int[Tensor, "chunks chunk"]:
        """The tokens of every chunk; places before and after the text are not real."""
        first = torch.arange(self.chunks(length), device=device) * self.chunk - self.offset
        return first[:, None] + torch.arange(self.chunk, device=device)

    def keys(self, length: int, device: torch.device) -> Int[Tensor, "chunks chunk"]:
        """The keys of every chunk's window, in the same way."""
        places = torch.arange(self.chunk, device=device)
        own = torch.arange(self.chunks(length), device=device) * self.chunk - self.offset
        start = own - self.shift
        return torch.where(start + self.chunk <= 0, self.empty.window(own), start)[:, None] + places
