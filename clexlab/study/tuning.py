"""How a row of the study trains: which path, which positions, what learns, towards what. Each answer is an object that is passed.

A path comes from a maker, called with the model's geometry and the seed: `Closed(scaling.YaRN)` has nothing to learn,
`Learned(prior, field)` is CLEX with a field that is zero at first. The control of a learned path is its prior alone, trained on
the same positions: a field frozen at zero gives the same numbers bit for bit (tests/test_study.py).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from clexlab import bpe, hf, in_sentences, ode, scaling
from clexlab.evaluation.contexts import EVERYTHING, Context
from clexlab.frequencies import Geometry
from clexlab.interleaved import CHUNKS, TOGETHER
from clexlab.objectives import Distilled, NextToken, Objective
from clexlab.positions import PerRow, Sampler
from clexlab.positions.factors import Factors
from clexlab.positions.maps import Map
from clexlab.scaling.clex import EIGHT_STEPS
from clexlab.sparse.base import Pattern
from clexlab.study.courses import AtOnce, Course
from clexlab.study.material import Material
from clexlab.taken import TakenAt
from clexlab.training import PATH

# Every path of the study reaches this factor, and no further.
MAX_FACTOR = 16

PathMaker = Callable[[Geometry, int], scaling.Path]
FieldMaker = Callable[[Geometry, torch.Generator], nn.Module]
# Made for texts of so many tokens: `sparse.S2.default`.
PatternMaker = Callable[[int], Pattern]


@dataclass(frozen=True)
class Closed:
    """A closed form with its published options."""

    method: type[scaling.Path]

    def __call__(self, found: Geometry, seed: int) -> scaling.Path:
        return self.method.default(head_dim=found.head_dim, base=found.base, window=found.window)


def official_drift(found: Geometry, seed: int) -> scaling.Path:
    """NTK at 2t - 1: the prior of the official code."""
    return scaling.DynamicNTK(head_dim=found.head_dim, base=found.base, window=found.window, rate=2.0)


def official_field(found: Geometry, generator: torch.Generator) -> nn.Module:
    """The network of the official code, zero at first."""
    return ode.OfficialField(found.head_dim, found.base, generator=generator)


def bounded_field(found: Geometry, generator: torch.Generator) -> nn.Module:
    """Our network in ln t, which cannot run away; zero at first."""
    return ode.BoundedField(found.head_dim // 2, generator=generator)


def pace_field(found: Geometry, generator: torch.Generator) -> nn.Module:
    """YaRN's own way, faster or slower for every pair; all zero at first."""
    return ode.PaceField(scaling.YaRN.default(head_dim=found.head_dim, base=found.base, window=found.window))


def official_pace_field(found: Geometry, generator: torch.Generator) -> nn.Module:
    """The official prior's own way, faster or slower for every pair; all zero at first."""
    return ode.PaceField(official_drift(found, 0))


def no_temperature() -> None:
    """A(t) stays the prior's."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """CLEX up to 16: `prior` and a `field` whose first weights are drawn with the seed; `temperature` makes what is learned of A(t)."""

    prior: PathMaker
    field: FieldMaker
    temperature: Callable[[], nn.Module | None] = no_temperature
    step: ode.Step = EIGHT_STEPS

    def __call__(self, found: Geometry, seed: int) -> scaling.CLEX:
        return scaling.CLEX(
            head_dim=found.head_dim,
            base=found.base,
            window=found.window,
            max_factor=float(MAX_FACTOR),
            prior=self.prior(found, seed),
            field=self.field(found, torch.Generator().manual_seed(seed)),
            temperature=self.temperature(),
            step=self.step,
        )


@dataclass(frozen=True)
class Positions:
    """A sampler of the model's window: `Positions(SkipWise, LogUniformFactors(16))`."""

    kind: Callable[..., Sampler]
    factors: Factors

    def __call__(self, window: int) -> Sampler:
        return self.kind(window=window, factors=self.factors)


@dataclass(frozen=True)
class EachRow:
    """A draw of its own for every row of a step: `EachRow(Positions(SkipWise, FixedFactor(16)))`."""

    positions: Callable[[int], Sampler]

    def __call__(self, window: int) -> PerRow:
        return PerRow(self.positions(window))


def everything(model: nn.Module) -> None:
    """The model and whatever its path has to learn."""


def path_only(model: nn.Module) -> None:
    """The path alone: field and temperature, if it has one. The model stays as it was."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(PATH in f".{name}")


def as_it_is(model: nn.Module) -> None:
    """Nothing is left to be done with the trained weights."""


def next_token(model: nn.Module) -> Objective:
    """Ordinary next-token training."""
    return NextToken()


def distilled(model: nn.Module) -> Objective:
    """Next-token training, and with weight 4 the untouched model's own predictions of the same row at ordinary positions."""
    return Distilled(model, weight=4.0)


@dataclass(frozen=True)
class Taken:
    """Of every row only one window of tokens is read, those at drawn positions: `objective` of a tuning with long rows."""

    positions: Callable[[int], Sampler]

    def __call__(self, model: nn.Module) -> TakenAt:
        return self._made(model.config.max_position_embeddings)

    def told(self, window: int) -> str:
        """What is done, for a record."""
        return repr(self._made(window))

    def _made(self, window: int) -> TakenAt:
        return TakenAt(self.positions(window), window)


