"""More than three bands: from a file of 8 or 16 bits to the pages of a chip."""

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from lib.chips.imagery import read_pixels, read_scene
from lib.chips.manifest import read_bands, read_image, write_bands, write_png
from lib.chips.options import check_source
from lib.chips.sources import find_scenes
from lib.errors import InputError, ParameterError

SIDE = 64
WHOLE = (0, 0, SIDE, SIDE), (SIDE, SIDE)
UTM = "EPSG:32635"


def write(path, bands, kinds=None, nodata=None):
    profile = {
        "driver": "GTiff",
        "count": len(bands),
        "height": SIDE,
        "width": SIDE,
        "dtype": bands.dtype,
        "nodata": nodata,
    }
    place = {"transform": Affine(1.0, 0, 385_000.0, 0, -1.0, 6_671_000.0), "crs": UTM}
    with rasterio.open(path, "w", **profile, **place) as file:
        file.write(bands)
        if kinds:
            file.colorinterp = kinds
    return path


def noise(count, dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(1, high, (count, SIDE, SIDE)).astype(dtype)


def test_bands_come_in_the_order_that_is_asked_for(tmp_path):
    eight = noise(8)
    path = write(tmp_path / "eight.tif", eight)
    image, valid = read_pixels(path, *WHOLE, (5, 3, 2, 7))
    np.testing.assert_array_equal(image, eight[[4, 2, 1, 6]].transpose(1, 2, 0))
    assert valid.all()
    np.testing.assert_array_equal(read_pixels(path, *WHOLE, (5, 3, 2))[0], image[..., :3])
    with pytest.raises(InputError, match="has 8 bands, and no band 9"):
        read_pixels(path, *WHOLE, (5, 3, 2, 9))


def test_all_is_what_the_file_calls_red_green_and_blue_and_then_the_rest_but_alpha(tmp_path):
    other = ColorInterp.undefined
    kinds = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, other, ColorInterp.alpha)
    five = noise(5)
    five[4] = 255
    path = write(tmp_path / "five.tif", five, kinds)
    np.testing.assert_array_equal(read_pixels(path, *WHOLE, "all")[0], five[[2, 1, 0, 3]].transpose(1, 2, 0))


