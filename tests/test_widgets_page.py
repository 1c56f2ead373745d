"""The Python side of the explorers that draw in the page: traits, refusals, errors shown, and data that need no page."""

import json
import subprocess
import sys

import pytest
import torch

from clexlab import presets, scaling, widgets
from clexlab.widgets.frequency import DRAWN, METHODS, FrequencyExplorer
from clexlab.widgets.rotation import RotationExplorer


def test_a_preset_sets_the_geometry_and_moving_the_geometry_leaves_the_preset():
    explorer = FrequencyExplorer()
    explorer.preset = "Llama-3.1-8B"
    assert (explorer.head_dim, explorer.base, explorer.window) == (128, 500_000.0, 8192)
    assert explorer.preset == "Llama-3.1-8B"
    explorer.base = 10_000
    assert explorer.preset == ""
    assert (explorer.head_dim, explorer.window) == (128, 8192)


@pytest.mark.parametrize("geometry", presets.PRESETS, ids=lambda geometry: geometry.name)
def test_every_preset_opens_with_its_own_published_frequencies(geometry):
    explorer = FrequencyExplorer(preset=geometry.name)
    assert (explorer.head_dim, explorer.base, explorer.window) == (geometry.head_dim, geometry.base, geometry.window)
    own = next(model for model in explorer.models if model["name"] == geometry.name)["own"]
    factor = presets.published_factor(geometry)
    if factor == 1:
        assert own is None
    else:
        assert own["factor"] == factor
        published = presets.published_scaling(geometry).inv_freq(factor, torch.float64)
        assert torch.equal(torch.tensor(own["inv_freq"], dtype=torch.float64), published)


def test_values_from_the_page_arrive_together_and_are_not_undone():
    explorer = FrequencyExplorer()
    explorer.set_state({"preset": "Phi-2", "head_dim": 32, "base": 1e4, "window": 2048})
    assert (explorer.preset, explorer.head_dim, explorer.window) == ("Phi-2", 32, 2048)
    explorer.set_state({"window": 4096, "preset": ""})
    assert (explorer.preset, explorer.head_dim, explorer.window) == ("", 32, 4096)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("factor", 0.5, "between 1 and 32"),
        ("factor", float("nan"), "between 1 and 32"),
        ("factor", "four", "between 1 and 32"),
        ("factor", True, "between 1 and 32"),
        ("head_dim", 127, "must be even"),
        ("window", 4096.5, "whole number"),
        ("base", 1.0, "between 2 and"),
        ("preset", "Llama-9", "'Llama-2-7B'"),
        ("methods", ["yarn", "magic"], "'dynamic_ntk'"),
        ("methods", "yarn", "list of names"),
    ],
)
def test_the_frequency_explorer_refuses_what_it_cannot_draw(name, value, message):
    explorer = FrequencyExplorer()
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_the_constructors_refuse_too():
    with pytest.raises(ValueError, match="Llama-9"):
        FrequencyExplorer(preset="Llama-9")
    with pytest.raises(ValueError, match="between 1 and 32"):
        FrequencyExplorer(factor=33)
    with pytest.raises(ValueError, match="both must be of one head"):
        RotationExplorer(q=[1.0] * 8, k=[1.0] * 6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("q", [1.0, 2.0, 3.0], "even number"),
        ("q", [1.0, float("inf"), 3.0, 4.0], "finite"),
        ("q", 3.0, "one vector"),
        ("k", [0.0] * 8, "another size"),
        ("pair", 8, "pairs 0 to 7"),
        ("pairing", "half", "'HalfSplit'"),
        ("shift", -1, "between 0 and 512"),
    ],
)
def test_the_rotation_explorer_refuses_what_it_cannot_draw(name, value, message):
    with pytest.raises(ValueError, match=message):
        setattr(RotationExplorer(), name, value)


def test_the_rotation_explorer_takes_tensors_of_a_trained_head():
    q, k = torch.randn(64), torch.randn(64)
    explorer = RotationExplorer(q, k)
    assert explorer.q == pytest.approx(q.tolist())
    explorer.pair = 31
    explorer.q = k
    assert explorer.q == explorer.k


def test_an_exception_in_a_callback_of_the_page_is_shown_and_cleared_by_the_next_good_value():
    explorer = FrequencyExplorer()

    def callback(change):
        if change["new"] > 10:
            raise RuntimeError("too far")

    explorer.observe(callback, "factor")
    with pytest.raises(RuntimeError):
        explorer.set_state({"factor": 16.0})
    assert explorer.error == "RuntimeError in a Python callback: too far"
    explorer.set_state({"factor": 2.0})
    assert explorer.error == ""


def test_every_scaling_has_a_curve_or_shares_one_with_a_method_that_has():
    """By parts is YaRN and untrained CLEX is dynamic NTK: equal frequencies."""
    shape = dict(head_dim=64, base=1e4, window=2048)
    drawn = {path.name for path in DRAWN}
    assert {path.name for path in scaling.SCALINGS} - drawn == {"by_parts", "clex"}
    assert torch.equal(scaling.ByParts(**shape).inv_freq(4.0), scaling.YaRN(**shape).inv_freq(4.0))
    assert drawn | {"own"} == set(METHODS)


def test_curves_differ_in_more_than_colour():
    looks = {(entry["colour"], entry["dash"]) for entry in FrequencyExplorer().legend}
    assert len(looks) == len(METHODS)


def test_errors_are_shown_as_text_with_their_traceback_and_cleared():
    notice = widgets.ErrorNotice()
    calls = []

    def callback(value):
        calls.append(value)
        if value < 0:
            raise ValueError("<b>negative</b> & bad")

    guarded = widgets.safely(callback, notice)
    guarded(-1)
    assert 'role="alert"' in notice.value
    assert "ValueError" in notice.value and "&lt;b&gt;negative&lt;/b&gt; &amp; bad" in notice.value
    assert "Traceback" in notice.value
    guarded(1)
    assert notice.value == "" and calls == [-1, 1]


def test_page_code_carries_its_parts_in_a_wheel():
    """Every page file is read at import, so a distribution without them would not import: ask the package's resources."""
    from importlib.resources import files

    names = {entry.name for entry in files("clexlab.widgets").joinpath("page").iterdir()}
    assert {"formulas.js", "surface.js", "plot.js", "controls.js", "chart.js", "frequency.js", "rotation.js", "style.css"} <= names
    for explorer in (FrequencyExplorer, RotationExplorer, widgets.LiveChart):
        assert explorer._esm.count("export default") == 1


def test_importing_clexlab_loads_no_widgets():
    code = "import sys, clexlab; print([m for m in ('anywidget', 'plotly', 'ipywidgets') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(found.replace("'", '"')) == []
