"""Tables to look things up in: answers against what the text says, questions in the rows, trials at any length."""

import re
from collections import Counter

import byte_tokenizer
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recall import VOCABULARY, Finder

from clexlab import base, bpe, evaluation, lookup, recipes, rows
from clexlab.evaluation.trials import occurrences
from clexlab.lookup import Lookup, Table, draw_table, lookups

TOKENIZER = bpe.load()
LENGTH, FILLER = 256, 7
DEPTHS = (0.0, 0.3, 0.5, 1.0)
SMALL = Table(rows=("red fox", "old ship"), columns=("size", "price"), cells=(("48213", "91370"), ("00712", "63095")))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filler(length: int) -> rows.Text:
    """Text of one token that no table contains."""
    return rows.Text([torch.full((2 * length,), FILLER)], length)


def read(text: str) -> dict[tuple[str, str], str]:
    """Row and column of every cell that a text tells, read without the table it was made from."""
    found = {}
    for line in re.findall(r"^# ([^|\n]+(?: \| [^|\n]+)+)$", text, flags=re.M):
        name, *cells = line.split(" | ")
        found |= {(name, cell.rpartition(" ")[0]): cell.rpartition(" ")[2] for cell in cells}
    return found


def asked(text: str) -> list[tuple[str, str, str]]:
    """Row, column and answer of every question."""
    return [(row, column, cell) for column, row, cell in re.findall(r"# The ([\w ]+) of ([\w ]+) is (\d+)\.\n", text)]


# ------------------------------------------------------------------------------------------------ tables


@given(size=st.integers(1, 30), columns=st.integers(1, 20), digits=st.integers(3, 7), seed=st.integers(0, 1000))
def test_the_dictionary_answers_what_the_text_says(size, columns, digits, seed):
    table = draw_table(size, columns, seeded(seed), digits)
    said = read(table.text)
    assert len(said) == size * columns == len(set(said.values())) and list(said) == list(table.questions)
    assert all(table.answer(row, column) == cell and len(cell) == digits for (row, column), cell in said.items())
    assert (len(table.rows), len(table.columns)) == (size, columns)


def test_a_table_reads_as_its_cells_in_lines():
    assert SMALL.text == "\n# red fox | size 48213 | price 91370\n# old ship | size 00712 | price 63095"
    assert SMALL.answer("old ship", "price") == "63095" and SMALL.answer("red fox", "size") == "48213"


def test_a_table_can_have_as_many_cells_as_there_are_numbers():
    table = draw_table(100, 10, seeded(), digits=3)
    assert len(draw_table(700, 1, seeded()).rows) == 700
    assert sorted(cell for line in table.cells for cell in line) == [f"{value:03d}" for value in range(1000)]


def test_cells_and_names_are_equally_likely():
    generator, draws = seeded(), 500
    digits, names = Counter(), Counter()
    for _ in range(draws):
        table = draw_table(1, 1, generator)
        digits.update(table.cells[0][0])
        names.update(table.columns)
    # Four standard errors of a tenth, and of a sixteenth.
    assert len(digits) == 10 and all(abs(n / (5 * draws) - 0.1) < 4 * (0.09 / (5 * draws)) ** 0.5 for n in digits.values())
    assert len(names) == 16 and all(abs(n / draws - 1 / 16) < 4 * (15 / 256 / draws) ** 0.5 for n in names.values())


# ------------------------------------------------------------------------------------------------ training rows


