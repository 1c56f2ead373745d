"""A plotly figure as wide as the notebook: the page tells plotly when the room changes, which plotly alone does not notice."""

import anywidget

_PAGE = """
function render({ el }) {
  el.style.display = "none";
  let seen = 0, observer = null;
  // Not attached yet while rendering: the explorer around this element is found one frame later.
  const frame = requestAnimationFrame(() => {
    const explorer = el.closest(".clexlab-explorer");
    if (!explorer) return;
    observer = new ResizeObserver(() => {
      const room = explorer.clientWidth;
      if (!room || room === seen) return;
      seen = room;
      requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
    });
    observer.observe(explorer);
  });
  return () => { cancelAnimationFrame(frame); observer?.disconnect(); };
}

export default { render };
"""


class FitToWidth(anywidget.AnyWidget):
    """Put among the children of an explorer: figures with `responsive` and no width of their own then fill their column.

    A FigureWidget draws itself before it is attached, at plotly's default 700 pixels, and listens to the window alone.
    """

    _esm = _PAGE
