"""PNGs of our own: every reader takes them, and finds the same pixels."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.io import MemoryFile

from lib.chips.manifest import read_image, read_mask, write_png
from lib.chips.png import encode_png
from lib.errors import InputError

SIDES = st.integers(1, 40)
SHAPES = st.tuples(SIDES, SIDES) | st.tuples(SIDES, SIDES, st.just(3))


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_three_readers_find_the_same_pixels(image):
    data = encode_png(image)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read if image.ndim == 2 else read[..., ::-1], image)
    with Image.open(io.BytesIO(data)) as file:
        file.load()  # checks each chunk's sum
        np.testing.assert_array_equal(np.asarray(file), image)


def test_gdal_finds_the_same_pixels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    with MemoryFile(encode_png(image)) as memory, memory.open() as file:
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, -1), image)


def test_an_image_with_a_sensors_noise_is_as_small_as_by_libpng():
    generator = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(generator.integers(0, 256, (256, 256, 3), dtype=np.uint8), (0, 0), 2)
    image = np.clip(smooth + generator.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    assert len(encode_png(image)) < 1.02 * len(cv2.imencode(".png", image[..., ::-1])[1])


def test_views_are_written_as_they_look(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    shown = image[::-2, 3:, ::-1]
    np.testing.assert_array_equal(read_image(write_png(tmp_path / "a.png", shown)), shown)
    mask = np.where(image[::2, ::3, 0] > 99, 255, 0).astype(np.uint8).T
    np.testing.assert_array_equal(read_mask(write_png(tmp_path / "m.png", mask)), mask)


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2), np.uint16), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_what_is_no_8_bit_image_is_named(tmp_path, image):
    with pytest.raises(InputError, match="could not encode an array of shape .* as PNG for .*x.png"):
        write_png(tmp_path / "x.png", image)
    assert not (tmp_path / "x.png").exists()
