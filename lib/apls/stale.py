"""Routes of the challenge scorer where points outside the node set keep their distances from run to run."""

import numpy as np
from numba import njit

from lib.apls import routes as apls_routes
from lib.apls.net import other_end


@njit(cache=True, nogil=True)
def _stale_dijkstra(net, start, keys, items):
    """Distances over point objects; those outside the node set keep what an earlier start left in them."""
    size = 0
    if net.member[start]:
        net.d[start] = 0.0
        keys[0] = 0.0
        items[0] = start
        size = 1
    while size > 0:
        du = keys[0]
        u = items[0]
        size -= 1
        i = 0
        while True:
            c = 2 * i + 1
            if c >= size:
                break
            if c + 1 < size and keys[c + 1] < keys[c]:
                c += 1
            if keys[c] >= keys[size]:
                break
            keys[i] = keys[c]
            items[i] = items[c]
            i = c
        keys[i] = keys[size]
        items[i] = items[size]
        if du > net.d[u]:
            continue
        j = net.first_link[u]
        while j >= 0:
            e = net.link_edge[j]
            j = net.link_next[j]
            v = other_end(net, e, u)
            nd = du + net.length[e]
            if nd < net.d[v]:
                net.d[v] = nd
                i = size
                size += 1
                while i > 0 and keys[(i - 1) >> 1] > nd:
                    keys[i] = keys[(i - 1) >> 1]
                    items[i] = items[(i - 1) >> 1]
                    i = (i - 1) >> 1
                keys[i] = nd
                items[i] = v


@njit(cache=True, nogil=True)
def _meets_stale(net, start, limit, keys, items, touched):
    """Would a run from here lower a point outside the node set? Their distances are below `limit`: a short walk."""
    size = seen = 0
    if net.member[start]:
        net.d[start] = 0.0
        keys[0], items[0], touched[0] = 0.0, start, start
        size = seen = 1
    met = False
    while size > 0 and not met:
        best = np.argmin(keys[:size])
        du, u = keys[best], items[best]
        size -= 1
        keys[best], items[best] = keys[size], items[size]
        j = net.first_link[u]
        while j >= 0:
            e = net.link_edge[j]
            j = net.link_next[j]
            v = other_end(net, e, u)
            nd = du + net.length[e]
            if nd >= limit or nd >= net.d[v]:
                continue
            if not net.member[v]:
                met = True
                break
            net.d[v] = nd
            keys[size], items[size], touched[seen] = nd, v, v
            size += 1
            seen += 1
    for i in range(seen):
        net.d[touched[i]] = np.inf
    return met


@njit(cache=True, nogil=True)
def stale_costs(net, order, target, limit, sources, here, rows_h, row_of_h, there, rows_t, row_of_t, cost, count):
    """
    Costs of all routes, start after start in the original's order, where distances of earlier starts linger.

    Points outside the node set can be passed only from nearer than their old distance, a snap of 4 m at most: of
    all other starts they are barriers, and the distance rows hold.
    """
    n = len(target)
    keys = np.empty(len(net.link_edge) + 2)
    items = np.empty(len(net.link_edge) + 2, np.int64)
    touched = np.empty(len(net.link_edge) + 2, np.int64)
    truth = np.empty(n)
    found = np.empty(n)
    for p in order:
        net.d[p] = np.inf
    for a in sources:
        apls_routes.lengths_from_point(a, here, rows_h, row_of_h, truth)
        literal = target[a] >= 0 and _meets_stale(net, target[a], limit, keys, items, touched)
        if literal:
            _stale_dijkstra(net, target[a], keys, items)
        elif there.chain[a] > -2:
            apls_routes.lengths_from_point(a, there, rows_t, row_of_t, found)
        else:
            found[:] = np.inf
        for b in range(n):
            if b == a or truth[b] == np.inf:
                continue
            count[a] += 1
            if target[a] < 0 or target[b] < 0:
                cost[a] += 1.0
            elif literal or there.chain[b] == -2:
                cost[a] += apls_routes.route_cost(truth[b], net.d[target[b]])
            else:
                cost[a] += apls_routes.route_cost(truth[b], found[b])
        if literal:
            for p in order:
                net.d[p] = np.inf
