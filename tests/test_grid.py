import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, WEB_MERCATOR, Grid, crs_text, local_gsd_m, oblongness, project, tile_grid
from lib.paths import ROOT

UTM = "EPSG:32635"
NORTH_UP = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6673300.0), UTM, 400, 300)


transforms = st.tuples(
    st.floats(0.01, 10),
    st.floats(0, 2 * math.pi),
    st.floats(-1e7, 1e7),
    st.floats(-1e7, 1e7),
).map(
    lambda v: (v[0] * math.cos(v[1]), v[0] * math.sin(v[1]), v[2], v[0] * math.sin(v[1]), -v[0] * math.cos(v[1]), v[3])
)


@given(transforms, st.floats(-5000, 5000), st.floats(-5000, 5000))
@settings(max_examples=60)
def test_pixel_to_world_and_back_also_when_rotated(transform, x, y):
    grid = Grid(transform, UTM, 10, 10)
    assert grid.world_to_pixel(grid.pixel_to_world([[x, y]])) == pytest.approx(np.array([[x, y]]), abs=1e-5)


def test_pixel_convention_is_rasterios():
    affine = Affine(*NORTH_UP.transform)
    assert tuple(NORTH_UP.pixel_to_world(np.array([[0.5, 0.5]]))[0]) == affine @ (0.5, 0.5)
    assert NORTH_UP.bounds == (385500.0, 6673150.0, 385700.0, 6673300.0)


def test_window_and_resampled_keep_the_ground():
    window = NORTH_UP.window(40, -20, 100, 50)
    assert np.allclose(window.pixel_to_world(np.zeros((1, 2))), NORTH_UP.pixel_to_world(np.array([[40.0, -20.0]])))
    coarse = NORTH_UP.resampled(100, 75)
    assert coarse.bounds == NORTH_UP.bounds
    assert coarse.gsd_m == pytest.approx(2.0)


def test_gsd_of_a_national_projection_is_the_one_stated():
    assert NORTH_UP.gsd_m == 0.5
    feet = Grid((1.0, 0.0, 6_600_000.0, 0.0, -1.0, 1_900_000.0), "EPSG:2229", 10, 10)  # California, US survey feet
    assert feet.gsd_m == pytest.approx(0.3048, rel=1e-3)


@pytest.mark.parametrize("latitude", [0.0, 37.0, -45.0, 60.2, 72.0])
def test_gsd_in_mercator_and_degrees_is_true_metres_at_the_latitude(latitude):
    x, y = project(np.array([[10.0, latitude]]), LONLAT, WEB_MERCATOR)[0]
    # radii of curvature of the WGS 84 ellipsoid at the latitude
    e2, a = 0.0066943799901413165, 6378137.0
    sin2 = math.sin(math.radians(latitude)) ** 2
    east, north = a / math.sqrt(1 - e2 * sin2), a * (1 - e2) / (1 - e2 * sin2) ** 1.5
    cos = math.cos(math.radians(latitude))
    degrees = Grid((1e-5, 0.0, 10.0, 0.0, -1e-5, latitude), LONLAT, 2, 2)
    expected = math.radians(1e-5) * math.sqrt(east * cos * north)
    assert degrees.gsd_m == pytest.approx(expected, rel=1e-5)
    mercator = Grid((0.6, 0.0, x, 0.0, -0.6, y), WEB_MERCATOR, 2, 2)
    assert mercator.gsd_m == pytest.approx(0.6 * cos * math.sqrt(east * north) / a, rel=1e-5)


@pytest.mark.parametrize(("crs", "scale"), [("EPSG:3413", 0.9699), ("EPSG:3031", 0.9728)])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_pixels_at_a_pole_are_squares(crs, scale, turn):
    cos, sin = math.cos(turn), math.sin(turn)
    grid = Grid((cos, sin, -10 * (cos + sin), sin, -cos, 10 * (cos - sin)), crs, 20, 20)
    assert grid.gsd_m == pytest.approx(1 / scale, rel=1e-3) and grid.pixel_size_m == (grid.gsd_m, grid.gsd_m)
    assert oblongness(grid) == pytest.approx(1, abs=1e-4)
    assert local_gsd_m(grid, np.array([[0, 0], [10.5, 10], [20, 20]])) == pytest.approx(grid.gsd_m, rel=1e-6)


def test_gsd_does_not_depend_on_rotation_or_axis_order():
    turned = Grid((0.3, 0.4, 385500.0, 0.4, -0.3, 6673300.0), UTM, 20, 20)
    assert turned.gsd_m == pytest.approx(0.5)
    # EPSG:4326 declares latitude first; coordinates here are longitude first all the same
    degrees = Grid((1e-5, 0.0, 10.0, 0.0, -1e-5, 60.0), LONLAT, 1, 1)
    assert degrees.footprint_wkt().startswith("POLYGON ((10.00000000 60.00000000,")


def test_without_crs_the_pixel_size_must_be_given():
    grid = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 5, 5)
    assert grid.footprint_wkt() == ""
    with pytest.raises(InputError, match="give gsd_m"):
        _ = grid.gsd_m


def test_footprint_is_longitude_latitude():
    import shapely

    box = shapely.from_wkt(NORTH_UP.footprint_wkt()).bounds
    assert 24.9 < box[0] < box[2] < 25.0
    assert 60.1 < box[1] < box[3] < 60.2


def test_slippy_tiles_cover_the_world():
    assert tile_grid(0, 0, 0).bounds == pytest.approx((-20037508.342789244,) * 2 + (20037508.342789244,) * 2)
    # the tile of 0 E, 0 N is the first of the south-east quarter
    assert tile_grid(2**18, 2**18, 19).transform[2::3] == (0.0, 0.0)
    assert tile_grid(5, 6, 7, size_px=512).bounds == pytest.approx(tile_grid(5, 6, 7).bounds)
    with pytest.raises(ParameterError, match="Zoom 2"):
        tile_grid(4, 0, 2)


def test_impossible_grids_are_refused():
    with pytest.raises(InputError, match="six finite numbers"):
        Grid((1.0, 0.0, math.nan, 0.0, 1.0, 0.0), UTM, 5, 5)
    with pytest.raises(InputError, match="squeezes"):
        Grid((1.0, 2.0, 0.0, 2.0, 4.0, 0.0), UTM, 5, 5)
    with pytest.raises(InputError, match="at least 1 x 1"):
        Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), UTM, 0, 5)
    with pytest.raises(InputError, match="EPSG:32635"):
        _ = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "EPSG:none", 5, 5).gsd_m


def test_a_crs_may_be_the_number_of_its_code():
    assert crs_text(32635) == crs_text("EPSG:32635") == "EPSG:32635"


def test_importing_the_grid_imports_no_gis_package():
    import subprocess
    import sys

    code = "import sys, lib.grid; print(sorted({'rasterio', 'pyproj', 'shapely', 'geopandas'} & set(sys.modules)))"
    root = ROOT
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"
