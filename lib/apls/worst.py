"""Which routes were lost and why: what an APLS below 1 is made of, as a table and as lines for a map."""

import heapq
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.apls.paths import NOWHERE, ControlGraph
from lib.apls.routes import Direction, each_route_cost, lengths_from
from lib.apls.scoring import CHALLENGE_GSD_M, Mode, directions

DIRECTIONS = ("truth_to_proposal", "proposal_to_truth")
REASONS = ("no snap", "no route", "one place", "detour", "shortcut", "kept")


class Route(NamedTuple):
    """A route between two control points: its length in its own network and in the other, and what it lost."""

    cost: float
    own_px: float
    found_px: float
    source: int
    target: int
    reason: str


def _reasons(own: np.ndarray, found: np.ndarray, snapped: np.ndarray) -> np.ndarray:
    """Index into REASONS, the first that holds, of routes: length, that in the other network, are both ends placed."""
    one_place = (found == 0) & (own > 0)
    return np.select([~snapped, np.isinf(found), one_place, found > own, found < own], range(5), REASONS.index("kept"))


def route_line(graph: ControlGraph, start: int, end: int) -> np.ndarray:
    """
    Polyline of the shortest route between two nodes of a graph, (n, 2) x, y in pixels; (0, 2) if there is none.

    Dijkstra's search, over edges: scipy's graphs hold one edge between two nodes, and these have parallel ones.
    """
    around: dict[int, list[tuple[int, int, float]]] = {}
    for e, ((u, v), px) in enumerate(zip(graph.ends.tolist(), graph.length_px.tolist(), strict=True)):
        around.setdefault(u, []).append((v, e, px))
        around.setdefault(v, []).append((u, e, px))
    came: dict[int, tuple[int, int]] = {}
    best = {start: 0.0}
    queue = [(0.0, start)]
    while queue:
        d, u = heapq.heappop(queue)
        if u == end:
            break
        for v, e, px in around.get(u, []):
            if d + px < best.get(v, np.inf):
                best[v] = d + px
                came[v] = (u, e)
                heapq.heappush(queue, (d + px, v))
    pieces = []
    here = end
    while here in came and here != start:
        before, e = came[here]
        line = graph.vertices[graph.first[e] : graph.first[e + 1]]
        pieces.append(line if graph.ends[e, 1] == here else line[::-1])
        here = before
    return np.concatenate(pieces[::-1]) if pieces else np.empty((0, 2))


def _worst(direction: Direction, top: int) -> tuple[list[Route], np.ndarray, np.ndarray]:
    """Worst route of each start, the worst of them first, and the number and cost of routes by reason."""
    points = np.arange(len(direction.xy))
    placed = direction.there.chain != NOWHERE
    routes, costs = np.zeros(len(REASONS), np.int64), np.zeros(len(REASONS))
    worst = []
    for rows in (direction.rows_here, direction.rows_there):
        rows.get(np.arange(min(rows.count, rows.at_once)))  # all at once where they fit
    for a in points:
        own = lengths_from(a, direction.here, direction.rows_here)
        found = lengths_from(a, direction.there, direction.rows_there)
        b = np.flatnonzero(np.isfinite(own) & (points != a))
        if not len(b):
            continue
        own, found = own[b], found[b]
        cost, reason = each_route_cost(own, found), _reasons(own, found, placed[b] & placed[a])
        routes += np.bincount(reason, minlength=len(REASONS))
        costs += np.bincount(reason, cost, minlength=len(REASONS))
        k = np.lexsort((own, cost))[-1]
        worst.append(Route(cost[k], own[k], found[k], int(a), int(b[k]), REASONS[reason[k]]))
    worst.sort(key=lambda route: (-route.cost, -route.own_px, route.source))
    used: set[int] = set()
    fresh, repeats, pairs = [], [], set()
    for route in worst:  # routes between points not yet shown come first
        pair = frozenset((route.source, route.target))
        if route.cost > 0 and pair not in pairs:
            pairs.add(pair)
            (repeats if used & pair else fresh).append(route)
            used |= pair
    return (fresh + repeats)[:top], routes, costs


def explain(
    truth: Any,
    proposal: Any,
    mode: Mode = "strict",
    gsd_m: float = CHALLENGE_GSD_M,
    top: int = 10,
    check: bool = True,
) -> pd.DataFrame:
    """
    The worst routes of a pair, and what the score was lost on.

    Parameters
    ----------
    truth, proposal, mode, gsd_m, check
        As for `lib.apls.score`.
    top
        Routes to show: the worst of each control point, points not yet shown first, no pair twice.

    Returns
    -------
    routes
        Worst first (dearest, then longest): `direction` ("truth_to_proposal": a route of the truth that the
        proposal lost; "proposal_to_truth": a route that the proposal made up), `source_x`, `source_y`, `target_x`,
        `target_y` in pixels, `truth_m`, `proposal_m` (lengths; inf where there is no such route), `cost`, `reason`
        and `line`, the route in its own network, (n, 2) in pixels. Reasons: "no snap" (an end is farther than 4 m
        from the other network), "no route", "one place" (both ends snap to one point), "detour", "shortcut".
        `routes.attrs["reasons"]` counts all routes by direction and reason, with the share of the score that
        each lost.
    """
    pair = dict(zip(DIRECTIONS, directions(truth, proposal, mode, gsd_m, check) or (), strict=False))
    rows, tallies = [], []
    for name, direction in pair.items():
        worst, routes, costs = _worst(direction, top)
        total = max(int(routes.sum()), 1)
        tallies += [(name, r, int(k), c / total) for r, k, c in zip(REASONS, routes, costs, strict=True) if k]
        for route in worst:
            own_m, found_m = gsd_m * route.own_px, gsd_m * route.found_px
            lengths = (own_m, found_m) if name == DIRECTIONS[0] else (found_m, own_m)
            ends = (*direction.xy[route.source], *direction.xy[route.target])
            rows.append((name, *ends, *lengths, route.cost, route.reason, own_m, route.source, route.target))
    columns = ["direction", "source_x", "source_y", "target_x", "target_y", "truth_m", "proposal_m", "cost", "reason"]
    out = pd.DataFrame(rows, columns=[*columns, "own_m", "source", "target"])
    out = out.sort_values(["cost", "own_m"], ascending=False, kind="stable").head(top)
    graphs = {name: direction.graph() for name, direction in pair.items() if (out["direction"] == name).any()}
    lines = [route_line(graphs[row.direction], row.source, row.target) for row in out.itertuples()]
    out = out[columns].reset_index(drop=True).assign(line=pd.Series(lines, dtype=object))
    out.attrs["reasons"] = pd.DataFrame(tallies, columns=["direction", "reason", "routes", "lost"])
    return out
