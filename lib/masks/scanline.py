"""
Filling thick lines and polygons by the pixel-centre rule, compiled.

A pixel belongs to a shape if its centre lies in it; centres on the very edge count on one side only, so that a road
of four pixels never has five. Coordinates are integers of 1 / SUBPIXELS of a pixel, and all arithmetic is relative to
a segment's own start: the same shape fills the same pixels from whatever window it is seen. OpenCV's own thick lines
are whole pixels wide and grow by their outline; these have the width asked for.
"""

import math

import numba
import numpy as np

SUBPIXEL_BITS = 20
SUBPIXELS = 1 << SUBPIXEL_BITS


def quantized(xy_px: np.ndarray) -> np.ndarray:
    """Continuous pixel coordinates as integers of 1 / SUBPIXELS, int64."""
    return np.floor(np.asarray(xy_px, dtype=np.float64) * SUBPIXELS + 0.5).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def fill_lines(
    mask: np.ndarray,
    chosen: np.ndarray,
    xy: np.ndarray,
    starts: np.ndarray,
    half_widths_px: np.ndarray,
    values: np.ndarray,
    col: int,
    row: int,
) -> None:
    """
    Fill thick polylines with round joins and ends.

    Parameters
    ----------
    mask
        (height, width) uint8, changed in place; its top-left pixel is (col, row) of the scene.
    chosen
        Numbers of the lines to draw, in this order.
    xy
        (n, 2) int64 vertices of all lines, `quantized`, x right, y down.
    starts
        (lines + 1,) first vertex of each line.
    half_widths_px
        (lines,) float64; at least half a pixel is drawn, so that a thin line does not break.
    values
        (chosen,) uint8 of each line that is drawn.
    """
    height, width = mask.shape
    for line, value in zip(chosen, values):  # noqa: B905 numba's zip has no `strict`
        radius = max(half_widths_px[line], 0.5)
        reach = radius + 1.0
        for k in range(starts[line], starts[line + 1] - 1):
            x0, y0 = xy[k, 0] - col * SUBPIXELS, xy[k, 1] - row * SUBPIXELS
            x1, y1 = xy[k + 1, 0] - col * SUBPIXELS, xy[k + 1, 1] - row * SUBPIXELS
            if max(x0, x1) / SUBPIXELS + reach < 0 or min(x0, x1) / SUBPIXELS - reach > width:
                continue
            if max(y0, y1) / SUBPIXELS + reach < 0 or min(y0, y1) / SUBPIXELS - reach > height:
                continue
            # whole pixel of the start and the place in it: only these and differences enter the arithmetic
            base_col, base_row = x0 >> SUBPIXEL_BITS, y0 >> SUBPIXEL_BITS
            x_in = (x0 - base_col * SUBPIXELS) / SUBPIXELS
            y_in = (y0 - base_row * SUBPIXELS) / SUBPIXELS
            dx, dy = (x1 - x0) / SUBPIXELS, (y1 - y0) / SUBPIXELS
            length = math.sqrt(dx * dx + dy * dy)
            # across the road: |x - y * slope| <= half_cut; along it: from start to end, which lean by `lean`
            slope, half_cut = (dx / dy, radius * length / abs(dy)) if dy != 0.0 else (0.0, np.inf)
            lean, along = (-dy / dx, length * length / dx) if dx != 0.0 else (0.0, np.inf)
            is_last = k == starts[line + 1] - 2
            first = base_row + math.ceil(y_in + min(dy, 0.0) - radius - 0.5)
            last = base_row + math.floor(y_in + max(dy, 0.0) + radius - 0.5)
            for j in range(max(first, 0), min(last, height - 1) + 1):
                y = (j - base_row) + 0.5 - y_in  # of the pixel centres, from the segment's start
                left, right = np.inf, -np.inf  # of what is filled in this row, from the start too; empty so far
                if (dy != 0.0 or -radius <= y < radius) and (dx != 0.0 or 0.0 <= y * dy <= length * length):
                    left, right = y * slope - half_cut, y * slope + half_cut
                    if dx > 0.0:
                        left, right = max(left, y * lean), min(right, y * lean + along)
                    elif dx < 0.0:
                        left, right = max(left, y * lean + along), min(right, y * lean)
                    if left > right:
                        left, right = np.inf, -np.inf
                if -radius <= y < radius:  # the round join; that of the end comes with the next segment
                    half = math.sqrt(radius * radius - y * y)
                    left, right = min(left, -half), max(right, half)
                if is_last and -radius <= y - dy < radius:
                    half = math.sqrt(radius * radius - (y - dy) * (y - dy))
                    left, right = min(left, dx - half), max(right, dx + half)
                if left <= right:
                    first_col = max(base_col + math.ceil(left + x_in - 0.5), 0)
                    end_col = min(base_col + math.ceil(right + x_in - 0.5), width)
                    if first_col < end_col:
                        mask[j, first_col:end_col] = value


