"""
From 16 bits to 8, alike for all images of a city: what is bright in one is bright in the next.

Each band's 2nd and 98th percentile, over a sample of the city's images with no-data (0) left out, become 1 and 255;
what lies beyond is cut off, and 0 stays no-data. Percentiles of each image by itself would make a dark field as
bright as a white roof.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import rasterio

from lib.errors import InputError, reading
from lib.paths import whole_file
from lib.rasters import IMAGE, opened

PERCENT = (2.0, 98.0)
SAMPLE = 64  # images, evenly through the city
SAMPLE_SIDE_PX = 256  # each read at this size
LEVELS = 2**16
BANDS = 3  # red, green, blue: the order of pan-sharpened RGB


@dataclass(frozen=True)
class Stretch:
    """Values of each band that become 1 and 255; None: the images have 8 bits and stay as they are."""

    black: tuple[float, ...] | None
    white: tuple[float, ...] | None

    @lru_cache(maxsize=1)  # noqa: B019  a worker meets the images of one city
    def tables(self) -> np.ndarray:
        """uint8 (bands, 65536): what each value of a band becomes."""
        values = np.arange(LEVELS, dtype=np.float32)
        black, white = (np.array(ends, np.float32)[:, None] for ends in (self.black, self.white))
        tables = 1 + np.rint(254 * np.clip((values - black) / np.maximum(white - black, 1), 0, 1))
        tables[:, 0] = 0
        return tables.astype(np.uint8)


def measure(paths: list[Path]) -> Stretch:
    """
    The stretch of a city's images.

    Raises
    ------
    InputError
        If one can't be read, is of another type than 8 or 16 bits, they differ in it, or none of them shows anything.
    """
    values, kinds = [], {}
    for path in paths[:: max(1, math.ceil(len(paths) / SAMPLE))]:
        with opened(path) as file, reading(path, IMAGE):
            kinds.setdefault(_kind(path, file), path)
            shape = min(file.height, SAMPLE_SIDE_PX), min(file.width, SAMPLE_SIDE_PX)
            pixels = file.read(list(range(1, BANDS + 1)), out_shape=(BANDS, *shape)).reshape(BANDS, -1)
        values.append(pixels[:, (pixels > 0).all(axis=0)])
    if len(kinds) > 1:
        raise InputError(f"expected images of one type, got {' and '.join(f'{k} ({p})' for k, p in kinds.items())}")
    if set(kinds) == {"uint8"}:
        return Stretch(None, None)
    sample = np.concatenate(values, axis=1)
    if not sample.shape[1]:
        raise InputError(f"{paths[0].parent}: expected images, got {len(paths)} that are all no-data")
    black, white = np.percentile(sample, PERCENT, axis=1)
    return Stretch(tuple(black.tolist()), tuple(white.tolist()))


def _kind(path: Path, file: rasterio.DatasetReader) -> str:
    kind = file.dtypes[0]
    if file.count < BANDS or kind not in ("uint8", "uint16"):
        raise InputError(f"{path}: expected red, green and blue of 8 or 16 bits, got {file.count} bands of {kind}")
    return kind


def write_8bit(path: Path, out: Path, stretch: Stretch) -> Path:
    """Write an image as an 8-bit GeoTIFF on the same grid, 0 where there is no data, whole or not at all."""
    with opened(path) as file, reading(path, IMAGE):
        kind, pixels = _kind(path, file), file.read(list(range(1, BANDS + 1)))  # (bands, height, width)
        profile = {"crs": file.crs, "transform": file.transform, "width": file.width, "height": file.height}
    if (kind == "uint8") != (stretch.black is None):
        raise InputError(f"{path}: expected the type of its city's other images, got {kind}")
    if stretch.black is not None:
        pixels = np.stack([cv2.LUT(band, table) for table, band in zip(stretch.tables(), pixels, strict=True)])
    profile |= {"driver": "GTiff", "dtype": "uint8", "count": BANDS, "photometric": "RGB", "nodata": 0}
    # band after band, as the pixels lie in memory: that takes two thirds of the time
    profile |= {"compress": "zstd", "zstd_level": 1, "predictor": 2, "interleave": "band"}
    with whole_file(out) as part, rasterio.open(part, "w", **profile) as to:
        to.write(pixels)
    return out
