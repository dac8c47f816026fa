"""Pixels of image files: types, bands, what is no data."""

import numpy as np
import pytest
import rasterio

from lib.chips import imagery
from lib.chips.imagery import nodata_area, read_scene
from lib.errors import ParameterError


def test_sixteen_bits_one_band_and_transparency_are_read(tmp_path):
    ramp = np.linspace(200, 2200, 64 * 64).reshape(64, 64).astype(np.uint16)
    options = {"driver": "GTiff", "width": 64, "height": 64, "dtype": "uint16"}
    with rasterio.open(tmp_path / "pan.tif", "w", count=1, nodata=0, **options) as file:
        ramp[:8] = 0  # 512 px: more than a speck
        ramp[40, 40] = 0
        file.write(ramp, 1)
    image, valid = read_scene(tmp_path / "pan.tif", (0, 0, 64, 64), (64, 64))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and image[-1, -1].tolist() == [255] * 3
    assert not valid[:8].any() and valid[8:].all()  # the single dark pixel is image
    before = imagery._stretch.cache_info().misses
    part, _ = read_scene(tmp_path / "pan.tif", (32, 32, 32, 32), (32, 32))
    assert np.array_equal(part, image[32:, 32:]) and imagery._stretch.cache_info().misses == before


def test_white_area_must_be_large():
    image = np.full((60, 60, 3), 255, np.uint8)
    image[30:] = 10
    assert nodata_area(image, "white")[:30].all() and not nodata_area(image, "white")[30:].any()
    with pytest.raises(ParameterError):
        nodata_area(image, "pink")
