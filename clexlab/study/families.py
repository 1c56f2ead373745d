"""The families: one small model for every way to tell positions, trained from nothing at one window, read at one to eight.

Every bias of `biases.BIASES`; RoPE as it is, read under YaRN, and read with every map of `maps.MAPS`; every pattern of
`sparse.PATTERNS`, with RoPE. The same tokens in the same order, the same first weights but for those of a learned bias, the same
target tokens. Rows are text, and text with marks (`clexlab.marks`): tokens to find again however far back they stand. Loss beyond the
window stays flat for a model that looks at its neighbours alone; whether it *uses* what is far, the marks tell, near and far in texts
of one length.

Predictions were written before a row ran, with lesson 06's records known and of this experiment nothing but short trainings of RoPE,
with which the budget and the marks were chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from clexlab import biases, bpe, evaluation, marks, receptive, rows, scaling, small, sparse
from clexlab.positions import maps
from clexlab.study import material, sizes
from clexlab.study.material import Material
from clexlab.study.methods import Row
from clexlab.study.sizes import Profile
from clexlab.study.tuning import AsTrained, Tuning

SHAPE = small.Config(vocabulary=bpe.SIZE, hidden=128, layers=2, heads=4, window=128)
ROPE_BASE, FACTORS = 10_000.0, (1.0, 2.0, 4.0, 8.0)
MARKED = 0.4
# Where a mark stands in a text: near its beginning, but behind the first tokens, which sinks keep; in its middle; and at eight windows half
# a window before the question.
FAR, MIDDLE, NEAR = 0.05, 0.5, 0.95
# At so many distances a record has what every head of every layer adds.
POINTS = 24

PROFILES = (
    Profile(
        name="smoke",
        steps=2,
        rows=4,
        rate=3e-3,
        texts=1,
        factors=FACTORS,
        trials=1,
        depths=(FAR, MIDDLE, NEAR),
        recall_factors=(1.0, 8.0),
        seeds=(1,),
        log_every=1,
        save_every=1,
        training_seconds=3.0,
        measuring_seconds=3.0,
        note="one seed and two steps: it shows that the study runs, and nothing else",
    ),
    Profile(
        name="cpu",
        steps=288,
        rate=3e-3,
        warmup=20,
        texts=12,
        factors=FACTORS,
        trials=16,
        depths=(FAR, MIDDLE, NEAR),
        recall_factors=(1.0, 8.0),
        log_every=16,
        save_every=96,
        training_seconds=110.0,
        measuring_seconds=40.0,
    ),
    Profile(
        name="gpu",
        steps=2000,
        rows=64,
        rate=2e-3,
        warmup=200,
        texts=128,
        factors=FACTORS,
        trials=100,
        depths=(FAR, MIDDLE, NEAR),
        recall_factors=(1.0, 8.0),
        batch=16,
        log_every=100,
        save_every=1000,
        training_seconds=120.0,
        measuring_seconds=30.0,
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fresh(Material):
    """The corpus for models that begin from nothing: no base model, rows of text and of marks, recall of marks."""

    shape: small.Config

    def model(self) -> small.Small:
        """One that nothing tells positions."""
        return small.fresh(self.shape, 0)

    @property
    def weights(self) -> str:
        """Every training draws its own."""
        return "none"

    @property
    def tasks(self) -> Mapping[str, Callable[[int, int], tuple[evaluation.Trial, ...]]]:
        """Marks alone: pass keys and copies take longer to learn than these models are trained."""
        return {marks.Marks.name: self.marked}

    def marked(self, count: int, longest: int) -> tuple[evaluation.Trial, ...]:
        """Marks in held-out text, the same ones for every run of every seed."""
        return marks.trials(self.shape.vocabulary, self.held_out, longest, count, torch.Generator().manual_seed(0))

    def rows(self, seed: int, count: int, span: int = 1, shares: Mapping[str, float] | None = None) -> rows.Rows:
        """Text and marks: the same rows for every method of a seed. ValueError for other shares."""
        if shares is not None:
            raise ValueError(f"shares are {dict(shares)}; these models are trained on text and marks, {1 - MARKED:g} and {MARKED:g}")
        text = rows.Text(self.train, span * self.window)
        parts = {text: 1 - MARKED, marks.Marks(text, self.shape.vocabulary): MARKED}
        return rows.mix(parts, count, torch.Generator().manual_seed(seed))


@dataclass(frozen=True, kw_only=True)
class FromScratch(Tuning):
    """A small model trained from nothing: with a bias and no angles, or with RoPE, under a pattern or not."""

    bias: type[biases.Bias] | None = None
    mask: type[sparse.Pattern] | None = None

    def start(self, given: Material, seed: int) -> small.Small:
        """Weights drawn with the seed. ValueError for a material without a shape of such models."""
        if not isinstance(given, Fresh):
            raise ValueError("this training begins from nothing; give it families.shipped(), which says how large a model")
        return small.fresh(given.shape, seed, **vars(self.places(given.shape)))

    def places(self, shape: small.Config) -> small.Places:
        """What the model has in each place. A pattern is its published one for texts of the window, and stays so in longer ones."""
        pattern = None if self.mask is None else self.mask.default(shape.window)
        return small.Places(scaling=None if self.bias else rope(shape), bias=self.bias, pattern=pattern)

    def describe(self, window: int) -> dict:
        """For a record: that it begins from nothing, and what tells it positions."""
        told = super().describe(window)
        places = self.places(replace(SHAPE, window=window))
        named = {"bias": None if self.bias is None else self.bias.name, "pattern": None if self.mask is None else repr(places.pattern)}
        return told | named | {"rope": self.bias is None, "base": ROPE_BASE, "marked": MARKED}

    def found(self, model: nn.Module) -> dict:
        """What the trained biases add by distance in a text of eight windows, and how far each head looks; by layer and head."""
        kinds = [bias for bias in getattr(model.decoder, "biases", ()) if not bias.contextual]
        if not kinds:
            return {}
        length = round(8 * model.shape.window)
        curves = torch.stack([bias.curve(length) for bias in kinds])
        fields = [receptive.field(curve).tolist() for curve in curves]
        return {"bias": {"distances": (at := spread(length)), "added": curves[:, :, at].tolist(), "field": fields}}


@dataclass(frozen=True, kw_only=True)
class Reread(AsTrained):
    """A model trained with RoPE, read with another path θ(t), or with a map of positions."""

    path: type[scaling.Path] = scaling.Identity
    positions: type[maps.Map] | None = None

    def prepare(self, model: nn.Module) -> nn.Module:
        """The same weights in other places."""
        places = replace(model.places, scaling=rope(model.shape, self.path), positions=self.mapped(model.shape.window))
        return model.read_with(places).eval()

    def describe(self, window: int) -> dict:
        """For a record: path and map."""
        return {"read_with": {"path": self.path.name, "positions": None if self.positions is None else repr(self.mapped(window))}}

    def mapped(self, window: int) -> maps.Map | None:
        """The map with its published options. Noise that it would draw is left out: a reading is to be the same each time."""
        made = None if self.positions is None else self.positions.default(window)
        return made if getattr(made, "noise", None) is None else replace(made, noise=None)


ROPE = FromScratch(name="families-rope")
# What was expected before any row ran, by the name of the row.
PREDICTIONS = {
    "rope": "Within two hundredths of the best at 1×. It breaks: four tenths above its own 1× at 8×, and marks are found near and not"
    " far: beyond the trained distances the angles of the slow pairs are new.",
    "rope-yarn": "A fifth of a nat above its 1× at 8×: better than plain RoPE at every length beyond 1×. Marks are found far in more"
    " trials than without it, in fewer than near.",
    "rope-rerope": "Within a tenth of its 1× at 8×: no distance is new. Marks are found far: they are told by content, which it keeps.",
    "rope-leaky-rerope": "As ReRoPE within three hundredths: order among far keys is worth little to so small a model.",
    "rope-self-extend": "As ReRoPE within three hundredths.",
    "rope-dual-chunk": "A tenth above its 1× at 8×; marks are found far.",
    "rope-string": "At 8× as bad as plain RoPE: it moves distances by a third of a window, and was made for texts within it.",
    "rope-gali": "Between YaRN and ReRoPE: chunks read in one call lose neighbours.",
    "rope-sinks": "Flat to two hundredths, and blind: marks are found near, and far as seldom as by guessing.",
    "rope-lm-infinite": "As sinks, within two hundredths.",
    "bias-nope": "The worst of the biases at 1×, by a tenth. It breaks slowly: between ALiBi and RoPE at 8×. Marks are found at any"
    " distance at 1×; at 8× attention is spread over eight times the keys, so far and near alike fall to a half.",
    "bias-alibi": "Flat: at 8× within two hundredths of its 1×. Marks near are found in nearly all trials; far ones in fewer: the"
    " flattest head takes 3.8 off a mark 976 tokens back, which content can pay.",
    "bias-interpolated-alibi": "At 1× ALiBi's numbers bit for bit, for nothing is interpolated. At 8× a tenth above ALiBi, because"
    " every head looks eight times as far, neighbours' heads too; far marks are found more often than with ALiBi.",
    "bias-t5": "At 1× among the best. At 8× a tenth above it: the last bucket is for 900 keys that it was trained on 15 of. Far marks"
    " are found.",
    "bias-kerple-log": "Flat to three hundredths, and below ALiBi at every length by one. Far marks found in more trials than with ALiBi.",
    "bias-kerple-power": "As ALiBi within two hundredths; far marks are not found: a power falls faster the further.",
    "bias-sandwich": "Flat to five hundredths; ALiBi's loss within two. Far marks are found: it falls as a logarithm.",
    "bias-fire": "Within a tenth of its 1× at 8×, with no bound on the distance; far marks are found as often as near ones.",
    "bias-cope": "The best at 1× by a hundredth or none. Beyond the window counts are clipped at 63 as they were within it: a tenth"
    " above its 1× at 8×, far marks found.",
    "sparse-local": "The worst at 1× but for the dilated ones: no token sees beyond its chunk of 32. Flat; marks in another chunk are"
    " not found.",
    "sparse-s2": "Below block local by half a tenth, above full RoPE by as much. Flat, for no distance is new; two layers carry nothing"
    " further than two chunks, so far marks are not found.",
    "sparse-scca-fixed": "Below S2 by two hundredths: its moved heads see whole windows. Flat; far marks are not found.",
    "sparse-scca-flow": "As SCCA fixed, with more reach: flat, far marks are not found at 8×.",
    "sparse-dilated": "The worst of all at 1×, by three tenths: a head is silent at every other token.",
    "sparse-dilated-neighbourhood": "Far above block local at 1×: no head sees the token before. Flat.",
    "sparse-sda": "Near full RoPE at 1×, for the heads share all keys out; it breaks as RoPE does, and finds far marks as seldom.",
    "sparse-selected-sda": "Above SDA by two tenths at 1×: a head is silent at every other token. It breaks.",
    "sparse-long-mixed": "Between SCCA fixed and SDA at 1×; at 8× between them too, for half of its heads are local.",
}


def _name(place: str, kind: type) -> str:
    return f"{place}-{kind.name.replace('_', '-')}"


def _row(name: str, title: str, about: str, tuning: FromScratch, reading: AsTrained = AsTrained(), against: str = "") -> Row:  # noqa: B008
    return Row(
        name=name,
        title=title,
        about=about,
        tuning=tuning,
        reading=reading,
        against=against,
        prediction=PREDICTIONS.get(name, ""),
        tasks=(marks.Marks.name,),
    )


FAMILIES = (
    _row("rope", "RoPE", "plain RoPE, read as it was trained", ROPE),
    _row("rope-yarn", "RoPE, read under YaRN", "the model of RoPE under YaRN at t = n/L", ROPE, Reread(path=scaling.YaRN), "rope"),
    *(
        _row(
            _name("rope", kind),
            f"RoPE, read with {kind.title}",
            f"the model of RoPE with the positions of {kind.title}, its published options scaled to the window",
            ROPE,
            Reread(positions=kind),
            "rope",
        )
        for kind in maps.MAPS
    ),
    *(
        _row(
            name := _name("bias", kind),
            kind.title,
            f"{kind.title} in the place of angles, its published options",
            FromScratch(name=f"families-{name}", bias=kind),
            against="rope",
        )
        for kind in biases.BIASES
    ),
    *(
        _row(
            name := _name("sparse", kind),
            f"RoPE, {kind.title}",
            f"RoPE, trained and read under {kind.title} with its published options for texts of one window",
            FromScratch(name=f"families-{name}", mask=kind),
            against="rope",
        )
        for kind in sparse.PATTERNS
    ),
)


def rope(shape: small.Config, path: type[scaling.Path] = scaling.Identity) -> scaling.Path:
    """RoPE for such a model, under a path with its published options."""
    return path.default(head_dim=shape.head_dim, base=ROPE_BASE, window=shape.window)


def spread(length: int) -> list[int]:
    """Distances from 0 to length - 1, the closer the nearer."""
    points = torch.logspace(0, 1, POINTS, base=length, dtype=torch.float64)
    return sorted({int(point) - 1 for point in points.round()})


def shipped() -> Fresh:
    """The standard library in the shipped tokenizer's tokens, and the shape of the models."""
    given = material.shipped()
    fields = {name: getattr(given, name) for name in ("tokenizer", "train", "held_out", "fingerprint")}
    return Fresh(folder=Path("small"), window=SHAPE.window, shape=SHAPE, **fields)


def profile_by_name(name: str) -> Profile:
    """A budget of this experiment by its name; ValueError lists the names."""
    return sizes.by_name(name, PROFILES)
