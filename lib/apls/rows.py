"""
Distances between the junctions of a network: junctions are eliminated once, then whole rows come in sweeps.

To eliminate a junction is to join its neighbours by the ways through it. In the order of least degree a road network,
nearly planar, gains few such ways (George and Liu 1989). Any shortest route then climbs to junctions that were
eliminated later and comes down again, so that distances from many sources are found in one pass over the junctions
(Delling et al. 2013, PHAST): no queue, and plain arithmetic on neighbouring numbers.
"""

import heapq
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.paths import NOWHERE, Junctions, Places

ROWS_BUDGET_BYTES = 512 * 2**20  # of distance rows held a network; larger ones are streamed in blocks
THREADS_FROM_JUNCTIONS = 300  # below, starting threads costs more than it saves
SOURCES_AT_ONCE = 32  # a sweep: four cache lines of doubles a junction
DENSE_FROM = 4  # a core whose junctions are all joined to a quarter of the others is eliminated as a matrix


class Upward(NamedTuple):
    """
    Ways from each junction to those eliminated later; junctions by rank, the last eliminated first.

    Attributes
    ----------
    rank
        Of each junction.
    first, head
        Compressed rows: the upper neighbours of rank r are head[first[r]:first[r + 1]]; the lowest of them is its
        parent, and all its other upper neighbours are the parent's too.
    up, down
        Length of the way up to each, and of the way down from it, pixels; inf where there is none.
    parent
        Of each rank; -1 at the top of a component.
    """

    rank: np.ndarray
    first: np.ndarray
    head: np.ndarray
    up: np.ndarray
    down: np.ndarray
    parent: np.ndarray


class Ways(NamedTuple):
    """
    Ways from each junction to those it is joined with, in blocks with room to grow.

    Attributes
    ----------
    begin, size, room
        Of each junction: its block is begin[v]:begin[v] + size[v], and may grow to begin[v] + room[v].
    to, out, back
        Of each way: the junction that it leads to, its length, and the length of the way back, pixels; inf for none.
    """

    begin: np.ndarray
    size: np.ndarray
    room: np.ndarray
    to: np.ndarray
    out: np.ndarray
    back: np.ndarray


@njit(cache=True, nogil=True)
def _longer(array: np.ndarray, size: int) -> np.ndarray:
    out = np.empty(size, array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True, nogil=True)
def _ways(first: np.ndarray, head: np.ndarray, length: np.ndarray) -> Ways:
    """Ways of a network of `Junctions`: of parallel arcs the shortest, and no loops."""
    n = len(first) - 1
    room = np.diff(first)
    for v in head:
        room[v] += 1
    begin = np.cumsum(room) - room
    size = np.zeros(n, np.int64)
    to, out, back = np.empty(room.sum(), np.int64), np.empty(room.sum()), np.empty(room.sum())
    for v in range(n):
        for i in range(first[v], first[v + 1]):
            u, px = head[i], length[i]
            if u == v:
                continue
            for here, there, forth, home in ((v, u, px, np.inf), (u, v, np.inf, px)):
                k, stop = begin[here], begin[here] + size[here]
                while k < stop and to[k] != there:
                    k += 1
                if k == stop:
                    size[here] += 1
                    to[k], out[k], back[k] = there, np.inf, np.inf
                out[k], back[k] = min(out[k], forth), min(back[k], home)
    return Ways(begin, size, room, to, out, back)


