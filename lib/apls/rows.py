"""
Distances between the junctions of a network: junctions are eliminated once, then whole rows come in sweeps.

To eliminate a junction is to join its neighbours by the ways through it. In the order of least degree a road network,
nearly planar, gains few such ways (George and Liu 1989). Any shortest route then climbs to junctions that were
eliminated later and comes down again, so that distances from many sources are found in one pass over the junctions
(Delling et al. 2013, PHAST): no queue, and plain arithmetic on neighbouring numbers.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.paths import Junctions

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


@njit(cache=True, nogil=True)
def _moved(v, degree, to, bucket, after, before):
    """Move a junction to the list of its new degree; `to` -1 takes it out."""
    if before[v] >= 0:
        after[before[v]] = after[v]
    elif bucket[degree[v]] == v:
        bucket[degree[v]] = after[v]
    if after[v] >= 0:
        before[after[v]] = before[v]
    if to >= 0:
        degree[v] = to
        before[v] = -1
        after[v] = bucket[to]
        if after[v] >= 0:
            before[after[v]] = v
        bucket[to] = v


@njit(cache=True, nogil=True)
def _longer(array, size):
    out = np.empty(size, array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True, nogil=True)
def _neighbours(first, head, length):
    """
    Ways of each junction to each other one that it is joined with, in blocks with room to grow.

    Returns begin, size and room of each block, and of each way its junction, its length, and the length back.
    """
    n = len(first) - 1
    arcs = np.zeros(n, np.int64)
    for v in range(n):
        arcs[v] += first[v + 1] - first[v]
        for i in range(first[v], first[v + 1]):
            arcs[head[i]] += 1
    begin = np.zeros(n, np.int64)
    begin[1:] = np.cumsum(arcs)[:-1]
    size, room = np.zeros(n, np.int64), arcs
    to, out, back = np.empty(arcs.sum(), np.int64), np.empty(arcs.sum()), np.empty(arcs.sum())
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
    return begin, size, room, to, out, back


@njit(cache=True, nogil=True)
def _eliminate(first, head, length):
    """`Upward` of a network: junction after junction while it is sparse, then its dense core as a matrix."""
    n = len(first) - 1
    begin, size, room, to, out, back = _neighbours(first, head, length)
    used = len(to)
    place = np.full(n, -1)  # of the ways from the junction at hand, that to each other one
    bucket, after, before = np.full(n + 1, -1), np.full(n, -1), np.full(n, -1)
    degree = size.copy()
    for v in range(n - 1, -1, -1):
        _moved(v, degree, size[v], bucket, after, before)
    order, rank = np.empty(n, np.int64), np.full(n, -1)
    least = done = 0
    while done < n:
        while bucket[least] < 0:
            least += 1
        if least * DENSE_FROM >= n - done:
            break
        v = bucket[least]
        _moved(v, degree, -1, bucket, after, before)
        order[done], rank[v] = v, n - 1 - done
        done += 1
        for k in range(begin[v], begin[v] + size[v]):
            a = to[k]
            if size[a] + size[v] > room[a]:
                room[a] = 2 * (size[a] + size[v])
                if used + room[a] > len(to):
                    more = 2 * (used + room[a])
                    to, out, back = _longer(to, more), _longer(out, more), _longer(back, more)
                for array in (out, back):
                    array[used : used + size[a]] = array[begin[a] : begin[a] + size[a]]
                to[used : used + size[a]] = to[begin[a] : begin[a] + size[a]]
                begin[a] = used
                used += room[a]
            low, last = begin[a], begin[a] + size[a] - 1
            for j in range(low, last + 1):
                place[to[j]] = j
            j = place[v]  # the way to v makes room for the last
            to[j], out[j], back[j] = to[last], out[last], back[last]
            place[to[j]] = j
            place[a] = low
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
            _moved(a, degree, size[a], bucket, after, before)
            least = min(least, size[a])
    core = n - done
    for v in range(n):
        if rank[v] < 0:
            order[done], rank[v] = v, n - 1 - done
            done += 1
    dense = np.full((core, core), np.inf)  # by rank, from the top
    for r in range(core):
        v = order[n - 1 - r]
        for k in range(begin[v], begin[v] + size[v]):
            dense[r, rank[to[k]]] = out[k]
    for r in range(core - 1, 0, -1):
        for a in range(r):
            px = dense[a, r]
            if px < np.inf:
                for b in range(r):
                    through = px + dense[r, b]
                    dense[a, b] = through if through < dense[a, b] else dense[a, b]
    most = core * core
    for r in range(core, n):
        most += size[order[n - 1 - r]]
    up_first, parent = np.zeros(n + 1, np.int64), np.full(n, -1)
    heads, up, down = np.empty(most, np.int64), np.empty(most), np.empty(most)
    i = 0
    for r in range(n):
        v = order[n - 1 - r]
        for k in range(r if r < core else size[v]):
            if r < core:
                # also where there is no way yet: a source climbs from parent to parent and must miss nobody
                heads[i], up[i], down[i] = k, dense[r, k], dense[k, r]
            else:
                j = begin[v] + k
                heads[i], up[i], down[i] = rank[to[j]], out[j], back[j]
            parent[r] = max(parent[r], heads[i])
            i += 1
        up_first[r + 1] = i
    return rank, up_first, heads[:i], up[:i], down[:i], parent


@njit(cache=True, nogil=True)
def _sweep(upward, sources, rows):
    """Distances from each source to every junction, one row a source."""
    n = len(upward.rank)
    tile = np.empty((n, SOURCES_AT_ONCE))
    for begin in range(0, len(sources), SOURCES_AT_ONCE):
        count = min(SOURCES_AT_ONCE, len(sources) - begin)
        tile[:] = np.inf
        for j in range(count):
            r = upward.rank[sources[begin + j]]
            tile[r, j] = 0.0
            while r >= 0:
                d = tile[r, j]
                for k in range(upward.first[r], upward.first[r + 1]):
                    u = upward.head[k]
                    tile[u, j] = min(tile[u, j], d + upward.up[k])
                r = upward.parent[r]
        for r in range(n):
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


def in_threads(function, count: int, threads: int) -> None:
    """Call function(lo, hi) over slices of range(count), in threads (the kernels let go of the GIL)."""
    if threads < 2 or count < 2 * threads:
        function(0, count)
        return
    cuts = np.linspace(0, count, min(4 * threads, count) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(function, lo, hi) for lo, hi in zip(cuts[:-1], cuts[1:], strict=True)]:
            done.result()


class DistanceRows:
    """Distances between junctions by rows: all of them held where they fit the budget, else only those asked for."""

    def __init__(self, junctions: Junctions, budget_bytes: int = ROWS_BUDGET_BYTES):
        self.upward = Upward(*_eliminate(*junctions))
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

        def fill(lo: int, hi: int) -> None:
            _sweep(self.upward, sources[lo:hi], rows[lo:hi])

        in_threads(fill, len(sources), workers() if self.count >= THREADS_FROM_JUNCTIONS else 1)
        index = np.full(self.count, -1)
        index[sources] = np.arange(len(sources))
        if whole:
            self._whole = rows
        return rows, index
