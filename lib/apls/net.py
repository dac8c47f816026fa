"""A road network as the Java scorer holds it, in flat arrays: point objects, tolerant hash sets, edges as lists."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.paths import hypot

POINTS, EDGES, ENTRIES, LINKS, MEMBERS, TABLE, TURN = range(7)  # places in Net.count
NEAR_PX2 = 1e-2  # two points closer than 0.1 px may be one; squared, as the original compares


class Net(NamedTuple):
    """
    Points, edges and their links; every array is as long as what may ever be needed, `count` says what is.

    Point objects have coordinates, a hash, a scratch number `d`, and may be members of the node set. An edge is
    a linked list of entries, each naming a point object. A node's edge set is a linked list in order of insertion.
    """

    count: np.ndarray
    x: np.ndarray
    y: np.ndarray
    hash: np.ndarray
    d: np.ndarray
    member: np.ndarray
    turn: np.ndarray  # when the point became a member
    slot: np.ndarray  # look-up table of the members by hash
    slot_next: np.ndarray
    first_link: np.ndarray
    last_link: np.ndarray
    first_entry: np.ndarray  # of an edge
    last_entry: np.ndarray
    length: np.ndarray
    box: np.ndarray
    holder: np.ndarray  # the two nodes that an edge was handed to
    alive: np.ndarray
    entry_point: np.ndarray
    entry_next: np.ndarray
    link_edge: np.ndarray
    link_next: np.ndarray


def empty_net(points: int, edges: int, entries: int) -> Net:
    """Room for so many points, edges and list entries."""
    slots = 1 << max(4, math.ceil(math.log2(2 * points + 1)))
    return Net(
        count=np.zeros(7, np.int64),
        x=np.empty(points),
        y=np.empty(points),
        hash=np.empty(points, np.int64),
        d=np.zeros(points),
        member=np.zeros(points, bool),
        turn=np.zeros(points, np.int64),
        slot=np.full(slots, -1),
        slot_next=np.full(points, -1),
        first_link=np.full(points, -1),
        last_link=np.full(points, -1),
        first_entry=np.empty(edges, np.int64),
        last_entry=np.empty(edges, np.int64),
        length=np.empty(edges),
        box=np.empty((edges, 4)),
        holder=np.full((edges, 2), -1),
        alive=np.zeros(edges, bool),
        entry_point=np.empty(entries, np.int64),
        entry_next=np.empty(entries, np.int64),
        link_edge=np.empty(2 * edges, np.int64),
        link_next=np.empty(2 * edges, np.int64),
    )


@njit(cache=True, nogil=True)
def round_half_up(v):
    """Nearest integer, ties towards plus infinity, exactly."""
    low = math.floor(v)
    return np.int64(low + 1.0) if v - low >= 0.5 else np.int64(low)


@njit(cache=True, nogil=True)
def cell_hash(x, y):
    """The 32 bits that the original hashes a point to: its cell of 0.1 px; cells far apart may share one."""
    return (100000 * round_half_up(10.0 * x) + round_half_up(10.0 * y)) & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def cell_hashes(xy):
    """`cell_hash` of every point of an (n, 2) array."""
    out = np.empty(len(xy), np.int64)
    for i in range(len(xy)):
        out[i] = cell_hash(xy[i, 0], xy[i, 1])
    return out


@njit(cache=True, nogil=True)
def near(net, p, q):
    """Closer than 0.1 px?"""
    dx = net.x[p] - net.x[q]
    dy = net.y[p] - net.y[q]
    return dx * dx + dy * dy < NEAR_PX2


@njit(cache=True, nogil=True)
def add_point(net, x, y):
    """A new point object, in no set, with no edges and d = 0."""
    p = net.count[POINTS]
    net.count[POINTS] += 1
    net.x[p] = x
    net.y[p] = y
    net.hash[p] = cell_hash(x, y)
    net.d[p] = 0.0
    return p


@njit(cache=True, nogil=True)
def slot_of(h, slots):
    """Place of a hash in a look-up table of a power of two slots."""
    return ((h * 0x9E3779B1) >> 7) & (slots - 1)


@njit(cache=True, nogil=True)
def find_member(net, h, x, y):
    """The first member with this hash that is near (x, y), else -1: equality as the original's hash sets see it."""
    p = net.slot[slot_of(h, len(net.slot))]
    while p >= 0:
        if net.hash[p] == h:
            dx = net.x[p] - x
            dy = net.y[p] - y
            if dx * dx + dy * dy < NEAR_PX2:
                return p
        p = net.slot_next[p]
    return -1


@njit(cache=True, nogil=True)
def bucket_of(h, size):
    """Bucket of java.util.HashMap."""
    return (h ^ (h >> 16)) & (size - 1)


