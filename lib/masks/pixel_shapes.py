"""Geometries as flat arrays of pixel coordinates: all vertices of a scene projected in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from lib.errors import InputError
from lib.grid import Grid, crs_text, project

SAME_SHARE = 0.5  # polygons of which the smaller lies so far within the other are one building, or a part of it


def gaps_between(polygons_px: np.ndarray, gaps_px: np.ndarray | float) -> np.ndarray:
    """
    Polygons of all that lies within half a gap of the walls of two different buildings.

    One that is mapped twice, as way and as relation, or with its parts, is no neighbour of its own.

    Parameters
    ----------
    polygons_px
        Polygons in pixels.
    gaps_px
        Width of the gap, of each polygon or of all.
    """
    near = shapely.buffer(shapely.boundary(polygons_px), np.asarray(gaps_px) / 2, quad_segs=4)
    first, second = shapely.STRtree(near).query(near, predicate="intersects")
    first, second = first[first < second], second[first < second]
    solid = shapely.make_valid(polygons_px)
    common, area = shapely.area(shapely.intersection(solid[first], solid[second])), shapely.area(solid)
    apart = common <= SAME_SHARE * np.minimum(area[first], area[second])
    between = shapely.get_parts(shapely.intersection(near[first[apart]], near[second[apart]]))
    return between[shapely.get_dimensions(between) == 2]


def in_pixels(shapes: np.ndarray, crs: Any, grid: Grid) -> np.ndarray:
    """
    Shapes in pixels of the grid, without heights; all vertices in one call of PROJ.

    Raises
    ------
    InputError
        If the grid has a CRS and the shapes state none, or some cannot be brought into it.
    """

    def to_pixels(xy: np.ndarray) -> np.ndarray:  # (vertices, 2), in the shapes' CRS and in pixels
        if grid.crs is not None and len(xy):
            if crs is None:
                raise InputError("The vectors state no CRS; set it (frame.set_crs), most often EPSG:4326.")
            xy = project(xy, crs_text(crs), grid.crs)
        bad = ~np.isfinite(xy).all(axis=1)
        if bad.any():
            raise InputError(
                f"{bad.sum()} of {len(xy)} vertices cannot be projected from {crs_text(crs) if crs else 'no CRS'} to "
                f"{grid.crs}: are the axes swapped (longitude comes first), or is the CRS of the vectors wrong?"
            )
        return grid.world_to_pixel(xy)

    return shapely.transform(shapes, to_pixels)


def line_starts(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of all lines, (n, 2), and the first vertex of each with the end appended, (lines + 1,)."""
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    return xy, np.searchsorted(owner, np.arange(len(lines) + 1))


def lengths_in_windows(
    xy_px: np.ndarray, starts: np.ndarray, windows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    How much of each line lies in each window.

    Parameters
    ----------
    xy_px, starts
        Lines, as `line_starts` gives them.
    windows
        (m, 4): col, row, width, height in pixels.

    Returns
    -------
    window, line, length_px
        Three arrays, one entry for each window and line that meet.
    """
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    lines = shapely.linestrings(xy_px, indices=owner) if len(xy_px) else np.empty(0, dtype=object)
    col, row, width, height = np.asarray(windows, dtype=np.float64).reshape(-1, 4).T
    boxes = shapely.box(col, row, col + width, row + height)
    window, line = shapely.STRtree(lines).query(boxes, predicate="intersects")
    return window, line, shapely.length(shapely.intersection(lines[line], boxes[window]))


def box_tree(shapes: np.ndarray, reach_px: np.ndarray | float) -> shapely.STRtree:
    """Tree over the shapes' boxes, each grown by its reach; it keeps diagonals, which are smaller than polygons."""
    lows, highs = np.split(shapely.bounds(shapes), 2, axis=1)  # (n, 2) each, x and y
    reach = np.broadcast_to(reach_px, len(lows))[:, None]
    return shapely.STRtree(shapely.linestrings(np.stack([lows - reach, highs + reach], axis=1)))
