"""Errors of widget callbacks where the reader looks: in the widget. The kernel would put them into a log only."""

import functools
import html
import traceback
from collections.abc import Callable
from typing import ParamSpec

import ipywidgets

Arguments = ParamSpec("Arguments")

_BOX = (
    '<div role="alert" class="clexlab-error" style="border-left: 4px solid var(--jp-error-color1, #d32f2f);'
    ' padding: 4px 10px; color: var(--jp-ui-font-color1, #212121); line-height: 1.5">{text}</div>'
)
_WITH_TRACE = (
    "<b>{kind}</b>: {message}<details><summary>Traceback</summary>"
    '<pre style="overflow: auto; color: inherit">{trace}</pre></details>'
)
# A line somebody reads; transformers' own messages run to a screen.
LONGEST_LINE = 400


class ErrorNotice(ipywidgets.HTML):
    """An area that is empty until a callback fails and then shows what happened; screen readers announce it."""

    def show(self, error: Exception) -> None:
        """Show the error's kind and message, its traceback folded below."""
        trace = html.escape("".join(traceback.format_exception(error)))
        self.value = _BOX.format(text=_WITH_TRACE.format(kind=type(error).__name__, message=html.escape(str(error)), trace=trace))

    def tell(self, error: Exception) -> None:
        """Show what went wrong as one line, for errors whose cause is what the reader typed."""
        line = one_line(error)
        self.value = _BOX.format(text=html.escape(line))

    def clear(self) -> None:
        """Empty the area again."""
        if self.value:
            self.value = ""


def one_line(error: Exception) -> str:
    """The error's message on one line, cut where it becomes a page; its kind before it unless it is a refusal (ValueError)."""
    message = " ".join(str(error).split())
    line = message if isinstance(error, ValueError) and message else f"{type(error).__name__}: {message}"
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"


def safely(callback: Callable[Arguments, None], notice: ErrorNotice) -> Callable[Arguments, None]:
    """The same callback, its exceptions shown in `notice` instead of lost; the next call that works clears the notice.

        slider.observe(safely(self._redraw, self.notice), "value")
    """

    @functools.wraps(callback)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception as error:
            notice.show(error)
        else:
            notice.clear()

    return guarded
