"""Stations on lines: their lengths add up, their stretches are parts of their line, and directions count."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.conflation.stations import as_array, beside, smoothed, stations, stretches

points = st.tuples(st.integers(0, 500), st.integers(0, 500))
polylines = st.lists(points, min_size=2, max_size=6, unique=True).map(shapely.LineString)


@settings(max_examples=40)
@given(st.lists(polylines, min_size=1, max_size=4), st.floats(2, 40), st.integers(0, 2**32 - 1))
def test_stretches_and_the_rest_make_up_the_lines(lines, step_m, seed):
    lines = as_array(lines)
    found = stations(lines, step_m)
    assert np.bincount(found.line, found.length_m, len(lines)) == pytest.approx(shapely.length(lines))
    chosen = np.random.default_rng(seed).random(len(found.line)) < 0.5
    parts, line = stretches(lines, found, chosen)
    assert shapely.length(parts).sum() == pytest.approx(found.length_m[chosen].sum(), rel=1e-6, abs=1e-6)
    assert (shapely.distance(shapely.get_point(parts, 0), lines[line]) < 1e-6).all()


def test_means_leave_out_what_is_not_known():
    found = stations(as_array([shapely.LineString([(0, 0), (4, 0)]), shapely.LineString([(0, 9), (2, 9)])]), 2.0)
    assert found.means(np.array([1.0, np.nan, np.nan]), 2)[0] == 1.0
    assert np.isnan(found.means(np.array([1.0, np.nan, np.nan]), 2)[1])


def test_smoothing_stays_within_a_line():
    lines = as_array([shapely.LineString([(0, y), (40, y)]) for y in (0, 1)])
    found = stations(lines, 2.0)
    values = np.where(found.line == 0, 0.0, 1.0)
    values[5] = np.nan
    np.testing.assert_allclose(smoothed(found, values, 20.0), found.line)


@pytest.mark.parametrize(("angle_deg", "along"), [(0, True), (25, True), (35, False), (90, False), (155, True)])
def test_a_road_runs_along_by_its_direction(angle_deg, along):
    turn = np.radians(angle_deg)
    step = 20 * np.array([np.cos(turn), np.sin(turn)])
    road = as_array([shapely.LineString([100 - step, 100 + step])])
    found = stations(as_array([shapely.LineString([(99, 100), (101, 100)])]), 2.0)
    assert np.isfinite(beside(found, road, np.array([5.0]), 30.0)).tolist() == [along]


def test_the_best_of_several_roads_within_their_own_reach():
    found = stations(as_array([shapely.LineString([(0, 0), (20, 0)])]), 20.0)
    roads = as_array([shapely.LineString([(0, y), (20, y)]) for y in (3, 6, 9)] + [shapely.box(0, -5, 20, 5)])
    reach_m, worth = np.array([4.0, 10.0, 8.0, 0.0]), np.array([0.2, 0.6, 0.9, 0.1])
    assert beside(found, roads, reach_m, 30.0, worth).tolist() == [0.6]
    assert beside(found, roads[3:], reach_m[3:], 30.0, worth[3:]).tolist() == [0.1]
    assert np.isnan(beside(found, roads[2:3], reach_m[2:3], 30.0)).all()
    assert np.isnan(beside(found, roads[:0], reach_m[:0], 30.0)).all()
