"""The challenge scorer's injection of one graph's nodes into a copy of the other, splits by tolerance included."""

import numpy as np
from numba import njit

from lib.apls.net import (
    EDGES,
    ENTRIES,
    POINTS,
    TABLE,
    Net,
    add_edge,
    add_entry,
    add_member,
    add_point,
    attach,
    bucket_of,
    detach,
    empty_net,
    find_member,
    near,
    round_half_up,
    slot_of,
)
from lib.apls.paths import hypot

MARGIN_PX = 1.0  # pieces of an edge may leave it by less than 0.1 px a split; after 8 such splits, see `stray`
MAX_CELLS = 1 << 20


@njit(cache=True, nogil=True)
def _copy_into(net, order, new):
    """Copy nodes in order, then each edge found at its first node; vertices equal to a node become that node."""
    for p in order:
        add_member(new, add_point(new, net.x[p], net.y[p]))
    nodes = len(order)
    for i in range(nodes):
        p = order[i]
        j = net.first_link[p]
        while j >= 0:
            e = net.link_edge[j]
            j = net.link_next[j]
            if net.entry_point[net.first_entry[e]] != p:
                continue
            first = -1
            last = -1
            v = net.first_entry[e]
            while v >= 0:
                old = net.entry_point[v]
                v = net.entry_next[v]
                q = find_member(new, net.hash[old], net.x[old], net.y[old])
                if q < 0:
                    q = add_point(new, net.x[old], net.y[old])
                w = add_entry(new, q, -1)
                if first < 0:
                    first = w
                else:
                    new.entry_next[last] = w
                last = w
            attach(new, add_edge(new, first, last), new.entry_point[first], new.entry_point[last])


@njit(cache=True, nogil=True)
def _cells_under(x0, y0, x1, y1, origin_x, origin_y, cell, columns, rows):
    """Range of grid cells under a box."""
    return (
        max(0, int((x0 - origin_x) / cell)),
        max(0, int((y0 - origin_y) / cell)),
        min(columns - 1, int((x1 - origin_x) / cell)),
        min(rows - 1, int((y1 - origin_y) / cell)),
    )


@njit(cache=True, nogil=True)
def _index_edges(net, reach, origin_x, origin_y, cell, columns, rows):
    """Edges by grid cell, as compressed rows: each in all cells within `reach` of one of its segments' boxes."""
    first = np.zeros(columns * rows + 1, np.int64)
    items = np.empty(0, np.int64)
    latest = np.full(columns * rows, -1)
    for fill in range(2):
        latest[:] = -1
        for e in range(net.count[EDGES]):
            v = net.first_entry[e]
            w = net.entry_next[v]
            while w >= 0:
                p = net.entry_point[v]
                q = net.entry_point[w]
                c0, r0, c1, r1 = _cells_under(
                    min(net.x[p], net.x[q]) - reach,
                    min(net.y[p], net.y[q]) - reach,
                    max(net.x[p], net.x[q]) + reach,
                    max(net.y[p], net.y[q]) + reach,
                    origin_x, origin_y, cell, columns, rows,
                )  # fmt: skip
                for r in range(r0, r1 + 1):
                    for c in range(c0, c1 + 1):
                        k = r * columns + c
                        if latest[k] == e:
                            continue
                        latest[k] = e
                        if fill == 1:
                            items[first[k]] = e
                            first[k] += 1
                        else:
                            first[k + 1] += 1
                v = w
                w = net.entry_next[w]
        if fill == 0:
            for k in range(columns * rows):
                first[k + 1] += first[k]
            items = np.empty(first[-1], np.int64)
    for k in range(columns * rows, 0, -1):
        first[k] = first[k - 1]
    first[0] = 0
    return first, items


@njit(cache=True, nogil=True)
def _near_member(net, x, y, size):
    """The first member, in iteration order, within 0.1 px of (x, y); -1 if there is none."""
    best = -1
    key = (0, 0)
    cx = round_half_up(10.0 * x)
    cy = round_half_up(10.0 * y)
    for i in range(-1, 2):
        for j in range(-1, 2):
            h = (100000 * (cx + i) + cy + j) & 0xFFFFFFFF
            p = net.slot[slot_of(h, len(net.slot))]
            while p >= 0:
                if net.hash[p] == h:
                    dx = net.x[p] - x
                    dy = net.y[p] - y
                    if dx * dx + dy * dy < 1e-2:
                        this = (bucket_of(h, size), net.turn[p])
                        if best < 0 or this < key:
                            best = p
                            key = this
                p = net.slot_next[p]
    return best


