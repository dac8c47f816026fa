"""Shortest routes between all control points of a network, streamed, and what they cost in another network."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numba import njit

from lib.apls.paths import NOWHERE, ControlGraph, Places
from lib.apls.rows import THREADS_FROM_JUNCTIONS, DistanceRows, Side, in_threads, workers


@njit(cache=True, nogil=True)
def _from_place(a: int, side: Side, out: np.ndarray) -> None:
    """Distance from point `a` to every junction, in pixels, written to `out`."""
    places = side.places
    if places.chain[a] == NOWHERE:
        out[:] = np.inf
        return
    from_p = side.rows[side.row_of[places.p[a]]]
    from_q = side.rows[side.row_of[places.q[a]]]
    to_p = places.to_p[a]
    to_q = places.to_q[a]
    for j in range(len(out)):
        out[j] = min(from_p[j] + to_p, from_q[j] + to_q)


@njit(cache=True, nogil=True)
def route_cost(own_px: float, found_px: float) -> float:
    """Cost of one route: the relative difference of its two lengths, at most 1; 1 where only one of them is 0."""
    if found_px == np.inf:
        return 1.0
    if own_px == 0.0 or found_px == 0.0:
        return 0.0 if own_px == found_px else 1.0
    return min(1.0, abs(own_px - found_px) / own_px)


@njit(cache=True, nogil=True)
def each_route_cost(own_px: np.ndarray, found_px: np.ndarray) -> np.ndarray:
    """`route_cost` of every route."""
    out = np.empty(len(own_px))
    for k in range(len(out)):
        out[k] = route_cost(own_px[k], found_px[k])
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _sum_costs(
    halved: bool,
    on_own: Side,
    on_other: Side,
    cost: np.ndarray,
    count: np.ndarray,
    sources: np.ndarray,
    lo: int,
    hi: int,
) -> None:
    """
    Sum the costs of all routes of each of sources[lo:hi]; `halved`: of those to later points only, both ways at once.

    Without branches, and free to add in any order, so that eight routes are looked at together. The sums and the
    numbers of routes go to the entries of the sources in `cost` and `count`.
    """
    here, there = on_own.places, on_other.places
    n = len(here.p)
    # distances from the source to the junctions, and to one more there, out of reach, for points without a place
    d_here = np.empty(on_own.rows.shape[1])
    d_there = np.empty(on_other.rows.shape[1] + 1)
    d_there[-1] = np.inf
    nowhere = there.chain == NOWHERE
    there_p, there_q = np.where(nowhere, len(d_there) - 1, there.p), np.where(nowhere, len(d_there) - 1, there.q)
    here_p, here_q, here_to_p, here_to_q = here.p, here.q, here.to_p, here.to_q
    there_to_p, there_to_q = there.to_p, there.to_q
    for a in sources[lo:hi]:
        _from_place(a, on_own, d_here)
        _from_place(a, on_other, d_there[:-1])
        # no point is on the chain -3: a junction shares its chain with nobody
        chain_here = here.chain[a] if here.chain[a] >= 0 else -3
        chain_there = there.chain[a] if there.chain[a] >= 0 else -3
        a_here, a_there = here_to_p[a], there_to_p[a]
        total = 0.0
        routes = 0
        for b in range(a + 1 if halved else 0, n):
            x = min(d_here[here_p[b]] + here_to_p[b], d_here[here_q[b]] + here_to_q[b])
            y = min(d_there[there_p[b]] + there_to_p[b], d_there[there_q[b]] + there_to_q[b])
            along_here, along_there = abs(here_to_p[b] - a_here), abs(there_to_p[b] - a_there)
            x = along_here if here.chain[b] == chain_here and along_here < x else x
            y = along_there if there.chain[b] == chain_there and along_there < y else y
            off = 0.0 if x == y else min(1.0, abs(x - y) / x)  # `route_cost`
            counts = x < np.inf and b != a
            total += off if counts else 0.0
            routes += counts
        cost[a] = total
        count[a] = routes


@njit(cache=True, nogil=True)
def lengths_from_point(a: int, side: Side, out: np.ndarray) -> None:
    """Length of the route from point `a` to every point of its network, in pixels, written to `out`; inf for none."""
    places = side.places
    d = np.empty(side.rows.shape[1])
    _from_place(a, side, d)
    for b in range(len(places.p)):
        if places.chain[b] == NOWHERE:
            out[b] = np.inf
            continue
        x = min(d[places.p[b]] + places.to_p[b], d[places.q[b]] + places.to_q[b])
        if places.chain[b] == places.chain[a] and places.chain[a] >= 0:
            x = min(x, abs(places.to_p[b] - places.to_p[a]))
        out[b] = x


def lengths_from(a: int, places: Places, rows: DistanceRows) -> np.ndarray:
    """Length in pixels of the shortest route from point `a` to every point; inf where there is none."""
    out = np.empty(len(places.p))
    lengths_from_point(a, rows.at(places, np.array([a])), out)
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
        The same points on the other network.
    symmetric
        Both networks can be walked either way: each pair of points needs only one look.
    booked
        Gives cost and number of routes of the points asked for, where each start depends on those before it.
    graph
        Gives the points' own network with the lines of its edges, for pictures.
    """

    xy: np.ndarray
    here: Places
    rows_here: DistanceRows
    there: Places
    rows_there: DistanceRows
    symmetric: bool
    booked: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None
    graph: Callable[[], ControlGraph]

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
        return direction.booked(np.arange(len(direction.xy)) if sources is None else sources)
    here, rows_here, there, rows_there = direction.here, direction.rows_here, direction.there, direction.rows_there
    halved = direction.halved and sources is None
    sources = np.arange(len(here.p)) if sources is None else sources
    order = sources[_spatial_order(direction.xy[sources])] if len(sources) else sources
    cost, count = np.zeros(len(here.p)), np.zeros(len(here.p), np.int64)
    step = max(1, min(len(order), rows_here.at_once // 2, rows_there.at_once // 2))
    if rows_here.count <= rows_here.at_once and rows_there.count <= rows_there.at_once:
        step = max(1, len(order))
    threads = workers() if len(here.p) >= THREADS_FROM_JUNCTIONS else 1
    for begin in range(0, len(order), step):
        block = order[begin : begin + step]
        sides = rows_here.at(here, block), rows_there.at(there, block)
        in_threads(partial(_sum_costs, halved, *sides, cost, count, block), len(block), threads)
    return cost[sources], count[sources]
