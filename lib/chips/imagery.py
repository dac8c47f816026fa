"""Pixels of an image file: any window of it at any size, 8 bits a band, RGB first; and where there is image at all."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window as FileWindow

from lib.chips.sources import Scene
from lib.errors import InputError, ParameterError, reading
from lib.masks.rasterize import Window
from lib.rasters import IMAGE, alpha_band, opened

NODATA_AREA_PX = 400  # a white roof is not a hole in the image; a blank corner is larger than this
STRETCH_PERCENT = (1, 99)  # percentiles of a scene that become black and white, where its type is not uint8
STRETCH_SIDE_PX = 1024  # they are taken from the scene reduced to this: whole scenes are large
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class _Look:
    """
    How the values of a file become colours.

    Attributes
    ----------
    bands
        Numbers of the bands that are red, green and blue, and of those that follow; rasterio counts from 1.
    palette
        uint8 (n, 4): red, green, blue, alpha of each value, where a band holds numbers of colours.
    black, white
        Values that become 0 and 255; bytes are taken as they are. Of more than three bands each has its own, float
        (bands, 1, 1): infrared is brighter than all that is seen.
    missing
        Share of the pixels that are no numbers: NaN or infinite.
    is_coded
        Whether values are codes that can't be averaged: numbers of colours, or fewer than eight bits.
    alpha
        Number of the band that is 0 where there is no data, where GDAL overlooks it: it is not the last one; 0: none.
    is_masked
        Whether GDAL's mask counts: not where it is a band that the source names as a colour, such as infrared.
    """

    bands: tuple[int, ...]
    palette: np.ndarray | None = None
    black: float | np.ndarray = 0.0
    white: float | np.ndarray = 255.0
    missing: float = 0.0
    is_coded: bool = False
    alpha: int = 0
    is_masked: bool = True


def read_scene(scene: Scene, window: Window, every_band: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """
    Window of a scene.

    Returns
    -------
    image
        uint8 (height, width, 3), RGB; with `every_band` all bands that the scene's source names, RGB first.
    valid
        bool (height, width), True where there is image.
    """
    image, valid = read_pixels(scene.path, *scene.in_file(window), scene.bands, scene.nodata)
    return (image if every_band else np.ascontiguousarray(image[..., :3])), valid


def read_pixels(
    path: Path,
    file_window: tuple[float, float, float, float],
    shape: tuple[int, int],
    bands: tuple[int, ...] | str = (),
    nodata: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Part of an image file at a given size.

    Parameters
    ----------
    file_window
        (col, row, width, height) in the file's own pixels, fractions allowed.
    shape
        (height, width) of the result.
    bands
        Numbers of the bands that are red, green and blue, and of more that follow, or of the one that is grey; () for
        those that the file calls so, else its first three, or its first; "all" for these and then every other one.
        Alpha is none of them; a band whose number is given is a colour, whatever the file calls it.
    nodata
        "white" or "black": large areas of that colour stretch nothing, though they are valid (`nodata_area`).

    Returns
    -------
    image
        uint8 (height, width, 3 or more) RGB first, a palette's colours for its numbers; types other than uint8 are
        stretched from the 1st to the 99th percentile of the whole scene, no-data and alpha left out: three bands alike,
        each of more by itself.
    valid
        bool (height, width), False where the values are no numbers, and in areas of more than 400 px where the file
        says that there is no data. Tile makers turn every black pixel transparent, deep shadows too: those specks are
        image.

    Raises
    ------
    InputError
        If the file can't be read, or has no such bands.
    """
    window = FileWindow(*file_window)
    if (round(window.height), round(window.width)) == shape:
        resampling = Resampling.nearest  # pixel for pixel
    else:  # of oblong pixels one side may grow while the other shrinks: bilinear does both
        shrinks = window.width > shape[1] and window.height > shape[0]
        resampling = Resampling.average if shrinks else Resampling.bilinear
    look = _look(path, path.stat().st_mtime_ns, bands if bands == "all" else tuple(bands), nodata)
    with opened(path) as file, reading(path, IMAGE):
        blank = _blank(file, look.alpha, look.is_masked, shape, window)
        if look.palette is None:
            values = file.read(look.bands, window=window, out_shape=(len(look.bands), *shape), resampling=resampling)
        else:
            numbers = file.read(look.bands[0], window=window, out_shape=shape)
            blank |= look.palette[np.minimum(numbers, len(look.palette) - 1), 3] == 0
            values = look.palette[np.minimum(numbers, len(look.palette) - 1), :3].transpose(2, 0, 1)
        # numbers of colours can't be averaged, bits neither; and one NaN would spread to all that is averaged with it.
        # GDAL averages by its mask: where that is infrared, colours of water would be black
        is_plain = look.is_masked and not look.is_coded and np.isfinite(values).all()
        if resampling != Resampling.nearest and not is_plain:
            values = _resampled(file, look, window, shape, resampling)
    valid = ~large_areas(blank)
    if values.dtype.kind == "f":
        missing = ~np.isfinite(values).all(axis=0)
        valid &= ~missing
        values[:, missing] = np.reshape(look.black, (-1, 1))
    if values.dtype != np.uint8 or np.any(look.white != 255):
        contrast = 255 / (look.white - look.black)
        with np.errstate(over="ignore"):  # no-data of -3.4e38
            values = np.clip((values.astype(np.float32) - look.black) * contrast, 0, 255)
    values = values.astype(np.uint8, copy=False)
    # three bands are interleaved by OpenCV, in a fifth of NumPy's time
    return cv2.merge(list(values)) if len(values) == 3 else np.moveaxis(values, 0, -1), valid


