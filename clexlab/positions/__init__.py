"""Which index p each token is given, in training: samplers that let a short text meet the positions of a long one."""

from clexlab.positions.base import Draw, Sampler

__all__ = ["Draw", "Sampler"]
