"""
What a user may name as an image, as files that GDAL opens: addresses and folders of map tiles become VRTs.

A VRT is a text that says which other files a raster is made of, so that one code reads them all.
"""

import glob
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp

from lib.chips.manifest import is_of_chips
from lib.errors import InputError, or_skip, reading
from lib.grid import MERCATOR_HALF_SIDE_M, WEB_MERCATOR, Grid
from lib.mapping.options import LOCK, MADE_BY, RASTERS
from lib.mapping.vrt import add_source
from lib.osm.layers import IMAGE_SUFFIXES
from lib.rasters import IMAGE, alpha_band, opened, read_grid

ADDRESS = re.compile(r"[a-z][a-z0-9+]*://|/vsi")
TILES = (".png", ".jpg", ".jpeg", ".webp")


def without_query(name: str) -> str:
    """An address without what follows "?": signatures and keys are for no log and no file."""
    return re.sub(r"\?.*", "", name, flags=re.DOTALL)


def find_images(patterns: Sequence[str], folder: Path) -> list[str]:
    """
    Files and folders of patterns such as "images/*.tif", and addresses as they are, for `link_images`.

    Parameters
    ----------
    patterns
        Where they state no absolute path, they lie in `folder`.

    Raises
    ------
    InputError
        If there is no pattern, or one matches nothing.
    """
    if not patterns:
        raise InputError("images is empty: expected files, folders of map tiles, or addresses to map.")
    found: list[str] = []
    for pattern in patterns:
        if ADDRESS.match(pattern):
            found.append(pattern)
            continue
        exists = (folder / pattern).exists()  # and is no pattern, whatever brackets its name has
        named = [pattern] if exists else glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207  may be absolute
        own = sorted(name for name in named if exists or not is_of_chips(folder / name))
        if not own:
            raise InputError(f"{folder / pattern}: no such image.")
        found += [str(folder / name) for name in own]
    return found


def link_images(
    images: Sequence[str | Path], gsd_m: float | None, folder: Path, skipped: dict[str, str] | None = None
) -> Iterator[tuple[str, Path]]:
    """
    Files that show what a user names.

    Parameters
    ----------
    images
        Files; addresses that GDAL reads, such as https://..., s3://bucket/key or /vsicurl/...; folders, either of map
        tiles (lib.rasters says how they are named) or of images.
    gsd_m
        Of the zooms in a folder of tiles, the one nearest to this is taken; None: the finest.
    folder
        Where the VRTs are put.
    skipped
        Where images that can't be opened are named, each with its reason; None: the first stops.

    Yields
    ------
    name, path
        What a message calls the image, and the file to open.
    """
    for number, image in enumerate(images):
        name = without_query(str(image))
        with or_skip(skipped, name):
            if ADDRESS.match(str(image)):
                found = [(name, _link(str(image), name, folder / f"{number}.vrt"))]
            elif Path(image).is_dir():
                found = list(_in_folder(Path(image), gsd_m, folder / f"{number}.vrt"))
            else:
                found = [(name, Path(image))]
            yield from found


def _link(address: str, name: str, vrt: Path) -> Path:
    """A VRT of what lies at an address, with its masks, palette and place."""
    try:
        with rasterio.open(address) as file:
            rasterio.shutil.copy(file, vrt, driver="VRT")
    except rasterio.errors.RasterioError as error:
        said = str(error).replace(address, name)
        raise InputError(f"{name}: expected {IMAGE} at this address, but it can't be opened: {said:.300}") from error
    return vrt


