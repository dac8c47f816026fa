"""TOPO on networks whose answer is known."""

import numpy as np
import pytest

from lib.errors import ParameterError
from lib.scores.topo import topo


def road(*numbers):
    return np.array(numbers, float).reshape(-1, 2)


def three(result):
    return result.precision, result.recall, result.f1


NETWORK = [road(0, 0, 400, 0), road(200, 0, 200, 300), road(0, 0, 0, 300, 200, 300)]


def test_identical():
    for seeds in (None, 30):
        result = topo(NETWORK, NETWORK, 1.0, seeds=seeds)
        assert three(result) == (1, 1, 1)
        assert result.holes == result.marbles == result.matched > 0


def test_pieces_that_are_no_roads_cost_nothing():
    speck = road(600, 600, 600.02, 600)
    result = topo([*NETWORK, speck], [*NETWORK, speck], 1.0, seeds=None)
    assert three(result) == (1, 1, 1) and result == topo(NETWORK, NETWORK, 1.0, seeds=None)
    assert three(topo([speck], [speck], 1.0)) == three(topo([speck], NETWORK, 1.0)) == (0, 0, 0)


def test_half_missing():
    """Of two separate roads of the same length one is not there: half of all holes stay empty."""
    truth = [road(0, 0, 200, 0), road(0, 100, 200, 100)]
    result = topo(truth, truth[:1], 1.0, seeds=None)
    assert three(result) == pytest.approx((1, 0.5, 2 / 3))


def test_shift():
    """A shift within the hole's size is forgiven, one beyond it leaves nothing."""
    moved = [line + [0, 7.9] for line in NETWORK[:1]]
    assert three(topo(NETWORK[:1], moved, 1.0, seeds=None)) == (1, 1, 1)
    moved = [line + [0, 8.1] for line in NETWORK[:1]]
    assert three(topo(NETWORK[:1], moved, 1.0, seeds=None)) == (0, 0, 0)


def test_metres_are_metres():
    moved = [line + [0, 7.9] for line in NETWORK[:1]]
    assert topo(NETWORK[:1], moved, 1.02, seeds=None).f1 == 0
    assert topo(NETWORK[:1], moved, 0.5, seeds=None).f1 == 1


def test_spurious_road():
    """A side road as long as the road itself: 20 of its 40 marbles are nearer than 8 m to no hole."""
    truth = [road(0, 0, 198, 0)]
    result = topo(truth, [*truth, road(198, 0, 198, 198)], 1.0, spacing_m=5.0, reach_m=1000, seeds=None)
    # 40 pieces of 4.95 m: 41 holes; the bend is no node, 80 pieces of 4.95 m: 81 marbles; one into each hole
    assert (result.holes, result.marbles) == (41 * 41, 41 * 81)
    assert three(result) == pytest.approx((41 / 81, 1.0, 2 * 41 / 122))


def test_broken_link_shows_within_reach():
    """A gap of 20 m in the middle of 400 m: from either half one reaches only that half."""
    broken = [road(0, 0, 190, 0), road(210, 0, 400, 0)]
    result = topo([road(0, 0, 400, 0)], broken, 1.0, reach_m=1000, seeds=None)
    assert result.precision == 1
    assert 0.4 < result.recall < 0.5


def test_seeds_are_drawn_by_the_seed():
    broken = [road(0, 0, 190, 0), road(210, 0, 400, 0), road(200, 10, 200, 300)]
    same = [topo(NETWORK, broken, 1.0, seeds=20, seed=7) for _ in range(2)]
    assert same[0] == same[1]
    assert topo(NETWORK, broken, 1.0, seeds=20, seed=8) != same[0]
    assert same[0].seeds == 20


def test_empty_sides_and_bad_arguments():
    assert three(topo([], [], 1.0)) == (1, 1, 1)
    assert three(topo(NETWORK, [], 1.0)) == (0, 0, 0)
    assert three(topo([], NETWORK, 1.0)) == (0, 0, 0)
    with pytest.raises(ParameterError, match="hole_m"):
        topo(NETWORK, NETWORK, 1.0, hole_m=0)
