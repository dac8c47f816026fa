"""Shortest routes between all control points of a network, streamed, and what they cost in another network."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from lib.apls_paths import ControlGraph, Junctions, Places

ROWS_BUDGET_BYTES = 512 * 2**20  # of distance rows held a network; larger ones are streamed in blocks
THREADS_FROM_JUNCTIONS = 300  # below, starting threads costs more than it saves


@njit(cache=True, nogil=True)
def _dijkstra_rows(first, head, length, sources, rows):
    """Distances from each source to every junction, one row a source; a binary heap with late deletion."""
    n = len(first) - 1
    keys = np.empty(len(head) + 1)
    items = np.empty(len(head) + 1, np.int64)
    for s in range(len(sources)):
        d = rows[s]
        d[:] = np.inf
        d[sources[s]] = 0.0
        keys[0] = 0.0
        items[0] = sources[s]
        size = 1
        left = n
        while size > 0:
            du = keys[0]
            u = items[0]
            size -= 1
            key = keys[size]
            item = items[size]
            i = 0
            while True:
                c = 2 * i + 1
                if c >= size:
                    break
                if c + 1 < size and keys[c + 1] < keys[c]:
                    c += 1
                if keys[c] >= key:
                    break
                keys[i] = keys[c]
                items[i] = items[c]
                i = c
            keys[i] = key
            items[i] = item
            if du > d[u]:
                continue
            left -= 1
            if left == 0:
                break
            for k in range(first[u], first[u + 1]):
                v = head[k]
                nd = du + length[k]
                if nd < d[v]:
                    d[v] = nd
                    i = size
                    size += 1
                    while i > 0:
                        c = (i - 1) >> 1
                        if keys[c] <= nd:
                            break
                        keys[i] = keys[c]
                        items[i] = items[c]
                        i = c
                    keys[i] = nd
                    items[i] = v


def workers() -> int:
    """Threads worth starting: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_threads(function, count: int, threads: int) -> None:
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
        self.junctions = junctions
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
            _dijkstra_rows(*self.junctions, sources[lo:hi], rows[lo:hi])

        _in_threads(fill, len(sources), workers() if self.count >= THREADS_FROM_JUNCTIONS else 1)
        index = np.full(self.count, -1)
        index[sources] = np.arange(len(sources))
        if whole:
            self._whole = rows
        return rows, index


@njit(cache=True, nogil=True)
def _from_place(a, places, rows, row_of, out):
    """Distance from point `a` to every junction."""
    if places.chain[a] < -1:
        out[:] = np.inf
        return
    one = rows[row_of[places.p[a]]]
    two = rows[row_of[places.q[a]]]
    to_p = places.to_p[a]
    to_q = places.to_q[a]
    for j in range(len(out)):
        out[j] = min(one[j] + to_p, two[j] + to_q)


@njit(cache=True, nogil=True)
def route_cost(truth_px: float, found_px: float) -> float:
    """Cost of one route: the relative difference of its two lengths, at most 1; 1 where only one of them is 0."""
    if found_px == np.inf:
        return 1.0
    if truth_px == 0.0 or found_px == 0.0:
        return 0.0 if truth_px == found_px else 1.0
    return min(1.0, abs(truth_px - found_px) / truth_px)


@njit(cache=True, nogil=True)
def _sum_costs(sources, halved, here, rows_h, row_of_h, there, rows_t, row_of_t, cost, count):
    """Sum the costs of all routes of each source; `halved`: of the routes to later points only, both ways at once."""
    n = len(here.p)
    dh = np.empty(rows_h.shape[1])
    dt = np.empty(rows_t.shape[1])
    for k in range(len(sources)):
        a = sources[k]
        _from_place(a, here, rows_h, row_of_h, dh)
        snapped = there.chain[a] > -2
        if snapped:
            _from_place(a, there, rows_t, row_of_t, dt)
        chain_h = here.chain[a]
        chain_t = there.chain[a]
        total = 0.0
        pairs = 0
        for b in range(a + 1 if halved else 0, n):
            if b == a:
                continue
            x = min(dh[here.p[b]] + here.to_p[b], dh[here.q[b]] + here.to_q[b])
            if here.chain[b] == chain_h and chain_h >= 0:
                x = min(x, abs(here.to_p[b] - here.to_p[a]))
            if x == np.inf:
                continue
            pairs += 1
            if not snapped or there.chain[b] < -1:
                total += 1.0
                continue
            y = min(dt[there.p[b]] + there.to_p[b], dt[there.q[b]] + there.to_q[b])
            if there.chain[b] == chain_t and chain_t >= 0:
                y = min(y, abs(there.to_p[b] - there.to_p[a]))
            total += route_cost(x, y)
        cost[k] = total
        count[k] = pairs


