"""A real JupyterLab in a real browser, for tests, the latency bench and screenshots.

Nothing here waits for a fixed time: every step waits for a condition inside the page. Lab is asked directly
(`window.jupyterapp`, switched on by `--LabApp.expose_app_in_browser`) instead of clicking menus whose labels change.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, sync_playwright

from clexlab.cli import PROMPT_ANSWERS

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
PATIENCE_MS = 60_000
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()
# Cells off screen are not in the page in Lab's default windowing mode, and their figures would never be drawn.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none", "kernelShutdown": True},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
PAGE_HELPERS = (Path(__file__).parent / "lab.js").read_text(encoding="utf-8")


def find_browser() -> str:
    """The browser to drive: $CHROMIUM, else the first of BROWSERS in PATH; LookupError says how to get one."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found or not shutil.which(found):
        raise LookupError(
            f"no browser found (CHROMIUM={named!r}, looked for {', '.join(BROWSERS)} in PATH)."
            " Install one (`apt-get install chromium`, `brew install --cask google-chrome`) or set CHROMIUM to its path"
        )
    return found


@dataclass
class Server:
    """A running JupyterLab: its address, its token and the file it logs to."""

    url: str
    token: str
    log: Path


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[Server]:
    """A private JupyterLab over `folder`, with settings and workspaces of its own; stopped with its kernels at the end."""
    home = Path(tempfile.mkdtemp(prefix="clexlab-lab-"))
    token, log = secrets.token_hex(16), home / "jupyterlab.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    # Served as by `clexlab lab`.
    command += [PROMPT_ANSWERS, "--LabApp.expose_app_in_browser=True"]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=_environment(home), stdout=sink, stderr=sink, start_new_session=True)
    server = Server(f"http://127.0.0.1:{port}", token, log)
    try:
        _wait_until_it_answers(server, process)
        yield server
    finally:
        _stop(process)
        shutil.rmtree(home, ignore_errors=True)


