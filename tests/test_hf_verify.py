"""Nothing is believed: a model whose rotary module does not turn by the path's angles, or is never asked for them, is refused."""

import hf_models
import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from clexlab import hf, scaling

LLAMA = hf_models.by_name("llama")
TEXT = hf_models.tokens(40)[0]


class Flipped(LlamaRotaryEmbedding):
    """Reads the frequencies it is given from the last to the first."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = position_ids[..., None].float() * self.inv_freq.flip(0)
        angles = torch.cat((half, half), dim=-1)
        return self.attention_scaling * angles.cos(), self.attention_scaling * angles.sin()


class Stubborn(LlamaRotaryEmbedding):
    """Makes its frequencies itself, whatever stands in `inv_freq`: right at factor 1 and there alone."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = position_ids[..., None].float() * 1e4 ** -(torch.arange(0, hf_models.HEAD_DIM, 2) / hf_models.HEAD_DIM)
        angles = torch.cat((half, half), dim=-1)
        return self.attention_scaling * angles.cos(), self.attention_scaling * angles.sin()


class Lukewarm(LlamaRotaryEmbedding):
    """Leaves the temperature out."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = position_ids[..., None].float() * self.inv_freq
        angles = torch.cat((half, half), dim=-1)
        return angles.cos(), angles.sin()


class OfAnotherShape(LlamaRotaryEmbedding):
    """Gives one number a pair, where layers need a number a dimension."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = position_ids[..., None].float() * self.inv_freq
        return self.attention_scaling * angles.cos(), self.attention_scaling * angles.sin()


class OfAnotherCall(LlamaRotaryEmbedding):
    """Wants to know more than the positions."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor, seconds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(x, position_ids * seconds)


def with_rotary(kind: type[LlamaRotaryEmbedding]) -> nn.Module:
    model = LLAMA.build(layers=1)
    model.model.rotary_emb.__class__ = kind
    return model


def refused(model: nn.Module, path: scaling.Path, message: str, **options: object) -> None:
    """Refused, and left as it was."""
    rotary, config = model.model.rotary_emb, model.config.to_dict()
    with pytest.raises(ValueError, match=message):
        hf.extend(model, path, **options)
    assert model.model.rotary_emb is rotary and model.config.to_dict() == config
    with pytest.raises(ValueError, match="not extended"):
        hf.restore(model)


@pytest.mark.parametrize("factor", [None, 2.5])
@pytest.mark.parametrize("kind", [Flipped, Stubborn, Lukewarm, OfAnotherShape])
def test_a_rotary_module_that_turns_by_other_angles_is_refused(kind, factor):
    model = with_rotary(kind)
    refused(model, hf.scaling_for(model, scaling.YaRN), f"{kind.__name__} does not turn by the frequencies it is given", factor=factor)


def test_a_rotary_module_that_cannot_be_asked_is_refused():
    model = with_rotary(OfAnotherCall)
    refused(model, hf.scaling_for(model, scaling.YaRN), "OfAnotherCall cannot be asked for the angles of given positions.*seconds")


def test_a_path_that_changes_its_answer_is_refused():
    """The module is right here; what it was given is not what the path says when asked again."""

    class Restless(scaling.CLEX):
        def inv_freq(self, factor, dtype=torch.float32):
            return super().inv_freq(factor, dtype) * (1 + 1e-3 * torch.rand(()))

    model = LLAMA.build(layers=1)
    refused(model, Restless(head_dim=16, base=1e4, window=hf_models.WINDOW), "does not turn by the frequencies")


@pytest.mark.parametrize("factor", [None, 2.5])
def test_a_decoder_that_ignores_its_rotary_module_fails_at_its_first_forward(factor):
    model = LLAMA.build(layers=1)
    own = LlamaRotaryEmbedding(model.config)
    decoder = type(model.model)

    class Deaf(decoder):
        def forward(self, *args, **kwargs):
            ours, self.rotary_emb = self.rotary_emb, own
            try:
                return super().forward(*args, **kwargs)
            finally:
                self.rotary_emb = ours

    model.model.__class__ = Deaf
    hf.extend(model, hf.scaling_for(model, scaling.YaRN), factor=factor)
    for _ in range(2):
        with torch.no_grad(), pytest.raises(ValueError, match="Deaf ran without asking its rotary_emb for angles"):
            model(TEXT)
    hf.restore(model)
    with torch.no_grad():
        assert torch.equal(model(TEXT).logits, LLAMA.build(layers=1)(TEXT).logits)
