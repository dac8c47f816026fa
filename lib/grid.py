"""The image grid: transform, CRS, ground sampling distance, pixel <-> world."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InputError, ParameterError

if TYPE_CHECKING:
    import pyproj
    import shapely

MASK_BACKGROUND = 0  # value of a mask on disk and in memory, uint8
MASK_IGNORE = 127  # no-data or uncertain: neither trained on nor scored
MASK_FOREGROUND = 255

LONLAT = "EPSG:4326"
WEB_MERCATOR = "EPSG:3857"
MERCATOR_HALF_SIDE_M = math.pi * 6378137.0  # half the side of the square that slippy tiles divide
# UTM and national grids keep map metres within this share of ground metres; Mercator and degrees do not
NOMINAL_SCALE_TOLERANCE = 2e-3
SQUARE_TOLERANCE = 1e-2  # pixels are squares if their sides agree so far; web mercator's differ by 0.7 % on the equator


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
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of a pixel on the ground, at the centre; both are `gsd_m` where it is about a square."""
        width_m, height_m, _ = _pixel_sides(self, np.array([[self.width / 2, self.height / 2]]))
        ratio = float(width_m[0] / height_m[0])
        if abs(ratio - 1) < SQUARE_TOLERANCE:
            ratio = 1.0
        return self.gsd_m * math.sqrt(ratio), self.gsd_m / math.sqrt(ratio)

    @property
    def bearings(self) -> tuple[float, float]:
        """Where up and right of the image point at its centre, degrees clockwise from north; it needs a CRS."""
        import pyproj

        middle = np.array([self.width / 2, self.height / 2])
        around = self.pixel_to_world(middle + np.array([[0, 0], [0, -0.5], [0.5, 0]]))
        centre, up, right = project(around, self.crs, LONLAT)
        geod = pyproj.Geod(ellps="WGS84")
        return geod.inv(*centre, *up)[0], geod.inv(*centre, *right)[0]

    @property
    def axes(self) -> np.ndarray:
        """(2, 2): right and up in the image at its centre, as unit vectors to true east and north; it needs a CRS."""
        up, right = np.radians(self.bearings)
        return np.array([(np.sin(right), np.cos(right)), (np.sin(up), np.cos(up))])

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
        if turn := self._turn():  # what lies a turn of the earth away is brought to the image
            middle = a * self.width / 2 + b * self.height / 2
            x = x - turn * np.round((x - middle) / turn)
        determinant = a * e - b * d
        return np.stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant], axis=-1)

    def footprint_wkt(self) -> str:
        """Outline of the image as WKT in longitude, latitude, of two parts across the antimeridian; "" without CRS."""
        if self.crs is None:
            return ""
        lonlat = project(self.pixel_to_world(self._corners_px()), self.crs, LONLAT)
        if np.ptp(lonlat[:, 0]) > 180 or np.abs(lonlat[:, 0]).max() > 180:
            import shapely

            return shapely.to_wkt(in_degrees(np.array([shapely.Polygon(lonlat)]), LONLAT)[0], rounding_precision=8)
        ring = ", ".join(f"{lon:.8f} {lat:.8f}" for lon, lat in [*lonlat, lonlat[0]])
        return f"POLYGON (({ring}))"

    def check_on_earth(self) -> None:
        """Raise InputError if the image has a CRS, but its corners do not exist there."""
        if self.crs is None:
            return
        corners = self._corners_px()
        lonlat = project(self.pixel_to_world(corners), self.crs, LONLAT)
        with np.errstate(invalid="ignore"):
            back = self.world_to_pixel(project(lonlat, LONLAT, self.crs))  # elsewhere, where the formulas do not hold
        near = np.abs(back - corners).max() < max(self.width, self.height)  # False for inf and NaN
        if not (near and np.abs(lonlat[:, 1]).max() <= 90):
            raise InputError(
                f"coordinates of {np.round(self.bounds, 4).tolist()} (left, bottom, right, top) do not exist in its "
                f"CRS, {parse_crs(self.crs).name}. Are the axes swapped, or is it another CRS?"
            )

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

    @property
    def is_over_antimeridian(self) -> bool:
        """Whether the image reaches over 180 degrees in a CRS that goes on there: degrees, web mercator."""
        return self._turn() > 0

    def _turn(self) -> float:
        """Once around the earth, in units of the CRS, where `is_over_antimeridian`; else 0."""
        crs = None if self.crs is None else parse_crs(self.crs)
        if crs is None or not (crs.is_geographic or self.crs == WEB_MERCATOR):
            return 0.0
        half = math.pi / crs.axis_info[0].unit_conversion_factor if crs.is_geographic else MERCATOR_HALF_SIDE_M
        left, _, right, _ = self.bounds
        return 0.0 if max(-left, right) <= half * (1 + 1e-9) else 2 * half

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
    return np.sqrt(_pixel_sides(grid, xy_px)[2])


