"""The figures of rotation hold the numbers that rope and frequencies give, and say their units."""

import math

import pytest
import torch

from clexlab import frequencies, rope
from clexlab.figures import rotation


def titles(figure):
    return [axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes()) if axis.visible is not False]


def vectors(head_dim):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, head_dim, generator=generator)


def test_arrows_of_shifted_pairs_keep_their_angle_and_their_dot_product():
    q, k = vectors(2)
    figure = rotation.shifted_pairs(q, k, 0.4, ((4, 1), (10, 7)))
    tips = [torch.tensor([trace.x[1], trace.y[1]]) for trace in figure.data if trace.name in ("query", "key")]
    dots = [float(tips[0] @ tips[1]), float(tips[2] @ tips[3])]
    assert dots[0] == pytest.approx(dots[1], abs=1e-5)  # float32 angles
    turned = rope.rotate(q[None], torch.tensor([[1.2]]))[0]
    assert dots[0] == pytest.approx(float(turned @ k), abs=1e-5)
    labels = [note.text for note in figure.layout.annotations if note.text.endswith("°")]
    assert labels[0] == labels[1]


def test_the_sum_of_the_drawn_cosines_is_the_drawn_score():
    (q, k), distances = vectors(8), torch.arange(0.0, 64.0)
    figure = rotation.score_as_cosines(q, k, frequencies.inv_freq(8, 100.0), distances)
    *parts, total = (torch.tensor(trace.y) for trace in figure.data)
    assert len(parts) == 4
    torch.testing.assert_close(torch.stack(parts).sum(0), total, atol=1e-5, rtol=1e-5)  # float32 sums


def test_dials_show_new_angles_only_for_pairs_that_never_completed_a_turn():
    inv_freq = frequencies.inv_freq(128)
    critical = frequencies.critical_pair(inv_freq, 4096)
    figure = rotation.dials(inv_freq, (0, critical - 1, critical, 63), 4096, 16384)
    new = [trace for trace in figure.data if trace.name.startswith("new")]
    assert [trace.x[0] is None for trace in new] == [True, True, False, False]
    start = math.atan2(new[3].y[0], new[3].x[0])
    assert start == pytest.approx(float(4096 * inv_freq[63]), abs=1e-6)


def test_the_pairing_figure_joins_the_same_coordinates_in_both_rows():
    figure = rotation.pairings(8)
    boxes = [trace for trace in figure.data if trace.mode == "markers+text"]
    above, below = boxes[0::2], boxes[1::2]
    assert [box.text for box in above] == [box.text for box in below] == [(str(2 * j), str(2 * j + 1)) for j in range(4)]
    assert [list(box.x) for box in above] == [[2 * j, 2 * j + 1] for j in range(4)]
    assert [list(box.x) for box in below] == [[j, j + 4] for j in range(4)]


def test_every_visible_axis_says_what_it_shows():
    (q, k), line = vectors(8), torch.arange(1.0, 65.0)
    inv_freq = frequencies.inv_freq(8, 100.0)
    for figure in (
        rotation.score_as_cosines(q, k, inv_freq, line),
        rotation.scores_by_distance(line, {"right": line, "mixed up": -line}, "scores"),
        rotation.angle_errors(line, {"bfloat16": line, "float32": 0 * line}),
    ):
        assert all(titles(figure))
    log = rotation.angle_errors(line, {"bfloat16": line}).layout
    assert log.xaxis.type == "log" and "tokens" in log.xaxis.title.text and "rad" in log.yaxis.title.text


def test_dials_refuse_a_pair_that_does_not_exist():
    with pytest.raises(ValueError, match="name pairs from 0 to 63"):
        rotation.dials(frequencies.inv_freq(128), (0, 64), 4096, 16384)
    with pytest.raises(ValueError, match="name pairs"):
        rotation.dials(frequencies.inv_freq(128), (), 4096, 16384)
