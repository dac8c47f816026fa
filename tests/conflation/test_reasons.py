"""Reasons: green hides a road, shadow hides it, and grey says nothing."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lib.conflation.ground import ground_of_arrays
from lib.conflation.reasons import SHADOW, TREE_COVER, green_leaf_index, guess_reasons, surface_kinds
from lib.conflation.roads import compare_roads

ASPHALT, LEAVES, SHADE = (128, 126, 124), (62, 88, 44), (34, 36, 42)
ROAD = np.array([shapely.LineString([(0, 200), (400, 200)])], object)
HALF_M = np.array([3.0])


def painted(grid, color, share):
    """Asphalt, with a share of the road painted over."""
    image = np.full((grid.height, grid.width, 3), ASPHALT, np.uint8)
    image[195:206, : int(share * grid.width)] = color
    return ground_of_arrays(grid, np.zeros((grid.height, grid.width), np.float32), image)


@pytest.mark.parametrize(
    ("color", "share", "reason"),
    [(LEAVES, 0.8, TREE_COVER), (SHADE, 0.8, SHADOW), (LEAVES, 0.3, ""), (SHADE, 0.3, ""), (ASPHALT, 1.0, "")],
)
def test_what_covers_most_of_a_road_is_the_reason(grid, color, share, reason):
    assert guess_reasons(ROAD, HALF_M, painted(grid, color, share)).tolist() == [reason]


def test_a_dark_scene_is_not_all_shadow(grid):
    image = np.full((grid.height, grid.width, 3), SHADE, np.uint8)
    ground = ground_of_arrays(grid, np.zeros((grid.height, grid.width), np.float32), image)
    assert guess_reasons(ROAD, HALF_M, ground).tolist() == [""]


def test_no_image_no_reason(grid):
    ground = ground_of_arrays(grid, np.zeros((grid.height, grid.width), np.float32))
    assert guess_reasons(ROAD, HALF_M, ground).tolist() == [""]
    outside = np.array([shapely.LineString([(-50, -50), (-10, -10)])], object)
    assert guess_reasons(outside, HALF_M, painted(grid, LEAVES, 1)).tolist() == [""]


def test_an_unseen_road_under_trees_says_so(grid, town, roads_frame):
    image = town.image.copy()
    image[122:139] = LEAVES
    ground = ground_of_arrays(grid, town.probability, image)
    osm = roads_frame([*town.lines, [(0, 130), (400, 130)]])
    found = compare_roads(town.roads, osm, ground)
    assert set(found.unseen["reason"]) == {TREE_COVER}


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_the_index_has_its_range_and_no_colour_is_two_things(rgb):
    assert -1 <= green_leaf_index(np.array(rgb)) <= 1
    assert surface_kinds(np.array([rgb]), np.array([128.0])).item() in ("", TREE_COVER, SHADOW)


def test_the_index_by_hand():
    colors = np.array([(0, 0, 0), (100, 100, 100), (60, 90, 40), (0, 255, 0)])
    np.testing.assert_allclose(green_leaf_index(colors), [0, 0, (180 - 100) / 280, 1])
