"""Explorers: one class each, one line in a lesson. Every number they draw is the package's own.

Frequencies and rotations are computed in the page (no kernel round trip); the other explorers draw plotly figures from
the kernel. `WIDGETS` lists all of them.
"""

from clexlab.widgets.frequency import FrequencyExplorer
from clexlab.widgets.safely import ErrorNotice, safely
from clexlab.widgets.theme import ThemeWatcher

WIDGETS = (FrequencyExplorer,)

__all__ = ["WIDGETS", "ErrorNotice", "FrequencyExplorer", "ThemeWatcher", "safely"]
