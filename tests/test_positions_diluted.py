"""Diluted draws: counts add up, the bias is what repeated keys do, and a model in training gets it; elsewhere nothing changes."""

import hf_models
import pytest
import torch
from hf_training import LENGTH, WINDOW, Stretched, batch, build, gradients, learner, lively, loss
from hypothesis import given
from hypothesis import strategies as st

import clexlab
from clexlab import hf, scaling
from clexlab.positions import (
    ChunkSegments,
    Diluted,
    Draw,
    FixedFactor,
    LogUniformFactors,
    PerRow,
    RandomPos,
    Scattered,
    SkipWise,
    WholeFactors,
)
from clexlab.positions.diluted import bias, counted, runs

SKIPPING = SkipWise(window=WINDOW, factors=FixedFactor(4.0))
ANY = dict(window=70, factors=LogUniformFactors(16))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Given:
    """A sampler of one draw."""

    def __init__(self, draw: Draw) -> None:
        self.drawn = draw

    def draw(self, length: int, generator: torch.Generator) -> Draw:
        return self.drawn


@given(
    length=st.integers(1, 17).map(lambda quarter: 4 * quarter),
    sampler=st.sampled_from((*(SkipWise(**ANY, chunks=chunks) for chunks in range(1, 6)), RandomPos(**ANY), ChunkSegments(**ANY))),
    seed=st.integers(0, 10_000),
)
def test_the_counts_of_a_draw_add_up_to_the_long_text_from_its_first_position_on(length, sampler, seed):
    plain, draw = sampler.draw(length, seeded(seed)), Diluted(sampler).draw(length, seeded(seed))
    assert torch.equal(draw.positions, plain.positions) and draw.factor == plain.factor
    assert bool((draw.counts >= 1).all())
    # Float32 quotients of up to 1120 tokens.
    assert float(draw.counts.sum()) == pytest.approx(float(draw.positions[-1] - draw.positions[0]) + 1, rel=1e-4)


def counted_one_by_one(positions: list[float]) -> list[float]:
    """Counts by walking over the positions: a run's tokens share the places up to the next run."""
    counts, run = [], [positions[0]]
    for place, following in zip(positions, [*positions[1:], None], strict=True):
        if following == place + 1:
            run.append(following)
            continue
        end = place + 1 if following is None else following
        counts += [(end - run[0]) / len(run)] * len(run)
        run = [following]
    return counts


@given(length=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_counts_are_those_of_a_walk_over_the_positions(length, seed):
    draw = Diluted(Scattered(window=40, factors=WholeFactors(8))).draw(length, seeded(seed))
    assert draw.counts.tolist() == pytest.approx(counted_one_by_one(draw.positions.tolist()), rel=1e-5)


def test_a_drawn_example_by_hand():
    draw = counted(Draw(torch.tensor([0.0, 1.0, 8.0, 9.0, 10.0]), 4.0))
    # Two tokens and the six places behind them: each of the two counts four times.
    assert draw.counts.tolist() == [4, 4, 1, 1, 1] and runs(draw.positions).tolist() == [0, 0, 1, 1, 1]
    lowest, four = torch.finfo(torch.float32).min, torch.tensor(4.0).log().item()
    assert bias(draw).tolist() == [
        [0, lowest, lowest, lowest, lowest],
        [0, 0, lowest, lowest, lowest],
        [four, four, 0, lowest, lowest],
        [four, four, 0, 0, lowest],
        [four, four, 0, 0, 0],
    ]


def test_a_far_key_weighs_as_many_as_it_stands_for():
    # One layer: keys and values are those of their token alone, so the long text is the same tokens said again at the same positions.
    positions, repeats = torch.tensor([0, 1, 2, 12, 13, 14, 15]), torch.tensor([4, 4, 4, 1, 1, 1, 1])
    tokens = torch.randint(2, hf_models.VOCABULARY, (1, 7), generator=seeded())
    model = clexlab.extend(build(1), lively(), positions=Given(counted(Draw(positions.float(), 1.0)))).train()
    found = model(input_ids=tokens, use_cache=False).logits[0, 3:]
    many = positions.repeat_interleave(repeats)
    later = torch.ones(1, 1, len(many), len(many)).triu(1)
    seen = later * torch.finfo(torch.float32).min
    plain = build(1).train()
    wanted = plain(
        input_ids=tokens.repeat_interleave(repeats, 1), position_ids=many[None], attention_mask=seen, use_cache=False
    ).logits[0, -4:]
    # The same sums over 12 keys and over 3 with weights, in float32; without the counts the logits are far off.
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5)
    alone = plain(input_ids=tokens, position_ids=positions[None], attention_mask=torch.ones(1, 7), use_cache=False).logits[0, 3:]
    assert bool((alone - wanted).abs().max() > 0.01)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_row_has_the_mask_of_its_own_draw(attention):
    tokens, sampler = batch(rows=3), PerRow(Diluted(SKIPPING))
    model = build()
    model.set_attn_implementation(attention)
    model = clexlab.extend(model, lively(), positions=sampler).train()
    torch.manual_seed(5)
    together = model(input_ids=tokens, use_cache=False).logits
    torch.manual_seed(5)
    drawn = sampler.draw_rows(3, LENGTH, torch.default_generator)
    for row, draw in enumerate(drawn):
        hf.rotary_of(model).positions = Given(draw)
        torch.testing.assert_close(model(input_ids=tokens[[row]], use_cache=False).logits[0], together[row], rtol=1e-4, atol=2e-5)
        # And it matters where there is a jump.
        hf.rotary_of(model).positions = Given(Draw(draw.positions, draw.factor))
        moved = (model(input_ids=tokens[[row]], use_cache=False).logits[0] - together[row]).abs().max()
        assert bool(moved > 1e-3) == bool((draw.counts > 1).any())


