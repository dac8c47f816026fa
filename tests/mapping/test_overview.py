"""A map on one page: small pictures on one grid, whatever the images' frames."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import Resampling, reproject

from lib.errors import InputError
from lib.grid import Grid, project
from lib.mapping.geopackage import add_layers
from lib.mapping.overview import read_overview

SIDE = 400
UTM = Grid((0.5, 0, 385_000, 0, -0.5, 6_672_000), "EPSG:32635", SIDE, SIDE)
PIXELS = Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE)


def write(path, grid: Grid, bands: np.ndarray, seen: np.ndarray | None = None) -> None:
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint8", "crs": grid.crs}
    if grid.crs is not None:
        profile["transform"] = rasterio.Affine(*grid.transform)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(bands)
        if seen is not None:
            file.write_mask(seen)


def scene() -> np.ndarray:
    """Red in the west, green in the east; a blue square in the north-west corner."""
    bands = np.zeros((3, SIDE, SIDE), np.uint8)
    bands[0, :, :200], bands[1, :, 200:] = 200, 200
    bands[:, :80, :80] = np.array([0, 0, 200])[:, None, None]
    return bands


def make(folder, grid: Grid) -> None:
    probability, seen = np.full((1, SIDE, SIDE), 204, np.uint8), np.full((SIDE, SIDE), 255, np.uint8)
    seen[:, 300:] = 0
    write(folder / "probability.tif", grid, probability, seen)
    line = shapely.LineString(grid.pixel_to_world(np.array([[10.0, 10], [300, 300]])))
    roads = gpd.GeoDataFrame({"confidence_class": ["sure"]}, geometry=[line], crs=grid.crs)
    add_layers(folder / "map.gpkg", {"roads": roads})


def check(image: np.ndarray) -> None:
    for x, y, band in ((20, 20, 2), (60, 150, 0), (150, 100, 1)):
        assert np.argmax(image[y, x]) == band and image[y, x].max() > 150, (x, y)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("grid", [UTM, PIXELS], ids=["utm", "pixels"])
def test_an_overview_is_small_and_all_on_one_grid(grid, tmp_path):
    make(tmp_path, grid)
    write(tmp_path / "scene.tif", grid, scene())
    found = read_overview(tmp_path, [tmp_path / "scene.tif"], side_px=200)
    assert (found.grid.width, found.grid.height) == (200, 200) and found.grid.bounds == pytest.approx(grid.bounds)
    check(found.image)
    assert found.probability[100, 100] == pytest.approx(0.8) and np.isnan(found.probability[100, 180])
    assert list(found.layers) == ["roads"] and len(found.layers["roads"]) == 1


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_north_is_up_however_the_file_lies(tmp_path, quarters, is_mirrored):
    def turned(bands: np.ndarray) -> np.ndarray:
        return np.rot90(bands[:, :, ::-1] if is_mirrored else bands, quarters, (1, 2))

    upright, bands = Grid(UTM.transform, UTM.crs, SIDE, 320), scene()[:, :320]
    width, height = turned(bands).shape[:0:-1]
    corners = turned(np.stack(np.meshgrid([0, SIDE], [0, 320]))).transpose(1, 2, 0)  # (2, 2) x, y of `upright`
    origin, across, down = upright.pixel_to_world(np.stack([corners[0, 0], corners[0, 1], corners[1, 0]]))
    (a, d), (b, e) = (across - origin) / width, (down - origin) / height
    lying = Grid((a, b, origin[0], d, e, origin[1]), UTM.crs, width, height)
    seen = np.where(np.arange(SIDE) < 300, 255, 0).astype(np.uint8)[None, None].repeat(320, axis=1)
    make(tmp_path, lying)
    write(tmp_path / "probability.tif", lying, turned(np.where(bands[2:] > 0, 204, 51)), turned(seen)[0])
    write(tmp_path / "scene.tif", lying, turned(bands))
    found = read_overview(tmp_path, [tmp_path / "scene.tif"], side_px=200)
    assert found.grid.transform == pytest.approx(upright.resampled(200, 160).transform)
    check(found.image)
    assert found.probability.shape == (160, 200) and np.isnan(found.probability[20, 180])
    assert found.probability[20, 20] == pytest.approx(0.8) and found.probability[150, 60] == pytest.approx(0.2)


def test_images_of_another_frame_come_to_the_maps_and_leave_the_rest_white(tmp_path):
    make(tmp_path, UTM)
    corners = np.array([[0.0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]])
    xy = project(UTM.pixel_to_world(corners), UTM.crs, "EPSG:4326")
    (left, bottom), (right, top) = xy.min(axis=0), xy.max(axis=0)
    lonlat = Grid(((right - left) / 500, 0, left, 0, (bottom - top) / 400, top), "EPSG:4326", 500, 400)
    warped = np.zeros((3, 400, 500), np.uint8)
    reproject(
        scene(),
        warped,
        src_transform=rasterio.Affine(*UTM.transform),
        src_crs=UTM.crs,
        dst_transform=rasterio.Affine(*lonlat.transform),
        dst_crs=lonlat.crs,
        resampling=Resampling.nearest,
    )
    write(tmp_path / "scene.tif", lonlat, warped)
    check(read_overview(tmp_path, [tmp_path / "scene.tif"], side_px=200).image)
    # half of the ground only
    half = Grid(UTM.transform, UTM.crs, 200, SIDE)
    write(tmp_path / "half.tif", half, scene()[:, :, :200])
    image = read_overview(tmp_path, [tmp_path / "half.tif"], side_px=200).image
    assert np.argmax(image[150, 60]) == 0 and (image[150, 150] == 255).all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_an_image_that_has_no_place_in_the_map_is_named(tmp_path):
    make(tmp_path, UTM)
    write(tmp_path / "scene.tif", PIXELS, scene())
    with pytest.raises(InputError, match="scene.tif: .*the image has no CRS, the map has one"):
        read_overview(tmp_path, [tmp_path / "scene.tif"])
