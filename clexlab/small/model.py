"""The model: a Llama whose attention looks at a `Reading`."""

import json
import math
from pathlib import Path as File

import torch
from jaxtyping import Float, Int, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from clexlab.biases.base import Bias
from clexlab.positions.maps.base import Map
from clexlab.scaling.base import Path
from clexlab.small.places import Config, Places
from clexlab.small.reading import Reading, texts_of, turns, visible
from clexlab.sparse.base import Pattern

# Twice the usual spread of first weights, as for the base model: narrow models learn faster from there.
SPREAD = 0.04
EPSILON = 1e-6
# What transformers takes for no label.
NO_LABEL = -100


class Attention(nn.Module):
    """softmax(A² ⟨Rq, Rk⟩/√d + B, masked) v; a row that sees nothing gives zero."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.out = (nn.Linear(config.hidden, config.hidden, bias=False) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch length hidden"], reading: Reading, bias: Bias | None) -> Float[Tensor, "batch length hidden"]:
        query, key, value = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        turns = reading.turns
        mapped = turns is not None and turns.spans is not None
        # A map turns pairs of tokens, not tokens; and a bias gets what was never turned, so that it knows no more than its positions.
        placed = [part if turns is None or mapped else turns.turned(part) for part in (query, key)]
        if mapped or bias is not None or reading.added is not None or reading.visible is not None:
            scores = turns.scores(query, key) if mapped else placed[0] @ placed[1].mT
            mixed = _weights(scores, query, key, reading, bias).to(value.dtype) @ value
        else:
            mixed = functional.scaled_dot_product_attention(*placed, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def _weights(
    scores: Float[Tensor, "batch heads length length"],
    query: Float[Tensor, "batch heads length head_dim"],
    key: Float[Tensor, "batch heads length head_dim"],
    reading: Reading,
    bias: Bias | None,
) -> Float[Tensor, "batch heads length length"]:
    """The softmax, in float32 or better: half precision has no room for biases of far tokens. Queries and keys unturned."""
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32)) / math.sqrt(query.shape[-1])
    places, seen = reading.texts.positions, reading.visible
    if seen is None:
        seen = torch.ones(1, 1, *scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if reading.added is not None:
        wide = wide + reading.added
    if bias is not None:
        wide = wide + bias.added(query, key, places, places, seen)
    # A row that sees nothing is even after the softmax, and zero after the second mask.
    return wide.masked_fill(~seen, torch.finfo(wide.dtype).min).softmax(-1).masked_fill(~seen, 0.0)


class FeedForward(nn.Module):
    """Llama's gated layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(config.hidden, config.inner, bias=False) for _ in range(2))
        self.down = nn.Linear(config.inner, config.hidden, bias=False)

    def forward(self, x: Float[Tensor, "batch length hidden"]) -> Float[Tensor, "batch length hidden"]:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and beside what it is added to."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.RMSNorm(config.hidden, eps=EPSILON), Attention(config)
        self.forward_norm, self.feed_forward = nn.RMSNorm(config.hidden, eps=EPSILON), FeedForward(config)

    def forward(self, x: Float[Tensor, "batch length hidden"], reading: Reading, bias: Bias | None) -> Float[Tensor, "batch length hidden"]:
        x = x + self.attention(self.attention_norm(x), reading, bias)
        return x + self.feed_forward(self.forward_norm(x))


class Decoder(nn.Module):
    """Tokens to their last hidden states. Biases come last, so that a seed gives every model the same other weights."""

    def __init__(self, config: Config, places: Places) -> None:
        super().__init__()
        self.places, self.heads = places, config.heads
        self.embedding = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden, eps=EPSILON)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=SPREAD)
        if isinstance(places.scaling, nn.Module):
            # Registered, so that what a path has to learn is trained and saved.
            self.scaling = places.scaling
        kind, options = places.bias, dict(heads=config.heads, head_dim=config.head_dim, window=config.window)
        count = 0 if kind is None else 1 if kind.shared else config.layers
        self.biases = nn.ModuleList(kind.default(**options) for _ in range(count))

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Shaped[Tensor, "batch length"] | None = None,
        position_ids: Int[Tensor, "ids length"] | None = None,
    ) -> Float[Tensor, "batch length hidden"]:
        x, reading = self.embedding(input_ids), self.reading(input_ids, attention_mask, position_ids)
        own = [None] * len(self.layers) if reading.added is not None or not self.biases else self.biases
        for layer, bias in zip(self.layers, own, strict=True):
            x = layer(x, reading, bias)
        return self.norm(x)

    def reading(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Shaped[Tensor, "batch length"] | None,
        position_ids: Int[Tensor, "ids length"] | None,
    ) -> Reading:
        """What all layers share of this batch. ValueError for positions given to a model whose map says them."""
        if position_ids is not None and self.places.positions is not None:
            raise ValueError(f"position_ids are given and {self.places.positions.title} says where tokens stand; give one of the two")
        texts = texts_of(input_ids, attention_mask, position_ids)
        return Reading(
            texts=texts,
            visible=visible(texts, self.places, self.heads),
            turns=turns(texts, self.places),
            added=self.biases[0](texts.positions, texts.positions) if self.places.bias is not None and self.places.bias.shared else None,
        )


