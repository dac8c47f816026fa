"""Scenes under one grid: what any window of the map shows of them."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError
from lib.mapping.ground import open_ground
from lib.mapping.options import MapOptions
from lib.mapping.scenes import open_scenes


@pytest.fixture
def ground(red, tmp_path):
    def make(*images, area="", gsd_m=0.5, **options):
        scenes = open_scenes(images, red(gsd_m=gsd_m).info, MapOptions(**options), tmp_path, say=lambda line: None)
        return open_ground(scenes, area)

    return make


def whole(ground):
    return ground.read((0, 0, ground.grid.width, ground.grid.height))


def test_the_first_scene_is_shown_and_the_grid_grows_to_all(tmp_path, ground, write_scene, smooth):
    one, two = smooth(60, 80), smooth(60, 80, 1)
    first = write_scene(tmp_path / "a.tif", one)
    second = write_scene(tmp_path / "b.tif", two, shift_m=(-10, 15))  # 20 px west, 30 px south
    found = ground(first, second)
    assert (found.grid.width, found.grid.height) == (100, 90)
    assert found.grid.transform == (0.5, 0, 499_990, 0, -0.5, 6_700_000)
    image, seen = whole(found)
    np.testing.assert_array_equal(image[:60, 20:], np.moveaxis(one, 0, -1))
    np.testing.assert_array_equal(image[60:, :80], np.moveaxis(two[:, 30:], 0, -1))
    assert seen.sum() == 2 * 60 * 80 - 30 * 60
    assert not seen[0, 0] and not image[0, 0].any()


@settings(max_examples=15)
@given(
    shift_px=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    side=st.sampled_from([40, 64]),
    col=st.integers(0, 60),
    row=st.integers(0, 60),
)
def test_scenes_that_touch_leave_no_gap_wherever_their_pixels_lie(
    tmp_path_factory, red, write_scene, smooth, shift_px, side, col, row
):
    """A picture of 128 px is cut along row 50: the lower scene lies a part of a pixel off the upper one's grid."""
    folder, image = tmp_path_factory.mktemp("touch"), smooth(128, 128)
    upper = write_scene(folder / "a.tif", image[:, :50])
    east_px, south_px = shift_px
    lower = write_scene(folder / "b.tif", image[:, 50:], shift_m=(east_px * 0.5, 25 - south_px * 0.5))
    info = red().info
    scenes = open_scenes([upper, lower], info, MapOptions(), folder, say=lambda line: None)
    found = open_ground(scenes)
    part, seen = found.read((col, row, side, side))
    assert seen[:, 1:][:, : 126 - col].all(), "no gap at row 50"
    shown, _ = whole(found)
    np.testing.assert_array_equal(part[seen], shown[row : row + side, col : col + side][seen], "whatever the window")
    rows, columns = slice(0, 126), slice(1, 126)
    assert np.abs(shown[rows, columns].astype(int) - np.moveaxis(image, 0, -1)[rows, columns]).max() <= 20  # <= 1 px


def test_a_finer_scene_is_resampled_alike_in_every_window(tmp_path, ground, write_scene, smooth):
    found = ground(write_scene(tmp_path / "a.tif", smooth(400, 400), gsd_m=0.3))
    assert (found.grid.width, found.grid.gsd_m) == (240, 0.5)
    shown, seen = whole(found)
    assert seen.all()
    for window in ((0, 0, 64, 64), (37, 101, 64, 64), (176, 176, 64, 64)):
        part, _ = found.read(window)
        col, row, *_ = window
        assert np.abs(part.astype(int) - shown[row : row + 64, col : col + 64]).max() <= 1


