"""ScalingCalculator: from a model and a wanted length to frequencies, what they reach, and the config that ships them."""

import json

import ipywidgets
import numpy as np
from torch import Tensor

from clexlab import frequencies, presets, scaling
from clexlab.figures import style
from clexlab.figures.panels import numbers
from clexlab.widgets.explorer import LABEL, WIDE, Explorer, choices, control, describe, log_slider, presets_menu
from clexlab.widgets.live_chart import Axis, Curve, LiveChart, Panel, look

METHODS = tuple((kind.title, kind.name) for kind in scaling.SCALINGS)
WINDOW, TARGET, BASE, SCALED, LIMIT, REACH_BASE, REACH, NEW = range(8)


def config_text(parameters: dict) -> str:
    """The config entry as JSON with one key a line: a list of 64 divisors stays on its line."""
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in parameters.items()) + "\n}"


def python_text(path: scaling.Path, factor: float) -> str:
    """The lines that put this scaling into a transformers config. `|=` keeps a model's partial_rotary_factor."""
    geometry = f"head_dim={path.head_dim}, base={path.base:g}, window={path.window}"
    return (
        f"path = scaling.{type(path).__name__}.default({geometry})\n"
        f"config.rope_parameters |= path.rope_parameters({factor!r})\n"
        f"config.max_position_embeddings = {round(factor * path.window)}"
    )


def _chart() -> LiveChart:
    pairs = Axis("pair j")
    panels = (
        Panel("Wavelength per pair", pairs, Axis("wavelength", "tokens", scale="log2")),
        Panel("Largest angle ÷ trained angle", pairs, Axis("times the trained angle", scale="log2")),
    )
    curves = (
        Curve(0, "trained window", width=1),
        Curve(0, "wanted length", dash="dash", width=1),
        Curve(0, "no scaling", **look(0)),
        Curve(0, "method", **look(1, 3)),
        Curve(1, "all trained", width=1, legend=False),
        Curve(1, "no scaling", **look(0), legend=False),
        Curve(1, "method", **look(1, 3), legend=False),
        Curve(1, "angles never trained", colour=style.COLOURS[3], width=0, marker=9, told=False),
    )
    return LiveChart(panels, curves)


