"""Outlines of masks, fewer corners, right angles."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.vectors.buildings import BuildingOptions, mask_to_polygons
from lib.vectors.outlines import outlines, right_angled, simplified, without_small_holes

MASKS = st.integers(0, 2**32 - 1).map(lambda seed: (np.random.default_rng(seed).random((12, 15)) < 0.6).view(np.uint8))


def drawn(polygon: shapely.Polygon, size: int = 120) -> np.ndarray:
    """Pixels whose centre lies in the polygon."""
    y, x = np.mgrid[:size, :size] + 0.5
    return shapely.contains_xy(polygon, x, y)


def iou(a: shapely.Polygon, b: shapely.Polygon) -> float:
    return a.intersection(b).area / a.union(b).area


@settings(max_examples=60)
@given(MASKS)
def test_outlines_are_the_pixels_edges_and_turn_at_every_corner(mask):
    polygons = outlines(mask, 7, 3)
    pixels = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask) + (3, 7)])
    assert shapely.is_valid(polygons).all()
    assert shapely.area(polygons).sum() == mask.sum()
    assert shapely.union_all(polygons).equals(pixels)
    for ring in shapely.get_rings(polygons):
        along_x = np.diff(shapely.get_coordinates(ring), axis=0)[:, 1] == 0
        assert (along_x != np.roll(along_x, 1)).all()


@settings(max_examples=60)
@given(MASKS, st.floats(0, 1.5))
def test_simpler_polygons_are_valid_and_stay_within_the_tolerance(mask, tolerance):
    before = outlines(np.kron(mask, np.ones((4, 4), np.uint8)))
    after = simplified(before, tolerance)
    assert shapely.is_valid(after).all()
    assert (shapely.hausdorff_distance(shapely.boundary(before), shapely.boundary(after)) <= tolerance + 1e-9).all()


def test_a_wall_that_leans_by_less_than_a_pixel_a_step_is_one_wall():
    """Drawn at 2 degrees, its topmost run of pixels starts in the middle of a wall: there no corner may stay."""
    house = shapely.affinity.rotate(shapely.box(20, 30, 100, 70), 2)
    (polygon,) = simplified(outlines(drawn(house).view(np.uint8)), 1.0)
    assert len(polygon.exterior.coords) == 5


def test_small_holes_go_and_the_others_stay():
    block = shapely.box(0, 0, 30, 30)
    holed = block - shapely.box(2, 2, 4, 4) - shapely.box(10, 10, 20, 20)
    got = without_small_holes(np.array([block, holed]), 5)
    assert got[0] == block
    assert got[1].equals(block - shapely.box(10, 10, 20, 20))


@pytest.mark.parametrize("degrees", [0, 13, 45, 72])
def test_right_angles_of_a_turned_wing(degrees):
    shape = shapely.Polygon([(20, 30), (90, 30), (90, 60), (50, 60), (50, 90), (20, 90)])
    turned = shapely.affinity.rotate(shape, degrees, origin=(60, 60))
    options = BuildingOptions(right_angles=True, tolerance_m=0.75)
    (polygon,) = mask_to_polygons(drawn(turned), 0.5, options)
    assert iou(polygon, turned) > 0.95
    walls = np.diff(np.asarray(polygon.exterior.coords), axis=0)
    turns = np.degrees(np.arctan2(walls[:, 1], walls[:, 0])) % 90
    assert np.ptp(np.minimum(turns, 90 - turns)) < 1e-6
    assert len(walls) == 6


def test_what_has_no_right_angles_stays_as_it_is():
    star = [
        (50 + r * np.cos(a), 50 + r * np.sin(a)) for a, r in zip(np.arange(10) * np.pi / 5, [40, 15] * 5, strict=True)
    ]
    triangle = shapely.Polygon([(0, 0), (30, 0), (0, 30)])
    round_ones = [shapely.Point(50, 50).buffer(20, quad_segs=n) for n in (2, 3, 16)]
    shapes = np.array([shapely.Polygon(star), triangle, *round_ones])
    assert shapely.equals(right_angled(shapes), shapes).all()


def test_a_long_wall_at_45_degrees_stays_and_a_short_one_is_a_corner():
    chamfered = shapely.Polygon([(0, 0), (60, 0), (60, 25), (45, 40), (0, 40)])
    for degrees in (0, 20):
        turned = np.array([shapely.affinity.rotate(chamfered, degrees, origin=(0, 0))])
        assert shapely.hausdorff_distance(right_angled(turned, 10), turned)[0] < 1e-9
        assert len(right_angled(turned, 30)[0].exterior.coords) != 6
    masked = mask_to_polygons(
        drawn(shapely.affinity.translate(chamfered, 20, 20)), 0.5, BuildingOptions(right_angles=True)
    )
    assert [len(polygon.exterior.coords) for polygon in masked] == [6]


def test_polygons_are_squared_one_by_one_whatever_stands_beside_them():
    """A round one, one with a court, one as it should be: each as if it were alone, and in its place."""
    court = shapely.box(0, 0, 40, 40) - shapely.Polygon([(10, 10), (30, 11), (30, 30), (10, 31)])
    shapes = np.array([shapely.Point(90, 90).buffer(9), court, shapely.box(50, 0, 70, 10)])
    together = right_angled(shapes)
    alone = np.concatenate([right_angled(shapes[k : k + 1]) for k in range(3)])
    assert (together == alone).all()
    assert [len(shapely.get_interior_ring(shape, 0).coords) if shape.interiors else 0 for shape in together] == [
        0,
        5,
        0,
    ]
    assert not len(right_angled(np.empty(0, object)))


def test_a_round_house_is_round_from_mask_to_polygon():
    tank = shapely.Point(60, 60).buffer(24)
    (polygon,) = mask_to_polygons(drawn(tank), 0.5, BuildingOptions(right_angles=True))
    assert iou(polygon, tank) > 0.95
