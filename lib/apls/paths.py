"""Road networks contracted to their junctions, and the places of points on them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

AT_JUNCTION, NOWHERE = -1, -2  # in Places.chain


class Places(NamedTuple):
    """
    Where points lie on a contracted network: on the chain between two junctions, or on a junction.

    Attributes
    ----------
    chain
        Chain of each point; AT_JUNCTION where the point is itself a junction, NOWHERE where it has no place.
    p, q
        Junctions at the start and the end of the chain (both the junction itself where the point is one).
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


class Chains(NamedTuple):
    """
    Chains of edges over nodes of degree two.

    Attributes
    ----------
    is_junction
        Nodes where chains start; a chain ends at one, or at a dead end.
    node_chain, node_px
        Chain of each node (-1 at junctions and where no edge is), and its distance from the chain's start, pixels.
    edge_chain, edge_px, edge_sense
        Chain of each edge (-1 where it has none), distance of the edge's first end from the chain's start, and +1
        where the edge runs along the chain, -1 against it. A last row stands for "no edge".
    first, nodes
        Compressed rows: nodes[first[c]:first[c + 1]] are the nodes of chain c, from its start to its end.
    length_px
        Of each chain. A last row stands for "no chain".
    """

    is_junction: np.ndarray
    node_chain: np.ndarray
    node_px: np.ndarray
    edge_chain: np.ndarray
    edge_px: np.ndarray
    edge_sense: np.ndarray
    first: np.ndarray
    nodes: np.ndarray
    length_px: np.ndarray


class Spans(NamedTuple):
    """
    Chains between the junctions of a contracted network, one row a chain; a last row stands for "no chain".

    Attributes
    ----------
    p, q
        First and last junction; both the first where the chain leads nowhere.
    length_px
        Along the chain, pixels.
    dead_end
        The chain leads nowhere: its points count from its start only.
    """

    p: np.ndarray
    q: np.ndarray
    length_px: np.ndarray
    dead_end: np.ndarray


class Contracted(NamedTuple):
    """
    A network contracted to its junctions, with the place of every node and edge on it.

    Attributes
    ----------
    junctions
        The contracted network.
    nodes
        Places of the nodes.
    spans
        Its chains, between junctions.
    chains
        The same with their edges.
    """

    junctions: Junctions
    nodes: Places
    spans: Spans
    chains: Chains


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
def walk_chains(ends: np.ndarray, length_px: np.ndarray, one_way: np.ndarray, kept: np.ndarray) -> Chains:
    """
    Follow every chain of nodes of degree two from a junction to the next, or to a dead end.

    Parameters
    ----------
    ends, length_px
        (m, 2) nodes of each edge, and its length.
    one_way
        Edges that are in no chain and add nothing to the degree of their nodes.
    kept
        One row a node: True where it is a junction whatever its degree. Nodes of degree 0 or above 2 are junctions
        anyhow, and so is one node of what would have none: an end of a path, then any node of a ring. The chains of
        rings come last.
    """
    n, m = len(kept), len(ends)
    # edges at each node as compressed rows: incident[begin[u]:begin[u + 1]]
    begin = np.zeros(n + 1, np.int64)
    for e in range(m):
        for u in ends[e]:
            begin[u + 1] += not one_way[e]
    begin = np.cumsum(begin)
    filled = begin[:-1].copy()
    incident = np.empty(2 * m, np.int64)
    for e in np.flatnonzero(~one_way):
        for u in ends[e]:
            incident[filled[u]] = e
            filled[u] += 1
    degree = np.diff(begin)
    is_junction = kept | (degree == 0) | (degree > 2)
    node_chain = np.full(n, -1)
    node_px = np.zeros(n)
    edge_chain = np.full(m + 1, -1)
    edge_px = np.zeros(m + 1)
    edge_sense = np.ones(m + 1)
    first = np.zeros(m + 1, np.int64)
    nodes = np.empty(2 * m, np.int64)
    chain_px = np.zeros(m + 1)
    chains = size = 0
    for free_degree in range(3):  # 0: from the junctions; 1: paths between two dead ends; 2: rings
        for start in range(n):
            if free_degree > 0 and node_chain[start] < 0 and degree[start] == free_degree:
                is_junction[start] = True
            if not is_junction[start]:
                continue
            for k in range(begin[start], begin[start + 1]):
                e = incident[k]
                if edge_chain[e] >= 0:
                    continue
                u = start
                walked = 0.0
                nodes[size] = start
                while True:
                    forward = ends[e, 0] == u
                    edge_chain[e] = chains
                    edge_sense[e] = 1.0 if forward else -1.0
                    edge_px[e] = walked if forward else walked + length_px[e]
                    walked += length_px[e]
                    u = ends[e, 1] if forward else ends[e, 0]
                    size += 1
                    nodes[size] = u
                    if is_junction[u]:
                        break
                    node_chain[u] = chains
                    node_px[u] = walked
                    if degree[u] == 1:
                        break
                    e = incident[begin[u]] + incident[begin[u] + 1] - e  # the other of the two
                chain_px[chains] = walked
                chains += 1
                size += 1
                first[chains] = size
    return Chains(
        is_junction,
        node_chain,
        node_px,
        edge_chain,
        edge_px,
        edge_sense,
        first[: chains + 1],
        nodes[:size],
        chain_px[: chains + 1],
    )