@njit(cache=True, nogil=True)
def _enter(net, p):
    """Append a point to its chain in the look-up table."""
    s = slot_of(net.hash[p], len(net.slot))
    net.slot_next[p] = -1
    if net.slot[s] < 0:
        net.slot[s] = p
    else:
        q = net.slot[s]
        while net.slot_next[q] >= 0:
            q = net.slot_next[q]
        net.slot_next[q] = p


@njit(cache=True, nogil=True)
def add_member(net, p):
    """Add a point to the node set, unless an equal one is there; java.util.HashSet's table grows with it."""
    if find_member(net, net.hash[p], net.x[p], net.y[p]) >= 0:
        return False
    count = net.count
    if count[TABLE] == 0:
        count[TABLE] = 16
    if count[TABLE] < 64:  # a ninth element in a chain doubles a small table
        bucket = bucket_of(net.hash[p], count[TABLE])
        chain = 0
        for q in range(count[POINTS]):
            if net.member[q] and bucket_of(net.hash[q], count[TABLE]) == bucket:
                chain += 1
        if chain >= 8:
            count[TABLE] *= 2
    _enter(net, p)
    net.member[p] = True
    net.turn[p] = count[TURN]
    count[TURN] += 1
    count[MEMBERS] += 1
    if count[MEMBERS] > 0.75 * count[TABLE]:
        count[TABLE] *= 2
    return True


@njit(cache=True, nogil=True)
def forget_members(net, gone):
    """Remove points from the node set and clear their edge sets; the table keeps its size."""
    net.slot[:] = -1
    for p in range(net.count[POINTS]):
        if not net.member[p]:
            continue
        if gone[p]:
            net.member[p] = False
            net.count[MEMBERS] -= 1
            while net.first_link[p] >= 0:
                detach(net, p, net.link_edge[net.first_link[p]])
        else:
            _enter(net, p)


def iteration_order(net: Net) -> np.ndarray:
    """Members in the order in which java.util.HashSet lists them: by bucket, then by insertion."""
    members = np.flatnonzero(net.member[: net.count[POINTS]])
    buckets = bucket_of.py_func(net.hash[members], max(int(net.count[TABLE]), 1))
    return members[np.lexsort((net.turn[members], buckets))]


@njit(cache=True, nogil=True)
def add_entry(net, point, following):
    """A list entry that names a point and precedes `following`."""
    v = net.count[ENTRIES]
    net.count[ENTRIES] += 1
    net.entry_point[v] = point
    net.entry_next[v] = following
    return v


@njit(cache=True, nogil=True)
def add_edge(net, first_entry, last_entry):
    """A new edge over a list of entries; length and box are summed in the order of the list."""
    e = net.count[EDGES]
    net.count[EDGES] += 1
    net.first_entry[e] = first_entry
    net.last_entry[e] = last_entry
    p = net.entry_point[first_entry]
    x0 = x1 = net.x[p]
    y0 = y1 = net.y[p]
    length = 0.0
    v = net.entry_next[first_entry]
    while v >= 0:
        q = net.entry_point[v]
        length += hypot(net.x[q] - net.x[p], net.y[q] - net.y[p])
        x0 = min(x0, net.x[q])
        x1 = max(x1, net.x[q])
        y0 = min(y0, net.y[q])
        y1 = max(y1, net.y[q])
        p = q
        v = net.entry_next[v]
    net.length[e] = length
    net.box[e, 0] = x0
    net.box[e, 1] = y0
    net.box[e, 2] = x1
    net.box[e, 3] = y1
    return e


@njit(cache=True, nogil=True)
def other_end(net, e, p):
    """The end of an edge that is not near p; of two near ends always the last."""
    a = net.entry_point[net.first_entry[e]]
    return net.entry_point[net.last_entry[e]] if near(net, p, a) else a


@njit(cache=True, nogil=True)
def _append_link(net, p, e):
    j = net.first_link[p]
    while j >= 0:
        if net.link_edge[j] == e:
            return
        j = net.link_next[j]
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
def attach(net, e, p, q):
    """Hand an edge to the edge sets of two nodes."""
    net.alive[e] = True
    net.holder[e, 0] = p
    net.holder[e, 1] = q
    _append_link(net, p, e)
    _append_link(net, q, e)


@njit(cache=True, nogil=True)
def detach(net, p, e):
    """Take an edge out of a node's edge set."""
    before = -1
    j = net.first_link[p]
    while j >= 0:
        if net.link_edge[j] == e:
            after = net.link_next[j]
            if before < 0:
                net.first_link[p] = after
            else:
                net.link_next[before] = after
            if after < 0:
                net.last_link[p] = before
            return
        before = j
        j = net.link_next[j]


@njit(cache=True, nogil=True)
def edges_of(net, order):
    """Every edge of every listed node, once, in order of insertion."""
    seen = np.zeros(net.count[EDGES], np.bool_)
    for p in order:
        j = net.first_link[p]
        while j >= 0:
            seen[net.link_edge[j]] = True
            j = net.link_next[j]
    return np.flatnonzero(seen)
