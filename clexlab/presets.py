"""Real models as data: rotary dimension, base, trained window and published rope settings, each with its source.

`window` is the length the frequencies were trained at before any published extension (transformers'
`original_max_position_embeddings`); `head_dim` is the rotary dimension. `rope_parameters` is what the model ships or its
card recommends, in transformers 5 form. Every number was read in a place that `source` names, none is from memory: in the
model's own config.json where it stands alone, otherwise in the repository or page named beside it.
"""

import math
from collections.abc import Callable
from typing import Any

from clexlab.frequencies import Geometry
from clexlab.scaling import Identity, Linear, Llama3, LongRoPE, Path, UnroundedIndexRamp, YaRN
from clexlab.scaling.by_parts import IndexRamp, TurnsRamp

_LITGPT = "Lightning-AI/litgpt: litgpt/config.py"
_MLC = "mlc-ai/mlc-llm: python/mlc_llm/model/model_preset.py"


def _llama3(factor: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def _qwen() -> dict[str, Any]:
    return {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}


def _deepseek(mscale: float) -> dict[str, Any]:
    return {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 40.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": mscale,
        "mscale_all_dim": mscale,
        "original_max_position_embeddings": 4096,
    }


# fmt: off
_PHI3_LONG = [
    1.0700000524520874, 1.1200000047683716, 1.149999976158142, 1.4199999570846558, 1.5699999332427979,
    1.7999999523162842, 2.129999876022339, 2.129999876022339, 3.009999990463257, 5.910000324249268,
    6.950000286102295, 9.070000648498535, 9.930000305175781, 10.710000038146973, 11.130000114440918,
    14.609999656677246, 15.409998893737793, 19.809999465942383, 37.279998779296875, 38.279998779296875,
    38.599998474121094, 40.12000274658203, 46.20000457763672, 50.940006256103516, 53.66000747680664,
    54.9373893737793, 56.89738845825195, 57.28738784790039, 59.98738479614258, 60.86738586425781,
    60.887386322021484, 61.71739196777344, 62.91739273071289, 62.957393646240234, 63.41739273071289,
    63.8173942565918, 63.83739471435547, 63.897396087646484, 63.93739700317383, 64.06739807128906,
    64.11434936523438, 64.12435150146484, 64.15435028076172, 64.19435119628906, 64.24435424804688,
    64.57435607910156, 64.69000244140625, 64.76000213623047,
]
_PHI3_SHORT = [
    1.1, 1.1, 1.1, 1.3000000000000003, 1.3500000000000003, 1.3500000000000003, 1.4000000000000004, 1.5500000000000005,
    *[2.000000000000001] * 17, *[2.0500000000000007] * 6, 2.1000000000000005, 2.1000000000000005, 2.1500000000000004,
    *[2.25] * 5, 2.3999999999999995, 2.4499999999999993, 2.499999999999999, 2.6999999999999984, 2.6999999999999984,
    2.7499999999999982, 2.799999999999998, 2.8999999999999977, 3.049999999999997,
]
# fmt: on

PRESETS: tuple[Geometry, ...] = (
    Geometry("Llama-2-7B", 128, 1e4, 4096, f"meta-llama/Llama-2-7b-hf config.json; {_LITGPT}"),
    Geometry("CodeLlama-7B", 128, 1e6, 16384, f"codellama/CodeLlama-7b-hf config.json; {_MLC}"),
    Geometry("Llama-3-8B", 128, 5e5, 8192, f"meta-llama/Meta-Llama-3-8B config.json; {_LITGPT}"),
    Geometry("Llama-3.1-8B", 128, 5e5, 8192, f"meta-llama/Llama-3.1-8B config.json; {_MLC} (llama3_1_8b)", _llama3(8.0)),
    Geometry("Llama-3.2-1B", 64, 5e5, 8192, f"meta-llama/Llama-3.2-1B config.json; {_MLC} (llama3_2_1b)", _llama3(32.0)),
    # Its config says 32768 positions and attention reaches 4096 tokens a layer; it was trained on 8k texts.
    Geometry(
        "Mistral-7B-v0.1",
        128,
        1e4,
        8192,
        f"base: {_MLC} (mistral_7b); window: huggingface/transformers docs/source/en/model_doc/mistral.md,"
        " 'trained with 8k context length'",
    ),
    Geometry("Mistral-7B-v0.3", 128, 1e6, 32768, f"mistralai/Mistral-7B-v0.3 config.json; {_MLC} (mistral_7b_v03)"),
    Geometry("Mixtral-8x7B", 128, 1e6, 32768, f"mistralai/Mixtral-8x7B-v0.1 config.json; {_MLC} (Mixtral-8x7B-v0.1)"),
    Geometry(
        "Qwen2.5-7B",
        128,
        1e6,
        32768,
        f"base and head size: {_LITGPT}; window and yarn, recommended and off by default: model card of"
        " Qwen/Qwen2.5-7B-Instruct, quoted in huggingface.co/Qwen/Qwen2.5-32B-Instruct/discussions/5",
        _qwen(),
    ),
    Geometry(
        "Qwen3-8B",
        128,
        1e6,
        32768,
        f"base and head size: {_LITGPT}; window and yarn, recommended and off by default:"
        " QwenLM/Qwen3: docs/source/inference/transformers.md",
        _qwen(),
    ),
    Geometry("Phi-2", 32, 1e4, 2048, f"microsoft/phi-2 config.json (rotary 32 of 80); {_LITGPT}; {_MLC} (phi-2)"),
    Geometry("Phi-3-mini-4k", 96, 1e4, 4096, f"microsoft/Phi-3-mini-4k-instruct config.json; {_LITGPT}"),
    # The June 2024 factors; the first release of the same name had others. `factor` is derived, 131072 / 4096, as
    # transformers does: the published file names the two lengths instead.
    Geometry(
        "Phi-3-mini-128k",
        96,
        1e4,
        4096,
        "microsoft/Phi-3-mini-128k-instruct config.json, all 96 factors as copied in t-pranavv/local-rollouts:"
        " scripts/eval/long_context/eval_long_context.py and, abridged with its address and lengths, in"
        " danbev/learning-ai: notes/position-embeddings/rope.md",
        {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "long_factor": _PHI3_LONG,
            "short_factor": _PHI3_SHORT,
        },
    ),
    Geometry(
        "GPT-NeoX-20B",
        24,
        1e4,
        2048,
        "EleutherAI/gpt-neox-20b config.json (rotary_pct 0.25 of 96), as copied in ybelkada/gpt-neo-x-20b-sharded-bf16",
    ),
    Geometry("Pythia-6.9B", 32, 1e4, 2048, "EleutherAI/pythia-6.9b config.json (rotary_pct 0.25 of 128)"),
    Geometry("GPT-J-6B", 64, 1e4, 2048, f"transformers GPTJConfig defaults (rotary_dim 64 of 256); {_MLC} (gpt_j)"),
    Geometry("Gemma-2-9B", 256, 1e4, 8192, f"google/gemma-2-9b config.json; {_MLC} (gemma2_9b); half its layers see 4096"),
    # Global layers only; the five local layers beside each use base 10⁴ and see 1024 tokens.
    Geometry(
        "Gemma-3-4B",
        256,
        1e6,
        32768,
        f"google/gemma-3-4b-it config.json, global layers; {_LITGPT} (Gemma-3-4b-it); window: arXiv 2503.19786 §5.3",
        {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    ),
    Geometry(
        "gpt-oss-20b",
        64,
        150_000.0,
        4096,
        "openai/gpt-oss: gpt_oss/torch/model.py; transformers GptOssConfig defaults; every second layer sees 128 tokens",
        {
            "rope_type": "yarn",
            "rope_theta": 150_000.0,
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    ),
    Geometry(
        "DeepSeek-V2",
        64,
        1e4,
        4096,
        "deepseek-ai/DeepSeek-V2 config.json, commit 4c2b2d1 (qk_rope_head_dim 64 of 192)",
        _deepseek(0.707),
    ),
    Geometry(
        "DeepSeek-V3",
        64,
        1e4,
        4096,
        "deepseek-ai/DeepSeek-V3: inference/model.py and config.json (qk_rope_head_dim 64 of 192), the latter as copied in"
        " gitcode.com/cann/cann-recipes-train: llm_rl/deepseek/verl_patches/config.json",
        _deepseek(1.0),
    ),
    Geometry("Falcon-7B", 64, 1e4, 2048, f"tiiuae/falcon-7b config.json; {_LITGPT}; base: transformers FalconConfig default"),
    Geometry("OLMo-2-7B", 128, 5e5, 4096, f"allenai/OLMo-2-1124-7B config.json; {_LITGPT}; {_MLC} (olmo2_7b)"),
    Geometry(
        "StableLM-2-1.6B",
        16,
        1e4,
        4096,
        "stabilityai/stablelm-2-1_6b config.json (partial_rotary_factor 0.25 of 64), as copied in Xenova/stablelm-2-1_6b",
    ),
)


def by_name(name: str) -> Geometry:
    """The model of this name, "Llama-3.1-8B"; ValueError lists the names."""
    for geometry in PRESETS:
        if geometry.name == name:
            return geometry
    raise ValueError(f"no preset is named {name!r}; there are {', '.join(geometry.name for geometry in PRESETS)}")


def published_factor(geometry: Geometry) -> float:
    """The factor t that the model's published settings are for; 1 when it ships unscaled. ValueError if they name none."""
    parameters = geometry.rope_parameters or {"rope_type": "default"}
    factor = 1.0 if parameters.get("rope_type") == "default" else float(_setting(geometry, parameters, "factor"))
    if not factor >= 1:
        raise ValueError(f"{geometry.name}: rope_parameters say factor {factor}; extending a window takes a factor of at least 1")
    return factor


def published_scaling(geometry: Geometry) -> Path:
    """The model's own published rope settings as a path θ(t); at `published_factor` it gives the shipped frequencies.

    A config is one point, the path is the curve through it: other factors show what the same method would do. Phi-3-128k's
    `short_factor`, used by transformers for texts within the window, is no point of this curve and is not represented.
    DeepSeek's `mscale` leaves A(t) at 1; its attention multiplies the softmax scale by (0.1·mscale·ln t + 1)² instead, on
    all dimensions of the head, which no rope setting carries. Raises ValueError for a rope type without a path here.
    """
    parameters = geometry.rope_parameters or {"rope_type": "default"}
    rope_type = parameters.get("rope_type")
    if rope_type not in _BUILDERS:
        raise ValueError(
            f"{geometry.name} has rope_type {rope_type!r}; paths are built from {', '.join(_BUILDERS)}; build another path directly"
        )
    declared = parameters.get("original_max_position_embeddings", geometry.window)
    if declared != geometry.window or parameters.get("rope_theta", geometry.base) != geometry.base:
        raise ValueError(
            f"{geometry.name}: rope_parameters say window {declared} and base {parameters.get('rope_theta')},"
            f" the geometry {geometry.window} and {geometry.base}; make them agree, the window is the trained length"
        )
    path = _BUILDERS[rope_type](geometry, parameters)
    stated = parameters.get("attention_factor")
    if stated is not None and not math.isclose(stated, path.attention_scale(published_factor(geometry)), rel_tol=1e-6):
        raise ValueError(
            f"{geometry.name}: rope_parameters say attention_factor {stated}, {path.title} has another;"
            " build the path directly (ByParts is YaRN without a temperature)"
        )
    return path


def _yarn(geometry: Geometry, parameters: dict[str, Any]) -> Path:
    ramp = IndexRamp if parameters.get("truncate", True) else UnroundedIndexRamp
    return YaRN(
        **_shape(geometry),
        ramp=ramp(slow=parameters.get("beta_slow", 1.0), fast=parameters.get("beta_fast", 32.0)),
        mscale=parameters.get("mscale", 1.0),
        mscale_all_dim=parameters.get("mscale_all_dim", 0.0),
    )


def _longrope(geometry: Geometry, parameters: dict[str, Any]) -> Path:
    factors = tuple(_setting(geometry, parameters, "long_factor"))
    return LongRoPE(**_shape(geometry), factors=factors, max_factor=published_factor(geometry))


def _llama3_path(geometry: Geometry, parameters: dict[str, Any]) -> Path:
    slow, fast = (_setting(geometry, parameters, f"{end}_freq_factor") for end in ("low", "high"))
    return Llama3(**_shape(geometry), ramp=TurnsRamp(slow=slow, fast=fast))


def _setting(geometry: Geometry, parameters: dict[str, Any], key: str) -> Any:
    if key not in parameters:
        raise ValueError(f"{geometry.name}: rope_parameters have no {key!r}, only {', '.join(parameters)}; add it")
    return parameters[key]


def _shape(geometry: Geometry) -> dict[str, Any]:
    return {"head_dim": geometry.head_dim, "base": geometry.base, "window": geometry.window}


_BUILDERS: dict[str, Callable[[Geometry, dict[str, Any]], Path]] = {
    "default": lambda geometry, parameters: Identity(**_shape(geometry)),
    "linear": lambda geometry, parameters: Linear(**_shape(geometry)),
    "llama3": _llama3_path,
    "yarn": _yarn,
    "longrope": _longrope,
}
