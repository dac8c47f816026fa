"""Mask images: a label drawn by others, as large as its scene's image and light where the class is."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window as FileWindow

from lib.chips.sources import Scene, source_name
from lib.errors import InputError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND
from lib.masks.rasterize import Window, ignore_edges
from lib.rasters import opened, row_windows


def mask_reader(scene: Scene, label: str, ignore_band_px: float = 0.0) -> Callable[[Window], np.ndarray]:
    """
    Function from a window of a scene to the mask that its mask image has there.

    Foreground is lighter than half of the brightest value that the image's kind has: 1 or 255.

    Parameters
    ----------
    scene, label
        Whose mask image is read: the one that the scene's source names for `label`, "osm" or "clean".
    ignore_band_px
        Pixels within this distance of an edge become MASK_IGNORE.

    Returns
    -------
    read
        Window (col, row, width, height) in the scene's pixels -> uint8 (height, width).

    Raises
    ------
    InputError
        If there is no such file, or it is not as large as the scene's image; at once, not with the first window.
    """
    path = scene.data_dir / source_name(scene, label)
    if not path.is_file():
        raise InputError(f"{scene.path.name} has no mask at {path}; check the pattern in its source")
    size_px, brightest = _size_and_brightest(path, path.stat().st_mtime_ns)
    if size_px != scene.size_px:
        raise InputError(f"{path} has {size_px} px, its image {scene.path.name} {scene.size_px}")
    half = (1 if brightest <= 1 else 255) / 2

    def read(window: Window) -> np.ndarray:
        file_window, shape = scene.in_file(window)
        options = {"resampling": Resampling.bilinear, "out_dtype": np.float32}
        with opened(path) as file:
            grey = file.read(1, window=FileWindow(*file_window), out_shape=shape, **options)
        mask = np.where(grey > half, MASK_FOREGROUND, MASK_BACKGROUND).astype(np.uint8)
        return ignore_edges(mask, ignore_band_px) if ignore_band_px else mask

    return read


@lru_cache(maxsize=64)
def _size_and_brightest(path: Path, _changed_ns: int) -> tuple[tuple[int, int], int]:
    """(width, height) and largest value of a file, looked up once for all blocks, as long as it stays the same."""
    with opened(path) as file:
        return (file.width, file.height), max(int(file.read(1, window=rows).max()) for rows in row_windows(file))
