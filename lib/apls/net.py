"""
A road network as the Java scorer holds it, in flat arrays: point objects, hash sets, edges as lists of points.

Indices say which object is meant: p, q are points, e, f edges, v, w entries of an edge's list; -1 is none.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.geometry import hypot, is_near, tenths

POINTS, EDGES, ENTRIES, LINKS, MEMBERS, TABLE, JOINED = range(7)  # places in Net.count
CHAIN_LIMIT, SMALL_TABLE = 8, 64  # java.util.HashMap doubles a table of fewer than 64 buckets at a chain's ninth key


class PointTable(NamedTuple):
    """Points by hash: `first` of each slot, and the one `after` each point in its slot, in order of insertion."""

    first: np.ndarray
    after: np.ndarray


class Net(NamedTuple):
    """
    Points, edges and their links; every array is as long as what may ever be needed, `count` says what is.

    Attributes
    ----------
    count
        Numbers of points, edges, entries, links and members; the buckets of the Java node set; all that ever joined.
    x, y, hash, d
        Of each point: pixels, the 32 bits that Java hashes it to, and the scratch distance of Java's Dijkstra.
    member, joined
        Of each point: is it in the node set, and how many joined before it.
    members
        The node set by hash.
    first_link, last_link
        Of each point: its edge set, a linked list in order of insertion.
    link_edge, link_next
        Of each link: the edge, and the next link of the same point.
    first_entry, last_entry
        Of each edge: its points, a linked list.
    entry_point, entry_next
        Of each entry: the point, and the next entry of the same edge.
    length, box
        Of each edge: pixels along it; x0, y0, x1, y1.
    holder
        Of each edge: the two nodes that it was handed to, (edges, 2); tolerance may make its ends others than these.
    """

    count: np.ndarray
    x: np.ndarray
    y: np.ndarray
    hash: np.ndarray
    d: np.ndarray
    member: np.ndarray
    joined: np.ndarray
    members: PointTable
    first_link: np.ndarray
    last_link: np.ndarray
    link_edge: np.ndarray
    link_next: np.ndarray
    first_entry: np.ndarray
    last_entry: np.ndarray
    entry_point: np.ndarray
    entry_next: np.ndarray
    length: np.ndarray
    box: np.ndarray
    holder: np.ndarray


def empty_table(points: int) -> PointTable:
    """Room for so many points: twice as many slots at least, a power of two."""
    return PointTable(np.full(1 << max(4, math.ceil(math.log2(2 * points + 1))), -1), np.full(points, -1))


def empty_net(points: int, edges: int, entries: int) -> Net:
    """Room for so many points, edges and list entries."""
    return Net(
        count=np.zeros(7, np.int64),
        x=np.empty(points),
        y=np.empty(points),
        hash=np.empty(points, np.int64),
        d=np.zeros(points),
        member=np.zeros(points, bool),
        joined=np.zeros(points, np.int64),
        members=empty_table(points),
        first_link=np.full(points, -1),
        last_link=np.full(points, -1),
        link_edge=np.empty(2 * edges, np.int64),
        link_next=np.empty(2 * edges, np.int64),
        first_entry=np.empty(edges, np.int64),
        last_entry=np.empty(edges, np.int64),
        entry_point=np.empty(entries, np.int64),
        entry_next=np.empty(entries, np.int64),
        length=np.empty(edges),
        box=np.empty((edges, 4)),
        holder=np.full((edges, 2), -1),
    )


@njit(cache=True, nogil=True)
def hash_of_cell(column: int, row: int) -> int:
    """The 32 bits that the original hashes the points of a cell of 0.1 px to; cells far apart may share them."""
    return (100000 * column + row) & 0xFFFFFFFF


def cell_hashes(xy: np.ndarray) -> np.ndarray:
    """Hash of every point of an (n, 2) array."""
    return hash_of_cell.py_func(*tenths(xy).astype(np.int64).T)


@njit(cache=True, nogil=True)
def near(net: Net, p: int, q: int) -> bool:
    """Closer than 0.1 px?"""
    return is_near(net.x[p], net.y[p], net.x[q], net.y[q])


@njit(cache=True, nogil=True)
def distance(net: Net, p: int, q: int) -> float:
    """Distance of two points, pixels."""
    return hypot(net.x[q] - net.x[p], net.y[q] - net.y[p])


@njit(cache=True, nogil=True)
def add_point(net: Net, x: float, y: float) -> int:
    """A new point object, in no set, with no edges and d = 0."""
    p = net.count[POINTS]
    net.count[POINTS] += 1
    net.x[p] = x
    net.y[p] = y
    net.hash[p] = hash_of_cell(np.int64(tenths(x)), np.int64(tenths(y)))
    net.d[p] = 0.0
    return p


@njit(cache=True, nogil=True)
def slot_of(h: int, slots: int) -> int:
    """Slot of a hash in a `PointTable` of a power of two slots; the factor spreads neighbouring cells (Knuth)."""
    return ((h * 0x9E3779B1) >> 7) & (slots - 1)


@njit(cache=True, nogil=True)
def find_equal(table: PointTable, net: Net, h: int, x: float, y: float) -> int:
    """The first point of a table with this hash that is near (x, y), else -1: what Java's sets take for equal."""
    p = table.first[slot_of(h, len(table.first))]
    while p >= 0 and not (net.hash[p] == h and is_near(net.x[p], net.y[p], x, y)):
        p = table.after[p]
    return p