@njit(cache=True, nogil=True)
def _eliminate_sparse(ways: Ways) -> tuple[Ways, np.ndarray, int]:
    """
    Eliminate junctions in the order of least degree, of equals the last touched, while the rest is sparse.

    Returns the ways, the junctions in the order of their elimination, those of the dense core last, and the core's
    size. The block of an eliminated junction is left as it was then: its ways to those eliminated later.
    """
    begin, size, room, to, out, back = ways
    n = len(size)
    used = len(to)
    place = np.full(n, -1)  # of the ways from the junction at hand, that to each other one
    order, done = np.empty(n, np.int64), 0
    eliminated = np.zeros(n, np.bool_)
    # degree, less the time of the latest change, junction; entries older than that are passed over
    changed = np.arange(n)[::-1].copy()
    time = n
    queue = [(size[v], -changed[v], v) for v in range(n)]
    heapq.heapify(queue)
    while queue:
        degree, minus_time, v = queue[0]
        if eliminated[v] or changed[v] != -minus_time:
            heapq.heappop(queue)
            continue
        if degree * DENSE_FROM >= n - done:
            break
        heapq.heappop(queue)
        eliminated[v] = True
        order[done] = v
        done += 1
        for k in range(begin[v], begin[v] + size[v]):
            a = to[k]
            if size[a] + size[v] > room[a]:  # the block moves to the end, twice as long
                room[a] = 2 * (size[a] + size[v])
                if used + room[a] > len(to):
                    more = 2 * (used + room[a])
                    to, out, back = _longer(to, more), _longer(out, more), _longer(back, more)
                old, new = slice(begin[a], begin[a] + size[a]), slice(used, used + size[a])
                to[new], out[new], back[new] = to[old], out[old], back[old]
                begin[a] = used
                used += room[a]
            low, last = begin[a], begin[a] + size[a] - 1
            for j in range(low, last + 1):
                place[to[j]] = j
            j = place[v]  # the way to v makes room for the last
            to[j], out[j], back[j] = to[last], out[last], back[last]
            place[to[j]] = j
            place[a] = low  # a itself is no new neighbour
            for i in range(begin[v], begin[v] + size[v]):
                b = to[i]
                if b == a:
                    continue
                j = place[b]
                if j < 0:
                    j = last
                    last += 1
                    to[j], out[j], back[j] = b, np.inf, np.inf
                out[j], back[j] = min(out[j], back[k] + out[i]), min(back[j], back[i] + out[k])
            place[v] = place[a] = -1
            for j in range(low, last):
                place[to[j]] = -1
            size[a] = last - low
            changed[a] = time
            heapq.heappush(queue, (size[a], -time, a))
            time += 1
    order[done:] = np.flatnonzero(~eliminated)
    return Ways(begin, size, room, to, out, back), order, n - done


@njit(cache=True, nogil=True)
def _eliminate(first: np.ndarray, head: np.ndarray, length: np.ndarray) -> Upward:
    """`Upward` of a network: junction after junction while it is sparse, then its dense core as a matrix."""
    n = len(first) - 1
    ways, order, core = _eliminate_sparse(_ways(first, head, length))
    by_rank = order[::-1]
    rank = np.empty(n, np.int64)
    rank[by_rank] = np.arange(n)
    dense = np.full((core, core), np.inf)  # lengths of the ways between the junctions of the core, by rank
    for r in range(core):
        v = by_rank[r]
        for k in range(ways.begin[v], ways.begin[v] + ways.size[v]):
            dense[r, rank[ways.to[k]]] = ways.out[k]
    for r in range(core - 1, 0, -1):
        for a in range(r):
            px = dense[a, r]
            if px < np.inf:
                for b in range(r):
                    through = px + dense[r, b]
                    dense[a, b] = through if through < dense[a, b] else dense[a, b]
    most = core * core + ways.size[by_rank[core:]].sum()
    up_first, parent = np.zeros(n + 1, np.int64), np.full(n, -1)
    heads, up, down = np.empty(most, np.int64), np.empty(most), np.empty(most)
    i = 0
    for r in range(n):
        v = by_rank[r]
        stop = i + (r if r < core else ways.size[v])
        if r < core:
            # also where there is no way yet: a source climbs from parent to parent and must miss nobody
            heads[i:stop], up[i:stop], down[i:stop] = np.arange(r), dense[r, :r], dense[:r, r]
        else:
            block = slice(ways.begin[v], ways.begin[v] + ways.size[v])
            heads[i:stop], up[i:stop], down[i:stop] = rank[ways.to[block]], ways.out[block], ways.back[block]
        if stop > i:
            parent[r] = heads[i:stop].max()
        i = up_first[r + 1] = stop
    return Upward(rank, up_first, heads[:i], up[:i], down[:i], parent)


