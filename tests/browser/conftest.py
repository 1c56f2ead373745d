"""One Lab and one browser for the tests of a module. Playwright's event loop must end with it: other tests bring their own."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import LabNotebook, browser, find_browser, jupyterlab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def page():
    try:
        find_browser()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="clexlab-notebooks-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(folder):
    with jupyterlab(folder) as running:
        yield running


@pytest.fixture(scope="module")
def opened(page, server, folder) -> Callable[[Path], contextlib.AbstractContextManager[LabNotebook]]:
    """`with opened(file) as notebook:` opens a copy in Lab and runs it; a failure inside leaves a picture of the page."""

    @contextlib.contextmanager
    def run(file: Path) -> Iterator[LabNotebook]:
        if file.parent != folder:
            shutil.copy(file, folder)
        notebook = LabNotebook(page, server, file.name)
        try:
            yield notebook.open().run_all()
        except BaseException as error:
            picture = Path(tempfile.gettempdir()) / f"clexlab-{file.stem}.png"
            with contextlib.suppress(Exception):
                page.screenshot(path=picture)
                error.add_note(f"The page at that moment: {picture}\nJupyterLab said: {server.log.read_text()[-1500:]}")
            raise
        finally:
            with contextlib.suppress(Exception):
                notebook.close()

    return run
