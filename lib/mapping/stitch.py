"""
Road network and footprints of a raster of any size, block by block: the same as if it were traced as a whole.

Roads: each block is traced with a rim of its neighbours' pixels, wider than any decision of the tracing looks, and
without simplification; so both sides of a seam trace the same lines. They are cut at the seam, where both have the same
point, joined there, and only then simplified. Footprints are cut at the seams along the edges of pixels and put
together exactly. Memory is that of a block, and what the vectors take.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lib.vectors import buildings, linework, repair
from lib.vectors.roadgraph import LEAST_TOLERANCE_PX, GraphOptions, RoadGraph, traced_graph

if TYPE_CHECKING:
    import shapely

RIM_M = 64.0  # pixels traced around a block, metres: five times the longest gap; the widest road is 40 m
LEAST_RIM_PX = 64
# Seams of roads lie off the lattice of pixels, of their corners and of what smoothing makes of them: so no vertex lies
# on a seam, and no line along one
SEAM_SHIFT_PX = 0.3141
SNAP_M = 4.0  # ends at a seam this near are one; they differ by more than rounding only where a patch fills a whole rim
STEP_PX = 1.0  # at most, between the places where a line's probability is read
WIDTH_STEP_PX = 4.0  # and between those where its width is measured
ACROSS_PX = 0.5  # step of a measurement across a road
REACH_M = 25.0  # to either side; wider is no road
AT_ONCE = 20_000  # places measured together: 100 px to either side of each take 8 MB
LINES_AT_ONCE = 5000  # whose places are kept: some 100 MB; lines come block by block, so that few are read again

Window = tuple[int, int, int, int]  # left, top, right, bottom, px; right and bottom are not in it
Read = Callable[[Window], np.ndarray]  # pixels (H, W) of a window of the raster; of a mask bool
Progress = Callable[[int, int], None]  # called with the blocks that are done, and how many there are


class _Pieces(NamedTuple):
    """Lines of one block inside its seams, from node to node, and which of their ends lie on a seam."""

    uv: np.ndarray  # (m, 2) int64
    lines: list[np.ndarray]
    widths_px: np.ndarray  # (m,) float32
    at_seam: np.ndarray  # (m, 2) bool
    nodes: int  # how many numbers uv uses


def windows(shape: tuple[int, int], side_px: int) -> list[Window]:
    """Blocks of a raster of (height, width) pixels, row by row."""
    height, width = shape
    return [
        (left, top, min(left + side_px, width), min(top + side_px, height))
        for top in range(0, height, side_px)
        for left in range(0, width, side_px)
    ]


def trace_roads(
    read: Read,
    shape: tuple[int, int],
    gsd_m: float,
    options: GraphOptions,
    block_px: int,
    progress: Progress = lambda done, total: None,
) -> RoadGraph:
    """
    Road network of a mask, as `lib.vectors.mask_to_graph` finds it in the whole, in pixels of the raster.

    Parameters
    ----------
    read
        Gives the mask's pixels in a window.
    shape
        Height and width of the raster.
    gsd_m
        Ground sampling distance, metres a pixel.
    options
        What is noise and what is a gap. A patch of road thinner than min_blob_m2 / RIM_M, about a metre, may be lost
        near a seam.
    block_px
        Side of a block, even: the thinning tells even pixels from odd ones.
    """
    rim_px = 2 * int(np.ceil(max(RIM_M / gsd_m, LEAST_RIM_PX) / 2))
    blocks, parts = windows(shape, block_px), []
    for done, (left, top, right, bottom) in enumerate(blocks, 1):
        x, y = max(0, left - rim_px), max(0, top - rim_px)
        mask = read((x, y, min(shape[1], right + rim_px), min(shape[0], bottom + rim_px)))
        if mask.any():
            graph = traced_graph(mask, gsd_m, options, simplified=False)
            parts.append(_inside(graph, (x, y), _seams((left, top, right, bottom), shape)))
        progress(done, len(blocks))
    edges = _joined(parts, SNAP_M / gsd_m)
    nodes, uv, lines, widths_px = repair.compact(edges)
    tolerance_px = max(options.tolerance_m / gsd_m, LEAST_TOLERANCE_PX)
    lines = [line[linework.keeps_vertex(np.ascontiguousarray(line), tolerance_px)] for line in lines]
    return RoadGraph(nodes, uv, lines, widths_px)


def _seams(block: Window, shape: tuple[int, int]) -> np.ndarray:
    """Seams around a block, least x, y and greatest x, y; infinite where the raster ends."""
    left, top, right, bottom = block
    low = [side + SEAM_SHIFT_PX if side else -np.inf for side in (left, top)]
    high = [side + SEAM_SHIFT_PX if side < size else np.inf for side, size in ((right, shape[1]), (bottom, shape[0]))]
    return np.array([*low, *high])


def _inside(graph: RoadGraph, corner: tuple[int, int], seams: np.ndarray) -> _Pieces:
    """What of a block's graph lies within its seams; `corner` is x, y of the graph's origin in the raster."""
    uv, lines, widths_px, at_seam, count = [], [], [], [], len(graph.nodes)
    for (u, v), line, width_px in zip(graph.edges.tolist(), graph.lines, graph.widths_px, strict=True):
        for piece, starts, ends in _pieces(line + corner, seams):
            # an end that the seam has made is a node of its own
            uv.append([count if starts else u, count + starts if ends else v])
            count += starts + ends
            lines.append(piece)
            widths_px.append(width_px)
            at_seam.append([starts, ends])
    shaped = (np.array(uv, np.int64).reshape(-1, 2), np.array(at_seam, bool).reshape(-1, 2))
    return _Pieces(shaped[0], lines, np.array(widths_px, np.float32), shaped[1], count)


def _pieces(line: np.ndarray, seams: np.ndarray) -> Iterator[tuple[np.ndarray, bool, bool]]:
    """Parts of a line (N, 2) within four seams, each with whether it starts, and ends, on one of them."""
    low, high = seams[:2], seams[2:]
    if (line > low).all() and (line < high).all():
        yield line, False, False
        return
    if (line.max(axis=0) < low).any() or (line.min(axis=0) > high).any():
        return
    # where the line crosses a seam: segment, share of it, axis, seam
    before, after = line[:-1], line[1:]
    crossings = []
    for axis, seam in zip((0, 1, 0, 1), seams, strict=True):
        segments = np.flatnonzero((before[:, axis] < seam) != (after[:, axis] < seam))
        shares = (seam - before[segments, axis]) / (after[segments, axis] - before[segments, axis])
        crossings += [(int(k), float(share), axis, seam) for k, share in zip(segments, shares, strict=True)]
    points, cuts, start = [], [0], 0
    for k, share, axis, seam in sorted(crossings):
        points += list(line[start : k + 1])
        start = k + 1
        point = before[k] + share * (after[k] - before[k])
        point[axis] = seam
        cuts.append(len(points))
        points.append(point)
    points = np.array(points + list(line[start:]))
    cuts.append(len(points) - 1)
    for n, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        middle = (points[a] + points[a + 1]) / 2
        if (middle > low).all() and (middle < high).all():
            yield points[a : b + 1], n > 0, n < len(cuts) - 2


def _joined(parts: Sequence[_Pieces], snap_px: float) -> list[repair.Edge]:
    """Edges of all blocks; ends on seams that meet are one node."""
    from scipy.spatial import cKDTree

    if not any(part.lines for part in parts):
        return []
    first = np.cumsum([0, *(part.nodes for part in parts)])
    uv = np.vstack([part.uv + n for part, n in zip(parts, first[:-1], strict=True)])
    lines = [line for part in parts for line in part.lines]
    widths_px = np.concatenate([part.widths_px for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part.lines) for part in parts])
    at_seam = np.concatenate([part.at_seam for part in parts])
    line, side = np.nonzero(at_seam)
    ends = np.array([lines[k][-s] for k, s in zip(line, side, strict=True)]).reshape(-1, 2)  # -0 is the first
    stands_for = np.arange(first[-1])
    if len(ends):
        pairs = cKDTree(ends).query_pairs(snap_px, output_type="ndarray")  # (pairs, 2) numbers of ends
        pairs = pairs[owner[line[pairs[:, 0]]] != owner[line[pairs[:, 1]]]]
        gap = np.hypot(*(ends[pairs[:, 0]] - ends[pairs[:, 1]]).T)
        is_taken = np.zeros(len(ends), bool)
        # the nearest pair first, most often the same point; an end is joined once
        for one, other in pairs[np.argsort(gap, kind="stable")].tolist():
            if not (is_taken[one] or is_taken[other]):
                is_taken[[one, other]] = True
                stands_for[uv[line[other], side[other]]] = uv[line[one], side[one]]
                middle = (ends[one] + ends[other]) / 2
                lines[line[one]][-side[one]] = lines[line[other]][-side[other]] = middle
    edges = repair.as_edges(stands_for[uv], lines, widths_px)
    # a road that ends within a pixel of a seam may end on either side of it: what only one block has of it is no road
    is_loose = np.bincount(stands_for[uv].ravel(), minlength=first[-1])[stands_for[uv]] == 1
    is_crumb = is_loose.all(axis=1) & at_seam.any(axis=1)
    return [
        edge for edge, small in zip(edges, is_crumb, strict=True) if not small or repair.length(edge.line) > snap_px
    ]


def trace_footprints(
    read: Read,
    shape: tuple[int, int],
    gsd_m: float,
    options: buildings.BuildingOptions,
    block_px: int,
    progress: Progress = lambda done, total: None,
) -> list["shapely.Polygon"]:
    """
    Building polygons of a mask, each as of the whole raster, in its pixels, in the order of their first pixel's row.

    As `lib.vectors.mask_to_polygons` makes them, but that each ring starts at its leftmost corner wherever the seams
    lie. `options.neck_m` is not looked at: patches stay whole.
    """
    import shapely

    from lib.vectors.outlines import outlines

    whole, cut, blocks = [], [], windows(shape, block_px)
    for done, (left, top, right, bottom) in enumerate(blocks, 1):
        inner = shapely.box(left or -1, top or -1, right + (right == shape[1]), bottom + (bottom == shape[0]))
        built = read((left, top, right, bottom))
        found = outlines(built.view(np.uint8), left, top)
        is_whole = shapely.contains_properly(inner, found)
        whole += found[is_whole].tolist()
        cut += found[~is_whole].tolist()
        progress(done, len(blocks))
    mended = shapely.union_all(cut)
    whole += [part for part in getattr(mended, "geoms", [mended]) if not part.is_empty]
    # normalized, a ring starts at a true corner: there is none on a seam that simplify would have to keep
    traced = shapely.normalize(shapely.simplify(shapely.normalize(np.array(whole, object)), 0))
    polygons = buildings.tidied(traced, gsd_m, options)
    large = polygons[shapely.area(polygons) * gsd_m**2 >= options.min_area_m2]
    return sorted(large, key=lambda polygon: (polygon.bounds[1], polygon.bounds[0], *polygon.bounds[2:], polygon.area))


def mean_along(read: Read, shape: tuple[int, int], lines: Sequence[np.ndarray], block_px: int) -> np.ndarray:
    """
    Mean of a raster's pixels along each line (N, 2) x, y, px, by length; (m,) float64.

    Pixels that are NaN are left out; it is NaN where that leaves no length.
    """
    if len(lines) > LINES_AT_ONCE:
        parts = range(0, len(lines), LINES_AT_ONCE)
        return np.concatenate([mean_along(read, shape, lines[k : k + LINES_AT_ONCE], block_px) for k in parts])
    places = _places(lines, STEP_PX)
    total, lengths = (np.zeros(len(lines)) for _ in range(2))
    for window, some in _by_block(places.xy, shape, block_px):
        column, row = _pixels(places.xy[some], shape).T
        values = read(window)[row - window[1], column - window[0]].astype(float)
        known = ~np.isnan(values)
        line, weight_px = places.line[some][known], places.weight_px[some][known]
        total += np.bincount(line, weight_px * values[known], len(lines))
        lengths += np.bincount(line, weight_px, len(lines))
    return np.divide(total, lengths, out=np.full(len(lines), np.nan), where=lengths > 0)


def widths_along(
    read: Read, shape: tuple[int, int], lines: Sequence[np.ndarray], gsd_m: float, block_px: int
) -> np.ndarray:
    """
    Width of the mask across each line (N, 2) x, y, px; (m,) float64, px, NaN where the line has no mask under it.

    The median over the line's middle half, for its ends lie in junctions, of how far the mask reaches at right angles
    to both sides. That doesn't ask the line to lie in the middle, nor the road to be as wide as whole pixels are.
    """
    import pandas as pd

    if len(lines) > LINES_AT_ONCE:
        parts = range(0, len(lines), LINES_AT_ONCE)
        return np.concatenate([widths_along(read, shape, lines[k : k + LINES_AT_ONCE], gsd_m, block_px) for k in parts])
    places = _places(lines, WIDTH_STEP_PX)
    is_middle = np.abs(places.share - 0.5) <= 0.25
    xy, across, line = places.xy[is_middle], places.across[is_middle], places.line[is_middle]
    reach_px = int(np.ceil(REACH_M / gsd_m))
    steps = np.arange(0.5, reach_px / ACROSS_PX) * ACROSS_PX  # the middles of the steps
    found = np.full(len(xy), np.nan)
    for (left, top, right, bottom), some in _by_block(xy, shape, block_px):
        x0, y0 = max(0, left - reach_px), max(0, top - reach_px)
        mask = np.pad(read((x0, y0, min(shape[1], right + reach_px), min(shape[0], bottom + reach_px))), 1)
        for part in np.array_split(some, -(-len(some) // AT_ONCE)):
            sides = []
            for sign in (-1, 1):
                # (places, steps) numbers of the pixels that the measurement passes; the margin around is background
                column, row = (
                    np.clip(xy[part, axis, None] + sign * steps * across[part, axis, None] - start + 1, 0, size - 1)
                    for axis, start, size in ((0, x0, mask.shape[1]), (1, y0, mask.shape[0]))
                )
                is_road = mask[row.astype(np.int32), column.astype(np.int32)]
                sides.append(np.where(is_road.all(axis=1), len(steps), is_road.argmin(axis=1)))
            width = (sides[0] + sides[1]) * ACROSS_PX
            found[part] = np.where(width > 0, width, np.nan)
    return pd.Series(found).groupby(line).median().reindex(range(len(lines))).to_numpy()


class _Places(NamedTuple):
    """Places along lines: x, y, px (n, 2); the unit vector across; its line; the length it stands for; its share."""

    xy: np.ndarray
    across: np.ndarray
    line: np.ndarray
    weight_px: np.ndarray
    share: np.ndarray  # of the line's length, 0 to 1


def _places(lines: Sequence[np.ndarray], step_px: float) -> _Places:
    """Places in the middles of equal steps of at most `step_px` on each segment."""
    xy = np.vstack([np.empty((0, 2)), *lines])
    line_of = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    begin = np.flatnonzero(line_of[1:] == line_of[:-1])  # first vertex of each segment
    step = xy[begin + 1] - xy[begin]
    length = np.hypot(*step.T)
    begin, step, length = (array[length > 0] for array in (begin, step, length))
    count = np.ceil(length / step_px).astype(np.int64)
    segment = np.repeat(np.arange(len(begin)), count)
    share = (np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[segment]
    line, weight = line_of[begin[segment]], (length / count)[segment]
    whole = np.bincount(line, weight, len(lines))
    along = np.cumsum(weight) - 0.5 * weight - (np.cumsum(whole) - whole)[line]
    across = (np.column_stack([-step[:, 1], step[:, 0]]) / length[:, None])[segment]
    return _Places(xy[begin[segment]] + share[:, None] * step[segment], across, line, weight, along / whole[line])


def _pixels(xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Columns and rows (n, 2) of the pixels that places lie in; those on the raster's far edge belong to its last."""
    return np.clip(xy, 0, np.array(shape[::-1]) - 1).astype(np.int32)


