"""The frame that vectors are compared in: pixels of one image, x right and y down. Others are projected or refused."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError
from lib.grid import SQUARE_TOLERANCE, oblongness, parse_crs, project, utm_code

if TYPE_CHECKING:
    from lib.grid import Grid

Roads = list[np.ndarray]  # polylines, each (n, 2) x, y in pixels; (0, 2) stands for LINESTRING EMPTY

LEAST_PX = 1.0  # a smaller network, or all buildings of a file, are in degrees
FARTHEST_PX = 1e5  # no image is so large that its roads begin so far from its corner: a map's metres do
LARGEST_PX = 1e7  # nor is any road so long: it would have more control points than memory holds


def check_pixels(roads: Roads, what: str, where: Sequence[str] | None = None, least_px: float = LEAST_PX) -> None:
    """
    Refuse coordinates that can't be pixels.

    Parameters
    ----------
    roads
        Of one image; or the outlines of its buildings.
    what
        Whose they are, for an error.
    where
        What to call each road in an error, such as "truth.csv, line 7".
    least_px
        0 where a grid has brought the coordinates to pixels: then nothing is so small that was not so on the ground.

    Raises
    ------
    InputError
        If the roads together are smaller than `least_px`, as degrees are, or begin beyond FARTHEST_PX, as metres of a
        map do; if one reaches beyond LARGEST_PX.
    """
    xy = np.concatenate([np.empty((0, 2)), *roads])
    if not len(xy):
        return
    low, high = xy.min(axis=0), xy.max(axis=0)
    place = f"{low[0]:g} {low[1]:g} to {high[0]:g} {high[1]:g}"
    cure = "bring the coordinates to the pixels of their image, or give its grid (--grid IMAGE)"
    if (high - low).max() < least_px:
        raise InputError(f"{what}: expected pixels, found what looks like degrees ({place}); {cure}.")
    if np.maximum(low, -high).max() > FARTHEST_PX:
        raise InputError(f"{what}: expected pixels, found what looks like metres of a map ({place}); {cure}.")
    if not (np.abs(xy) <= LARGEST_PX).all():
        far = next(k for k, road in enumerate(roads) if not (np.abs(road) <= LARGEST_PX).all())
        name = where[far] if where else f"{what}, road {far}"
        raise InputError(f"{name}: expected pixels, found a coordinate beyond {LARGEST_PX:g}; remove it.")


def in_pixels(lines: Iterable[np.ndarray], crs: str | None, grid: "Grid | None", what: str) -> Roads:
    """
    Lines in the pixels of an image.

    Parameters
    ----------
    lines
        (n, 2 or more) each; heights are left out.
    crs
        Of the lines; None where nothing states one: they are taken for the grid's then, or without one for pixels.
    grid
        Of the image; None: the lines are pixels already.
    what
        Whose lines they are, for an error.

    Raises
    ------
    InputError
        If the lines have a CRS and there is no grid, or none with a CRS; if they are not in their CRS; or if what comes
        out can't be pixels.
    """
    lines = [np.asarray(line, float)[:, :2] for line in lines]
    xy = np.concatenate([np.empty((0, 2)), *lines])
    if crs is not None and len(xy):
        name = parse_crs(crs).name
        if grid is None or grid.crs is None:
            raise InputError(f"{what}: expected pixels, found coordinates of {name}; give the grid of the image.")
        if parse_crs(crs).is_geographic and (np.abs(xy) > (360, 90)).any():
            raise InputError(
                f"{what}: expected degrees, as its CRS {name} says, found other numbers; if they are pixels, "
                "give no grid."
            )
        xy = project(xy, crs, grid.crs)
        if not np.isfinite(xy).all():
            raise InputError(f"{what}: some of its coordinates, in {name}, have no place in the image's {grid.crs}.")
    if grid is not None:
        xy = np.asarray(grid.world_to_pixel(xy))
    roads = _apart(xy, lines)
    check_pixels(roads, what)
    return roads


def in_square_pixels(roads: Roads, grid: "Grid") -> Roads:
    """
    Roads in pixels of an image, in pixels that are `grid.gsd_m` on both sides: distances times it are metres.

    Pixels in degrees are squares of degrees, on the ground 0.20 x 0.30 m in Paris: their roads are laid on the UTM
    zone, whatever way the image is turned. Roads of an image whose pixels are square on the ground, or whose place is
    not known, are given back as they are.
    """
    if grid.crs is None or oblongness(grid) - 1 < SQUARE_TOLERANCE:
        return roads
    zone = utm_code(grid)
    # from the corner of the image on: a map's northings would be too large for pixels
    xy = np.concatenate([np.zeros((1, 2)), *roads])
    east_north_m = project(grid.pixel_to_world(xy), grid.crs, zone)
    xy = (east_north_m - east_north_m[0])[1:] * (1, -1) / grid.gsd_m
    return _apart(xy, roads)


def _apart(xy: np.ndarray, lines: Sequence[np.ndarray]) -> Roads:
    """Coordinates (n, 2) as lines of as many as these have."""
    return np.split(xy, np.cumsum([len(line) for line in lines])[:-1]) if lines else []
