"""The literal rules of the SpaceNet road challenge's Java scorer: graph from roads, midpoints, injection, costs."""

import math

import numpy as np
from numba import njit

from lib.apls import paths
from lib.apls import routes as apls_routes
from lib.apls import rows as apls_rows
from lib.apls.inject import inject_nodes
from lib.apls.net import (
    POINTS,
    Net,
    add_edge,
    add_entry,
    add_member,
    add_point,
    attach,
    cell_hashes,
    detach,
    edges_of,
    empty_net,
    forget_members,
    iteration_order,
    near,
    other_end,
)
from lib.apls.paths import hypot
from lib.apls.stale import stale_costs
from lib.errors import InputError


@njit(cache=True, nogil=True)
def _add_roads(net, xy, node, first):
    """The nodes, and an edge for every stretch of a road."""
    for p in range(len(xy)):
        add_member(net, add_point(net, xy[p, 0], xy[p, 1]))
    for road in range(len(first) - 1):
        for i in range(first[road] + 1, first[road + 1]):
            last = add_entry(net, node[i], -1)
            attach(net, add_edge(net, add_entry(net, node[i - 1], last), last), node[i - 1], node[i])


@njit(cache=True, nogil=True)
def _degree(net, p):
    count = 0
    j = net.first_link[p]
    while j >= 0:
        count += 1
        j = net.link_next[j]
    return count


@njit(cache=True, nogil=True)
def _simplify(net, order):
    """Merge chains of nodes with two edges into one edge each; False where the original dies of a dead end."""
    n = net.count[POINTS]
    simple = np.zeros(n, np.bool_)
    removed = np.zeros(n, np.bool_)
    for p in order:
        simple[p] = _degree(net, p) == 2
    for p in order:
        if simple[p]:
            continue
        snapshot = np.empty(_degree(net, p), np.int64)
        j = net.first_link[p]
        for i in range(len(snapshot)):
            snapshot[i] = net.link_edge[j]
            j = net.link_next[j]
        for e in snapshot:
            q = other_end(net, e, p)
            if removed[q]:
                detach(net, p, e)
                continue
            if not simple[q]:
                continue
            start = add_entry(net, p, -1)
            last = start
            before = p
            while True:
                net.entry_next[last] = add_entry(net, q, -1)
                last = net.entry_next[last]
                removed[q] = True
                simple[q] = False
                r = -1
                j = net.first_link[q]
                while j >= 0:
                    f = other_end(net, net.link_edge[j], q)
                    if f != before:
                        r = f
                        break
                    j = net.link_next[j]
                if r < 0:
                    return False
                if simple[r]:
                    before = q
                    q = r
                    continue
                net.entry_next[last] = add_entry(net, r, -1)
                last = net.entry_next[last]
                detach(net, p, e)
                detach(net, r, e)
                attach(net, add_edge(net, start, last), p, r)
                break
    forget_members(net, removed)
    return True


@njit(cache=True, nogil=True)
def _add_midpoints(net, order, spacing):
    """Cut every edge of 0.75 spacings or more into equal pieces; a midpoint equal to a node stays outside the set."""
    for e in edges_of(net, order):
        if net.length[e] < 0.75 * spacing:
            continue
        pieces = 2 if net.length[e] < spacing else math.floor(net.length[e] / spacing) + 1
        step = net.length[e] / pieces
        start = net.entry_point[net.first_entry[e]]
        end = net.entry_point[net.last_entry[e]]
        last = net.last_entry[e]
        detach(net, start, e)
        detach(net, end, e)
        rest = net.first_entry[e]
        rest_length = net.length[e]
        for _ in range(pieces - 1):
            at = min(step, rest_length)
            total = 0.0
            v = rest
            while True:
                w = net.entry_next[v]
                p = net.entry_point[v]
                q = net.entry_point[w]
                part = hypot(net.x[q] - net.x[p], net.y[q] - net.y[p])
                if total + part >= at or net.entry_next[w] < 0:
                    break
                total += part
                v = w
            if total + part == at:
                m = q
                tail = w
                after = net.entry_next[w]
                net.entry_next[w] = -1
            else:
                r = (at - total) / part
                m = add_point(net, net.x[p] + r * (net.x[q] - net.x[p]), net.y[p] + r * (net.y[q] - net.y[p]))
                tail = add_entry(net, m, -1)
                after = w
                net.entry_next[v] = tail
            add_member(net, m)
            attach(net, add_edge(net, rest, tail), start, m)
            start = m
            rest = add_entry(net, m, after)
            rest_length = _length(net, rest)
        attach(net, add_edge(net, rest, last), start, end)