@njit(cache=True, nogil=True)
def enter(table: PointTable, net: Net, p: int) -> None:
    """Append a point to its slot of a table."""
    table.after[p] = -1
    slot = slot_of(net.hash[p], len(table.first))
    q = table.first[slot]
    if q < 0:
        table.first[slot] = p
        return
    while table.after[q] >= 0:
        q = table.after[q]
    table.after[q] = p


@njit(cache=True, nogil=True)
def bucket_of(h: int, buckets: int) -> int:
    """Bucket of a hash in java.util.HashMap, which lists its keys bucket by bucket."""
    return (h ^ (h >> 16)) & (buckets - 1)


@njit(cache=True, nogil=True)
def add_member(net: Net, p: int) -> None:
    """HashSet.add: the node set takes a point unless an equal one is there, and its table grows as Java's does."""
    if find_equal(net.members, net, net.hash[p], net.x[p], net.y[p]) >= 0:
        return
    count = net.count
    if count[TABLE] == 0:
        count[TABLE] = 16
    if count[TABLE] < SMALL_TABLE:
        bucket = bucket_of(net.hash[p], count[TABLE])
        chain = 0
        for q in range(count[POINTS]):
            chain += net.member[q] and bucket_of(net.hash[q], count[TABLE]) == bucket
        if chain >= CHAIN_LIMIT:
            count[TABLE] *= 2
    enter(net.members, net, p)
    net.member[p] = True
    net.joined[p] = count[JOINED]
    count[JOINED] += 1
    count[MEMBERS] += 1
    if count[MEMBERS] > 0.75 * count[TABLE]:
        count[TABLE] *= 2


@njit(cache=True, nogil=True)
def forget_members(net: Net, gone: np.ndarray) -> None:
    """Remove the points marked `gone` from the node set and clear their edge sets; Java's table keeps its size."""
    net.members.first[:] = -1
    for p in np.flatnonzero(net.member[: net.count[POINTS]]):
        if gone[p]:
            net.member[p] = False
            net.count[MEMBERS] -= 1
            net.first_link[p] = net.last_link[p] = -1
        else:
            enter(net.members, net, p)


def iteration_order(net: Net) -> np.ndarray:
    """Members in the order in which java.util.HashSet lists them: by bucket, then by insertion."""
    members = np.flatnonzero(net.member[: net.count[POINTS]])
    buckets = bucket_of.py_func(net.hash[members], max(int(net.count[TABLE]), 1))
    return members[np.lexsort((net.joined[members], buckets))]


@njit(cache=True, nogil=True)
def add_entry(net: Net, point: int, following: int) -> int:
    """A list entry that names a point and precedes the entry `following`."""
    v = net.count[ENTRIES]
    net.count[ENTRIES] += 1
    net.entry_point[v] = point
    net.entry_next[v] = following
    return v


@njit(cache=True, nogil=True)
def append_entry(net: Net, last: int, point: int) -> int:
    """A list entry that names a point and follows the entry `last` as the new end of its list."""
    v = add_entry(net, point, -1)
    net.entry_next[last] = v
    return v


