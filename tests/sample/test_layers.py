"""What a scene is painted with: outlines and lines true to size, shadows."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.sample import layers as paint
from lib.sample.layers import Sun


def test_shadow_lies_opposite_the_sun_and_is_as_long_as_it_should():
    height = np.zeros((200, 200), np.uint16)
    height[95:105, 95:105] = 200  # a tower of 20 m
    sun = Sun(azimuth_deg=180.0, elevation_deg=45.0)
    dark = paint.cast_shadows(height, sun, gsd_m=0.5) > 0.5
    rows, cols = np.nonzero(dark)
    assert rows.max() < 95 and cols.min() >= 94 and cols.max() <= 105
    assert 95 - rows.min() == pytest.approx(20 / 0.5, abs=2)
    assert not dark[95:105, 95:105].any()


@settings(max_examples=60)
@given(
    ends=st.lists(st.floats(25, 75), min_size=4, max_size=4).filter(lambda p: np.hypot(p[0] - p[2], p[1] - p[3]) > 8),
    width=st.floats(5, 30),
)
def test_a_road_is_drawn_where_it_is_and_as_wide_as_it_is(ends, width):
    line = shapely.LineString(np.reshape(ends, (2, 2)))
    image = np.zeros((100, 100, 3), np.uint8)
    paint.fill_lines(image, np.array([line]), np.array([width / 2]), (255, 255, 255))
    surface = line.buffer(width / 2)
    assert image[..., 0].sum() / 255 == pytest.approx(surface.area, abs=0.17 * surface.length)
    middle = [np.average(index, weights=image[..., 0]) + 0.5 for index in np.indices((100, 100))[::-1]]
    np.testing.assert_allclose(middle, line.centroid.coords[0], atol=0.2)


@pytest.mark.parametrize("bands", [(), (3,)], ids=["labels", "colours"])
def test_an_outline_is_on_average_neither_too_large_nor_too_small(bands):
    rng = np.random.default_rng(0)
    excess_px = []
    for _ in range(200):
        x, y = rng.uniform(40, 60, 2)
        house = shapely.affinity.rotate(shapely.box(x - 15, y - 10, x + 15, y + 10), rng.uniform(0, 180))
        image = np.zeros((100, 100, *bands), np.uint8)
        paint.fill(image, [house], 255)
        excess_px.append((image.sum() / image[0, 0].size / 255 - house.area) / house.length)
    assert abs(np.mean(excess_px)) < 0.08
