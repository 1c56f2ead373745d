"""What ModelExplorer measures, without any widget: a model and texts by name, then one point of one curve after another."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from clexlab import corpora, evaluation, hf, pocket, scaling
from clexlab.commands import models
from clexlab.commands.usage import quiet
from clexlab.frequencies import Geometry

# Called after every text with its tokens, the points that are done, and all points.
Count = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A loaded model, the paths to compare (by name) and the texts, each cut to the longest length and one token more."""

    model: nn.Module
    geometry: Geometry
    paths: dict[str, scaling.Path]
    texts: tuple[Int[Tensor, "_"], ...]
    start: int | None

    def tokens(self, factors: Sequence[float]) -> int:
        """How many tokens all points together read."""
        lengths = evaluation.check_lengths(self.geometry.window, factors)
        return (len(self.paths) + 1) * len(self.texts) * sum(lengths)


def prepare(model: str, text: str, methods: Sequence[str], largest: float, documents: int, window: int | None = None) -> Setup:
    """Load a model by folder or hub name ("": the pocket model) and draw texts ("": standard library), all checked.

    The pocket model has not seen the held-out part of the library; another model gets the larger part, with more long files.
    `window` is the trained length where the config claims another. Raises ValueError, in one line, for what cannot be loaded,
    extended or measured.
    """
    loaded, tokenizer = open_model(model)
    geometry = hf.geometry(loaded)
    geometry = geometry if window is None else replace(geometry, window=window)
    evaluation.check_tokenizer(loaded, tokenizer)
    paths = {name: hf.scaling_for(loaded, scaling.by_name(name), window=geometry.window) for name in methods}
    longest = round(largest * geometry.window)
    evaluation.check_paths(loaded, paths, geometry.window, longest)
    split = "train" if model else "held_out"
    corpus = corpora.folder(Path(text).expanduser()) if text else corpora.standard_library(split)
    drawn = evaluation.sample(corpus.documents, tokenizer, longest, documents, torch.Generator().manual_seed(0))
    texts = tuple(tokens[: longest + 1] for tokens in drawn.tokens)
    return Setup(model=loaded, geometry=geometry, paths=paths, texts=texts, start=evaluation.start_token(tokenizer))


def open_model(name: str) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """Model and tokenizer as `clexlab evaluate` opens them, by folder, hub name or "", on the GPU if there is one."""
    folder = Path(name).expanduser()
    source = str(pocket.FOLDER) if not name else str(folder) if folder.is_dir() else name
    # A thread's output would land in whichever cell ran last.
    with quiet():
        model, saved = models.open_model(source, "auto")
        if saved is not None:
            raise ValueError(f"{name} is extended already, with {saved.scaling.title}; give the model it was made from")
        tokenizer = models.open_tokenizer(source)
    return model.to(models.device_for(None)), tokenizer


def points(setup: Setup, factors: Sequence[float], count: Count) -> Iterator[tuple[str, evaluation.LossByLength]]:
    """Measure length by length, at each the untouched model ("") and every path; yields a curve whenever it grew by a point.

    The same as `evaluation.compare`, in another order: so that all curves grow together, and short lengths come first.
    """
    window, longest = setup.geometry.window, len(setup.texts[0]) - 1
    lengths = evaluation.check_lengths(window, factors)
    curves: dict[str, evaluation.LossByLength] = {}
    total = len(lengths) * (len(setup.paths) + 1)
    for length, factor in lengths.items():
        # The last `length` tokens and their target: at every length the same targets end the text.
        texts = [text[longest - length :] for text in setup.texts]
        for name, path in {"": None, **setup.paths}.items():
            done = sum(len(curve.rows) for curve in curves.values())

            def counted(read: int, of: int, length: int = length, done: int = done) -> None:
                count(length, done + (read == of), total)

            with contextlib.nullcontext() if path is None else hf.extended(setup.model, path):
                point = evaluation.loss_by_length(
                    setup.model, texts, window, (factor,), batch=1, start=setup.start, progress=counted
                )
            before = curves[name].rows if name in curves else ()
            curves[name] = evaluation.LossByLength(window=window, rows=(*before, *point.rows), too_short=0)
            yield name, curves[name]
