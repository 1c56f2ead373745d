"""What tests of the small model share: a tiny one for every scaling, bias, map and pattern there is."""

import dataclasses

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from clexlab import biases, scaling, small, sparse
from clexlab.biases import BIASES
from clexlab.positions import maps
from clexlab.positions.maps import MAPS
from clexlab.scaling import SCALINGS
from clexlab.sparse import PATTERNS

WINDOW, LENGTH = 16, 40
CONFIG = small.Config(vocabulary=50, hidden=32, layers=2, heads=4, window=WINDOW)
GEOMETRY = dict(head_dim=CONFIG.head_dim, base=1e4, window=WINDOW)
ROPE = scaling.Identity(**GEOMETRY)
# Two layers of float32 that differ in the order of their sums.
FLOAT32 = dict(rtol=1e-4, atol=1e-5)


def quiet(kind):
    """A map with its published options, without the noise that this model does not draw."""
    found = kind.default(WINDOW)
    return dataclasses.replace(found, noise=None) if getattr(found, "noise", None) is not None else found


PLACES = {
    "none": small.Places(),
    **{kind.name: small.Places(scaling=kind.default(**GEOMETRY)) for kind in SCALINGS},
    **{kind.name: small.Places(bias=kind) for kind in BIASES},
    **{f"{kind.name} and rope": small.Places(scaling=ROPE, bias=kind) for kind in BIASES},
    **{kind.name: small.Places(scaling=ROPE, positions=quiet(kind)) for kind in MAPS},
    **{kind.name: small.Places(scaling=ROPE, pattern=kind.default(LENGTH)) for kind in PATTERNS},
    "all four": small.Places(
        scaling=scaling.YaRN(**GEOMETRY), bias=biases.ALiBi, positions=quiet(maps.ReRoPE), pattern=sparse.Local.default(LENGTH)
    ),
}
# Those with weights of their own; maps and patterns have none.
WEIGHTED = [name for name, places in PLACES.items() if places.positions is None and places.pattern is None and " " not in name]
CAUSAL = [name for name, places in PLACES.items() if places.pattern is None or places.pattern.causal]


def options(places):
    return {field.name: getattr(places, field.name) for field in dataclasses.fields(places)}


def model(name="none", seed=0):
    """Weights ten times the usual, so that attention is far from even, and learned biases that are not zero."""
    places = PLACES[name] if isinstance(name, str) else name
    made = small.fresh(CONFIG, seed, **options(places)).eval()
    with torch.no_grad():
        for layer in made.decoder.layers:
            for part in (layer.attention.query, layer.attention.key):
                part.weight *= 10
        torch.manual_seed(seed)
        for weight_name, weight in made.decoder.biases.named_parameters():
            if weight_name.endswith("table"):
                torch.nn.init.normal_(weight)
    return made


def tokens(count=2, length=LENGTH, seed=0):
    return torch.randint(CONFIG.vocabulary, (count, length), generator=torch.Generator().manual_seed(seed))


def llama(made, rope_parameters):
    """transformers' Llama with the weights of `made`."""
    config = LlamaConfig(
        vocab_size=CONFIG.vocabulary,
        hidden_size=CONFIG.hidden,
        intermediate_size=CONFIG.inner,
        num_hidden_layers=CONFIG.layers,
        num_attention_heads=CONFIG.heads,
        num_key_value_heads=CONFIG.heads,
        tie_word_embeddings=True,
        rms_norm_eps=1e-6,
        max_position_embeddings=LENGTH,
        rope_parameters=rope_parameters,
    )
    twin = LlamaForCausalLM(config).eval()
    names = {
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.out": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "forward_norm": "post_attention_layernorm",
        "feed_forward": "mlp",
        "gate.": "gate_proj.",
        "up.": "up_proj.",
        "down.": "down_proj.",
        "decoder.embedding": "model.embed_tokens",
        "decoder": "model",
    }
    weights = {}
    for name, weight in made.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        weights[name] = weight
    missing = twin.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys
    return twin