@njit(cache=True, nogil=True)
def lengths_from_point(a, places, rows, row_of, out):
    """Length of the route from point `a` to every other point of the same network."""
    d = np.empty(rows.shape[1])
    _from_place(a, places, rows, row_of, d)
    for b in range(len(places.p)):
        if places.chain[b] < -1:
            out[b] = np.inf
            continue
        x = min(d[places.p[b]] + places.to_p[b], d[places.q[b]] + places.to_q[b])
        if places.chain[b] == places.chain[a] and places.chain[a] >= 0:
            x = min(x, abs(places.to_p[b] - places.to_p[a]))
        out[b] = x


def lengths_from(a: int, places: Places, rows: DistanceRows) -> np.ndarray:
    """Length in pixels of the shortest route from point `a` to every point; inf where there is none."""
    out = np.full(len(places.p), np.inf)
    if places.chain[a] > -2:
        lengths_from_point(a, places, *rows.get(np.array([places.p[a], places.q[a]])), out)
    return out


def _spatial_order(xy: np.ndarray) -> np.ndarray:
    """Order of points along a Z-order curve: neighbours share their junctions, so that a block needs few rows."""
    low = xy.min(axis=0)
    span = max(float((xy.max(axis=0) - low).max()), 1e-9)
    cell = ((xy - low) / span * 0xFFFF).astype(np.int64)
    code = np.zeros(len(xy), np.int64)
    for bit in range(16):
        code |= ((cell[:, 0] >> bit & 1) << 2 * bit) | ((cell[:, 1] >> bit & 1) << 2 * bit + 1)
    return np.argsort(code, kind="stable")


@dataclass(frozen=True)
class Direction:
    """
    The routes between one network's control points, and where these points lie on the other network.

    Attributes
    ----------
    xy
        Control points, (n, 2) x, y in pixels.
    here, rows_here
        The points on the network that they come from.
    there, rows_there
        The same points on the other network; chain -2 where a point has no place there.
    symmetric
        Both networks can be walked either way: each pair of points needs only one look.
    booked
        Cost and number of routes per point, where they were already summed.
    graph
        Gives the points' own network with the lines of its edges, for pictures.
    """

    xy: np.ndarray
    here: Places
    rows_here: DistanceRows
    there: Places
    rows_there: DistanceRows
    symmetric: bool = True
    booked: tuple[np.ndarray, np.ndarray] | None = None
    graph: Callable[[], ControlGraph] | None = None

    @property
    def halved(self) -> bool:
        """Each pair of points stands for its route there and back."""
        return self.symmetric and self.booked is None


def route_costs(direction: Direction, sources: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """
    Cost of the routes from every source to every other point, measured in a second network.

    Parameters
    ----------
    direction
        The points, the network they come from, and the one in which their routes are measured.
    sources
        Points to start from; None for all.

    Returns
    -------
    cost, count
        Per source: the sum of its routes' costs and their number. Only their totals mean something where
        the direction is symmetric and `sources` is None: a pair is then booked on one of its ends.
    """
    if direction.booked is not None:
        cost, count = direction.booked
        return (cost, count) if sources is None else (cost[sources], count[sources])
    here, rows_here, there, rows_there = direction.here, direction.rows_here, direction.there, direction.rows_there
    halved = direction.halved and sources is None
    sources = np.arange(len(here.p)) if sources is None else sources
    order = sources[_spatial_order(direction.xy[sources])] if len(sources) else sources
    cost, count = np.zeros(len(here.p)), np.zeros(len(here.p), np.int64)
    step = max(1, min(len(order), rows_here.at_once // 2, rows_there.at_once // 2))
    if rows_here.count <= rows_here.at_once and rows_there.count <= rows_there.at_once:
        step = max(1, len(order))
    threads = workers() if len(here.p) >= THREADS_FROM_JUNCTIONS else 1
    for at in range(0, len(order), step):
        block = order[at : at + step]
        rows_h, row_of_h = rows_here.get(np.concatenate([here.p[block], here.q[block]]))
        placed = block[there.chain[block] > -2]
        rows_t, row_of_t = rows_there.get(np.concatenate([there.p[placed], there.q[placed]]))
        block_cost, block_count = np.zeros(len(block)), np.zeros(len(block), np.int64)

        def add(
            lo: int,
            hi: int,
            block=block,
            args=(here, rows_h, row_of_h, there, rows_t, row_of_t),
            block_cost=block_cost,
            block_count=block_count,
        ) -> None:
            _sum_costs(block[lo:hi], halved, *args, block_cost[lo:hi], block_count[lo:hi])

        _in_threads(add, len(block), threads)
        cost[block], count[block] = block_cost, block_count
    return cost[sources], count[sources]
