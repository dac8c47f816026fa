"""Pixels of an image file: any window of it at any size, as 8-bit RGB, and where there is image at all."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window

from lib.errors import InputError, ParameterError

CACHE_BYTES = 256 * 2**20  # of decoded image, in each process; GDAL's own 5 % of the memory is much on many cores
NODATA_AREA_PX = 400  # a white roof is not a hole in the image; a blank corner is larger than this
STRETCH_PERCENT = (1, 99)  # percentiles of a scene that become black and white, where its type is not uint8
STRETCH_SIDE_PX = 1024  # they are taken from the scene reduced to this: whole scenes are large


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """
    A raster file; opened again inside, it is the same one, with what has been decoded of it.

    Without rasterio's warning of a missing georeference: `lib.chips.sources.find_scenes` has dealt with that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path, sharing=True) as file:
                yield file
        except RasterioIOError as error:
            raise InputError(f"{path}: expected an image, but it is damaged or cut short: {error}") from error


def read_scene(
    path: Path, file_window: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """
    Part of an image file at a given size.

    Parameters
    ----------
    file_window
        (col, row, width, height) in the file's own pixels, fractions allowed.
    shape
        (height, width) of the result.

    Returns
    -------
    image
        uint8 (height, width, 3) RGB; one band is repeated, more than three keep the first three; other types are
        stretched from the 1st to the 99th percentile of the whole scene.
    valid
        bool (height, width), False in areas of more than 400 px where the file says that there is no data. Tile
        makers turn every black pixel transparent, deep shadows too: those specks are image.

    Raises
    ------
    InputError
        If the file can't be read.
    """
    window = Window(*file_window)
    if (round(window.height), round(window.width)) == shape:
        resampling = Resampling.nearest  # pixel for pixel
    else:
        resampling = Resampling.average if window.width > shape[1] else Resampling.bilinear
    with opened(path) as file:
        bands = file.read(_rgb(file), window=window, out_shape=(3, *shape), resampling=resampling)
        valid = ~large_areas(file.dataset_mask(window=window, out_shape=shape) == 0)
    if bands.dtype != np.uint8:
        low, high = _stretch(path, path.stat().st_mtime_ns)
        bands = np.clip((bands.astype(np.float32) - low) * (255 / max(high - low, 1e-6)), 0, 255)
    return np.moveaxis(bands, 0, -1).astype(np.uint8), valid


def _rgb(file: rasterio.DatasetReader) -> list[int]:
    """Numbers of the bands that are red, green and blue; rasterio counts from 1."""
    return [1, 2, 3] if file.count >= 3 else [1, 1, 1]


@lru_cache(maxsize=64)
def _stretch(path: Path, _changed_ns: int) -> tuple[float, float]:
    """Values that become black and white, looked up once for all chips of a scene, as long as its file is the same."""
    with opened(path) as file:
        height, width = min(file.height, STRETCH_SIDE_PX), min(file.width, STRETCH_SIDE_PX)
        small = file.read(_rgb(file), out_shape=(3, height, width))
    low, high = np.percentile(small[small > 0] if (small > 0).any() else small, STRETCH_PERCENT)
    return float(low), float(high)


def nodata_area(image: np.ndarray, colour: str) -> np.ndarray:
    """True (H, W) inside connected areas of white (all bands >= 250) or black (all <= 5) larger than 400 px."""
    if colour not in ("white", "black"):
        raise ParameterError(f"nodata is 'white' or 'black', got {colour!r}")
    return large_areas((image >= 250).all(axis=-1) if colour == "white" else (image <= 5).all(axis=-1))


def large_areas(blank: np.ndarray) -> np.ndarray:
    """True (H, W) inside connected areas of `blank`, (H, W), of more than 400 px: a speck is no hole."""
    # labels (H, W): number of each pixel's area, 0 where not blank; stats: one row an area
    _, labels, stats, _ = cv2.connectedComponentsWithStats(blank.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] > NODATA_AREA_PX
    large[0] = False
    return large[labels]