def missing_share(scene: Scene) -> float:
    """Share of a scene's pixels that are no numbers (NaN, infinite); 0 where its type has none such."""
    with opened(scene.path) as file:
        if np.dtype(file.dtypes[0]).kind != "f":
            return 0.0
    return _look(scene.path, scene.path.stat().st_mtime_ns, scene.bands, scene.nodata).missing


def _resampled(
    file: DatasetReader, look: _Look, window: FileWindow, shape: tuple[int, int], resampling: Resampling
) -> np.ndarray:
    """
    Colours or numbers of a window, float32 (bands, height, width), resampled after what is none was left out.

    By GDAL in memory, so that it is resampled as any other file is; NaN where there is nothing to take.
    """
    reach_x, reach_y = (2 * math.ceil(max(1.0, n)) for n in (window.width / shape[1], window.height / shape[0]))
    left, top = max(0, math.floor(window.col_off) - reach_x), max(0, math.floor(window.row_off) - reach_y)
    right = min(file.width, math.ceil(window.col_off + window.width) + reach_x)
    bottom = min(file.height, math.ceil(window.row_off + window.height) + reach_y)
    own = FileWindow(left, top, right - left, bottom - top)  # the window in whole pixels, and what its edge draws from
    if look.palette is None:
        values = file.read(look.bands, window=own, masked=look.is_masked).astype(np.float32)
        values = np.ma.filled(values, np.nan)
        values[~np.isfinite(values)] = np.nan
    else:
        numbers = np.minimum(file.read(look.bands[0], window=own), len(look.palette) - 1)
        values = look.palette[numbers, :3].transpose(2, 0, 1).astype(np.float32)
    inside = FileWindow(window.col_off - left, window.row_off - top, window.width, window.height)
    profile = {"driver": "GTiff", "count": len(values), "dtype": "float32", "nodata": np.nan, "tiled": True}
    with MemoryFile() as memory:
        with memory.open(width=own.width, height=own.height, **profile) as copy:
            copy.write(values)
        with memory.open() as copy:
            return copy.read(window=inside, out_shape=(len(values), *shape), resampling=resampling)


@lru_cache(maxsize=64)
def _look(path: Path, _changed_ns: int, bands: tuple[int, ...] | str, nodata: str | None = None) -> _Look:
    """How a scene is shown; found once for all of its chips, as long as its file is the same."""
    with opened(path) as file:
        named = () if bands == "all" else bands
        bands = every_band(file) if bands == "all" else bands or _bands_of(file)
        bands = bands * 3 if len(bands) == 1 else bands
        if max(bands) > file.count:
            raise InputError(f"{path} has {file.count} bands, and no band {max(bands)} as its source has it in `bands`")
        with reading(path, IMAGE):
            kind = np.dtype(file.dtypes[bands[0] - 1])
            palette = _palette(file, bands[0]) if len(bands) == 3 else None
            bits = file.tags(bands[0], ns="IMAGE_STRUCTURE").get("NBITS", "8")
            alpha = alpha_band(file.colorinterp)
            is_masked = alpha not in named or all(MaskFlags.alpha not in flags for flags in file.mask_flag_enums)
            if alpha in named or MaskFlags.alpha in file.mask_flag_enums[0]:
                alpha = 0
            is_negative = file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        if kind.kind == "c":
            raise InputError(f"{path}: expected an image, got complex numbers; write their magnitude: gdal_calc.py")
        look = partial(_Look, bands, alpha=alpha, is_masked=is_masked)
        if palette is not None:
            return look(palette=palette, is_coded=True)
        if kind == np.uint8:
            return look(white=2.0 ** int(bits) - 1, is_coded=int(bits) < 8)
        with reading(path, IMAGE):
            shape = min(file.height, STRETCH_SIDE_PX), min(file.width, STRETCH_SIDE_PX)
            small = file.read(bands, out_shape=(len(bands), *shape))  # (bands, height, width)
            known = ~_blank(file, alpha, is_masked, shape)
    numbers = np.isfinite(small).all(axis=0)
    if nodata:
        known &= ~_extreme_area(small, known & numbers, greatest=(nodata == "white") != is_negative)
    values, missing = small[:, known & numbers], 1 - float(numbers.mean())
    if not values.size:
        return look(white=1.0, missing=missing)
    ends = np.array([_ends(band) for band in values]).T[..., None, None] if len(bands) > 3 else _ends(values)
    black, white = reversed(ends) if is_negative else ends
    return look(black=black, white=white, missing=missing)