@pytest.mark.parametrize("crs", ["EPSG:32634", "EPSG:3857", "EPSG:4326"])
def test_a_scene_in_another_crs_lies_where_gdal_lays_it(tmp_path, ground, write_scene, smooth, crs):
    image = smooth(300, 300)
    left, top = 500_000, 6_700_000
    source = {"src_transform": rasterio.Affine(0.5, 0, left, 0, -0.5, top), "src_crs": "EPSG:32635"}
    transform, width, height = rasterio.warp.calculate_default_transform(
        "EPSG:32635", crs, 300, 300, left, top - 150, left + 150, top
    )
    if crs == "EPSG:4326":  # squares on the ground
        transform, width = transform @ rasterio.Affine.scale(2.05, 1), int(width / 2.05)
    warped = np.zeros((3, height, width), np.uint8)
    rasterio.warp.reproject(image, warped, dst_transform=transform, dst_crs=crs, resampling=1, **source)
    anchor = write_scene(tmp_path / "a.tif", image[:, :40, :40])
    other = write_scene(tmp_path / "b.tif", warped, crs=crs, transform=transform, nodata=0)
    found = ground(anchor, other)
    col, row = (round(n) for n in found.grid.world_to_pixel(np.array([[left, top]]))[0])
    shown, seen = found.read((col + 60, row + 60, 180, 180))
    assert seen.all()
    expected = np.moveaxis(image, 0, -1)[60:240, 60:240].astype(int)
    assert np.abs(shown - expected).mean() < 2.5 and np.abs(shown - expected).max() < 25


def test_a_turned_scene_keeps_its_own_grid(tmp_path, ground, write_scene, smooth):
    image = smooth(80, 120)
    turned = (
        rasterio.Affine.translation(500_000, 6_700_000)
        @ rasterio.Affine.rotation(30)
        @ rasterio.Affine.scale(0.5, -0.5)
    )
    found = ground(write_scene(tmp_path / "a.tif", image, transform=turned))
    shown, seen = whole(found)
    assert seen.all() and found.grid.transform == pytest.approx(turned[:6])
    np.testing.assert_array_equal(shown, np.moveaxis(image, 0, -1))


def test_the_map_keeps_to_an_area_and_the_network_sees_around_it(tmp_path, ground, write_scene, smooth):
    scene = write_scene(tmp_path / "a.tif", smooth(200, 200))
    left, top = 500_000, 6_700_000
    triangle = shapely.Polygon([(left + 20, top - 20), (left + 80, top - 20), (left + 20, top - 80)])
    path = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[triangle], crs="EPSG:32635").to_crs(3857).to_file(path)
    found = ground(scene, area=str(path))
    assert abs(found.grid.width - 120) <= 2 and abs(found.grid.height - 120) <= 2
    shown, seen = whole(found)
    assert seen.sum() == pytest.approx(120 * 120 / 2, rel=0.02)
    assert shown[~seen].any(), "image, though not mapped"
    elsewhere = gpd.GeoDataFrame(geometry=[shapely.box(left + 500, top, left + 600, top + 50)], crs="EPSG:32635")
    elsewhere.to_file(tmp_path / "else.gpkg")
    with pytest.raises(InputError, match="lies elsewhere than the images"):
        ground(scene, area=str(tmp_path / "else.gpkg"))
    with pytest.raises(InputError, match=r"none\.gpkg"):
        ground(scene, area=str(tmp_path / "none.gpkg"))


@pytest.mark.parametrize("degrees", [(-180, -90, 180, 90), (-180, 0, 180, 90)], ids=["world", "north"])
@pytest.mark.parametrize(
    ("crs", "left", "top"),
    [
        ("EPSG:32635", 500_000, 6_700_000),
        ("EPSG:3035", 4_321_000, 3_210_000),
        ("EPSG:2154", 652_000, 6_862_000),
        ("EPSG:26986", 236_000, 900_000),
        ("EPSG:32601", 171_070, 1_106_900),  # over the antimeridian
        ("EPSG:3857", 20_037_500, 50_000),
    ],
)
def test_an_area_far_larger_than_the_images_holds_them(tmp_path, ground, write_scene, smooth, degrees, crs, left, top):
    transform = rasterio.Affine(1, 0, left, 0, -1, top)
    scene = write_scene(tmp_path / "a.tif", smooth(64, 64), crs=crs, transform=transform)
    gpd.GeoDataFrame(geometry=[shapely.box(*degrees)], crs="EPSG:4326").to_file(tmp_path / "area.gpkg")
    found = ground(scene, area=str(tmp_path / "area.gpkg"), gsd_m=1)
    assert (found.grid.width, found.grid.height) == (64, 64) and whole(found)[1].all()


