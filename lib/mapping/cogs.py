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
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from lib.errors import DiskFullError, reading
from lib.grid import MASK_FOREGROUND, Grid
from lib.mapping.vrt import add_source
from lib.mapping.windows import Box
from lib.paths import whole_file, write_whole
from lib.rasters import CACHE_BYTES, IMAGE

SEEN = 255  # value of a file's mask where there is image
TILE_PX = 512
LEVELS = 255  # probabilities are written as round(255 p)
SEEN_TAG = "SEEN_PX"
# what GDAL says, and libtiff, where a disk is full; a failing disk, too, which is rarer
NO_SPACE = re.compile(f"{re.escape(os.strerror(errno.ENOSPC))}|[Ww]rite error")
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


class Pieces(NamedTuple):
    """Files of levels round(255 p) and where they lie on the map's grid; which band that is, and which what is seen."""

    files: Sequence[tuple[Path, Box]]
    levels: str = "1"
    seen: str = "mask,1"


class Cog(NamedTuple):
    """A GeoTIFF to be written: its path, the VRT that it copies, and GDAL's name of how its overviews are made."""

    path: Path
    vrt: ElementTree.Element
    overviews: str


def of_blocks(blocks: Sequence[tuple[Path, Box]], place: int = 0, classes: int = 1) -> Pieces:
    """Blocks of `write_block` and where they lie: the class at a place among several."""
    return Pieces(blocks, str(place + 1), str(classes + 1))


def probability_cog(path: Path, grid: Grid, pieces: Pieces) -> Cog:
    """What probability.tif holds."""
    return Cog(path, _vrt(grid, pieces), "AVERAGE")


def mask_cog(path: Path, grid: Grid, pieces: Pieces, threshold: float) -> Cog:
    """What mask.tif holds: 255 where the probability is at least the threshold, else 0."""
    least = int(np.ceil(round(threshold * LEVELS, 6)))  # of the levels, the first that is foreground
    # a slope so steep that levels below `least` fall to 0 and the others rise past 255; a table of values takes longer
    scale = {"ScaleOffset": MASK_FOREGROUND * (1 - least), "ScaleRatio": MASK_FOREGROUND}
    return Cog(path, _vrt(grid, pieces, scale), "NEAREST")


def _vrt(grid: Grid, pieces: Pieces, scale: Mapping[str, int] | None = None) -> ElementTree.Element:
    """A VRT of one band on a grid, and of its mask; the band's values may be scaled."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ElementTree.SubElement(root, "SRS").text = grid.crs
        a, b, c, d, e, f = grid.transform
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(map(repr, (c, a, b, f, d, e)))
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    ElementTree.SubElement(band, "ColorInterp").text = ColorInterp.gray.name.capitalize()
    mask = ElementTree.SubElement(ElementTree.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    kind = "ComplexSource" if scale else "SimpleSource"
    for path, box in pieces.files:
        for source in (
            add_source(band, kind, path, box, {"SourceBand": pieces.levels, **(scale or {})}),
            add_source(mask, "SimpleSource", path, box, {"SourceBand": pieces.seen}),
        ):
            sizes = {"RasterXSize": str(box[2]), "RasterYSize": str(box[3]), "DataType": "Byte"}  # else each is opened
            ElementTree.SubElement(source, "SourceProperties", BlockXSize="256", BlockYSize="256", **sizes)
    return root


def write_cogs(*cogs: Cog) -> None:
    """Write them side by side, all of them or none."""
    with ExitStack() as stack:
        parts = [stack.enter_context(whole_file(cog.path)) for cog in cogs]
        with _gdal_errors_raised(cogs[0].path), warnings.catch_warnings(), ThreadPoolExecutor(len(cogs)) as threads:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # without CRS it is in pixels, as was asked for
            list(threads.map(_write_cog, cogs, parts))
        for cog, part in zip(cogs, parts, strict=True):
            _check_whole(part, cog.path)


def _write_cog(cog: Cog, part: Path) -> None:
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=THREADS),
        rasterio.open(ElementTree.tostring(cog.vrt, encoding="unicode")) as file,
    ):
        rasterio.shutil.copy(
            file,
            part,
            driver="COG",
            compress="DEFLATE",
            blocksize=TILE_PX,
            overviews="IGNORE_EXISTING",
            overview_resampling=cog.overviews,
            bigtiff="IF_SAFER",
            sparse_ok=True,
            num_threads=THREADS,
        )


@contextmanager
def _gdal_errors_raised(path: Path) -> Iterator[None]:
    """
    Raise what GDAL merely logs: it closes a file that it could not write to the end as if nothing was wrong.

    `whole_file` makes a DiskFullError of it where the disk is full; by what GDAL has said, since it frees much of the
    disk itself before it fails.
    """
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("rasterio._env")
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    except Exception as error:
        if full := [line for line in (*said, str(error)) if NO_SPACE.search(line)]:
            raise OSError(errno.ENOSPC, f"GDAL could not write it: {full[0]}", str(path)) from error
        raise
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
