"""LongSkywork's chunk-interleaved rows: to go on with a document, a model has to look past the chunks of the others (arXiv 2406.00605).

    A_1 C_1 B_1   C_2 A_2 B_2   B_3 A_3 C_3   …        round r = 1 … c: the r-th chunks of all k documents, in a drawn order

Every document keeps its own order, positions are the ordinary 0, 1, 2 …, and all tokens are in the loss. A chunk's successor begins 1 to
2k-1 chunks later, k on average, so what helps to predict it lies that far back. `chunks=1` is plain concatenation, the control.
Source: the method as third parties describe it, in one sentence; no code. Unverified: that order inside a document is kept, that
positions are ordinary, and the sizes of chunks.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from clexlab import frequencies
from clexlab.rows import check_length

# Of how many documents a row is made, and of how many chunks of each, unless said otherwise.
TOGETHER, CHUNKS = 4, 4


class Interleaved:
    """Rows of `chunks` chunks of each of `together` different documents, all chunks of length/(together·chunks) tokens.

    Of a document a row has one stretch of length/together tokens, cut into chunks: every place of every document is equally likely,
    as in `rows.Text`, but for documents already in the row. Nothing marks where a chunk ends; its last token is trained to predict the
    first of an unrelated one, which it cannot. Shorter documents are never drawn: `never_drawn` counts them. Raises ValueError for
    a length that has no such chunks, and for fewer than `together` documents that are long enough.
    """

    name = "interleaved"

    def __init__(self, documents: Sequence[Int[Tensor, "_"]], length: int, together: int = TOGETHER, chunks: int = CHUNKS) -> None:
        check_length(length)
        for what, value in (("together", together), ("chunks", chunks)):
            if not frequencies.is_whole(value) or value < 1:
                raise ValueError(f"{what} is {value!r}; it must be a whole number, at least 1")
        if length % (together * chunks):
            raise ValueError(
                f"length is {length}, which is not {together} · {chunks} chunks of one size; use a multiple of {together * chunks}"
            )
        size = length // together
        self.length, self.together, self.chunks = length, together, chunks
        self.documents = tuple(document for document in documents if len(document) >= size)
        self.never_drawn = len(documents) - len(self.documents)
        if len(self.documents) < together:
            raise ValueError(
                f"{len(self.documents)} of {len(documents)} documents have {size} tokens and a row has stretches of {together};"
                " give longer texts, more of them, or shorter rows"
            )
        self._places = torch.tensor([len(document) - size + 1 for document in self.documents])

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens: `stretches`, then `draw_order`, from the generator."""
        stretches = self.stretches(generator)
        return interleave(stretches, draw_order(self.together, self.chunks, generator))

    def stretches(self, generator: torch.Generator) -> Int[Tensor, "together size"]:
        """What a row is made of: neighbouring tokens of different documents, one stretch a line."""
        size = self.length // self.together
        owners = torch.multinomial(self._places.double(), self.together, generator=generator).tolist()
        starts = [int(torch.randint(int(self._places[owner]), (), generator=generator)) for owner in owners]
        return torch.stack([self.documents[owner][start : start + size] for owner, start in zip(owners, starts, strict=True)])


def draw_order(together: int, chunks: int, generator: torch.Generator) -> Int[Tensor, "chunks together"]:
    """For every round the documents in the order in which their chunks stand, each order equally likely."""
    return torch.stack([torch.randperm(together, generator=generator) for _ in range(chunks)])


def interleave(stretches: Int[Tensor, "together size"], order: Int[Tensor, "chunks together"]) -> Int[Tensor, "length"]:
    """The row in which place (r, i) of `order` names the document whose r-th chunk stands there. ValueError where chunks do not fit."""
    chunks = _checked(order, stretches.numel())
    parts = stretches.reshape(len(stretches), chunks, -1).transpose(0, 1)
    return parts.gather(1, order[:, :, None].expand_as(parts)).flatten()


def deinterleave(row: Int[Tensor, "length"], order: Int[Tensor, "chunks together"]) -> Int[Tensor, "together size"]:
    """The stretches again, in the documents' own order: what `interleave` was given. ValueError where chunks do not fit."""
    chunks = _checked(order, len(row))
    back = order.argsort(1)
    parts = row.reshape(chunks, order.shape[1], -1)
    return parts.gather(1, back[:, :, None].expand_as(parts)).transpose(0, 1).flatten(1)


def _checked(order: Int[Tensor, "chunks together"], length: int) -> int:
    """The number of chunks of a document."""
    chunks, together = order.shape
    if not torch.equal(order.sort(1).values, torch.arange(together, device=order.device).expand(chunks, -1)):
        raise ValueError(f"order is {order.tolist()}; every line names every document once, as draw_order draws it")
    if length % order.numel() or not length:
        raise ValueError(f"{length} tokens are not {order.numel()} chunks of one size; give a multiple of chunks · documents")
    return chunks
