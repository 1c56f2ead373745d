"""The explorers in the page: formulas equal to Python's, both directions of the traits, errors shown, readable colours."""

import json

import pytest
import torch
from lab import write_notebook

from clexlab import frequencies, rope, scaling
from clexlab.widgets.frequency import DRAWN
from clexlab.widgets.page_widget import page_code

GEOMETRIES = [(128, 1e4, 4096, 8.0), (64, 5e5, 8192, 4.5), (32, 1e4, 2048, 1.0), (256, 1e6, 32768, 16.0), (24, 1e4, 2048, 2.0)]

CELLS = (
    """import ipywidgets
from clexlab import widgets
explorer = widgets.FrequencyExplorer()
explorer""",
    "turning = widgets.RotationExplorer()\nturning",
    """slider, notice = ipywidgets.IntSlider(), widgets.ErrorNotice()
def fail(change):
    raise RuntimeError(f"failed on purpose at {change['new']}")
slider.observe(widgets.safely(fail, notice), "value")
ipywidgets.VBox([slider, notice])""",
)


CHARTS = (
    """from clexlab import widgets
dynamics = widgets.DynamicsExplorer()
dynamics""",
    "dynamics",
)


@pytest.fixture(scope="module")
def notebook(opened, folder):
    with opened(write_notebook(folder / "explorers.ipynb", *CELLS)) as running:
        yield running


@pytest.fixture(scope="module")
def in_page(page):
    """Call a function exported by the page code with JSON arguments; no Lab is needed for formulas."""
    page.goto("about:blank")
    code = page_code("frequency")
    page.evaluate(
        """async (code) => {
            const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
            window.formulas = await import(address);
        }""",
        code,
    )

    def call(name, *arguments):
        answer = page.evaluate(
            """([name, text]) => JSON.stringify(window.formulas[name](...JSON.parse(text)),
                (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value))""",
            [name, json.dumps(arguments)],
        )
        return json.loads(answer)

    return call


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def shape(head_dim, base, window):
    return {"headDim": head_dim, "base": base, "window": window}


