"""Repairs of a road network: spurs, junctions that are one, gaps, nodes that only pass a line on."""

import numpy as np

from lib.mapping import linework


def spurs(
    edges: np.ndarray,
    lengths: np.ndarray,
    degree: np.ndarray,
    node_radii: np.ndarray,
    beside: np.ndarray,
    min_spur_px: float,
) -> list[int]:
    """
    Lines to prune: stubs at junctions, and lone pieces that are no longer than the mask is wide.

    A stub's reach is its length beyond the largest circle around its junction. Beside the image's border a stub may
    be the mouth of a street of the next chip: there it only has to leave that circle. The shortest go first, and a
    junction keeps two lines, so that a fork at the end of a road does not take the road with it.
    """
    (u, v), dead = edges.T, degree[edges] == 1
    radius = np.maximum(node_radii[u], node_radii[v])
    at_border = (dead & beside[edges]).any(axis=1)
    lone = dead.all(axis=1) & (lengths < np.where(at_border, 2 * radius, np.maximum(2 * radius, min_spur_px)))
    junction = np.where(dead[:, 0], v, u)
    stub = (dead.sum(axis=1) == 1) & (degree[junction] > 2)
    reach = lengths - node_radii[junction]
    stub &= reach < np.where(at_border, 0.5 * node_radii[junction] + 1, min_spur_px)
    found, left = list(np.flatnonzero(lone)), degree.copy()
    for k in sorted(np.flatnonzero(stub), key=lengths.__getitem__):
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
    Node that stands for each node, and the lines that remain.

    A line between two junctions goes, the shortest first, if it is shorter than merge_px or than the mean radius of
    the largest circles of the mask around them; but never if its two nodes are one already, for then it surrounds a
    block, nor if a node of the new group would lie farther than that from the group's middle: a wide interchange
    stays a row of junctions.
    """
    group, members = np.arange(len(nodes)), {}
    keep = np.ones(len(edges), bool)
    limit = np.maximum(0.5 * node_radii[edges].sum(axis=1), merge_px)
    near = is_junction[edges].all(axis=1) & (lengths <= limit)
    for k in sorted(np.flatnonzero(near), key=lengths.__getitem__):
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


def gaps(tips, directions, xy, at, widths_px, max_gap_px, max_meet_px, max_angle):
    """Dead ends as rows of (line, side), their partners and hits: see `linework.find_gaps`."""
    dead = np.argwhere(np.isfinite(tips[:, :, 0]))
    owner, side = dead.T
    ends = xy[np.where(side, at[owner + 1] - 1, at[owner])]
    boxes = np.hstack([np.minimum.reduceat(xy, at[:-1]), np.maximum.reduceat(xy, at[:-1])])
    lines = (xy, at, boxes, 0.5 * widths_px)
    partners, hits = linework.find_gaps(
        ends, tips[owner, side], directions[owner, side], owner, *lines, max_gap_px, max_meet_px, max_angle
    )
    return dead, ends, partners, hits


def bridged(lines, edges, widths_px, next_node, dead, ends, partners, hits):
    """Lines with the gaps closed: dead ends joined, and lines split where a dead end meets them."""
    lines, edges, widths = list(lines), edges.tolist(), widths_px.tolist()
    at_node = [edges[line][side] for line, side in dead]
    for i, j in enumerate(partners):
        if i < j:
            lines.append(np.stack([ends[i], ends[j]]))
            edges.append([at_node[i], at_node[j]])
            widths.append(0.5 * (widths[dead[i][0]] + widths[dead[j][0]]))
    # the last place of a line first, so that the earlier ones keep their segment numbers
    for i in np.lexsort((hits[:, 2], hits[:, 1], hits[:, 0]))[::-1]:
        if hits[i, 0] < 0:
            break
        k, segment = hits[i, :2].astype(int)
        line = lines[k]
        place = line[segment] + hits[i, 2] * (line[segment + 1] - line[segment])
        lines += [np.vstack([place, line[segment + 1 :]]), np.stack([ends[i], place])]
        edges += [[next_node, edges[k][1]], [at_node[i], next_node]]
        widths += [widths[k], widths[dead[i][0]]]
        lines[k], edges[k] = np.vstack([line[: segment + 1], place]), [edges[k][0], next_node]
        next_node += 1
    return lines, np.array(edges, np.int64), np.array(widths, np.float32)


def length(line: np.ndarray) -> float:
    """Length of a polyline, in its own unit."""
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def compact(
    lines: list[np.ndarray], edges: np.ndarray, widths_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """
    Nodes, edges, lines and widths of lines whose ends are numbered.

    Nodes that only pass a line on are dissolved, and the numbers made compact.
    """
    edges, lines, widths = edges.reshape(-1, 2).tolist(), list(lines), list(widths_px)
    degree = np.bincount(np.array(edges, np.int64).ravel())
    touching: dict[int, list[int]] = {int(n): [] for n in np.flatnonzero(degree == 2)}
    if touching:
        for k, (u, v) in enumerate(edges):
            for n in {u, v} & touching.keys():
                touching[n].append(k)
    for node, (a, *rest) in touching.items():
        if not rest:
            continue  # a ring
        b = rest[0]
        if a == b:
            continue
        first = lines[a] if edges[a][1] == node else lines[a][::-1]
        second = lines[b] if edges[b][0] == node else lines[b][::-1]
        start = edges[a][0] if edges[a][1] == node else edges[a][1]
        stop = edges[b][1] if edges[b][0] == node else edges[b][0]
        share = length(lines[a]) / max(length(lines[a]) + length(lines[b]), 1e-9)
        widths[a] = share * widths[a] + (1 - share) * widths[b]
        lines[a], edges[a], lines[b] = np.vstack([first, second[1:]]), [start, stop], None
        if stop in touching:
            touching[stop] = [a if k == b else k for k in touching[stop]]
    alive = [k for k, line in enumerate(lines) if line is not None]
    lines = [lines[k] for k in alive]
    numbers, numbered = np.unique(np.array([edges[k] for k in alive], np.int64), return_inverse=True)
    numbered = numbered.reshape(-1, 2)
    nodes = np.zeros((len(numbers), 2))
    for (u, v), line in zip(numbered, lines, strict=True):
        nodes[u], nodes[v] = line[0], line[-1]
    return nodes, numbered, lines, np.array([widths[k] for k in alive], np.float32)
