"""The lessons as programs: find them, execute them headless, and store them without figure payloads.

A lesson runs in a kernel of the interpreter that runs this module, in an empty temporary folder, so that neither a
kernel installed elsewhere nor a file lying beside the notebook can decide whether it passes.
"""

import copy
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from clexlab import profiles

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAME = re.compile(r"\d\d_[a-z0-9_]+\.ipynb")
CELL_SECONDS = {"smoke": 120, "cpu": 600, "gpu": 3600}
KEPT_MIME = ("text/plain", "text/markdown", "text/latex")
TEXT_COMPANIONS = (*KEPT_MIME, "text/html")
RUN_METADATA = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "vscode", "outputId")
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class LessonFailed(RuntimeError):
    """A cell raised, ran past its time or lost its kernel. The message holds the cell's code and the error."""


def lessons(folder: Path | None = None) -> list[Path]:
    """All notebooks named NN_verb_phrase.ipynb in `folder` (default: this checkout's), in order of their number."""
    return sorted(path for path in (folder or FOLDER).glob("*.ipynb") if NAME.fullmatch(path.name))


def find(name: str, folder: Path | None = None) -> Path:
    """The lesson called `name`: its number ("2", "02"), its file name, or the path to it. Raises ValueError for any other."""
    known = lessons(folder)
    for path in known:
        by_number = name.isdigit() and name.zfill(2) == path.stem[:2]
        if by_number or name in (path.stem, path.name) or Path(name).resolve() == path.resolve():
            return path
    allowed = ", ".join(path.stem[:2] for path in known) or f"none (no notebooks in {folder or FOLDER})"
    raise ValueError(f"unknown lesson {name!r}; this copy has: {allowed}")


def execute(
    path: Path,
    profile: str | None = None,
    on_cell: Callable[[int, int], None] | None = None,
) -> NotebookNode:
    """Run every cell of the notebook at `path` in a fresh kernel; return the executed copy, leave the file alone.

    `profile` is smoke, cpu or gpu (default: the current one). `on_cell(done, total)` is called after each code cell.
    Raises LessonFailed with the failing cell and its error.
    """
    profile = profiles.current() if profile is None else profiles.check(profile)
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise LessonFailed(f"{path.name} is not a notebook ({str(error).splitlines()[0][:80]}); restore it with git checkout") from None
    with tempfile.TemporaryDirectory(prefix="clexlab-lesson-") as folder:
        environment = {
            **os.environ,
            profiles.VARIABLE: profile,
            "IPYTHONDIR": str(Path(folder, ".ipython")),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        _run(path, notebook, folder, environment, CELL_SECONDS[profile], on_cell)
    return notebook


def tidy(notebook: NotebookNode) -> NotebookNode:
    """A copy as it is stored: text outputs stay; figures, widget views and state, images and traces of the run go.

    A figure or widget loses its whole output, because its text form is either its payload again or an object's address.
    """
    stored = copy.deepcopy(notebook)
    stored["metadata"] = nbformat.from_dict(KERNEL)
    stored["nbformat"], stored["nbformat_minor"] = 4, 5
    for number, cell in enumerate(stored.cells):
        cell.setdefault("id", f"cell-{number:02d}")
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = _one_stream([kept for output in cell.outputs if (kept := _tidy_output(output)) is not None])
    return stored


def refresh(path: Path, profile: str | None = None, on_cell: Callable[[int, int], None] | None = None) -> None:
    """Execute the lesson at `path` and store it tidied in its place."""
    stored = tidy(execute(path, profile, on_cell))
    path.write_text(nbformat.writes(stored) + "\n", encoding="utf-8")


def failure(notebook: NotebookNode) -> str | None:
    """The first error among the outputs of an executed notebook, with its cell, or None."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                error = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
                return _describe(number, cell.source, error)
    return None


def _run(
    path: Path,
    notebook: NotebookNode,
    folder: str,
    environment: dict[str, str],
    seconds: int,
    on_cell: Callable[[int, int], None] | None,
) -> None:
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    state = {"done": 0, "cell": 0}

    def started(cell, cell_index):
        state["cell"] = cell_index

    def executed(cell, cell_index, execute_reply):
        state["done"] += 1
        if on_cell is not None:
            on_cell(state["done"], total)

    # Only the native kernel is looked for: a "python3" installed in the user's folder may be another interpreter.
    native = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=native),
        timeout=seconds,
        resources={"metadata": {"path": folder}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=started,
        on_cell_executed=executed,
    )
    client.owns_km = True  # nbclient ends only kernels whose manager it made itself, unless told so
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise LessonFailed(f"{path.name}: {failure(notebook) or error}") from None
    except CellTimeoutError:
        cell = state["cell"]
        text = _describe(cell, notebook.cells[cell].source, f"ran longer than {seconds} s")
        raise LessonFailed(f"{path.name}: {text}") from None
    except DeadKernelError:
        cell = state["cell"]
        text = _describe(cell, notebook.cells[cell].source, "the kernel died (out of memory is the usual reason)")
        raise LessonFailed(f"{path.name}: {text}") from None


def _describe(number: int, source: str, error: str) -> str:
    code = "\n".join(f"    {line}" for line in source.splitlines())
    return f"cell {number} failed\n{code}\n{_plain(error)}"


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _tidy_output(output: NotebookNode) -> NotebookNode | None:
    output = copy.deepcopy(output)
    if output.output_type == "stream":
        output.text = _plain(output.text)
    if output.output_type not in ("display_data", "execute_result"):
        return output
    # Anything that is not text (plotly, widget views, images, scripts in HTML) marks a figure: nothing of it is kept.
    if any(kind not in TEXT_COMPANIONS for kind in output.data) or _is_figure(output.data):
        return None
    output.data = NotebookNode({kind: value for kind, value in output.data.items() if kind in KEPT_MIME})
    output.metadata = NotebookNode()
    if "execution_count" in output:
        output.execution_count = None
    return output if output.data else None


def _one_stream(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream: where the kernel happened to flush is no part of the lesson."""
    joined: list[NotebookNode] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before is not None and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def _is_figure(data: NotebookNode) -> bool:
    html = str(data.get("text/html", ""))
    return "<script" in html or "plotly" in html.lower() or "<svg" in html or "<img" in html


def main(names: list[str]) -> int:
    """`python -m clexlab.notebooks [NN …]`: execute lessons and store them tidied, all of them without arguments."""
    try:
        chosen = [find(name) for name in names] or lessons()
    except ValueError as error:
        print(f"clexlab: {error}", file=sys.stderr)
        return 2
    for path in chosen:
        print(f"{path.name} …", end=" ", flush=True)
        refresh(path)
        print("stored", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
