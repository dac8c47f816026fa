"""What the values of a mask image mean, and that areas stay as large at every GSD, whatever a file states."""

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from lib.chips.manifest import read_mask
from lib.chips.mask_images import mask_reader
from lib.chips.sources import find_scenes
from lib.errors import InputError, ParameterError
from lib.masks.rasterize import ignore_edges
from lib.paths import ROOT

SHARED = ROOT.parent / "shared" / "data"
SIDE_PX = 240
ROAD = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
cv2.line(ROAD, (0, 60), (SIDE_PX, 150), 1, 6)
cv2.line(ROAD, (30, SIDE_PX), (200, 0), 1, 6)
NO_IMAGE = np.zeros((SIDE_PX, SIDE_PX), bool)
NO_IMAGE[:, :40] = True


def write_tif(path, pixels, **profile):
    bands = pixels if pixels.ndim == 3 else pixels[None]
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)
    size = {"width": bands.shape[2], "height": bands.shape[1], "count": len(bands), "dtype": bands.dtype}
    with rasterio.open(path, "w", "GTiff", crs="EPSG:32635", transform=transform, **size, **profile) as file:
        file.write(bands)


@pytest.fixture
def read(tmp_path):
    """Reads the mask image `clean` of a scene of 240 px at 0.5 m, whole or in a window."""
    write_tif(tmp_path / "a.tif", np.full((3, SIDE_PX, SIDE_PX), 90, np.uint8))

    def whole(gsd_m=0.5, window=None, band_px=0.0, **source):
        scene = find_scenes({"images": "a.tif", "clean": "mask.tif"} | source, tmp_path, gsd_m)[0]
        return mask_reader(scene, "clean", band_px)(window or (0, 0, scene.grid.width, scene.grid.height))

    return whole


@pytest.mark.parametrize(
    ("codes", "nodata", "foreground"),
    [
        ((0, 1, 255), 255, None),
        ((0, 1, 127), None, None),
        ((0, 2, 127), None, None),
        ((1, 2, 0), 0, None),
        ((0, 255, 127), 0, None),
        ((0, 3, 9), 9, 3),
        ((0, 1, -9999), -9999, None),
        ((0.0, 1.0, np.nan), np.nan, None),
        ((0.0, 1.0, np.nan), None, None),
        ((0, 300, 127), None, [300, 301]),
    ],
)
def test_two_values_are_background_and_road(read, tmp_path, codes, nodata, foreground):
    kind = np.float32 if isinstance(codes[2], float) else np.result_type(*map(np.min_scalar_type, codes))
    pixels = np.where(NO_IMAGE, codes[2], np.where(ROAD == 1, codes[1], codes[0])).astype(kind)
    write_tif(tmp_path / "mask.tif", pixels, nodata=nodata)
    source = {} if foreground is None else {"foreground": foreground}
    assert np.array_equal(read(**source), np.where(NO_IMAGE, 127, ROAD * 255))
    coarse = read(1.0, **source)
    assert (coarse[:, :19] == 127).all() and not (coarse[:, 21:] == 127).any()


@pytest.mark.parametrize("gsd_m", [0.3, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("nodata", [None, 0, 255, 1, 7])
@pytest.mark.parametrize("high", [1, 255])
def test_a_road_keeps_its_area_at_every_gsd(read, tmp_path, gsd_m, nodata, high):
    write_tif(tmp_path / "mask.tif", ROAD * np.uint8(high), nodata=nodata)
    mask = read(gsd_m)
    assert np.count_nonzero(mask == 255) * gsd_m**2 == pytest.approx(ROAD.sum() * 0.25, rel=0.05)
    assert not (mask == 127).any()


def test_roads_beside_ignored_ground_keep_their_area(read, tmp_path):
    pixels = np.where(NO_IMAGE, 255, ROAD).astype(np.uint8)
    write_tif(tmp_path / "mask.tif", pixels, nodata=255)
    for gsd_m in (0.6, 1.0, 2.0):
        mask = read(gsd_m)
        assert np.count_nonzero(mask == 255) * gsd_m**2 == pytest.approx((pixels == 1).sum() * 0.25, rel=0.05)
        assert np.count_nonzero(mask == 127) * gsd_m**2 == pytest.approx(NO_IMAGE.sum() * 0.25, rel=0.05)


@pytest.mark.parametrize("codes", [(1, 3, 2), (0, 1, 255), (0, 255, 128), (0, 2, 1)])
def test_a_third_value_is_refused_until_a_source_says_what_it_is(read, tmp_path, codes):
    pixels = np.where(NO_IMAGE, codes[2], np.where(ROAD == 1, codes[1], codes[0])).astype(np.uint8)
    write_tif(tmp_path / "mask.tif", pixels)
    listed = ", ".join(map(str, sorted(codes)))
    with pytest.raises(InputError, match=rf"mask\.tif holds the values {listed}; .* with the key `foreground`"):
        read()
    assert np.array_equal(read(foreground=codes[1]), (pixels == codes[1]) * np.uint8(255))
    assert np.array_equal(read(foreground=[codes[1], codes[2]]) == 255, (ROAD == 1) | NO_IMAGE)
    with pytest.raises(ParameterError, match="'foreground' is a float or str"):
        read(foreground={"road": 3})


def test_a_tile_that_lacks_a_class_is_read_like_its_neighbours(read, tmp_path):
    write_tif(tmp_path / "b.tif", np.full((3, SIDE_PX, SIDE_PX), 90, np.uint8))
    source = {"images": "[ab].tif", "clean": "codes/{stem}.tif"}
    (tmp_path / "codes").mkdir()
    write_tif(tmp_path / "codes" / "a.tif", np.full_like(ROAD, 1), nodata=0)
    write_tif(tmp_path / "codes" / "b.tif", ROAD + np.uint8(1), nodata=0)
    assert not read(**source).any()  # alone, 1 would be road
    write_tif(tmp_path / "codes" / "b.tif", np.where(NO_IMAGE, 3, ROAD + 1).astype(np.uint8), nodata=0)
    write_tif(tmp_path / "codes" / "a.tif", ROAD + np.uint8(1), nodata=0)
    with pytest.raises(InputError, match="with the other masks of its source, holds the values 1, 2, 3"):
        read(**source)


def test_palettes_of_greys_are_greys_and_of_colours_are_codes(read, tmp_path):
    image = Image.fromarray(1 - ROAD, "P")  # the road is number 0
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read(clean="mask.png"), ROAD * np.uint8(255))
    image = Image.fromarray(ROAD, "P")
    image.putpalette([255, 255, 255, 128, 0, 0])
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read(clean="mask.png"), ROAD * np.uint8(255))