def test_an_area_drawn_with_crossing_sides_is_mapped(tmp_path, ground, write_scene, smooth):
    scene = write_scene(tmp_path / "a.tif", smooth(100, 100))  # 50 m
    east, north = 500_000, 6_700_000
    bow = [(east + 5, north - 5), (east + 45, north - 45), (east + 45, north - 5), (east + 5, north - 45)]
    gpd.GeoDataFrame(geometry=[shapely.Polygon(bow)], crs="EPSG:32635").to_file(tmp_path / "area.gpkg")
    found = ground(scene, area=str(tmp_path / "area.gpkg"))
    assert found.grid.bounds == pytest.approx((east + 5, north - 45, east + 45, north - 5), abs=0.51)
    assert whole(found)[1].sum() == pytest.approx(80 * 80 / 2, rel=0.03)


def test_no_data_alpha_palette_and_16_bits_are_read_as_the_chips_are(tmp_path, ground, write_scene, smooth):
    image = smooth(100, 100)
    holed = image.copy()
    holed[:, 30:60, 40:70] = 0
    alpha = np.concatenate([holed, (holed[:1] > 0) * np.uint8(255)])
    for name, pixels, profile in (
        ("nodata", holed, {"nodata": 0}),
        ("alpha", alpha, {"photometric": "RGB", "alpha": "yes"}),
        ("deep", holed.astype(np.uint16) * 40, {"nodata": 0}),
    ):
        _, seen = whole(ground(write_scene(tmp_path / f"{name}.tif", pixels, **profile)))
        np.testing.assert_array_equal(seen, holed[0] > 0)
    path = write_scene(tmp_path / "palette.tif", image[:1] % 4, photometric="palette")
    colours = {0: (10, 20, 30, 255), 1: (200, 0, 0, 255), 2: (0, 200, 0, 255), 3: (0, 0, 200, 255)}
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, colours)
    shown, _ = whole(ground(path))
    np.testing.assert_array_equal(shown, np.array([colours[n][:3] for n in range(4)])[image[0] % 4])


def test_a_change_of_what_a_vrt_is_made_of_shows(tmp_path, ground, write_scene, smooth):
    source = write_scene(tmp_path / "source.tif", smooth(80, 80))
    with rasterio.open(source) as file:
        rasterio.shutil.copy(file, tmp_path / "a.vrt", driver="VRT")
    plain = write_scene(tmp_path / "b.tif", smooth(80, 80, 1), shift_m=(100, 0))
    window = (0, 0, 80, 80)
    before = ground(tmp_path / "a.vrt", plain)
    assert ground(tmp_path / "a.vrt", plain).state([window]) == before.state([window])
    with rasterio.open(source, "r+") as file:
        file.write(smooth(80, 80, 2))
    after = ground(tmp_path / "a.vrt", plain)
    assert after.state([window]) != before.state([window])
    assert after.state([(200, 0, 80, 80)]) == before.state([(200, 0, 80, 80)]), "the VRT is not shown there"


def test_scenes_on_other_continents_are_refused(tmp_path, ground, write_scene, smooth):
    first = write_scene(tmp_path / "a.tif", smooth(40, 40))
    far = write_scene(tmp_path / "b.tif", smooth(40, 40), shift_m=(300_000, 300_000))
    with pytest.raises(InputError, match="squared are mapped at most. Map them into several folders"):
        ground(first, far)