@njit(cache=True, nogil=True)
def _length(net, v):
    total = 0.0
    w = net.entry_next[v]
    while w >= 0:
        p = net.entry_point[v]
        q = net.entry_point[w]
        total += hypot(net.x[q] - net.x[p], net.y[q] - net.y[p])
        v = w
        w = net.entry_next[w]
    return total


def build_net(lines: list[np.ndarray], spacing_px: float) -> tuple[Net, np.ndarray]:
    """
    The scored graph of one side: nodes and midpoints, and the order in which the original lists them.

    Raises
    ------
    InputError
        Where a repeated section leaves a chain without a way on; the original dies there.
    """
    lines = [line for line in lines if len(line)]
    first = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64)
    xy = np.concatenate([*lines, np.empty((0, 2))])
    # points of one hash are one node, however far apart they are; the first seen gives the coordinates
    _, seen, node = np.unique(cell_hashes(xy), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(seen))
    nodes, node = xy[np.sort(seen)], rank[node]
    steps = np.diff(nodes[node], axis=0)
    steps[first[1:-1] - 1] = 0.0  # from one road to the next
    v, mid = len(xy), 8 + int(np.hypot(steps[:, 0], steps[:, 1]).sum() / (0.75 * spacing_px) * (1 + 1e-9))
    net = empty_net(v + mid + 1, 2 * v + 2 * mid + 16, 6 * v + 4 * mid + 16)
    _add_roads(net, nodes, node, first)
    if not _simplify(net, iteration_order(net)):
        raise InputError(
            "Expected roads without repeated sections, found a stretch that is drawn twice and leads nowhere; "
            "remove it (lib.mapping.roadio.without_repeats does), or score with mode='strict'."
        )
    _add_midpoints(net, iteration_order(net), spacing_px)
    return net, iteration_order(net)


@njit(cache=True, nogil=True)
def _arcs(net, order):
    """Edges that can be walked both ways, arcs that go one way only, and whether a stale point can be passed."""
    edges = edges_of(net, order)
    ends = np.empty((len(edges), 2), np.int64)
    px = np.empty(len(edges))
    arcs = np.empty((2 * len(edges), 2), np.int64)
    arcs_px = np.empty(2 * len(edges))
    m = 0
    k = 0
    stale = False
    for e in edges:
        p = net.entry_point[net.first_entry[e]]
        q = net.entry_point[net.last_entry[e]]
        g, h = net.holder[e, 0], net.holder[e, 1]
        if (
            net.member[p]
            and net.member[q]
            and ((p == g and q == h) or (p == h and q == g))
            and (p == q or not near(net, p, q))
        ):
            ends[m, 0] = p
            ends[m, 1] = q
            px[m] = net.length[e]
            m += p != q
            continue
        for side in range(2):
            a = net.holder[e, side]
            b = other_end(net, e, a)
            if a == b or (side == 1 and g == h) or not net.member[a]:
                continue
            if net.member[b]:
                arcs[k, 0] = a
                arcs[k, 1] = b
                arcs_px[k] = net.length[e]
                k += 1
            elif net.d[b] > 0.0:
                stale = True
    return ends[:m], px[:m], arcs[:k], arcs_px[:k], stale