def test_colours_are_classes_and_not_their_red(read, tmp_path):
    colours = np.zeros((3, SIDE_PX, SIDE_PX), np.uint8)
    colours[1] = ROAD * 200
    write_tif(tmp_path / "mask.tif", colours)
    assert np.array_equal(read(), ROAD * np.uint8(255))
    colours[2, 200:] = 255
    write_tif(tmp_path / "mask.tif", colours)
    with pytest.raises(InputError, match=r"values #000000, #0000ff, #00c800, #00c8ff; .*foreground: \"#ff0000\""):
        read()
    assert np.array_equal(read(foreground=["#00c800", "#00c8ff"]), ROAD * np.uint8(255))


@pytest.mark.parametrize("colour", [(255,), (255, 255, 255), (255, 0, 0)])
def test_a_label_in_the_alpha_band_is_refused_and_not_all_road(read, tmp_path, colour):
    colours = [np.full_like(ROAD, value) for value in colour]
    Image.fromarray(np.dstack([*colours, ROAD * 255])).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=rf"mask\.png has one colour .* in band {len(colour) + 1}, alpha"):
        read(clean="mask.png")
    with pytest.raises(InputError, match=r"mask\.png has one colour everywhere"):
        read_mask(tmp_path / "mask.png")


def test_alpha_says_nothing_where_colours_are_the_label_or_there_is_none(read, tmp_path):
    hidden = np.where(NO_IMAGE, 0, 255).astype(np.uint8)
    for label, alpha in ((ROAD * 255, hidden), (ROAD * 0, hidden), (ROAD * 0 + 255, hidden * 0 + 255)):
        Image.fromarray(np.dstack([label, label, label, alpha])).save(tmp_path / "mask.png")
        assert np.array_equal(read(clean="mask.png"), label)
        assert np.array_equal(read_mask(tmp_path / "mask.png"), label)


@pytest.mark.parametrize("gsd_m", [0.5, 0.8])
def test_windows_and_their_ignore_bands_are_pieces_of_the_whole(read, tmp_path, gsd_m):
    write_tif(tmp_path / "mask.tif", ROAD)
    plain, whole = read(gsd_m), read(gsd_m, band_px=2.5)
    assert np.array_equal(whole, ignore_edges(plain, 2.5)) and (whole == 127).any()
    for window in ((0, 0, 70, 70), (70, 30, 50, 64), (len(plain) - 60, 40, 60, 60)):
        col, row, width, height = window
        for band_px, piece_of in ((0.0, plain), (2.5, whole)):
            piece = piece_of[row : row + height, col : col + width]
            assert np.array_equal(read(gsd_m, window, band_px), piece)


def test_grey_edges_of_real_masks_count_by_half():
    folder = SHARED / "epfl-cil-roads"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    source = {"images": "images/*.png", "clean": "groundtruth/{stem}.png", "gsd_m": 0.4}
    for scene in find_scenes(source, folder, 0.4):
        grey = cv2.imread(str(folder / "groundtruth" / scene.path.name), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(mask_reader(scene, "clean")((0, 0, 400, 400)), (grey > 127) * np.uint8(255)), scene.name


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_damaged_masks_are_named_or_read(read, tmp_path, damages, suffix):
    path = tmp_path / f"mask.{suffix}"
    if suffix == "tif":
        write_tif(path, ROAD, compress="deflate")
    else:
        cv2.imwrite(str(path), ROAD * 255)
    for _, data in damages(path.read_bytes(), 60):
        path.write_bytes(data)
        try:
            assert read(0.8, clean=path.name).dtype == np.uint8
        except InputError as error:
            assert path.name in str(error)
