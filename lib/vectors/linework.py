"""
Polylines of a skeleton, compiled: measured, straightened at junctions, carried to the true ends of roads.

Coordinates are the project's: x right, y down, px, (0, 0) the outer corner of the mask's first pixel. Vertices are
dropped by Douglas and Peucker's rule, here and not by shapely.simplify: that takes twice as long as all of
`shape_lines`, and where two vertices lie off by the same it keeps the other one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from lib.vectors.thinning import MARGIN, MASK, Chains, Skeleton, radius

SMOOTHING_PASSES = 4  # of the weights 1/4 1/2 1/4: enough to level the stairs of a pixel line, 1 px high
SAMPLES = 25  # places at which the width of a line is measured
MARCH_STEP_PX = 0.5  # step at which a dead end is followed to the mask's edge


class Polylines(NamedTuple):
    """Lines as flat arrays: line k is xy[starts[k]:starts[k + 1]]; xy (P, 2) float64, px, starts (m + 1,) int64."""

    xy: np.ndarray
    starts: np.ndarray


class EndRules(NamedTuple):
    """Size of the image (width, height), how near to its border a road goes on, px, and whether caps are round."""

    size_px: tuple[int, int]
    border_px: float
    is_round: bool


class DeadEnds(NamedTuple):
    """
    Ends of lines that stop in the open, an entry each in all arrays.

    Attributes
    ----------
    line, side
        (E,) int64: number of the line; 0 for its first vertex, 1 for its last.
    xy
        (E, 2) float64: that vertex, px.
    tip
        (E, 2) float64: the mask's edge straight ahead of it, px.
    direction
        (E, 2) float64: unit vector that leads there.
    """

    line: np.ndarray
    side: np.ndarray
    xy: np.ndarray
    tip: np.ndarray
    direction: np.ndarray


class Ahead(NamedTuple):
    """
    What lies across the gap ahead of each dead end, an entry each in all arrays.

    Attributes
    ----------
    partner
        (E,) int64: the dead end that it is to be joined with, or -1.
    line
        (E,) int64: the line that it meets, or -1.
    segment, share
        (E,) int64 and float64: where it meets the line: this share of the way from vertex `segment` to the next one.
    """

    partner: np.ndarray
    line: np.ndarray
    segment: np.ndarray
    share: np.ndarray


@njit(cache=True)
def polylines(chains: Chains, stride: int) -> tuple[Polylines, np.ndarray]:
    """A line a chain, node u, the chain's pixel centres, node v; and each line's length, px."""
    count, shift = len(chains.edges), 0.5 - MARGIN
    starts = chains.starts + 2 * np.arange(count + 1)
    xy, lengths = np.empty((starts[count], 2)), np.zeros(count)
    for k in range(count):
        first, last = starts[k], starts[k + 1] - 1
        pixels = chains.pixels[chains.starts[k] : chains.starts[k + 1]]
        xy[first] = chains.nodes[chains.edges[k, 0]] + shift
        xy[first + 1 : last, 0] = pixels % stride + shift
        xy[first + 1 : last, 1] = pixels // stride + shift
        xy[last] = chains.nodes[chains.edges[k, 1]] + shift
        for i in range(first, last):
            lengths[k] += np.hypot(xy[i + 1, 0] - xy[i, 0], xy[i + 1, 1] - xy[i, 1])
    return Polylines(xy, starts), lengths


@njit(cache=True)
def radii(pixels: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Distance of each pixel to the mask's edge, px."""
    result = np.empty(pixels.size)
    for i in range(pixels.size):
        result[i] = radius(skeleton.flags, skeleton.stride, pixels[i])
    return result


