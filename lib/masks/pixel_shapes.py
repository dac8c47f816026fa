"""Geometries as flat arrays of pixel coordinates: all vertices of a scene projected in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from lib.errors import InputError
from lib.grid import Grid, crs_text, project


def gaps_between(polygons_px: np.ndarray, gaps_px: np.ndarray | float) -> np.ndarray:
    """
    Polygons of all that lies within half a gap of the walls of two different buildings.

    Parameters
    ----------
    polygons_px
        Polygons in pixels.
    gaps_px
        Width of the gap, of each polygon or of all.
    """
    near = shapely.buffer(shapely.boundary(polygons_px), np.asarray(gaps_px) / 2, quad_segs=4)
    first, second = shapely.STRtree(near).query(near, predicate="intersects")
    pairs = first < second
    between = shapely.get_parts(shapely.intersection(near[first[pairs]], near[second[pairs]]))
    return between[shapely.get_dimensions(between) == 2]


def lines_in_pixels(lines: np.ndarray, crs: Any, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of all lines in pixels of the grid, (n, 2), and the first vertex of each line."""
    xy, starts = line_starts(lines)
    return points_in_pixels(xy, crs, grid), starts


def line_starts(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of all lines, (n, 2), and the first vertex of each with the end appended, (lines + 1,)."""
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    return xy, np.searchsorted(owner, np.arange(len(lines) + 1))


def points_in_pixels(xy: np.ndarray, crs: Any, grid: Grid) -> np.ndarray:
    """World coordinates in the vectors' CRS -> pixels of the grid; the whole array in one call of PROJ."""
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


def line_boxes(xy: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, (n, 2) each, of the vertices of each line."""
    if len(starts) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    return np.minimum.reduceat(xy, starts[:-1]), np.maximum.reduceat(xy, starts[:-1])


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


def box_tree(lows: np.ndarray, highs: np.ndarray) -> shapely.STRtree:
    """Tree over boxes given by their corners, (n, 2) each; it holds diagonals, which are smaller than polygons."""
    return shapely.STRtree(shapely.linestrings(np.stack([lows, highs], axis=1)))