def _environment(home: Path) -> dict[str, str]:
    for plugin, settings in SETTINGS.items():
        file = home / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / name.lower()) for name in folders}
    return {**os.environ, **own, "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "OMP_NUM_THREADS": "1"}


def _wait_until_it_answers(server: Server, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.url}/api/status?token={server.token}", timeout=5).read()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("JupyterLab did not start:\n" + server.log.read_text()[-3000:])
        time.sleep(0.1)


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def browser(width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A page of a fresh headless browser profile, with the helpers of lab.js in it; `page.thrown` lists its exceptions."""
    profile = tempfile.mkdtemp(prefix="clexlab-browser-")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=find_browser(),
            headless=True,
            args=FLAGS,
            viewport={"width": width, "height": height},
        )
        try:
            page = context.pages[0] if context.pages else context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.add_init_script(PAGE_HELPERS)
            page.thrown = []
            page.on("pageerror", lambda error: page.thrown.append(str(error)[:300]))
            yield page
        finally:
            context.close()
            shutil.rmtree(profile, ignore_errors=True)


def write_notebook(file: Path, *cells: str) -> Path:
    """A notebook of code cells, for tests that need no lesson."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel), file)
    return file


@dataclass
class LabNotebook:
    """A notebook open in Lab: run it, ask for its troubles and its data, move its sliders."""

    page: Page
    server: Server
    name: str
    theme: str = "light"
    panel: str = field(default=".jp-NotebookPanel:not(.lm-mod-hidden)", init=False)

    def open(self) -> "LabNotebook":
        """Open it in a workspace of its own and wait for an idle kernel."""
        self.page.thrown.clear()
        address = f"{self.server.url}/lab/workspaces/{secrets.token_hex(4)}/tree/{self.name}?reset&token={self.server.token}"
        self.page.goto(address, wait_until="domcontentloaded")
        self.page.wait_for_function("() => window.jupyterapp?.restored?.then(() => true)")
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        self.wear(self.theme)
        self.page.wait_for_function("() => window.lab.idle()")
        self.page.evaluate("() => window.lab.listen()")
        return self

    def close(self) -> None:
        """Shut its kernel down, so that the next notebook has the machine to itself."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def python(self, code: str) -> str:
        """Run a line in the notebook's kernel; returns what it prints."""
        return self.page.evaluate("code => window.lab.python(code)", code)

    def run_all(self) -> "LabNotebook":
        """Run every cell and wait until every figure is drawn and has settled."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function("() => window.lab.finished()", polling=100)
        self.page.wait_for_function("() => !window.lab.undrawn() || window.lab.troubles().length", polling=100)
        self.settle()
        return self

    def wear(self, theme: str) -> None:
        """Switch Lab to the light or the dark theme."""
        light = str(theme == "light").lower()
        if self.page.evaluate("() => document.body.dataset.jpThemeLight") != light:
            self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", THEMES[theme])
            self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)

    def fits(self, width: int) -> bool:
        """Whether no explorer has to be scrolled sideways in a browser of this width; the browser is then as it was."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        self.settle()
        fitting = self.page.evaluate("() => [...document.querySelectorAll('.clexlab')].every((e) => e.scrollWidth <= e.clientWidth)")
        session.send("Emulation.clearDeviceMetricsOverride")
        return fitting

    def settle(self) -> float:
        """A fingerprint of all figures' data, once two reads a quarter of a second apart agree."""
        return self.page.evaluate(
            """async () => {
                let before = window.lab.data();
                for (let i = 0; i < 40; i++) {
                    await new Promise((done) => setTimeout(done, 250));
                    const now = window.lab.data();
                    if (now === before && window.lab.idle()) break;
                    before = now;
                }
                return before;
            }"""
        )

    def troubles(self) -> list[str]:
        """Every error of cells, outputs, widgets, kernel callbacks and the page."""
        return self.page.evaluate("() => window.lab.troubles()") + self.page.thrown

    def wait_for_progress(self, word: str) -> None:
        """Wait until a progress bar says exactly `word`."""
        self.page.wait_for_function(
            "word => [...document.querySelectorAll('.widget-hprogress label')].some((label) => label.textContent === word)", arg=word
        )

    def drawn(self) -> dict[str, int]:
        """Name and number of points of every curve of the first explorer that has some."""
        curves = self.page.evaluate("() => document.querySelector('.clexlab').drawn.curves.map(({name, xs}) => [name, xs.length])")
        return {name: points for name, points in curves if points}

    def figures(self) -> int:
        """How many plotly figures and explorers the notebook shows."""
        return self.page.evaluate("() => window.lab.figures()")

    def sliders(self) -> Locator:
        """Handles of ipywidgets' sliders and range inputs of page-side explorers, in the order of the page."""
        return self.page.locator(f"{self.panel} .widget-slider .noUi-handle, {self.panel} .clexlab input[type=range]")

    def wait_for_change(self, before: float) -> None:
        """Until the data differ from `before`; a trouble ends the wait at once, with its text."""
        found = self.page.wait_for_function(
            "before => window.lab.data() !== before || (window.lab.troubles().length ? window.lab.troubles() : false)",
            arg=before,
            polling="raf",
        ).json_value()
        if found is not True:
            raise AssertionError(f"{self.name}: {found}")

    def press(self, slider: Locator, key: str = "ArrowRight") -> None:
        """One step of a slider by keyboard; returns when the figures' data have changed."""
        before = self.settle()
        slider.focus()
        self.page.keyboard.press(key)
        self.wait_for_change(before)

    def timed_press(self, slider: Locator, key: str) -> float:
        """One step of a slider by keyboard; milliseconds from the key event to the painted frame."""
        slider.focus()
        self.page.evaluate("() => { window.lab.paint = window.lab.nextPaint('keydown'); }")
        self.page.keyboard.press(key)
        return self.page.evaluate("() => window.lab.paint")

    def drag(self, slider: Locator, fraction: float, steps: int = 15) -> None:
        """Drag a slider to a fraction of its track with real mouse events; returns when the figures have followed."""
        slider.scroll_into_view_if_needed()
        track = slider.locator("xpath=ancestor-or-self::*[contains(@class,'noUi-target') or self::input][1]").bounding_box()
        start = slider.evaluate(
            "e => { const r = e.getBoundingClientRect(); if (e.tagName !== 'INPUT') return r.x + r.width / 2;"
            " const s = (e.value - e.min) / (e.max - e.min); return r.x + 8 + s * (r.width - 16); }"
        )
        before, y = self.settle(), track["y"] + track["height"] / 2
        end = track["x"] + track["width"] * fraction
        self.page.mouse.move(start, y)
        self.page.mouse.down()
        for step in range(1, steps + 1):
            self.page.mouse.move(start + (end - start) * step / steps, y)
        self.page.mouse.up()
        self.wait_for_change(before)
