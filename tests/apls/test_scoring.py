"""APLS of pairs worked out by hand, samples, and arguments that make no sense."""

import numpy as np
import pytest

from lib import apls
from lib.errors import InputError, ParameterError


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_pair_worked_out_by_hand(mode, road, three):
    """Truth 0-100, proposal 0-90: the far end snaps to (90, 0), 10 px off, so both its routes cost a tenth."""
    result = apls.score([road(0, 0, 100, 0)], [road(0, 0, 90, 0)], mode)
    assert three(result) == pytest.approx((0.9, 1.0, 2 * 0.9 / 1.9), abs=1e-12)
    assert result.control_points == (2, 2)
    assert result.routes == (2, 2)


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_snapping_ends_at_four_metres(mode, road, three):
    for off_px, expected in ((12.9, 1.0), (12.91, 0.0)):
        result = apls.score([road(0, 0, 300, 0)], [road(0, off_px, 300, off_px)], mode)
        assert three(result) == pytest.approx((expected,) * 3, abs=1e-12)


def test_gsd_scales_spacing_and_snapping(road):
    truth, proposal = [road(0, 0, 300, 0)], [road(0, 6, 300, 6)]
    assert apls.score(truth, proposal, "strict", gsd_m=0.5).apls == pytest.approx(1)
    assert apls.score(truth, proposal, "strict", gsd_m=1.0).apls == 0
    assert apls.score(truth, truth, "strict", gsd_m=0.5).control_points == (5, 5)  # 150 m: midpoints every 37.5 m


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_empty_sides(mode, road, three):
    roads, empty = [road(0, 0, 100, 0)], [np.empty((0, 2))]
    assert three(apls.score(empty, empty, mode)) == (1, 1, 1)
    assert three(apls.score([], [], mode)) == (1, 1, 1)
    assert three(apls.score(roads, empty, mode)) == (0, 0, 0)
    assert three(apls.score([], roads, mode)) == (0, 0, 0)


def test_sampled_score_says_how_sure_it_is(three, random_network):
    truth = random_network(2)
    proposal = [line for k, line in enumerate(truth) if k % 5]
    exact = three(apls.score(truth, proposal, "strict"))
    inside = 0
    for seed in range(20):
        sampled = apls.score(truth, proposal, "strict", sample=40, seed=seed)
        inside += sum(low <= value <= high for (low, high), value in zip(sampled.interval, exact, strict=True))
    assert inside >= 50  # of 60 intervals of 95 %
    assert apls.score(truth, proposal, "strict", sample=40) == apls.score(truth, proposal, "strict", sample=40)
    everything = apls.score(truth, proposal, "strict", sample=10**6)
    assert three(everything) == pytest.approx(exact, abs=1e-12)
    assert everything.interval[2][0] == pytest.approx(everything.interval[2][1])


def test_bad_arguments_are_told(road):
    with pytest.raises(ParameterError, match="'challenge' or 'strict'"):
        apls.score([], [], "lenient")
    with pytest.raises(ParameterError, match="gsd_m"):
        apls.score([], [], gsd_m=0)
    with pytest.raises(ParameterError, match="sample"):
        apls.score([], [], sample=1)
    with pytest.raises(InputError, match=r"truth road 0 as \(n, 2\)"):
        apls.score([np.zeros((3, 3))], [])
    with pytest.raises(InputError, match="NaN"):
        apls.score([road(0, 0, np.nan, 1)], [])
    with pytest.raises(InputError, match="every section drawn once"):
        apls.score([road(0, 0, 9, 0), road(9, 0, 0, 0)], [road(0, 0, 9, 0)])


def test_networks_that_shrink_to_a_place_are_never_right_in_strict(road):
    """Degrees taken for pixels: all of a town is one place."""
    degrees = [road(-115.17, 36.12, -115.1682, 36.12, -115.1664, 36.12)]
    others, street = [road(-115.1698, 36.1212, -115.1666, 36.1213)], [road(0, 0, 100, 0)]
    for pair in ((degrees, others), (degrees, degrees), (street, degrees), (degrees, street), (degrees, [None])):
        for sample in (None, 5):
            assert apls.score(*pair, mode="strict", sample=sample).apls == 0.0


@pytest.mark.parametrize("sample", [None, 5])
def test_loops_on_one_node_are_right_where_they_are(road, sample):
    """Their only control point leads to no other; each loop is 29 m long, too short for a point between."""
    turn = np.radians(np.arange(0, 361, 15))
    circle = 15 * np.column_stack([np.cos(turn), np.sin(turn)])
    circle[-1] = circle[0]
    eight = [circle + (100, 100), circle * (-1, 1) + (130, 100)]
    for moved_px, expected in ((0, 1), (50, 0)):
        moved = [line + (moved_px, 0) for line in eight]
        assert apls.score(eight, moved, "strict", sample=sample).apls == expected
        assert apls.score(eight, moved, "challenge", sample=sample).apls == 1
    assert apls.score(eight, [road(0, 0, 300, 0)], "strict", sample=sample).apls == 0


def test_every_vertex_of_a_ring_is_a_control_point(road):
    ring = [road(0, 0, 20, 0, 20, 20, 0, 20, 0, 0)]
    assert apls.score(ring, ring, mode="strict").control_points == (4, 4)
