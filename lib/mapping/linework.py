"""
Polylines of a skeleton, compiled: measured, straightened at junctions, carried to the true ends of roads.

Lines are one flat (P, 2) float64 array of x, y and the (m + 1,) offsets `at`: line k is xy[at[k]:at[k + 1]].
Coordinates are the project's: x right, y down, px, (0, 0) the outer corner of the first pixel.
"""

import numpy as np
from numba import njit

from lib.mapping.thinning import MARGIN, MASK, radius

THROUGH, END, JUNCTION = 0, 1, 2  # kinds of a node: passed through (also a ring's start), dead end, junction
SMOOTHING_PASSES = 4  # of the weights 1/4 1/2 1/4: enough to level the stairs of a pixel line, 1 px high
SAMPLES = 25  # places at which the width of a line is measured
MARCH_STEP_PX = 0.5  # step at which a dead end is followed to the mask's edge


@njit(cache=True)
def polylines(nodes, edges, first, chain, stride):
    """Flat lines from traced chains: node u, the chain's pixel centres, node v; and each line's length, px."""
    m, shift = len(edges), 0.5 - MARGIN
    xy, at, lengths = np.empty((chain.size + 2 * m, 2)), np.zeros(m + 1, np.int64), np.zeros(m)
    n = 0
    for k in range(m):
        u, v = edges[k, 0], edges[k, 1]
        xy[n, 0], xy[n, 1] = nodes[u, 0] + shift, nodes[u, 1] + shift
        for i in range(first[k], first[k + 1]):
            n += 1
            xy[n, 0], xy[n, 1] = chain[i] % stride + shift, chain[i] // stride + shift
        n += 1
        xy[n, 0], xy[n, 1] = nodes[v, 0] + shift, nodes[v, 1] + shift
        n += 1
        at[k + 1] = n
        for i in range(at[k], n - 1):
            lengths[k] += np.hypot(xy[i + 1, 0] - xy[i, 0], xy[i + 1, 1] - xy[i, 1])
    return xy, at, lengths


@njit(cache=True)
def radii(pixels, state, stride):
    """Distance of each pixel to the mask's edge, px."""
    result = np.empty(pixels.size)
    for i in range(pixels.size):
        result[i] = radius(state, stride, pixels[i])
    return result


