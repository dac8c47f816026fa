"""
Vectors -> masks: roads as wide as they are in metres, buildings as polygons.

The rule, for both: a pixel is foreground if its centre lies in the shape. A road is its centreline grown by half its
width, with round joins and ends, as a buffer would be; it is at least one pixel wide, so that it never breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import geopandas as gpd
import numpy as np
import shapely

from lib.errors import ParameterError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid, local_gsd_m
from lib.masks.pixel_shapes import box_tree, gaps_between, in_pixels, line_starts
from lib.masks.scanline import SUBPIXELS, fill_lines, fill_polygons, quantized
from lib.osm.areas import drawn_by_hand
from lib.osm.lanes import METRIC, LaneProfile, is_drawn, is_seen, road_lanes, road_widths_m

Window = tuple[int, int, int, int]  # (col, row, width, height) in pixels of the scene


@dataclass(frozen=True)
class PolygonIndex:
    """
    Polygons of a scene, projected to its pixels once and indexed once.

    Parameters
    ----------
    grid
        Grid of the scene; its pixels are the frame of the coordinates.
    xy, ring_starts, polygon_starts
        Vertices of all rings, first vertex of each ring, first ring of each polygon; as in `lib.masks.scanline`.
    rows
        (polygons,) position in the GeoDataFrame that the polygon came from; -1 for a gap between buildings, which
        is drawn last, as background.
    tree
        STRtree over the polygons' boxes, in pixels.
    """

    grid: Grid
    xy: np.ndarray
    ring_starts: np.ndarray
    polygon_starts: np.ndarray
    rows: np.ndarray
    tree: shapely.STRtree


@dataclass(frozen=True)
class RoadIndex:
    """
    Roads of a scene, projected to its pixels once and indexed once, from which any window is drawn.

    Parameters
    ----------
    grid
        Grid of the scene; its pixels are the frame of the coordinates.
    xy
        (n, 2) int64 vertices of all lines, as in `lib.masks.scanline`.
    starts
        (lines + 1,) first vertex of each line.
    half_widths_px
        (lines,) float64 half of the width of each line.
    rows
        (lines,) position of the road in the GeoDataFrame that the line came from.
    whole_pixels
        Whether the widths are OpenCV's thickness, as in the paper.
    areas
        Roads mapped as polygons.
    tree
        STRtree over the lines' boxes, widths included, in pixels.
    """

    grid: Grid
    xy: np.ndarray
    starts: np.ndarray
    half_widths_px: np.ndarray
    rows: np.ndarray
    whole_pixels: bool
    areas: PolygonIndex
    tree: shapely.STRtree


def rasterize_roads(
    roads: gpd.GeoDataFrame,
    grid: Grid,
    profile: LaneProfile = METRIC,
    gsd_m: float | None = None,
    ignore_band_px: float = 0.0,
) -> np.ndarray:
    """
    Mask of the roads on an image's grid; for many windows of a scene use `index_roads` and `draw_roads`.

    Parameters
    ----------
    roads, grid, profile, gsd_m
        As in `index_roads`.
    ignore_band_px
        As in `draw_roads`.

    Returns
    -------
    mask
        (height, width) uint8: MASK_FOREGROUND on roads, MASK_BACKGROUND elsewhere; all background if there are none.
    """
    return draw_roads(index_roads(roads, grid, profile, gsd_m), None, ignore_band_px)


def rasterize_buildings(
    buildings: gpd.GeoDataFrame,
    grid: Grid,
    gap_m: float = 0.0,
    gsd_m: float | None = None,
    ignore_band_px: float = 0.0,
) -> np.ndarray:
    """
    Mask of the buildings on an image's grid: the pixels whose centres lie in one.

    As rasterio.features.rasterize has it, but where an edge runs through pixel centres: there rasterio takes the pixels
    of one more row or not by the direction of the y axis, here a square of 10 m has 100 pixels of 1 m both ways.

    Parameters
    ----------
    buildings, grid, gap_m, gsd_m
        As in `index_buildings`.
    ignore_band_px
        As in `draw_polygons`.

    Returns
    -------
    mask
        (height, width) uint8: MASK_FOREGROUND in buildings, MASK_BACKGROUND elsewhere.
    """
    return draw_polygons(index_buildings(buildings, grid, gap_m, gsd_m), None, ignore_band_px)


def index_roads(
    roads: gpd.GeoDataFrame, grid: Grid, profile: LaneProfile = METRIC, gsd_m: float | None = None
) -> RoadIndex:
    """
    Project and index the roads of a scene.

    Parameters
    ----------
    roads
        Lines, and polygons of `area=yes` or without tags, in any CRS, with the tags of `lib.osm.layers`; left as it is.
    grid
        Grid of the scene. Without a CRS the roads are taken to be in the grid's own world coordinates.
    profile
        What is drawn, and how wide.
    gsd_m
        Pixel size in metres; needed where the grid has no CRS, else it is measured at each road.

    Raises
    ------
    InputError
        If the roads have no CRS, or cannot be brought into the grid's.
    """
    positions = np.flatnonzero(is_drawn(roads, profile))
    drawn = roads.iloc[positions]
    # single lines and polygons, in pixels, and the row of `drawn` that each is a part of
    parts, owner = shapely.get_parts(in_pixels(drawn.geometry.to_numpy(), roads.crs, grid), return_index=True)
    dimensions = shapely.get_dimensions(parts)
    lines, line_owner = parts[dimensions == 1], owner[dimensions == 1]
    if profile.lane_width_px is None:
        if gsd_m is None:
            gsd_m = local_gsd_m(grid, shapely.bounds(lines).reshape(-1, 2, 2).sum(axis=1) / 2)
        widths_px = road_widths_m(drawn, profile).to_numpy(np.float64)[line_owner] / gsd_m
    else:
        lanes = road_lanes(drawn, profile).to_numpy(np.float64)[line_owner]
        widths_px = np.maximum(np.floor(lanes * profile.lane_width_px), 1.0)
    xy_px, starts = line_starts(lines)
    by_hand = drawn_by_hand(drawn)[owner]  # a label is what it is, in every profile
    is_area = (dimensions == 2) & (profile.draw_areas | by_hand)
    return RoadIndex(
        grid=grid,
        xy=quantized(xy_px),
        starts=starts,
        half_widths_px=widths_px / 2,
        rows=positions[line_owner],
        whole_pixels=profile.lane_width_px is not None,
        areas=_index_polygons(parts[is_area], positions[owner[is_area]], grid),
        tree=box_tree(lines, widths_px / 2 + 2),
    )


def index_buildings(
    buildings: gpd.GeoDataFrame, grid: Grid, gap_m: float = 0.0, gsd_m: float | None = None
) -> PolygonIndex:
    """
    Project and index the buildings of a scene.

    Parameters
    ----------
    buildings
        Polygons and multipolygons in any CRS; left as it is. Those underground are not drawn.
    grid
        Grid of the scene. Without a CRS the buildings are taken to be in the grid's own world coordinates.
    gap_m
        Keep neighbours apart: what lies within half of this of two buildings is background. Free walls stay
        where they are.
    gsd_m
        Pixel size in metres; needed with a gap where the grid has no CRS.

    Raises
    ------
    InputError
        If the buildings have no CRS, or cannot be brought into the grid's.
    """
    positions = np.flatnonzero(is_seen(buildings))
    shapes_px = in_pixels(buildings.geometry.to_numpy()[positions], buildings.crs, grid)
    parts, owner = shapely.get_parts(shapes_px, return_index=True)
    is_polygon = shapely.get_dimensions(parts) == 2
    polygons, rows = parts[is_polygon], positions[owner[is_polygon]]
    if gap_m > 0 and len(shapes_px):
        if gsd_m is None:
            centres = shapely.centroid(shapes_px)
            gsd_m = local_gsd_m(grid, np.column_stack([shapely.get_x(centres), shapely.get_y(centres)]))
        gaps = gaps_between(shapes_px, gap_m / gsd_m)
        polygons, rows = np.concatenate([polygons, gaps]), np.concatenate([rows, np.full(len(gaps), -1)])
    return _index_polygons(polygons, rows, grid)


def draw_roads(index: RoadIndex, window: Window | None = None, ignore_band_px: float = 0.0) -> np.ndarray:
    """
    Mask of a window of the scene; the same pixels as in the mask of the whole.

    Only a profile in whole pixels ("paper") leaves that to OpenCV, which may set single pixels at the edge of a line
    that the window cuts differently.

    Parameters
    ----------
    index
        Roads of the scene.
    window
        (col, row, width, height) in the scene's pixels; None for all of it.
    ignore_band_px
        Pixels within this distance of a road's edge become MASK_IGNORE, on both sides.

    Returns
    -------
    mask
        (height, width) uint8.
    """
    return _drawn(partial(_fill_roads, index), index.grid, window, ignore_band_px)


def draw_polygons(index: PolygonIndex, window: Window | None = None, ignore_band_px: float = 0.0) -> np.ndarray:
    """Mask of a window of the scene's polygons; parameters and result as in `draw_roads`."""
    return _drawn(partial(_fill_polygons, index), index.grid, window, ignore_band_px)


