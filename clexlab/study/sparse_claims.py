"""What papers say of sparse patterns in training, as pairs of rows of `SPARSE`: `claims.answers(claim, records, "4")` answers them.

SCCA's numbers are second-hand and of models a thousand times larger; its patterns here are a parametric family and not the paper's masks.
"""

from clexlab import sparse
from clexlab.study.claims import Claim
from clexlab.study.sparse import named

LONGLORA, SCCA = "https://arxiv.org/abs/2309.12307", "https://arxiv.org/abs/2312.07305"


def both_readings(one: type[sparse.Pattern], other: type[sparse.Pattern]) -> tuple[tuple[str, str], ...]:
    """Two patterns read with full attention, both read through themselves, and both under PI: which one a paper means is not known."""
    first, second = named(one), named(other)
    return tuple((f"lora-{first}-{ending}", f"lora-{second}-{ending}") for ending in ("yarn", "through-yarn", "linear"))


CLAIMS = (
    Claim(
        paper=LONGLORA,
        says="S2-Attn in training is as good as full attention, if the model is read with full attention",
        pairs=(("lora-s2-yarn", "lora-full-yarn"), ("lora-s2-linear", "lora-full-linear")),
    ),
    Claim(
        paper=LONGLORA,
        says="LoRA needs trained embeddings and norms beside it",
        pairs=(("lora-s2-yarn", "lora-s2-bare-yarn"),),
    ),
    Claim(
        paper=LONGLORA,
        says="shifting half of the heads is better than block-local heads alone",
        pairs=(("lora-s2-yarn", "lora-local-yarn"), ("lora-s2-through-yarn", "lora-local-through-yarn")),
    ),
    Claim(
        paper=SCCA,
        says="SCCA fixed is better than S2-Attn (second-hand: 9.17 and 9.41 at 8K on PG19)",
        pairs=both_readings(sparse.SCCAFixed, sparse.S2),
    ),
    Claim(
        paper=SCCA,
        says="SCCA flow, with the larger reach, is not better than S2-Attn (second-hand: 9.47 and 9.41)",
        pairs=both_readings(sparse.S2, sparse.SCCAFlow),
    ),
    Claim(
        paper=SCCA,
        says="LongMixed is better than SCCA fixed (second-hand: 8.73 and 9.17)",
        pairs=both_readings(sparse.LongMixed, sparse.SCCAFixed),
    ),
    Claim(
        paper="",
        says="what this lab adds: long rows under S2-Attn are better than short rows of as many tokens",
        pairs=(("lora-s2-yarn", "lora-short-yarn"), ("lora-full-yarn", "lora-short-yarn")),
    ),
)