@njit(cache=True, nogil=True)
def length_from(net: Net, v: int) -> float:
    """Length of a list of entries from entry v to its end, pixels, summed in the order of the list."""
    total = 0.0
    w = net.entry_next[v]
    while w >= 0:
        total += distance(net, net.entry_point[v], net.entry_point[w])
        v = w
        w = net.entry_next[w]
    return total


@njit(cache=True, nogil=True)
def add_edge(net: Net, first_entry: int, last_entry: int, p: int, q: int) -> int:
    """A new edge over a list of entries, handed to the edge sets of the nodes p and q (a ring's only once)."""
    e = net.count[EDGES]
    net.count[EDGES] += 1
    net.first_entry[e] = first_entry
    net.last_entry[e] = last_entry
    net.length[e] = length_from(net, first_entry)
    x0 = y0 = np.inf
    x1 = y1 = -np.inf
    v = first_entry
    while v >= 0:
        x, y = net.x[net.entry_point[v]], net.y[net.entry_point[v]]
        x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
        v = net.entry_next[v]
    net.box[e, 0], net.box[e, 1], net.box[e, 2], net.box[e, 3] = x0, y0, x1, y1
    net.holder[e, 0] = p
    net.holder[e, 1] = q
    _append_link(net, p, e)
    if q != p:
        _append_link(net, q, e)
    return e


@njit(cache=True, nogil=True)
def first_point(net: Net, e: int) -> int:
    """First point of an edge's list."""
    return net.entry_point[net.first_entry[e]]


@njit(cache=True, nogil=True)
def last_point(net: Net, e: int) -> int:
    """Last point of an edge's list."""
    return net.entry_point[net.last_entry[e]]


@njit(cache=True, nogil=True)
def other_end(net: Net, e: int, p: int) -> int:
    """The end of an edge that is not near p; of two near ends always the last."""
    start = first_point(net, e)
    return last_point(net, e) if near(net, p, start) else start


@njit(cache=True, nogil=True)
def _append_link(net: Net, p: int, e: int) -> None:
    j = net.count[LINKS]
    net.count[LINKS] += 1
    net.link_edge[j] = e
    net.link_next[j] = -1
    if net.first_link[p] < 0:
        net.first_link[p] = j
    else:
        net.link_next[net.last_link[p]] = j
    net.last_link[p] = j


@njit(cache=True, nogil=True)
def detach(net: Net, p: int, e: int) -> None:
    """Take an edge out of a node's edge set, if it is there."""
    before = -1
    j = net.first_link[p]
    while j >= 0 and net.link_edge[j] != e:
        before = j
        j = net.link_next[j]
    if j < 0:
        return
    after = net.link_next[j]
    if before < 0:
        net.first_link[p] = after
    else:
        net.link_next[before] = after
    if after < 0:
        net.last_link[p] = before


@njit(cache=True, nogil=True)
def edges_at(net: Net, p: int) -> np.ndarray:
    """The edge set of a node as it is now, in order of insertion."""
    count = 0
    j = net.first_link[p]
    while j >= 0:
        count += 1
        j = net.link_next[j]
    out = np.empty(count, np.int64)
    j = net.first_link[p]
    for i in range(count):
        out[i] = net.link_edge[j]
        j = net.link_next[j]
    return out


@njit(cache=True, nogil=True)
def edges_of(net: Net, nodes: np.ndarray) -> np.ndarray:
    """Every edge of every listed node, once, in order of making."""
    seen = np.zeros(net.count[EDGES], np.bool_)
    for p in nodes:
        j = net.first_link[p]
        while j >= 0:
            seen[net.link_edge[j]] = True
            j = net.link_next[j]
    return np.flatnonzero(seen)


@njit(cache=True, nogil=True)
def points_of(net: Net, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of edges as compressed rows: those of the edge edges[k] are points[first[k]:first[k + 1]]."""
    points = np.empty(net.count[ENTRIES], np.int64)
    first = np.zeros(len(edges) + 1, np.int64)
    size = 0
    for k in range(len(edges)):
        v = net.first_entry[edges[k]]
        while v >= 0:
            points[size] = net.entry_point[v]
            size += 1
            v = net.entry_next[v]
        first[k + 1] = size
    return points[:size], first
