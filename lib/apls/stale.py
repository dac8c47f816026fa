"""
Routes of the challenge scorer where points outside the node set keep their distances from run to run.

Java's Dijkstra resets the scratch distance `d` of the node set's members only. A point that was refused by the set (an
equal one was there) but still ends edges keeps what it had: its snap distance, or what an earlier run lowered it to. It
can be passed only by a way that is shorter still.
"""

import heapq

import numpy as np
from numba import njit

from lib.apls.net import Net, edges_at, other_end
from lib.apls.paths import NOWHERE
from lib.apls.routes import lengths_from_point, route_cost
from lib.apls.rows import Side


@njit(cache=True, nogil=True)
def _walk(net: Net, start: int, limit: float, inside: bool) -> tuple[bool, list[int]]:
    """
    Dijkstra from a point over all distances below `limit`; relaxes `net.d`, which is infinite at members before.

    With `inside` it stops at a point outside the node set that it would lower, and returns True. Returns also the
    points whose distance it lowered. Nothing depends on the queue's order of equal distances: a point's last distance
    is the least of all ways that pass each point outside the set below its old one.
    """
    queue = [(0.0, start)]
    lowered = [start]
    if not net.member[start]:
        return False, lowered[:0]
    net.d[start] = 0.0
    while queue:
        du, u = heapq.heappop(queue)
        if du > net.d[u]:
            continue
        for e in edges_at(net, u):
            v = other_end(net, e, u)
            dv = du + net.length[e]
            if dv < limit and dv < net.d[v]:
                if inside and not net.member[v]:
                    return True, lowered
                net.d[v] = dv
                heapq.heappush(queue, (dv, v))
                lowered.append(v)
    return False, lowered


@njit(cache=True, nogil=True)
def stale_costs(
    net: Net,
    target: np.ndarray,
    limit: float,
    starts: np.ndarray,
    wanted: np.ndarray,
    on_own: Side,
    on_copy: Side,
    cost: np.ndarray,
    count: np.ndarray,
) -> None:
    """
    Add up the costs of the routes of wanted starts, start after start in the original's order, as distances linger.

    A start that comes to a point outside the node set by less than its old distance needs the literal run. Those
    distances are snaps, 4 m at most, so that a short walk tells; of all other starts such points are barriers, and
    the distance rows hold. Of a start that is not wanted only what it leaves behind counts, and the same short walk
    leaves it: points farther than the greatest of those distances are lowered by nobody.

    Parameters
    ----------
    net
        The copy that routes are looked for in; `net.d` is infinite at its members, before and after.
    target
        Point of the copy for each node of the first network; -1 for none.
    limit
        Greatest distance of a point outside the copy's node set, pixels.
    starts
        Nodes of the first network to start from; each call goes on where the last one ended.
    wanted
        Of each node: are its routes summed?
    on_own, on_copy
        Places of the first network's nodes on it and on the copy, with the rows of the wanted starts.
    cost, count
        Of each node: its sums so far, added to.
    """
    n = len(target)
    truth, found = np.empty(n), np.empty(n)  # length of the route to each node, in the first network and in the copy
    for a in starts:
        literal = False
        lowered = [a][:0]
        if target[a] >= 0:
            literal, lowered = _walk(net, target[a], limit, True)
            for p in lowered:
                net.d[p] = np.inf
        if literal:
            _, lowered = _walk(net, target[a], np.inf if wanted[a] else limit, False)
        if wanted[a]:
            lengths_from_point(a, on_own, truth)
            if not literal:
                lengths_from_point(a, on_copy, found)
            for b in range(n):
                if b == a or truth[b] == np.inf:
                    continue
                count[a] += 1
                if target[a] < 0 or target[b] < 0:
                    cost[a] += 1.0
                elif literal or on_copy.places.chain[b] == NOWHERE:
                    cost[a] += route_cost(truth[b], net.d[target[b]])
                else:
                    cost[a] += route_cost(truth[b], found[b])
        if literal:
            for p in lowered:
                if net.member[p]:
                    net.d[p] = np.inf
