"""Models read through a map: what comes out is the dense oracle in loops, at once and token by token, in every layout of heads."""

import math

import hf_models
import map_matrices
import pytest
import torch
from hf_models import tokens
from map_oracle import CLOSE, LAYOUTS, LENGTH, SMALL, built, named, oracle

import clexlab
from clexlab import rope, scaling
from clexlab.hf import map_attention, map_plan
from clexlab.hf.map_attention import Seen, Stock
from clexlab.positions.maps import GALI, Map


def rows_by_call(m: Map, *calls: tuple[int, int]) -> torch.Tensor:
    """P of a text that is sent in calls of queries first … length-1."""
    whole = torch.full((calls[-1][1],) * 2, torch.nan, dtype=torch.float64)
    for first, length in calls:
        for span in m.spans(length, first):
            queries, keys = slice(span.first, span.last), slice(0, len(span.key))
            whole[queries, keys] = torch.where(span.shown(queries, keys), span.distances(queries, keys), whole[queries, keys])
    return whole


@pytest.fixture(params=[3, 128], ids=["small_blocks", "usual_blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(map_plan, "BLOCK", request.param)
    if request.param < 16:
        monkeypatch.setattr(map_plan, "LEAST", request.param)


# ------------------------------------------------------------------------------------------------------ the oracle


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_a_text_read_at_once_is_the_dense_loop(m, blocks):
    model, (row,) = built(), tokens(LENGTH)
    wanted = oracle(model, m.relative(LENGTH), row, mixed=m.mixes)
    torch.testing.assert_close(clexlab.remap(model, m)(row).logits, wanted, **CLOSE)


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_a_text_read_token_by_token_is_the_dense_loop(m):
    model, (row,) = built(), tokens(LENGTH)
    calls = [(0, 9), (9, 13), *((i, i + 1) for i in range(13, LENGTH))]
    wanted = oracle(model, rows_by_call(m, *calls), row, mixed=m.mixes)
    clexlab.remap(model, m)
    cache, found = None, []
    for first, length in calls:
        out = model(row[:, first:length], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    torch.testing.assert_close(torch.cat(found, 1), wanted, **CLOSE)


@pytest.mark.parametrize("m", [*(m for m in SMALL if not isinstance(m, GALI)), GALI(window=8, tail=3, chunk=1, noise=None)], ids=named)
@torch.no_grad()
def test_token_by_token_is_at_once_wherever_the_method_says_so(m):
    model, (row,) = clexlab.remap(built(), m), tokens(LENGTH)
    cache, found = None, []
    for i in range(LENGTH):
        out = model(row[:, i : i + 1], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    torch.testing.assert_close(torch.cat(found, 1), model(row).logits, **CLOSE)


@pytest.mark.parametrize("m", SMALL, ids=named)
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "llama"])
@torch.no_grad()
def test_every_layout_of_pairs_and_heads_is_the_dense_loop(name, m):
    model, (row,) = built(name, layers=1), tokens(LENGTH)
    wanted = oracle(model, m.relative(LENGTH), row, name, mixed=m.mixes)
    torch.testing.assert_close(clexlab.remap(model, m)(row).logits, wanted, **CLOSE)


@pytest.mark.parametrize("m", SMALL, ids=named)
@torch.no_grad()
def test_on_yarn_the_path_says_which_angle_a_distance_is(m):
    model, (row,) = built(layers=1), tokens(LENGTH)
    path = scaling.YaRN.default(head_dim=hf_models.HEAD_DIM, base=1e4, window=8)
    wanted = oracle(model, m.relative(LENGTH), row, theta=path.inv_freq(3.0), scale=path.attention_scale(3.0), mixed=m.mixes)
    with clexlab.extended(model, path, factor=3.0), clexlab.remapped(model, m):
        torch.testing.assert_close(model(row).logits, wanted, **CLOSE)


@pytest.mark.parametrize(("m", "length", "largest", "last", "total"), map_matrices.GOLDEN, ids=named)
def test_the_attention_itself_gives_the_golden_numbers(m, length, largest, last, total, blocks):
    theta, places = torch.ones(1), torch.arange(length, dtype=torch.float64)
    turned = rope.rotate(torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(1, 1, length, 1), places[:, None], rope.HalfSplit)
    plan = map_plan.group(m, (0,), 0, length, 0, theta, 1)
    seen = Seen(m, (plan,), frozenset(), rope.HalfSplit, None, Stock("sdpa", lambda: None))
    out = map_attention.attention(seen, turned, turned, places[None, None, :, None], 1 / math.sqrt(2))
    assert (float(out[0, -1]), float(out.sum())) == pytest.approx((last, total), abs=3e-6)
