"""Shortest routes between all control points of a network, streamed, and what they cost in another network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from lib.apls.paths import ControlGraph, Places
from lib.apls.rows import THREADS_FROM_JUNCTIONS, DistanceRows, in_threads, workers


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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _sum_costs(sources, halved, here, rows_h, row_of_h, there, rows_t, row_of_t, cost, count):
    """
    Sum the costs of all routes of each source; `halved`: of the routes to later points only, both ways at once.

    Without branches, and free to add in any order, so that eight routes are looked at together.
    """
    n = len(here.p)
    dh = np.empty(rows_h.shape[1])
    dt = np.empty(rows_t.shape[1] + 1)
    dt[-1] = np.inf
    # points without a place there lie beyond reach
    nowhere = there.chain < -1
    there_p, there_q = np.where(nowhere, len(dt) - 1, there.p), np.where(nowhere, len(dt) - 1, there.q)
    here_p, here_q, here_to_p, here_to_q = here.p, here.q, here.to_p, here.to_q
    there_to_p, there_to_q = there.to_p, there.to_q
    for k in range(len(sources)):
        a = sources[k]
        _from_place(a, here, rows_h, row_of_h, dh)
        _from_place(a, there, rows_t, row_of_t, dt[:-1])
        # no point is on the chain -3: a junction shares its chain with nobody
        chain_h = here.chain[a] if here.chain[a] >= 0 else -3
        chain_t = there.chain[a] if there.chain[a] >= 0 else -3
        at_h, at_t = here_to_p[a], there_to_p[a]
        total = 0.0
        pairs = 0
        for b in range(a + 1 if halved else 0, n):
            x = min(dh[here_p[b]] + here_to_p[b], dh[here_q[b]] + here_to_q[b])
            y = min(dt[there_p[b]] + there_to_p[b], dt[there_q[b]] + there_to_q[b])
            along_h, along_t = abs(here_to_p[b] - at_h), abs(there_to_p[b] - at_t)
            x = along_h if here.chain[b] == chain_h and along_h < x else x
            y = along_t if there.chain[b] == chain_t and along_t < y else y
            off = 0.0 if x == y else min(1.0, abs(x - y) / x)  # `route_cost`
            counts = x < np.inf and b != a
            total += off if counts else 0.0
            pairs += counts
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

        in_threads(add, len(block), threads)
        cost[block], count[block] = block_cost, block_count
    return cost[sources], count[sources]