@dataclass(frozen=True)
class BySentence:
    """Gaps between the sentences of every row, at a t of its own: `objective` of a tuning without positions."""

    factors: Factors

    def __call__(self, model: nn.Module) -> in_sentences.InSentences:
        window = model.config.max_position_embeddings
        return in_sentences.InSentences(window=window, factors=self.factors, ends=in_sentences.sentence_ends(bpe.load()))

    def told(self, window: int) -> str:
        """What is done, for a record; which tokens end a sentence is the shipped tokenizer's, known by a digest."""
        ends = in_sentences.sentence_ends(bpe.load())
        digest = hashlib.sha256(repr(sorted(ends)).encode()).hexdigest()[:8]
        return f"InSentences(window={window}, factors={self.factors!r}, ends={len(ends)} tokens, {digest})"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One training that rows share by its `name`. The budget (steps, tokens, rate, data) is the profile's, the same for all.

    `path` None: plain RoPE. `positions` None: 0, 1, 2 …  `learns` marks what may change. `objective` is made from the untouched
    model, which a distilling one takes as its teacher. `path_rate` is the rate of field and temperature. `span` windows make a
    row, 1 or 16: of long rows a step has as many fewer, so that tokens are equal; of rows of which `Taken` reads one window, as many as
    of short ones. `factor` pins t in reading, and in training where no positions draw it. `shares` are the parts that rows are of,
    None: `base.SHARES`. `course` says in which stages the steps are spent; `after` is a tuning of the same seed that comes first, for a
    course that looks at its model. `pattern` is which keys are seen in training, None: all; readings have their own. `settles` makes of
    the trained model one with the base model's weights.
    """

    name: str
    path: PathMaker | None = None
    positions: Callable[[int], Sampler] | None = None
    learns: Callable[[nn.Module], None] = everything
    objective: Callable[[nn.Module], Objective] = next_token
    path_rate: float = 0.0
    span: int = 1
    factor: float | None = None
    shares: Mapping[str, float] | None = None
    course: Course = AtOnce()
    after: "Tuning | None" = None
    pattern: PatternMaker | None = None
    settles: Callable[[nn.Module], None] = as_it_is

    @property
    def windows(self) -> int:
        """Windows of tokens that the model reads of every row: what a step has fewer rows for."""
        return 1 if isinstance(self.objective, Taken) else self.span

    def start(self, given: Material, seed: int) -> nn.Module:
        """What is trained, its own copy each time: the base model."""
        return given.model()

    def found(self, model: nn.Module) -> dict:
        """What a record says of the trained model beside its losses and its path: nothing."""
        return {}

    def describe(self, window: int) -> dict:
        """For a record: every choice by its name. A training is recognised by it, so what came later is told where it is not usual."""
        told = getattr(self.objective, "told", None)
        objective = getattr(self.objective, "__name__", repr(self.objective)) if told is None else told(window)
        return {
            "name": self.name,
            "positions": None if self.positions is None else repr(self.positions(window)),
            "learns": getattr(self.learns, "__name__", repr(self.learns)),
            "objective": objective,
            "path_rate": self.path_rate,
            "span": self.span,
            "factor": self.factor,
            **({} if self.shares is None else {"shares": dict(self.shares), "interleaved": [TOGETHER, CHUNKS]}),
            **({} if self.course == AtOnce() else {"course": repr(self.course)}),
            **({} if self.after is None else {"after": self.after.describe(window)}),
            **({} if self.pattern is None else {"pattern": repr(self.pattern(self.span * window))}),
        }


@dataclass(frozen=True)
class AsTrained:
    """Measured with the path it was trained with, t = n/L or the pinned factor; what was never trained is measured plain."""

    context: Context = EVERYTHING

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def describe(self, window: int) -> dict:
        """For a record: what of the reading neither its context nor its path says."""
        return {}


@dataclass(frozen=True)
class Under:
    """Measured under a closed form it was not trained with, at t = n/L or at the pinned `factor`."""

    path: PathMaker
    context: Context = EVERYTHING
    factor: float | None = None

    def prepare(self, model: nn.Module) -> nn.Module:
        return hf.extend(model, self.path(hf.geometry(model), 0), factor=self.factor)

    def describe(self, window: int) -> dict:
        """Nothing: a record has the path."""
        return {}


@dataclass(frozen=True)
class Mapped:
    """Measured through a map of relative positions, made by `map` for a window; under a closed form as well where there is a `path`.

    With a `factor` t is pinned, and the map is made for a window so many times as wide; without one t = n/L.
    """

    map: Callable[[int], Map]
    path: PathMaker | None = None
    factor: float | None = None
    context: Context = EVERYTHING

    def made(self, window: int) -> Map:
        """The map for a model trained at `window`."""
        return self.map(round(window * (self.factor or 1)))

    def prepare(self, model: nn.Module) -> nn.Module:
        found = hf.geometry(model)
        if self.path is not None:
            model = hf.extend(model, self.path(found, 0), factor=self.factor)
        return hf.remap(model, self.made(found.window), generator=torch.Generator().manual_seed(0))

    def describe(self, window: int) -> dict:
        """Which map, with its options, and the t that was pinned."""
        return {"map": repr(self.made(window)), "pinned": self.factor}


@dataclass(frozen=True)
class Through:
    """Measured with the path it was trained with, and seeing only what a pattern for texts of `windows` windows shows."""

    pattern: PatternMaker
    windows: int
    context: Context = EVERYTHING

    def prepare(self, model: nn.Module) -> nn.Module:
        return hf.sparsify(model, self.pattern(self.windows * model.config.max_position_embeddings))

    def describe(self, window: int) -> dict:
        """Which pattern, with its options."""
        return {"through": repr(self.pattern(self.windows * window))}


Reading = AsTrained | Under | Mapped | Through
