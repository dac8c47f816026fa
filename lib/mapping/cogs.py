"""
Rasters of a map: blocks as they are finished, and the Cloud-Optimized GeoTIFFs that are made of them.

All have an internal mask, 0 where there was no image to see. The overviews of probabilities are averages of what was
seen; those of the mask take one pixel of each square (nearest), so that they hold no greys. A straight road keeps its
area in them, on average over its places: one that is w px wide and runs along the pixels is drawn between floor(w / f)
and ceil(w / f) px wide in an overview of factor f, so that its area is off by less than f / w.
"""

import errno
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from lib.errors import DiskFullError, reading
from lib.grid import MASK_FOREGROUND, Grid
from lib.mapping.windows import Box
from lib.paths import whole_file, write_whole
from lib.rasters import CACHE_BYTES, IMAGE

SEEN = 255  # value of a file's mask where there is image
TILE_PX = 512
LEVELS = 255  # probabilities are written as round(255 p)
SEEN_TAG = "SEEN_PX"
# on two cores threads take half as much CPU time again, and save a seventh of the wall clock
THREADS = "ALL_CPUS" if (os.cpu_count() or 1) > 2 else "1"


def write_block(path: Path, probability: np.ndarray, corner: tuple[int, int]) -> int:
    """
    Write the probability of a block, whole or not at all.

    Parameters
    ----------
    path
        File of a band a class, round(255 p), and one more, 255 where there is image.
    probability
        (H, W) float32, or of several classes (classes, H, W); NaN where there is no image.
    corner
        (x, y) of its upper left corner, pixels from the lower left corner of the map: as viewers expect it.

    Returns
    -------
    seen_px
        How many pixels show image.
    """
    height, width = probability.shape[-2:]
    planes = probability.reshape(-1, height, width)
    seen = ~np.isnan(planes[0])
    levels = np.rint(np.where(seen, planes, 0) * LEVELS).astype(np.uint8)
    count = int(np.count_nonzero(seen))
    form = {"driver": "GTiff", "tiled": True, "compress": "zstd", "zstd_level": 1}  # half of LZW's time, and smaller
    profile = {"width": width, "height": height, "count": len(planes) + 1, "dtype": "uint8", **form}
    profile["transform"] = rasterio.Affine(1, 0, corner[0], 0, -1, corner[1])
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), MemoryFile() as memory:  # GDAL is silent where a disk is full
        with memory.open(**profile) as file:
            file.write(np.stack([*levels, seen * np.uint8(SEEN)]))
            file.update_tags(**{SEEN_TAG: count})
        write_whole(path, bytes(memory.getbuffer()))
    return count


def read_seen_px(path: Path) -> int:
    """How many pixels of a block show image."""
    with reading(path, "a finished block"), rasterio.open(path) as file:
        return int(file.tags()[SEEN_TAG])


def write_probability_cog(
    path: Path, grid: Grid, blocks: Iterable[tuple[Path, Box]], place: int = 0, classes: int = 1
) -> None:
    """Write probability.tif from blocks and where they lie on the map's grid: the class at a place among several."""
    vrt, (values, mask) = _vrt(grid)
    for block, (col, row, width, height) in blocks:
        for number, band in ((place + 1, values), (classes + 1, mask)):
            source = ElementTree.SubElement(band, "SimpleSource")
            _from(source, block, str(number), width, height)
            ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=str(width), ySize=str(height))
            ElementTree.SubElement(source, "DstRect", xOff=str(col), yOff=str(row), xSize=str(width), ySize=str(height))
    _write_cog(path, vrt, "AVERAGE")


def write_mask_cog(path: Path, grid: Grid, probability: Path, threshold: float) -> None:
    """Write mask.tif from probability.tif: 255 where the probability is at least the threshold, else 0."""
    vrt, (values, mask) = _vrt(grid)
    least = int(np.ceil(round(threshold * LEVELS, 6)))  # of the levels, the first that is foreground
    source = ElementTree.SubElement(values, "ComplexSource")
    _from(source, probability, "1", grid.width, grid.height)
    # a slope so steep that levels below `least` fall to 0 and the others rise past 255; a table of values takes longer
    ElementTree.SubElement(source, "ScaleOffset").text = str(MASK_FOREGROUND * (1 - least))
    ElementTree.SubElement(source, "ScaleRatio").text = str(MASK_FOREGROUND)
    _from(ElementTree.SubElement(mask, "SimpleSource"), probability, "mask,1", grid.width, grid.height)
    _write_cog(path, vrt, "NEAREST")


def _vrt(grid: Grid) -> tuple[ElementTree.Element, tuple[ElementTree.Element, ElementTree.Element]]:
    """A VRT on a grid, its band and the band of its mask, without sources."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ElementTree.SubElement(root, "SRS").text = grid.crs
        a, b, c, d, e, f = grid.transform
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(map(repr, (c, a, b, f, d, e)))
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    ElementTree.SubElement(band, "ColorInterp").text = ColorInterp.gray.name.capitalize()
    mask = ElementTree.SubElement(ElementTree.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    return root, (band, mask)


def _from(source: ElementTree.Element, path: Path, band: str, width: int, height: int) -> None:
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
    ElementTree.SubElement(source, "SourceBand").text = band
    sizes = {"RasterXSize": str(width), "RasterYSize": str(height), "DataType": "Byte"}  # else each file is opened
    ElementTree.SubElement(source, "SourceProperties", BlockXSize="256", BlockYSize="256", **sizes)


def _write_cog(path: Path, vrt: ElementTree.Element, overviews: str) -> None:
    with (
        whole_file(path) as part,
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        _gdal_errors_raised(path),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # without CRS it is in pixels, as was asked for
        with rasterio.open(ElementTree.tostring(vrt, encoding="unicode")) as file:
            rasterio.shutil.copy(
                file,
                part,
                driver="COG",
                compress="DEFLATE",
                blocksize=TILE_PX,
                overviews="IGNORE_EXISTING",
                overview_resampling=overviews,
                bigtiff="IF_SAFER",
                sparse_ok=True,
                num_threads=THREADS,
            )
        _check_whole(part, path)


@contextmanager
def _gdal_errors_raised(path: Path) -> Iterator[None]:
    """
    Raise what GDAL merely logs: it closes a file that it could not write to the end as if nothing was wrong.

    `whole_file` makes a DiskFullError of it where the disk is full.
    """
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("rasterio._env")
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagates
    if said:
        raise OSError(errno.EIO, f"GDAL could not write it: {said[0]}", str(path))


def _check_whole(part: Path, path: Path) -> None:
    """Raise DiskFullError where a file ends before its last tile: GDAL says nothing of what it can't write at last."""
    size = part.stat().st_size
    with reading(path, IMAGE), rasterio.open(part) as file:
        rows, columns = (-(-n // TILE_PX) for n in file.shape)
        for row in range(rows):
            for column in range(columns):
                place = [
                    int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1) or 0)
                    for what in ("OFFSET", "SIZE")
                ]
                if sum(place) > size:
                    said = f"No space left on the disk for {path}: it ends after {size} bytes"
                    raise DiskFullError(errno.ENOSPC, said, str(path))