@njit(cache=True, nogil=True)
def _sweep(upward: Upward, sources: np.ndarray, rows: np.ndarray, lo: int, hi: int) -> None:
    """Distances from each of sources[lo:hi] to every junction, in pixels, written to the same of the rows."""
    n = len(upward.rank)
    tile = np.empty((n, SOURCES_AT_ONCE))  # distance from each source at hand to the junction of each rank
    for begin in range(lo, hi, SOURCES_AT_ONCE):
        count = min(SOURCES_AT_ONCE, hi - begin)
        tile[:] = np.inf
        for j in range(count):  # up: each source on its own, along the few junctions above it
            r = upward.rank[sources[begin + j]]
            tile[r, j] = 0.0
            while r >= 0:
                d = tile[r, j]
                for k in range(upward.first[r], upward.first[r + 1]):
                    u = upward.head[k]
                    tile[u, j] = min(tile[u, j], d + upward.up[k])
                r = upward.parent[r]
        for r in range(n):  # down: all sources together; the junctions above a rank have their distances
            here = tile[r]
            for k in range(upward.first[r], upward.first[r + 1]):
                there, px = tile[upward.head[k]], upward.down[k]
                for j in range(SOURCES_AT_ONCE):
                    through = there[j] + px
                    here[j] = through if through < here[j] else here[j]
        for j in range(count):
            row = rows[begin + j]
            for v in range(n):
                row[v] = tile[upward.rank[v], j]


def workers() -> int:
    """Threads worth starting: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(function: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call function(lo, hi) over slices of range(count), in threads (the kernels let go of the GIL)."""
    if threads < 2 or count < 2 * threads:
        function(0, count)
        return
    cuts = np.linspace(0, count, min(4 * threads, count) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, cuts[:-1], cuts[1:]))


class Side(NamedTuple):
    """
    Points on a network, and the distances that some of them need.

    Attributes
    ----------
    places
        Of the points.
    rows
        Distances to all junctions, one row a start, pixels; inf where there is no way.
    row_of
        Of each junction: its row, -1 where it has none.
    """

    places: Places
    rows: np.ndarray
    row_of: np.ndarray


class DistanceRows:
    """Distances between junctions by rows: all of them held where they fit the budget, else only those asked for."""

    def __init__(self, junctions: Junctions, budget_bytes: int = ROWS_BUDGET_BYTES):
        self.upward = _eliminate(*junctions)
        self.count = len(junctions.first) - 1
        self.at_once = max(4, budget_bytes // (8 * max(self.count, 1)))  # rows that fit the budget
        self._whole: np.ndarray | None = None

    def get(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the wanted junctions and, for every junction, the index of its row (-1 where it has none)."""
        if self._whole is not None:
            return self._whole, np.arange(self.count)
        sources = np.unique(wanted)
        whole = self.count <= self.at_once and 4 * len(sources) > self.count
        if whole:
            sources = np.arange(self.count)
        rows = np.empty((len(sources), self.count))
        threads = workers() if self.count >= THREADS_FROM_JUNCTIONS else 1
        in_threads(partial(_sweep, self.upward, sources, rows), len(sources), threads)
        index = np.full(self.count, -1)
        index[sources] = np.arange(len(sources))
        if whole:
            self._whole = rows
        return rows, index

    def at(self, places: Places, points: np.ndarray) -> Side:
        """The places, and the rows of the junctions that these points lie between; one without a place needs none."""
        placed = points[places.chain[points] > NOWHERE]
        return Side(places, *self.get(np.concatenate([places.p[placed], places.q[placed]])))
