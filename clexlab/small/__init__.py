"""A small decoder of our own that takes position in every place there is: at most one scaling, one bias, one map and one pattern.

    score(i, j) = A(t)² · ⟨R(p_i·θ(t)) q_i, R(p_j·θ(t)) k_j⟩ / √d + B(i, j)      (masked by M(i, j))
    under a map    ⟨R(P_ij·θ(t)) q_i, k_j⟩ instead: P_ij in the place of p_i - p_j, and only where the map shows j to i

    small.Small(small.Config(vocabulary=4096), scaling=scaling.Identity(head_dim=32, base=1e4, window=128))      RoPE
    small.Small(small.Config(vocabulary=4096), bias=biases.ALiBi)                                                ALiBi
    model.read_with(small.Places(scaling=yarn))                                                                  the first, read with YaRN

The rest is a Llama: what a bias or a pattern does is compared on one and the same model. Trained by `training.train`, measured by
`evaluation.loss_by_length` and `evaluation.recall`. Attention is dense: the whole matrix of scores is in memory.
"""

from clexlab.small.model import Small, fresh
from clexlab.small.places import Config, Places

__all__ = ["Config", "Places", "Small", "fresh"]
