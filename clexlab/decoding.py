"""How far decoding with a key cache strays from decoding without one, token by token on a given text.

    divergence(n) = KL( p(· | first n tokens, no cache) ‖ p(· | first n tokens, cache filled token by token) )    nats

The truth costs little: the factor moves in steps, attention is causal, so one forward over the first b tokens at factor t holds
the logits of every length of the step that ends at b. A cached run reads one chunk a step for the same reason: within a step
nothing happens to the cache. `token_by_token` makes neither short cut, and the tests compare the two.

`clexlab.cache_record` runs it over texts, methods and semantics, and keeps the result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache, DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from clexlab import hf, scaling
from clexlab.hf.rotary import Angles
from clexlab.hf.schedules import Schedule
from clexlab.hf.state import Call, State
from clexlab.scaling.base import Path


class Stale(hf.Rerotate):
    """The factor follows the length and cached keys stay as they were turned: what transformers' `dynamic` rope does. A bug.

    Not a semantics of clexlab, and `extend` does not take it. It is here to be measured.
    """

    name = "stale"

    @staticmethod
    def step(rotary: hf.Rotary, call: Call) -> tuple[Angles, State]:
        # As if no key had been turned yet: angles of the new factor, and nothing to turn.
        return hf.Rerotate.step(rotary, replace(call, state=None))


SEMANTICS = (Stale, *hf.CACHES)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and the path it is to follow, with a name for tables and menus."""

    title: str
    model: PreTrainedModel
    path: Path


@dataclass(frozen=True)
class Step:
    """Lengths start + 1 … stop, which share one factor."""

    start: int
    stop: int
    factor: float


