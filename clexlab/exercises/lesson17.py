"""Exercises of lesson 17, your own model: window and factor from a config, the stock entry of an export, angles that hold.

Expected values are worked out by hand from the published formulas; the models of the last exercise are built for it and
are known to turn by the angles, or not, because of how they were built.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clexlab import hf, rope, scaling
from clexlab.exercises import NothingReturned, agrees, call, failed, judge_in_turn, passed, unanswered

# --- window and factor ------------------------------------------------------------------------------------------------

# Three shapes a config.json comes in: plain, scaled as transformers 5 writes it, scaled as older versions wrote it.
_PLAIN = {"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
_LLAMA3 = {
    "max_position_embeddings": 131_072,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
_OLD_YARN = {
    "max_position_embeddings": 65_536,
    "rope_theta": 10_000.0,
    "rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096},
}
_OLD_PLAIN = {"max_position_embeddings": 2048, "rope_theta": 10_000.0, "rope_scaling": None}


def check_plan(answer: object) -> bool:
    """`answer(config, length)` returns (window, factor): the trained length, and t for a text of `length` tokens."""
    if unanswered(answer):
        return False
    scaled = [
        ([131_072, 1.0], "max_position_embeddings of a scaled model is the *extended* length; the trained one is inside the entry"),
        ([8192, 8.0], "the published factor is not yours: t = length / window, for your length"),
        ([131_072, 8.0], "max_position_embeddings is the extended length, and the published factor is not yours"),
    ]
    short = [([4096, 0.244140625], "a text within the window needs t = 1, the trained model; t is never below 1")]
    rounded = [([4096, 3.0], "t is a real number: length / window, not rounded up")]
    return judge_in_turn(
        ("a plain model of 4096, 16 384 tokens", [4096, 4.0], call(answer, _PLAIN, 16_384), [([4096, 0.25], "upside down")], _WHAT),
        ("a plain model of 4096, 1000 tokens", [4096, 1.0], call(answer, _PLAIN, 1000), short, _WHAT),
        ("a plain model of 4096, 10 240 tokens", [4096, 2.5], call(answer, _PLAIN, 10_240), rounded, _WHAT),
        ("a Llama-3.1 config, 32 768 tokens", [8192, 4.0], call(answer, _LLAMA3, 32_768), scaled, _WHAT),
        ("a config with rope_scaling, 8192 tokens", [4096, 2.0], call(answer, _OLD_YARN, 8192), [], _OLDER),
        ("an old config with rope_scaling null, 4096 tokens", [2048, 2.0], call(answer, _OLD_PLAIN, 4096), [], _OLDER),
    )


_WHAT = "return two numbers: the trained length in tokens, and max(1, length / window)"
_OLDER = "before transformers 5 the entry was called rope_scaling, and it was null where nothing was scaled"


def hint_plan() -> None:
    print("Look for original_max_position_embeddings in rope_parameters, or in rope_scaling where the config is older.")
    print("Without it the window is max_position_embeddings. Then t = max(1, length / window).")


def solution_plan(config: dict, length: int) -> tuple[int, float]:
    entry = config.get("rope_parameters") or config.get("rope_scaling") or {}
    window = entry.get("original_max_position_embeddings", config["max_position_embeddings"])
    return window, max(1.0, length / window)


# --- the stock entry --------------------------------------------------------------------------------------------------


def check_stock_entry(answer: object) -> bool:
    """`answer(path, factor)` returns the rope_parameters that give stock transformers the path's frequencies at `factor`."""
    if unanswered(answer):
        return False
    yarn = scaling.YaRN(head_dim=8, base=10_000.0, window=512)
    pi = scaling.Linear(head_dim=4, base=500_000.0, window=100)
    return all(
        _entry_is(tried, call(answer, path, factor), wanted, upside_down)
        for tried, path, factor, wanted, upside_down in (
            # By hand: γ = 1, ½, 0, 0, so θ(t)/θ(1) = 1, 0.625, ¼, ¼ and A = 0.1·ln 4 + 1.
            ("YaRN, head_dim 8, base 10 000, window 512, factor 4", yarn, 4.0,
             _longrope(10_000.0, 512, 4.0, [1.0, 1.6, 4.0, 4.0], 1.1386294361), [1.0, 0.625, 0.25, 0.25]),
            ("PI, head_dim 4, base 500 000, window 100, factor 8", pi, 8.0,
             _longrope(500_000.0, 100, 8.0, [8.0, 8.0], 1.0), [0.125, 0.125]),
        )
    ) and passed("Stock transformers reads this entry; it needs no clexlab.")


