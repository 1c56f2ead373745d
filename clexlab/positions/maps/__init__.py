"""Which index p, in inference: maps of relative positions that carry a trained model beyond its window, or use it better, without training.

    m = maps.SelfExtend(window=256, near=64, group=8);   m.relative(1024), m.visible(1024), m.largest(1024), m.longest
    clexlab.remap(model, m);   clexlab.unmap(model);   with clexlab.remapped(model, m): ...

One file a method or family, one line in `MAPS`. Tests, widgets, tables and lessons iterate over that tuple.
"""

from clexlab.positions.maps.base import Map, Mix, Span
from clexlab.positions.maps.dual_chunk import DualChunk
from clexlab.positions.maps.gali import GALI
from clexlab.positions.maps.lm_infinite import LMInfinite
from clexlab.positions.maps.noise import DistanceNoise, Noise, RelativeNoise
from clexlab.positions.maps.rerope import LeakyReRoPE, ReRoPE
from clexlab.positions.maps.self_extend import SelfExtend
from clexlab.positions.maps.shifted import STRING
from clexlab.positions.maps.sinks import Sinks

MAPS = (ReRoPE, LeakyReRoPE, SelfExtend, DualChunk, STRING, GALI, Sinks, LMInfinite)


def by_name(name: str) -> type[Map]:
    """The class of a map by its `name`, "self_extend" for SelfExtend; ValueError lists the names."""
    for kind in MAPS:
        if kind.name == name:
            return kind
    raise ValueError(f"no map is named {name!r}; there are {', '.join(kind.name for kind in MAPS)}")


__all__ = [
    "GALI",
    "MAPS",
    "STRING",
    "DistanceNoise",
    "DualChunk",
    "LMInfinite",
    "LeakyReRoPE",
    "Map",
    "Mix",
    "Noise",
    "ReRoPE",
    "RelativeNoise",
    "SelfExtend",
    "Sinks",
    "Span",
    "by_name",
]
