"""How much of a text the model has in sight when it predicts a token: all of it, or what its window holds.

    Everything   x_0 … x_{i-1}                                 one reading; beyond the window only an extended model can do it
    Truncated    the text cut into windows, counted from its end; a target sees what stands before it in its window
    Sliding      a window moved on by a quarter; only the targets it has not passed yet count, so each sees ¾ of a window or more

The last two are what any model can do without being extended: the baselines. All three predict the same targets. For the last
quarter of a window both baselines are the reading of the last window alone; over the whole text, and for what lies far back, they
are not what a long reading is. Sliding as in transformers' guide to perplexity of fixed-length models.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

from clexlab import frequencies


@dataclass(frozen=True)
class Block:
    """One reading: tokens `start` … `stop`-1 are read, of its targets the tokens `first`+1 … `stop` count."""

    start: int
    stop: int
    first: int


class Context(abc.ABC):
    """A name, and the readings that a text of so many tokens takes: their counted targets are all targets, each once, in order."""

    name: ClassVar[str]

    @abc.abstractmethod
    def blocks(self, length: int, window: int) -> tuple[Block, ...]: ...

    def tokens(self, length: int, window: int) -> int:
        """Tokens read, those of overlapping readings each time."""
        return sum(block.stop - block.start for block in self.blocks(length, window))

    def span(self, length: int, window: int) -> int:
        """Tokens in the longest reading: what the model's factor follows."""
        return max(block.stop - block.start for block in self.blocks(length, window))


@dataclass(frozen=True)
class Everything(Context):
    """All tokens in one reading."""

    name: ClassVar[str] = "everything"

    def blocks(self, length: int, window: int) -> tuple[Block, ...]:
        return (Block(0, length, 0),)


@dataclass(frozen=True)
class Truncated(Context):
    """Windows that do not overlap, the last one at the end of the text."""

    name: ClassVar[str] = "truncated"

    def blocks(self, length: int, window: int) -> tuple[Block, ...]:
        return _windows(length, window, window)


@dataclass(frozen=True)
class Sliding(Context):
    """A window moved on by `stride` tokens, a quarter of it if none is given, up to the end of the text."""

    name: ClassVar[str] = "sliding"
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.stride is not None and (not frequencies.is_whole(self.stride) or self.stride < 1):
            raise ValueError(f"stride is {self.stride!r}; it must be a whole number of tokens, at least 1, or None for window/4")

    def blocks(self, length: int, window: int) -> tuple[Block, ...]:
        stride = window // 4 if self.stride is None else self.stride
        if stride > window:
            raise ValueError(f"stride {stride} is beyond the window of {window}: tokens between two windows would not be predicted")
        return _windows(length, window, stride)


CONTEXTS = (Everything, Truncated, Sliding)
EVERYTHING = Everything()


def describe(context: Context) -> dict:
    """What a record says of it."""
    stride = getattr(context, "stride", None)
    return {"context": context.name} | ({} if stride is None else {"stride": stride})


def build(described: dict) -> Context:
    """The context that a record describes, all of the text where it says nothing; ValueError lists the names."""
    name = described.get("context", Everything.name)
    for kind in CONTEXTS:
        if kind.name == name:
            return kind(stride=described["stride"]) if described.get("stride") is not None else kind()
    raise ValueError(f"no context is named {name!r}; there are {', '.join(kind.name for kind in CONTEXTS)}")


def _windows(length: int, window: int, stride: int) -> tuple[Block, ...]:
    """Windows that end at `length`, `length` - stride, …; what is left at the beginning is read by one more."""
    blocks, stop = [], length
    while stop > window:
        blocks.append(Block(stop - window, stop, stop - stride))
        stop -= stride
    return (Block(0, stop, 0), *reversed(blocks))
