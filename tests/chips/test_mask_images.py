"""Masks that others drew: read beside images, and named where they do not fit."""

import cv2
import numpy as np
import pytest
import rasterio

from lib.chips.manifest import read_mask
from lib.errors import InputError

PLACE = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)


def test_mask_images_and_white_corners(build, tmp_path):
    for name, size in (("a", 120), ("b", 120), ("c", 120)):
        image = np.full((size, size, 3), 90, np.uint8)
        image[:40, :40] = 255  # a corner without data, and a white roof
        image[100:110, 100:110] = 255
        mask = np.zeros((size, size), np.uint8)
        mask[50:60] = 1
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask)
    source = {"images": "*.jpg", "gsd_m": 1.0, "nodata": "white", "clean": "masks/{stem}.png"}
    manifest = build(tmp_path, source, gsd_m=1.0, chip_px=120, val_share=0.34, test_share=0.34)
    assert sorted(manifest.split) == ["test", "train", "val"] and set(manifest.crs) == {""}
    mask = read_mask(manifest["mask"][0])
    assert (mask[:39, :39] == 127).all() and (mask[100:110, 100:110] == 0).all() and (mask[50:60] == 255).all()


def test_missing_and_wrong_sized_mask_images_are_named(build, area):
    source = {"images": "*.tif", "clean": "masks/{stem}.png"}
    with pytest.raises(InputError, match=r"scene\.tif has no mask"):
        build(area, source)
    (area / "masks").mkdir()
    cv2.imwrite(str(area / "masks" / "scene.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(10, 10\) px"):
        build(area, source)


@pytest.fixture
def build_with_mask(build, area):
    """Chips of the scene with a mask GeoTIFF of its size that has a road in rows 100 to 109 and states a place."""

    def make(transform, crs):
        mask = np.zeros((400, 400), np.uint8)
        mask[100:110] = 255
        size = {"driver": "GTiff", "width": 400, "height": 400, "count": 1, "dtype": "uint8"}
        with rasterio.open(area / "mask_of_it.tif", "w", transform=transform, crs=crs, **size) as file:
            file.write(mask, 1)
        source = {"images": "scene.tif", "clean": "mask_of_it.tif"}
        manifest = build(area, source, chip_px=400, val_share=0, test_share=0)
        return np.flatnonzero((read_mask(manifest["mask"][0]) == 255).any(axis=1))

    return make


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        pytest.param(PLACE, "EPSG:32635", id="its place"),
        pytest.param(PLACE @ rasterio.Affine.translation(0.1, 0), "EPSG:32635", id="rounded"),
        pytest.param(None, None, id="no place"),
        pytest.param(None, "EPSG:4326", id="a CRS alone"),
    ],
)
def test_a_mask_in_its_images_place_or_without_any_is_read_pixel_for_pixel(build_with_mask, transform, crs):
    assert list(build_with_mask(transform, crs)) == list(range(100, 110))


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        pytest.param(PLACE @ rasterio.Affine(1, 0, 0, 0, -1, 400), "EPSG:32635", id="south up"),
        pytest.param(PLACE @ rasterio.Affine.translation(0, -1000), "EPSG:32635", id="elsewhere"),
        pytest.param(PLACE @ rasterio.Affine.translation(0.5, 0.5), "EPSG:32635", id="half a pixel"),
        pytest.param(PLACE, "EPSG:32634", id="another CRS"),
    ],
)
def test_a_mask_that_says_it_lies_elsewhere_is_refused(build_with_mask, transform, crs):
    with pytest.raises(InputError, match=r"mask_of_it\.tif says that its corners lie .* from those of its image scene"):
        build_with_mask(transform, crs)
