"""Raster files: opened within stated limits, and where on earth they say that they lie."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from lib.errors import InputError, reading
from lib.grid import Grid, crs_text, parse_crs, tile_grid

IMAGE = "an image (GeoTIFF, PNG, JPEG)"
CACHE_BYTES = 256 * 2**20  # of decoded image, in each process; GDAL's own 5 % of the memory is much on many cores
MOST_PIXELS = 200_000**2  # of an image or a mask: a city at 0.2 m; a header that declares more is damaged or malign
MOST_BLOCK_BYTES = 2**30  # of the strips or tiles that a file is stored in: each is decoded as a whole
NORTHMOST_TILE = 0.03  # share of the world's height above 84 N: no land, but where dates such as 2021-11-14 would lie
TILE_SIDES_PX = [2**n for n in range(6, 13)]
TMS_FILE = "tilemapresource.xml"  # gdal2tiles writes it beside the folders of zooms, where y counts from the south
DECIDING = re.compile(rb"<(SRS|GeoTransform|GCPList|NoDataValue|ColorInterp|ColorTable)\b")  # in a .aux.xml


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """
    A raster file; opened again inside, it is the same one, with what has been decoded of it.

    Without rasterio's warning of a missing georeference: `read_grid` has dealt with that.

    Raises
    ------
    InputError
        Names the file if it is no image, is damaged, or declares more than MOST_PIXELS or MOST_BLOCK_BYTES: before any
        memory is taken for them.
    """
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with reading(path, IMAGE):
            file = rasterio.open(path, sharing=True)
        with file:
            _check_file(path, file)
            try:
                yield file
            except RasterioError as error:
                raise InputError(f"{path}: expected an image, but it is damaged or cut short: {error}") from error


def _check_file(path: Path, file: rasterio.DatasetReader) -> None:
    # tiles are often JPEG under the name of a PNG, but no image may be a list of other files under such a name
    if file.driver == "VRT" and path.suffix.lower() != ".vrt":
        raise InputError(f"{path}: expected an image, got a list of other files (VRT); call it .vrt if it is yours.")
    if file.width * file.height > MOST_PIXELS:
        raise InputError(
            f"{path} declares {file.width} x {file.height} px; {math.isqrt(MOST_PIXELS)} squared are read at most. "
            "Cut it into several files: gdal_retile.py, or gdal_translate -srcwin."
        )
    with reading(path, IMAGE):
        values = max(math.prod(shape) for shape in file.block_shapes) * file.count
        block_bytes = values * np.dtype(file.dtypes[0].replace("complex_int16", "int32")).itemsize
    if block_bytes > MOST_BLOCK_BYTES:
        raise InputError(
            f"{path} is stored in pieces of {block_bytes / 2**30:.1f} GiB; pieces of {MOST_BLOCK_BYTES / 2**30:g} GiB "
            "are read at most. Write it in tiles: gdal_translate -co TILED=YES."
        )


def alpha_band(kinds: Sequence[ColorInterp]) -> int:
    """Number of the first band that a file calls alpha, from 1; 0: none."""
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else 0


def image_files(path: Path) -> list[Path]:
    """
    An image, and the files that decide with it what it shows and where: beside it, and of a VRT its sources and theirs.

    Those that need not be there are named, too. One that can't be opened is named with what may place it.
    """
    found = dict.fromkeys([path, *_world_files(path), *_named_alike(path, (".prj",)), _tms_file(path)])
    to_open = [path]
    for image in to_open:
        with suppress(InputError), opened(image) as file:
            more = [other for name in file.files if (other := Path(name)) not in found and _decides(other)]
            found |= dict.fromkeys(more)
            to_open += [other for other in more if other.suffix.lower() == ".vrt"]
    return list(found)


def _decides(path: Path) -> bool:
    """Whether a file of an image counts: any viewer leaves one behind that holds statistics and no more."""
    return path.is_file() and (not path.name.endswith(".aux.xml") or bool(DECIDING.search(path.read_bytes())))


def read_grid(path: str | Path, crs: str | None = None, require_crs: bool = True, by_name: bool = True) -> Grid:
    """
    Grid of an image file: its own georeference, a world file beside it, or a map tile's name.

    Parameters
    ----------
    path
        GeoTIFF; or PNG, JPEG, TIFF with a world file (.pgw, .jgw, .tfw, .wld) and, where there is one, a .prj
        beside it; or a tile named `<x>-<y>-<zoom>.png`, with any prefix, or lying in `<zoom>/<x>/<y>.png`, where y
        counts from the south if gdal2tiles' tilemapresource.xml lies beside the zooms.
    crs
        The CRS where the file states none, or a local one; a world file never does.
    require_crs
        If False, an image without georeference gets its own pixels as world (y down) and crs None.
    by_name
        Whether a tile's name says where it lies.

    Raises
    ------
    InputError
        Names the file if it is missing, is no image, lies nowhere on earth, or has no place or CRS though one is
        required: then it says what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such image.")
    with opened(path) as file, reading(path, IMAGE):
        size = (file.width, file.height)
        transform = None if file.transform.is_identity else tuple(file.transform)[:6]
        own_crs = file.crs.to_wkt() if file.crs else None
        indirect = "ground control points" if file.gcps[0] else "RPCs" if file.rpcs else ""
    transform = transform or _read_world_file(path)
    if transform is None and by_name and (tile := _tile_of_name(path, size)) is not None:
        return tile
    try:
        known, local = _crs_on_earth(own_crs or (_read_prj(path) if transform else None) or crs, crs)
        grid = Grid(transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), known if transform else None, *size)
        grid.check_on_earth()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if grid.crs is None and require_crs:
        raise InputError(f"{path} is not georeferenced: {_what_lacks(path, transform, known, local, indirect)}")
    return grid


