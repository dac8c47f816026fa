"""
APLS without the original scorer's faults: nodes by cell, splits by segment, independent of the input's order.

The strict mode of `lib.apls.score`. A graph is made of the roads of either side, the control points of each are snapped
to the other, and what comes out are the places that `lib.apls.routes` measures routes between.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from lib.apls.geometry import (
    NEAR_PX2,
    CellIndex,
    foot_on_segment,
    hypot,
    index_segments,
    line_lengths,
    span_of_cell,
    tenths,
)
from lib.apls.paths import NOWHERE, Contracted, ControlGraph, Places, contract, places_on, walk_chains
from lib.apls.routes import Direction
from lib.apls.rows import DistanceRows


class Snapped(NamedTuple):
    """
    The points of a graph that are nearest to other points.

    Attributes
    ----------
    edge
        Nearest edge; -1 where none is within reach.
    along
        Distance of the nearest point from the first node of that edge, pixels.
    node
        The node of the graph that it is; -1 where it lies between the edge's ends.
    """

    edge: np.ndarray
    along: np.ndarray
    node: np.ndarray


def _nodes_of(lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, (n, 2) x, y (their smallest point stands for the cell), and the pairs that roads join, (m, 2), sorted."""
    xy = np.concatenate(lines)
    cell = tenths(xy)
    order = np.lexsort((xy[:, 1], xy[:, 0], cell[:, 1], cell[:, 0]))
    fresh = np.ones(len(xy), bool)
    fresh[1:] = np.any(np.diff(cell[order], axis=0) != 0, axis=1)
    node = np.empty(len(xy), np.int64)
    node[order] = np.cumsum(fresh) - 1
    road = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    inside = (road[1:] == road[:-1]) & (node[1:] != node[:-1])
    pairs = np.sort(np.column_stack([node[:-1], node[1:]])[inside], axis=1)
    return xy[order[fresh]], np.unique(pairs, axis=0)