def oblongness(grid: Grid) -> float:
    """
    How many times longer than wide the ground of a pixel is at worst: at the corners, the sides or the centre.

    1 for squares, also turned ones. Of a pixel that is a rhombus, the axes of the ellipse within it.
    """
    y, x = np.mgrid[0:3, 0:3] / 2  # (3, 3) shares of the height and the width
    width_m, height_m, area_m2 = _pixel_sides(grid, np.stack([x * grid.width, y * grid.height], axis=-1).reshape(-1, 2))
    mean_m2 = (width_m**2 + height_m**2) / 2
    return float(((mean_m2 + np.sqrt(np.maximum(mean_m2**2 - area_m2**2, 0))) / area_m2).max())


def _pixel_sides(grid: Grid, xy_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Width and height of a pixel around each point, metres, and its area, square metres; (n,) each."""
    if grid.crs is None:
        raise InputError("This image has no CRS, so that its pixel size in metres is unknown: give gsd_m.")
    import pyproj

    # the middles of the four sides of a pixel around each point: left, right, top, bottom; (4, n, 2)
    to_sides_px = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    sides_px = np.asarray(xy_px, dtype=np.float64)[None] + to_sides_px[:, None]
    left, right, top, bottom = project(grid.pixel_to_world(sides_px).reshape(-1, 2), grid.crs, LONLAT).reshape(4, -1, 2)
    geod = pyproj.Geod(ellps="WGS84")
    width_m, height_m, across_m = (
        np.asarray(geod.inv(*one.T, *other.T)[2]) for one, other in ((left, right), (top, bottom), (right, bottom))
    )
    # the law of cosines, as at a pole there is no north to measure angles from; 0 for a rectangular pixel
    lean_m2 = (width_m**2 + height_m**2) / 2 - 2 * across_m**2
    return width_m, height_m, np.sqrt(np.maximum((width_m * height_m) ** 2 - lean_m2**2, 0))


def in_degrees(geometry: np.ndarray, crs: str) -> np.ndarray:
    """
    Geometries (n,) of a CRS, none of them half as wide as the earth, in longitude, latitude between 180 W and 180 E.

    One that reaches over the antimeridian is of parts on both sides of it.
    """
    import shapely

    degrees = shapely.transform(np.asarray(geometry, object), lambda xy: project(xy, crs, LONLAT))
    left, _, right, _ = shapely.bounds(degrees).T
    with np.errstate(invalid="ignore"):  # of what is empty, or nowhere on earth
        is_over = np.isfinite(right - left) & ((right - left > 180) | (np.maximum(-left, right) > 180))
    for place in np.flatnonzero(is_over):
        near_first = shapely.transform(degrees[place], lambda xy: xy - (360.0, 0.0) * np.round((xy - xy[0]) / 360))
        degrees[place] = in_one_turn(near_first)
    return degrees


def in_one_turn(shape: shapely.Geometry) -> shapely.Geometry:
    """Line or polygon in longitude, latitude that reaches over the antimeridian, as parts between 180 W and 180 E."""
    import shapely

    world = shapely.box(-180, -90, 180, 90)
    turns = [shapely.transform(shape, lambda xy, turn=turn: xy + (turn, 0.0)) for turn in (-360.0, 0.0, 360.0)]
    parts = shapely.get_parts(shapely.intersection(turns, world))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == shapely.get_dimensions(shape)])  # no mere touch


def utm_code(grid: Grid) -> str:
    """CRS of the UTM zone that the image's middle lies in."""
    return utm_zone(grid.pixel_to_world(np.array([grid.width / 2, grid.height / 2])), grid.crs)


def utm_zone(xy: np.ndarray, crs: str) -> str:
    """CRS of the UTM zone that a place lies in: its coordinates (2,), x or longitude first."""
    lon, lat = project(xy[None], crs, LONLAT)[0]
    return f"EPSG:{326 if lat >= 0 else 327}{int((lon + 180) % 360 // 6) + 1:02d}"


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

    try:
        return pyproj.Transformer.from_crs(parse_crs(source_crs), parse_crs(target_crs), always_xy=True)
    except pyproj.exceptions.ProjError as error:
        names = " to ".join(parse_crs(crs).name for crs in (source_crs, target_crs))
        raise InputError(f"no way leads from {names}: is a CRS a local one, or of another planet?") from error


@lru_cache(maxsize=64)
def parse_crs(crs: str | int) -> pyproj.CRS:
    """CRS from its text or EPSG's code; InputError where PROJ does not know it."""
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


def crs_text(crs: Any) -> str:
    """
    Text of a CRS: "EPSG:n" where PROJ recognises the definition, else its WKT; a whole number is EPSG's code.

    Of one with heights only the horizontal part: nothing here has a height.
    """
    parsed = parse_crs(crs if isinstance(crs, str | int) else crs.to_wkt())
    parsed = parsed.sub_crs_list[0] if parsed.is_compound else parsed
    authority = parsed.to_authority(min_confidence=70)
    return ":".join(authority) if authority else parsed.to_wkt()