@njit(cache=True, nogil=True)
def _nearest(net, candidates, count, x, y):
    """
    The original's search for the nearest segment among edges in its order of iteration.

    Returns the edge (-1: none), the projection, its distance, and the point object that its split starts from.
    """
    best = np.inf
    found = -1
    best_x = best_y = 0.0
    start = -1
    for k in range(count):
        e = candidates[k]
        if x < net.box[e, 0] - best or x > net.box[e, 2] + best or y < net.box[e, 1] - best or y > net.box[e, 3] + best:
            continue
        v = net.first_entry[e]
        w = net.entry_next[v]
        while w >= 0:
            p = net.entry_point[v]
            q = net.entry_point[w]
            v = w
            w = net.entry_next[w]
            ux = x - net.x[p]
            uy = y - net.y[p]
            vx = x - net.x[q]
            vy = y - net.y[q]
            if ux * ux + uy * uy < 1e-2:
                px, py, distance = net.x[p], net.y[p], 0.0
            elif vx * vx + vy * vy < 1e-2:
                px, py, distance = net.x[q], net.y[q], 0.0
            else:
                sx = net.x[q] - net.x[p]
                sy = net.y[q] - net.y[p]
                square = sx * sx + sy * sy
                if square == 0.0:
                    continue
                t = (ux * sx + uy * sy) / square
                if t > 1:
                    px, py = net.x[q], net.y[q]
                elif t < 0:
                    px, py = net.x[p], net.y[p]
                else:
                    px, py = net.x[p] + t * sx, net.y[p] + t * sy
                distance = hypot(x - px, y - py)
            if distance < best:
                best = distance
                found = e
                best_x = px
                best_y = py
                dx = px - net.x[q]
                dy = py - net.y[q]
                start = q if dx * dx + dy * dy < 1e-2 else p
                if distance == 0.0:
                    return found, best_x, best_y, best, start
    return found, best_x, best_y, best, start


@njit(cache=True, nogil=True)
def _split(net, e, q, w):
    """
    Split an edge at point q, after the first vertex near w: the look-up by tolerance that the original makes.

    Returns the two parts, and whether they may leave the edge: 0 no, 1 by less than 0.1 px, 2 by any distance.
    """
    before = -1
    k = net.first_entry[e]
    while not near(net, net.entry_point[k], w):
        before = k
        k = net.entry_next[k]
    after = net.entry_next[k]
    stray = 0 if net.entry_point[k] == w else 2
    one_last = add_entry(net, q, -1)
    one_first = one_last
    if not near(net, q, w):
        one_first = add_entry(net, w, one_last)
    elif stray == 0:
        stray = 1
    two_last = net.last_entry[e] if after >= 0 else -1
    if before >= 0:
        net.entry_next[before] = one_first
        one_first = net.first_entry[e]
    two_first = add_entry(net, q, after)
    if two_last < 0:
        two_last = two_first
    p1, p2 = net.holder[e, 0], net.holder[e, 1]
    detach(net, p1, e)
    detach(net, p2, e)
    net.alive[e] = False
    add_member(net, q)
    one = add_edge(net, one_first, one_last)
    two = add_edge(net, two_first, two_last)
    attach(net, one, p1, q)
    attach(net, two, q, p2)
    return one, two, stray


@njit(cache=True, nogil=True)
def _find_alias(net, p, alias_slot, alias_next):
    """The key of the alias map that equals point p, else -1."""
    k = alias_slot[slot_of(net.hash[p], len(alias_slot))]
    while k >= 0:
        if net.hash[k] == net.hash[p] and near(net, k, p):
            return k
        k = alias_next[k]
    return -1


@njit(cache=True, nogil=True)
def _set_alias(net, p, value, alias, alias_slot, alias_next):
    """Map p to a node; an equal key stays and takes the new value."""
    k = _find_alias(net, p, alias_slot, alias_next)
    if k >= 0:
        alias[k] = value
        return
    alias[p] = value
    s = slot_of(net.hash[p], len(alias_slot))
    k = alias_slot[s]
    if k < 0:
        alias_slot[s] = p
        return
    while alias_next[k] >= 0:
        k = alias_next[k]
    alias_next[k] = p


