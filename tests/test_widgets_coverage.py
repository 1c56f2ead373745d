"""CoverageExplorer: what is drawn is what the recipes draw and their formulas say; every recipe there is can be chosen."""

import asyncio

import explorer_checks
import numpy as np
import pytest
import torch

from clexlab import positions
from clexlab.widgets import WIDGETS, CoverageExplorer
from clexlab.widgets import coverage_explorer as page

# The page is sent float32: seven digits.
SENT = dict(rtol=2e-7, atol=1e-7)


@pytest.fixture
def explorer(monkeypatch):
    # Without an event loop the second, thorough look is taken at once; what it adds is tested on its own.
    monkeypatch.setattr(page, "MANY", 60)
    return CoverageExplorer(window=16, factor=4)


def curve(explorer, index):
    return explorer.chart.data[index]


def test_it_is_one_of_the_widgets_with_one_chart_one_notice_and_labels_everywhere(explorer):
    assert CoverageExplorer in WIDGETS
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)
    explorer_checks.names_every_axis_curve_and_control(explorer)


def test_every_recipe_is_offered_and_shows_its_options_alone(explorer):
    offered = {name for _, name in explorer.controls["recipe"].options}
    assert offered == {kind.name for kind in (*positions.SAMPLERS, *positions.SEGMENTS, positions.Sentences)}
    seen = {}
    for name in sorted(offered):
        explorer.recipe = name
        assert explorer.notice.value == "" and explorer.sampler.name == name
        seen[name] = {option for option in page.OPTIONS if explorer.controls[option].layout.display is None}
    assert seen["skip_wise"] == {"chunks", "cut"} and seen["e2_llm"] == {"fixed"} and seen["random_pos"] == set()
    assert seen["chunk_segments"] == {"pieces"} and seen["prefix_segments"] == {"alpha"} and seen["sentences"] == {"sentences"}


def test_no_recipe_has_an_option_that_cannot_be_set():
    for kind in page.RECIPES:
        assert {field.name for field in page.fields(kind)} <= {"window", "factors", *page.OPTIONS}, kind.name


@pytest.mark.parametrize("name", ["chunks", "pieces", "alpha", "fixed", "sentences", "factor", "window", "seed"])
def test_every_option_changes_the_rows(explorer, name):
    owner = {"pieces": "chunk_segments", "alpha": "prefix_segments", "fixed": "e2_llm", "sentences": "sentences"}
    explorer.recipe = owner.get(name, "skip_wise")
    before, value = curve(explorer, page.ROWS).x.tobytes(), getattr(explorer, name)
    slider = explorer.controls[name]
    setattr(explorer, name, next(one for one in slider.options if one != value) if hasattr(slider, "options") else value + 1)
    assert curve(explorer, page.ROWS).x.tobytes() != before and explorer.notice.value == ""


def test_the_strips_are_the_runs_of_the_drawn_rows(explorer):
    rows = curve(explorer, page.ROWS)
    generator = torch.Generator().manual_seed(0)
    for number in range(page.SHOWN):
        places = explorer.sampler.draw(16, generator).positions
        mine = rows.x[rows.y == number].reshape(-1, 3)
        covered = torch.cat([torch.arange(left + 0.5, right) for left, right, _ in mine.tolist()])
        torch.testing.assert_close(covered, places)
    assert np.isnan(rows.x[2::3]).all()


