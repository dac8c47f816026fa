"""
The challenge scorer's injection of one graph's nodes into a copy of the other, splits by tolerance included.

Each node takes the place that is nearest to it, and changes the copy for those after it. The original looks at every
edge of the copy for every node; here a grid says which edges may be near. A split makes two edges of one, its *pieces*;
the grid keeps listing the edge that was there at first, the *family* of its pieces.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.geometry import CellIndex, foot_on_segment, hypot, index_segments, is_near, span_of_cell, tenths
from lib.apls.net import (
    EDGES,
    ENTRIES,
    POINTS,
    TABLE,
    Net,
    PointTable,
    add_edge,
    add_entry,
    add_member,
    add_point,
    append_entry,
    bucket_of,
    detach,
    empty_net,
    empty_table,
    enter,
    find_equal,
    first_point,
    hash_of_cell,
    last_point,
    near,
    points_of,
    slot_of,
)

MARGIN_PX = 1.0  # of the grid: how far the pieces of an edge may drift from it and still be found in its cells
DRIFT_PX = 0.1  # a split that puts the new point in a vertex's place moves the line by less than this


class Families(NamedTuple):
    """
    The edges that a copy begins with, and the pieces that each was split into.

    Attributes
    ----------
    head
        Of each family: its first piece.
    sibling, of_edge
        Of each edge: the next piece of its family, -1 after the last; and the family itself.
    drift_px
        Of each family: how far its pieces may lie off the edge that it was.
    """

    head: np.ndarray
    sibling: np.ndarray
    of_edge: np.ndarray
    drift_px: np.ndarray


@njit(cache=True, nogil=True)
def _copy_into(net: Net, order: np.ndarray, new: Net) -> None:
    """
    Copy nodes in order, then each edge found at its first node.

    A vertex equal to a node becomes that node, as in the original's map from old to new points.
    """
    for p in order:
        add_member(new, add_point(new, net.x[p], net.y[p]))
    for p in order:
        j = net.first_link[p]
        while j >= 0:
            e = net.link_edge[j]
            j = net.link_next[j]
            if first_point(net, e) != p:
                continue
            first = last = -1
            v = net.first_entry[e]
            while v >= 0:
                old = net.entry_point[v]
                v = net.entry_next[v]
                q = find_equal(new.members, new, net.hash[old], net.x[old], net.y[old])
                if q < 0:
                    q = add_point(new, net.x[old], net.y[old])
                if first < 0:
                    first = last = add_entry(new, q, -1)
                else:
                    last = append_entry(new, last, q)
            add_edge(new, first, last, new.entry_point[first], new.entry_point[last])


@njit(cache=True, nogil=True)
def _near_member(net: Net, x: float, y: float) -> int:
    """The first member, in iteration order, within 0.1 px of (x, y); -1 if there is none."""
    best = -1
    best_turn = (0, 0)
    column, row = np.int64(tenths(x)), np.int64(tenths(y))
    for i in range(column - 1, column + 2):
        for j in range(row - 1, row + 2):
            h = hash_of_cell(i, j)
            p = net.members.first[slot_of(h, len(net.members.first))]
            while p >= 0:
                if net.hash[p] == h and is_near(net.x[p], net.y[p], x, y):
                    turn = (bucket_of(h, net.count[TABLE]), net.joined[p])
                    if best < 0 or turn < best_turn:
                        best, best_turn = p, turn
                p = net.members.after[p]
    return best


@njit(cache=True, nogil=True)
def _turn(net: Net, e: int) -> tuple[int, int, int]:
    """What the original's order of iteration over edges sorts by: the turn of the edge's first node, then the edge."""
    p = first_point(net, e)
    # a node's edges have no order in the original; this one lies within what it was seen to do
    return bucket_of(net.hash[p], net.count[TABLE]), net.joined[p], e ^ 1


@njit(cache=True, nogil=True)
def _add_candidates(
    net: Net, families: Families, family: int, x: float, y: float, reach: float, candidates: np.ndarray, count: int
) -> int:
    """Add the pieces of a family whose box is near (x, y) to the `count` candidates, in order; the new count."""
    reach += 1e-6  # the distance itself decides; this only leaves out what is surely too far
    e = families.head[family]
    while e >= 0:
        p = first_point(net, e)
        if (
            net.member[p]
            and (net.holder[e, 0] == p or net.holder[e, 1] == p)
            and net.box[e, 0] - reach <= x <= net.box[e, 2] + reach
            and net.box[e, 1] - reach <= y <= net.box[e, 3] + reach
        ):
            j, turn = count, _turn(net, e)
            while j > 0 and _turn(net, candidates[j - 1]) > turn:
                candidates[j] = candidates[j - 1]
                j -= 1
            candidates[j] = e
            count += 1
        e = families.sibling[e]
    return count


@njit(cache=True, nogil=True)
def _nearest(net: Net, candidates: np.ndarray, x: float, y: float) -> tuple[int, float, float, float, int]:
    """
    The original's search for the nearest segment among edges in its order of iteration.

    Returns the edge (-1: none), the projection's x and y, its distance, and the point object that a split starts from:
    the segment's end where the projection is near it, else its start.
    """
    best = np.inf
    found = start = -1
    best_x = best_y = 0.0
    for e in candidates:
        if x < net.box[e, 0] - best or x > net.box[e, 2] + best or y < net.box[e, 1] - best or y > net.box[e, 3] + best:
            continue
        v = net.first_entry[e]
        w = net.entry_next[v]
        while w >= 0:
            p = net.entry_point[v]
            q = net.entry_point[w]
            v = w
            w = net.entry_next[w]
            if is_near(x, y, net.x[p], net.y[p]):
                foot_x, foot_y, distance = net.x[p], net.y[p], 0.0
            elif is_near(x, y, net.x[q], net.y[q]):
                foot_x, foot_y, distance = net.x[q], net.y[q], 0.0
            else:
                foot_x, foot_y = foot_on_segment(x, y, net.x[p], net.y[p], net.x[q], net.y[q])
                distance = hypot(x - foot_x, y - foot_y)
            if distance < best:  # of equals the first
                best = distance
                found = e
                best_x, best_y = foot_x, foot_y
                start = q if is_near(foot_x, foot_y, net.x[q], net.y[q]) else p
                if distance == 0.0:
                    return found, best_x, best_y, best, start
    return found, best_x, best_y, best, start


@njit(cache=True, nogil=True)
def _split(net: Net, e: int, q: int, start: int) -> tuple[int, int, float]:
    """
    Split an edge at point q, after its first vertex near `start`: the look-up by tolerance that the original makes.

    That vertex may come before the segment that q lies on; the second part then runs back over the first. A vertex
    nearer than 0.1 px to q is replaced by it. Returns the two parts, and how far they may lie off the edge, pixels.
    """
    before = -1
    k = net.first_entry[e]
    while not near(net, net.entry_point[k], start):
        before = k
        k = net.entry_next[k]
    after = net.entry_next[k]
    replaced = near(net, q, start)
    drift_px = np.inf if net.entry_point[k] != start else DRIFT_PX if replaced else 0.0
    # first part: the vertices before k, `start` unless q replaces it, q
    one_last = add_entry(net, q, -1)
    one_first = one_last if replaced else add_entry(net, start, one_last)
    if before >= 0:
        net.entry_next[before] = one_first
        one_first = net.first_entry[e]
    # second part: q, the vertices after k
    two_first = add_entry(net, q, after)
    two_last = net.last_entry[e] if after >= 0 else two_first
    p1, p2 = net.holder[e, 0], net.holder[e, 1]
    detach(net, p1, e)
    detach(net, p2, e)
    add_member(net, q)
    return add_edge(net, one_first, one_last, p1, q), add_edge(net, two_first, two_last, q, p2), drift_px


@njit(cache=True, nogil=True)
def _replace(families: Families, e: int, one: int, two: int) -> int:
    """Put the pieces `one` and `two` in the place of e; its family."""
    family = families.of_edge[e]
    families.of_edge[one] = families.of_edge[two] = family
    if families.head[family] == e:
        families.head[family] = one
    else:
        f = families.head[family]
        while families.sibling[f] != e:
            f = families.sibling[f]
        families.sibling[f] = one
    families.sibling[one] = two
    families.sibling[two] = families.sibling[e]
    return family


@njit(cache=True, nogil=True)
def _set_alias(net: Net, p: int, value: int, aliases: PointTable, alias: np.ndarray) -> None:
    """HashMap.put: map p to a node; an equal key stays and takes the new value."""
    key = find_equal(aliases, net, net.hash[p], net.x[p], net.y[p])
    if key < 0:
        key = p
        enter(aliases, net, p)
    alias[key] = value


@njit(cache=True, nogil=True)
def _inject(
    net: Net, xs: np.ndarray, ys: np.ndarray, reach: float, index: CellIndex, family_of: np.ndarray, aliases: PointTable
) -> np.ndarray:
    """
    Give every point (xs, ys) its place in the net, one after the other; the point object of each, -1 for none.

    `index` finds segments, family_of[segment] the edge that it was of at first; `aliases` is an empty table.
    """
    first_edges, edges = net.count[EDGES], len(net.length)
    families = Families(np.arange(first_edges), np.full(edges, -1), np.arange(edges), np.zeros(first_edges))
    strays = np.empty(first_edges, np.int64)  # families that drifted out of the grid's margin: looked at every time
    stray_count = 0
    looked = np.full(first_edges, -1)  # point for which each family was last looked at
    candidates = np.empty(edges, np.int64)
    target = np.full(len(xs), -1)
    alias = np.full(len(net.x), -1)  # node that a point of `aliases` stands for
    for a in range(len(xs)):
        x, y = xs[a], ys[a]
        p = _near_member(net, x, y)
        if p >= 0:
            target[a] = add_point(net, net.x[p], net.y[p])
            _set_alias(net, target[a], p, aliases, alias)
            continue
        count = 0
        begin, end = span_of_cell(index, x, y)
        for i in range(begin, end + stray_count):
            family = family_of[index.segment[i]] if i < end else strays[i - end]
            if looked[family] != a:
                looked[family] = a
                count = _add_candidates(net, families, family, x, y, reach, candidates, count)
        e, foot_x, foot_y, distance, start = _nearest(net, candidates[:count], x, y)
        if distance > reach:  # also where there is no edge
            continue
        q = add_point(net, foot_x, foot_y)
        net.d[q] = distance
        target[a] = q
        p1, p2 = first_point(net, e), last_point(net, e)
        if near(net, q, p1):
            _set_alias(net, q, p1, aliases, alias)
        elif near(net, q, p2):
            _set_alias(net, q, p2, aliases, alias)
        else:
            one, two, drift_px = _split(net, e, q, start)
            family = _replace(families, e, one, two)
            within = families.drift_px[family] < MARGIN_PX
            families.drift_px[family] += drift_px
            if within and families.drift_px[family] >= MARGIN_PX:
                strays[stray_count] = family
                stray_count += 1
    for a in range(len(xs)):
        q = target[a]
        if q >= 0:
            key = find_equal(aliases, net, net.hash[q], net.x[q], net.y[q])
            if key >= 0:
                target[a] = alias[key]
    return target


def inject_nodes(
    here: Net, here_order: np.ndarray, there: Net, there_order: np.ndarray, reach_px: float
) -> tuple[Net, np.ndarray]:
    """
    Copy the net `there` and give the nodes of `here` their places in the copy, as the original does.

    Returns
    -------
    copy
        The copy, split where nodes were snapped to it.
    target
        Point object of the copy for each node of `here`, in its order of iteration; -1 where nothing is in reach.
    """
    n = len(here_order)
    edges, entries = int(there.count[EDGES]), int(there.count[ENTRIES])
    # room: a node adds a point at most, and two edges of three entries in the place of one
    copy = empty_net(int(there.count[POINTS]) + entries + n + 1, edges + 2 * n + 1, entries + 3 * n + 1)
    _copy_into(there, there_order, copy)
    families = np.arange(copy.count[EDGES])
    points, first = points_of(copy, families)
    vertices = np.column_stack([copy.x[points], copy.y[points]])
    index = index_segments(vertices, first, reach_px + MARGIN_PX)
    family_of = np.repeat(families, np.diff(first))
    aliases = empty_table(len(copy.x))
    return copy, _inject(copy, here.x[here_order], here.y[here_order], reach_px, index, family_of, aliases)
