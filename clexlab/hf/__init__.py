"""Any RoPE model of transformers: extend it in one line, generate, save, load, export.

`extend`, `extended`, `restore` put a path of `scaling` in the place of the model's frequencies; `caches` says what happens to
cached keys, `schedules` which factor a length gets; `load` and `export` are the way to disk and back. `remap`, `remapped`, `unmap`
read a model, extended or plain, through a map of `positions`. `sparsify`, `sparsified`, `unsparsify` give its layers a pattern of
`sparse`, which one of KERNELS computes: `Masked`, `Flex`, `Chunked`. `low_rank` wraps it by peft as LongLoRA trains it.
"""

from clexlab.hf import caches, schedules, spec
from clexlab.hf.attach import extend, extended, geometry, restore, rotary_of, scaling_for, verify
from clexlab.hf.caches import CACHES, Frozen, Refill, Rerotate
from clexlab.hf.exporting import export, stock_config
from clexlab.hf.kernels import KERNELS, Chunked, Flex, Masked
from clexlab.hf.low_rank import low_rank
from clexlab.hf.remap import remap, remapped, unmap
from clexlab.hf.rotary import Rotary
from clexlab.hf.saving import load, official
from clexlab.hf.schedules import SCHEDULES, Doubling, Exact, Whole
from clexlab.hf.sparsify import pattern_of, sparsified, sparsify, unsparsify

__all__ = [
    "CACHES",
    "KERNELS",
    "SCHEDULES",
    "Chunked",
    "Doubling",
    "Exact",
    "Flex",
    "Frozen",
    "Masked",
    "Refill",
    "Rerotate",
    "Rotary",
    "Whole",
    "caches",
    "export",
    "extend",
    "extended",
    "geometry",
    "load",
    "low_rank",
    "official",
    "pattern_of",
    "remap",
    "remapped",
    "restore",
    "rotary_of",
    "scaling_for",
    "schedules",
    "sparsified",
    "sparsify",
    "spec",
    "stock_config",
    "unmap",
    "unsparsify",
    "verify",
]
