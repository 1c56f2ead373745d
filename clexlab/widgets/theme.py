"""Lab's theme as a trait: figures that live in the kernel can follow light and dark."""

from collections.abc import Callable

import anywidget
import traitlets

_PAGE = """
function isDark() {
  const theme = document.body.dataset.jpThemeLight;
  if (theme !== undefined) return theme === "false";
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function initialize({ model }) {
  const report = () => {
    if (model.get("dark") === isDark()) return;
    model.set("dark", isDark());
    model.save_changes();
  };
  const observer = new MutationObserver(report);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  report();
  return () => observer.disconnect();
}

function render({ el }) {
  el.style.display = "none";
}

export default { initialize, render };
"""


class ThemeWatcher(anywidget.AnyWidget):
    """`dark` is True while the page shows a dark theme; it starts as False and the page corrects it.

    The page reports without the watcher being displayed, but put it among the children of your box: an explorer that is
    shown again in a second view then carries it along. It takes no room.
    """

    _esm = _PAGE
    dark = traitlets.Bool(False).tag(sync=True)

    def follow(self, apply: Callable[[bool], None]) -> None:
        """Call `apply(dark)` now and at every change of theme."""
        apply(self.dark)
        self.observe(lambda change: apply(change.new), "dark")
