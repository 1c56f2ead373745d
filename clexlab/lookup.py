"""LongSkywork's synthetic tables: random rows, columns and cells, and questions whose answers a dictionary knows (arXiv 2406.00605).

    # red fox | size 48213 | price 91370          a line: the row's key, and for every column its name and cell
    # old ship | size 00712 | price 63095
    …
    # The price of old ship is 63095.             a question with its answer

A table is as large as one likes and nobody has to annotate it; the answer stands once, far back, beside others that are wrong by the row
or by the column. `Lookup` draws training rows, `lookups` trials for `evaluation.recall`, `Table` is what both ask.
Source: the idea as it is remembered of the paper, which made instruction data of it; no code. Unverified: what its tables look like. Here
every line names its columns, so that a line can be read wherever it stands, and the language is that of the lab's other tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from clexlab import frequencies, tasks
from clexlab.evaluation.trials import Trial, draw_trials
from clexlab.rows import Text

NAMES = tuple(f"{colour} {thing}" for colour in tasks.COLOURS for thing in tasks.THINGS)
COLUMNS = tuple("size price weight height width depth speed age rank score level count mass power rate cost".split())
# Of a cell, if nothing else is said: as many as of a pass key.
DIGITS = tasks.DIGITS


@dataclass(frozen=True, kw_only=True)
class Table:
    """A line of `cells` for every one of `rows`, a cell for every one of `columns`; names are unique. ValueError for other shapes."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    _answers: dict[tuple[str, str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, names in (("rows", self.rows), ("columns", self.columns)):
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{what} are {names}; give one name or more, each once")
        if len(self.cells) != len(self.rows) or any(len(line) != len(self.columns) for line in self.cells):
            raise ValueError(f"cells are no {len(self.rows)} lines of {len(self.columns)}; give a line a row, in it a cell a column")
        answers = {
            (row, column): cell
            for row, line in zip(self.rows, self.cells, strict=True)
            for column, cell in zip(self.columns, line, strict=True)
        }
        object.__setattr__(self, "_answers", answers)

    def answer(self, row: str, column: str) -> str:
        """The cell at a row and a column; ValueError where there is none."""
        if (row, column) not in self._answers:
            raise ValueError(f"the table has no cell {row!r}, {column!r}; its columns are {', '.join(self.columns)}")
        return self._answers[row, column]

    @property
    def questions(self) -> tuple[tuple[str, str], ...]:
        """All that can be asked: row and column of every cell."""
        return tuple(self._answers)

    @property
    def lines(self) -> tuple[str, ...]:
        """The table as text, a line each, which begins with its line break, as a question does."""
        told = (
            (row, *(f"{column} {cell}" for column, cell in zip(self.columns, line, strict=True)))
            for row, line in zip(self.rows, self.cells, strict=True)
        )
        return tuple("\n# " + " | ".join(parts) for parts in told)

    @property
    def text(self) -> str:
        """All lines."""
        return "".join(self.lines)


def question(row: str, column: str) -> str:
    """What stands before an answer."""
    return f"\n# The {column} of {row} is "


def draw_table(rows: int, columns: int, generator: torch.Generator, digits: int = DIGITS) -> Table:
    """A table of any size: names in a drawn order, cells different numbers of `digits` digits, all equally likely.

    There are 256 names of rows and 16 of columns; when they are used up they come again with a number. ValueError for sizes that are
    no numbers of lines, columns or digits, and for more cells than numbers.
    """
    for what, value in (("rows", rows), ("columns", columns), ("digits", digits)):
        if not frequencies.is_whole(value) or value < 1:
            raise ValueError(f"{what} is {value!r}; it must be a whole number, at least 1")
    if rows * columns > 10**digits:
        raise ValueError(f"{rows * columns} cells cannot be different numbers of {digits} digits; use more digits")
    values: dict[int, None] = {}
    while len(values) < rows * columns:
        drawn = torch.randint(10**digits, (rows * columns - len(values),), generator=generator)
        values |= dict.fromkeys(drawn.tolist())
    cells = [f"{value:0{digits}d}" for value in values]
    return Table(
        rows=draw_names(NAMES, rows, generator),
        columns=draw_names(COLUMNS, columns, generator),
        cells=tuple(tuple(cells[first : first + columns]) for first in range(0, rows * columns, columns)),
    )


def draw_names(words: Sequence[str], count: int, generator: torch.Generator) -> tuple[str, ...]:
    """`count` different names: all words in a drawn order, then all with a 2 behind them, and so on."""
    names: list[str] = []
    while len(names) < count:
        again = f" {len(names) // len(words) + 1}" if names else ""
        names += [words[index] + again for index in torch.randperm(len(words), generator=generator).tolist()]
    return tuple(names[:count])