@settings(max_examples=40)
@given(length=st.integers(96, 600), columns=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_every_question_of_a_row_comes_after_the_table_and_has_its_answer(length, columns, seed):
    row = Lookup(filler(length), TOKENIZER, columns).draw(seeded(seed))
    text = TOKENIZER.decode(row)
    told, questions = read(text), asked(text)
    assert len(row) == length and questions
    assert all(told[name, column] == cell for name, column, cell in questions)
    assert len({(name, column) for name, column, _ in questions}) == len(questions)
    first = min(text.index(f"# The {column} of {name} is") for name, column, _ in questions)
    assert text.rindex(" | ") < first


def test_a_row_of_a_window_has_several_lines_and_hardly_any_room_left():
    source = Lookup(filler(LENGTH), TOKENIZER)
    made = [source.draw(seeded(seed)) for seed in range(20)]
    texts = [TOKENIZER.decode(row) for row in made]
    assert min(len(read(text)) // 2 for text in texts) >= 4 and min(len(asked(text)) for text in texts) >= 5
    assert torch.equal(source.draw(seeded(3)), made[3]) and not torch.equal(made[3], made[4])
    assert isinstance(source, rows.Source) and max(int((row == FILLER).sum()) for row in made) < LENGTH // 4


def test_every_cell_of_a_row_is_asked_equally_often():
    source, generator, places = Lookup(filler(128), TOKENIZER), seeded(), Counter()
    for _ in range(120):
        text = TOKENIZER.decode(source.draw(generator))
        told, ((name, column, _), *_) = list(read(text)), asked(text)
        if len(told) == 4:
            places[told.index((name, column))] += 1
    total = places.total()
    # Four standard errors of a quarter.
    assert total > 40 and all(abs(places[place] / total - 1 / 4) < 4 * (3 / 16 / total) ** 0.5 for place in range(4))


def test_a_recipe_may_have_tables():
    texts = [torch.randint(1, 4096, (300,), generator=seeded(seed)) for seed in range(4)]
    made = base.data(texts, TOKENIZER, LENGTH, 4, seeded(), {"text": 0.5, "lookup": 0.5})
    assert Counter(made.parts) == {"text": 2, "lookup": 2}
    assert asked(TOKENIZER.decode(made.tokens[made.parts.index("lookup")]))
    assert recipes.Rows(length=64, shares={"lookup": 0.5, "text": 0.5}).shares["lookup"] == 0.5


# ------------------------------------------------------------------------------------------------ trials


def documents(*sizes, seed=0):
    return [torch.randint(1, 256, (size,), generator=seeded(seed)) for size in sizes]


def trials(count=2, seed=1, longest=700):
    return lookups(byte_tokenizer.build(), documents(longest, longest + 90), longest, count, seeded(seed))


def test_a_text_of_a_trial_is_one_table_of_whole_lines_and_its_question():
    for trial in trials(3):
        tail = torch.cat([trial.question, trial.answer])
        for length in (200, 431, 700):
            for depth in DEPTHS:
                text = trial.text(length, depth)
                assert len(text) == length and torch.equal(text[-len(tail) :], tail)
                assert occurrences(text, trial.answer) == 2 and occurrences(text, trial.question) == 1
                lines = [line.tolist() for line in (trial.needle, *trial.others)]
                # In front of the table less than one more line would have been.
                kept = sum(occurrences(text, torch.tensor(line)) for line in lines)
                room = length - trial.shortest - sum(len(line) for line in lines[1:kept])
                assert 0 <= room < len(lines[kept]) if kept < len(lines) else room >= 0
                if depth == 0:
                    assert text[room : room + len(trial.needle)].tolist() == lines[0]
                if depth == 1:
                    assert text[: -len(tail)][-len(trial.needle) :].tolist() == lines[0]


def test_the_question_is_answered_by_the_line_it_names():
    tokenizer = byte_tokenizer.build()
    for trial in trials(5):
        text = tokenizer.decode(trial.text(700, 0.4))
        ((row, column, cell),) = asked(text + ".\n")
        assert read(text)[row, column] == cell


def test_lines_near_the_question_are_the_same_at_every_length():
    (trial,) = trials(1)
    short, long = trial.text(300, 0.0), trial.text(700, 0.0)
    shared = 300 - trial.shortest - 60
    assert torch.equal(short[-shared:], long[-shared:])


def test_recall_scores_trials_of_tables():
    model = Finder()
    found = evaluation.recall(model, trials(2, longest=400), 100, (2, 4), (0.0, 1.0))
    assert found.task == "lookup" and [row.length for row in found.rows] == [200, 200, 400, 400]
    # What follows the last six tokens elsewhere is no answer here: lines and questions put different words before a cell.
    assert found.exact(4) == 0.0


class Reader(Finder):
    """Reads the text as text, looks the asked cell up in its lines, and predicts it, digit by digit."""

    def forward(self, input_ids, use_cache):
        coder = byte_tokenizer.build()
        logits = torch.zeros(*input_ids.shape, VOCABULARY)
        for row, text in enumerate(input_ids):
            said = coder.decode(text)
            column, name = re.findall(r"# The ([\w ]+) of ([\w ]+) is ", said)[-1]
            cell = coder.encode(read(said)[name, column], add_special_tokens=False)
            for place, token in enumerate(cell, len(text) - len(cell) - 1):
                logits[row, place, token] = 20.0
        return type("Output", (), {"logits": logits})()


def test_one_who_looks_the_cell_up_answers_every_trial():
    # Its last line may be cut short by the question, never the one that is asked for.
    found = evaluation.recall(Reader(), trials(2, longest=400), 100, (2, 4), (0.0, 1.0))
    assert found.exact(2) == found.exact(4) == 1.0


# ------------------------------------------------------------------------------------------------ refused


def test_bad_input_is_refused(unchecked):
    for wrong, words in [
        (lambda: SMALL.answer("red fox", "age"), "no cell 'red fox', 'age'; its columns are size, price"),
        (lambda: Table(rows=("a", "a"), columns=("b",), cells=(("1",), ("2",))), "each once"),
        (lambda: Table(rows=(), columns=("b",), cells=()), "one name or more"),
        (lambda: Table(rows=("a",), columns=("b",), cells=(("1", "2"),)), "no 1 lines of 1"),
        (lambda: draw_table(0, 2, seeded()), "rows is 0"),
        (lambda: draw_table(2, 1.5, seeded()), "columns is 1.5"),
        (lambda: draw_table(6, 2, seeded(), digits=1), "12 cells cannot be different numbers of 1 digits"),
        (lambda: Lookup(filler(64), TOKENIZER, 0), "columns is 0"),
        (lambda: Lookup(filler(20), TOKENIZER).draw(seeded()), "use longer rows or fewer columns"),
        (lambda: trials()[0].text(20, 0.5), "length is 20"),
        (lambda: trials()[0].text(300, 1.5), "depth is 1.5"),
        (lambda: lookups(TOKENIZER, documents(90), 100, 1, seeded()), "none of 1 documents has 100 tokens"),
        (lambda: lookup.lookups(TOKENIZER, documents(300), 300, 0, seeded()), "count is 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            wrong()
