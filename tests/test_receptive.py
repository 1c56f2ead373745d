"""Receptive fields: against closed forms, brute force, and published slopes."""

import math

import pytest
import torch

from clexlab import biases, receptive


def brute(curve, share):
    """Add up one key after the other."""
    found = []
    for row in curve.tolist():
        parts = [math.exp(value - max(row)) for value in row]
        total, summed, n = sum(parts), 0.0, -1
        while summed < share * total * (1 - 1e-12):
            n += 1
            summed += parts[n]
        found.append(n)
    return found


@pytest.mark.parametrize("kind", biases.BIASES)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_field_is_where_the_sum_over_keys_passes_the_share(kind, share):
    torch.manual_seed(0)
    curve = receptive.curve(kind.default(heads=4, head_dim=8, window=64), 200)
    assert receptive.field(curve, share).tolist() == brute(curve, share)


def test_weights_are_shares_and_do_not_see_constants():
    curve = biases.ALiBi(heads=4).curve(50)
    torch.testing.assert_close(receptive.weights(curve).sum(-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(receptive.weights(curve + 7), receptive.weights(curve))


def test_of_a_straight_line_the_field_is_the_geometric_series():
    slopes = biases.slopes(8)
    wanted = [math.ceil(math.log(100) / float(slope)) - 1 for slope in slopes]
    assert receptive.field(biases.ALiBi(heads=8).curve(20_000)).tolist() == wanted
    assert wanted[0] == 9 and wanted[-1] == 1178


def test_without_a_bias_the_field_is_the_share_of_all_keys():
    assert receptive.field(torch.zeros(1, 1000)).item() == 989


def test_a_bias_of_content_adds_nothing_to_queries_of_zeros():
    cope = biases.CoPE(heads=2, head_dim=4)
    torch.nn.init.normal_(cope.table)
    assert not receptive.curve(cope, 20).any() and receptive.curve(cope, 20).shape == (2, 20)


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        receptive.field(torch.zeros(1, 4), share)
