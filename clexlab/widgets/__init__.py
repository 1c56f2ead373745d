"""Explorers: one class each, one line in a lesson. Every number they draw is the package's own.

Frequencies and rotations are computed in the page (no kernel round trip); the other explorers draw plotly figures from
the kernel. `WIDGETS` lists all of them.
"""

from clexlab.widgets.bound_explorer import BoundExplorer
from clexlab.widgets.dynamics_explorer import DynamicsExplorer
from clexlab.widgets.frequency import FrequencyExplorer
from clexlab.widgets.rotation import RotationExplorer
from clexlab.widgets.safely import ErrorNotice, safely
from clexlab.widgets.scaling_calculator import ScalingCalculator
from clexlab.widgets.theme import ThemeWatcher

WIDGETS = (FrequencyExplorer, RotationExplorer, BoundExplorer, ScalingCalculator, DynamicsExplorer)

__all__ = [
    "WIDGETS",
    "BoundExplorer",
    "DynamicsExplorer",
    "ErrorNotice",
    "FrequencyExplorer",
    "RotationExplorer",
    "ScalingCalculator",
    "ThemeWatcher",
    "safely",
]
