"""Training positions and packed sequences: the trap transformers sets for positions with gaps, and our way past it.

A batch without a mask and without a cache, whose position ids do not rise by one, is taken for several packed texts: attention
is cut at every gap. That is Trainer's default (use_cache=False, no mask). A sampler inside the seam never shows the model a gap.
"""

from dataclasses import dataclass, field

import hf_models
import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

import clexlab
from clexlab import hf, positions, scaling
from clexlab.positions import Draw, FixedFactor, Scattered, WholeFactors

WINDOW = 16
# Float32 through two layers, against masks and angles made in another order; logits are of size 1.
SAME = dict(rtol=0, atol=2e-5)
# What a wrong attention moves the logits by, at least: four powers of ten above SAME.
BROKEN = 0.1
ATTENTION = ("eager", "sdpa")
LAYOUTS = ("llama", "gpt_neox", "glm", "gemma3")


@dataclass
class Noted:
    """A sampler that keeps what it drew."""

    sampler: positions.Sampler
    draws: list[Draw] = field(default_factory=list)

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        self.draws.append(self.sampler.draw(length, generator))
        return self.draws[-1]


def tiny(name: str = "llama", attention: str = "sdpa") -> nn.Module:
    model = hf_models.by_name(name).build(2, WINDOW)
    model.set_attn_implementation(attention)
    return model


def gapped(length: int, factor: int = 3) -> Tensor:
    """Scattered positions with a run of neighbours at both ends, as whole numbers."""
    middle = Scattered(window=length - 6, factors=FixedFactor(factor)).draw(length - 6, torch.Generator().manual_seed(1)).positions
    middle = 5 + middle
    return torch.cat((torch.arange(3.0), middle, middle[-1] + torch.tensor([4.0, 5.0, 6.0]))).long()[None]


def causal(length: int) -> Tensor:
    """The full causal mask, added to scores: (1, 1, length, length)."""
    return torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]


def true_logits(model: nn.Module, tokens: Tensor, position_ids: Tensor) -> Tensor:
    """The stock model with every earlier token in sight, at the given positions; the mask leaves nothing to guess."""
    return model(input_ids=tokens, position_ids=position_ids, attention_mask=causal(tokens.shape[1]), use_cache=False).logits


def reference(name: str, attention: str, path: scaling.Path, draw: Draw, tokens: Tensor) -> Tensor:
    """A stock model whose own rotary module is given θ(t) and A(t), at the drawn positions, under the full causal mask."""
    model = tiny(name, attention)
    rotary, prefix = model.get_decoder().rotary_emb, "full_attention_" if name == "gemma3" else ""
    setattr(rotary, f"{prefix}inv_freq", path.inv_freq(draw.factor).detach())
    setattr(rotary, f"{prefix}attention_scaling", path.attention_scale(draw.factor))
    if name != "gemma3":
        return true_logits(model, tokens, draw.positions[None])
    # Local layers keep their angles at ordinary positions: the drawn ones reach the full layers alone.
    stock = rotary.forward
    rotary.forward = lambda x, ids, kind: stock(x, draw.positions[None] if kind == "full_attention" else ids, kind)
    return model(input_ids=tokens, use_cache=False).logits


@pytest.mark.parametrize("attention", ATTENTION)
@torch.no_grad()
def test_the_trap_stock_models_cut_attention_at_every_gap(attention):
    model, (tokens,), ids = tiny(attention=attention), hf_models.tokens(14), gapped(14)
    trapped = model(input_ids=tokens, position_ids=ids, use_cache=False).logits
    truth = true_logits(model, tokens, ids)
    assert (trapped - truth).abs().max() > BROKEN
    # What it did: the last run of neighbours was read as a text of its own.
    alone = true_logits(model, tokens[:, -3:], ids[:, -3:])
    torch.testing.assert_close(trapped[:, -3:], alone, **SAME)
    # Before the first gap nothing is lost.
    torch.testing.assert_close(trapped[:, :3], truth[:, :3], **SAME)


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("escape", [{"attention_mask": "ones", "use_cache": False}, {"use_cache": True}], ids=["mask", "cache"])
@torch.no_grad()
def test_a_mask_of_ones_or_a_cache_switches_the_trap_off(attention, escape):
    model, (tokens,), ids = tiny(attention=attention), hf_models.tokens(14), gapped(14)
    options = {key: torch.ones_like(tokens) if value == "ones" else value for key, value in escape.items()}
    torch.testing.assert_close(
        model(input_ids=tokens, position_ids=ids, **options).logits, true_logits(model, tokens, ids), **SAME
    )


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("use_cache", [False, True])
@torch.no_grad()
def test_our_way_equals_the_drawn_positions_under_full_causal_attention(name, attention, use_cache):
    """Trainer's default, no mask and no cache, is the case that the trap would spoil."""
    (tokens,) = hf_models.tokens(WINDOW)
    noted = Noted(Scattered(window=WINDOW, factors=FixedFactor(3.0)))
    model = tiny(name, attention)
    path = hf.scaling_for(model, scaling.YaRN)
    clexlab.extend(model, path, positions=noted).train()
    ours = model(input_ids=tokens, attention_mask=None, use_cache=use_cache).logits
    (draw,) = noted.draws
    assert bool((draw.positions.diff() > 1).any())
    torch.testing.assert_close(ours, reference(name, attention, path, draw, tokens), **SAME)