def _longrope(base: float, window: int, factor: float, divisors: list[float], scale: float) -> dict[str, object]:
    return {
        "rope_type": "longrope",
        "rope_theta": base,
        "factor": factor,
        "original_max_position_embeddings": window,
        "short_factor": divisors,
        "long_factor": divisors,
        "attention_factor": scale,
    }


_SAID = {
    "rope_type": 'the stock type that takes one divisor a pair is written "longrope"',
    "rope_theta": "rope_theta is the model's trained base, path.base",
    "factor": "factor is t, the second argument",
    "original_max_position_embeddings": "original_max_position_embeddings is the trained window, path.window",
    "short_factor": "texts within the window take short_factor: with another list there the angles would depend on the length",
    "long_factor": "long_factor holds one divisor a pair: θ(1)/θ(t)",
    "attention_factor": "attention_factor is A(t), path.attention_scale(t); it multiplies cos and sin",
}


# vLLM's names of the temperature; transformers lets them pass.
_OF_VLLM = ("short_mscale", "long_mscale")


def _entry_is(tried: str, given: object, wanted: dict[str, object], upside_down: list[float]) -> bool:
    """Compare one entry key by key; says which key differs and why. True where all of them agree."""
    if unanswered(given):
        return False
    wrong = _first_difference(given, wanted, upside_down)
    if wrong is None:
        return True
    print(f"tried with {tried}:")
    return failed(*wrong)


def _first_difference(given: object, wanted: dict[str, object], upside_down: list[float]) -> tuple[object, object, str] | None:
    if isinstance(given, NothingReturned):
        return wanted, "nothing", "your function returned nothing here: is a return missing?"
    if isinstance(given, Exception):
        return wanted, f"{type(given).__name__}: {given}", "the function raised; read the message above"
    if not isinstance(given, dict):
        return "a dictionary", type(given).__name__, "rope_parameters is a Python dictionary with string keys"
    for key, value in wanted.items():
        shown = f"{key!r}: {value!r}"
        if key not in given:
            return shown, "no such key", f"{key} is missing. {_SAID[key]}"
        if not _plain(given[key]):
            return shown, f"{key!r}: a {type(given[key]).__name__}", "config.json holds plain numbers, text and lists: use .tolist()"
        if given[key] != value and not (not isinstance(value, str) and agrees(value, given[key])):
            return shown, f"{key!r}: {given[key]!r}", _why(key, given[key], upside_down)
    extra = sorted(key for key in set(given) - set(wanted) if not (key in _OF_VLLM and agrees(wanted["attention_factor"], given[key])))
    return None if not extra else (f"the keys {', '.join(wanted)}", ", ".join(map(str, extra)), "transformers' longrope does not read this")


def _plain(value: object) -> bool:
    """Whether JSON could hold it as it is: a number, a text, or a list of numbers."""
    if isinstance(value, (list, tuple)):
        return all(isinstance(each, (int, float)) for each in value)
    return isinstance(value, (str, int, float))


def _why(key: str, given: object, upside_down: list[float]) -> str:
    if key in ("short_factor", "long_factor") and agrees(upside_down, given):
        return "these are the ratios θ(t)/θ(1); transformers divides, so it wants θ(1)/θ(t)"
    if key == "attention_factor" and agrees(1.0, given):
        return f"the temperature was left out; {_SAID[key]}"
    return _SAID[key]


def hint_stock_entry() -> None:
    print("transformers' longrope divides the frequency of pair j by short_factor[j] within the window, by long_factor[j] beyond.")
    print("Give both the list (path.inv_freq(1.0) / path.inv_freq(factor)).tolist(), and A(t) as attention_factor.")


def solution_stock_entry(path: scaling.Path, factor: float) -> dict[str, object]:
    divisors = (path.inv_freq(1.0) / path.inv_freq(factor)).tolist()
    return {
        "rope_type": "longrope",
        "rope_theta": path.base,
        "factor": factor,
        "original_max_position_embeddings": path.window,
        "short_factor": divisors,
        "long_factor": divisors,
        "attention_factor": path.attention_scale(factor),
    }


# --- which model is really extended? ----------------------------------------------------------------------------------

_SHAPE = dict(head_dim=8, base=10_000.0, window=64)


