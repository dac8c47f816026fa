"""The image grid: transform, CRS, ground sampling distance, pixel <-> world."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InputError, ParameterError

if TYPE_CHECKING:
    import pyproj

MASK_BACKGROUND = 0  # value of a mask on disk and in memory, uint8
MASK_IGNORE = 127  # no-data or uncertain: neither trained on nor scored
MASK_FOREGROUND = 255

LONLAT = "EPSG:4326"
WEB_MERCATOR = "EPSG:3857"
MERCATOR_HALF_SIDE_M = math.pi * 6378137.0  # half the side of the square that slippy tiles divide
# UTM and national grids keep map metres within this share of ground metres; Mercator and degrees do not
NOMINAL_SCALE_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Grid:
    """
    Where the pixels of an image lie in the world.

    Pixel coordinates are continuous, x right and y down; (0, 0) is the outer corner of the top-left pixel and
    (0.5, 0.5) its centre. World coordinates are x (east, longitude) first, whatever order the CRS declares.

    Parameters
    ----------
    transform
        (a, b, c, d, e, f): x = a * col + b * row + c and y = d * col + e * row + f, in units of the CRS.
    crs
        Such as "EPSG:3857", or WKT where the CRS has no code; None for an image that lies nowhere known.
    width, height
        Size in pixels.

    Raises
    ------
    InputError
        If the transform is not six finite numbers, cannot be inverted, or the size is not positive.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str | None
    width: int
    height: int

    def __post_init__(self) -> None:
        numbers = tuple(float(value) for value in tuple(self.transform)[:6])
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
            raise InputError(f"A transform is six finite numbers (a, b, c, d, e, f); got {self.transform!r}.")
        a, b, _, d, e, _ = numbers
        if a * e - b * d == 0:
            raise InputError(f"The transform {numbers} squeezes the image into a line; check its pixel size.")
        if self.width < 1 or self.height < 1:
            raise InputError(f"An image has at least 1 x 1 pixel; got {self.width} x {self.height}.")
        object.__setattr__(self, "transform", numbers)
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))

    @property
    def gsd_m(self) -> float:
        """
        Ground sampling distance at the centre of the image, metres: the side of a square as large as a pixel.

        Measured on the ellipsoid, so that degrees and web-mercator units become true metres at their
        latitude. Where the projection is true to scale within 0.2 % (UTM, national grids), the
        pixel size that the file states is reported as it stands.
        """
        centre = np.array([[self.width / 2, self.height / 2]])
        true_gsd_m = float(local_gsd_m(self, centre)[0])
        a, b, _, d, e, _ = self.transform
        crs = parse_crs(self.crs)
        nominal_m = math.sqrt(abs(a * e - b * d)) * crs.axis_info[0].unit_conversion_factor
        if crs.is_projected and abs(true_gsd_m / nominal_m - 1) < NOMINAL_SCALE_TOLERANCE:
            return nominal_m
        return true_gsd_m

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Box around the four corners in the CRS: (left, bottom, right, top)."""
        corners = self.pixel_to_world(self._corners_px())
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())

    def pixel_to_world(self, xy: np.ndarray) -> np.ndarray:
        """World coordinates (n, 2) of continuous pixel coordinates (n, 2), both x first."""
        a, b, c, d, e, f = self.transform
        x, y = np.moveaxis(np.asarray(xy, dtype=np.float64), -1, 0)
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    def world_to_pixel(self, xy: np.ndarray) -> np.ndarray:
        """Continuous pixel coordinates (n, 2) of world coordinates (n, 2), both x first."""
        a, b, c, d, e, f = self.transform
        # subtract the origin first: eastings of millions of metres keep their small digits
        x, y = np.moveaxis(np.asarray(xy, dtype=np.float64) - (c, f), -1, 0)
        determinant = a * e - b * d
        return np.stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant], axis=-1)

    def footprint_wkt(self) -> str:
        """Outline of the image as a WKT POLYGON in longitude, latitude; "" without CRS."""
        if self.crs is None:
            return ""
        lonlat = project(self.pixel_to_world(self._corners_px()), self.crs, LONLAT)
        ring = ", ".join(f"{lon:.8f} {lat:.8f}" for lon, lat in [*lonlat, lonlat[0]])
        return f"POLYGON (({ring}))"

    def window(self, col: int, row: int, width: int, height: int) -> Grid:
        """Grid of the window whose top-left pixel is (col, row); it may reach beyond the image."""
        x, y = self.pixel_to_world(np.array([col, row]))
        a, b, _, d, e, _ = self.transform
        return Grid((a, b, float(x), d, e, float(y)), self.crs, width, height)

    def resampled(self, width: int, height: int) -> Grid:
        """The same ground cut into width x height pixels."""
        a, b, c, d, e, f = self.transform
        x_scale, y_scale = self.width / width, self.height / height
        return Grid((a * x_scale, b * y_scale, c, d * x_scale, e * y_scale, f), self.crs, width, height)

    def _corners_px(self) -> np.ndarray:
        """(4, 2) x, y of the corners, clockwise from the top left, in pixels."""
        return np.array([[0, 0], [self.width, 0], [self.width, self.height], [0, self.height]], dtype=np.float64)


def local_gsd_m(grid: Grid, xy_px: np.ndarray) -> np.ndarray:
    """
    Ground sampling distance at each point, metres on the WGS 84 ellipsoid.

    It depends on the place alone, not on the window, so that a road has one width in all the chips it crosses.

    Parameters
    ----------
    grid
        A grid with a CRS.
    xy_px
        Continuous pixel coordinates (n, 2).

    Returns
    -------
    gsd_m
        (n,) float64: square root of the ground area of a pixel.

    Raises
    ------
    InputError
        If the grid has no CRS.
    """
    if grid.crs is None:
        raise InputError("This image has no CRS, so that its pixel size in metres is unknown: give gsd_m.")
    import pyproj

    # the middles of the four sides of a pixel around each point: left, right, top, bottom; (4, n, 2)
    to_sides_px = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    sides_px = np.asarray(xy_px, dtype=np.float64)[None] + to_sides_px[:, None]
    left, right, top, bottom = project(grid.pixel_to_world(sides_px).reshape(-1, 2), grid.crs, LONLAT).reshape(4, -1, 2)
    geod = pyproj.Geod(ellps="WGS84")
    azimuth_x, _, size_x_m = geod.inv(*left.T, *right.T)
    azimuth_y, _, size_y_m = geod.inv(*top.T, *bottom.T)
    shear = np.abs(np.sin(np.radians(np.asarray(azimuth_x) - azimuth_y)))  # 1 for a rectangular pixel
    return np.sqrt(np.asarray(size_x_m) * size_y_m * shear)


def project(xy: np.ndarray, source_crs: str, target_crs: str) -> np.ndarray:
    """Coordinates (n, 2), x or longitude first, from one CRS to another; inf where it is not defined."""
    xy = np.asarray(xy, dtype=np.float64)
    if source_crs == target_crs:
        return xy
    return np.column_stack(transformer(source_crs, target_crs).transform(xy[:, 0], xy[:, 1]))


@lru_cache(maxsize=64)
def transformer(source_crs: str, target_crs: str) -> pyproj.Transformer:
    """Transformer that takes and gives x (longitude) first; kept, as its making costs more than its use."""
    import pyproj

    return pyproj.Transformer.from_crs(parse_crs(source_crs), parse_crs(target_crs), always_xy=True)


@lru_cache(maxsize=64)
def parse_crs(crs: str) -> pyproj.CRS:
    """CRS from its text; InputError where PROJ does not know it."""
    import pyproj

    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"Expected a CRS such as 'EPSG:32635'; got {crs!r}.") from error


def tile_grid(x: int, y: int, zoom: int, size_px: int = 256) -> Grid:
    """
    Grid of a slippy-map tile (OSM wiki, Slippy map tilenames): EPSG:3857, tile (0, 0) in the north-west.

    Raises
    ------
    ParameterError
        If there is no such tile at that zoom.
    """
    count = 2**zoom
    if not (0 <= zoom <= 30 and 0 <= x < count and 0 <= y < count):
        raise ParameterError(f"Zoom {zoom} has tiles 0 to {count - 1} in x and y; got x={x}, y={y}.")
    side_m = 2 * MERCATOR_HALF_SIDE_M / count
    pixel_m = side_m / size_px
    left, top = x * side_m - MERCATOR_HALF_SIDE_M, MERCATOR_HALF_SIDE_M - y * side_m
    return Grid((pixel_m, 0.0, left, 0.0, -pixel_m, top), WEB_MERCATOR, size_px, size_px)


def read_grid(path: str | Path, crs: str | None = None, require_crs: bool = True) -> Grid:
    """
    Grid of an image file: its own georeference, a world file beside it, or a slippy tile's name.

    Parameters
    ----------
    path
        GeoTIFF; or PNG, JPEG, TIFF with a world file (.pgw, .jgw, .tfw, .wld) and, where there is one, a .prj
        beside it; or a tile named `<x>-<y>-<zoom>.png`, with any prefix, or lying in `<zoom>/<x>/<y>.png`.
    crs
        The CRS where the file states none; a world file never does.
    require_crs
        If False, an image without georeference gets its own pixels as world (y down) and crs None.

    Raises
    ------
    InputError
        Names the file if it is missing, is no image, or has no CRS though one is required.
    """
    path = Path(path)
    size, transform, file_crs = _read_georeference(path)
    if file_crs is None and transform is None and (tile := _tile_of_name(path)) is not None:
        if size[0] != size[1]:
            raise InputError(f"{path}: named as a map tile, which is square; the image is {size[0]} x {size[1]}.")
        return tile_grid(*tile, size_px=size[0])
    crs = file_crs or (crs_text(crs) if crs is not None else None)
    if require_crs and (crs is None or transform is None):
        lacking = "a CRS" if transform is not None else "a georeference"
        raise InputError(
            f"{path}: expected {lacking} (GeoTIFF tags, a world file with a .prj, or a tile named x-y-zoom), and "
            "found none. Give crs='EPSG:...' for a file with a world file, or georeference it with gdal_translate."
        )
    return Grid(transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), crs, *size)


def _read_georeference(path: Path) -> tuple[tuple[int, int], tuple[float, ...] | None, str | None]:
    """Size (width, height), transform and CRS of a raster; None for what it does not state."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    if not path.is_file():
        raise InputError(f"{path}: no such image.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as raster:
                size = (raster.width, raster.height)
                transform = None if raster.transform.is_identity else tuple(raster.transform)[:6]
                crs = crs_text(raster.crs) if raster.crs else None
    except RasterioIOError as error:
        raise InputError(f"{path}: expected an image (GeoTIFF, PNG, JPEG), but it cannot be read: {error}") from error
    transform = _read_world_file(path) if transform is None else transform
    if crs is None and transform is not None and path.with_suffix(".prj").is_file():
        crs = crs_text(path.with_suffix(".prj").read_text())
    return size, transform, crs


def crs_text(crs: Any) -> str:
    """Text of a CRS: "EPSG:n" where PROJ recognises the definition, else its WKT."""
    parsed = parse_crs(crs if isinstance(crs, str) else crs.to_wkt())
    authority = parsed.to_authority(min_confidence=70)
    return ":".join(authority) if authority else parsed.to_wkt()


def _read_world_file(path: Path) -> tuple[float, ...] | None:
    """
    Transform of the world file beside an image; its six numbers place the *centre* of the first pixel.

    GDAL reads most of them, but passes silently over one whose numbers stand in one line, or of which one is missing.
    """
    suffix = path.suffix.lower()
    short = suffix[:2] + suffix[-1:] + "w"  # .tif and .tiff -> .tfw
    names = [path.with_name(path.stem + ending) for ending in (short, ".wld", path.suffix + "w")]
    world_file = next((name for name in names if name.is_file()), None)
    if world_file is None:
        return None
    try:
        a, d, b, e, x, y = (float(word.replace(",", ".")) for word in world_file.read_text().split())
    except ValueError as error:
        raise InputError(f"{world_file}: expected six numbers, one a line.") from error
    return (a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)


def _tile_of_name(path: Path) -> tuple[int, int, int] | None:
    """(x, y, zoom) from `...<x>-<y>-<zoom>.<suffix>` or `<zoom>/<x>/<y>.<suffix>`; None for other names."""
    name = (path.parent / path.name.split(".")[0]).as_posix()
    match = re.search(r"(?:^|[^0-9])(?P<x>\d+)-(?P<y>\d+)-(?P<zoom>\d{1,2})$", name)
    match = match or re.search(r"(?:^|/)(?P<zoom>[0-2]?\d|30)/(?P<x>\d+)/(?P<y>\d+)$", name)
    return (int(match["x"]), int(match["y"]), int(match["zoom"])) if match else None