class Small(nn.Module):
    """A causal language model with position in the given places; see `Places`. The head is the embedding.

    `shape` is its `Config`, `config` what transformers' Trainer wants to find on a model. Weights are drawn from torch's global
    generator, `fresh` takes a seed. The factor is t = n/L with n each text's own length, its highest position + 1, in one reading of
    the whole text (`clexlab.extend` rounds t up unless told `hf.Exact()`); there is no key cache. Under a map queries and keys turn by
    the map's positions; a bias has the tokens' own, whatever the map, and queries and keys that are not turned.
    """

    def __init__(
        self,
        config: Config,
        *,
        scaling: Path | None = None,
        bias: type[Bias] | None = None,
        positions: Map | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        super().__init__()
        places = Places(scaling=scaling, bias=bias, positions=positions, pattern=pattern)
        places.check(config)
        self.shape, self.decoder = config, Decoder(config, places)
        self.config = PretrainedConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.window,
            use_cache=False,
        )

    @property
    def places(self) -> Places:
        return self.decoder.places

    def get_input_embeddings(self) -> nn.Embedding:
        return self.decoder.embedding

    def get_decoder(self) -> Decoder:
        return self.decoder

    def factor_for(self, length: int) -> float:
        """The factor t at which a text of `length` tokens is read; 1 without a scaling. ValueError beyond the scaling's limit."""
        return 1.0 if self.places.scaling is None else float(self.places.scaling.factor_for(length))

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Shaped[Tensor, "batch length"] | None = None,
        position_ids: Int[Tensor, "ids length"] | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        use_cache: bool = False,
        logits_to_keep: int | Int[Tensor, "kept"] = 0,
    ) -> CausalLMOutput:
        """Logits after every token, or after the last few or the given ones; with `labels` the mean loss of every next one, in float32.

        `attention_mask` has ones for text, zeros for padding before or after it; `position_ids` rise along every text, as those of texts
        packed into one row do not. ValueError for others, for `position_ids` under a map, for `use_cache`, for tokens outside the
        vocabulary, for fewer than no logits.
        """
        if use_cache:
            raise ValueError("a small model keeps no keys; read the whole text with use_cache=False")
        if input_ids.numel() == 0 or not 0 <= int(input_ids.min()) <= int(input_ids.max()) < self.shape.vocabulary:
            raise ValueError(f"input_ids must be tokens of the vocabulary, 0 … {self.shape.vocabulary - 1}, at least one")
        if labels is not None and not (isinstance(logits_to_keep, int) and logits_to_keep == 0):
            raise ValueError("labels need the logits of every token; leave logits_to_keep out")
        if isinstance(logits_to_keep, int) and logits_to_keep < 0:
            raise ValueError(f"logits_to_keep is {logits_to_keep}; give how many of the last, 0 for all, or a tensor of places")
        hidden = self.decoder(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = functional.linear(hidden[:, kept], self.decoder.embedding.weight)
        return CausalLMOutput(loss=None if labels is None else _loss(logits, labels), logits=logits)

    def read_with(self, places: Places) -> "Small":
        """A model with these weights, shared, and other places: `dataclasses.replace(model.places, scaling=yarn)`.

        How a trained model is read with a map, a pattern or another scaling. ValueError for a bias that would have to be learned anew.
        """
        with torch.random.fork_rng():
            other = Small(self.shape, scaling=places.scaling, bias=places.bias, positions=places.positions, pattern=places.pattern).to(
                self.decoder.embedding.weight.device
            )
        if places.bias is self.places.bias:
            other.decoder.biases = self.decoder.biases
        elif places.bias is not None and places.bias.learned:
            raise ValueError(f"{places.bias.__name__} has to be learned; a model trained without it has nothing to read it with")
        for name in ("embedding", "layers", "norm"):
            setattr(other.decoder, name, getattr(self.decoder, name))
        return other.train(self.training)

    def save(self, file: File) -> None:
        """All weights as safetensors, with the size and the bias they belong to. Other places have no weights, but a path that learns."""
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, file, metadata={"about": self._about()})

    def load(self, file: File) -> "Small":
        """Take the weights of a file that `save` wrote; returns the model. ValueError for those of another size, bias or learned path."""
        try:
            with safe_open(file, framework="pt") as content:
                about = (content.metadata() or {}).get("about")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file} is no file of weights: {error}") from error
        if about != self._about():
            raise ValueError(f"{file} holds {about}, the model is {self._about()}; build the model the weights were saved from")
        weights = load_file(file)
        theirs, ours = ({name: weight.shape for name, weight in every.items()} for every in (weights, self.state_dict()))
        differ = sorted({name for name, _ in theirs.items() ^ ours.items()})
        if differ:
            raise ValueError(f"{file} and the model differ in {', '.join(differ)}; build the scaling and the bias it was trained with")
        self.load_state_dict(weights)
        return self

    def _about(self) -> str:
        return json.dumps({**vars(self.shape), "bias": None if self.places.bias is None else self.places.bias.name})


def fresh(
    config: Config,
    seed: int,
    *,
    scaling: Path | None = None,
    bias: type[Bias] | None = None,
    positions: Map | None = None,
    pattern: Pattern | None = None,
) -> Small:
    """An untrained model, its weights drawn with `seed`: the same ones whatever its places, but for those of a learned bias."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small(config, scaling=scaling, bias=bias, positions=positions, pattern=pattern)


def _loss(logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"]) -> Float[Tensor, ""]:
    return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=NO_LABEL)