def contract(n: int, ends: np.ndarray, length_px: np.ndarray, one_way: np.ndarray) -> Contracted:
    """
    Take the nodes of degree two out of a network: routes need only the junctions, the rest is addition.

    Parameters
    ----------
    n
        Number of nodes.
    ends, length_px
        (m, 2) nodes of each edge, and its length in pixels.
    one_way
        Edges that are walked from first to second node only; their nodes stay junctions.
    """
    kept = np.zeros(n, bool)
    kept[ends[one_way]] = True
    chains = walk_chains(ends, length_px, one_way, kept)
    index = np.cumsum(chains.is_junction) - 1
    # one row a chain, and a last one, from the first node to itself, for "no chain"
    start, stop = np.append(chains.nodes[chains.first[:-1]], 0), np.append(chains.nodes[chains.first[1:] - 1], 0)
    dead_end = ~chains.is_junction[stop]
    chain_p = index[start]
    chain_q = np.where(dead_end, chain_p, index[stop])
    proper = chain_p != chain_q
    tail = np.concatenate([chain_p[proper], chain_q[proper], index[ends[one_way, 0]]])
    head = np.concatenate([chain_q[proper], chain_p[proper], index[ends[one_way, 1]]])
    weight = np.concatenate([chains.length_px[proper], chains.length_px[proper], length_px[one_way]])
    order = np.argsort(tail, kind="stable")
    arcs = np.bincount(tail, minlength=np.count_nonzero(chains.is_junction))
    first = np.concatenate([[0], np.cumsum(arcs)]).astype(np.int64)
    junctions = Junctions(first, head[order], weight[order])
    spans = Spans(chain_p, chain_q, chains.length_px, dead_end)
    nodes = places_on(spans, chains.node_chain, chains.node_px)
    on_chain = nodes.chain >= 0
    nodes = nodes._replace(
        p=np.where(on_chain, nodes.p, index), q=np.where(on_chain, nodes.q, index), to_q=nodes.to_q * on_chain
    )
    return Contracted(junctions, nodes, spans, chains)


def places_on(spans: Spans, chain: np.ndarray, to_p: np.ndarray) -> Places:
    """Places on chains, by the distance from the chain's start; from a dead end the only way is back."""
    to_q = np.where(spans.dead_end[chain], to_p, spans.length_px[chain] - to_p)
    return Places(chain, spans.p[chain], spans.q[chain], to_p, to_q)