def _in_folder(folder: Path, gsd_m: float | None, vrt: Path) -> Iterator[tuple[str, Path]]:
    """The images of a folder, none of maps and chips; those that are map tiles as one, of the zoom that fits best."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in (*IMAGE_SUFFIXES, *TILES) and p.name[0] != ".")
    paths = sorted(p for p in found if not _is_of_map(p) and not is_of_chips(p))
    if not paths:
        raise InputError(f"{folder}: no image in this folder ({', '.join(sorted({*IMAGE_SUFFIXES, *TILES}))}).")
    zooms: dict[int, list[tuple[Path, Grid]]] = {}
    for path in paths:
        grid = _tile(path) if path.suffix.lower() in TILES else None
        if grid is None:
            yield str(path), path
        else:
            side_m = grid.transform[0] * grid.width
            zooms.setdefault(round(math.log2(2 * MERCATOR_HALF_SIDE_M / side_m)), []).append((path, grid))
    if zooms:
        by_gsd = {tiles[0][1].gsd_m: tiles for tiles in zooms.values()}
        nearest = min(by_gsd, key=lambda own_m: own_m if gsd_m is None else max(own_m / gsd_m, gsd_m / own_m))
        _mosaic(by_gsd[nearest], vrt)
        yield str(folder), vrt


def _is_of_map(path: Path) -> bool:
    """Whether a map wrote an image: one that lies in the folder of its images would be mapped in turn."""
    is_raster = path.name in RASTERS and path.with_name(f"{LOCK}.lock").exists()
    return is_raster or path.with_name(MADE_BY).exists()


def _tile(path: Path) -> Grid | None:
    """Grid of a map tile; None for an image that is none."""
    with opened(path) as file:
        placed = not file.transform.is_identity
    grid = None if placed else read_grid(path, require_crs=False)
    return grid if grid is not None and grid.crs == WEB_MERCATOR else None


def _mosaic(tiles: list[tuple[Path, Grid]], vrt: Path) -> None:
    """Write the VRT of tiles of one zoom: red, green, blue, and alpha, which is 0 where there is no tile."""
    side, pixel_m = tiles[0][1].width, tiles[0][1].transform[0]
    if others := [str(path) for path, grid in tiles if grid.width != side]:
        raise InputError(f"{others[0]} is no tile of {side} px as the others of its zoom: give it in another folder.")
    left, top = min(grid.transform[2] for _, grid in tiles), max(grid.transform[5] for _, grid in tiles)
    places = [(round((g.transform[2] - left) / pixel_m), round((top - g.transform[5]) / pixel_m)) for _, g in tiles]
    size = {"rasterXSize": max(x for x, _ in places) + side, "rasterYSize": max(y for _, y in places) + side}
    root = ElementTree.Element("VRTDataset", {name: str(value) for name, value in size.items()})
    ElementTree.SubElement(root, "SRS").text = WEB_MERCATOR
    ElementTree.SubElement(root, "GeoTransform").text = f"{left!r}, {pixel_m!r}, 0, {top!r}, 0, {-pixel_m!r}"
    bands = []
    for number, kind in enumerate(("Red", "Green", "Blue", "Alpha"), start=1):
        band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        ElementTree.SubElement(band, "ColorInterp").text = kind
        bands.append(band)
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path, _ in tiles]
    root.append(ElementTree.Comment(hashlib.sha256(repr(files).encode()).hexdigest()))  # the text tells of a change
    for (path, _), (col, row) in zip(tiles, places, strict=True):
        with opened(path) as file, reading(path, IMAGE):
            kinds, types = file.colorinterp, set(file.dtypes)
        if types != {"uint8"}:
            raise InputError(f"{path}: expected a tile of 8 bits, got {sorted(types)}.")
        for number, band in enumerate(bands):
            add_source(band, "ComplexSource", path, (col, row, side, side), _from_band(kinds, number))
    ElementTree.ElementTree(root).write(vrt, encoding="utf-8")


def _from_band(kinds: tuple[ColorInterp, ...], number: int) -> dict[str, int]:
    """How red, green, blue or alpha (0 to 3) comes from a tile's bands."""
    if kinds[0] == ColorInterp.palette:
        return {"SourceBand": 1, "ColorTableComponent": number + 1}
    if number < 3:
        return {"SourceBand": number + 1 if len(kinds) >= 3 else 1}
    if alpha := alpha_band(kinds):
        return {"SourceBand": alpha}
    return {"SourceBand": 1, "ScaleOffset": 255, "ScaleRatio": 0}  # all of it is image
