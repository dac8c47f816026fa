"""Repairs of a road network: spurs, junctions that are one, gaps, nodes that only pass a line on."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lib.vectors.linework import Ahead, DeadEnds, Polylines, find_gaps


class Edge(NamedTuple):
    """
    An edge of a road network.

    Attributes
    ----------
    u, v
        Numbers of its nodes; any numbers, equal where lines meet.
    line
        (N >= 2, 2) float64: x, y from u to v, px.
    width_px
        Width of the road; 0 where it is not known.
    """

    u: int
    v: int
    line: np.ndarray
    width_px: np.float32

    def reversed(self) -> "Edge":
        """The same edge from v to u."""
        return Edge(self.v, self.u, self.line[::-1], self.width_px)


def as_edges(uv: np.ndarray, lines: Iterable[np.ndarray], widths_px: np.ndarray) -> list[Edge]:
    """Edges of arrays: uv (m, 2) nodes, m lines, widths_px (m,)."""
    return [Edge(u, v, line, width) for (u, v), line, width in zip(uv.tolist(), lines, widths_px, strict=True)]


def spurs(
    edges: np.ndarray,
    lengths: np.ndarray,
    degree: np.ndarray,
    node_radii: np.ndarray,
    beside: np.ndarray,
    min_spur_px: float,
) -> list[int]:
    """
    Numbers of the lines to prune: stubs at junctions, and lone pieces that are no longer than the mask is wide.

    A stub's reach is its length beyond the largest circle around its junction. Beside the image's border a stub may
    be the mouth of a street of the next chip: there it only has to leave that circle. The shortest go first, and a
    junction keeps two lines, so that a fork at the end of a road does not take the road with it.

    Parameters
    ----------
    edges, lengths
        (m, 2) the nodes u, v of each line; (m,) its length, px.
    degree, node_radii, beside
        (n,) lines at each node; radius of the largest circle of the mask around it, px; whether it lies beside the
        image's border.
    """
    (u, v), is_dead_end = edges.T, degree[edges] == 1  # (m,) each, and (m, 2)
    radius = np.maximum(node_radii[u], node_radii[v])
    at_border = (is_dead_end & beside[edges]).any(axis=1)
    longest = np.where(at_border, 2 * radius, np.maximum(2 * radius, min_spur_px))
    is_lone = is_dead_end.all(axis=1) & (lengths < longest)
    junction = np.where(is_dead_end[:, 0], v, u)
    reach = lengths - node_radii[junction]
    is_stub = (is_dead_end.sum(axis=1) == 1) & (degree[junction] > 2)
    is_stub &= reach < np.where(at_border, 0.5 * node_radii[junction] + 1, min_spur_px)
    found, left = list(np.flatnonzero(is_lone)), degree.copy()
    for k in sorted(np.flatnonzero(is_stub), key=lengths.__getitem__):
        if left[junction[k]] > 2:
            left[junction[k]] -= 1
            found.append(k)
    return found


def merge_junctions(
    nodes: np.ndarray,
    edges: np.ndarray,
    lengths: np.ndarray,
    is_junction: np.ndarray,
    node_radii: np.ndarray,
    merge_px: float,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Node that stands for each node, (n,), and numbers of the lines that remain.

    A line between two junctions goes, the shortest first, if it is shorter than merge_px or than the mean radius of
    the largest circles of the mask around them; but never if its two nodes are one already, for then it surrounds a
    block, nor if a node of the new group would lie farther than that from the group's middle: a wide interchange
    stays a row of junctions.
    """
    group, members = np.arange(len(nodes)), {}  # members: the nodes of each group of several
    keep = np.ones(len(edges), bool)
    limit = np.maximum(0.5 * node_radii[edges].sum(axis=1), merge_px)
    is_near = is_junction[edges].all(axis=1) & (lengths <= limit)
    for k in sorted(np.flatnonzero(is_near), key=lengths.__getitem__):
        u, v = group[edges[k]].tolist()
        if u == v:
            continue
        both = members.get(u, [u]) + members.get(v, [v])
        if np.hypot(*(nodes[both] - nodes[both].mean(axis=0)).T).max() <= limit[k]:
            members[u] = both
            group[both] = u
            keep[k] = False
    return group, np.flatnonzero(keep)


