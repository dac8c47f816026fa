"""Road networks contracted to their junctions, and the places of points on them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit


class Places(NamedTuple):
    """
    Where points lie on a contracted network: on the chain between two junctions, or on a junction.

    Attributes
    ----------
    chain
        Chain of each point; -1 where the point is itself a junction, -2 where it is nowhere.
    p, q
        Junctions at the start and the end of the chain (both the junction itself where chain is -1).
    to_p, to_q
        Distance along the chain to either, pixels.
    """

    chain: np.ndarray
    p: np.ndarray
    q: np.ndarray
    to_p: np.ndarray
    to_q: np.ndarray


class Junctions(NamedTuple):
    """A network without its nodes of degree two, as compressed rows: arcs of junction j are first[j]:first[j+1]."""

    first: np.ndarray
    head: np.ndarray
    length_px: np.ndarray


class Contracted(NamedTuple):
    """A network contracted to its junctions, with the place of every node and edge on it."""

    junctions: Junctions
    nodes: Places
    edge_chain: np.ndarray  # chain of each edge
    edge_start: np.ndarray  # distance of the edge's first end from the chain's start, pixels
    edge_sense: np.ndarray  # +1 where the edge runs along the chain, -1 against it
    chain_p: np.ndarray
    chain_q: np.ndarray
    chain_length: np.ndarray
    dead_end: np.ndarray  # chains that lead nowhere: their points count from their start only


@dataclass(frozen=True)
class ControlGraph:
    """
    Control points of a road network and the edges between them.

    Attributes
    ----------
    nodes
        (n, 2) x, y of junctions, ends and midpoints, pixels.
    ends
        (m, 2) nodes of each edge.
    length_px
        Length of each edge along its line.
    vertices, first
        Lines of the edges: vertices[first[e]:first[e + 1]] is the line of edge e, from its first node to its second.
    """

    nodes: np.ndarray
    ends: np.ndarray
    length_px: np.ndarray
    vertices: np.ndarray
    first: np.ndarray


@njit(cache=True, nogil=True)
def hypot(dx: float, dy: float) -> float:
    """Length of (dx, dy) as fdlibm's e_hypot.c computes it: last bits as in Java, which decides exact ties."""
    a, b = abs(dx), abs(dy)
    if b > a:
        a, b = b, a
    if b == 0.0 or b * 2.0**60 < a:
        return a + b
    if a > 1e150 or b < 1e-150:
        return math.sqrt(dx * dx + dy * dy)
    high = np.int64(-(2**32))  # keeps the upper 32 bits of a double
    w = a - b
    if w > b:
        t1 = np.int64(np.float64(a).view(np.int64) & high).view(np.float64)
        t2 = a - t1
        return math.sqrt(t1 * t1 - (b * (-b) - t2 * (a + t1)))
    a = a + a
    y1 = np.int64(np.float64(b).view(np.int64) & high).view(np.float64)
    y2 = b - y1
    t1 = np.int64(np.float64(a).view(np.int64) & high).view(np.float64)
    t2 = a - t1
    return math.sqrt(t1 * y1 - (w * (-w) - (t1 * y2 + t2 * b)))