# The page counts in float64. Its pow and log may differ from Python's in the last bits, hence 1e-12; float32 frequencies
# carry their own rounding of 6e-8, a few times over.
@pytest.mark.parametrize(("head_dim", "base", "window", "factor"), GEOMETRIES)
@pytest.mark.parametrize("method", [path.name for path in (*DRAWN, scaling.ByParts)])
def test_the_page_scales_frequencies_as_python_does(in_page, method, head_dim, base, window, factor):
    path = scaling.by_name(method).default(head_dim=head_dim, base=base, window=window)
    drawn = tensor(in_page("scaledFrequencies", method, shape(head_dim, base, window), factor))
    torch.testing.assert_close(drawn, path.inv_freq(factor, torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(drawn, path.inv_freq(factor).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("head_dim", "base", "window", "factor"), GEOMETRIES)
def test_the_page_finds_the_critical_pair_python_finds(in_page, head_dim, base, window, factor):
    theta = frequencies.inv_freq(head_dim, base, torch.float64)
    assert in_page("criticalPair", theta.tolist(), window) == frequencies.critical_pair(theta, window)


def test_the_page_refuses_what_python_refuses(page, in_page):
    with pytest.raises(ValueError, match="no pair makes between"):
        scaling.YaRN(head_dim=64, base=1e4, window=4)
    for method, window, factor in (("yarn", 4, 2.0), ("longrope", 4096, 17.0)):
        with pytest.raises(Exception, match="RangeError"):
            in_page("scaledFrequencies", method, shape(64, 1e4, window), factor)


def test_the_similarity_is_the_mean_of_unit_arrows(in_page):
    theta = frequencies.inv_freq(128, 1e4, torch.float64)
    for distance in (1, 77, 4096, 131_072):
        arrows = torch.exp(1j * distance * theta)
        # An angle of 10⁵ rad in float64 is known to 10⁻¹¹.
        assert in_page("similarity", theta.tolist(), distance) == pytest.approx(arrows.mean().abs().item(), abs=1e-9)


@pytest.mark.parametrize("pairing", rope.PAIRINGS)
def test_the_page_scores_as_rope_does(in_page, pairing):
    q, k = torch.randn(2, 16, dtype=torch.float64)
    theta = frequencies.inv_freq(16, 1e4, torch.float64)
    for distance in (-5, 0, 3, 500):
        angles = rope.angles(torch.tensor([distance + 40.0, 40.0], dtype=torch.float64), theta)
        rotated = rope.rotate(torch.stack((q, k)), angles, pairing)
        expected = (rotated[0] @ rotated[1]).item()
        assert in_page("score", q.tolist(), k.tolist(), distance, theta.tolist(), pairing.__name__) == pytest.approx(expected, abs=1e-12)


def drawn(notebook, name, index=0):
    return notebook.page.evaluate("([name, index]) => document.querySelectorAll('.clexlab')[index].drawn[name]", [name, index])


def wait_until_drawn(notebook, name, value, index=0):
    notebook.page.wait_for_function(
        "([name, value, index]) => document.querySelectorAll('.clexlab')[index].drawn[name] === value", arg=[name, value, index]
    )


def range_input(notebook, name):
    return notebook.page.locator(f"{notebook.panel} .clexlab input[name={name}]")


def test_values_travel_both_ways_and_the_finding_is_stated(notebook):
    assert notebook.troubles() == []
    finding = notebook.page.locator(".clexlab-finding").first
    assert "18 of 64 pairs never complete a turn within 4,096 tokens" in finding.inner_text()
    notebook.python("explorer.preset = 'Llama-3.1-8B'")
    wait_until_drawn(notebook, "window", 8192)
    assert "29 of 64" in finding.inner_text()
    assert "Llama-3.1-8B itself is published with Llama-3 scaling at factor 8" in finding.inner_text()
    notebook.page.locator(".clexlab select[name=preset]").select_option("Phi-2")
    wait_until_drawn(notebook, "head_dim", 32)
    notebook.settle()
    assert notebook.python("print(explorer.preset, explorer.head_dim, explorer.window)") == "Phi-2 32 2048"
    range_input(notebook, "window").press("ArrowRight")
    wait_until_drawn(notebook, "window", 4096)
    notebook.settle()
    assert notebook.python("print(repr(explorer.preset), explorer.window)") == "'' 4096"


def test_a_drag_ends_on_its_last_value(notebook):
    slider = range_input(notebook, "factor")
    notebook.drag(slider, 0.95, steps=40)
    notebook.settle()
    shown = drawn(notebook, "factor")
    assert 2 ** float(slider.input_value()) == pytest.approx(shown)
    assert float(notebook.python("print(explorer.factor)")) == pytest.approx(shown)


def test_a_pair_is_pointed_at_in_all_panels_by_keyboard(notebook):
    canvas = notebook.page.locator(".clexlab canvas").first
    canvas.focus()
    canvas.press("ArrowRight")
    canvas.press("ArrowRight")
    notebook.page.wait_for_function("() => document.querySelector('.clexlab-spoken').textContent.startsWith('Pair 1,')")
    assert notebook.page.locator(".clexlab-tip:visible").count() == 1
    canvas.press("Escape")
    notebook.page.wait_for_function("() => !document.querySelector('.clexlab-spoken').textContent")


def test_shifting_both_tokens_leaves_the_score(notebook):
    before = drawn(notebook, "now", index=1)
    range_input(notebook, "shift").press("End")
    wait_until_drawn(notebook, "shift", 512, index=1)
    assert drawn(notebook, "now", index=1) == pytest.approx(before, abs=1e-12)


def test_explorers_fit_a_narrow_and_a_dense_screen(notebook):
    session = notebook.page.context.new_cdp_session(notebook.page)
    size = {"width": 760, "height": 900, "deviceScaleFactor": 2, "mobile": False}
    session.send("Emulation.setDeviceMetricsOverride", size)
    sharp = "() => [...document.querySelectorAll('.clexlab canvas')].every((c) => Math.abs(c.width - 2 * c.clientWidth) <= 1)"
    notebook.page.wait_for_function(sharp)
    inside = "() => [...document.querySelectorAll('.clexlab')].every((e) => e.scrollWidth <= e.clientWidth)"
    assert notebook.page.evaluate(inside)
    session.send("Emulation.clearDeviceMetricsOverride")


CONTRASTS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const pixel = (...colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort(); return (y + 0.05) / (x + 0.05); };
    const behind = (element) => {
        const layers = [];
        for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
        return ["white", ...layers];
    };
    const found = [];
    for (const root of document.querySelectorAll(".clexlab")) {
        for (const element of root.querySelectorAll("h3, span, output, select, legend, figcaption, p, b")) {
            if (!element.textContent.trim() || !element.checkVisibility()) continue;
            const paper = behind(element);
            found.push([element.textContent.slice(0, 30), contrast(pixel(...paper, getComputedStyle(element).color), pixel(...paper))]);
        }
        const paper = behind(root);
        const style = getComputedStyle(root);
        for (const name of ["--jp-ui-font-color1", "--jp-ui-font-color2"])
            found.push([`letters in canvas ${name}`, contrast(pixel(...paper, style.getPropertyValue(name)), pixel(...paper))]);
        for (const line of root.querySelectorAll(".clexlab-swatch line"))
            found.push([`line ${line.getAttribute("stroke")}`, contrast(pixel(...paper, getComputedStyle(line).stroke), pixel(...paper))]);
    }
    return found;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_and_lines_stand_out_in_both_themes(notebook, theme):
    notebook.wear(theme)
    notebook.settle()
    contrasts = notebook.page.evaluate(CONTRASTS)
    assert len(contrasts) > 40
    assert [found for found in contrasts if found[1] < 3] == []


def test_the_exception_of_a_kernel_side_callback_is_shown_in_the_widget(notebook):
    notebook.page.locator(f"{notebook.panel} .noUi-handle").press("ArrowRight")
    alert = notebook.page.locator('.clexlab-error[role="alert"]', has_text="failed on purpose at 1")
    alert.wait_for(state="visible")
    assert "RuntimeError" in alert.inner_text()


def test_the_exception_of_a_listener_is_shown_in_the_explorer_and_drawing_goes_on(notebook):
    notebook.python("explorer.observe(lambda change: 1 / 0, 'base')")
    range_input(notebook, "base").press("ArrowRight")
    alert = notebook.page.locator(".clexlab .clexlab-error", has_text="ZeroDivisionError in a Python callback")
    alert.wait_for(state="visible")
    before = drawn(notebook, "frame")
    range_input(notebook, "window").press("ArrowLeft")
    notebook.page.wait_for_function("frame => document.querySelector('.clexlab').drawn.frame > frame", arg=before)


def test_an_exception_of_the_page_is_shown_in_the_explorer(notebook):
    notebook.page.evaluate(
        """() => {
            const surface = document.querySelectorAll(".clexlab")[1].querySelector("canvas");
            surface.getContext = () => { throw new Error("no canvas today"); };
        }"""
    )
    range_input(notebook, "shift").press("ArrowLeft")
    notebook.page.locator(".clexlab .clexlab-error", has_text="could not draw this: no canvas today").wait_for(state="visible")


@pytest.fixture(scope="module")
def twice(opened, folder):
    with opened(write_notebook(folder / "charts.ipynb", *CHARTS)) as running:
        yield running


def test_two_views_of_a_chart_hold_the_numbers_of_the_kernel_while_a_slider_is_dragged(twice):
    assert twice.troubles() == [] and twice.figures() == 2
    slider = twice.sliders().nth(2)
    twice.drag(slider, 0.9, steps=30)
    twice.settle()
    twice.python("import json, numpy as np; held = lambda column: [None if np.isnan(v) else float(v) for v in column]")
    # The solver's error follows when the hand has rested: the views may be one update ahead of what was just asked.
    for _ in range(20):
        told = json.loads(twice.python("print(json.dumps([[held(d.x), held(d.y)] for d in dynamics.chart.data]))"))
        twice.settle()
        shown = [[listed(curve) for curve in drawn(twice, "curves", index)] for index in range(2)]
        if shown == [told, told]:
            break
    assert shown == [told, told]


def listed(curve):
    """NaN equals nothing, itself included: compare None."""
    return [[None if value != value else value for value in curve[column]] for column in ("xs", "ys")]


def test_a_chart_is_read_by_keyboard_and_its_canvas_tells_the_finding(twice):
    canvas = twice.page.locator(".clexlab canvas").nth(1)
    canvas.focus()
    canvas.press("ArrowRight")
    canvas.press("ArrowRight")
    twice.page.wait_for_function("() => document.querySelector('.clexlab-spoken').textContent.startsWith('pair j = 1:')")
    assert "1/t" in twice.page.locator(".clexlab-tip:visible").inner_text()
    canvas.press("Escape")
    twice.page.wait_for_function("() => !document.querySelector('.clexlab-spoken').textContent")
    assert "the field moves θ of pair" in canvas.get_attribute("aria-label")


def test_charts_fit_a_narrow_and_a_dense_screen(twice):
    test_explorers_fit_a_narrow_and_a_dense_screen(twice)


def test_an_exception_of_a_chart_is_shown_in_it(twice):
    twice.page.evaluate(
        """() => {
            const canvas = document.querySelector(".clexlab canvas");
            canvas.getContext = () => { throw new Error("no canvas today"); };
        }"""
    )
    twice.sliders().first.press("ArrowLeft")
    twice.page.locator(".clexlab .clexlab-error", has_text="could not draw this: no canvas today").wait_for(state="visible")
