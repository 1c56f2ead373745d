"""Learned positions: the table stretched, a GPT-2 that cannot read beyond its own and then can, trained on segments."""

import copy
import math

import hf_models
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clexlab import absolute, evaluation, positions
from clexlab.taken import TakenAt

ROWS, FACTOR, VOCABULARY = 16, 4, 50


def build(kind: type = transformers.GPT2Config, **changes) -> nn.Module:
    """A tiny model with `ROWS` learned positions; equal arguments give equal weights."""
    sizes = dict(vocab_size=VOCABULARY, max_position_embeddings=ROWS, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    config = kind(**sizes | dict(bos_token_id=0, eos_token_id=0) | changes)
    return hf_models.sharpen(transformers.AutoModelForCausalLM.from_config(config)).eval()


def texts(length: int, count: int = 2) -> torch.Tensor:
    return torch.randint(VOCABULARY, (count, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return model(input_ids=tokens).logits


# ------------------------------------------------------------------------------------------------ the table


@settings(max_examples=30)
@given(rows=st.integers(1, 9), width=st.integers(1, 4), factor=st.integers(1, 7), seed=st.integers(0, 1000))
def test_every_row_is_the_mean_written_out(rows, width, factor, seed):
    table = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    longer = absolute.interpolated_table(table, factor)
    assert longer.shape == (factor * rows, width)
    for place in range(factor * rows):
        low, share = math.floor(place / factor), (place % factor) / factor
        wanted = [(1 - share) * a + share * b for a, b in zip(table[low].tolist(), table[min(low + 1, rows - 1)].tolist(), strict=True)]
        assert longer[place].tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@settings(max_examples=30)
@given(rows=st.integers(1, 9), factor=st.integers(1, 7), seed=st.integers(0, 1000))
def test_multiples_of_the_factor_are_the_old_rows_and_factor_one_is_the_table(dtype, rows, factor, seed):
    table = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    longer = absolute.interpolated_table(table, factor)
    assert longer.dtype == dtype and torch.equal(longer[::factor], table)
    assert torch.equal(absolute.interpolated_table(table, 1), table)
    # Behind the last old row there is nothing to go towards.
    assert torch.equal(longer[-factor:], table[-1:].expand(factor, -1))


# ------------------------------------------------------------------------------------------------ the model


def test_an_untouched_model_cannot_read_beyond_its_table_and_the_stretched_one_reads_k_times_as_much():
    model = build()
    assert logits(model, texts(ROWS)).shape[1] == ROWS
    with pytest.raises(IndexError):
        logits(model, texts(ROWS + 1))
    absolute.stretch(model, FACTOR)
    read = logits(model, texts(FACTOR * ROWS))
    assert read.shape[1] == FACTOR * ROWS and bool(torch.isfinite(read).all())
    with pytest.raises(IndexError):
        logits(model, texts(FACTOR * ROWS + 1))


def test_old_places_now_lie_apart_and_give_the_logits_they_gave():
    model, tokens = build(), texts(ROWS)
    wanted = logits(model, tokens)
    absolute.stretch(model, FACTOR)
    places = FACTOR * torch.arange(ROWS)[None]
    with torch.no_grad():
        found = model(input_ids=tokens, position_ids=places, attention_mask=torch.ones_like(tokens)).logits
    assert torch.equal(found, wanted)
    # Read as ordinary text its neighbours stand closer than it knows: other logits, that is what it has to be tuned for.
    assert (logits(model, tokens) - wanted).abs().max() > 0.1


def test_restored_it_is_the_model_of_before():
    model, tokens = build(), texts(ROWS)
    wanted, table = logits(model, tokens), model.transformer.wpe
    handle = absolute.stretch(model, FACTOR)
    assert model.config.max_position_embeddings == model.config.n_positions == FACTOR * ROWS and model.transformer.wpe is not table
    assert handle.restore() is model
    assert model.transformer.wpe is table and model.config.n_positions == ROWS and torch.equal(logits(model, tokens), wanted)
    with pytest.raises(ValueError, match="restored|each once"):
        handle.restore()


def test_a_stretched_model_can_be_stretched_again_and_is_restored_in_turn():
    model = build()
    first, second = absolute.stretch(model, 2), absolute.stretch(model, 2)
    assert logits(model, texts(4 * ROWS)).shape[1] == 4 * ROWS
    with pytest.raises(ValueError, match="restore the last stretch first"):
        first.restore()
    second.restore()
    first.restore()
    assert model.config.n_positions == ROWS


def test_a_stretched_model_is_saved_and_loaded_as_any_other(tmp_path):
    model = build()
    absolute.stretch(model, FACTOR)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again, texts(FACTOR * ROWS)), logits(model, texts(FACTOR * ROWS)))


def test_its_loss_is_measured_at_lengths_that_the_untouched_one_has_not():
    model, tokens = build(), list(texts(FACTOR * ROWS + 1))
    with pytest.raises(IndexError):
        evaluation.loss_by_length(model, tokens, ROWS, (1, 2))
    absolute.stretch(model, FACTOR)
    found = evaluation.loss_by_length(model, tokens, ROWS, (1, 2, FACTOR))
    assert [row.length for row in found.rows] == [ROWS, 2 * ROWS, FACTOR * ROWS] and all(math.isfinite(row.whole) for row in found.rows)


# ------------------------------------------------------------------------------------------------ segments


def segments(kind: type, **options) -> TakenAt:
    return TakenAt(positions.PerRow(kind(window=ROWS, factors=positions.FixedFactor(FACTOR), **options)), ROWS)


@pytest.mark.parametrize("kind", positions.SEGMENTS)
def test_segments_train_places_all_over_the_longer_table_with_short_rows(kind):
    model, tokens = build(), texts(FACTOR * ROWS, 8)
    absolute.stretch(model, FACTOR)
    before = copy.deepcopy(model.transformer.wpe.weight.detach())
    optimizer, losses, objective = torch.optim.SGD(model.parameters(), lr=0.02), [], segments(kind)
    for step in range(12):
        # The same places in every step, so that the loss is of the same texts.
        torch.manual_seed(step % 2)
        loss = objective(model, tokens)["next"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    moved = (model.transformer.wpe.weight.detach() - before).abs().amax(1) > 0
    assert losses[-1] < losses[1] and losses[-2] < losses[0]
    # New places between old ones, and behind where the old table ended; what was in no draw stays.
    assert moved[torch.arange(FACTOR * ROWS) % FACTOR > 0].any() and moved[ROWS:].any() and moved[-ROWS:].any()
    drawn = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        drawn |= {int(place) for draw in objective.sampler.draw_rows(8, ROWS, torch.default_generator) for place in draw.positions}
    assert set(moved.nonzero()[:, 0].tolist()) <= drawn


def test_segments_for_the_longer_table_do_not_fit_the_untouched_model():
    with pytest.raises(IndexError):
        segments(positions.ChunkSegments)(build(), texts(FACTOR * ROWS))


# ------------------------------------------------------------------------------------------------ refused


class TwoTables(transformers.GPT2LMHeadModel):
    """A second list of positions that nothing reads."""

    def __init__(self, config):
        super().__init__(config)
        self.other = nn.Embedding(config.n_positions, 3)


class Fixed(transformers.GPT2LMHeadModel):
    """A buffer as older models have it: a mask of all positions."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("mask", torch.ones(config.n_positions, config.n_positions))


class Twice(transformers.GPT2LMHeadModel):
    """A model in which a position is more than its row of the table."""

    def forward(self, input_ids, position_ids, **given):
        found = super().forward(input_ids=input_ids, position_ids=position_ids, **given)
        found.logits = found.logits + position_ids[..., None]
        return found


def test_models_that_cannot_be_stretched_are_refused_and_left_as_they_were(unchecked):
    config = build().config
    for model, words in [
        (hf_models.by_name("llama").build(1, ROWS), "no table of 16 positions"),
        (build(transformers.OPTConfig, ffn_dim=32, word_embed_proj_dim=32), "no table of 16 positions"),
        (build(transformers.GPTNeoConfig, num_layers=2, num_heads=2, attention_types=[[["global"], 2]]), "beside its table"),
        (TwoTables(config), "2 tables of 16 positions"),
        (Fixed(config), "mask of 16 positions"),
        (Twice(config), "from transformer.wpe alone"),
        (nn.Linear(2, 2), "no config.max_position_embeddings"),
    ]:
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        with pytest.raises(ValueError, match=words):
            absolute.stretch(model, FACTOR)
        after = model.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert getattr(getattr(model, "config", None), "max_position_embeddings", ROWS) == ROWS


@pytest.mark.parametrize("factor", [0, -2, 1.5, True, "2", math.nan])
def test_a_factor_that_is_no_whole_number_of_tables_is_refused(factor, unchecked):
    with pytest.raises(ValueError, match="factor is"):
        absolute.interpolated_table(torch.zeros(3, 2), factor)
    with pytest.raises(ValueError, match="factor is"):
        absolute.stretch(build(), factor)