def test_either_wrapper_may_be_the_outer_one():
    inner, outer = PerRow(Diluted(SKIPPING)), Diluted(PerRow(SKIPPING))
    for one, other in zip(inner.draw_rows(3, 12, seeded()), outer.draw_rows(3, 12, seeded()), strict=True):
        assert torch.equal(one.positions, other.positions) and torch.equal(one.counts, other.counts)
    assert len(Diluted(SKIPPING).draw_rows(3, 12, seeded())) == 1
    assert (outer.window, outer.factors) == (WINDOW, SKIPPING.factors)


def test_without_jumps_nothing_changes():
    tokens, once = batch(), SkipWise(window=WINDOW, factors=FixedFactor(1.0))
    torch.testing.assert_close(loss(learner(Diluted(once)), tokens), loss(learner(once), tokens), rtol=1e-5, atol=1e-6)


def test_only_training_is_diluted():
    tokens = batch()
    diluted, plain = learner(Diluted(SKIPPING)).eval(), learner(SKIPPING).eval()
    assert torch.equal(diluted(input_ids=tokens).logits, plain(input_ids=tokens).logits)


def test_gradients_of_model_and_path_go_through_it():
    model = learner(Diluted(SKIPPING))
    loss(model, batch()).backward()
    found = gradients(model)
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())
    assert any(".scaling.field." in name and bool(gradient.any()) for name, gradient in found.items())


def test_a_model_in_bfloat16_gets_a_mask_in_bfloat16():
    tokens = batch()
    low = loss(learner(Diluted(SKIPPING)).to(torch.bfloat16), tokens)
    # bfloat16 keeps 8 bits.
    assert float(low) == pytest.approx(float(loss(learner(Diluted(SKIPPING)), tokens)), rel=0.02)


# ------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize("thing", [None, 3, Scattered], ids=["none", "number", "class"])
def test_what_draws_nothing_is_refused(thing, unchecked):
    with pytest.raises(ValueError, match="pass a sampler of clexlab.positions"):
        Diluted(thing)


def test_padding_is_refused():
    with pytest.raises(ValueError, match="make the attention mask themselves"):
        learner(Diluted(SKIPPING))(input_ids=batch(), attention_mask=torch.tensor([[0] + [1] * (LENGTH - 1)] * 2))
    assert learner(Diluted(SKIPPING))(input_ids=batch(), attention_mask=torch.ones(2, LENGTH)).logits.isfinite().all()


def test_a_mask_of_ones_own_and_packed_texts_are_refused():
    model = learner(Diluted(SKIPPING))
    with pytest.raises(ValueError, match="make the attention mask themselves"):
        model(input_ids=batch(), attention_mask=torch.zeros(2, 1, LENGTH, LENGTH))
    packed = torch.cat([torch.arange(5), torch.arange(LENGTH - 5)])[None].expand(2, -1)
    with pytest.raises(ValueError, match="position_ids restart"):
        model(input_ids=batch(), position_ids=packed)
    assert model(input_ids=batch(), position_ids=torch.arange(LENGTH)[None]).logits.isfinite().all()


def test_recomputed_layers_see_the_same_mask():
    tokens = batch()
    plain, saving = (learner(Diluted(SKIPPING)) for _ in range(2))
    saving.gradient_checkpointing_enable()
    for model in (plain, saving):
        loss(model, tokens).backward()
    wanted = gradients(plain)
    for name, gradient in gradients(saving).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-6)


def test_layers_that_see_a_part_of_the_text_are_refused():
    model = hf_models.by_name("mistral_sliding").build(2)
    sampler = Diluted(SkipWise(window=hf_models.WINDOW, factors=FixedFactor(2.0)))
    with pytest.raises(ValueError, match="full attention in every layer"):
        clexlab.extend(model, hf.scaling_for(model, scaling.YaRN), positions=sampler).train()(input_ids=batch())


def test_another_attention_is_refused():
    model = learner(Diluted(Stretched((3.0,))))
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="flex_attention attention; Diluted positions need"):
        model(input_ids=batch())
