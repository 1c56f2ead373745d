"""CoPE: positions are counts of what the query finds worth counting (arXiv 2405.18719)."""

import math
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from clexlab.biases.base import Bias, check_count


class CoPE(Bias):
    """B(i, j) = q_i · e[p_ij], with p_ij the sum of the gates between key and query, and e interpolated between whole numbers.

        g_ij = σ(q_i·k_j / √d)  for keys the query sees, 0 for others      p_ij = min(Σ_{k=j}^{i} g_ik, places - 1)
        B(i, j) = (1 - w) q_i·e[⌊p⌋] + w q_i·e[⌈p⌉],   w = p - ⌊p⌋

    q and k are those before any rotation: gates and q·e count units of the text, and turned queries would make both depend on where
    the text stands. With all gates open p = i - j + 1: a learned relative embedding, clipped. e starts at zero, from NoPE; it is one for
    all heads of a layer. Keys come in the order of their positions. The gradient reaches the gates through w alone.
    Source: facebookresearch/RAM, projects/cope/src/cope/context_position.py at eff93c7: gates on scores with 1/√d, the layer's own e
    for all heads. Differs: there q·e is divided by √d as well unless `--cope-nodiv` is given, which scales what e learns, not what it
    can; here it is not, as for every bias. And there by default e has a place for every token of a block; here `places` = 64, the
    paper's small number, from memory.
    """

    name: ClassVar[str] = "cope"
    title: ClassVar[str] = "CoPE"
    paper: ClassVar[str] = "https://arxiv.org/abs/2405.18719"
    learned: ClassVar[bool] = True
    contextual: ClassVar[bool] = True

    def __init__(self, *, heads: int, head_dim: int, places: int = 64) -> None:
        super().__init__(heads=heads)
        check_count(head_dim=head_dim, places=places)
        self.head_dim, self.places = int(head_dim), int(places)
        self.table = nn.Parameter(torch.zeros(self.places, self.head_dim))

    @classmethod
    def published(cls, head_dim: int, window: int) -> dict[str, object]:
        """64 places, whatever the window: they count units of the text, not tokens."""
        return {"head_dim": head_dim}

    def forward(
        self, query_positions: Shaped[Tensor, "*rows q"], key_positions: Shaped[Tensor, "*rows k"]
    ) -> Float[Tensor, "*rows heads q k"]:
        """ValueError: positions alone do not say."""
        raise ValueError("CoPE's positions are counted from queries and keys; ask bias.added(query, key, query_positions, key_positions)")

    def added(
        self,
        query: Float[Tensor, "batch heads q head_dim"],
        key: Float[Tensor, "batch heads k head_dim"],
        query_positions: Shaped[Tensor, "*#rows q"],
        key_positions: Shaped[Tensor, "*#rows k"],
        visible: Bool[Tensor, "*seen q k"] | None = None,
    ) -> Float[Tensor, "*#rows heads q k"]:
        """q_i · e[p_ij]. ValueError for vectors of another size than `head_dim`."""
        if query.shape[-1] != self.head_dim:
            raise ValueError(f"query has {query.shape[-1]} numbers a head; this CoPE is built for head_dim {self.head_dim}")
        if visible is None:
            visible = (key_positions[..., None, :] <= query_positions[..., :, None])[..., None, :, :]
        p = self.counts(query, key, visible)
        with torch.autocast(query.device.type, enabled=False):
            logits = query.to(p) @ self.table.to(p).T
        below = p.detach().floor()
        share = p - below
        lower, upper = (logits.gather(-1, whole.long()) for whole in (below, p.detach().ceil()))
        return (1 - share) * lower + share * upper

    def counts(
        self,
        query: Float[Tensor, "batch heads q head_dim"],
        key: Float[Tensor, "batch heads k head_dim"],
        visible: Bool[Tensor, "*seen q k"],
    ) -> Float[Tensor, "batch heads q k"]:
        """p_ij in float32 or better, at most places - 1. Gates of keys the query does not see are closed before anything is summed."""
        wide = torch.promote_types(query.dtype, torch.float32)
        # Half precision, autocast's too, counts in quarters beyond 32.
        with torch.autocast(query.device.type, enabled=False):
            scores = query.to(wide) @ key.to(wide).mT
        gates = torch.sigmoid(scores / math.sqrt(self.head_dim)) * visible
        return gates.flip(-1).cumsum(-1).flip(-1).clamp(max=self.places - 1)
