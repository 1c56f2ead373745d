"""Lesson 17: for each check its solution and planted mistakes with the words the printed verdict must hold."""

import torch

from clexlab import hf, rope, scaling
from clexlab.exercises import lesson17 as lesson


def entry_of(config):
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def reads_the_extended_length(config, length):
    return config["max_position_embeddings"], max(1.0, length / config["max_position_embeddings"])


def takes_the_published_factor(config, length):
    window, factor = lesson.solution_plan(config, length)
    return window, entry_of(config).get("factor", factor)


def both(config, length):
    return config["max_position_embeddings"], entry_of(config).get("factor", max(1.0, length / config["max_position_embeddings"]))


def below_one(config, length):
    window, _ = lesson.solution_plan(config, length)
    return window, length / window


def rounded_up(config, length):
    window, factor = lesson.solution_plan(config, length)
    return window, float(-(-factor // 1))


def knows_no_older_config(config, length):
    window = config.get("rope_parameters", {}).get("original_max_position_embeddings", config["max_position_embeddings"])
    return window, max(1.0, length / window)


def trips_over_null(config, length):
    entry = config["rope_parameters"] if "rope_parameters" in config else config["rope_scaling"]
    window = entry.get("original_max_position_embeddings", config["max_position_embeddings"])
    return window, max(1.0, length / window)


def changed(**changes):
    """The right entry with some keys replaced; None removes a key."""

    def answer(path, factor):
        entry = {**lesson.solution_stock_entry(path, factor), **changes}
        return {key: value for key, value in entry.items() if value is not None}

    return answer


def ratios(path, factor):
    right = lesson.solution_stock_entry(path, factor)
    given = path.ratio(factor).tolist()
    return right | {"short_factor": given, "long_factor": given}


def tensors(path, factor):
    return lesson.solution_stock_entry(path, factor) | {"long_factor": path.inv_freq(1.0) / path.inv_freq(factor)}


def extended_length(path, factor):
    return lesson.solution_stock_entry(path, factor) | {"original_max_position_embeddings": int(factor * path.window)}


def squared_temperature(path, factor):
    return lesson.solution_stock_entry(path, factor) | {"attention_factor": path.attention_scale(factor) ** 2}


def only_the_first(path, factor):
    return lesson.solution_stock_entry(scaling.YaRN(head_dim=8, base=1e4, window=512), 4.0)


def trusts_the_config(model, path, factor):
    return model.config.rope_parameters["rope_type"] != "default"


def trusts_the_length(model, path, factor):
    return model.config.max_position_embeddings > path.window


def asks_clexlab(model, path, factor):
    try:
        return hf.rotary_of(model).scaling is not None
    except ValueError:
        return False


def asks_clexlab_for_the_method(model, path, factor):
    try:
        return hf.rotary_of(model).scaling == path
    except ValueError:
        return False


def looks_at_angles_alone(model, path, factor):
    cos, sin = model.model.rotary_emb(torch.zeros(1), torch.arange(16)[None])
    angles = rope.angles(torch.arange(16), path.inv_freq(factor))
    return torch.allclose(torch.atan2(sin, cos)[0, :, :4].cos(), angles.cos(), atol=1e-5)


def also_for_vllm(path, factor):
    scale = path.attention_scale(factor)
    return lesson.solution_stock_entry(path, factor) | {"short_mscale": scale, "long_mscale": scale}


def forgets_bool(model, path, factor):
    return torch.tensor(lesson.solution_turns_by(model, path, factor))


CASES = [
    (
        lesson.check_plan,
        lesson.solution_plan,
        [
            (reads_the_extended_length, "*extended* length"),
            (takes_the_published_factor, "the published factor is not yours"),
            (both, "the published factor is not yours"),
            (below_one, "never below 1"),
            (rounded_up, "not rounded up"),
            (lambda config, length: (4096, 4096 / length), "upside down"),
            (knows_no_older_config, "rope_scaling"),
            (trips_over_null, "AttributeError"),
            (lambda config, length: length, "return two numbers"),
        ],
    ),
    (
        lesson.check_stock_entry,
        lesson.solution_stock_entry,
        [
            (ratios, "transformers divides"),
            (tensors, "use .tolist()"),
            (extended_length, "the trained window, path.window"),
            (squared_temperature, "A(t), path.attention_scale(t)"),
            (changed(attention_factor=1.0), "the temperature was left out"),
            (changed(attention_factor=None), "attention_factor is missing"),
            (changed(short_factor=[1.0] * 4), "the angles would depend on the length"),
            (changed(rope_type="yarn"), '"longrope"'),
            (changed(rope_theta=None), "the model's trained base"),
            (changed(rope_theta=5e5), "the model's trained base"),
            (changed(factor=1.0), "factor is t"),
            (changed(beta_fast=32), "does not read this"),
            (only_the_first, "the model's trained base"),
            (lambda path, factor: path.inv_freq(factor).tolist(), "is a Python dictionary"),
            (lambda path: {}, "the function raised"),
        ],
    ),
    (lesson.check_stock_entry, also_for_vllm, [(changed(long_mscale=2.0), "does not read this")]),
    (
        lesson.check_turns_by,
        lesson.solution_turns_by,
        [
            (trusts_the_config, "read only once"),
            (trusts_the_length, "its rotary module gives"),
            (asks_clexlab, "extended, but by another method"),
            (asks_clexlab_for_the_method, "never met clexlab"),
            (looks_at_angles_alone, "A(t) is missing"),
            (forgets_bool, "wrap the comparison in bool"),
            (lambda model, path, factor: True, "nobody scaled this one"),
            (lambda model: True, "the function raised"),
        ],
    ),
]
