"""A chip's pixel is gsd_m on both sides, whatever the file's pixels are: a road is as wide at every bearing."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.transform import Affine

from lib.chips.imagery import read_scene
from lib.chips.sources import find_scenes
from lib.errors import InputError
from lib.grid import LONLAT, project
from lib.masks.rasterize import rasterize_roads

SOURCE = {"images": "*.tif", "osm": "osm.gpkg"}
ROAD_M, GSD_M, RADIUS_PX = 12.0, 0.25, 160
GEOD = Geod(ellps="WGS84")


def write(path, transform, crs, size=(400, 400), pixels=None):
    profile = {"driver": "GTiff", "width": size[0], "height": size[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=Affine(*transform), **profile, sparse_ok=True) as file:
        if pixels is not None:
            file.write(pixels, 1)
    return path


def scene_of(folder, transform, crs, size=(400, 400), gsd_m=GSD_M):
    write(folder / "scene.tif", transform, crs, size)
    (scene,) = find_scenes(SOURCE, folder, gsd_m)
    return scene


def width_m(grid, bearing_deg):
    """Width of a road of ROAD_M through the middle of a grid, from the pixels that it fills within a disc there."""
    middle = grid.pixel_to_world(np.array([[grid.width / 2, grid.height / 2]]))
    lon, lat = project(middle, grid.crs, LONLAT)[0]
    ends = [GEOD.fwd(lon, lat, bearing_deg + turn, 400)[:2] for turn in (0, 180)]
    road = gpd.GeoDataFrame(
        {"highway": ["residential"], "width": [str(ROAD_M)]},
        geometry=[shapely.LineString([ends[0], (lon, lat), ends[1]])],
        crs=LONLAT,
    )
    mask = rasterize_roads(road, grid) == 255
    y, x = np.mgrid[: grid.height, : grid.width] + 0.5
    near = np.hypot(x - grid.width / 2, y - grid.height / 2) < RADIUS_PX
    return (mask & near).sum() / (2 * RADIUS_PX) * GSD_M


@given(latitude=st.floats(-78, 78), bearing=st.floats(0, 180), oblong=st.floats(0.5, 2))
@settings(max_examples=40)
def test_a_road_over_imagery_in_degrees_is_as_wide_at_every_bearing(tmp_path_factory, latitude, bearing, oblong):
    side = 4.5e-6  # half a metre of latitude
    width = side * oblong / np.cos(np.radians(latitude))
    transform = (width, 0, 24.9, 0, -side, latitude)
    grid = scene_of(tmp_path_factory.mktemp("degrees"), transform, LONLAT).grid
    assert grid.pixel_size_m == pytest.approx((GSD_M, GSD_M), rel=0.01)
    assert width_m(grid, bearing) == pytest.approx(ROAD_M, abs=0.35)


@pytest.mark.parametrize("bearing", [0, 30, 45, 90, 135])
@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        ((0.5, 0, 385_000.0, 0, -1.0, 6_671_000.0), "EPSG:32635"),  # oblong
        ((0.4, 0.6, 385_000.0, 0.3, -0.8, 6_671_000.0), "EPSG:32635"),  # oblong and turned
        ((0.5, 0, 385_000.0, 0, 0.5, 6_671_000.0), "EPSG:32635"),  # the south is up
        ((0.5, 0, 2_776_000.0, 0, -0.5, 6_694_000.0), "EPSG:32662"),  # metres that are degrees: Plate Carrée
        ((1.0, 0, 2_776_000.0, 0, -1.0, 8_437_000.0), "EPSG:3857"),
        ((1.6, 0, 6_600_000.0, 0, -1.6, 1_900_000.0), "EPSG:2229"),  # feet
    ],
)
def test_other_grids(tmp_path, transform, crs, bearing):
    grid = scene_of(tmp_path, transform, crs, (600, 600)).grid
    assert width_m(grid, bearing) == pytest.approx(ROAD_M, abs=0.35)


@pytest.mark.parametrize("gsd_m", [0.25, 0.7, 2.0])
def test_square_pixels_are_resampled_as_a_whole(tmp_path, gsd_m):
    scene = scene_of(tmp_path, (0.5, 0, 385_000.0, 0, -0.5, 6_671_000.0), "EPSG:32635", (401, 333), gsd_m)
    assert (scene.grid.width, scene.grid.height) == (round(401 * 0.5 / gsd_m), round(333 * 0.5 / gsd_m))
    assert scene.own_px == scene.size_px == (401, 333)


def test_web_mercator_tiles_on_the_equator_are_squares_too(tmp_path):
    """Spherical formulas on an ellipsoid: 0.7 % between the sides, which no road shows."""
    grid = scene_of(tmp_path, (0.5, 0, 3_600_000.0, 0, -0.5, 20_000.0), "EPSG:3857", (256, 256), 0.5).grid
    assert grid.width == grid.height == 255


def test_the_image_lies_under_its_mask(tmp_path):
    """A bright road of 12 m east-west, and one north-south, in pixels of 0.28 x 0.56 m: chips show squares."""
    pixels = np.full((1, 400, 400), 50, np.uint8)
    pixels[0, 189:211] = 200  # 22 rows of 0.557 m
    pixels[0, :, 178:222] = 200  # 44 columns of 0.278 m
    write(tmp_path / "scene.tif", (5e-6, 0, 24.94, 0, -5e-6, 60.17), LONLAT, pixels=pixels[0])
    (scene,) = find_scenes(SOURCE, tmp_path, 0.5)
    image, _ = read_scene(scene, (0, 0, scene.grid.width, scene.grid.height))
    assert (image[10, :, 0] > 125).sum() * 0.5 == pytest.approx(12.2, abs=0.6)
    assert (image[:, 10, 0] > 125).sum() * 0.5 == pytest.approx(12.3, abs=0.6)
    assert scene.own_px == pytest.approx((400, 800), rel=0.01)  # the finer side of the file's pixels decides


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        ((4e-6, 3e-6, 24.94, 3e-6, -4e-6, 60.17), LONLAT),  # turned in degrees: rhombi on the ground
        ((0.5, 0, 1_200_000.0, 0, -0.5, 6_671_000.0), "ESRI:54008"),  # sinusoidal
        ((0.5, 0.4, 385_000.0, 0, -0.5, 6_671_000.0), "EPSG:32635"),  # slanted
    ],
)
def test_what_no_scale_makes_square_is_refused_with_the_command_to_run(tmp_path, transform, crs):
    with pytest.raises(InputError, match=r"scene\.tif: .*times as long as wide.*gdalwarp -t_srs EPSG:326\d\d "):
        scene_of(tmp_path, transform, crs)
