"""YaRN: NTK by parts and a temperature that keeps attention sharp over more keys (arXiv 2309.00071)."""

import math
from dataclasses import dataclass

from clexlab import frequencies
from clexlab.scaling.by_parts import ByParts


@dataclass(frozen=True, kw_only=True)
class YaRN(ByParts):
    """θ(t) as in `ByParts`; A(t) = 0.1 ln t + 1 on cos and sin, so logits are multiplied by A² (arXiv 2309.00071, eq. 22).

    The default ramp is the released code's, which all checkpoints use and transformers' `yarn` has; `ramp=TurnsRamp()` is the
    paper's. DeepSeek's two constants: A = m(mscale)/m(mscale_all_dim), m(k) = 0.1·k·ln t + 1; defaults 1 and 0 give YaRN's A.
    """

    name = "yarn"
    title = "YaRN"
    paper = "https://arxiv.org/abs/2309.00071"

    mscale: float = 1.0
    mscale_all_dim: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mscale", "mscale_all_dim"):
            value = getattr(self, name)
            if not frequencies.is_finite(value) or value < 0:
                raise ValueError(f"{name} is {value!r}; it must be a finite number of at least 0")

    def _attention_scale(self, t: float) -> float:
        grown = 0.1 * math.log(t)
        return (self.mscale * grown + 1) / (self.mscale_all_dim * grown + 1)
