"""Points and segments: lengths as Java's, projections, and the grid that finds segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.apls.geometry import foot_on_segment, hypot, index_segments, span_of_cell, tenths


def test_lengths_are_lengths_to_the_last_bits():
    rng = np.random.default_rng(0)
    for dx, dy in [*(10.0 ** rng.uniform(-9, 9, (500, 2)) * rng.choice([-1, 1], (500, 2))), (3.0, 4.0), (0.0, 7.0)]:
        assert hypot(dx, dy) == hypot(dy, -dx) == pytest.approx(np.hypot(dx, dy), rel=4e-16)


def test_cells_round_ties_upwards():
    assert tenths(np.array([0.05, -0.05, 0.04, -0.16])).tolist() == [1, 0, 0, -2]
    assert tenths(0.25) == 3


def test_nearest_point_of_a_segment():
    assert foot_on_segment(3.0, 5.0, 0.0, 0.0, 10.0, 0.0) == (3.0, 0.0)
    assert foot_on_segment(-3.0, 5.0, 0.0, 0.0, 10.0, 0.0) == (0.0, 0.0)
    assert foot_on_segment(13.0, 5.0, 0.0, 0.0, 10.0, 0.0) == (10.0, 0.0)
    assert np.isnan(foot_on_segment(1.0, 1.0, 2.0, 2.0, 2.0, 2.0)).all()


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 12), st.sampled_from([0.5, 8.0, 40.0]))
def test_the_grid_misses_no_segment_within_reach(seed, lines, reach_px):
    rng = np.random.default_rng(seed)
    first = np.concatenate([[0], np.cumsum(rng.integers(1, 6, lines))]).astype(np.int64)
    vertices = rng.uniform(-50, 200, (first[-1], 2))
    index = index_segments(vertices, first, reach_px)
    segments = np.setdiff1d(np.arange(first[-1]), first[1:] - 1)
    for x, y in rng.uniform(-120, 270, (30, 2)):
        begin, end = span_of_cell(index, x, y)
        listed = index.segment[begin:end]
        assert (np.diff(listed) > 0).all()
        for i in segments:
            foot = foot_on_segment(x, y, *vertices[i], *vertices[i + 1])
            assert np.hypot(*(foot - np.array([x, y]))) > reach_px or i in listed
