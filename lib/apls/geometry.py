"""Points and segments in pixels: exact lengths, the tolerance, and a grid that finds segments near a point."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

NEAR_PX2 = 1e-2  # points closer than 0.1 px may be one; squared, as the challenge's scorer compares
CELLS_PER_PX = 10  # points of one cell of 0.1 px are one node
MAX_CELLS = 1 << 20  # of the grid that finds segments


@njit(cache=True, nogil=True)
def hypot(dx: float, dy: float) -> float:
    """
    Length of (dx, dy) as fdlibm's e_hypot.c computes it.

    Java's Math.hypot is the same program; the C library's differs in the last bit, which decides exact ties.
    """
    a, b = abs(dx), abs(dy)
    if b > a:
        a, b = b, a
    if b == 0.0 or b * 2.0**60 < a:
        return a + b
    if a > 1e150 or b < 1e-150:
        return math.sqrt(dx * dx + dy * dy)
    high = np.int64(-(2**32))  # keeps the upper 32 bits of a double
    w = a - b
    if w > b:
        t1 = np.int64(np.float64(a).view(np.int64) & high).view(np.float64)
        t2 = a - t1
        return math.sqrt(t1 * t1 - (b * (-b) - t2 * (a + t1)))
    a = a + a
    y1 = np.int64(np.float64(b).view(np.int64) & high).view(np.float64)
    y2 = b - y1
    t1 = np.int64(np.float64(a).view(np.int64) & high).view(np.float64)
    t2 = a - t1
    return math.sqrt(t1 * y1 - (w * (-w) - (t1 * y2 + t2 * b)))


@njit(cache=True, nogil=True)
def is_near(ax: float, ay: float, bx: float, by: float) -> bool:
    """Are the points a and b closer than 0.1 px?"""
    dx = ax - bx
    dy = ay - by
    return dx * dx + dy * dy < NEAR_PX2


@njit(cache=True, nogil=True)
def tenths(v: float | np.ndarray) -> float | np.ndarray:
    """Nearest tenth of a pixel of a coordinate or an array of them, ties towards plus infinity; a whole number."""
    scaled = CELLS_PER_PX * v
    low = np.floor(scaled)
    return low + (scaled - low >= 0.5)


@njit(cache=True, nogil=True)
def foot_on_segment(x: float, y: float, px: float, py: float, qx: float, qy: float) -> tuple[float, float]:
    """Point of the segment p-q nearest to (x, y); NaN, which wins no comparison, where the segment has no length."""
    sx, sy = qx - px, qy - py
    square = sx * sx + sy * sy
    if square == 0.0:
        return np.nan, np.nan
    t = ((x - px) * sx + (y - py) * sy) / square
    if t > 1.0:
        return qx, qy
    if t < 0.0:
        return px, py
    return px + t * sx, py + t * sy


@njit(cache=True, nogil=True)
def line_lengths(vertices: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Length of each line in pixels; line e has the vertices first[e]:first[e + 1] of the rows x, y of `vertices`."""
    out = np.zeros(len(first) - 1)
    for e in range(len(out)):
        for i in range(first[e], first[e + 1] - 1):
            out[e] += hypot(vertices[i + 1, 0] - vertices[i, 0], vertices[i + 1, 1] - vertices[i, 1])
    return out


class CellIndex(NamedTuple):
    """
    A grid of square cells, and the segments within reach of each.

    Attributes
    ----------
    low_x, low_y
        Corner of the grid, pixels.
    cell_px
        Side of a cell, pixels.
    columns, rows
        Size of the grid, cells; the cell (row, column) has the number row * columns + column.
    first, segment
        Compressed rows: segment[first[cell]:first[cell + 1]] are the segments within reach of a cell, each by the
        index of its first vertex, ascending.
    """

    low_x: float
    low_y: float
    cell_px: float
    columns: int
    rows: int
    first: np.ndarray
    segment: np.ndarray


@njit(cache=True, nogil=True)
def _list_segments(
    vertices: np.ndarray, line_first: np.ndarray, reach: float, low: np.ndarray, cell: float, columns: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """`CellIndex.first` and `.segment`: a first pass counts the segments of each cell, a second lists them."""
    # shifted by two while counting and by one while listing, so that each cell's begin moves to its end as it fills
    first = np.zeros(columns * rows + 2, np.int64)
    segment = np.empty(0, np.int64)
    for listing in (False, True):
        for line in range(len(line_first) - 1):
            for i in range(line_first[line], line_first[line + 1] - 1):
                x0 = min(vertices[i, 0], vertices[i + 1, 0]) - reach - low[0]
                x1 = max(vertices[i, 0], vertices[i + 1, 0]) + reach - low[0]
                y0 = min(vertices[i, 1], vertices[i + 1, 1]) - reach - low[1]
                y1 = max(vertices[i, 1], vertices[i + 1, 1]) + reach - low[1]
                for row in range(max(0, int(y0 / cell)), min(rows - 1, int(y1 / cell)) + 1):
                    for column in range(max(0, int(x0 / cell)), min(columns - 1, int(x1 / cell)) + 1):
                        k = row * columns + column
                        if listing:
                            segment[first[k + 1]] = i
                            first[k + 1] += 1
                        else:
                            first[k + 2] += 1
        if not listing:
            first = np.cumsum(first)
            segment = np.empty(first[-1], np.int64)
    return first[:-1], segment


def index_segments(vertices: np.ndarray, line_first: np.ndarray, reach_px: float) -> CellIndex:
    """
    Index of the segments of lines by the cells within `reach_px` of their boxes.

    Parameters
    ----------
    vertices, line_first
        Line e has the vertices line_first[e]:line_first[e + 1] of the (n, 2) rows x, y in pixels.
    reach_px
        A point that is no farther than this from a segment finds it in the cell that it lies in.
    """
    extent = vertices if len(vertices) else np.zeros((1, 2))
    low = extent.min(axis=0) - reach_px
    wide, high = extent.max(axis=0) + reach_px - low
    cell_px = max(4.0 * reach_px, np.sqrt(wide * high / MAX_CELLS), wide / MAX_CELLS, high / MAX_CELLS)
    columns, rows = int(wide / cell_px) + 1, int(high / cell_px) + 1
    lists = _list_segments(vertices, line_first, reach_px, low, cell_px, columns, rows)
    return CellIndex(*low, cell_px, columns, rows, *lists)


@njit(cache=True, nogil=True)
def span_of_cell(index: CellIndex, x: float, y: float) -> tuple[int, int]:
    """Begin and end, in `index.segment`, of the segments that a point may be near to; both 0 outside the grid."""
    column = int(np.floor((x - index.low_x) / index.cell_px))
    row = int(np.floor((y - index.low_y) / index.cell_px))
    if not (0 <= column < index.columns and 0 <= row < index.rows):
        return 0, 0
    cell = row * index.columns + column
    return index.first[cell], index.first[cell + 1]