@pytest.mark.parametrize("attention", ATTENTION)
def test_padded_rows_of_a_batch_train_as_they_would_alone(attention):
    """Right padding, as a collator makes it: the short row meets the drawn positions of its own tokens."""
    long, short = hf_models.tokens(WINDOW, WINDOW - 5)
    noted = Noted(Scattered(window=WINDOW, factors=FixedFactor(2.0)))
    model = tiny(attention=attention)
    path = hf.scaling_for(model, scaling.YaRN)
    clexlab.extend(model, path, positions=noted).train()
    batch = torch.cat((long, torch.nn.functional.pad(short, (0, 5))))
    mask = torch.ones_like(batch)
    mask[1, -5:] = 0
    ours = model(input_ids=batch, attention_mask=mask, use_cache=False).logits
    draw = noted.draws[0]
    cut = Draw(draw.positions[: WINDOW - 5], draw.factor)
    torch.testing.assert_close(ours[:1], reference("llama", attention, path, draw, long), **SAME)
    torch.testing.assert_close(ours[1:, : WINDOW - 5], reference("llama", attention, path, cut, short), **SAME)


@pytest.mark.parametrize("attention", ATTENTION)
@torch.no_grad()
def test_an_extended_model_escapes_the_trap_with_positions_of_the_callers_own(attention):
    """Rising ids with gaps, handed over by a collator: still one text. Ids that fall are packed texts and stay apart."""
    (tokens,), ids = hf_models.tokens(14), gapped(14)
    plain = tiny(attention=attention)
    model = clexlab.extend(tiny(attention=attention), hf.scaling_for(plain, scaling.Linear), factor=1.0)
    ours = model(input_ids=tokens, position_ids=ids, use_cache=False).logits
    torch.testing.assert_close(ours, true_logits(plain, tokens, ids), **SAME)
    packed = torch.cat((torch.arange(6), torch.arange(8)))[None]
    apart = torch.cat([plain(input_ids=part, use_cache=False).logits for part in tokens.split([6, 8], 1)], 1)
    torch.testing.assert_close(model(input_ids=tokens, position_ids=packed, use_cache=False).logits, apart, **SAME)


@torch.no_grad()
def test_evaluation_sees_ordinary_positions():
    (tokens,) = hf_models.tokens(WINDOW)
    noted = Noted(Scattered(window=WINDOW, factors=FixedFactor(3.0)))
    path = hf.scaling_for(tiny(), scaling.YaRN)
    model = clexlab.extend(tiny(), path, positions=noted).eval()
    without = clexlab.extend(tiny(), path)
    torch.testing.assert_close(model(input_ids=tokens).logits, without(input_ids=tokens).logits, rtol=0, atol=0)
    assert not noted.draws


def run(model: nn.Module, folder, steps: int, resume: str | None = None, **options: object) -> Trainer:
    """Trainer with its defaults, on batches of two whole rows; nothing but input_ids and labels reaches the model."""
    rows = torch.cat(hf_models.tokens(*[WINDOW] * 2 * 4))
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        lr_scheduler_type="constant",
        **options,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=[{"input_ids": row, "labels": row} for row in rows])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_trainers_loss_is_that_of_the_drawn_positions(tmp_path):
    """Learning rate 0, so that every step's loss can be computed again from what the sampler noted."""
    noted = Noted(Scattered(window=WINDOW, factors=WholeFactors(4)))
    model = tiny()
    path = hf.scaling_for(model, scaling.YaRN)
    clexlab.extend(model, path, positions=noted)
    seen = []
    model.get_decoder().register_forward_pre_hook(lambda _, args, given: seen.append(given), with_kwargs=True)
    trainer = run(model, tmp_path, 3, learning_rate=0.0, save_strategy="no")
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == len(noted.draws) == 3 and len({draw.positions[1:].sum().item() for draw in noted.draws}) == 3
    # The trap was armed: no mask, no cache.
    assert all(given.get("attention_mask") is None and not model.config.use_cache for given in seen)
    for loss, draw, given in zip(logged, noted.draws, seen, strict=True):
        tokens = given["input_ids"]
        with torch.no_grad():
            logits = reference("llama", "sdpa", path, draw, tokens)
        expected = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        # Trainer logs four digits.
        assert loss == pytest.approx(expected.item(), abs=1e-3)


def test_a_run_that_stops_and_resumes_draws_what_the_uninterrupted_one_drew(tmp_path):
    """The sampler uses torch's global generator, whose state Trainer saves: same draws, same weights, bit for bit."""

    def learner() -> tuple[nn.Module, Noted]:
        noted = Noted(Scattered(window=WINDOW, factors=WholeFactors(4)))
        torch.manual_seed(0)
        model = tiny()
        path = scaling.CLEX(head_dim=hf_models.HEAD_DIM, base=1e4, window=WINDOW, max_factor=4)
        return clexlab.extend(model, path, positions=noted), noted

    model, drawn = learner()
    run(model, tmp_path / "whole", 4, save_strategy="steps", save_steps=2, learning_rate=1e-2, report_to="none")
    again, drawn_again = learner()
    run(again, tmp_path / "again", 4, resume=str(tmp_path / "whole" / "checkpoint-2"), save_strategy="no", learning_rate=1e-2)
    assert [draw.factor for draw in drawn_again.draws] == [draw.factor for draw in drawn.draws[2:]]
    assert all(torch.equal(a.positions, b.positions) for a, b in zip(drawn_again.draws, drawn.draws[2:], strict=True))
    for (name, weight), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(weight, other), name