def tiny_llama(*, max_position_embeddings: int = 64, rope_parameters: dict | None = None) -> nn.Module:
    """A random Llama of one layer with rotary dimension 8, base 10 000 and, if nothing else is asked for, plain RoPE and window 64."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(vocab_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    rope_parameters = rope_parameters or {"rope_type": "default", "rope_theta": 10_000.0}
    config = LlamaConfig(**sizes, max_position_embeddings=max_position_embeddings, rope_parameters=rope_parameters)
    return LlamaForCausalLM(config).eval()


def _untouched_model() -> nn.Module:
    return tiny_llama()


def _config_edited_afterwards() -> nn.Module:
    model = tiny_llama()
    model.config.rope_parameters = scaling.YaRN(**_SHAPE).rope_parameters(4.0)
    return model


def _only_more_positions() -> nn.Module:
    return tiny_llama(max_position_embeddings=256)


def _extended_by_another() -> nn.Module:
    return hf.extend(tiny_llama(), scaling.Linear(**_SHAPE), factor=4.0)


def _without_temperature() -> nn.Module:
    return hf.extend(tiny_llama(), scaling.ByParts(**_SHAPE), factor=4.0)


def _extended() -> nn.Module:
    return hf.extend(tiny_llama(), scaling.YaRN(**_SHAPE), factor=4.0)


def _stock_yarn() -> nn.Module:
    return tiny_llama(max_position_embeddings=256, rope_parameters=scaling.YaRN(**_SHAPE).rope_parameters(4.0))


# How the model was made, whether it turns by YaRN's angles at factor 4, and what one overlooks who says otherwise.
SUSPECTS: tuple[tuple[str, Callable[[], nn.Module], bool, str], ...] = (
    ("clexlab.extend with YaRN", _extended, True, "this one is extended: its rotary module gives YaRN's cos and sin"),
    ("an untouched model", _untouched_model, False, "nobody scaled this one: compare with the wanted path, not with finite numbers"),
    ("the config edited after the model was built", _config_edited_afterwards, False, "the config says yarn, but it is read only once, "
     "when the model is built: ask the rotary module"),
    ("a larger max_position_embeddings", _only_more_positions, False, "max_position_embeddings moves no frequency"),
    ("clexlab.extend with PI", _extended_by_another, False, "extended, but by another method: compare the angles themselves"),
    ("YaRN's angles without its temperature", _without_temperature, False, "the angles are right, A(t) is missing: compare cos and sin "
     "as the module returns them"),
    ("a stock YaRN config", _stock_yarn, True, "this one never met clexlab and turns by the same angles: they count, not who set them"),
)


def check_turns_by(answer: object) -> bool:
    """`answer(model, path, factor)` says whether a Llama's rotary module returns the path's cos and sin at this factor."""
    if unanswered(answer):
        return False
    path = scaling.YaRN(**_SHAPE)
    for tried, build, expected, words in SUSPECTS:
        # Building a model draws random weights; the learner's generator must not move by it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build()
        given = call(answer, model, path, 4.0)
        if unanswered(given):
            return False
        if isinstance(given, NothingReturned):
            given, words = "nothing", "your function returned nothing here: is a return missing?"
        elif isinstance(given, Exception):
            given, words = f"{type(given).__name__}: {given}", "the function raised; read the message above"
        elif not isinstance(given, bool):
            words = "answer True or False: wrap the comparison in bool(...)"
        if given is not expected:
            print(f"tried with {tried}:")
            return failed(expected, given, words)
    return passed("Nothing in a config says what a model really does; its rotary module does.")


def hint_turns_by() -> None:
    print("model.model.rotary_emb(x, positions) returns (cos, sin), each (1, n, head_dim): the pairs' angles, twice in a row.")
    print("Compare with rope.angles(positions, path.inv_freq(factor)) and remember A(t).")


def solution_turns_by(model: nn.Module, path: scaling.Path, factor: float) -> bool:
    positions = torch.arange(16)[None]
    cos, sin = model.model.rotary_emb(torch.zeros(1), positions)
    angles = rope.angles(positions, path.inv_freq(factor))
    scale = path.attention_scale(factor)

    def same(given: Tensor, wanted: Tensor) -> bool:
        return torch.allclose(given, torch.cat((wanted, wanted), dim=-1) * scale, atol=1e-5)

    return same(cos, angles.cos()) and same(sin, angles.sin())
