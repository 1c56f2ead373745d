"""Learned absolute positions, stretched: a table of S rows read in between its rows, so that it reaches k·S tokens (arXiv 2310.14633).

    row i of k·S:   (1 - w) E[⌊i/k⌋] + w E[min(⌊i/k⌋ + 1, S-1)],   w = (i mod k)/k

Such a model adds E[p] to the token at p and has nothing at all for p ≥ S. Stretched, old places lie k apart and new ones between them;
behind the last old row all are that row. So neighbours are k times closer than the model ever saw, and tuning has to teach it to read them:
on segments, `taken.TakenAt(positions.ChunkSegments(…), S)` with texts of k·S tokens. Rotary models have no such table; they are extended.
Source: the formula as it is remembered of the paper, unverified, as is whether its last rows are padded so; no code was found.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clexlab import frequencies
from clexlab.evaluation.lengths import measuring

# So many tokens of the old table are read before and after.
PROBED = 8


def interpolated_table(table: Float[Tensor, "rows width"], factor: int) -> Float[Tensor, "longer width"]:
    """The table with `factor` times as many rows, in its own precision; row k·i is row i bit for bit, factor 1 is the table.

    ValueError for a factor that is no whole number of at least 1.
    """
    if not frequencies.is_whole(factor) or factor < 1:
        raise ValueError(f"factor is {factor!r}; a table gets a whole number of times as many rows, at least 1")
    places = torch.arange(factor * len(table), device=table.device)
    low = places // factor
    high = (low + 1).clamp(max=len(table) - 1)
    wide = table if table.dtype == torch.float64 else table.float()
    share = (places % factor).to(wide.dtype)[:, None] / factor
    # The same as the mean of two products, and exact where both rows are one.
    return (wide[low] + share * (wide[high] - wide[low])).to(table.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretched:
    """What `stretch` changed in `model`: the module `name`, now `table`. `restore` puts `original` back."""

    model: nn.Module
    name: str
    factor: int
    original: nn.Embedding
    table: nn.Embedding

    def restore(self) -> nn.Module:
        """The model with the table it had, whatever was learned in the longer one; other weights stay as they are now.

        ValueError where the table is not the one that was put there: it was restored already, or stretched again.
        """
        if self.model.get_submodule(self.name) is not self.table:
            raise ValueError(f"{self.name} is not the table that was stretched here; restore the last stretch first, each once")
        _put(self.model, self.name, self.original)
        return self.model


def stretch(model: nn.Module, factor: int) -> Stretched:
    """Give a model of transformers with one learned table of positions `factor` times as many, in place; the handle undoes it.

    Its config says the new length, so it is saved and loaded by transformers as any other. Verified: old places, now k apart, give the
    logits they gave, and the last new place can be read. Stretch before an optimizer is made: the table is a new parameter. Raises
    ValueError where there is no such table, several, one that positions enter with an offset, masks of a fixed size, or what is verified
    fails; the model is then as it was.
    """
    name = _name(model)
    original = model.get_submodule(name)
    rows = original.num_embeddings
    with torch.no_grad():
        longer = interpolated_table(original.weight, factor)
    table = nn.Embedding(*longer.shape, _weight=longer).requires_grad_(original.weight.requires_grad).train(original.training)
    made = Stretched(model=model, name=name, factor=factor, original=original, table=table)
    places = torch.arange(min(PROBED, rows), device=longer.device)
    before = _read(model, places)
    _put(model, name, table)
    try:
        if not torch.equal(_read(model, factor * places), before):
            raise ValueError(f"{type(model).__name__} does not read its positions from {name} alone; clexlab cannot stretch it")
        _read(model, torch.tensor([0, len(longer) - 1], device=longer.device))
    except BaseException:
        made.restore()
        raise
    return made


def _name(model: nn.Module) -> str:
    """Where the table is: the one embedding with a row for every position that the config has, and which no token enters."""
    rows = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if rows is None:
        raise ValueError(f"{type(model).__name__} has no config.max_position_embeddings; pass a model of transformers")
    tokens = model.get_input_embeddings()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and module is not tokens and module.num_embeddings == rows
    }
    if len(found) != 1:
        there = f"{len(found)} tables" if found else "no table"
        raise ValueError(
            f"{type(model).__name__} has {there} of {rows} positions; stretch takes models with one learned table, extend rotary ones"
        )
    ((name, table),) = found.items()
    if type(table) is not nn.Embedding or table.padding_idx is not None:
        raise ValueError(f"{name} of {type(model).__name__} is read with an offset; clexlab cannot stretch it")
    fixed = [buffer for buffer, value in model.named_buffers() if rows in value.shape]
    if fixed:
        raise ValueError(f"{type(model).__name__} has {fixed[0]} of {rows} positions beside its table; clexlab cannot stretch it")
    return name


def _put(model: nn.Module, name: str, table: nn.Embedding) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, table)
    model.config.max_position_embeddings = table.num_embeddings


def _read(model: nn.Module, places: Tensor) -> Tensor:
    """Logits of as many tokens at these places; ValueError where the model cannot be asked."""
    tokens = torch.arange(len(places), device=places.device)[None] % model.config.vocab_size
    try:
        with measuring(model):
            mask = torch.ones_like(tokens)
            return model(input_ids=tokens, position_ids=places[None], attention_mask=mask, use_cache=False).logits
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} cannot be asked for tokens at given positions ({error}); clexlab cannot stretch it"
        ) from error
