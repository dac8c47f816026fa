"""
The literal rules of the SpaceNet road challenge's Java scorer.

One side of a pair goes through these steps, in the original's order and with its names of things: a node for every
hash of a road's points and an edge for every stretch; chains of nodes with two edges merged into one edge
("simplify"); midpoints on long edges; a copy into which the other side's nodes are injected (`lib.apls.inject`); and
Dijkstra from every node on both, which `lib.apls.rows` does at once for all.

The order in which Java lists its hash sets decides which of two near points is kept, and so the score; `lib.apls.net`
keeps that order. Where the original's own answer changes from run to run, this one lies within what it was seen to say.
"""

import math
from functools import partial

import numpy as np
from numba import njit

from lib.apls.inject import inject_nodes
from lib.apls.net import (
    POINTS,
    Net,
    add_edge,
    add_entry,
    add_member,
    add_point,
    append_entry,
    cell_hashes,
    detach,
    distance,
    edges_at,
    edges_of,
    empty_net,
    first_point,
    forget_members,
    iteration_order,
    last_point,
    length_from,
    near,
    other_end,
    points_of,
)
from lib.apls.paths import NOWHERE, Contracted, ControlGraph, Places, contract
from lib.apls.routes import Direction
from lib.apls.rows import DistanceRows
from lib.apls.stale import stale_costs
from lib.errors import InputError


@njit(cache=True, nogil=True)
def _add_roads(net: Net, xy: np.ndarray, node: np.ndarray, first: np.ndarray) -> None:
    """The nodes `xy`, and an edge for every stretch of a road; node[first[road]:first[road + 1]] are a road's nodes."""
    for p in range(len(xy)):
        add_member(net, add_point(net, xy[p, 0], xy[p, 1]))
    for road in range(len(first) - 1):
        for i in range(first[road] + 1, first[road + 1]):
            last = add_entry(net, node[i], -1)
            add_edge(net, add_entry(net, node[i - 1], last), last, node[i - 1], node[i])


@njit(cache=True, nogil=True)
def _merge_chain(net: Net, p: int, q: int, simple: np.ndarray, removed: np.ndarray) -> tuple[int, int, int]:
    """
    Walk from the node p over simple nodes, the first of them q, to the next node that is not simple.

    Marks the nodes passed as removed. Returns the first and the last entry of the walk, and the node that it ends at:
    -1 where it comes to a node without a way on.
    """
    first = last = add_entry(net, p, -1)
    before, here = p, q
    while True:
        last = append_entry(net, last, here)
        removed[here] = True
        simple[here] = False
        ahead = -1
        for e in edges_at(net, here):
            neighbour = other_end(net, e, here)
            if neighbour != before:
                ahead = neighbour
                break
        if ahead < 0:
            return first, last, ahead
        if not simple[ahead]:
            return first, append_entry(net, last, ahead), ahead
        before, here = here, ahead


@njit(cache=True, nogil=True)
def _simplify(net: Net, order: np.ndarray) -> bool:
    """Merge chains of nodes with two edges into one edge each; False where the original dies of a dead end."""
    simple = np.zeros(net.count[POINTS], np.bool_)  # exactly two edges, counted before anything changes
    removed = np.zeros(net.count[POINTS], np.bool_)
    for p in order:
        simple[p] = len(edges_at(net, p)) == 2
    for p in order:
        if simple[p]:
            continue
        for e in edges_at(net, p):
            q = other_end(net, e, p)
            if removed[q]:  # the last stretch of a chain that was walked from its other end
                detach(net, p, e)
            elif simple[q]:
                first, last, r = _merge_chain(net, p, q, simple, removed)
                if r < 0:
                    return False
                detach(net, p, e)
                detach(net, r, e)
                add_edge(net, first, last, p, r)
    forget_members(net, removed)
    return True


