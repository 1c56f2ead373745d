"""The atlas: every method of the package once, in its place, made from the tuples."""

from dataclasses import replace

import pytest
from torch import nn

from clexlab import atlas, biases, figures, positions, scaling, sparse
from clexlab.figures import atlas as page
from clexlab.positions import maps

TUPLES = (scaling.SCALINGS, positions.SAMPLERS, positions.SEGMENTS, maps.MAPS, biases.BIASES, sparse.PATTERNS)


def test_every_method_of_every_tuple_has_one_line():
    kinds = [line.kind for line in atlas.entries()]
    assert kinds == [kind for methods in TUPLES for kind in methods]
    assert len({line.name for line in atlas.entries()}) == len(kinds)


def test_every_method_has_a_formula_of_its_own_and_no_formula_is_of_no_method():
    names = {line.name for line in atlas.entries()}
    assert set(atlas.FORMULAS) == names and set(atlas.MANIFESTATIONS) <= names


def test_a_method_added_to_a_tuple_appears_without_a_word_about_it():
    class Own(nn.Module):
        name, title, paper = "own", "my own", ""

    place = atlas.place_named("added")
    line = atlas.entries([replace(place, kinds=(*place.kinds, Own))])[-1]
    assert line.title == "my own" and line.formula == "B(i, j)" and line.learned and line.cells()[-1] == "–"


def test_learned_is_what_has_parameters_of_its_own():
    learned = {line.name for line in atlas.entries() if line.learned}
    assert learned == {"clex", "t5", "kerple_log", "kerple_power", "fire", "cope"}
    assert all(any(True for _ in kind.default(heads=2, head_dim=8, window=64).parameters()) == kind.learned for kind in biases.BIASES)


# The survey's table 1, for the methods that it and the package have.
SURVEY = {
    "t5": ("bias", "yes", "add", "every"),
    "kerple_log": ("bias", "yes", "add", "every"),
    "fire": ("bias", "yes", "add", "every"),
    "alibi": ("bias", "no", "add", "every"),
    "sandwich": ("embedding, its product as bias", "no", "add", "every"),
    "identity": ("embedding", "no", "multiply", "every"),
}


@pytest.mark.parametrize("name", SURVEY)
def test_the_surveys_words_are_the_surveys(name):
    line = next(line for line in atlas.entries() if line.name == name)
    assert line.cells()[3:7] == SURVEY[name]


def test_the_table_has_a_row_a_method_and_no_cell_breaks_it():
    lines = atlas.table(atlas.entries()).splitlines()
    assert len(lines) == 2 + len(atlas.entries())
    assert {line.count("|") for line in lines} == {len(atlas.COLUMNS) + 1}
    assert "| [2108.12409](https://arxiv.org/abs/2108.12409) |" in next(line for line in lines if "| ALiBi |" in line)


def test_columns_can_be_chosen_and_unknown_ones_are_refused():
    assert atlas.table(atlas.entries()[:1], ("method", "learned")).splitlines()[2] == "| no scaling | no |"
    for columns in ((), ("speed",)):
        with pytest.raises(ValueError, match="choose from place, method"):
            atlas.table(atlas.entries(), columns)
    with pytest.raises(ValueError, match="there are angle, drawn, mapped, added, masked"):
        atlas.place_named("elsewhere")


def test_the_picture_has_every_method_once_under_its_place():
    figure = figures.methods_by_place(atlas.entries())
    shown = [(x, about[0]) for trace in figure.data for x, about in zip(trace.x, trace.customdata, strict=True)]
    assert sorted(shown) == sorted((atlas.PLACES.index(line.place), line.title) for line in atlas.entries())
    assert len({(x, y) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}) == len(shown)
    assert len(figure.layout.annotations) == len(atlas.PLACES)
    assert page.label("SDA, class shift (parametric family)") == "  SDA, class shift<br>  (parametric family)"
    assert page.label("PI") == "  PI"


def test_the_sign_says_what_is_learned_and_what_is_for_training_alone():
    sorts = {line.name: page.sort_of(line) for line in atlas.entries()}
    assert sorts["clex"] == page.LEARNED and sorts["yarn"] == page.FIXED and sorts["skip_wise"] == page.TRAINING


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no methods given"):
        figures.methods_by_place(())