@njit(cache=True, nogil=True)
def _inject(net, xs, ys, reach, first, items, origin_x, origin_y, cell, columns, rows):
    """Give every point its place in the net, one after the other; returns the point object of each, -1 for none."""
    families = net.count[EDGES]
    head = np.arange(families)  # pieces of an original edge, as a linked list
    sibling = np.full(len(net.length), -1)
    strayed = np.zeros(families, np.int64)
    stray = np.empty(families, np.int64)
    strays = 0
    target = np.full(len(xs), -1)
    alias = np.full(len(net.x), -1)  # value of a key point
    slots = len(net.slot)
    alias_slot = np.full(slots, -1)
    alias_next = np.full(len(net.x), -1)
    looked = np.full(families, -1)
    family_of = np.arange(len(net.length))
    candidates = np.empty(len(net.length), np.int64)
    wide = reach + 1e-6  # the distance itself decides; this only leaves out what is surely too far
    for a in range(len(xs)):
        x, y = xs[a], ys[a]
        size = net.count[TABLE]
        p = _near_member(net, x, y, size)
        if p >= 0:
            target[a] = add_point(net, net.x[p], net.y[p])
            _set_alias(net, target[a], p, alias, alias_slot, alias_next)
            continue
        count = 0
        column = int(np.floor((x - origin_x) / cell))
        row = int(np.floor((y - origin_y) / cell))
        inside = 0 <= column < columns and 0 <= row < rows
        k = row * columns + column
        listed = first[k + 1] - first[k] if inside else 0
        for i in range(listed + strays):
            family = items[first[k] + i] if i < listed else stray[i - listed]
            if looked[family] == a:
                continue
            looked[family] = a
            e = head[family]
            while e >= 0:
                p1 = net.entry_point[net.first_entry[e]]
                if (
                    net.member[p1]
                    and (net.holder[e, 0] == p1 or net.holder[e, 1] == p1)
                    and net.box[e, 0] - wide <= x <= net.box[e, 2] + wide
                    and net.box[e, 1] - wide <= y <= net.box[e, 3] + wide
                ):
                    # a node's edges have no order in the original; this one lies within what it was seen to do
                    key = (bucket_of(net.hash[p1], size), net.turn[p1], e ^ 1)
                    j = count
                    while j > 0:
                        f = candidates[j - 1]
                        p2 = net.entry_point[net.first_entry[f]]
                        if (bucket_of(net.hash[p2], size), net.turn[p2], f ^ 1) < key:
                            break
                        candidates[j] = f
                        j -= 1
                    candidates[j] = e
                    count += 1
                e = sibling[e]
        e, px, py, distance, w = _nearest(net, candidates, count, x, y)
        if e < 0 or distance > reach:
            continue
        q = add_point(net, px, py)
        net.d[q] = distance
        target[a] = q
        p1 = net.entry_point[net.first_entry[e]]
        p2 = net.entry_point[net.last_entry[e]]
        if near(net, q, p1):
            _set_alias(net, q, p1, alias, alias_slot, alias_next)
        elif near(net, q, p2):
            _set_alias(net, q, p2, alias, alias_slot, alias_next)
        else:
            family = family_of[e]
            one, two, kind = _split(net, e, q, w)
            family_of[one] = family_of[two] = family
            if head[family] == e:
                head[family] = one
            else:
                f = head[family]
                while sibling[f] != e:
                    f = sibling[f]
                sibling[f] = one
            sibling[one] = two
            sibling[two] = sibling[e]
            before = strayed[family]
            strayed[family] += 8 if kind == 2 else kind
            if before < 8 and strayed[family] >= 8:
                stray[strays] = family
                strays += 1
    for a in range(len(xs)):
        if target[a] >= 0:
            p = _find_alias(net, target[a], alias_slot, alias_next)
            if p >= 0:
                target[a] = alias[p]
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
    copy = empty_net(int(there.count[POINTS]) + entries + n + 1, edges + 2 * n + 1, entries + 3 * n + 1)
    _copy_into(there, there_order, copy)
    points = int(copy.count[POINTS])
    margin = reach_px + MARGIN_PX
    xs, ys = copy.x[:points], copy.y[:points]
    low_x, low_y = xs.min(initial=np.inf) - margin, ys.min(initial=np.inf) - margin
    wide, high = xs.max(initial=-np.inf) + margin - low_x, ys.max(initial=-np.inf) + margin - low_y
    cell = max(4.0 * reach_px, np.sqrt(wide * high / MAX_CELLS), wide / MAX_CELLS, high / MAX_CELLS)
    grid = low_x, low_y, cell, int(wide / cell) + 1, int(high / cell) + 1
    first, items = _index_edges(copy, margin, *grid)
    target = _inject(copy, here.x[here_order], here.y[here_order], reach_px, first, items, *grid)
    return copy, target