@njit(cache=True, nogil=True)
def _cut_chains(
    xy: np.ndarray, chain_first: np.ndarray, chain_node: np.ndarray, chain_px: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Cut every chain of 0.75 spacings or more into equal pieces.

    The nodes of chain c, of the rows of `xy`, are chain_node[chain_first[c]:chain_first[c + 1]], its length is
    chain_px[c]. Returns the midpoints, (k, 2) x, y; the nodes of each piece, (m, 2), where len(xy) + i stands for
    midpoint i; and the lines of the pieces: piece e has the rows first[e]:first[e + 1] of the vertices, (v, 2) x, y.
    """
    chains = len(chain_px)
    pieces = np.ones(chains, np.int64)
    for c in range(chains):
        if chain_px[c] >= 0.75 * spacing:
            pieces[c] = 2 if chain_px[c] < spacing else int(chain_px[c] / spacing) + 1
    m = pieces.sum()
    midpoints = np.empty((m - chains, 2))
    ends = np.empty((m, 2), np.int64)
    first = np.zeros(m + 1, np.int64)
    vertices = np.empty((len(chain_node) + 2 * (m - chains), 2))
    midpoint = piece = vertex = 0  # the next of each to be written
    for c in range(chains):
        begin, end = chain_first[c], chain_first[c + 1]
        ends[piece, 0] = chain_node[begin]
        vertices[vertex] = xy[chain_node[begin]]
        vertex += 1
        cuts = pieces[c] - 1
        step = to_cut = chain_px[c] / pieces[c]  # from the latest vertex to the next midpoint
        for i in range(begin + 1, end):
            x, y = vertices[vertex - 1]
            qx, qy = xy[chain_node[i]]
            part = hypot(qx - x, qy - y)
            while cuts > 0 and part >= to_cut:
                r = to_cut / part
                x, y = x + r * (qx - x), y + r * (qy - y)
                midpoints[midpoint, 0], midpoints[midpoint, 1] = x, y
                # it ends one piece and begins the next
                vertices[vertex] = vertices[vertex + 1] = midpoints[midpoint]
                vertex += 2
                first[piece + 1] = vertex - 1
                ends[piece, 1] = ends[piece + 1, 0] = len(xy) + midpoint
                midpoint += 1
                piece += 1
                cuts -= 1
                part = hypot(qx - x, qy - y)
                to_cut = step
            to_cut -= part
            vertices[vertex] = xy[chain_node[i]]
            vertex += 1
        ends[piece, 1] = chain_node[end - 1]
        piece += 1
        first[piece] = vertex
    return midpoints[:midpoint], ends, vertices[:vertex], first


def control_graph(lines: list[np.ndarray], spacing_px: float) -> ControlGraph:
    """Graph of the roads with chains merged into edges, and midpoints on the long ones."""
    xy, pairs = _nodes_of(lines)
    pair_px = line_lengths(xy[pairs].reshape(-1, 2), 2 * np.arange(len(pairs) + 1))
    degree = np.bincount(pairs.ravel(), minlength=len(xy))
    is_node = degree != 2
    chains = walk_chains(pairs, pair_px, np.zeros(len(pairs), bool), is_node)
    # a ring without a junction, walked last: all its nodes and stretches stay, each a chain of its own
    proper = np.count_nonzero(degree[chains.nodes[chains.first[:-1]]] != 2)
    on_ring = chains.edge_chain[:-1] >= proper
    is_node[pairs[on_ring]] = True
    along = chains.edge_sense[:-1][on_ring, None] > 0
    stretches = np.where(along, pairs[on_ring], pairs[on_ring, ::-1])
    chain_first = np.append(chains.first[: proper + 1], chains.first[proper] + 2 * np.arange(1, len(stretches) + 1))
    chain_node = np.append(chains.nodes[: chains.first[proper]], stretches)
    chain_px = np.append(chains.length_px[:proper], pair_px[on_ring])
    midpoints, ends, vertices, first = _cut_chains(xy, chain_first, chain_node, chain_px, spacing_px)
    nodes = np.concatenate([xy[is_node], midpoints])
    index = np.concatenate([np.cumsum(is_node) - 1, np.arange(len(nodes) - len(midpoints), len(nodes))])
    return ControlGraph(nodes, index[ends], line_lengths(vertices, first), vertices, first)


@njit(cache=True, nogil=True)
def _nearest_segments(
    points: np.ndarray, vertices: np.ndarray, index: CellIndex, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """First vertex of the segment nearest to each point, -1 for none within reach, and the nearest point, (n, 2)."""
    segment = np.full(len(points), -1)
    foot = np.zeros((len(points), 2))
    for a in range(len(points)):
        x, y = points[a]
        best = np.inf
        begin, end = span_of_cell(index, x, y)
        for i in index.segment[begin:end]:
            foot_x, foot_y = foot_on_segment(
                x, y, vertices[i, 0], vertices[i, 1], vertices[i + 1, 0], vertices[i + 1, 1]
            )
            d = hypot(x - foot_x, y - foot_y)
            if d <= reach and d < best:  # of equals the first
                best = d
                segment[a] = i
                foot[a, 0], foot[a, 1] = foot_x, foot_y
    return segment, foot


def _merge_close(edge: np.ndarray, along: np.ndarray, between: np.ndarray) -> np.ndarray:
    """
    Distance along the edge of each point; of points closer than the tolerance, that of the first of them.

    `between` says which points lie between the ends of an edge; only these are merged.
    """
    order = np.lexsort((along, edge, ~between))[: between.sum()]
    close = (np.diff(edge[order]) == 0) & (np.diff(along[order]) ** 2 < NEAR_PX2)
    merged = along.copy()
    # runs of neighbours along an edge that are each close to the next; in a run the first points of the input stay
    starts = np.flatnonzero(np.diff(close.astype(np.int8), prepend=0, append=0) == 1)
    stops = np.flatnonzero(np.diff(close.astype(np.int8), prepend=0, append=0) == -1)
    for run in (order[start : stop + 1] for start, stop in zip(starts, stops, strict=True)):
        kept = np.empty(0)
        for a in np.sort(run):
            near = kept[(kept - along[a]) ** 2 < NEAR_PX2]
            merged[a] = near[np.argmin(np.abs(near - along[a]))] if len(near) else along[a]
            kept = kept if len(near) else np.append(kept, along[a])
    return merged


def snap(points: np.ndarray, graph: ControlGraph, reach_px: float) -> Snapped:
    """Nearest place of a graph, within reach, to each of the (n, 2) points: on its nearest edge, or an end of that."""
    if not len(graph.vertices):
        return Snapped(np.full(len(points), -1), np.zeros(len(points)), np.full(len(points), -1))
    index = index_segments(graph.vertices, graph.first, 1.001 * reach_px)
    segment, foot = _nearest_segments(points, graph.vertices, index, reach_px)
    edge = np.where(segment < 0, -1, np.searchsorted(graph.first, segment, side="right") - 1)
    steps = np.hypot(*np.diff(graph.vertices, axis=0, append=graph.vertices[-1:]).T)
    walked = np.concatenate([[0.0], np.cumsum(steps)])  # to each vertex, over all lines
    along = walked[segment] - walked[graph.first[edge]] + np.hypot(*(foot - graph.vertices[segment]).T)
    node = np.full(len(points), -1)
    for end in (graph.ends[edge, 1], graph.ends[edge, 0]):
        at_end = (edge >= 0) & (np.sum((foot - graph.nodes[end]) ** 2, axis=1) < NEAR_PX2)
        node[at_end] = end[at_end]
    return Snapped(edge, _merge_close(edge, along, (edge >= 0) & (node < 0)), node)


def places(snapped: Snapped, on: Contracted) -> Places:
    """Places of snapped points on the contracted network of their graph."""
    edge, along, node = snapped
    chains = on.chains
    inside = places_on(on.spans, chains.edge_chain[edge], chains.edge_px[edge] + chains.edge_sense[edge] * along)
    found = Places(*(np.where(node >= 0, at[node], between) for at, between in zip(on.nodes, inside, strict=True)))
    return found._replace(chain=np.where(edge < 0, NOWHERE, found.chain))


def directions(
    truth: list[np.ndarray], proposal: list[np.ndarray], spacing_px: float, reach_px: float
) -> tuple[Direction, Direction]:
    """
    Both ways of looking at a pair: the truth's routes in the proposal, and the proposal's in the truth.

    An edge whose two ends are closer than 0.1 px (a line that turns on itself) is walked from its first end to
    its second only, as in the reference whose answers this mode reproduces.
    """
    graphs = [control_graph(lines, spacing_px) for lines in (truth, proposal)]
    hairpins = [
        (np.sum((g.nodes[g.ends[:, 0]] - g.nodes[g.ends[:, 1]]) ** 2, axis=1) < NEAR_PX2)
        & (g.ends[:, 0] != g.ends[:, 1])
        for g in graphs
    ]
    contracted = [contract(len(g.nodes), g.ends, g.length_px, pins) for g, pins in zip(graphs, hairpins, strict=True)]
    rows = [DistanceRows(c.junctions) for c in contracted]
    out = []
    for i, graph, other in ((0, *graphs), (1, *graphs[::-1])):
        snapped = snap(graph.nodes, other, reach_px)
        there, rows_there, pins = contracted[1 - i], rows[1 - i], hairpins[1 - i]
        split = snapped.edge[(snapped.edge >= 0) & (snapped.node < 0)]
        if pins[split].any():  # a point inside splits a hairpin: its parts are walked both ways
            pins = pins & ~np.isin(np.arange(len(pins)), split)
            there = contract(len(other.nodes), other.ends, other.length_px, pins)
            rows_there = DistanceRows(there.junctions)
        out.append(
            Direction(
                xy=graph.nodes,
                here=contracted[i].nodes,
                rows_here=rows[i],
                there=places(snapped, there),
                rows_there=rows_there,
                symmetric=not (hairpins[i].any() or pins.any()),
                booked=None,
                graph=lambda graph=graph: graph,
            )
        )
    return out[0], out[1]