@njit(cache=True)
def widths(first, chain, state, stride):
    """
    Width of the mask along each chain, px: from the median distance to the mask's edge.

    The centre of a road of w whole pixels lies (w + 1) / 2 from the first background pixel for odd w, w / 2 for
    even w; the mean of both, solved for w, is 2 d - 1/2. At most SAMPLES pixels of a chain are measured, all of its
    middle half: its ends lie in junctions. 0 where a chain has no pixel.
    """
    result, ranked = np.zeros(first.size - 1, np.float32), np.empty(SAMPLES)
    for k in range(result.size):
        n = first[k + 1] - first[k]
        count = min(SAMPLES, (n + 1) // 2)
        for i in range(count):
            value = radius(state, stride, chain[first[k] + n // 4 + i * ((n + 1) // 2) // count])
            j = i
            while j and ranked[j - 1] > value:
                ranked[j] = ranked[j - 1]
                j -= 1
            ranked[j] = value
        if count:
            result[k] = 2 * ranked[count // 2] - 0.5
    return result


@njit(cache=True)
def _smooth(line, n):
    for _ in range(SMOOTHING_PASSES):
        x, y = line[0, 0], line[0, 1]
        for i in range(1, n - 1):
            here_x, here_y = line[i, 0], line[i, 1]
            line[i, 0] = 0.25 * (x + 2 * here_x + line[i + 1, 0])
            line[i, 1] = 0.25 * (y + 2 * here_y + line[i + 1, 1])
            x, y = here_x, here_y


@njit(cache=True)
def _keep_vertices(line, first, last, tolerance_px, keep, stack):
    """Douglas and Peucker (1973): the fewest vertices found such that no dropped one lies off by more, px."""
    keep[first : last + 1] = False
    keep[first] = keep[last] = True
    stack[0], stack[1], top = first, last, 2
    while top:
        top -= 2
        a, b = stack[top], stack[top + 1]
        dx, dy = line[b, 0] - line[a, 0], line[b, 1] - line[a, 1]
        square, worst, far = dx * dx + dy * dy, tolerance_px**2, -1
        for i in range(a + 1, b):
            px, py = line[i, 0] - line[a, 0], line[i, 1] - line[a, 1]
            t = min(1.0, max(0.0, (px * dx + py * dy) / square)) if square > 0 else 0.0
            off = (px - t * dx) ** 2 + (py - t * dy) ** 2
            if off > worst:
                worst, far = off, i
        if far > 0:
            keep[far] = True
            stack[top], stack[top + 1], stack[top + 2], stack[top + 3] = a, far, far, b
            top += 4


@njit(cache=True)
def _index_at(line, first, last, distance_px):
    """First vertex, after the first, at or beyond a distance along the line."""
    walked, i = 0.0, first
    while i < last and (walked < distance_px or i == first):
        walked += np.hypot(line[i + 1, 0] - line[i, 0], line[i + 1, 1] - line[i, 1])
        i += 1
    return i


@njit(cache=True)
def _to_border(x, y, dx, dy, width, height):
    """Distance from a point of the image to its border along a unit vector."""
    across = (width - x) / dx if dx > 0 else (-x / dx if dx < 0 else np.inf)
    down = (height - y) / dy if dy > 0 else (-y / dy if dy < 0 else np.inf)
    return min(across, down)


@njit(cache=True)
def _true_end(line, first, last, cut_px, state, stride, size, border_px, round_cap, tip, direction):
    """
    Put the line's first vertex where the road ends; return its number: vertices before it are dropped.

    The last stretch of a skeleton bends into a corner or stops half a width short. It is cut off, and the
    direction before it is followed to the mask's edge, the tip. A round cap, as every line drawn with a width
    has, lies half a width around the line's end: the end is half a width before the tip. A flat one ends at the tip.
    Near the image's border the road goes on: it ends on the border itself, and has no tip.
    """
    cut = _index_at(line, first, last, cut_px)
    behind = _index_at(line, cut, last, max(1.5 * cut_px, 6.0))
    x, y = line[cut, 0], line[cut, 1]
    dx, dy = x - line[behind, 0], y - line[behind, 1]
    if behind == cut:
        dx, dy = line[first, 0] - x, line[first, 1] - y
    norm = max(np.hypot(dx, dy), 1e-9)
    dx, dy = dx / norm, dy / norm
    half = radius(state, stride, int(y + MARGIN) * stride + int(x + MARGIN)) - 0.25
    leaves = _to_border(x, y, dx, dy, size[0], size[1])
    reach, most = 0.0, min(leaves, 2 * cut_px + 2 * half + 3)
    while reach < most:
        px, py = x + (reach + MARCH_STEP_PX) * dx, y + (reach + MARCH_STEP_PX) * dy
        if not state[int(py + MARGIN) * stride + int(px + MARGIN)] & MASK:
            break
        reach += MARCH_STEP_PX
    if leaves <= reach + max(border_px, MARCH_STEP_PX):
        end = leaves
    elif reach < 0.75 * cut_px:
        # the road bends before it ends, and the straight way leaves it: the skeleton's own end is nearer the truth
        x, y, end = line[first, 0], line[first, 1], 0.0
        cut = first + 1
    else:
        end = max(reach - half, 0.0) if round_cap else reach
        tip[0], tip[1] = x + reach * dx, y + reach * dy
        direction[0], direction[1] = dx, dy
    line[cut - 1, 0], line[cut - 1, 1] = x + end * dx, y + end * dy
    return cut - 1


@njit(cache=True)
def shape_lines(
    which,
    xy,
    at,
    lengths,
    half_widths,
    edges,
    kinds,
    places,
    node_radii,
    state,
    stride,
    size,
    tolerance_px,
    border_px,
    round_cap,
):
    """
    Final lines: stairs levelled, straight through junctions, dead ends carried to the road's true end, simplified.

    Within a junction the skeleton follows the junction's outline, not the roads: there, inside the largest
    circle that fits, each line is replaced by a straight one to the node's place (at most a third of the line).

    Parameters
    ----------
    which
        Lines that are kept.
    half_widths
        Half the width of each line, px.
    edges, kinds, places, node_radii
        Nodes of each line; kind, x, y (px) and radius (px) of each node.
    size
        Width and height of the image, px.

    Returns
    -------
    xy, at
        Lines.
    tips, directions
        (m, 2, 2): for the first and the last vertex of each line, where it is a dead end that points somewhere:
        the mask's edge ahead, and the unit vector that leads there. NaN elsewhere, and on the image's border.
    """
    m = which.size
    out, out_at = np.empty(xy.shape), np.zeros(m + 1, np.int64)
    tips, directions = np.full((m, 2, 2), np.nan), np.full((m, 2, 2), np.nan)
    line, keep, stack = np.empty(xy.shape), np.empty(len(xy), np.bool_), np.empty(2 * len(xy) + 4, np.int64)
    written = 0
    for i in range(m):
        k = which[i]
        n = at[k + 1] - at[k]
        for j in range(n):
            line[j, 0], line[j, 1] = xy[at[k] + j, 0], xy[at[k] + j, 1]
        _smooth(line, n)
        first = 0
        for side in range(2):
            node = edges[k, side]
            most = lengths[k] / 3
            if kinds[node] == END:
                cut_px = min(max(2 * half_widths[k], node_radii[node]), most)
                tip, direction = tips[i, side], directions[i, side]
                first = _true_end(line, first, n - 1, cut_px, state, stride, size, border_px, round_cap, tip, direction)
            else:
                reach = min(node_radii[node], most) if kinds[node] == JUNCTION else 0.0
                first = _index_at(line, first, n - 1, reach) - 1
                line[first, 0], line[first, 1] = places[node, 0], places[node, 1]
            # the other way round: the far end comes first, then the original order again
            for j in range((n - first) // 2):
                a, b = first + j, n - 1 - j
                line[a, 0], line[b, 0] = line[b, 0], line[a, 0]
                line[a, 1], line[b, 1] = line[b, 1], line[a, 1]
        _keep_vertices(line, first, n - 1, tolerance_px, keep, stack)
        for j in range(first, n):
            if keep[j]:
                out[written, 0], out[written, 1] = line[j, 0], line[j, 1]
                written += 1
        out_at[i + 1] = written
    return out[:written], out_at, tips, directions


@njit(cache=True)
def _crossing(ax, ay, dx, dy, reach, px, py, qx, qy, least_sine):
    """Distance along the ray from a (unit vector d) to the segment p-q, and the share of the segment; or infinity."""
    sx, sy = qx - px, qy - py
    cross = dx * sy - dy * sx
    if abs(cross) < least_sine * np.hypot(sx, sy) or cross == 0:
        return np.inf, 0.0
    t = ((px - ax) * sy - (py - ay) * sx) / cross
    share = ((px - ax) * dy - (py - ay) * dx) / cross
    if 0 <= t <= reach and 0 <= share <= 1:
        return t, share
    return np.inf, 0.0


@njit(cache=True)
def find_gaps(ends, tips, directions, owners, xy, at, boxes, half_widths, max_gap_px, max_meet_px, max_angle):
    """
    What lies straight ahead of each dead end, across a gap of background.

    Another dead end within max_gap_px, if each points at the other within max_angle (radians), the nearest first.
    Otherwise the first line that the end's direction meets within max_meet_px of background, at more than max_angle:
    a nearly parallel one is not met but accompanied.

    Parameters
    ----------
    ends, tips, directions, owners
        (E, 2) position, the mask's edge ahead, unit vector; (E,) line of each dead end.
    xy, at, boxes, half_widths
        Lines, least and greatest x, y of each ((m, 4): x, y, x, y), and half the width of each, px.

    Returns
    -------
    partners
        (E,) index of the dead end that belongs to each, or -1.
    hits
        (E, 3): line, segment of it, and share of the segment that is met; the line is -1 where there is none.
    """
    count, m = len(ends), len(at) - 1
    partners, hits = np.full(count, -1, np.int64), np.full((count, 3), -1.0)
    least_cosine, least_sine = np.cos(max_angle), np.sin(max_angle)
    for i in range(count):
        nearest = max_gap_px
        for j in range(count):
            gap = np.hypot(tips[j, 0] - tips[i, 0], tips[j, 1] - tips[i, 1])
            if i == j or gap > nearest:
                continue
            vx, vy = ends[j, 0] - ends[i, 0], ends[j, 1] - ends[i, 1]
            limit = least_cosine * np.hypot(vx, vy)
            ahead = directions[i, 0] * vx + directions[i, 1] * vy
            back = -directions[j, 0] * vx - directions[j, 1] * vy
            if ahead >= limit and back >= limit:
                nearest, partners[i] = gap, j
    for i in range(count):
        if partners[i] >= 0 and partners[partners[i]] == i:
            continue
        partners[i] = -1
        nearest = np.inf
        ax, ay, dx, dy = tips[i, 0], tips[i, 1], directions[i, 0], directions[i, 1]
        for k in range(m):
            reach = max_meet_px + half_widths[k]
            bx, by = ax + reach * dx, ay + reach * dy
            if k == owners[i] or max(ax, bx) < boxes[k, 0] or max(ay, by) < boxes[k, 1]:
                continue
            if min(ax, bx) > boxes[k, 2] or min(ay, by) > boxes[k, 3]:
                continue
            for s in range(at[k], at[k + 1] - 1):
                px, py, qx, qy = xy[s, 0], xy[s, 1], xy[s + 1, 0], xy[s + 1, 1]
                t, share = _crossing(ax, ay, dx, dy, reach, px, py, qx, qy, least_sine)
                if t < nearest:
                    nearest = t
                    hits[i, 0], hits[i, 1], hits[i, 2] = k, s - at[k], share
    return partners, hits
