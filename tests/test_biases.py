"""One matrix over BIASES for what every bias promises, then each against its definition, transformers' own models and known values."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from clexlab import biases
from clexlab.biases import BIASES

HEADS, HEAD_DIM, WINDOW = 4, 8, 16
POSITIONAL = tuple(kind for kind in BIASES if not kind.contextual)
RELATIVE = tuple(kind for kind in POSITIONAL if kind is not biases.FIRE)
# Sums of up to 64 cosines and a dozen operations in float32.
FLOAT32 = dict(rtol=1e-5, atol=2e-5)


def made(kind, seed=0):
    """A bias whose parameters are all drawn, also those that start at zero."""
    torch.manual_seed(seed)
    bias = kind.default(heads=HEADS, head_dim=HEAD_DIM, window=WINDOW)
    for name, weight in bias.named_parameters():
        if name == "table":
            torch.nn.init.normal_(weight)
    return bias


def vectors(length, rows=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, HEADS, length, HEAD_DIM, generator=generator) for _ in range(2))


def attention(bias, query, key, positions, visible):
    scores = query @ key.mT / math.sqrt(HEAD_DIM) + bias.added(query, key, positions, positions, visible)
    return scores.masked_fill(~visible, -math.inf).softmax(-1)


def causal(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


# --- every bias ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", BIASES)
def test_every_bias_says_what_it_is(kind):
    bias = made(kind)
    assert biases.by_name(kind.name) is kind and kind.title and kind.paper.startswith("https://arxiv.org/abs/")
    assert kind.learned == any(True for _ in bias.parameters())
    assert repr(bias).replace("\n  ", "").startswith(f"{kind.__name__}(heads=4")


def test_names_are_unique_and_an_unknown_one_is_refused():
    assert len({kind.name for kind in BIASES}) == len({kind.title for kind in BIASES}) == len(BIASES) == 9
    with pytest.raises(ValueError, match="no bias is named 'rope'; there are nope, alibi"):
        biases.by_name("rope")


@pytest.mark.parametrize("kind", POSITIONAL)
def test_a_rectangle_is_the_rows_and_columns_of_the_square(kind):
    # Decoding with a cache asks for one row; its query stands at past + row.
    bias, places = made(kind), torch.arange(40)
    square = bias(places, places)
    assert square.shape == (HEADS, 40, 40) and square.dtype == torch.float32
    torch.testing.assert_close(bias(places[30:], places), square[:, 30:], **FLOAT32)


@pytest.mark.parametrize("kind", POSITIONAL)
def test_rows_may_stand_elsewhere_each(kind):
    bias, places = made(kind), torch.stack([torch.arange(20), torch.arange(20) * 2])
    both = bias(places, places)
    assert both.shape == (2, HEADS, 20, 20)
    torch.testing.assert_close(both, torch.stack([bias(row, row) for row in places]), **FLOAT32)


@pytest.mark.parametrize("kind", RELATIVE)
def test_only_the_distance_counts(kind):
    # ALiBi's interpolation looks at the length too: within the window it is 1.
    bias = made(kind)
    near, far = (bias(torch.arange(s, s + 8), torch.arange(s, s + 8)) for s in (0, 8))
    torch.testing.assert_close(near, far, **FLOAT32)


@pytest.mark.parametrize("kind", POSITIONAL)
def test_keys_after_their_query_have_the_value_of_distance_zero_and_a_finite_gradient(kind):
    bias, places = made(kind), torch.arange(12)
    value = bias(places, places)
    for i in range(12):
        torch.testing.assert_close(value[:, i, i:], value[:, i, i, None].expand(HEADS, 12 - i), **FLOAT32)
    assert bool(value.isfinite().all())
    if kind.learned:
        value.sum().backward()
        assert all(bool(weight.grad.isfinite().all()) for weight in bias.parameters())


@pytest.mark.parametrize("kind", BIASES)
def test_what_is_added_is_the_call_unless_it_needs_content(kind):
    bias, places = made(kind), torch.arange(10)
    query, key = vectors(10)
    added = bias.added(query, key, places, places, causal(10))
    if kind.contextual:
        assert added.shape == (1, HEADS, 10, 10)
        with pytest.raises(ValueError, match="counted from queries and keys"):
            bias(places, places)
        with pytest.raises(ValueError, match="counted from queries and keys"):
            bias.curve(10)
    else:
        assert torch.equal(added, bias(places, places))


@pytest.mark.parametrize("kind", BIASES)
def test_a_later_key_changes_nothing_for_earlier_queries(kind):
    bias, places, visible = made(kind), torch.arange(12), causal(12)
    query, key = vectors(12)
    before = attention(bias, query, key, places, visible)
    changed = key.clone()
    changed[:, :, -1] += 5
    after = attention(bias, query, changed, places, visible)
    torch.testing.assert_close(before[:, :, :-1], after[:, :, :-1], rtol=0, atol=0)
    assert not torch.allclose(before[:, :, -1], after[:, :, -1])


@pytest.mark.parametrize("kind", [kind for kind in BIASES if kind.learned])
def test_with_parameters_at_zero_a_learned_bias_is_nope(kind):
    bias = made(kind) if kind not in (biases.KERPLELog, biases.KERPLEPower) else kind(heads=HEADS, floor=0)
    with torch.no_grad():
        for weight in bias.parameters():
            weight.zero_()
    query, key = vectors(20)
    places = torch.arange(20)
    assert bool((bias.added(query, key, places, places) == 0).all())


@pytest.mark.parametrize("kind", [kind for kind in BIASES if kind.learned])
def test_every_parameter_gets_a_gradient(kind):
    bias, places, visible = made(kind), torch.arange(40), causal(40)
    query, key = vectors(40)
    (attention(bias, query, key, places, visible) * torch.randn(40, 40)).sum().backward()
    assert all(weight.grad is not None and bool((weight.grad != 0).any()) for weight in bias.parameters())


@pytest.mark.parametrize("kind", POSITIONAL)
def test_a_curve_is_the_last_row_by_distance(kind):
    bias = made(kind)
    places = torch.arange(30)
    torch.testing.assert_close(bias.curve(30).float(), bias(places, places)[:, -1].flip(-1).detach(), **FLOAT32)
    assert bias.curve(30).dtype == torch.float64


# FIRE and ALiBi's interpolation look at where the text ends too.
@pytest.mark.parametrize("kind", [kind for kind in RELATIVE if kind is not biases.InterpolatedALiBi])
def test_far_out_whole_positions_lose_nothing(kind):
    # 2^26 + 1 is no float32; the difference of two such positions is.
    far = torch.arange(8) + 2**26
    # Sandwich's angles there are 6e7 radians in float64: nine digits are left.
    torch.testing.assert_close(made(kind)(far, far), made(kind)(torch.arange(8), torch.arange(8)), **FLOAT32)


@pytest.mark.parametrize("kind", POSITIONAL)
def test_half_precision_positions_are_refused_and_a_model_in_half_precision_is_not(kind):
    places = torch.arange(12)
    with pytest.raises(ValueError, match="give whole numbers or float32"):
        made(kind)(places.bfloat16(), places.bfloat16())
    half = made(kind).bfloat16()(places, places)
    # Only the parameters are rounded, to three digits; MLP weights add up.
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, made(kind)(places, places), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", BIASES)
def test_autocast_changes_nothing(kind):
    bias, places = made(kind), torch.arange(40)
    query, key = vectors(40)
    alone = bias.added(query, key, places, places)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bias.added(query, key, places, places), alone)


@pytest.mark.parametrize("kind", [kind for kind in BIASES if kind.learned])
def test_a_bias_read_twice_before_one_backward_pass_gets_both_gradients(kind):
    bias, places, visible = made(kind), torch.arange(12), causal(12)
    query, key = vectors(12)

    def gradients(count):
        bias.zero_grad()
        readings = [bias.added(query, key, places, places, visible) for _ in range(count)]
        with torch.no_grad():
            bias.added(query, key, places, places, visible)
        sum((reading * visible).sum() for reading in readings).backward()
        return [weight.grad.clone() for weight in bias.parameters()]

    for once, twice in zip(gradients(1), gradients(2), strict=True):
        torch.testing.assert_close(twice, 2 * once)


@pytest.mark.parametrize("kind", BIASES)
def test_a_copy_and_a_state_dict_give_the_same_bias(kind):
    bias, other = made(kind), made(kind, seed=5)
    other.load_state_dict(bias.state_dict())
    query, key = vectors(20)
    places = torch.arange(20)
    for twin in (other, copy.deepcopy(bias)):
        assert torch.equal(twin.added(query, key, places, places), bias.added(query, key, places, places))


@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("heads", [0, -1, 2.5, True])
def test_heads_that_are_no_count_are_refused(kind, heads, unchecked):
    with pytest.raises(ValueError, match="heads is .*; it must be a whole number of at least 1"):
        kind.default(heads=heads, head_dim=HEAD_DIM, window=WINDOW)


@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("size", ["head_dim", "window"])
def test_every_default_refuses_a_model_of_no_size(kind, size, unchecked):
    with pytest.raises(ValueError, match=f"{size} is 0; it must be a whole number of at least 1"):
        kind.default(**{**dict(heads=HEADS, head_dim=HEAD_DIM, window=WINDOW), size: 0})


# --- against definitions, token by token ---------------------------------------------------------------------------------
def t5_bucket(n, buckets=32, furthest=128):
    half = buckets // 2
    return n if n < half else min(buckets - 1, half + math.floor(math.log(n / half) / math.log(furthest / half) * half))


def fire(bias, head, i, j):
    c, limit = bias.c.item(), bias.multiplier.item() * bias.threshold
    share = math.log(c * (i - j) + 1) / (math.log(c * max(limit, i) + 1) + 1e-6)
    hidden = [max(0.0, w * share + b) for w, b in zip(bias.first.weight[:, 0].tolist(), bias.first.bias.tolist(), strict=True)]
    return sum(w * h for w, h in zip(bias.second.weight[head].tolist(), hidden, strict=True)) + bias.second.bias[head].item()


DEFINITIONS = {
    biases.NoPE: lambda bias, h, i, j, length: 0.0,
    biases.ALiBi: lambda bias, h, i, j, length: -(2 ** (-8 * (h + 1) / HEADS)) * (i - j),
    biases.InterpolatedALiBi: lambda bias, h, i, j, length: -(2 ** (-8 * (h + 1) / HEADS)) * (i - j) / max(1, length / WINDOW),
    biases.T5: lambda bias, h, i, j, length: bias.table[h, t5_bucket(i - j)].item(),
    biases.KERPLELog: lambda bias, h, i, j, length: -bias.p[h].item() * math.log(1 + bias.a[h].item() * (i - j)),
    biases.KERPLEPower: lambda bias, h, i, j, length: -bias.a[h].item() * (i - j) ** bias.p[h].item(),
    biases.Sandwich: lambda bias, h, i, j, length: (
        sum(math.cos((i - j) / 10_000 ** (2 * k / 128)) for k in range(1, 65)) / (8 * (h + 1) / HEADS)
    ),
    biases.FIRE: lambda bias, h, i, j, length: fire(bias, h, i, j),
}


def test_every_bias_has_a_definition():
    assert set(DEFINITIONS) == set(POSITIONAL)


@pytest.mark.parametrize("kind", POSITIONAL)
@pytest.mark.parametrize("length", [1, 16, 40])
def test_it_is_its_definition_at_every_pair_of_tokens(kind, length):
    bias, places = made(kind), torch.arange(length)
    value = bias(places, places)
    for head in range(HEADS):
        for i in range(length):
            for j in range(i + 1):
                expected = DEFINITIONS[kind](bias, head, i, j, length)
                assert math.isclose(value[head, i, j].item(), expected, rel_tol=2e-5, abs_tol=2e-5), (head, i, j)


def test_cope_is_its_definition_at_every_pair_of_tokens():
    length, bias = 14, biases.CoPE(heads=HEADS, head_dim=HEAD_DIM, places=5)
    torch.nn.init.normal_(bias.table)
    query, key = vectors(length)
    value = bias.added(query, key, torch.arange(length), torch.arange(length))
    capped = 0
    for head in range(HEADS):
        for i in range(length):
            q = query[0, head, i]
            for j in range(i + 1):
                count = sum(1 / (1 + math.exp(-(q @ key[0, head, k]).item() / math.sqrt(HEAD_DIM))) for k in range(j, i + 1))
                capped += count > 4
                p = min(count, 4.0)
                w = p - math.floor(p)
                at = [(q @ bias.table[place]).item() for place in (math.floor(p), math.ceil(p))]
                assert math.isclose(value[0, head, i, j].item(), (1 - w) * at[0] + w * at[1], rel_tol=1e-4, abs_tol=1e-4)
    assert capped > 20


# --- ALiBi --------------------------------------------------------------------------------------------------------------
def test_slopes_for_powers_of_two_and_for_other_counts():
    assert biases.slopes(8).tolist() == [2.0**-h for h in range(1, 9)]
    assert biases.slopes(4).tolist() == [1 / 4, 1 / 16, 1 / 64, 1 / 256]
    torch.testing.assert_close(biases.slopes(12)[8:].float(), torch.tensor([0.7071, 0.3536, 0.1768, 0.0884]), rtol=0, atol=5e-5)
    assert torch.equal(biases.slopes(12)[:8], biases.slopes(8)) and biases.slopes(1).tolist() == [2.0**-8]


@pytest.mark.parametrize("heads", [1, 2, 4, 6, 8, 12, 16, 20, 32])
def test_alibi_is_blooms_and_mpts_up_to_a_constant_per_row(heads):
    length, bias = 24, biases.ALiBi(heads=heads)
    ours = bias(torch.arange(length), torch.arange(length))
    bloom = build_alibi_tensor(torch.ones(1, length, dtype=torch.long), heads, torch.float32)
    mpt = build_mpt_alibi_tensor(heads, length)
    hidden = ~causal(length)
    for theirs in (bloom, mpt):
        rows = theirs.expand(heads, length, length)
        # Before the softmax the rows differ by the slope times the row's number (Bloom), or that less the length's (MPT).
        gap = (ours - rows).masked_fill(hidden, 0.0) - (ours - rows)[:, :, :1].masked_fill(hidden, 0.0)
        assert float(gap.abs().max()) < 1e-5
        after = [bias.masked_fill(hidden, -math.inf).softmax(-1) for bias in (ours, rows)]
        torch.testing.assert_close(*after, rtol=1e-5, atol=1e-6)


def test_the_column_form_loses_far_neighbours_in_half_precision_and_distances_do_not():
    far = torch.arange(4000, 4008)
    columns = (biases.slopes(8)[0] * far).bfloat16()
    assert len(columns.unique()) == 1
    assert len(biases.ALiBi(heads=8)(far[-1:], far)[0].bfloat16().unique()) == 8


def test_interpolation_within_the_window_is_alibi_and_beyond_it_alibi_of_shrunk_distances():
    plain, interpolated = biases.ALiBi(heads=8), biases.InterpolatedALiBi(heads=8, window=32)
    inside = torch.arange(32)
    assert torch.equal(plain(inside, inside), interpolated(inside, inside))
    beyond = torch.arange(96, dtype=torch.float64)
    torch.testing.assert_close(interpolated(beyond, beyond), plain(beyond * 32 / 96, beyond * 32 / 96))
    # Whatever the heads: the largest bias of the longest text is that of the window, but for one step of the last.
    torch.testing.assert_close(interpolated.curve(96)[:, 95], -biases.slopes(8) * 95 / 3)


def test_interpolation_follows_each_rows_own_length_and_a_fixed_factor_follows_none():
    bias, places = biases.InterpolatedALiBi(heads=2, window=8), torch.stack([torch.arange(16), torch.arange(16) - 8])
    assert bias.factors(places).tolist() == [2.0, 1.0]
    fixed = biases.InterpolatedALiBi(heads=2, window=8, factor=4.0)
    torch.testing.assert_close(fixed(torch.arange(6), torch.arange(6)), biases.ALiBi(heads=2)(torch.arange(6), torch.arange(6)) / 4)


@given(factor=st.floats(1.0, 64.0))
def test_the_slopes_path_is_minus_the_log_of_the_factor(factor):
    bias = biases.InterpolatedALiBi(heads=2, window=8, factor=factor)
    ratio = bias.curve(2)[:, 1] / biases.ALiBi(heads=2).curve(2)[:, 1]
    torch.testing.assert_close(ratio.log(), torch.full((2,), -math.log(factor), dtype=torch.float64))


@pytest.mark.parametrize("factor", [0.5, math.inf, -1])
def test_a_factor_below_one_is_refused(factor):
    with pytest.raises(ValueError, match="at least 1, or None"):
        biases.InterpolatedALiBi(heads=2, window=8, factor=factor)


# --- T5 -----------------------------------------------------------------------------------------------------------------
FIRST = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


def test_buckets_begin_where_t5s_do():
    bucket = biases.T5(heads=1).bucket(torch.arange(140))
    assert bucket[:16].tolist() == list(range(16))
    assert [int((bucket == number).nonzero()[0]) for number in range(16, 32)] == FIRST
    assert set(bucket[113:].tolist()) == {31}


@pytest.mark.parametrize("buckets,furthest", [(32, 128), (16, 64), (64, 256), (32, 512), (8, 100)])
def test_buckets_are_transformers_buckets(buckets, furthest):
    n = torch.arange(2 * furthest + 12)
    theirs = T5Attention._relative_position_bucket(-n, bidirectional=False, num_buckets=buckets, max_distance=furthest)
    assert torch.equal(biases.T5(heads=1, buckets=buckets, furthest=furthest).bucket(n), theirs)


def test_t5s_bias_is_that_of_transformers_decoder():
    config = T5Config(d_model=16, d_kv=4, num_heads=HEADS, is_decoder=True, num_layers=1)
    layer = T5Attention(config, has_relative_attention_bias=True)
    bias = made(biases.T5)
    with torch.no_grad():
        layer.relative_attention_bias.weight.copy_(bias.table.T)
        theirs = layer.compute_bias(200, 200)[0]
    hidden = ~causal(200)
    ours = bias(torch.arange(200), torch.arange(200))
    torch.testing.assert_close(ours.masked_fill(hidden, 0), theirs.masked_fill(hidden, 0), rtol=0, atol=0)


def test_beyond_the_last_bucket_the_bias_is_constant_and_below_it_is_not():
    curve = made(biases.T5).curve(300)
    assert len(curve[0, 113:].unique()) == 1 and len(curve[0, :113].unique()) == 31


def test_a_distance_before_the_query_has_no_bucket():
    with pytest.raises(ValueError, match="distance is -2 at the lowest; give query minus key"):
        biases.T5(heads=1).bucket(torch.tensor([3, -2]))


@pytest.mark.parametrize("options", [dict(buckets=31), dict(buckets=32, furthest=16), dict(buckets=0)])
def test_buckets_that_make_no_table_are_refused(options):
    with pytest.raises(ValueError):
        biases.T5(heads=2, **options)


# --- KERPLE -------------------------------------------------------------------------------------------------------------
def with_numbers(kind, p, a):
    bias = kind(heads=1)
    with torch.no_grad():
        bias.p.fill_(p), bias.a.fill_(a)
    return bias


def test_the_power_kernel_with_exponent_one_is_alibi():
    torch.testing.assert_close(with_numbers(biases.KERPLEPower, 1.0, 1 / 4).curve(64)[0], biases.ALiBi(heads=4).curve(64)[0])


def test_the_logarithmic_kernel_is_alibi_while_a_is_small():
    bias = with_numbers(biases.KERPLELog, 1.5, 0.01)
    # ln(1 + x) is x to x/2: 1 % at n = 2.
    torch.testing.assert_close(bias.curve(3), -1.5 * 0.01 * torch.arange(3.0, dtype=torch.float64)[None], rtol=0.011, atol=0)


@pytest.mark.parametrize("kind", [biases.KERPLELog, biases.KERPLEPower])
def test_a_kernel_falls_with_distance_and_is_conditionally_negative_definite(kind):
    for seed in range(5):
        bias = made(kind, seed)
        curve = bias.curve(48)
        assert bool((curve.diff(dim=1) < 0).all()) and bool((curve[:, 0] == 0).all())
        n = (torch.arange(48)[:, None] - torch.arange(48)).abs()
        weights = torch.randn(20, 48, dtype=torch.float64)
        weights -= weights.mean(-1, keepdim=True)
        # Σ w_i w_j B(|i-j|) ≥ 0 for weights that sum to zero: -B is conditionally negative definite.
        assert bool((torch.einsum("si,hij,sj->sh", weights, curve[:, n], weights) >= -1e-9).all())


def test_kernels_start_uniform_and_stay_in_range_by_projection():
    many = biases.KERPLEPower(heads=4000)
    assert 0 <= float(many.p.min()) and 1.9 < float(many.p.max()) <= 2 and 0.95 < float(many.p.mean()) < 1.05
    assert 0 <= float(many.a.min()) and 0.97 < float(many.a.max()) <= 1 and 0.47 < float(many.a.mean()) < 0.53
    for kind, most in ((biases.KERPLELog, 7.0), (biases.KERPLEPower, 2.0)):
        low, high = with_numbers(kind, -3.0, -3.0), with_numbers(kind, 7.0, 0.5)
        places = torch.arange(6)
        low(places, places).sum().backward()
        high(places, places)
        assert math.isclose(low.p.item(), 0.01, rel_tol=1e-6) and math.isclose(low.a.item(), 0.01, rel_tol=1e-6) and high.p.item() == most
        # At the floor the gradient passes, so a number can come back.
        assert low.p.grad.item() != 0 and low.a.grad.item() != 0


@pytest.mark.parametrize("floor", [-0.1, math.inf, 3.0])
def test_a_floor_out_of_the_kernels_range_is_refused(floor):
    with pytest.raises(ValueError, match="at least 0|above 2, the largest p"):
        biases.KERPLEPower(heads=2, floor=floor)
    if floor == 3:
        assert biases.KERPLELog(heads=2, floor=floor).floor == 3


# --- Sandwich -----------------------------------------------------------------------------------------------------------
def test_sandwich_has_the_references_values():
    raw = biases.Sandwich(heads=8).curve(4097) * biases.Sandwich(heads=8).compressions()[:, None]
    distances = [0, 1, 2, 8, 64, 512, 4096]
    expected = torch.tensor([64, 62.553, 58.798, 46.866, 31.128, 16.039, -3.269], dtype=torch.float64)
    torch.testing.assert_close(raw[:, distances], expected.expand(8, 7), rtol=0, atol=5e-4)
    # The other convention, k = 0 … 63, is this sum with cos n for its last term, cos(n/10000).
    n = torch.tensor(distances, dtype=torch.float64)
    other = raw[0, distances] - (n / 10_000).cos() + n.cos()
    listed = torch.tensor([64, 62.094, 57.382, 45.721, 30.520, 14.043, -3.383], dtype=torch.float64)
    torch.testing.assert_close(other, listed, rtol=0, atol=5e-4)


def test_sandwich_less_its_constant_is_nemos_bias():
    # NVIDIA/NeMo at 000b931: (Σ cos - D/2) / (8h/H), k = 1 … D/2, for a whole range of distances at once.
    heads, width, n = 4, 128, torch.arange(300, dtype=torch.float64)
    k = torch.arange(1, width // 2 + 1, dtype=torch.float64)
    total = (n[:, None] / 10_000 ** (2 * k / width)).cos().sum(-1)
    theirs = torch.stack([(total - width / 2) / (8 * h / heads) for h in range(1, heads + 1)])
    curve = biases.Sandwich(heads=heads).curve(300)
    torch.testing.assert_close(curve - curve[:, :1], theirs)


def test_sandwich_is_the_gram_matrix_of_a_sinusoidal_embedding():
    bias = biases.Sandwich(heads=1, width=32)
    embedding = bias.embedding(torch.arange(20))
    assert embedding.shape == (20, 32)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.full((20,), 4.0, dtype=torch.float64))
    value = bias(torch.arange(20), torch.arange(20))[0] * float(bias.compressions())
    torch.testing.assert_close(value.tril(), (embedding @ embedding.T).tril().float(), **FLOAT32)


def test_every_head_is_compressed_more_and_an_odd_width_is_refused():
    assert biases.Sandwich(heads=8).compressions().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert biases.Sandwich(heads=2).curve(1)[:, 0].tolist() == [16.0, 8.0]
    with pytest.raises(ValueError, match="must be even"):
        biases.Sandwich(heads=2, width=7)


# --- FIRE ---------------------------------------------------------------------------------------------------------------
def test_shares_have_the_references_values():
    bias = biases.FIRE(heads=2)
    for i, expected in ((512, [1.0, 0.8295, 0.0241]), (2048, [1.0, 0.8708, 0.0179])):
        shares = bias.shares(torch.tensor([i]), torch.tensor([0, i // 2, i - 1]))
        torch.testing.assert_close(shares[0].detach(), torch.tensor(expected), rtol=0, atol=5e-5)


def test_up_to_the_threshold_fire_is_relative_and_beyond_it_the_first_token_stays_at_one():
    bias = made(biases.FIRE)
    value = bias(torch.arange(64), torch.arange(64)).detach()
    threshold = int(bias.threshold)
    assert threshold == WINDOW // 4
    for n in range(threshold):
        same = torch.stack([value[:, i, i - n] for i in range(n, threshold + 1)])
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=0, atol=1e-6)
    torch.testing.assert_close(value.diagonal(dim1=1, dim2=2), value[:, :1, 0].expand(HEADS, 64))
    far = value[:, threshold:, 0]
    # The 1e-6 below the line keeps the share a little under 1.
    torch.testing.assert_close(far, far[:, :1].expand_as(far), rtol=0, atol=1e-5)
    assert not torch.allclose(value[:, 10, 5], value[:, 60, 55], atol=1e-4)


def test_shares_stay_between_zero_and_one_whatever_sign_the_learned_numbers_take():
    bias = biases.FIRE(heads=2, threshold=8)
    for c, multiplier in ((-0.3, 1.0), (0.1, -2.0), (5.0, 0.0)):
        with torch.no_grad():
            bias.c.fill_(c), bias.multiplier.fill_(multiplier)
        shares = bias.shares(torch.arange(50), torch.arange(50))
        assert bool((shares >= 0).all()) and bool((shares <= 1).all())


@pytest.mark.parametrize("options", [dict(threshold=0), dict(rate=-0.1), dict(hidden=0), dict(threshold=math.nan)])
def test_fire_refuses_what_is_no_size(options):
    with pytest.raises(ValueError):
        biases.FIRE(heads=2, **options)


# --- CoPE ---------------------------------------------------------------------------------------------------------------
def gated(score, length=20, places=64):
    """CoPE on queries and keys whose every score is the same."""
    bias = biases.CoPE(heads=1, head_dim=4, places=places)
    torch.nn.init.normal_(bias.table)
    query = torch.full((1, 1, length, 4), 1.0)
    return bias, query, torch.full((1, 1, length, 4), float(score))


def test_with_all_gates_open_cope_is_a_clipped_relative_embedding():
    bias, query, key = gated(1e4, places=8)
    i, j = torch.arange(20)[:, None], torch.arange(20)
    counts = bias.counts(query, key, causal(20))[0, 0]
    torch.testing.assert_close(counts.tril(), (i - j + 1).clamp(max=7).float().tril())
    value = bias.added(query, key, torch.arange(20), torch.arange(20))[0, 0]
    expected = (query[0, 0] @ bias.table.T)[0][(i - j + 1).clamp(0, 7)]
    torch.testing.assert_close(value.tril(), expected.tril(), **FLOAT32)


def test_with_all_gates_closed_there_is_no_position_and_with_an_empty_table_none_is_added():
    bias, query, key = gated(-1e4)
    value = bias.added(query, key, torch.arange(20), torch.arange(20))
    torch.testing.assert_close(value, value[..., :1, :1].expand_as(value))
    fresh = biases.CoPE.default(heads=1, head_dim=4, window=32)
    assert fresh.places == 64 and bool((fresh.added(query, -key, torch.arange(20), torch.arange(20)) == 0).all())


def test_gates_of_keys_a_query_does_not_see_are_not_counted():
    bias, query, key = gated(1e4)
    # Left padding of five tokens, and no mask at all but that of the positions.
    visible = causal(20) & (torch.arange(20) >= 5)
    counts = bias.counts(query, key, visible)[0, 0]
    assert counts[9].tolist() == [5.0] * 6 + [4.0, 3.0, 2.0, 1.0] + [0.0] * 10
    given_ = bias.added(query, key, torch.arange(20), torch.arange(20), causal(20))
    assert torch.equal(given_, bias.added(query, key, torch.arange(20), torch.arange(20)))


def test_the_gradient_reaches_queries_and_keys_through_the_gates():
    bias = made(biases.CoPE)
    query, key = (part.requires_grad_() for part in vectors(12))
    bias.added(query, key, torch.arange(12), torch.arange(12)).tril().sum().backward()
    assert bool((key.grad != 0).any()) and bool((query.grad != 0).any()) and bool(key.grad.isfinite().all())


def test_vectors_of_another_size_are_refused():
    query, key = vectors(4)
    with pytest.raises(ValueError, match="built for head_dim 6"):
        biases.CoPE(heads=HEADS, head_dim=6).added(query, key, torch.arange(4), torch.arange(4))


# --- NoPE ---------------------------------------------------------------------------------------------------------------
def test_without_positions_only_the_mask_tells_them():
    query, key = vectors(10)
    order = torch.randperm(10)
    bias, places, everything = biases.NoPE(heads=HEADS), torch.arange(10), torch.ones(10, 10, dtype=torch.bool)
    open_, mixed = (attention(bias, q, k, places, everything) for q, k in ((query, key), (query[:, :, order], key[:, :, order])))
    torch.testing.assert_close(open_[:, :, order][..., order], mixed)
    masked, mixed = (attention(bias, q, k, places, causal(10)) for q, k in ((query, key), (query[:, :, order], key[:, :, order])))
    assert not torch.allclose(masked[:, :, order][..., order], mixed)