class Lookup:
    """Training rows: text with a table of up to half the row, and behind it as many of its cells asked and answered as fit.

    Cells are asked in a drawn order, each at most once. The table stands in one piece; table and questions are at drawn places.
    """

    name = "lookup"

    def __init__(self, filler: Text, tokenizer: PreTrainedTokenizerBase, columns: int = 2) -> None:
        if not frequencies.is_whole(columns) or columns < 1:
            raise ValueError(f"columns is {columns!r}; it must be a whole number, at least 1")
        self.length, self.filler, self.tokenizer, self.columns = filler.length, filler, tokenizer, columns

    def draw(self, generator: torch.Generator) -> Int[Tensor, "length"]:
        """`length` tokens; ValueError where there is no room for one line and one question."""
        table, lines = fitting(self.tokenizer, self.length // 2, self.columns, generator)
        asked = [table.questions[index] for index in torch.randperm(len(lines) * self.columns, generator=generator).tolist()]
        end = torch.tensor(self.tokenizer.encode("\n", add_special_tokens=False))
        pieces = [torch.cat([*lines, end])]
        room = self.length - len(pieces[0])
        for row, column in asked:
            said = tasks.sentence(self.tokenizer, question(row, column), table.answer(row, column)).tokens
            if len(said) > room:
                break
            pieces, room = [*pieces, said], room - len(said)
        if len(pieces) == 1:
            raise ValueError(f"length is {self.length}: beside a line of the table there is no room for a question; use longer rows")
        return tasks.plant(pieces, self.filler.draw(generator), generator)


@dataclass(frozen=True, kw_only=True, eq=False)
class TableTrial(Trial):
    """A trial whose needle is one line of a table and whose other lines, nearest the question first, fill the text.

    As many of `others` as fit are there, whole; before the table stands what is missing of the length, the end of `filler`. So at every
    length and depth the question is the same, and the lines near it are.
    """

    others: tuple[Int[Tensor, "_"], ...]

    def text(self, length: int, depth: float) -> Int[Tensor, "length"]:
        """`length` tokens with the line at `depth` of the table's other lines: 0 before them, 1 behind. ValueError as `Trial`."""
        self.check(length, depth)
        room, kept = length - self.shortest, []
        for line in self.others:
            if len(line) > room:
                break
            kept, room = [line, *kept], room - len(line)
        before = round(depth * len(kept))
        front = self.filler[len(self.filler) - room :]
        return torch.cat([front, *kept[:before], self.needle, *kept[before:], self.question, self.answer])


def lookups(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Int[Tensor, "_"]],
    longest: int,
    count: int,
    generator: torch.Generator,
    columns: int = 2,
) -> tuple[TableTrial, ...]:
    """`count` trials for texts of up to `longest` tokens that are one table each, of which one cell is asked.

    The answer stands in no other cell. Raises ValueError where no document has `longest` tokens, and for no number of columns.
    """

    def draw(filler: Int[Tensor, "_"]) -> TableTrial:
        table, (needle, *others) = fitting(tokenizer, longest, columns, generator)
        column = table.columns[int(torch.randint(columns, (), generator=generator))]
        said = tasks.sentence(tokenizer, question(table.rows[0], column), table.answer(table.rows[0], column))
        asked, answer = said.tokens[: said.before], said.tokens[said.before : said.before + said.digits]
        return TableTrial(task=Lookup.name, filler=filler, needle=needle, question=asked, answer=answer, others=tuple(others))

    return draw_trials(draw, documents, longest, count, generator)


def fitting(
    tokenizer: PreTrainedTokenizerBase, room: int, columns: int, generator: torch.Generator
) -> tuple[Table, tuple[Int[Tensor, "_"], ...]]:
    """A drawn table and the tokens of its lines, as many as fit in `room` tokens; ValueError where not one does."""
    # No cell takes less than a token a digit and one that names its column.
    drawn = draw_table(max(1, room // (columns * (DIGITS + 1))), columns, generator)
    lines: list[Tensor] = []
    for line in drawn.lines:
        coded = torch.tensor(tokenizer.encode(line, add_special_tokens=False))
        if len(coded) > room:
            break
        lines, room = [*lines, coded], room - len(coded)
    if not lines:
        raise ValueError(f"a line of the table has {len(coded)} tokens, there is room for {room}; use longer rows or fewer columns")
    return Table(rows=drawn.rows[: len(lines)], columns=drawn.columns, cells=drawn.cells[: len(lines)]), tuple(lines)