@pytest.mark.parametrize("nodata", [None, 255])
@pytest.mark.parametrize("side", [SIDE, SIDE // 2, SIDE * 2])
def test_a_band_that_is_named_is_no_mask_though_the_file_calls_it_alpha(tmp_path, side, nodata):
    """So are all files of four bands of 8 bits that rasterio writes; water is 0 in infrared."""
    four = np.stack([np.full((SIDE, SIDE), value, np.uint8) for value in (60, 80, 100, 150)])
    four[3, :32, :32] = 0
    path = write(tmp_path / "rgbn.tif", four, nodata=nodata)
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    image, valid = read_pixels(path, WHOLE[0], (side, side), (1, 2, 3, 4))
    assert valid.all() and image.shape == (side, side, 4)
    assert np.abs(image[..., :3].astype(int) - (60, 80, 100)).max() <= 1
    assert image[side // 4, side // 4, 3] == 0 and abs(int(image[-1, -1, 3]) - 150) <= 1
    for bands in ((), "all", (1, 2, 3)):
        assert np.array_equal(read_pixels(path, *WHOLE, bands)[1], four[3] > 0)


def test_sixteen_bits_are_stretched_by_the_band(tmp_path):
    low, high = noise(3, np.uint16, 900), noise(1, np.uint16, 9000)
    image, _ = read_pixels(write(tmp_path / "rgbn.tif", np.concatenate([low, high])), *WHOLE, "all")
    for band, values in enumerate([*low, *high]):
        black, white = np.percentile(values, [1, 99])
        expected = np.clip((values.astype(np.float32) - black) * (255 / (white - black)), 0, 255).astype(np.uint8)
        np.testing.assert_allclose(image[..., band].astype(int), expected, atol=1)
    half, _ = read_pixels(tmp_path / "rgbn.tif", WHOLE[0], (32, 32), "all")
    assert half.shape == (32, 32, 4)


def test_the_nodata_of_a_source_stretches_none_of_its_scenes(tmp_path):
    deep = noise(3, np.uint16, 900)
    deep[:, :30] = 65535
    path = write(tmp_path / "a.tif", deep)
    scene = find_scenes({"images": "*.tif", "osm": "s.gpkg", "nodata": "white"}, tmp_path, 1.0)[0]
    image, _ = read_scene(scene, (0, 0, SIDE, SIDE))
    np.testing.assert_array_equal(image, read_pixels(path, *WHOLE, nodata="white")[0])
    assert image[30:].mean() > 100 > 10 > read_pixels(path, *WHOLE)[0][30:].mean()


def test_numbers_that_are_none_are_black_in_every_band(tmp_path):
    values = noise(5).astype(np.float32)
    values[3, :30, :30] = np.nan
    image, valid = read_pixels(write(tmp_path / "nan.tif", values), (0, 0, SIDE, SIDE), (32, 32), "all")
    assert image.shape == (32, 32, 5) and not valid[:14, :14].any() and valid[16:, 16:].all()


def test_chips_hold_all_bands_and_show_the_first_three(build, tmp_path):
    eight = noise(8, np.uint16, 2000)
    write(tmp_path / "a.tif", eight)
    line = shapely.LineString([(385_000, 6_670_970), (385_064, 6_670_970)])
    road = gpd.GeoDataFrame({"highway": ["residential"]}, geometry=[line], crs=UTM)
    road.to_file(tmp_path / "s.gpkg", layer="roads")
    source = {"images": "*.tif", "osm": "s.gpkg", "bands": [5, 3, 2, 8, 7]}
    manifest = build(tmp_path, source, gsd_m=1.0, val_share=0.0, test_share=0.0)
    chip = manifest["image"][0]
    scene = find_scenes(source, tmp_path, 1.0)[0]
    assert chip.endswith(".tif") and read_bands(chip).shape[2] == 5
    np.testing.assert_array_equal(read_bands(chip), read_scene(scene, (0, 0, SIDE, SIDE), every_band=True)[0])
    np.testing.assert_array_equal(read_image(chip), read_scene(scene, (0, 0, SIDE, SIDE))[0])


def test_chips_of_three_bands_stay_png_and_pages_are_checked(tmp_path):
    image = noise(3).transpose(1, 2, 0)
    np.testing.assert_array_equal(read_bands(write_png(tmp_path / "a.png", image)), image)
    path = write_bands(tmp_path / "b.tif", noise(6).transpose(1, 2, 0))
    whole = path.read_bytes()
    for length in (len(whole) // 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"b\.tif is cut or damaged: page \d"):
            read_bands(path)


@pytest.mark.parametrize(
    ("bands", "kind", "said"),
    [
        (4, np.uint8, "4 bands"),
        (2, np.uint8, "2 bands"),
        (3, np.uint16, "values of 16 bits"),
        (4, np.uint16, "4 bands"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_bands])
def test_files_that_opencv_shows_otherwise_are_no_chips(tmp_path, bands, kind, said, read):
    """It multiplies red, green and blue by infrared, and makes one grey of three bands of 16 bits."""
    path = write(tmp_path / "a.tif", noise(bands, kind, 255))
    with pytest.raises(InputError, match=rf"a\.tif has {said}: expected one or three bands of 8 bits"):
        read(path)


def test_tiffs_of_one_and_three_bands_and_deep_pngs(tmp_path):
    three, one = noise(3), noise(1)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.tif", three)), three.transpose(1, 2, 0))
    np.testing.assert_array_equal(read_image(write(tmp_path / "b.tif", one)), one.transpose(1, 2, 0).repeat(3, axis=2))
    cv2.imwrite(str(tmp_path / "deep.png"), noise(3, np.uint16, 2000).transpose(1, 2, 0))
    with pytest.raises(InputError, match=r"deep\.png has values of 16 bits"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("bands", [[1, 2], [], "every", [0, 1, 2], [1.5, 2, 3], 3])
def test_bands_that_can_not_be_meant(bands):
    with pytest.raises(ParameterError, match="bands"):
        check_source({"images": "*.tif", "osm": "x.gpkg", "bands": bands})