def _by_block(xy: np.ndarray, shape: tuple[int, int], block_px: int) -> Iterator[tuple[Window, np.ndarray]]:
    """Blocks in which some of the places lie, and the numbers of those."""
    column, row = (_pixels(xy, shape) // block_px).T
    block = row * -(-shape[1] // block_px) + column
    order = np.argsort(block, kind="stable")
    blocks = windows(shape, block_px)
    bounds = np.searchsorted(block[order], np.arange(len(blocks) + 1))
    for window, a, b in zip(blocks, bounds[:-1], bounds[1:], strict=True):
        if a < b:
            yield window, order[a:b]


def mean_within(read: Read, shape: tuple[int, int], polygons: Sequence["shapely.Polygon"], block_px: int) -> np.ndarray:
    """
    Mean of a raster's pixels whose centres lie in each polygon (px); of the pixel at its middle where none does.

    Pixels that are NaN are left out; it is NaN where that leaves none.
    """
    import shapely
    from rasterio.features import rasterize

    count, total = np.zeros(len(polygons) + 1), np.zeros(len(polygons) + 1)
    tree = shapely.STRtree(polygons)
    for left, top, right, bottom in windows(shape, block_px):
        near = np.sort(tree.query(shapely.box(left, top, right, bottom)))
        if len(near):
            labels = rasterize(
                [(polygons[k], k + 1) for k in near],
                (bottom - top, right - left),
                transform=(1, 0, left, 0, 1, top),
                dtype="int32",
            )
            values = np.asarray(read((left, top, right, bottom)), float)
            is_inside = (labels > 0) & ~np.isnan(values)
            owner = labels[is_inside]
            count += np.bincount(owner, minlength=len(count))
            total += np.bincount(owner, values[is_inside], len(total))
    for k in np.flatnonzero(count[1:] == 0):
        middle = np.array(polygons[k].representative_point().coords[0])
        x, y = np.clip(middle, 0, np.array(shape[::-1]) - 1).astype(int).tolist()
        count[k + 1], total[k + 1] = 1, read((x, y, x + 1, y + 1))[0, 0]
    return total[1:] / count[1:]
