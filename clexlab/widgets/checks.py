"""A list of check boxes as one control."""

from collections.abc import Mapping, Sequence

import ipywidgets
import traitlets


class Checks(ipywidgets.VBox):
    """A check box for every entry of `titles` (name → label); `value` holds the names of the checked ones, in that order.

    A long list scrolls. `caption` stands above the boxes.
    """

    value = traitlets.Tuple()

    def __init__(self, description: str, titles: Mapping[str, str], value: Sequence[str], caption: str = "", columns: int = 1) -> None:
        box = dict(indent=False, layout=dict(width="auto", margin="0"))
        self.description = description
        self.boxes = {name: ipywidgets.Checkbox(description=title, tooltip=title, **box) for name, title in titles.items()}
        self._setting = False
        room = dict(grid_template_columns=" ".join(["minmax(0, 1fr)"] * columns), grid_gap="0 8px", max_height="212px")
        grid = ipywidgets.GridBox([*self.boxes.values()], layout=room | dict(overflow="hidden auto"))
        super().__init__([ipywidgets.HTML(f"<span>{caption or description}</span>"), grid])
        for one in self.boxes.values():
            one.observe(self._gather, "value")
        self.value = value

    @traitlets.validate("value")
    def _known(self, proposal: dict) -> tuple[str, ...]:
        unknown = [name for name in proposal["value"] if name not in self.boxes]
        if unknown:
            raise ValueError(f"{self.description} has {unknown[0]!r}; choose from {', '.join(map(repr, self.boxes))}")
        return tuple(name for name in self.boxes if name in proposal["value"])

    @traitlets.observe("value")
    def _show(self, change: dict) -> None:
        self._setting = True
        try:
            for name, one in self.boxes.items():
                one.value = name in change["new"]
        finally:
            self._setting = False

    def _gather(self, change: dict) -> None:
        if not self._setting:
            self.value = tuple(name for name, one in self.boxes.items() if one.value)
