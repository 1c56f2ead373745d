"""Figures of cached decoding: lines are the measured numbers, zeros stand on the floor, windows are marked."""

import dataclasses

import numpy as np
import pytest
import torch

from clexlab import decoding, figures, hf, scaling
from clexlab.figures.decoding import FLOOR


@pytest.fixture(scope="module")
def runs():
    generator = torch.Generator().manual_seed(0)
    model = decoding.random_llama(generator, 2, 16)
    tokens = torch.randint(257, (40,), generator=generator)
    path = hf.scaling_for(model, scaling.DynamicNTK)
    kinds = {"stale": decoding.Stale, "frozen": hf.Frozen}
    return {name: decoding.compare(model, path, tokens, kind) for name, kind in kinds.items()}


def test_lines_hold_the_divergence_and_the_floor_holds_what_is_exact(runs):
    figure = figures.disagreement(runs, 16)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.name for trace in lines] == ["stale", "frozen"]
    np.testing.assert_allclose(lines[0].y[16:], runs["stale"].divergence[16:].numpy(), rtol=1e-12)
    assert set(lines[1].y) == {FLOOR}


def test_crosses_stand_where_the_first_choices_differ(runs):
    marks = [trace for trace in figures.disagreement(runs, 16).data if trace.mode == "markers"]
    stale = runs["stale"]
    np.testing.assert_array_equal(marks[0].x, stale.lengths[~stale.same])
    assert len(marks[0].x) and len(marks[1].x) == 0
    assert [trace.showlegend for trace in marks] == [True, False]


def test_a_dashed_line_stands_where_a_window_ends(runs):
    shapes = figures.disagreement(runs, 16).layout.shapes
    assert [shape.x0 for shape in shapes] == [16.5, 32.5]
    assert "16 tokens" in figures.disagreement(runs, 16).layout.xaxis.title.text


def test_bars_reach_from_the_smallest_to_the_largest_text():
    figure = figures.divergence_by_window({"YaRN": {"re-rotated": ([0.0, 1e-3], [0.0, 1e-4], [0.0, 1e-2])}}, ["0–1", "1–2"])
    line = figure.data[0]
    np.testing.assert_allclose(line.y, [FLOOR, 1e-3])
    np.testing.assert_allclose(np.array(line.y) + line.error_y.array, [FLOOR, 1e-2])
    np.testing.assert_allclose(np.array(line.y) - line.error_y.arrayminus, [FLOOR, 1e-4])


def test_colour_says_the_method_and_dash_with_sign_the_semantics():
    one = ([1.0], [1.0], [1.0])
    rows = {"YaRN": {"rerotate": one, "stale": one}, "CLEX": {"stale": one, "rerotate": one}}
    drawn = {trace.name: trace for trace in figures.divergence_by_window(rows, ["1–2"]).data}
    for method in rows:
        assert drawn[f"{method}, rerotate"].line.color == drawn[f"{method}, stale"].line.color
    for name in ("rerotate", "stale"):
        yarn, clex = drawn[f"YaRN, {name}"], drawn[f"CLEX, {name}"]
        assert (yarn.line.dash, yarn.marker.symbol) == (clex.line.dash, clex.marker.symbol)
    assert drawn["YaRN, stale"].line.color != drawn["CLEX, stale"].line.color
    assert drawn["YaRN, stale"].line.dash != drawn["YaRN, rerotate"].line.dash


def test_impossible_requests_are_refused_with_the_fix(runs):
    with pytest.raises(ValueError, match="no run given"):
        figures.disagreement({}, 16)
    with pytest.raises(ValueError, match="2 stretches"):
        figures.divergence_by_window({"YaRN": {"frozen": ([1.0], [1.0], [1.0])}}, ["0–1", "1–2"])


def test_the_run_is_not_changed_by_drawing_it(runs):
    before = dataclasses.replace(runs["stale"], divergence=runs["stale"].divergence.clone())
    figures.disagreement(runs, 16)
    assert torch.equal(before.divergence, runs["stale"].divergence)