@njit(cache=True, nogil=True)
def _cut(net: Net, first: int, cut_px: float) -> tuple[int, int, int]:
    """
    Cut a list of entries at a distance from its first entry.

    Returns the point cut at (an existing one where the distance ends there exactly), the last entry of the part
    before it, and the entry after it.
    """
    walked = 0.0
    v, w = first, net.entry_next[first]
    part = distance(net, net.entry_point[v], net.entry_point[w])
    while walked + part < cut_px and net.entry_next[w] >= 0:
        walked += part
        v, w = w, net.entry_next[w]
        part = distance(net, net.entry_point[v], net.entry_point[w])
    p, q = net.entry_point[v], net.entry_point[w]
    if walked + part == cut_px:
        after = net.entry_next[w]
        net.entry_next[w] = -1
        return q, w, after
    r = (cut_px - walked) / part
    m = add_point(net, net.x[p] + r * (net.x[q] - net.x[p]), net.y[p] + r * (net.y[q] - net.y[p]))
    return m, append_entry(net, v, m), w


@njit(cache=True, nogil=True)
def _add_midpoints(net: Net, order: np.ndarray, spacing: float) -> None:
    """Cut every edge of 0.75 spacings or more into equal pieces; a midpoint equal to a node stays outside the set."""
    for e in edges_of(net, order):
        length = net.length[e]
        if length < 0.75 * spacing:
            continue
        pieces = 2 if length < spacing else math.floor(length / spacing) + 1
        step = length / pieces
        start, end = first_point(net, e), last_point(net, e)
        detach(net, start, e)
        detach(net, end, e)
        # what is not yet cut off: its list, which keeps the edge's last entry, and its length
        rest, rest_px = net.first_entry[e], length
        for _ in range(pieces - 1):
            midpoint, tail, after = _cut(net, rest, min(step, rest_px))
            add_member(net, midpoint)
            add_edge(net, rest, tail, start, midpoint)
            start = midpoint
            rest = add_entry(net, midpoint, after)
            rest_px = length_from(net, rest)
        add_edge(net, rest, net.last_entry[e], start, end)


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
    # room: pieces are longer than 0.375 spacings, and every stretch may be listed again by a merged edge
    points = len(xy)
    midpoints = 8 + int(np.hypot(steps[:, 0], steps[:, 1]).sum() / (0.75 * spacing_px) * (1 + 1e-9))
    net = empty_net(points + midpoints + 1, 2 * points + 2 * midpoints + 16, 6 * points + 4 * midpoints + 16)
    _add_roads(net, nodes, node, first)
    if not _simplify(net, iteration_order(net)):
        raise InputError(
            "Expected roads without repeated sections, found a stretch that is drawn twice and leads nowhere; "
            "remove it (lib.vectors.roadio.without_repeats does), or score with mode='strict'."
        )
    _add_midpoints(net, iteration_order(net), spacing_px)
    return net, iteration_order(net)