def places(nodes: np.ndarray, node_radii: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each node's group, the mean of its members, and the radius that encloses their circles."""
    size = np.bincount(group, minlength=len(nodes))[group]
    if size.max(initial=1) == 1:
        return nodes, node_radii
    middle = np.stack([np.bincount(group, nodes[:, i], len(nodes))[group] / size for i in (0, 1)], axis=1)
    reach = np.zeros(len(nodes))
    np.maximum.at(reach, group, node_radii + np.hypot(*(nodes - middle).T))
    return middle, reach[group]


def gaps(
    lines: Polylines,
    widths_px: np.ndarray,
    tips: np.ndarray,
    directions: np.ndarray,
    max_gap_px: float,
    max_meet_px: float,
    max_angle: float,
) -> tuple[DeadEnds, Ahead]:
    """Dead ends and what lies ahead: tips, directions as of `linework.shape_lines`, limits as of `find_gaps`."""
    line, side = np.divmod(np.flatnonzero(np.isfinite(tips[:, :, 0])), 2)
    vertex = np.where(side, lines.starts[line + 1] - 1, lines.starts[line])
    ends = DeadEnds(line, side, lines.xy[vertex], tips[line, side], directions[line, side])
    boxes = np.hstack([ufunc.reduceat(lines.xy, lines.starts[:-1]) for ufunc in (np.minimum, np.maximum)])
    return ends, find_gaps(ends, lines, boxes, 0.5 * widths_px, max_gap_px, max_meet_px, max_angle)


def bridged(edges: list[Edge], new_node: int, ends: DeadEnds, ahead: Ahead) -> list[Edge]:
    """
    Edges with the gaps closed: dead ends joined, and lines split where a dead end meets them.

    Parameters
    ----------
    edges
        Numbered as the lines of `ends` and `ahead`.
    new_node
        First number for the nodes where lines are split; no edge has it or a greater one.
    ends, ahead
        Dead ends, and what each is to be joined with.
    """
    edges = list(edges)
    end_nodes = [edges[line].v if side else edges[line].u for line, side in zip(ends.line, ends.side, strict=True)]
    end_widths = [edges[line].width_px for line in ends.line]

    # two dead ends that belong together: a straight edge between them. Each pair is met twice, and taken once
    for end, partner in enumerate(ahead.partner):
        if end < partner:
            between = np.stack([ends.xy[end], ends.xy[partner]])
            width_px = 0.5 * (end_widths[end] + end_widths[partner])
            edges.append(Edge(end_nodes[end], end_nodes[partner], between, width_px))

    # a dead end and the line that it meets: the line is split at a new node there, and a straight edge leads to it.
    # What is split off is the line's far part, and the last place of a line comes first: so the line keeps its number
    # and its segments theirs until all its places are done
    for end in np.lexsort((ahead.share, ahead.segment, ahead.line))[::-1]:
        number, segment, share = ahead.line[end], ahead.segment[end], ahead.share[end]
        if number < 0:
            break  # the others meet no line
        u, v, line, width_px = edges[number]
        place = line[segment] + share * (line[segment + 1] - line[segment])
        edges[number] = Edge(u, new_node, np.vstack([line[: segment + 1], place]), width_px)
        edges.append(Edge(new_node, v, np.vstack([place, line[segment + 1 :]]), width_px))
        edges.append(Edge(end_nodes[end], new_node, np.stack([ends.xy[end], place]), end_widths[end]))
        new_node += 1
    return edges


def length(line: np.ndarray) -> float:
    """Length of a polyline, in its own unit."""
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def compact(edges: Iterable[Edge]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """
    Nodes, edges, lines and widths of a `RoadGraph`: nodes that only pass a line on go, the others are renumbered.

    Two edges that become one have their mean width, weighted by length.
    """
    edges = _dissolved(list(edges))
    numbers, uv = np.unique(np.array([edge[:2] for edge in edges], np.int64), return_inverse=True)
    uv, nodes = uv.reshape(-1, 2), np.zeros((len(numbers), 2))
    for (u, v), edge in zip(uv, edges, strict=True):
        nodes[u], nodes[v] = edge.line[0], edge.line[-1]
    return nodes, uv, [edge.line for edge in edges], np.array([edge.width_px for edge in edges], np.float32)


def _dissolved(edges: list[Edge]) -> list[Edge]:
    """Edges of which no two meet in a node without a third; a ring keeps one node."""
    degree = np.bincount(np.array([edge[:2] for edge in edges], np.int64).ravel())
    # the edges at each node that only passes a line on, by their numbers: two, or one that is a ring
    touching: dict[int, list[int]] = {int(node): [] for node in np.flatnonzero(degree == 2)}
    for k, edge in enumerate(edges if touching else []):
        for node in {edge.u, edge.v} & touching.keys():
            touching[node].append(k)
    gone = set()
    for node, numbers in touching.items():
        a, b = numbers[0], numbers[-1]
        if a == b:
            continue  # a ring, or one since its other nodes were dissolved
        into = edges[a] if edges[a].v == node else edges[a].reversed()
        onward = edges[b] if edges[b].u == node else edges[b].reversed()
        share = length(edges[a].line) / max(length(edges[a].line) + length(edges[b].line), 1e-9)
        width_px = share * edges[a].width_px + (1 - share) * edges[b].width_px
        edges[a] = Edge(into.u, onward.v, np.vstack([into.line, onward.line[1:]]), width_px)
        gone.add(b)
        if onward.v in touching:
            touching[onward.v] = [a if k == b else k for k in touching[onward.v]]
    return [edge for k, edge in enumerate(edges) if k not in gone]