@numba.njit(cache=True, nogil=True)
def fill_polygons(
    mask: np.ndarray,
    chosen: np.ndarray,
    xy: np.ndarray,
    ring_starts: np.ndarray,
    polygon_starts: np.ndarray,
    values: np.ndarray,
    col: int,
    row: int,
) -> None:
    """
    Fill polygons, even-odd over their rings, so that holes stay open.

    Parameters
    ----------
    mask, chosen, xy, values, col, row
        As in `fill_lines`, with rings for lines.
    ring_starts
        (rings + 1,) first vertex of each ring; the last vertex of a ring repeats its first.
    polygon_starts
        (polygons + 1,) first ring of each polygon; a multipolygon is one with several outer rings.
    """
    height, width = mask.shape
    crossings = np.empty(64, dtype=np.float64)
    for polygon, value in zip(chosen, values):  # noqa: B905 numba's zip has no `strict`
        first_ring, last_ring = polygon_starts[polygon], polygon_starts[polygon + 1]
        first_vertex, last_vertex = ring_starts[first_ring], ring_starts[last_ring]
        if last_vertex == first_vertex:
            continue
        if last_vertex - first_vertex > crossings.size:
            crossings = np.empty(last_vertex - first_vertex, dtype=np.float64)
        top, bottom = xy[first_vertex, 1], xy[first_vertex, 1]
        for k in range(first_vertex, last_vertex):
            top, bottom = min(top, xy[k, 1]), max(bottom, xy[k, 1])
        # x is counted from the polygon's first pixel column, for the same sums in every window
        base_col = xy[first_vertex, 0] >> SUBPIXEL_BITS
        for j in range(max((top >> SUBPIXEL_BITS) - row, 0), min((bottom >> SUBPIXEL_BITS) - row, height - 1) + 1):
            y = (j + row) * SUBPIXELS + SUBPIXELS // 2  # of the centres of this row's pixels
            count = 0
            for ring in range(first_ring, last_ring):
                for k in range(ring_starts[ring], ring_starts[ring + 1] - 1):
                    y0, y1 = xy[k, 1], xy[k + 1, 1]
                    if (y0 <= y) != (y1 <= y):
                        x0, x1 = xy[k, 0] - base_col * SUBPIXELS, xy[k + 1, 0] - base_col * SUBPIXELS
                        if y0 > y1:
                            x0, y0, x1, y1 = x1, y1, x0, y0
                        crossings[count] = (x0 + (x1 - x0) * ((y - y0) / (y1 - y0))) / SUBPIXELS
                        count += 1
            _sort(crossings, count)
            for k in range(0, count - 1, 2):  # inside from each odd crossing to the next
                first_col = max(base_col - col + math.floor(crossings[k] + 0.5), 0)
                end_col = min(base_col - col + math.floor(crossings[k + 1] + 0.5), width)
                if first_col < end_col:
                    mask[j, first_col:end_col] = value


@numba.njit(cache=True, inline="always")
def _sort(values: np.ndarray, count: int) -> None:
    """Insertion sort of the first few numbers in place; numba's own sort draws polygons five times slower."""
    for k in range(1, count):
        value, place = values[k], k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