def test_a_formula_is_drawn_where_there_is_one_and_counts_are_drawn_where_there_is_none(explorer):
    exact = explorer.sampler.coverage(16, 4.0)
    np.testing.assert_allclose(curve(explorer, page.MET_KNOWN).y, exact[1:], **SENT)
    np.testing.assert_array_equal(curve(explorer, page.MET_KNOWN).x, np.arange(1, 64))
    assert len(curve(explorer, page.MET).x) == 0 and "(by formula)" in explorer.sentence
    explorer.chunks = 4
    assert len(curve(explorer, page.MET_KNOWN).x) == 0 and "(counted in 60 rows)" in explorer.sentence
    counted = positions.sampled_coverage(explorer.sampler, 16, 60, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(curve(explorer, page.MET).y[: len(counted) - 1], counted[1:], **SENT)


def test_pairs_beyond_the_window_of_an_offset_are_those_of_the_first_tokens(explorer):
    explorer.recipe = "e2_llm"
    explorer.fixed = 3
    pairs = curve(explorer, page.PAIRS_KNOWN)
    np.testing.assert_allclose(pairs.y, explorer.sampler.pairs(16, 4.0)[1:], **SENT)
    assert pairs.y[16:].max() <= 3 + 1e-6 and explorer.counted.far_keys <= 3


def test_ordinary_rows_meet_nothing_beyond_their_window_and_the_sentence_says_so(explorer):
    explorer.recipe = "contiguous"
    assert "Of the 48 distances from 16 to 63 <b>0</b> are met" in explorer.sentence
    assert "100.0% of neighbours" in explorer.sentence and "<b>0.0</b> of 16" in explorer.sentence
    np.testing.assert_array_equal(curve(explorer, page.MET_KNOWN).y, [1.0] * 15 + [0.0] * 48)
    explorer.factor = 1
    assert "no distance beyond the window" in explorer.sentence and explorer.notice.value == ""


def test_tokens_that_are_no_targets_are_drawn_apart(explorer):
    explorer.recipe = "prefix_segments"
    learned, read = curve(explorer, page.ROWS), curve(explorer, page.UNLEARNED)
    # One run a row is learned, of a quarter of its tokens.
    assert len(learned.x) == 3 * page.SHOWN and len(read.x) > 0
    np.testing.assert_allclose(learned.x[1::3] - learned.x[0::3], 4)


def test_a_factor_drawn_at_random_reaches_less_far_and_has_no_one_formula(explorer):
    explorer.factors = positions.LogUniformFactors
    assert explorer.sampler.factors == positions.LogUniformFactors(4.0)
    assert "(counted in 60 rows)" in explorer.sentence and explorer.notice.value == ""


def test_options_that_exclude_each_other_are_explained_and_the_next_choice_works(explorer):
    explorer.chunks = 3
    explorer.cut = positions.FirstHalf()
    assert "use Anywhere() for more" in explorer.notice.value
    explorer.chunks = 2
    assert explorer.notice.value == "" and explorer.counted.draws == 60


def test_a_slow_formula_and_many_rows_wait_for_the_hand_to_rest(monkeypatch):
    monkeypatch.setattr(page, "MANY", 60)
    explorer = CoverageExplorer("random_pos", window=16, factor=2)
    exact = curve(explorer, page.MET_KNOWN).y.copy()
    np.testing.assert_allclose(exact, explorer.sampler.coverage(16, 2.0)[1:], **SENT)

    async def move():
        explorer.seed = 1
        assert explorer.counted.draws == page.QUICK and len(curve(explorer, page.MET_KNOWN).x) == 0
        await asyncio.sleep(1.0)

    asyncio.run(move())
    assert explorer.counted.draws == 60
    np.testing.assert_array_equal(curve(explorer, page.MET_KNOWN).y, exact)


def test_what_would_take_minutes_is_counted(monkeypatch):
    monkeypatch.setattr(page, "MANY", 60)
    explorer = CoverageExplorer("prefix_segments", window=16, factor=16)
    assert explorer.slots > page.AFFORDABLE[positions.PrefixSegments] and "(counted in 60 rows)" in explorer.sentence


def test_a_move_sends_one_message(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer, "later", lambda callback: None)
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append(message))
    explorer.factor = 5
    assert len(sent) == 1 and "finding" in sent[0]["state"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("recipe", "magic", "'skip_wise'"), ("window", 17, "choose one of 16"), ("factor", 17, "between 1 and 16"), ("chunks", 0, "between")],
)
def test_python_is_refused_what_no_control_could_hold(explorer, name, value, words):
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    if name in ("recipe", "window", "factor"):
        with pytest.raises(ValueError, match=words):
            CoverageExplorer(**{name: value})