def _extreme_area(small: np.ndarray, known: np.ndarray, greatest: bool) -> np.ndarray:
    """Large areas, bool (H, W), where all bands of `small`, (bands, H, W), have the greatest or least known value."""
    values = small[:, known]
    if not values.size:
        return np.zeros(known.shape, bool)
    return large_areas(known & (small == (values.max() if greatest else values.min())).all(axis=0))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Values that become black and white, of all that a scene has."""
    if values.min() >= 0 and values.any():  # no-data that is not stated, most often
        values = values[values > 0]
    black, white = np.percentile(values, STRETCH_PERCENT)
    return float(black), float(max(white, black + 1e-6))


def _blank(
    file: DatasetReader, alpha: int, is_masked: bool, shape: tuple[int, int], window: FileWindow | None = None
) -> np.ndarray:
    """Where the file says that there is no data, bool (height, width); `alpha` and `is_masked` as in `_Look`."""
    if is_masked and any(MaskFlags.all_valid not in flags for flags in file.mask_flag_enums):
        blank = file.dataset_mask(window=window, out_shape=shape) == 0
    else:  # most files: asking costs as much as filtering the chip's PNG
        blank = np.zeros(shape, bool)
    return blank | (file.read(alpha, window=window, out_shape=shape) == 0) if alpha else blank


def _bands_of(file: DatasetReader) -> tuple[int, ...]:
    """The bands that the file calls red, green and blue; else the first three, or the first, that are no alpha."""
    kinds = file.colorinterp
    if all(kinds.count(kind) == 1 for kind in RGB):
        return tuple(kinds.index(kind) + 1 for kind in RGB)
    names = [(name or "").strip().lower() for name in file.descriptions]
    if all(names.count(kind.name) == 1 for kind in RGB):
        return tuple(names.index(kind.name) + 1 for kind in RGB)
    shown = [number for number, kind in enumerate(kinds, start=1) if kind != ColorInterp.alpha] or [1]
    return tuple(shown[:3]) if len(shown) >= 3 else (shown[0],)


def every_band(file: DatasetReader) -> tuple[int, ...]:
    """Red, green and blue, then every other band that is no alpha; of a file with fewer than three, its first."""
    first = _bands_of(file)
    others = (n for n, kind in enumerate(file.colorinterp, 1) if kind != ColorInterp.alpha and n not in first)
    return first if len(first) == 1 else (*first, *others)


def _palette(file: DatasetReader, band: int) -> np.ndarray | None:
    """uint8 (n, 4) colours of the values 0 to n - 1; None where the values are colours themselves."""
    if file.dtypes[band - 1] != "uint8" and file.colorinterp[band - 1] != ColorInterp.palette:
        return None  # GDAL has colours for negatives of 16 bits, too: the whole range, of which scenes use a little
    try:
        colours = file.colormap(band)
    except ValueError:
        return None
    palette = np.zeros((max(colours) + 1, 4), np.uint8)
    palette[list(colours)] = list(colours.values())
    return palette


def nodata_area(image: np.ndarray, colour: str) -> np.ndarray:
    """True (H, W) inside connected areas of white (all bands >= 250) or black (all <= 5) larger than 400 px."""
    if colour not in ("white", "black"):
        raise ParameterError(f"nodata is 'white' or 'black', got {colour!r}")
    return large_areas((image >= 250).all(axis=-1) if colour == "white" else (image <= 5).all(axis=-1))


def large_areas(blank: np.ndarray) -> np.ndarray:
    """True (H, W) inside connected areas of `blank`, (H, W), of more than 400 px: a speck is no hole."""
    if np.count_nonzero(blank) <= NODATA_AREA_PX:  # most chips: labels would cost as much as decoding them
        return np.zeros(blank.shape, bool)
    # labels (H, W): number of each pixel's area, 0 where not blank; stats: one row an area
    _, labels, stats, _ = cv2.connectedComponentsWithStats(blank.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] > NODATA_AREA_PX
    large[0] = False
    return large[labels]
