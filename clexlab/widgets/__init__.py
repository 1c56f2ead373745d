"""Explorers: one class each, one line in a lesson. Every number they draw is the package's own.

Frequencies and rotations are computed in the page (no kernel round trip); the other explorers compute in the kernel and
draw on a `LiveChart`. `WIDGETS` lists those that open without being told what to show.
"""

from clexlab.widgets.bias_explorer import BiasExplorer
from clexlab.widgets.bound_explorer import BoundExplorer
from clexlab.widgets.cache_explorer import CacheExplorer
from clexlab.widgets.coverage_explorer import CoverageExplorer
from clexlab.widgets.dynamics_explorer import DynamicsExplorer
from clexlab.widgets.frequency import FrequencyExplorer
from clexlab.widgets.length_explorer import LengthExplorer
from clexlab.widgets.live_chart import LiveChart
from clexlab.widgets.model_explorer import ModelExplorer
from clexlab.widgets.reach_explorer import ReachExplorer
from clexlab.widgets.relative_matrix_explorer import RelativeMatrixExplorer
from clexlab.widgets.rotation import RotationExplorer
from clexlab.widgets.safely import ErrorNotice, safely
from clexlab.widgets.scaling_calculator import ScalingCalculator
from clexlab.widgets.search_explorer import SearchExplorer
from clexlab.widgets.training_monitor import Run, TrainingMonitor

WIDGETS = (
    FrequencyExplorer,
    RotationExplorer,
    BoundExplorer,
    ScalingCalculator,
    DynamicsExplorer,
    CacheExplorer,
    ModelExplorer,
    LengthExplorer,
    CoverageExplorer,
    SearchExplorer,
    RelativeMatrixExplorer,
    BiasExplorer,
    ReachExplorer,
)

__all__ = [
    "WIDGETS",
    "BiasExplorer",
    "BoundExplorer",
    "CacheExplorer",
    "CoverageExplorer",
    "DynamicsExplorer",
    "ErrorNotice",
    "FrequencyExplorer",
    "LengthExplorer",
    "LiveChart",
    "ModelExplorer",
    "RelativeMatrixExplorer",
    "ReachExplorer",
    "RotationExplorer",
    "Run",
    "ScalingCalculator",
    "SearchExplorer",
    "TrainingMonitor",
    "safely",
]
