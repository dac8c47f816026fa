"""Pixels of image files: types, bands, palettes, what is no data and what is no number."""

import warnings

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp as C

from lib.chips import imagery
from lib.chips.imagery import nodata_area, read_pixels
from lib.errors import InputError, ParameterError

SIDE = 64
WHOLE = ((0, 0, SIDE, SIDE), (SIDE, SIDE))
HALF = ((0, 0, SIDE, SIDE), (SIDE // 2, SIDE // 2))
RED_TO_NIR = (200, 120, 40, 250)  # red, green, blue, near infrared


def write(path, bands, kinds=None, names=(), mask=None, **more):
    """Bands (n, H, W) as a GeoTIFF, with what its bands are called."""
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype=bands.dtype, **profile | more) as file:
            file.write(bands)
            if kinds:
                file.colorinterp = kinds
            for number, name in enumerate(names, start=1):
                file.set_band_description(number, name)
            if mask is not None:
                file.write_mask(mask)
    return path


def flat(*values, dtype=np.uint8):
    return np.stack([np.full((SIDE, SIDE), value, dtype) for value in values])


def test_sixteen_bits_one_band_and_no_data(tmp_path):
    ramp = np.linspace(200, 2200, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    ramp[:8] = 0  # 512 px: more than a speck
    ramp[40, 40] = 0
    path = write(tmp_path / "pan.tif", ramp[None], nodata=0)
    image, valid = read_pixels(path, *WHOLE)
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 and image[-1, -1].tolist() == [255] * 3
    assert not valid[:8].any() and valid[8:].all()  # the single dark pixel is image
    before = imagery._look.cache_info().misses
    part, _ = read_pixels(path, (32, 32, 32, 32), (32, 32))
    assert np.array_equal(part, image[32:, 32:]) and imagery._look.cache_info().misses == before


@pytest.mark.parametrize(
    ("order", "kinds", "names", "bands"),
    [
        ((0, 1, 2), None, (), ()),
        ((2, 1, 0), (C.blue, C.green, C.red), (), ()),
        ((3, 0, 1, 2), (C.nir, C.red, C.green, C.blue), (), ()),
        ((2, 1, 0, 3), (C.blue, C.green, C.red, C.undefined), (), ()),  # PlanetScope
        ((2, 1, 0, 3), (C.gray, *[C.undefined] * 3), ("Blue", "Green", "Red", "NIR"), ()),  # Earth Engine
        ((2, 1, 0), None, (), (3, 2, 1)),
        ((3, 0, 1, 2), (C.gray, *[C.undefined] * 3), (), (2, 3, 4)),
    ],
)
@pytest.mark.parametrize("size", [WHOLE, HALF])
def test_red_green_and_blue_are_found(tmp_path, order, kinds, names, bands, size):
    path = write(tmp_path / "a.tif", flat(*[RED_TO_NIR[k] for k in order]), kinds, names)
    assert read_pixels(path, *size, bands)[0][9, 9].tolist() == [200, 120, 40]


def test_alpha_is_no_colour_and_what_it_hides_does_not_stretch(tmp_path):
    alpha = np.full((SIDE, SIDE), 65535, np.uint16)
    alpha[:, :32] = 0
    ramp = np.linspace(100, 1100, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    hidden = np.where(alpha > 0, ramp, 60_000).astype(np.uint16)
    image, valid = read_pixels(
        write(tmp_path / "a.tif", np.stack([hidden, alpha]), (C.gray, C.alpha), alpha="yes"), *WHOLE
    )
    assert not valid[:, :32].any() and valid[:, 32:].all()
    assert image[:, 32:].max() == 255 and image[0, 40, 0] < 10 and len(np.unique(image[..., 1])) > 150
    first = write(tmp_path / "b.tif", np.stack([alpha, hidden, hidden, hidden]), (C.alpha, C.red, C.green, C.blue))
    assert np.array_equal(read_pixels(first, *WHOLE)[0], image)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint16", 65535), ("int16", -9999), ("float32", -3.4e38), ("float32", np.nan), ("uint8", 255)],
)
def test_no_data_of_any_value_stretches_nothing(tmp_path, dtype, nodata):
    ramp = np.linspace(10, 240, SIDE * SIDE).reshape(SIDE, SIDE)
    whole = np.tile(ramp.astype(dtype), (3, 1, 1))
    expected, _ = read_pixels(write(tmp_path / "whole.tif", whole[:, 16:]), (0, 0, SIDE, 48), (48, SIDE))
    whole[:, :16] = nodata
    image, valid = read_pixels(write(tmp_path / "part.tif", whole, nodata=nodata), *WHOLE)
    assert np.array_equal(image[16:], expected) and valid[16:].all() and not valid[:16].any()


@pytest.mark.parametrize("bands", [(), (1, 2, 3, 1)])
@pytest.mark.parametrize(
    ("dtype", "colour", "value", "more"),
    [
        ("uint16", "white", 65535, {}),
        ("uint16", "white", 4095, {}),
        ("int16", "black", -9999, {}),
        ("float32", "black", 0, {}),
        ("uint16", "white", 0, {"photometric": "MINISWHITE", "interleave": "band"}),
    ],
)
def test_a_colour_that_is_no_image_stretches_nothing(tmp_path, dtype, colour, value, more, bands):
    ramp = np.linspace(10, 3000, SIDE * SIDE).reshape(SIDE, SIDE)
    whole = np.tile(ramp.astype(dtype), (1 if more else 3, 1, 1))
    bands = (1,) if more else bands
    expected, _ = read_pixels(write(tmp_path / "whole.tif", whole[:, 16:], **more), (0, 0, SIDE, 48), (48, SIDE), bands)
    whole[:, :16] = value
    image, valid = read_pixels(write(tmp_path / "part.tif", whole, **more), *WHOLE, bands, colour)
    assert np.array_equal(image[16:], expected) and valid.all()
    assert np.array_equal(nodata_area(image[..., :3], colour)[:16], np.ones((16, SIDE), bool))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", [WHOLE, HALF])
def test_what_is_no_number_is_no_image_and_the_rest_is_as_without_it(tmp_path, bad, size):
    ramp = np.tile(np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.float32), (3, 1, 1))
    expected, _ = read_pixels(write(tmp_path / "whole.tif", ramp), *size)
    ramp[1, ::5, ::5] = bad  # 4 % of the pixels, in one band
    ramp[:, 20:24, 20:24] = bad
    path = write(tmp_path / "holes.tif", ramp)
    image, valid = read_pixels(path, *size)
    assert np.abs(image[valid].astype(int) - expected[valid]).max() <= 4
    share = 1 - valid.mean()
    assert 0.03 < share < 0.06 if size == WHOLE else 0.003 < share < 0.02  # averaged, a speck is left out
    assert imagery._look(path, path.stat().st_mtime_ns, ()).missing == pytest.approx(0.045, abs=0.01)


def test_a_scene_of_nothing_is_no_image(tmp_path):
    for name, value in (("nan.tif", np.nan), ("inf.tif", np.inf)):
        assert not read_pixels(write(tmp_path / name, flat(value, dtype=np.float32)), *HALF)[1].any()
    assert not read_pixels(write(tmp_path / "none.tif", flat(7, dtype=np.uint16), nodata=7), *WHOLE)[1].any()


def test_decibels_are_all_below_zero(tmp_path):
    ramp = np.linspace(-25, 2, SIDE * SIDE).reshape(1, SIDE, SIDE).astype(np.float32)
    image, _ = read_pixels(write(tmp_path / "sar.tif", ramp), *WHOLE)
    assert image[32, 0, 0] == pytest.approx(127, abs=3)


COLOURS = np.array([[30, 160, 60], [220, 220, 220], [90, 80, 70], [0, 0, 255]], np.uint8)


def paletted(path, clear=None):
    """Numbers of COLOURS in stripes of 16 columns; one of them transparent."""
    numbers = np.repeat(np.arange(4, dtype=np.uint8), SIDE // 4)[None].repeat(SIDE, axis=0)
    if path.suffix == ".tif":
        write(path, numbers[None], photometric="palette")
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {n: (*c, 255) for n, c in enumerate(COLOURS.tolist())})
    else:
        image = Image.fromarray(numbers, "P")
        image.putpalette(COLOURS.tobytes())
        image.save(
            path, **({} if clear is None else {"transparency": bytes(0 if n == clear else 255 for n in range(4))})
        )
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_palettes_are_colours_and_so_are_their_averages(tmp_path, name):
    path = paletted(tmp_path / name)
    image, valid = read_pixels(path, *WHOLE)
    assert valid.all() and np.array_equal(image[5, ::16], COLOURS)
    thirds, _ = read_pixels(path, (0, 0, SIDE, SIDE), (8, 8))
    assert np.array_equal(thirds[5, ::2], COLOURS)
    mixed, _ = read_pixels(path, (8, 0, 16, 16), (1, 1))  # half of the first colour, half of the second
    assert np.abs(mixed[0, 0] - COLOURS[:2].mean(axis=0)).max() <= 1
    finer, _ = read_pixels(path, (8, 0, 16, 16), (32, 32))
    assert set(map(tuple, finer[4, [0, 31]].tolist())) == set(map(tuple, COLOURS[:2].tolist()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("clear", [1, 3])
def test_transparent_colours_of_a_palette_are_no_image(tmp_path, clear):
    _, valid = read_pixels(paletted(tmp_path / "a.png", clear), *WHOLE)
    assert not valid[:, 16 * clear : 16 * clear + 16].any() and valid.sum() == SIDE * SIDE * 3 // 4


@pytest.mark.parametrize(
    ("more", "zero", "one"),
    [
        ({"nbits": 1}, 0, 255),
        ({"nbits": 1, "photometric": "MINISWHITE"}, 255, 0),
        ({"photometric": "MINISWHITE"}, 255, 254),
        ({"nbits": 4}, 0, 17),
    ],
)
def test_few_bits_and_files_whose_least_value_is_white(tmp_path, more, zero, one):
    bits = (np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE) % 2).astype(np.uint8)
    path = write(tmp_path / "a.tif", bits, **more)
    assert read_pixels(path, *WHOLE)[0][3, :2].tolist() == [[zero] * 3, [one] * 3]
    assert np.abs(read_pixels(path, *HALF)[0].astype(int) - (zero + one) / 2).max() <= 1
    Image.fromarray(bits[0] * 255).convert("1").save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.png", *WHOLE)[0][3, :2].tolist() == [[0] * 3, [255] * 3]


def test_sixteen_bits_whose_least_value_is_white(tmp_path):
    ramp = np.linspace(0, 4000, SIDE * SIDE).reshape(1, SIDE, SIDE).astype(np.uint16)
    image, _ = read_pixels(write(tmp_path / "a.tif", ramp, photometric="MINISWHITE"), *WHOLE)
    assert image[0, 0, 0] > 250 and image[-1, -1, 0] < 5


def test_what_is_no_picture_is_named(tmp_path):
    path = write(tmp_path / "a.tif", flat(1, 2, 3))
    with pytest.raises(InputError, match=r"a\.tif has 3 bands, and no band 4"):
        read_pixels(path, *WHOLE, (4, 2, 1))
    with pytest.raises(InputError, match=r"slc\.tif: expected an image, got complex"):
        read_pixels(write(tmp_path / "slc.tif", flat(1, dtype=np.complex64)), *WHOLE)


def test_white_area_must_be_large():
    image = np.full((60, 60, 3), 255, np.uint8)
    image[30:] = 10
    assert nodata_area(image, "white")[:30].all() and not nodata_area(image, "white")[30:].any()
    with pytest.raises(ParameterError):
        nodata_area(image, "pink")