def steps(path: Path, schedule: Schedule, length: int) -> tuple[Step, ...]:
    """The steps of the factor while a text grows from 1 to `length` tokens. ValueError where the path or schedule refuses."""
    if length < 1:
        raise ValueError(f"length is {length}; a text has at least one token")
    factors = [schedule.factor(path, n) for n in range(1, length + 1)]
    starts = [n for n in range(length) if n == 0 or factors[n] != factors[n - 1]]
    return tuple(Step(start, stop, factors[start]) for start, stop in zip(starts, [*starts[1:], length], strict=True))


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Cached against uncached after the first n tokens of one text, for n = `lengths` = 1 … tokens - 1, and at which factor.

    `divergence` is the KL above, 0 or a rounding of it where the cache is exact; `same` says whether both rank one token first;
    the losses are -ln p of the token that follows. `top_*` are the most likely tokens of both runs, `weight_*` their
    probabilities.
    """

    lengths: Int[Tensor, "lengths"]
    factors: Float[Tensor, "lengths"]
    divergence: Float[Tensor, "lengths"]
    same: Bool[Tensor, "lengths"]
    loss_uncached: Float[Tensor, "lengths"]
    loss_cached: Float[Tensor, "lengths"]
    top_uncached: Int[Tensor, "lengths top"]
    top_cached: Int[Tensor, "lengths top"]
    weight_uncached: Float[Tensor, "lengths top"]
    weight_cached: Float[Tensor, "lengths top"]

    @property
    def changes(self) -> list[int]:
        """The first length of every new factor."""
        return [int(n) for n in self.lengths[1:][self.factors.diff() != 0]]

    def among(self, chosen: Bool[Tensor, "lengths"]) -> "Disagreement":
        """The same for some of the lengths."""
        return Disagreement(**{item.name: getattr(self, item.name)[chosen] for item in fields(self)})


@torch.no_grad()
def compare(
    model: PreTrainedModel,
    path: Path,
    tokens: Int[Tensor, "tokens"],
    semantics: type[hf.caches.CacheSemantics],
    schedule: Schedule = hf.Whole(),  # noqa: B008 - frozen, without state
    top: int = 5,
) -> Disagreement:
    """Read `tokens` twice, with and without a cache, at the factors of `schedule`, and compare what comes next.

    `semantics` is one of SEMANTICS. Under `hf.Frozen` both runs keep the factor of all that is read; under the others both
    follow the length. The last token is never read, so a text of 8 windows and one token needs a factor of 8. The model is
    extended for the time of the call and must not be extended before. Raises ValueError for a model in training mode, fewer than
    two tokens, and what `extend`, the path and the schedule refuse.
    """
    _check(model, tokens)
    # The last token is only looked for, never read.
    read = tokens[:-1]
    planned = schedule.factor(path, len(read)) if semantics is hf.Frozen else None
    # A name that `extend` knows; the rule itself is put in its place.
    known = semantics if semantics in hf.CACHES else hf.Rerotate
    parts = []
    with hf.extended(model, path, cache=known.name, factor=planned, schedule=schedule):
        hf.rotary_of(model).cache = semantics
        for step, cached in _read(model, read, semantics, steps(path, schedule, len(read))):
            uncached = model(read[None, : step.stop], use_cache=False).logits[0, step.start :]
            factor = step.factor if planned is None else planned
            parts.append(_judge(uncached, cached, tokens, step, factor, top))
    return _joined(parts)


@torch.no_grad()
def token_by_token(model: PreTrainedModel, tokens: Int[Tensor, "tokens"], top: int = 5) -> Disagreement:
    """The same for any model as it stands, extended or not, without a short cut: every length has a forward of its own.

    Slow, and for judging others: stock models, and `compare` itself. `factors` are NaN, because the model does not tell them.
    """
    _check(model, tokens)
    cache, parts = DynamicCache(config=model.config), []
    # All of one run before the other: a stock dynamic rope remembers the longest text it has met, and forgets it at length 1.
    cached = [_logits(model, tokens[n : n + 1], cache) for n in range(len(tokens) - 1)]
    for n in range(len(tokens) - 1):
        uncached = model(tokens[None, : n + 1], use_cache=False).logits[0, n:]
        parts.append(_judge(uncached, cached[n], tokens, Step(n, n + 1, torch.nan), torch.nan, top))
    return _joined(parts)


def pocket_cases() -> tuple[Case, ...]:
    """The trained pocket model under two closed forms, and its CLEX-tuned sibling under the path it learned, where shipped."""
    from clexlab import pocket

    model, _ = pocket.load()
    cases = [Case(title=kind.title, model=model, path=hf.scaling_for(model, kind)) for kind in (scaling.DynamicNTK, scaling.YaRN)]
    tuned = pocket.FOLDER.with_name("pocket_clex")
    if (tuned / "config.json").is_file():
        from clexlab.hf.saving import load

        model = load(tuned).eval()
        path = hf.rotary_of(model).scaling
        cases.append(Case(title="CLEX, tuned", model=hf.restore(model), path=path))
    return tuple(cases)


def random_llama(generator: torch.Generator, layers: int, window: int = 32, sharpness: float = 15.0) -> LlamaForCausalLM:
    """A Llama of random weights in which positions matter: q and k are `sharpness` times as large as at initialization.

    Hidden size 64, 4 heads of 16, 257 tokens (bytes). Its errors are larger than a trained model's: it shows *whether* a cache is exact.
    """
    shape = dict(hidden_size=64, intermediate_size=128, num_attention_heads=4, num_hidden_layers=layers, vocab_size=257)
    model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=window)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                scale = sharpness if "q_proj" in name or "k_proj" in name else 1.0
                weight.normal_(0.0, 0.02 * scale, generator=generator)
    return model


def _check(model: PreTrainedModel, tokens: Int[Tensor, "tokens"]) -> None:
    if model.training:
        raise ValueError("the model is in training mode, where dropout and sampled positions differ between runs; call model.eval()")
    if len(tokens) < 2:
        raise ValueError(f"the text has {len(tokens)} token(s); at least two are needed, so that something follows")


def _read(
    model: PreTrainedModel, tokens: Int[Tensor, "tokens"], semantics: type, path_steps: Sequence[Step]
) -> Iterator[tuple[Step, Float[Tensor, "lengths vocabulary"]]]:
    """The cached run, step by step: the logits after every length of the step."""
    cache = DynamicCache(config=model.config)
    for step in path_steps:
        if semantics is not hf.Refill:
            yield step, _logits(model, tokens[step.start : step.stop], cache)
            continue
        # The whole text up to the first token of the step goes through an empty cache; from there on the cache holds.
        cache = DynamicCache(config=model.config)
        again = _logits(model, tokens[: step.start + 1], cache)[-1:]
        rest = tokens[step.start + 1 : step.stop]
        yield step, torch.cat([again, _logits(model, rest, cache)]) if len(rest) else again


def _logits(model: PreTrainedModel, tokens: Int[Tensor, "new"], cache: Cache) -> Float[Tensor, "new vocabulary"]:
    return model(tokens[None], past_key_values=cache, use_cache=True).logits[0]


def _judge(
    uncached: Float[Tensor, "lengths vocabulary"],
    cached: Float[Tensor, "lengths vocabulary"],
    tokens: Int[Tensor, "tokens"],
    step: Step,
    factor: float,
    top: int,
) -> Disagreement:
    """One step's comparison, in float64: a KL of 1e-9 is a difference of large sums."""
    follows = tokens[step.start + 1 : step.stop + 1]
    truth, other = (logits.double().log_softmax(-1) for logits in (uncached, cached))
    top_uncached, top_cached = (each.topk(min(top, each.shape[-1])) for each in (truth, other))
    return Disagreement(
        lengths=torch.arange(step.start + 1, step.stop + 1),
        factors=torch.full((len(follows),), factor, dtype=torch.float64),
        # A KL is never negative; its rounding may be.
        divergence=(truth.exp() * (truth - other)).sum(-1).clamp(min=0).cpu(),
        same=(truth.argmax(-1) == other.argmax(-1)).cpu(),
        loss_uncached=-truth.gather(-1, follows[:, None])[:, 0].cpu(),
        loss_cached=-other.gather(-1, follows[:, None])[:, 0].cpu(),
        top_uncached=top_uncached.indices.cpu(),
        top_cached=top_cached.indices.cpu(),
        weight_uncached=top_uncached.values.exp().cpu(),
        weight_cached=top_cached.values.exp().cpu(),
    )


def _joined(parts: Sequence[Disagreement]) -> Disagreement:
    return Disagreement(**{item.name: torch.cat([getattr(part, item.name) for part in parts]) for item in fields(Disagreement)})