def draw_weights(
    index: RoadIndex, weights: np.ndarray, window: Window | None = None, background: float = 1.0
) -> np.ndarray:
    """
    Weight of each pixel for training: that of its road, the largest where roads cross.

    Parameters
    ----------
    index
        Roads of the scene.
    weights
        One number a row of the GeoDataFrame that was indexed, such as `lib.osm.lanes.road_weights` gives; at most
        255 different ones.
    window
        As in `draw_roads`.
    background
        Weight of the pixels without a road.

    Returns
    -------
    weights
        (height, width) float32.

    Raises
    ------
    ParameterError
        If there are more than 255 different weights.
    """
    levels, codes = np.unique(np.asarray(weights, dtype=np.float32), return_inverse=True)
    if len(levels) > 255:
        raise ParameterError(f"At most 255 different weights fit a mask; got {len(levels)}. Round them.")
    codes = (codes + 1).astype(np.uint8)  # 0 is the background
    drawn = _drawn(partial(_fill_roads, index, codes=codes), index.grid, window, 0.0)
    return np.concatenate([[np.float32(background)], levels])[drawn]


def ignore_edges(mask: np.ndarray, band_px: float) -> np.ndarray:
    """Mask whose pixels within band_px of an edge between foreground and background are MASK_IGNORE."""
    reach = int(np.ceil(band_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= band_px * band_px).astype(np.uint8)
    grown, shrunk = cv2.dilate(mask, disc), cv2.erode(mask, disc)
    return np.where(grown == shrunk, mask, MASK_IGNORE).astype(np.uint8)


def _drawn(
    fill: Callable[[np.ndarray, int, int], None], grid: Grid, window: Window | None, ignore_band_px: float
) -> np.ndarray:
    """Draw on a canvas wider by the ignore band, so that the band sees what lies beyond the window."""
    col, row, width, height = window or (0, 0, grid.width, grid.height)
    margin = int(np.ceil(ignore_band_px)) + 1 if ignore_band_px > 0 else 0
    mask = np.full((height + 2 * margin, width + 2 * margin), MASK_BACKGROUND, dtype=np.uint8)
    fill(mask, col - margin, row - margin)
    if not margin:
        return mask
    return np.ascontiguousarray(ignore_edges(mask, ignore_band_px)[margin:-margin, margin:-margin])


def _fill_roads(index: RoadIndex, mask: np.ndarray, col: int, row: int, codes: np.ndarray | None = None) -> None:
    """Draw areas and lines; with MASK_FOREGROUND, or with the code of their row, larger codes over smaller."""
    _fill_polygons(index.areas, mask, col, row, codes)
    areas = mask.copy() if codes is not None else None
    chosen, values = _chosen(index, mask, col, row, codes)
    if index.whole_pixels:
        _draw_thickness(index, mask, chosen, values, col, row)
    else:
        fill_lines(mask, chosen, index.xy, index.starts, index.half_widths_px, values, col, row)
    if areas is not None:  # else both are MASK_FOREGROUND
        np.maximum(mask, areas, out=mask)


def _fill_polygons(index: PolygonIndex, mask: np.ndarray, col: int, row: int, codes: np.ndarray | None = None) -> None:
    chosen, values = _chosen(index, mask, col, row, codes)
    fill_polygons(mask, chosen, index.xy, index.ring_starts, index.polygon_starts, values, col, row)


def _chosen(
    index: RoadIndex | PolygonIndex, mask: np.ndarray, col: int, row: int, codes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """
    Numbers of the shapes whose box meets the window, and the value of each, in the order in which they are drawn.

    A value is MASK_FOREGROUND, or the code of the shape's row; of a gap MASK_BACKGROUND. Larger codes come later, gaps
    last, else the order is that of the vectors.
    """
    height, width = mask.shape
    chosen = np.sort(index.tree.query(shapely.box(col, row, col + width, row + height)))
    rows = index.rows[chosen]
    values = np.full(len(rows), MASK_FOREGROUND, dtype=np.uint8) if codes is None else codes[rows]
    values[rows < 0] = MASK_BACKGROUND
    order = np.lexsort((values, rows < 0))
    return chosen[order], values[order]


def _draw_thickness(
    index: RoadIndex, mask: np.ndarray, chosen: np.ndarray, values: np.ndarray, col: int, row: int
) -> None:
    """The released rule: OpenCV's lines of whole-pixel thickness between the pixels that hold the vertices."""
    widths_px = 2 * index.half_widths_px[chosen]
    for value, thickness in sorted(set(zip(values.tolist(), widths_px.tolist(), strict=True))):
        alike = chosen[(values == value) & (widths_px == thickness)]
        spans = [slice(index.starts[k], index.starts[k + 1]) for k in alike]
        lines = [((index.xy[span] // SUBPIXELS) - (col, row)).astype(np.int32) for span in spans]
        cv2.polylines(mask, lines, isClosed=False, color=value, thickness=int(thickness))


def _index_polygons(polygons: np.ndarray, rows: np.ndarray, grid: Grid) -> PolygonIndex:
    """Index polygons that are in pixels already."""
    rings, ring_owner = shapely.get_rings(polygons, return_index=True)
    xy_px, ring_starts = line_starts(rings)
    return PolygonIndex(
        grid=grid,
        xy=quantized(xy_px),
        ring_starts=ring_starts,
        polygon_starts=np.searchsorted(ring_owner, np.arange(len(polygons) + 1)),
        rows=rows.astype(np.int64),
        tree=box_tree(polygons, 1.0),
    )
