"""APLS without the original scorer's faults: nodes by cell, splits by segment, independent of the input's order."""

import numpy as np
from numba import njit

from lib.apls import paths
from lib.apls import routes as apls_routes
from lib.apls import rows as apls_rows
from lib.apls.paths import ControlGraph, hypot

CELLS_PER_PX = 10  # points of one cell of 0.1 px are one node
END_TOLERANCE_PX2 = 1e-2  # a projection closer than 0.1 px to an end of its edge is that end; squared, pixels
MAX_CELLS = 1 << 20  # of the look-up grid


def _cells(values: np.ndarray) -> np.ndarray:
    """Nearest tenth of a pixel as an integer, ties towards plus infinity."""
    scaled = CELLS_PER_PX * values
    low = np.floor(scaled)
    return low.astype(np.int64) + (scaled - low >= 0.5)


def _nodes_of(lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (their smallest point stands for the cell) and the unordered pairs of them that roads join."""
    xy = np.concatenate(lines)
    cell = _cells(xy)
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
def _cut_chains(xy, chain_first, chain_node, chain_px, spacing):
    """Cut every chain of 0.75 spacings or more into equal pieces; returns the lines of all pieces and their ends."""
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
    n = len(xy)
    k = 0  # midpoints
    e = 0  # pieces
    j = 0  # vertices
    for c in range(chains):
        step = chain_px[c] / pieces[c]
        begin = chain_first[c]
        end = chain_first[c + 1]
        ends[e, 0] = chain_node[begin]
        vertices[j] = xy[chain_node[begin]]
        j += 1
        left = pieces[c] - 1
        at = step
        for i in range(begin + 1, end):
            q = xy[chain_node[i]]
            x, y = vertices[j - 1, 0], vertices[j - 1, 1]
            part = hypot(q[0] - x, q[1] - y)
            while left > 0 and part >= at:
                r = at / part
                x, y = x + r * (q[0] - x), y + r * (q[1] - y)
                midpoints[k, 0] = x
                midpoints[k, 1] = y
                vertices[j, 0] = x
                vertices[j, 1] = y
                vertices[j + 1] = vertices[j]
                ends[e, 1] = n + k
                ends[e + 1, 0] = n + k
                first[e + 1] = j + 1
                j += 2
                k += 1
                e += 1
                left -= 1
                part = hypot(q[0] - x, q[1] - y)
                at = step
            at -= part
            vertices[j] = q
            j += 1
        ends[e, 1] = chain_node[end - 1]
        e += 1
        first[e] = j
    return midpoints[:k], ends, vertices[:j], first


@njit(cache=True, nogil=True)
def _line_lengths(vertices, first):
    """Length of each line of compressed rows of vertices."""
    out = np.zeros(len(first) - 1)
    for e in range(len(out)):
        for i in range(first[e], first[e + 1] - 1):
            out[e] += hypot(vertices[i + 1, 0] - vertices[i, 0], vertices[i + 1, 1] - vertices[i, 1])
    return out


def control_graph(lines: list[np.ndarray], spacing_px: float) -> ControlGraph:
    """Graph of the roads with chains merged into edges, and midpoints on the long ones."""
    xy, pairs = _nodes_of(lines)
    part_px = _line_lengths(xy[pairs].reshape(-1, 2), 2 * np.arange(len(pairs) + 1))
    degree = np.bincount(pairs.ravel(), minlength=len(xy))
    is_node = degree != 2
    _, _, chain, start, sense, chain_ends, chain_px = paths.walk_chains(len(xy), pairs, part_px, is_node.copy())
    ring = degree[chain_ends[:, 0]] == 2  # no junction on it: all its nodes and stretches stay
    on_ring = ring[chain]
    is_node[pairs[on_ring]] = True
    chain = np.where(on_ring, len(ring) + np.arange(len(pairs)), chain)
    forward = sense > 0
    tail, head = np.where(forward, pairs.T, pairs.T[::-1])
    start = np.where(forward, start, start - part_px)
    order = np.lexsort((start, chain))
    opens = np.ones(len(order), bool)
    opens[1:] = np.diff(chain[order]) != 0
    # the vertices of a chain: the tail of each stretch, then the head of its last one
    begin = np.flatnonzero(opens)
    size = np.diff(np.append(begin, len(order))) + 1
    chain_first = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    chain_node = np.empty(chain_first[-1], np.int64)
    last = chain_first[1:] - 1
    chain_node[np.delete(np.arange(len(chain_node)), last)] = tail[order]
    chain_node[last] = head[order][chain_first[1:] - np.arange(1, len(last) + 1) - 1] if len(last) else head[:0]
    length = _line_lengths(xy[chain_node], chain_first)
    midpoints, ends, vertices, first = _cut_chains(xy, chain_first, chain_node, length, spacing_px)
    index = np.cumsum(is_node) - 1
    index = np.concatenate([index, index[-1] + 1 + np.arange(len(midpoints))])
    nodes = np.concatenate([xy[is_node], midpoints])
    return ControlGraph(nodes, index[ends], _line_lengths(vertices, first), vertices, first)


@njit(cache=True, nogil=True)
def _index_parts(vertices, first, reach, low_x, low_y, cell, columns, rows):
    """Stretches (by their first vertex) by grid cell, as compressed rows, in all cells within reach of their box."""
    begin = np.zeros(columns * rows + 2, np.int64)
    items = np.empty(0, np.int64)
    for fill in range(2):
        for e in range(len(first) - 1):
            for i in range(first[e], first[e + 1] - 1):
                x0 = min(vertices[i, 0], vertices[i + 1, 0]) - reach - low_x
                x1 = max(vertices[i, 0], vertices[i + 1, 0]) + reach - low_x
                y0 = min(vertices[i, 1], vertices[i + 1, 1]) - reach - low_y
                y1 = max(vertices[i, 1], vertices[i + 1, 1]) + reach - low_y
                for r in range(max(0, int(y0 / cell)), min(rows - 1, int(y1 / cell)) + 1):
                    for c in range(max(0, int(x0 / cell)), min(columns - 1, int(x1 / cell)) + 1):
                        k = r * columns + c
                        if fill == 1:
                            items[begin[k + 1]] = i
                            begin[k + 1] += 1
                        else:
                            begin[k + 2] += 1
        if fill == 0:
            for k in range(1, columns * rows + 1):
                begin[k + 1] += begin[k]
            items = np.empty(begin[-1], np.int64)
    return begin[:-1], items


@njit(cache=True, nogil=True)
def _nearest_parts(points, vertices, begin, items, reach, low_x, low_y, cell, columns, rows):
    """Nearest stretch to each point within reach (-1: none; of equals the first), and the projection on it."""
    part = np.full(len(points), -1)
    foot = np.zeros((len(points), 2))
    for a in range(len(points)):
        x, y = points[a]
        c = int(np.floor((x - low_x) / cell))
        r = int(np.floor((y - low_y) / cell))
        if not (0 <= c < columns and 0 <= r < rows):
            continue
        best = np.inf
        for k in range(begin[r * columns + c], begin[r * columns + c + 1]):
            i = items[k]
            ux, uy = vertices[i]
            sx, sy = vertices[i + 1, 0] - ux, vertices[i + 1, 1] - uy
            square = sx * sx + sy * sy
            if square == 0.0:
                continue
            t = ((x - ux) * sx + (y - uy) * sy) / square
            if t > 1.0:
                px, py = vertices[i + 1]
            elif t < 0.0:
                px, py = ux, uy
            else:
                px, py = ux + t * sx, uy + t * sy
            d = hypot(x - px, y - py)
            if d <= reach and d < best:
                best = d
                part[a] = i
                foot[a, 0] = px
                foot[a, 1] = py
    return part, foot


def _merge_close(edge: np.ndarray, along: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Distance along the edge of each point; of points closer than the tolerance, that of the first of them."""
    order = np.lexsort((along, edge, ~placed))[: placed.sum()]
    close = (np.diff(edge[order]) == 0) & (np.diff(along[order]) ** 2 < END_TOLERANCE_PX2)
    merged = along.copy()
    starts = np.flatnonzero(np.diff(close.astype(np.int8), prepend=0, append=0) == 1)
    stops = np.flatnonzero(np.diff(close.astype(np.int8), prepend=0, append=0) == -1)
    for group in (order[lo : hi + 1] for lo, hi in zip(starts, stops, strict=True)):
        kept = np.empty(0)
        for a in np.sort(group):
            near = kept[(kept - along[a]) ** 2 < END_TOLERANCE_PX2]
            merged[a] = near[np.argmin(np.abs(near - along[a]))] if len(near) else along[a]
            kept = kept if len(near) else np.append(kept, along[a])
    return merged


def snap(points: np.ndarray, graph: ControlGraph, reach_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Nearest point of a graph to each point: on its nearest edge, or an end of that edge.

    Returns
    -------
    edge
        Nearest edge; -1 where none is within reach.
    along
        Distance of the nearest point from the first node of that edge, pixels.
    node
        The node of the graph that it is; -1 where it lies between the edge's ends.
    """
    if not len(graph.vertices):
        return np.full(len(points), -1), np.zeros(len(points)), np.full(len(points), -1)
    low_x, low_y = graph.vertices.min(axis=0) - 2 * reach_px
    wide, high = graph.vertices.max(axis=0) + 2 * reach_px - (low_x, low_y)
    cell = max(4.0 * reach_px, np.sqrt(wide * high / MAX_CELLS), wide / MAX_CELLS, high / MAX_CELLS)
    grid = low_x, low_y, cell, int(wide / cell) + 1, int(high / cell) + 1
    begin, items = _index_parts(graph.vertices, graph.first, 1.001 * reach_px, *grid)
    part, foot = _nearest_parts(points, graph.vertices, begin, items, reach_px, *grid)
    edge = np.where(part < 0, -1, np.searchsorted(graph.first, part, side="right") - 1)
    steps = np.hypot(*np.diff(graph.vertices, axis=0, append=graph.vertices[-1:]).T)
    so_far = np.concatenate([[0.0], np.cumsum(steps)])
    along = so_far[part] - so_far[graph.first[edge]] + np.hypot(*(foot - graph.vertices[part]).T)
    node = np.full(len(points), -1)
    for end in (graph.ends[edge, 1], graph.ends[edge, 0]):
        at_end = (edge >= 0) & (np.sum((foot - graph.nodes[end]) ** 2, axis=1) < END_TOLERANCE_PX2)
        node[at_end] = end[at_end]
    return edge, _merge_close(edge, along, (edge >= 0) & (node < 0)), node


def contracted(graph: ControlGraph, one_way: np.ndarray | None = None) -> paths.Contracted:
    """Contracted network of a graph; edges marked `one_way` are walked from first to second node only."""
    ends, px = graph.ends, graph.length_px
    one_way = np.zeros(len(ends), bool) if one_way is None else one_way
    both = paths.contract(len(graph.nodes), ends[~one_way], px[~one_way], ends[one_way], px[one_way])
    if one_way.all():
        return both  # no chain at all
    edge = np.cumsum(~one_way) - 1
    return both._replace(
        edge_chain=both.edge_chain[edge], edge_start=both.edge_start[edge], edge_sense=both.edge_sense[edge]
    )


def places(edge: np.ndarray, along: np.ndarray, node: np.ndarray, on: paths.Contracted) -> paths.Places:
    """Places of snapped points on a contracted network."""
    to_p = on.edge_start[edge] + on.edge_sense[edge] * along if len(on.edge_chain) else along
    chain = on.edge_chain[edge] if len(on.edge_chain) else edge
    on_edge = paths.places_on(on, chain, to_p)
    at = [np.where(node >= 0, there[node], here) for there, here in zip(on.nodes, on_edge, strict=True)]
    return paths.Places(*at)._replace(chain=np.where(edge < 0, -2, at[0]))


def directions(
    truth: list[np.ndarray], proposal: list[np.ndarray], spacing_px: float, reach_px: float
) -> tuple[apls_routes.Direction, apls_routes.Direction]:
    """
    Both ways of looking at a pair: the truth's routes in the proposal, and the proposal's in the truth.

    An edge whose two ends are closer than 0.1 px (a line that turns on itself) is walked from its first end to
    its second only, as in the reference whose answers this mode reproduces.
    """
    graphs = [control_graph(lines, spacing_px) for lines in (truth, proposal)]
    snapped = [snap(graphs[i].nodes, graphs[1 - i], reach_px) for i in (0, 1)]
    hairpins = [
        (np.sum((g.nodes[g.ends[:, 0]] - g.nodes[g.ends[:, 1]]) ** 2, axis=1) < END_TOLERANCE_PX2)
        & (g.ends[:, 0] != g.ends[:, 1])
        for g in graphs
    ]
    here = [contracted(g, pins) for g, pins in zip(graphs, hairpins, strict=True)]
    rows = [apls_rows.DistanceRows(c.junctions) for c in here]
    out = []
    for i in (0, 1):
        edge, along, node = snapped[i]
        there, rows_there, pins = here[1 - i], rows[1 - i], hairpins[1 - i]
        split = edge[(edge >= 0) & (node < 0)]
        if pins[split].any():  # a point inside splits a hairpin: its parts are walked both ways
            pins = pins & ~np.isin(np.arange(len(pins)), split)
            there = contracted(graphs[1 - i], pins)
            rows_there = apls_rows.DistanceRows(there.junctions)
        out.append(
            apls_routes.Direction(
                xy=graphs[i].nodes,
                graph=lambda graph=graphs[i]: graph,
                here=here[i].nodes,
                rows_here=rows[i],
                there=places(edge, along, node, there),
                rows_there=rows_there,
                symmetric=not (hairpins[i].any() or pins.any()),
            )
        )
    return out[0], out[1]
