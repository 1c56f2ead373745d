"""FrequencyExplorer: which pairs complete a turn in training, and what each scaling method does to them."""

from collections.abc import Sequence
from typing import Any

import torch
import traitlets

from clexlab import presets, scaling
from clexlab.figures import style
from clexlab.frequencies import Geometry
from clexlab.widgets.page_widget import Choice, Choices, Number, PageWidget, Whole, page_code

# By parts is YaRN without the temperature and untrained CLEX is dynamic NTK: the same frequencies, so the same curves.
DRAWN = (
    scaling.Identity,
    scaling.Linear,
    scaling.NTK,
    scaling.YaRN,
    scaling.DynamicNTK,
    scaling.Llama3,
    scaling.ABF,
    scaling.LongRoPE,
)
OWN = "own"
METHODS = (*(path.name for path in DRAWN), OWN)
PRESET_NAMES = ("", *(geometry.name for geometry in presets.PRESETS))


def _own(geometry: Geometry) -> dict[str, Any] | None:
    """The model's published frequencies, computed here: they do not move with the sliders."""
    path, factor = presets.published_scaling(geometry), presets.published_factor(geometry)
    if factor == 1:
        return None
    return {"title": path.title, "factor": factor, "inv_freq": path.inv_freq(factor, torch.float64).tolist()}


def _models() -> list[dict[str, Any]]:
    return [
        {"name": each.name, "head_dim": each.head_dim, "base": each.base, "window": each.window, "own": _own(each)}
        for each in presets.PRESETS
    ]


def _legend() -> list[dict[str, Any]]:
    entries = []
    for index, path in enumerate(DRAWN):
        line = style.line(index)
        entries.append({"name": path.name, "title": path.title, "colour": line["color"], "dash": line["dash"]})
    # In the colour of the text and wider: the one curve that is a fact about a model, not a proposal.
    return [*entries, {"name": OWN, "title": "own setting", "colour": None, "dash": "solid", "width": 2.5}]


class FrequencyExplorer(PageWidget):
    """Three linked panels over the pairs of one geometry: wavelength, stretch beyond training, similarity over distance.

    `preset` names one of `presets.PRESETS` and sets `head_dim`, `base` and `window`; setting one of these by hand empties
    it. `factor` is t from 1 to 32; `methods` names the curves, of `METHODS` ("own": the model's published setting).
    Everything is drawn by the page, and every value can be read and set from Python: `explorer.factor = 4`. A value
    outside its range is a ValueError.
    """

    _esm = page_code("frequency")

    models = traitlets.List().tag(sync=True)
    legend = traitlets.List().tag(sync=True)
    preset = Choice("", PRESET_NAMES).tag(sync=True)
    head_dim = Whole(128, 4, 1024, "coordinates").tag(sync=True)
    base = Number(10_000.0, 2, 1e10, "(10_000 for Llama-2)").tag(sync=True)
    window = Whole(4096, 16, 2**24, "tokens").tag(sync=True)
    factor = Number(8.0, 1, 32, "(t = length / window)").tag(sync=True)
    methods = Choices((), METHODS).tag(sync=True)

    def __init__(
        self,
        preset: str = presets.PRESETS[0].name,
        factor: float = 8.0,
        methods: Sequence[str] = ("identity", "linear", "ntk", "yarn", OWN),
    ) -> None:
        geometry = presets.by_name(preset)
        super().__init__(
            models=_models(),
            legend=_legend(),
            preset=preset,
            head_dim=geometry.head_dim,
            base=geometry.base,
            window=geometry.window,
            factor=factor,
            methods=methods,
        )
        self.observe(self._take_preset, "preset")
        self.observe(self._leave_preset, ["head_dim", "base", "window"])

    @traitlets.validate("head_dim")
    def _check_head_dim(self, proposal: dict[str, Any]) -> int:
        if proposal["value"] % 2:
            raise ValueError(f"head_dim is {proposal['value']}; it must be even: coordinates turn in pairs")
        return proposal["value"]

    def _take_preset(self, change: dict[str, Any]) -> None:
        if change["new"]:
            geometry = presets.by_name(change["new"])
            with self.hold_trait_notifications():
                self.head_dim, self.base, self.window = geometry.head_dim, geometry.base, geometry.window

    def _leave_preset(self, change: dict[str, Any]) -> None:
        if not self.preset:
            return
        geometry = presets.by_name(self.preset)
        if (self.head_dim, self.base, self.window) != (geometry.head_dim, geometry.base, geometry.window):
            self.preset = ""
