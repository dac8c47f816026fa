import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, Grid, project
from lib.masks.offset import estimate_offset, shift
from lib.masks.rasterize import draw_roads, index_roads, rasterize_roads
from lib.paths import ROOT
from lib.rasters import read_grid

GRID = Grid((0.5, 0.0, 500000.0, 0.0, -0.5, 6700000.0), "EPSG:32635", 600, 600)


def town(seed=3):
    """Crossing streets of several directions in a field of 300 m."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(20, 280, (12, 2, 2))
    shapes = [shapely.LineString(pair + (500000, 6699700)) for pair in ends]
    return gpd.GeoDataFrame({"highway": ["residential"] * len(shapes)}, geometry=shapes, crs="EPSG:32635")


def picture(mask, seed=0):
    """What a camera might see of the mask: grey roads, textured green, roofs as bright as streets."""
    rng = np.random.default_rng(seed)
    road = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 1.0)[..., None]
    grass = (
        np.array([70.0, 95.0, 60.0]) + 25 * cv2.GaussianBlur(rng.normal(size=(*mask.shape, 1)), (0, 0), 1.5)[..., None]
    )
    image = road * np.array([125.0, 122.0, 120.0]) + (1 - road) * grass
    for x, y in rng.integers(0, 560, (60, 2)):
        image[y : y + 24, x : x + 32] = rng.uniform(90, 200)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


offsets = st.tuples(st.floats(-12, 12), st.floats(-12, 12))


@given(offsets)
@settings(max_examples=8)
def test_from_probabilities_to_a_part_of_a_pixel(offset_m):
    roads = town()
    seen = rasterize_roads(shift(roads, *offset_m), GRID)
    rng = np.random.default_rng(1)
    soft = cv2.GaussianBlur(seen.astype(np.float32) / 255, (0, 0), 3) * 0.8 + rng.normal(0.1, 0.1, seen.shape)
    probability = np.clip(soft, 0, 1).astype(np.float32)
    found = estimate_offset(probability, rasterize_roads(roads, GRID), 0.5)
    assert np.hypot(found.dx_m - offset_m[0], found.dy_m - offset_m[1]) < 0.5  # one pixel
    assert found.confidence > 0.9


@given(offsets)
@settings(max_examples=4)
def test_from_an_image(offset_m):
    roads = town()
    image = picture(rasterize_roads(shift(roads, *offset_m), GRID))
    found = estimate_offset(image, rasterize_roads(roads, GRID), 0.5)
    assert np.hypot(found.dx_m - offset_m[0], found.dy_m - offset_m[1]) < 1.0
    assert found.confidence > 0.8


def test_the_sample_town():
    scene = ROOT / "data/demo/images/town.tif"
    if not scene.is_file():
        pytest.skip("the sample is not there; `python -m lib.sample.places data/demo` writes it")
    import rasterio

    from lib.osm.layers import read_osm
    from lib.sample.places import TRUE_OFFSETS_M

    grid = read_grid(scene)
    window = (grid.width // 4, grid.height // 4, 1536, 1536)
    with rasterio.open(scene) as raster:
        col, row, width, height = window
        image = np.moveaxis(raster.read([1, 2, 3], window=((row, row + height), (col, col + width))), 0, -1)
    roads = read_osm(scene.parents[1] / "vectors/town_osm.gpkg").roads
    found = estimate_offset(image, draw_roads(index_roads(roads, grid), window), grid.gsd_m)
    # the offset brings the vectors back, whereas TRUE_OFFSETS_M took them away
    dx_m, dy_m = TRUE_OFFSETS_M["town"]
    assert np.hypot(found.dx_m + dx_m, found.dy_m + dy_m) < grid.gsd_m  # one pixel
    assert found.confidence > 0.8


@pytest.mark.parametrize("name", ["helsinki", "town"])
def test_the_sample_from_probabilities(name):
    """What a stage-1 model would predict: the true roads, blurred, with noise, and some of them missing."""
    from lib.sample.degraded import Degradation
    from lib.sample.places import PLACES, TRUE_OFFSETS_M, place_vectors, truth_layers

    vectors, (mapped, _) = place_vectors(name, 0, Degradation())
    grid = PLACES[name].grid()
    grid = grid.resampled(grid.width // 2, grid.height // 2)  # the chips' 1 m, which a model sees
    roads, _ = truth_layers(vectors)
    seen = roads[np.random.default_rng(0).random(len(roads)) > 0.2]
    soft = cv2.GaussianBlur(rasterize_roads(seen, grid).astype(np.float32) / 255, (0, 0), 1.5) * 0.8
    noise = np.random.default_rng(1).normal(0.1, 0.1, soft.shape)
    probability = np.clip(soft + noise, 0, 1).astype(np.float32)
    found = estimate_offset(probability, rasterize_roads(mapped, grid), grid.gsd_m)
    dx_m, dy_m = TRUE_OFFSETS_M[name]
    assert np.hypot(found.dx_m + dx_m, found.dy_m + dy_m) < grid.gsd_m  # one pixel
    assert found.confidence > 0.8


def test_finer_images_are_no_other_metres():
    roads = town()
    fine = Grid((0.25, 0.0, 500000.0, 0.0, -0.25, 6700000.0), "EPSG:32635", 1200, 1200)
    image = cv2.resize(picture(rasterize_roads(shift(roads, 4.0, -3.0), GRID)), (1200, 1200))
    found = estimate_offset(image, rasterize_roads(roads, fine), 0.25)
    assert (found.dx_m, found.dy_m) == pytest.approx((4.0, -3.0), abs=0.5)


def test_nothing_to_go_by_is_no_confidence():
    mask = rasterize_roads(town(), GRID)
    grey = np.full((600, 600, 3), 90, dtype=np.uint8)
    assert estimate_offset(grey, mask, 0.5).confidence == 0
    assert estimate_offset(picture(mask), np.zeros_like(mask), 0.5).confidence == 0
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3)).astype(np.uint8)
    assert estimate_offset(noise, mask, 0.5).confidence < 0.5
    dot = estimate_offset(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), 0.5)
    assert (dot.dx_m, dot.dy_m, dot.confidence) == (0, 0, 0)


def test_parallel_roads_leave_their_direction_open():
    shapes = [shapely.LineString([(499900, y), (500500, y)]) for y in (6699750, 6699840, 6699960)]
    roads = gpd.GeoDataFrame({"highway": ["residential"] * len(shapes)}, geometry=shapes, crs="EPSG:32635")
    probability = (rasterize_roads(shift(roads, 6.0, 4.0), GRID) / 255).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.2, probability.shape).astype(np.float32)
    found = estimate_offset(probability + noise, rasterize_roads(roads, GRID), 0.5)
    assert found.dy_m == pytest.approx(4.0, abs=0.5)
    assert found.confidence < 0.5


def test_no_data_has_no_say():
    roads = town()
    image = picture(rasterize_roads(shift(roads, 5.0, -6.0), GRID))
    image[:, 400:] = 255
    found = estimate_offset(image, rasterize_roads(roads, GRID), 0.5)
    assert (found.dx_m, found.dy_m) == pytest.approx((5.0, -6.0), abs=1.0)


@pytest.mark.parametrize("crs", [LONLAT, "EPSG:3857", "EPSG:32635"])
def test_shift_moves_metres_on_the_ground(crs):
    from pyproj import Geod

    frame = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(24.94, 60.17)], crs=LONLAT).to_crs(crs)
    moved = shift(frame, 30.0, -40.0)
    points = [project(np.array(f.geometry.iloc[0].coords), crs, LONLAT)[0] for f in (frame, moved)]
    azimuth_deg, _, distance_m = Geod(ellps="WGS84").inv(*points[0], *points[1])
    assert distance_m == pytest.approx(50.0, rel=1e-4)
    assert azimuth_deg == pytest.approx(np.degrees(np.arctan2(30, -40)), abs=0.01)
    back = shift(moved, -30.0, 40.0)
    assert back.geometry.iloc[0].distance(frame.geometry.iloc[0]) < 1e-3
    assert frame.geometry.iloc[0] != moved.geometry.iloc[0]


def test_what_is_refused():
    mask = np.zeros((5, 5), np.uint8)
    with pytest.raises(ParameterError, match="differ in size"):
        estimate_offset(np.zeros((4, 5, 3), np.uint8), mask, 0.5)
    with pytest.raises(ParameterError, match="max_offset_m"):
        estimate_offset(np.zeros((5, 5, 3), np.uint8), mask, 20.0)
    with pytest.raises(InputError, match="state no CRS"):
        shift(gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)]), 1.0, 1.0)
    assert shift(gpd.GeoDataFrame(geometry=[], crs=LONLAT), 1.0, 1.0).empty
