"""Where the texts of a batch stand among their padding: what maps and sparse patterns count tokens from."""

from jaxtyping import Bool, Int
from torch import Tensor


def texts(real: Bool[Tensor, "rows tokens"]) -> tuple[Int[Tensor, "rows"], Int[Tensor, "rows"]]:
    """Where each row's text begins and where it ends, which is behind its last token; both 0 in a row without any.

    Padding may stand before and behind it. ValueError for holes in a text.
    """
    starts = real.int().argmax(-1)
    ends = starts + real.sum(-1)
    last = real.shape[1] - real.flip(-1).int().argmax(-1)
    if bool(((last != ends) & real.any(-1)).any()):
        raise ValueError("attention_mask has holes; tokens are counted from the start of one text: leave padding before or behind it only")
    return starts, ends