@njit(cache=True)
def widths(chains: Chains, skeleton: Skeleton) -> np.ndarray:
    """
    Width of the mask along each chain, px: from the median distance to the mask's edge.

    The centre of a road of w whole pixels lies (w + 1) / 2 from the first background pixel for odd w, w / 2 for
    even w; the mean of both, solved for w, is 2 d - 1/2. At most SAMPLES pixels of a chain are measured, all of its
    middle half: its ends lie in junctions. 0 where a chain has no pixel.
    """
    result = np.zeros(len(chains.edges), np.float32)
    for k in range(result.size):
        pixels = chains.pixels[chains.starts[k] : chains.starts[k + 1]]
        half = (pixels.size + 1) // 2
        count = min(SAMPLES, half)
        if count:
            sampled = pixels[pixels.size // 4 + np.arange(count) * half // count]
            result[k] = 2 * np.sort(radii(sampled, skeleton))[count // 2] - 0.5
    return result


@njit(cache=True)
def _smooth(line: np.ndarray) -> None:
    """Level a line in place, its ends apart; whole-array arithmetic takes longer here than all the rest."""
    for _ in range(SMOOTHING_PASSES):
        before_x, before_y = line[0, 0], line[0, 1]
        for i in range(1, len(line) - 1):
            x, y = line[i, 0], line[i, 1]
            line[i, 0] = 0.25 * (before_x + 2 * x + line[i + 1, 0])
            line[i, 1] = 0.25 * (before_y + 2 * y + line[i + 1, 1])
            before_x, before_y = x, y


@njit(cache=True)
def keeps_vertex(line: np.ndarray, tolerance_px: float) -> np.ndarray:
    """Douglas and Peucker (1973): the fewest vertices found such that no dropped one lies off by more; (N,) bool."""
    keeps = np.zeros(len(line), np.bool_)
    keeps[0] = keeps[-1] = True
    stretches = [(0, len(line) - 1)]  # first and last vertex of what is not simplified yet; both are kept
    while stretches:
        a, b = stretches.pop()
        dx, dy = line[b, 0] - line[a, 0], line[b, 1] - line[a, 1]
        square, worst, farthest = dx * dx + dy * dy, tolerance_px**2, -1
        for i in range(a + 1, b):
            px, py = line[i, 0] - line[a, 0], line[i, 1] - line[a, 1]
            share = min(1.0, max(0.0, (px * dx + py * dy) / square)) if square > 0 else 0.0
            off = (px - share * dx) ** 2 + (py - share * dy) ** 2  # square of the distance from a-b
            if off > worst:
                worst, farthest = off, i
        if farthest > 0:
            keeps[farthest] = True
            stretches += [(a, farthest), (farthest, b)]
    return keeps


@njit(cache=True)
def _vertex_at(line: np.ndarray, start: int, distance_px: float) -> int:
    """First vertex, after `start`, at or beyond a distance along the line from there."""
    walked, i = 0.0, start
    while i < len(line) - 1 and (walked < distance_px or i == start):
        walked += np.hypot(line[i + 1, 0] - line[i, 0], line[i + 1, 1] - line[i, 1])
        i += 1
    return i


@njit(cache=True)
def _to_border(x: float, y: float, dx: float, dy: float, size_px: tuple[int, int]) -> float:
    """Distance from a point of the image to its border along a unit vector."""
    width, height = size_px
    across = (width - x) / dx if dx > 0 else (-x / dx if dx < 0 else np.inf)
    down = (height - y) / dy if dy > 0 else (-y / dy if dy < 0 else np.inf)
    return min(across, down)


@njit(cache=True)
def _to_true_end(
    line: np.ndarray, cut_px: float, skeleton: Skeleton, rules: EndRules, tip: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """
    The line from where the road ends; fills in `tip` and `direction`, see `shape_lines`.

    The last stretch of a skeleton bends into a corner or stops half a width short. It is cut off, and the
    direction before it is followed to the mask's edge, the tip. A round cap, as every line drawn with a width
    has, lies half a width around the line's end: the end is half a width before the tip. A flat one ends at the tip.
    Near the image's border the road goes on: it ends on the border itself, and has no tip.
    """
    flags, _, stride = skeleton
    cut = _vertex_at(line, 0, cut_px)
    behind = _vertex_at(line, cut, max(1.5 * cut_px, 6.0))
    x, y = line[cut, 0], line[cut, 1]
    dx, dy = x - line[behind, 0], y - line[behind, 1]
    if behind == cut:
        dx, dy = line[0, 0] - x, line[0, 1] - y
    norm = max(np.hypot(dx, dy), 1e-9)
    dx, dy = dx / norm, dy / norm
    half_width = radius(flags, stride, int(y + MARGIN) * stride + int(x + MARGIN)) - 0.25
    to_border = _to_border(x, y, dx, dy, rules.size_px)
    # march from the cut to the mask's edge
    reach, most = 0.0, min(to_border, 2 * cut_px + 2 * half_width + 3)
    while reach < most:
        px, py = x + (reach + MARCH_STEP_PX) * dx, y + (reach + MARCH_STEP_PX) * dy
        if not flags[int(py + MARGIN) * stride + int(px + MARGIN)] & MASK:
            break
        reach += MARCH_STEP_PX
    if to_border <= reach + max(rules.border_px, MARCH_STEP_PX):
        end = to_border
    elif reach < 0.75 * cut_px:
        # the road bends before it ends, and the straight way leaves it: the skeleton's own end is nearer the truth
        return line
    else:
        end = max(reach - half_width, 0.0) if rules.is_round else reach
        tip[0], tip[1] = x + reach * dx, y + reach * dy
        direction[0], direction[1] = dx, dy
    line[cut - 1, 0], line[cut - 1, 1] = x + end * dx, y + end * dy
    return line[cut - 1 :]


@njit(cache=True)
def shape_lines(
    which: np.ndarray,
    lines: Polylines,
    cut_px: np.ndarray,
    is_dead_end: np.ndarray,
    places: np.ndarray,
    skeleton: Skeleton,
    rules: EndRules,
    tolerance_px: float,
) -> tuple[Polylines, np.ndarray, np.ndarray]:
    """
    Final lines: stairs levelled, straight through junctions, dead ends carried to the road's true end, simplified.

    Within a junction the skeleton follows the junction's outline, not the roads: there each line is replaced by a
    straight one to the node's place.

    Parameters
    ----------
    which
        Numbers of the lines that are kept.
    cut_px, is_dead_end
        (m, 2): for the first and the last vertex of each line: the length there that does not follow the road, px, and
        whether it is a dead end.
    places
        (m, 2, 2) float64: x, y of the node that each line starts, and ends, at, px.

    Returns
    -------
    lines
        Those in `which`.
    tips, directions
        (kept, 2, 2): for the first and the last vertex of each line, where it is a dead end that points somewhere:
        x, y of the mask's edge ahead, and the unit vector that leads there. NaN elsewhere, and on the image's border.
    """
    tips, directions = np.full((which.size, 2, 2), np.nan), np.full((which.size, 2, 2), np.nan)
    shaped, starts = np.empty(lines.xy.shape), np.zeros(which.size + 1, np.int64)
    for i in range(which.size):
        k = which[i]
        line = lines.xy[lines.starts[k] : lines.starts[k + 1]].copy()
        _smooth(line)
        for side in range(2):
            if is_dead_end[k, side]:
                line = _to_true_end(line, cut_px[k, side], skeleton, rules, tips[i, side], directions[i, side])
            else:
                line = line[_vertex_at(line, 0, cut_px[k, side]) - 1 :]
                line[0] = places[k, side]
            line = line[::-1].copy()  # the far end comes first, then the original order again
        vertices = line[keeps_vertex(line, tolerance_px)]
        starts[i + 1] = starts[i] + len(vertices)
        shaped[starts[i] : starts[i + 1]] = vertices
    return Polylines(shaped[: starts[-1]], starts), tips, directions


@njit(cache=True)
def _partners(ends: DeadEnds, max_gap_px: float, max_angle: float) -> np.ndarray:
    """For each dead end the nearest one, if each points at the other and is the other's nearest; else -1."""
    count = len(ends.xy)
    nearest_end, partners = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    for i in range(count):
        nearest = max_gap_px
        for j in range(count):
            gap = np.hypot(ends.tip[j, 0] - ends.tip[i, 0], ends.tip[j, 1] - ends.tip[i, 1])
            if i == j or gap > nearest:
                continue
            # both look along the way from one end to the other
            way_x, way_y = ends.xy[j, 0] - ends.xy[i, 0], ends.xy[j, 1] - ends.xy[i, 1]
            least = np.cos(max_angle) * np.hypot(way_x, way_y)
            ahead = ends.direction[i, 0] * way_x + ends.direction[i, 1] * way_y
            back = -ends.direction[j, 0] * way_x - ends.direction[j, 1] * way_y
            if ahead >= least and back >= least:
                nearest, nearest_end[i] = gap, j
    for i in range(count):
        if nearest_end[i] >= 0 and nearest_end[nearest_end[i]] == i:
            partners[i] = nearest_end[i]
    return partners


@njit(cache=True)
def _crossing(
    ax: float,
    ay: float,
    dx: float,
    dy: float,
    reach: float,
    px: float,
    py: float,
    qx: float,
    qy: float,
    min_sine: float,
) -> tuple[float, float]:
    """Distance along the ray from a (unit vector d) to the segment p-q, and the share of the segment; or infinity."""
    sx, sy = qx - px, qy - py
    cross = dx * sy - dy * sx
    if abs(cross) < min_sine * np.hypot(sx, sy) or cross == 0:
        return np.inf, 0.0
    distance = ((px - ax) * sy - (py - ay) * sx) / cross
    share = ((px - ax) * dy - (py - ay) * dx) / cross
    if 0 <= distance <= reach and 0 <= share <= 1:
        return distance, share
    return np.inf, 0.0


@njit(cache=True)
def find_gaps(
    ends: DeadEnds,
    lines: Polylines,
    boxes: np.ndarray,
    half_widths: np.ndarray,
    max_gap_px: float,
    max_meet_px: float,
    max_angle: float,
) -> Ahead:
    """
    What lies straight ahead of each dead end, across a gap of background.

    Another dead end within max_gap_px, if each points at the other within max_angle (radians), the nearest first.
    Otherwise the first line that the end's direction meets within max_meet_px of background, at more than max_angle:
    a nearly parallel one is not met but accompanied.

    Parameters
    ----------
    boxes, half_widths
        Of each line: (m, 4) least x, y and greatest x, y; (m,) half its width, px.
    """
    count = len(ends.xy)
    ahead = Ahead(
        _partners(ends, max_gap_px, max_angle), np.full(count, -1), np.zeros(count, np.int64), np.zeros(count)
    )
    for i in range(count):
        if ahead.partner[i] >= 0:
            continue
        nearest = np.inf
        ax, ay, dx, dy = ends.tip[i, 0], ends.tip[i, 1], ends.direction[i, 0], ends.direction[i, 1]
        for k in range(len(boxes)):
            # the ray a-b over the background and half the road ahead; most boxes lie beside it
            reach = max_meet_px + half_widths[k]
            bx, by = ax + reach * dx, ay + reach * dy
            if k == ends.line[i] or max(ax, bx) < boxes[k, 0] or max(ay, by) < boxes[k, 1]:
                continue
            if min(ax, bx) > boxes[k, 2] or min(ay, by) > boxes[k, 3]:
                continue
            for s in range(lines.starts[k], lines.starts[k + 1] - 1):
                px, py, qx, qy = lines.xy[s, 0], lines.xy[s, 1], lines.xy[s + 1, 0], lines.xy[s + 1, 1]
                distance, share = _crossing(ax, ay, dx, dy, reach, px, py, qx, qy, np.sin(max_angle))
                if distance < nearest:
                    nearest = distance
                    ahead.line[i], ahead.segment[i], ahead.share[i] = k, s - lines.starts[k], share
    return ahead
