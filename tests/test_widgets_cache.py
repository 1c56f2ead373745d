"""CacheExplorer: what it draws is what `decoding` computes; a choice is read once, a slide only points."""

import html
import re

import explorer_checks
import numpy as np
import pytest
import torch
import traitlets

from clexlab import decoding, hf, pocket, scaling
from clexlab.widgets import WIDGETS, CacheExplorer
from clexlab.widgets import cache_explorer as module

WINDOW, LENGTH = 16, 40
# The page is sent float32: seven digits.
SENT = dict(rtol=2e-7, atol=1e-7)


@pytest.fixture(scope="module")
def cases():
    model = decoding.random_llama(torch.Generator().manual_seed(0), 2, WINDOW)
    kinds = (scaling.DynamicNTK, scaling.YaRN)
    return tuple(decoding.Case(title=kind.title, model=model, path=hf.scaling_for(model, kind)) for kind in kinds)


@pytest.fixture
def explorer(cases):
    # Letters, spaces and signs that HTML reads as its own.
    texts = [torch.randint(257, (LENGTH,), generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    return CacheExplorer(cases=cases, texts=texts)


def expected(explorer, semantics, schedule):
    case = next(iter(explorer.cases.values()))
    return decoding.compare(case.model, case.path, explorer.texts[explorer.text], semantics, schedule)


def test_it_is_one_of_the_widgets():
    assert CacheExplorer in WIDGETS


def test_it_holds_one_live_chart_and_a_place_for_errors(explorer):
    explorer_checks.holds_one_chart_and_one_place_for_errors(explorer)


def test_every_axis_has_a_title_every_curve_a_name_and_every_control_a_label(explorer):
    explorer_checks.names_every_axis_curve_and_control(explorer)


@pytest.mark.parametrize("semantics", decoding.SEMANTICS, ids=lambda semantics: semantics.name)
def test_every_semantics_is_offered_and_drawn_as_it_is_computed(explorer, semantics):
    explorer.schedule, explorer.text = "doubling", 1
    explorer.semantics = semantics.name
    assert explorer.notice.value == ""
    run = expected(explorer, semantics, hf.Doubling())
    drawn = explorer.chart.data[module.KL]
    np.testing.assert_array_equal(drawn.x, run.lengths)
    np.testing.assert_allclose(drawn.y, np.maximum(run.divergence.numpy(), module.FLOOR), **SENT)
    np.testing.assert_array_equal(explorer.chart.data[module.DIFFER].x, run.lengths[~run.same])
    last = run.loss_cached[-module.MEAN_OF :].mean()
    assert explorer.chart.data[module.CACHED].y[-1] == pytest.approx(float(last), rel=1e-5)
    assert explorer.chart.data[module.CACHED].y[0] == pytest.approx(float(run.loss_cached[0]), rel=1e-5)


def test_windows_end_where_the_dashed_lines_stand(explorer):
    edges = explorer.chart.data[module.EDGES]
    assert sorted(set(edges.x.tolist())) == [16.5, 32.5] and np.isnan(edges.y[2::3]).all()


def test_a_choice_is_read_once_and_a_slide_reads_nothing(explorer, monkeypatch):
    explorer.method = scaling.YaRN.title
    monkeypatch.setattr(decoding, "compare", lambda *arguments: pytest.fail("read again"))
    for place in (1, 20, LENGTH - 1):
        explorer.position = place
        assert explorer.chart.data[module.NOW].x[0] == place
    explorer.method = scaling.DynamicNTK.title
    explorer.method = scaling.YaRN.title
    assert explorer.notice.value == ""


def test_the_table_shows_the_likeliest_next_tokens_of_both_runs(explorer):
    explorer.position = 30
    run = expected(explorer, hf.Rerotate, hf.Whole())
    rows = re.findall(r"<tr><th>(\w+)</th>(.*?)</tr>", explorer.sentence)
    assert [name for name, _ in rows] == ["uncached", "cached"]
    for (_, row), weights in zip(rows, (run.weight_uncached[29], run.weight_cached[29]), strict=True):
        assert re.findall(r"</code> ([\d.]+%)", row) == [f"{weight:.1%}" for weight in weights.tolist()]
    assert ("same first choice" if run.same[29] else "another first choice") in explorer.sentence
    assert "After 30 tokens, t = 2" in explorer.sentence


def test_the_text_is_shown_with_its_white_space_and_is_no_html(cases):
    text = torch.tensor([*b"a <b>\n\t&c" * 4])
    explorer = CacheExplorer(cases=cases, texts=[text], position=18, tokenizer=pocket.tokenizer())
    assert "a␣&lt;b&gt;⏎⇥&amp;ca␣&lt;b&gt;⏎⇥&amp;c" in explorer.sentence
    assert html.unescape("&lt;") not in explorer.sentence.split("<code>")[1].split("</code>")[0]


def test_a_move_sends_one_message_with_the_columns_that_changed(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(type(explorer.chart), "_send", lambda self, message, buffers=None: sent.append(message))
    explorer.position = 7
    assert len(sent) == 1 and set(sent[0]["state"]) == {"finding"}
    assert {path[0] for path in sent[0]["buffer_paths"]} == {f"x{module.NOW}", f"x{module.LOSS_NOW}"}
    explorer.semantics = "stale"
    assert len(sent) == 2


def test_a_callback_that_fails_shows_its_error_and_the_next_that_works_clears_it(explorer, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("the cache <ran> away")

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "compare", fail)
        explorer.semantics = "stale"
    assert "RuntimeError" in explorer.notice.value and "the cache &lt;ran&gt; away" in explorer.notice.value
    explorer.semantics = "refill"
    assert explorer.notice.value == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("semantics", "warm", "'frozen'"),
        ("method", "magic", "YaRN"),
        ("schedule", "exact", "'doubling'"),
        ("position", LENGTH, f"between 1 and {LENGTH - 1}"),
        ("text", 2, "choose one of 0, 1"),
    ],
)
def test_python_is_refused_what_no_control_could_hold(explorer, name, value, words):
    before = getattr(explorer, name)
    with pytest.raises((ValueError, traitlets.TraitError), match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_the_constructor_refuses_what_no_control_could_hold(cases):
    with pytest.raises(ValueError, match="choose one of"):
        CacheExplorer(semantics="warm", cases=cases, texts=[torch.arange(40)])


def test_the_running_mean_is_that_of_the_last_values():
    values = np.arange(100.0)
    mean = module._running_mean(values)
    assert mean[0] == 0 and mean[9] == 4.5 and mean[99] == values[-module.MEAN_OF :].mean()
