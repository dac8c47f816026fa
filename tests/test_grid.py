import math
import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, WEB_MERCATOR, Grid, project, read_grid, tile_grid
from lib.paths import ROOT

UTM = "EPSG:32635"
NORTH_UP = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6673300.0), UTM, 400, 300)


def write_image(path, transform=None, crs=None, size=(12, 10), driver=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        options = {"transform": transform} if transform else {}
        with rasterio.open(
            path, "w", width=size[0], height=size[1], count=3, dtype="uint8", crs=crs, driver=driver, **options
        ) as raster:
            raster.write(np.zeros((3, size[1], size[0]), dtype=np.uint8))
    return path


transforms = st.tuples(
    st.floats(0.01, 10),
    st.floats(0, 2 * math.pi),
    st.floats(-1e7, 1e7),
    st.floats(-1e7, 1e7),
).map(
    lambda v: (v[0] * math.cos(v[1]), v[0] * math.sin(v[1]), v[2], v[0] * math.sin(v[1]), -v[0] * math.cos(v[1]), v[3])
)


@given(transforms, st.floats(-5000, 5000), st.floats(-5000, 5000))
@settings(max_examples=60, deadline=None, derandomize=True)
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


@pytest.mark.parametrize("name", ["OAM-1238424-1046544-21.png", "1238424-1046544-21.png", "21/1238424/1046544.png"])
def test_tile_names(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert read_grid(write_image(path, size=(256, 256))) == tile_grid(1238424, 1046544, 21)


def test_a_tile_must_be_square(tmp_path):
    with pytest.raises(InputError, match="square"):
        read_grid(write_image(tmp_path / "1-1-2.png", size=(256, 128)))


def test_geotiff(tmp_path):
    path = write_image(tmp_path / "scene.tif", Affine(*NORTH_UP.transform), UTM)
    assert read_grid(path) == Grid(NORTH_UP.transform, UTM, 12, 10)


@pytest.mark.parametrize(
    ("image", "world_file"),
    [("a.png", "a.pgw"), ("a.jpg", "a.jgw"), ("a.tif", "a.tfw"), ("a.png", "a.wld"), ("a.jpeg", "a.jpegw")],
)
def test_world_files_place_the_centre_of_the_first_pixel(tmp_path, image, world_file):
    path = write_image(tmp_path / image)
    (tmp_path / world_file).write_text("0.5\n0.1\n0.2\n-0.5\n1000.35\n2000.0\n")
    grid = read_grid(path, crs=UTM)
    assert np.allclose(grid.transform, (0.5, 0.2, 1000.0, 0.1, -0.5, 2000.2))
    assert np.allclose(grid.pixel_to_world([[0.5, 0.5]]), [[1000.35, 2000.0]])


def test_a_world_file_takes_its_crs_from_a_prj_beside_it(tmp_path):
    from pyproj import CRS

    path = write_image(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.5 0 0 -0.5 385500 6673300")
    with pytest.raises(InputError, match="a.png: expected a CRS"):
        read_grid(path)
    (tmp_path / "a.prj").write_text(CRS.from_user_input(UTM).to_wkt("WKT1_ESRI"))
    assert read_grid(path).crs == UTM


def test_errors_name_the_file(tmp_path):
    with pytest.raises(InputError, match="nothing.tif: no such image"):
        read_grid(tmp_path / "nothing.tif")
    (tmp_path / "text.tif").write_text("this is no image")
    with pytest.raises(InputError, match="text.tif: expected an image"):
        read_grid(tmp_path / "text.tif")
    plain = write_image(tmp_path / "plain.png")
    with pytest.raises(InputError, match="plain.png: expected a georeference"):
        read_grid(plain)
    assert read_grid(plain, require_crs=False) == Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 12, 10)
    located = write_image(tmp_path / "located.tif", Affine(*NORTH_UP.transform))
    with pytest.raises(InputError, match="located.tif: expected a CRS"):
        read_grid(located)
    (tmp_path / "plain.pgw").write_text("0.5 0 0")
    with pytest.raises(InputError, match="plain.pgw: expected six numbers"):
        read_grid(plain)


def test_impossible_grids_are_refused():
    with pytest.raises(InputError, match="six finite numbers"):
        Grid((1.0, 0.0, math.nan, 0.0, 1.0, 0.0), UTM, 5, 5)
    with pytest.raises(InputError, match="squeezes"):
        Grid((1.0, 2.0, 0.0, 2.0, 4.0, 0.0), UTM, 5, 5)
    with pytest.raises(InputError, match="at least 1 x 1"):
        Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), UTM, 0, 5)
    with pytest.raises(InputError, match="EPSG:32635"):
        _ = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "EPSG:none", 5, 5).gsd_m


def test_one_pixel_image(tmp_path):
    grid = read_grid(write_image(tmp_path / "dot.tif", Affine(*NORTH_UP.transform), UTM, size=(1, 1)))
    assert (grid.width, grid.height, grid.gsd_m) == (1, 1, 0.5)


def test_importing_the_grid_imports_no_gis_package():
    import subprocess
    import sys

    code = "import sys, lib.grid; print(sorted({'rasterio', 'pyproj', 'shapely', 'geopandas'} & set(sys.modules)))"
    root = ROOT
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"
