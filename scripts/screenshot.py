"""Pictures of a lesson in a real JupyterLab: `python scripts/screenshot.py notebooks/02_*.ipynb --theme dark --out a.png`.

The whole notebook comes as a-1.png, a-2.png, …; `--cell N` or `--window` give one picture.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.lab import THEMES, LabNotebook, browser, jupyterlab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--theme", choices=THEMES, default="light")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cell", type=int, help="only this cell, counted from 0")
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--window", action="store_true", help="the browser window as it is, the cell scrolled into it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(options.notebook, folder)
        with jupyterlab(Path(folder)) as server, browser(options.width, options.height) as page:
            notebook = LabNotebook(page, server, Path(copy).name, options.theme).open().run_all()
            take(notebook, options)
            for trouble in notebook.troubles():
                print("trouble:", trouble, file=sys.stderr)


def take(notebook: LabNotebook, options: argparse.Namespace) -> None:
    """Write one cell, the window, or the notebook from its first to its last cell in pieces of the window's height."""
    cells = notebook.page.locator(f"{notebook.panel} .jp-Cell")
    if options.cell is not None:
        cells.nth(options.cell).scroll_into_view_if_needed()
    if options.window:
        notebook.page.screenshot(path=options.out)
    elif options.cell is not None:
        cells.nth(options.cell).screenshot(path=options.out)
    else:
        # A window as tall as the notebook shows all of it at once.
        reach = "e => e.getBoundingClientRect().bottom"
        tall = int(cells.last.evaluate(reach) - cells.first.evaluate("e => e.getBoundingClientRect().top")) + 250
        notebook.page.set_viewport_size({"width": options.width, "height": tall})
        cells.first.evaluate("e => e.scrollIntoView()")
        notebook.settle()
        bottom = int(cells.last.evaluate(reach)) + 10
        for number, top in enumerate(range(0, bottom, options.height), start=1):
            piece = {"x": 0, "y": top, "width": options.width, "height": min(options.height, bottom - top)}
            notebook.page.screenshot(path=options.out.with_stem(f"{options.out.stem}-{number}"), clip=piece)


if __name__ == "__main__":
    main()
