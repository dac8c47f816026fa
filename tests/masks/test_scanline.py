import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate

from lib.grid import Grid
from lib.masks.rasterize import rasterize_buildings, rasterize_roads

PLAIN = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 200, 200)  # pixels are metres, y down


@given(st.floats(0, 180), st.floats(1.0, 25.0), st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=60)
def test_a_road_is_as_wide_as_asked_in_any_direction(lines, burned, angle_deg, width_m, dx, dy):
    along = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    centre = np.array([100 + dx, 100 + dy])
    road = lines([centre - 70 * along, centre + 70 * along], width=[str(width_m)])
    mask = rasterize_roads(road, PLAIN, gsd_m=1.0)
    exact = road.geometry.iloc[0].buffer(width_m / 2, quad_segs=64)
    # width across the road, away from its ends: foreground area by length
    y, x = np.mgrid[0:200, 0:200] + 0.5
    middle = np.abs((x - centre[0]) * along[0] + (y - centre[1]) * along[1]) <= 50
    assert (mask[middle] > 0).sum() / 100 == pytest.approx(width_m, abs=1.0)
    # the pixel-centre rule: what differs from the burned buffer lies on its edge, to the error of the buffer's arcs
    rows, cols = np.nonzero(mask != burned([exact], PLAIN))
    distances = shapely.distance(shapely.points(cols + 0.5, rows + 0.5), road.geometry.iloc[0])
    assert np.all(np.abs(distances - width_m / 2) < 0.01)


def test_areas_are_exact_on_average(lines):
    rng = np.random.default_rng(0)
    for width_m in (2.0, 3.3, 6.5, 11.2):
        drawn = exact = 0.0
        for start, end in rng.uniform(20, 180, (60, 2, 2)):
            road = lines([start, end], width=[str(width_m)])
            drawn += rasterize_roads(road, PLAIN, gsd_m=1.0).sum() / 255
            exact += road.geometry.iloc[0].buffer(width_m / 2, quad_segs=64).area
        assert drawn == pytest.approx(exact, rel=0.005)


def test_sub_pixel_placement_moves_the_mask(lines):
    area = []
    for shift in np.linspace(0, 1, 11):
        road = lines([(20 + shift, -10), (20 + shift, 300)], width=["7.4"])
        mask = rasterize_roads(road, PLAIN, gsd_m=1.0)
        columns = np.flatnonzero(mask[100])
        centre = columns.mean() + 0.5
        assert abs(centre - (20 + shift)) <= 0.5
        area.append(len(columns))
    assert set(area) == {7, 8}


def test_thin_roads_do_not_break(lines):
    for angle_deg in range(0, 180, 7):
        end = 90 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
        mask = rasterize_roads(lines([100.3 - end, 100.3 + end], width=["0.6"]), PLAIN, gsd_m=3.0)
        assert cv2.connectedComponents(mask)[0] == 2


polygons = st.lists(
    st.tuples(st.floats(-20, 220), st.floats(-20, 220), st.floats(0.2, 80), st.floats(0.2, 80), st.floats(0, 7)),
    min_size=1,
    max_size=6,
)


@given(polygons)
@settings(max_examples=40)
def test_polygons_follow_rasterios_rule(burned, shapes):
    houses = [rotate(shapely.box(x, y, x + w, y + h), a, use_radians=True) for x, y, w, h, a in shapes]
    houses = [shapely.set_precision(house, 1 / 1024) for house in houses]
    houses = [house for house in houses if not house.is_empty]
    frame = gpd.GeoDataFrame(geometry=houses)
    assert np.array_equal(rasterize_buildings(frame, PLAIN), burned(houses, PLAIN) if houses else np.zeros((200, 200)))


def test_multipolygons_keep_their_courts(burned):
    court = shapely.box(10, 10, 60, 60).difference(shapely.box(20, 20, 40, 40))
    both = shapely.MultiPolygon([court, shapely.box(100, 100, 150, 120)])
    frame = gpd.GeoDataFrame(geometry=[both])
    assert np.array_equal(rasterize_buildings(frame, PLAIN), burned([both], PLAIN))


@pytest.mark.parametrize("down", [True, False], ids=["north-up", "south-up"])
def test_an_edge_through_pixel_centres_counts_alike_whichever_way_y_runs(burned, down):
    grid = Grid((1, 0, 0, 0, -1 if down else 1, 20 if down else 0), "EPSG:32635", 20, 20)
    square = shapely.box(4.5, 4.5, 14.5, 14.5)
    mask = rasterize_buildings(gpd.GeoDataFrame(geometry=[square], crs="EPSG:32635"), grid)
    assert np.count_nonzero(mask) == 100
    assert np.count_nonzero(burned([square], grid)) == (110 if down else 100)  # rasterio 1.4