def _what_lacks(path: Path, transform: tuple | None, crs: str | None, local: str, indirect: str) -> str:
    """Why an image has no place, and what to do."""
    masks = "a `gsd_m` (metres a pixel; then its masks are images)"
    if transform is None and indirect:
        model = " -rpc" if indirect == "RPCs" else ""
        return (
            f"its place is given by {indirect} alone. Run gdalwarp{model} -t_srs EPSG:... {path.name} out.tif, with "
            f"the UTM zone of the place; or give its source {masks}"
        )
    if transform is None:
        found = "it states a CRS, but no place in it" if crs else "GeoTIFF tags, world file, tile's name: none is there"
        return (
            f"{found}. Give it its place (gdal_translate -a_srs EPSG:... -a_ullr left top right bottom), or give its "
            f"source {masks}"
        )
    found = (
        f"its CRS {local!r} is a local one, with no place on earth" if local else "it has a place, but states no CRS"
    )
    return f"{found}. Give its source the `crs` (EPSG:...), or {masks}"


def _crs_on_earth(crs: str | None, instead: str | None) -> tuple[str | None, str]:
    """
    Text of a CRS, and "" or the name of the local CRS that a file states: drawings have such, and know no place.

    `instead` is taken for a local one.
    """
    if crs is None:
        return None, ""
    text = crs_text(crs)
    parsed = parse_crs(text)
    if parsed.is_engineering or parsed.is_vertical or parsed.is_geocentric:
        return (crs_text(instead) if instead else None), parsed.name
    return text, ""


def _named_alike(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files with the image's name and one of the endings, in small letters or in capitals."""
    return [path.with_name(path.stem + written) for ending in endings for written in (ending, ending.upper())]


def _world_files(path: Path) -> list[Path]:
    """What the world file beside an image may be called."""
    suffix = path.suffix.lower()
    short = suffix[:2] + suffix[-1:] + "w"  # .tif and .tiff -> .tfw
    return _named_alike(path, (short, ".wld", path.suffix + "w"))


def _tms_file(path: Path) -> Path:
    """The file that says how y counts in the names of tiles, `<zoom>/<x>/<y>.<suffix>`."""
    return path.parent.parent.parent / TMS_FILE


def _read_prj(path: Path) -> str | None:
    """Text of the CRS in the .prj file beside an image."""
    prj = next(filter(Path.is_file, _named_alike(path, (".prj",))), None)
    if prj is None:
        return None
    with reading(prj, "a CRS as WKT"):
        text = prj.read_text()
    try:
        return crs_text(text)
    except InputError as error:
        raise InputError(f"{prj}: {error}") from error


def _read_world_file(path: Path) -> tuple[float, ...] | None:
    """
    Transform of the world file beside an image; its six numbers place the *centre* of the first pixel.

    GDAL reads most of them, but passes silently over one whose numbers stand in one line, or of which one is missing.
    """
    world_file = next(filter(Path.is_file, _world_files(path)), None)
    if world_file is None:
        return None
    with reading(world_file, "six numbers, one a line"):
        a, d, b, e, x, y = (float(word.replace(",", ".")) for word in world_file.read_text().split())
    return (a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)


def _tile_of_name(path: Path, size: tuple[int, int]) -> Grid | None:
    """
    Grid of `...<x>-<y>-<zoom>.<suffix>` or `<zoom>/<x>/<y>.<suffix>`; None where the name only looks like a tile's.

    No tile has numbers with leading zeros, is oblong, or lies where there is no land: dates do.
    """
    name = (path.parent / path.name.split(".")[0]).as_posix()
    number, zoom = r"(?:0|[1-9]\d*)", r"(?P<zoom>[12]?\d|30)"
    flat = re.search(rf"(?:^|[^0-9])(?P<x>{number})-(?P<y>{number})-{zoom}$", name)
    match = flat or re.search(rf"(?:^|/){zoom}/(?P<x>{number})/(?P<y>{number})$", name)
    if match is None or size[0] != size[1] or size[0] not in TILE_SIDES_PX:
        return None
    x, y, zoom = int(match["x"]), int(match["y"]), int(match["zoom"])
    count = 2**zoom
    if max(x, y) >= count:
        return None
    if flat is None and _counts_from_south(_tms_file(path)):
        y = count - 1 - y
    if y < NORTHMOST_TILE * count:
        return None
    return tile_grid(x, y, zoom, size_px=size[0])


def _counts_from_south(tms_file: Path) -> bool:
    """Whether tiles lie below a tilemapresource.xml; InputError where they are of another profile than mercator."""
    if not tms_file.is_file():
        return False
    with reading(tms_file, "a description of tiles as gdal2tiles writes it"):
        profile = ElementTree.parse(tms_file).getroot().find("TileSets").get("profile")
    if profile not in ("mercator", "global-mercator"):
        raise InputError(
            f"{tms_file}: expected tiles of the profile mercator, got {profile!r}. Cut them anew: gdal2tiles.py "
            "--profile mercator; or give the image itself."
        )
    return True