def _contract(net: Net, order: np.ndarray) -> tuple[paths.Contracted, np.ndarray, bool, bool]:
    """Contracted network of the members, their index by point, whether points go stale, and whether all is two-way."""
    ends, px, arcs, arcs_px, stale = _arcs(net, order)
    index = np.full(int(net.count[POINTS]) + 1, -1)  # the last stands for "no point"
    index[order] = np.arange(len(order))
    contracted = paths.contract(len(order), index[ends], px, index[arcs], arcs_px)
    return contracted, index, stale, not len(arcs)


def control_graph_of(net: Net, order: np.ndarray) -> paths.ControlGraph:
    """The members of a net and the lines of its edges between them."""
    index = {int(p): k for k, p in enumerate(order)}
    ends, lines = [], []
    for e in edges_of(net, order):
        points = []
        v = net.first_entry[e]
        while v >= 0:
            points.append(int(net.entry_point[v]))
            v = net.entry_next[v]
        if points[0] in index and points[-1] in index:
            ends.append((index[points[0]], index[points[-1]]))
            lines.append(np.column_stack([net.x[points], net.y[points]]))
    return paths.ControlGraph(
        nodes=np.column_stack([net.x[order], net.y[order]]),
        ends=np.array(ends, np.int64).reshape(-1, 2),
        length_px=np.array([np.hypot(*np.diff(line, axis=0).T).sum() for line in lines]),
        vertices=np.concatenate([*lines, np.empty((0, 2))]),
        first=np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64),
    )


def _direction(here: tuple[Net, np.ndarray], there: tuple[Net, np.ndarray], reach_px: float) -> apls_routes.Direction:
    net, order = here
    copy, target = inject_nodes(*here, *there, reach_px)
    copy_order = iteration_order(copy)
    contracted, _, _, two_way = _contract(net, order)
    other, index, stale, other_two_way = _contract(copy, copy_order)
    at = index[target]
    there_places = paths.Places(*(field[at] for field in other.nodes))
    there_places.chain[at < 0] = -2
    rows = apls_rows.DistanceRows(contracted.junctions)
    booked = None
    rows_there = apls_rows.DistanceRows(other.junctions)
    if stale or np.any((target >= 0) & (at < 0)):
        cost, count = np.zeros(len(order)), np.zeros(len(order), np.int64)
        outside = copy.d[: int(copy.count[POINTS])][~copy.member[: int(copy.count[POINTS])]]
        blocks = 1 + 2 * len(order) // min(rows.at_once, rows_there.at_once)
        for block in np.array_split(np.arange(len(order)), blocks):
            placed = block[there_places.chain[block] > -2]
            near_here = rows.get(np.concatenate([contracted.nodes.p[block], contracted.nodes.q[block]]))
            near_there = rows_there.get(np.concatenate([there_places.p[placed], there_places.q[placed]]))
            sides = (contracted.nodes, *near_here, there_places, *near_there)
            stale_costs(copy, copy_order, target, outside.max(), block, *sides, cost, count)
        booked = cost, count
    return apls_routes.Direction(
        xy=np.column_stack([net.x[order], net.y[order]]),
        here=contracted.nodes,
        rows_here=rows,
        there=there_places,
        rows_there=rows_there,
        symmetric=two_way and other_two_way,
        booked=booked,
        graph=lambda: control_graph_of(net, order),
    )


def directions(
    truth: list[np.ndarray], proposal: list[np.ndarray], spacing_px: float, reach_px: float
) -> tuple[apls_routes.Direction, apls_routes.Direction]:
    """Both ways of looking at a pair: the truth's routes in the proposal, and the proposal's in the truth."""
    one, two = build_net(truth, spacing_px), build_net(proposal, spacing_px)
    return _direction(one, two, reach_px), _direction(two, one, reach_px)
