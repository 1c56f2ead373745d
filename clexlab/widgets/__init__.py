"""Explorers: one class each, one line in a lesson. Every number they draw is the package's own.

Frequencies and rotations are computed in the page (no kernel round trip); the other explorers draw plotly figures from
the kernel. `WIDGETS` lists all of them.
"""

from clexlab.widgets.safely import ErrorNotice, safely
from clexlab.widgets.theme import ThemeWatcher

__all__ = ["ErrorNotice", "ThemeWatcher", "safely"]