@njit(cache=True, nogil=True)
def walk_chains(n, ends, length, is_junction):
    """Follow every chain of degree-two nodes from a junction to the next (or to a dead end: -1)."""
    m = len(ends)
    first = np.zeros(n + 1, np.int64)
    for e in range(m):
        first[ends[e, 0] + 1] += 1
        first[ends[e, 1] + 1] += 1
    for i in range(n):
        first[i + 1] += first[i]
    fill = first[:-1].copy()
    incident = np.empty(2 * m, np.int64)
    for e in range(m):
        for side in range(2):
            u = ends[e, side]
            incident[fill[u]] = e
            fill[u] += 1
    for i in range(n):
        if first[i + 1] - first[i] > 2 or first[i + 1] == first[i]:
            is_junction[i] = True
    node_chain = np.full(n, -1, np.int64)
    node_offset = np.zeros(n)
    edge_chain = np.full(m, -1, np.int64)
    edge_start = np.zeros(m)
    edge_sense = np.ones(m)
    chain_ends = np.empty((m, 2), np.int64)
    chain_length = np.empty(m)
    chains = 0
    for turn in range(3):  # from the junctions; then paths between two dead ends, then rings
        for start in range(n):
            if turn > 0:
                if is_junction[start] or node_chain[start] >= 0 or first[start + 1] - first[start] != turn:
                    continue
                is_junction[start] = True
            if not is_junction[start]:
                continue
            for k in range(first[start], first[start + 1]):
                e = incident[k]
                if edge_chain[e] >= 0:
                    continue
                u = start
                offset = 0.0
                while True:
                    forward = ends[e, 0] == u
                    edge_chain[e] = chains
                    edge_sense[e] = 1.0 if forward else -1.0
                    edge_start[e] = offset if forward else offset + length[e]
                    offset += length[e]
                    u = ends[e, 1] if forward else ends[e, 0]
                    if is_junction[u]:
                        break
                    node_chain[u] = chains
                    node_offset[u] = offset
                    j = first[u]
                    if first[u + 1] - j == 1:
                        u = -1
                        break
                    e = incident[j + 1] if incident[j] == e else incident[j]
                chain_ends[chains, 0] = start
                chain_ends[chains, 1] = u
                chain_length[chains] = offset
                chains += 1
    return (
        node_chain,
        node_offset,
        edge_chain,
        edge_start,
        edge_sense,
        chain_ends[:chains],
        chain_length[:chains],
    )


def contract(
    n: int, ends: np.ndarray, length_px: np.ndarray, one_way: np.ndarray, one_way_px: np.ndarray
) -> Contracted:
    """
    Take the nodes of degree two out of a network: routes need only the junctions, the rest is addition.

    Parameters
    ----------
    n
        Number of nodes.
    ends, length_px
        Edges walked both ways: (m, 2) node indices, and their lengths in pixels.
    one_way, one_way_px
        Arcs walked from first to second node only, and their lengths; their nodes stay junctions.
    """
    is_junction = np.zeros(n, bool)
    is_junction[one_way.ravel()] = True
    chain, offset, edge_chain, edge_start, edge_sense, chain_ends, chain_px = walk_chains(
        n, ends, length_px, is_junction
    )
    index = np.cumsum(is_junction) - 1
    dead_end = chain_ends[:, 1] < 0
    chain_p = index[chain_ends[:, 0]]
    chain_q = np.where(dead_end, chain_p, index[chain_ends[:, 1]])
    count = int(is_junction.sum())
    proper = chain_p != chain_q
    tail = np.concatenate([chain_p[proper], chain_q[proper], index[one_way[:, 0]]])
    head = np.concatenate([chain_q[proper], chain_p[proper], index[one_way[:, 1]]])
    weight = np.concatenate([chain_px[proper], chain_px[proper], one_way_px])
    order = np.argsort(tail, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=count))]).astype(np.int64)
    junctions = Junctions(first, head[order], weight[order])
    out = Contracted(
        junctions, Places(*[chain] * 5), edge_chain, edge_start, edge_sense, chain_p, chain_q, chain_px, dead_end
    )
    nodes = places_on(out, chain, offset)
    on_chain = chain >= 0
    at = [np.where(on_chain, nodes.p, index), np.where(on_chain, nodes.q, index), offset, nodes.to_q * on_chain]
    return out._replace(nodes=Places(chain, *at))


def places_on(contracted: Contracted, chain: np.ndarray, to_p: np.ndarray) -> Places:
    """Places on chains, by the distance from the chain's start; from a dead end the only way is back."""
    if not len(contracted.chain_p):
        return Places(chain, np.zeros_like(chain), np.zeros_like(chain), to_p, to_p)
    to_q = np.where(contracted.dead_end[chain], to_p, contracted.chain_length[chain] - to_p)
    return Places(chain, contracted.chain_p[chain], contracted.chain_q[chain], to_p, to_q)