@njit(cache=True, nogil=True)
def _arcs(net: Net, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """
    Ways between members: (n, 2) points, lengths, which are walked from first to second only; can others be passed?

    The last is whether an edge leads from a member to a point outside the set that has a distance to pass below.
    """
    edges = edges_of(net, order)
    ends = np.empty((2 * len(edges), 2), np.int64)
    px = np.empty(2 * len(edges))
    one_way = np.zeros(2 * len(edges), np.bool_)
    size = 0
    stale = False
    for e in edges:
        p, q = first_point(net, e), last_point(net, e)
        g, h = net.holder[e, 0], net.holder[e, 1]
        held_by_ends = (p == g and q == h) or (p == h and q == g)
        if net.member[p] and net.member[q] and held_by_ends and (p == q or not near(net, p, q)):
            if p != q:
                ends[size, 0], ends[size, 1], px[size] = p, q, net.length[e]
                size += 1
            continue
        # the original asks the edge for its other end, which is by tolerance, and goes there from whoever holds it
        for side in range(1 if g == h else 2):
            a = net.holder[e, side]
            b = other_end(net, e, a)
            if a == b or not net.member[a]:
                continue
            if net.member[b]:
                ends[size, 0], ends[size, 1], px[size], one_way[size] = a, b, net.length[e], True
                size += 1
            elif net.d[b] > 0.0:
                stale = True
    return ends[:size], px[:size], one_way[:size], stale


def _contract(net: Net, order: np.ndarray) -> tuple[Contracted, np.ndarray, bool, bool]:
    """Contracted network of the members, their index by point, whether points go stale, and whether all is two-way."""
    ends, px, one_way, stale = _arcs(net, order)
    index = np.full(int(net.count[POINTS]) + 1, -1)  # the last stands for "no point"
    index[order] = np.arange(len(order))
    return contract(len(order), index[ends], px, one_way), index, stale, not one_way.any()


def control_graph_of(net: Net, order: np.ndarray) -> ControlGraph:
    """The members of a net and the lines of its edges between them."""
    index = np.full(int(net.count[POINTS]), -1)
    index[order] = np.arange(len(order))
    edges = edges_of(net, order)
    ends = index[net.entry_point[np.column_stack([net.first_entry[edges], net.last_entry[edges]])]]
    inside = (ends >= 0).all(axis=1)
    points, first = points_of(net, edges[inside])
    return ControlGraph(
        nodes=np.column_stack([net.x[order], net.y[order]]),
        ends=ends[inside],
        length_px=net.length[edges[inside]],
        vertices=np.column_stack([net.x[points], net.y[points]]),
        first=first,
    )


def _stale_sums(
    copy: Net,
    copy_order: np.ndarray,
    target: np.ndarray,
    here: Places,
    rows_here: DistanceRows,
    there: Places,
    rows_there: DistanceRows,
    sources: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Cost and number of the routes of each source where points outside the node set go stale, in blocks of sources."""
    cost, count = np.zeros(len(target)), np.zeros(len(target), np.int64)
    wanted = np.zeros(len(target), bool)
    wanted[sources] = True
    points = int(copy.count[POINTS])
    limit = copy.d[:points][~copy.member[:points]].max()
    copy = copy._replace(d=copy.d.copy())  # the runs change it
    copy.d[copy_order] = np.inf
    blocks = 1 + 2 * len(sources) // min(rows_here.at_once, rows_there.at_once)
    begin = 0
    for block in np.array_split(np.flatnonzero(wanted), blocks):
        sides = rows_here.at(here, block), rows_there.at(there, block)
        starts = np.arange(begin, block[-1] + 1)  # the original starts from all nodes, one after the other
        stale_costs(copy, target, limit, starts, wanted, *sides, cost, count)
        begin = block[-1] + 1
    return cost[sources], count[sources]


def _direction(here: tuple[Net, np.ndarray], there: tuple[Net, np.ndarray], reach_px: float) -> Direction:
    """Routes of one net's nodes, and their places on the other: each net with its order of iteration."""
    net, order = here
    copy, target = inject_nodes(*here, *there, reach_px)
    copy_order = iteration_order(copy)
    contracted, _, _, two_way = _contract(net, order)
    copy_contracted, index, stale, copy_two_way = _contract(copy, copy_order)
    member = index[target]
    places = Places(*(field[member] for field in copy_contracted.nodes))
    places.chain[member < 0] = NOWHERE
    rows, rows_there = DistanceRows(contracted.junctions), DistanceRows(copy_contracted.junctions)
    booked = None
    if stale or np.any((target >= 0) & (member < 0)):
        booked = partial(_stale_sums, copy, copy_order, target, contracted.nodes, rows, places, rows_there)
    return Direction(
        xy=np.column_stack([net.x[order], net.y[order]]),
        here=contracted.nodes,
        rows_here=rows,
        there=places,
        rows_there=rows_there,
        symmetric=two_way and copy_two_way,
        booked=booked,
        graph=lambda: control_graph_of(net, order),
    )


def directions(
    truth: list[np.ndarray], proposal: list[np.ndarray], spacing_px: float, reach_px: float
) -> tuple[Direction, Direction]:
    """Both ways of looking at a pair: the truth's routes in the proposal, and the proposal's in the truth."""
    one, two = build_net(truth, spacing_px), build_net(proposal, spacing_px)
    return _direction(one, two, reach_px), _direction(two, one, reach_px)