class ScalingCalculator(Explorer):
    """A real model, a wanted length, a method → factor, curves, new angles, and the `rope_parameters` to copy.

    Attributes, readable and settable: `preset`, `method` (a name of `scaling.SCALINGS`), `length` (tokens) and `factor`
    (length / window; setting one moves the other). `path` is the method on this model, `config` the JSON text and `code`
    the Python lines. A length below the window or beyond what the method is defined for shows a message, and no config.
    """

    preset, method, length = control("preset"), control("method"), control("length")

    def __init__(self, preset: str = "Llama-2-7B", method: str = "yarn", length: int = 32_768) -> None:
        scaling.by_name(method)
        geometry = presets.by_name(preset)
        controls = {
            "preset": presets_menu(preset),
            "method": choices("method", list(METHODS), method),
            "length": ipywidgets.IntText(length, description="wanted length", step=1024, style=LABEL, layout=WIDE),
            "factor": log_slider("factor t", 0, 7, 0.125, max(1.0, min(128.0, length / geometry.window))),
        }
        self._config, self._code = _text_area(), _text_area()
        super().__init__("Scaling calculator", controls, _chart())
        json_side = _column("rope_parameters of config.json", self._config)
        texts = (json_side, _column("the same from Python", self._code))
        self.children = (*self.children, ipywidgets.Box(texts, layout=dict(flex_flow="row wrap")))
        self._moving = False
        self.listen(self._take_length, "length")
        self.listen(self._take_factor, "factor", "preset")
        self.listen(self._redraw, "method")
        self._redraw()

    @property
    def factor(self) -> float:
        """t = length / window, exactly; the slider shows it within its own ends."""
        return self.length / presets.by_name(self.preset).window

    @factor.setter
    def factor(self, value: float) -> None:
        self.length = round(value * presets.by_name(self.preset).window)

    @property
    def path(self) -> scaling.Path:
        """The chosen method with its published defaults, on the chosen model."""
        geometry = presets.by_name(self.preset)
        kind = scaling.by_name(self.method)
        return kind.default(head_dim=geometry.head_dim, base=geometry.base, window=geometry.window)

    @property
    def config(self) -> str:
        """The `rope_parameters` entry as JSON; empty while the input is impossible."""
        return self._config.value

    @property
    def code(self) -> str:
        """The Python lines that build the same entry; empty while the input is impossible."""
        return self._code.value

    def _take_length(self) -> None:
        if not self._moving:
            self._together("factor", self.factor)

    def _take_factor(self) -> None:
        if not self._moving:
            window = presets.by_name(self.preset).window
            self._together("length", round(self.controls["factor"].value * window))

    def _together(self, other: str, value: float) -> None:
        """Move the other control of length and factor without answering it, then draw."""
        slider = self.controls["factor"]
        low, high = slider.base**slider.min, slider.base**slider.max
        self._moving = True
        try:
            self.controls[other].value = value if other == "length" else min(max(value, low), high)
        finally:
            self._moving = False
        self._redraw()

    def _redraw(self) -> None:
        try:
            # The text field is the input: the slider cannot hold a length below the window or beyond its own end.
            path, length, factor = self.path, self.length, self.factor
            scaled = path.inv_freq(factor).detach()
            parameters = path.rope_parameters(factor)
        except ValueError:
            self._config.value = self._code.value = ""
            self.say("")
            raise
        self._draw(path, scaled, length)
        self._config.value, self._code.value = config_text(parameters), python_text(path, factor)

    def _draw(self, path: scaling.Path, scaled: Tensor, length: int) -> None:
        trained = frequencies.inv_freq(path.head_dim, path.base)
        new = numbers(frequencies.meets_new_angles(scaled, trained, path.window, length)).astype(bool)
        unscaled = frequencies.meets_new_angles(trained, trained, path.window, length)
        reach = numbers(frequencies.phase_coverage(scaled, trained, path.window, length))
        pairs, ends = np.arange(path.pairs), np.array([0, path.pairs - 1])
        curves = {
            WINDOW: (ends, np.full(2, path.window)),
            TARGET: (ends, np.full(2, length)),
            BASE: (pairs, numbers(frequencies.wavelengths(trained))),
            SCALED: (pairs, numbers(frequencies.wavelengths(scaled))),
            LIMIT: (ends, np.ones(2)),
            REACH_BASE: (ends, np.full(2, length / path.window)),
            REACH: (pairs, reach),
            NEW: (pairs[new], reach[new]),
        }
        self.chart.draw(curves)
        self.chart.rename({SCALED: path.title, REACH: path.title})
        self.say(describe(presets.by_name(self.preset)) + ". " + _finding(path, length, int(new.sum()), int(unscaled.sum())))


def _finding(path: scaling.Path, length: int, new: int, unscaled: int) -> str:
    factor = length / path.window
    return (
        f"{length:,} tokens need <b>t = {factor:.4g}</b>. With {path.title} <b>{new} of {path.pairs}</b> pairs turn"
        f" to angles never met in training (without scaling {unscaled}); cos and sin are multiplied by"
        f" <b>{path.attention_scale(factor):.4g}</b>."
    )


def _text_area() -> ipywidgets.Textarea:
    return ipywidgets.Textarea(rows=10, layout=dict(width="100%"), style=dict(font_size="12px"))


def _column(title: str, area: ipywidgets.Textarea) -> ipywidgets.VBox:
    caption = ipywidgets.HTML(f'<span style="font-weight: 600">{title}</span>')
    return ipywidgets.VBox([caption, area], layout=dict(flex="1 1 400px", min_width="0", padding="0 12px 0 0"))
