"""The frame that roads are compared in, where an image's pixels are no squares on the ground."""

import math

import numpy as np
import pytest

from lib.grid import LONLAT, Grid, project
from lib.vectors.roadframes import in_square_pixels

UTM = "EPSG:32631"
PARIS = (450_000.0, 5_411_000.0)  # UTM, metres
STEP_DEG = 2.7e-6  # of SpaceNet's pixels


@pytest.mark.parametrize("turn_deg", [0, 30, 90])
def test_a_distance_is_as_long_at_every_bearing(turn_deg):
    """Also where the pixels of a turned image in degrees lean."""
    lon, lat = project(np.array([PARIS]), UTM, LONLAT)[0]
    a, b = (STEP_DEG * part(math.radians(turn_deg)) for part in (math.cos, math.sin))
    grid = Grid((a, b, lon, b, -a, lat), LONLAT, 1300, 1300)
    ends = np.array([(math.sin(t), math.cos(t)) for t in np.radians(range(0, 360, 30))]) * 100 + PARIS
    roads = [grid.world_to_pixel(project(np.array([PARIS, end]), UTM, LONLAT)) for end in ends]
    assert np.ptp([np.hypot(*(end - start)) for start, end in roads]) > 100  # pixels
    square = in_square_pixels([*roads, np.empty((0, 2))], grid)
    assert len(square) == 13 and len(square[-1]) == 0
    lengths_m = [np.hypot(*(end - start)) * grid.gsd_m for start, end in square[:-1]]
    assert lengths_m == pytest.approx([100.0] * 12, abs=1e-3)
    if turn_deg == 0:  # y stays down: the first road runs north
        assert square[0][1, 1] < square[0][0, 1]


@pytest.mark.parametrize(
    "grid",
    [
        Grid((0.5, 0.0, 450_000.0, 0.0, -0.5, 5_411_000.0), UTM, 1300, 1300),
        Grid((0.6, 0.0, 0.0, 0.0, -0.6, 0.0), "EPSG:3857", 1300, 1300),  # 0.7 % from square
        Grid((0.5, 0.0, 0.0, 0.0, -0.25, 0.0), None, 1300, 1300),
    ],
)
def test_square_pixels_and_places_unknown_are_left_alone(grid):
    roads = [np.array([(0.1, 0.2), (900.3, 700.7)])]
    assert in_square_pixels(roads, grid) is roads
    assert in_square_pixels([], grid) == []
