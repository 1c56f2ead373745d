"""Pure functions: arrays and paths in, a plotly Figure out. They never show anything; the last line of a cell does.

`figures.scaling_curves(...)` finds the function in its module; modules load on first use.
"""

import importlib

# One line a module: what lessons call directly as figures.<name>.
_HOMES = {
    "scaling": ("scaling_curves", "curves_over_factor"),
    "dynamics": ("phase_portrait", "flow_lines", "velocity_fields", "convergence", "solver_error"),
    "spectrum": ("wavelengths_against_window", "turns_in_training", "circle_coverage", "phase_coverage", "models_compared"),
    "bounds": ("deviation_bounds", "extrapolation_bounds", "score_curves", "fitted_score", "fit_sizes"),
    "rotation": ("shifted_pairs", "dials", "score_as_cosines", "scores_by_distance", "pairings", "angle_errors"),
    "evaluation": ("loss_by_length",),
    "training": ("training_loss", "learned_frequencies"),
    "recall": ("recall_by_depth", "fields_by_seed"),
    "studies": ("study",),
    "search": ("factors_by_pair", "search_progress", "fitted_and_held_out", "held_out_by_length", "start_tokens"),
    "decoding": ("disagreement", "divergence_by_window"),
    "coverage": ("position_rows", "distances_met", "pairs_by_distance"),
    "maps": ("relative_matrices", "last_rows", "pairs_by_position"),
    "biases": ("bias_curves", "receptive_fields"),
    "atlas": ("methods_by_place",),
    "sparse": (
        "visible_keys",
        "layers_needed",
        "coverage_by_layer",
        "entries_by_length",
        "seconds_by_length",
        "counted_and_measured",
    ),
    "looks": (),
    "style": (),
    "panels": (),
}


def __getattr__(name: str) -> object:
    for home, functions in _HOMES.items():
        if name == home:
            return importlib.import_module(f"{__name__}.{home}")
        if name in functions:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    public = [function for functions in _HOMES.values() for function in functions]
    raise AttributeError(f"module {__name__!r} has no figure {name!r}; it has {', '.join(public)}")


def __dir__() -> list[str]:
    return [*_HOMES, *(name for names in _HOMES.values() for name in names)]
