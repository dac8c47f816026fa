"""Masks that others drew: read beside images, and named where they do not fit."""

import cv2
import numpy as np
import pytest

from lib.chips.manifest import read_mask
from lib.errors import InputError


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
