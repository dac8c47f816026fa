"""Which routes were lost and why: what an APLS below 1 is made of, as a table and as lines for a map."""

import heapq
from typing import Any

import numpy as np
import pandas as pd

from lib.apls import routes as apls_routes
from lib.apls.paths import ControlGraph
from lib.apls.scoring import CHALLENGE_GSD_M, Mode, directions

REASONS = ("no snap", "no route", "one place", "detour", "shortcut", "kept")


def _reasons(x: np.ndarray, y: np.ndarray, snapped: np.ndarray) -> np.ndarray:
    """Index into REASONS of each route: own length x, length y in the other network, both ends placed there."""
    out = np.full(len(x), REASONS.index("kept"))
    out[y > x] = REASONS.index("detour")
    out[y < x] = REASONS.index("shortcut")
    out[(y == 0) & (x > 0)] = REASONS.index("one place")
    out[np.isinf(y)] = REASONS.index("no route")
    out[~snapped] = REASONS.index("no snap")
    return out


def _costs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`lib.apls.routes.route_cost` of every route."""
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.minimum(1.0, np.abs(x - y) / x)
    cost[(x == 0) | (y == 0)] = 1.0
    cost[x == y] = 0.0
    cost[np.isinf(y)] = 1.0
    return cost


def route_line(graph: ControlGraph, start: int, end: int) -> np.ndarray:
    """Polyline of the shortest route between two nodes of a graph, (n, 2) x, y in pixels; (0, 2) if there is none."""
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
    at = end
    while at in came and at != start:
        before, e = came[at]
        line = graph.vertices[graph.first[e] : graph.first[e + 1]]
        pieces.append(line if graph.ends[e, 1] == at else line[::-1])
        at = before
    return np.concatenate(pieces[::-1]) if pieces else np.empty((0, 2))


def _worst(direction: apls_routes.Direction, top: int) -> tuple[list[tuple], np.ndarray, np.ndarray]:
    """Worst route of each start, the worst of them first, and the number and cost of routes by reason."""
    n = len(direction.xy)
    placed = direction.there.chain > -2
    routes, costs = np.zeros(len(REASONS), np.int64), np.zeros(len(REASONS))
    found = []
    for rows in (direction.rows_here, direction.rows_there):
        rows.get(np.arange(min(rows.count, rows.at_once)))
    for a in range(n):
        x = apls_routes.lengths_from(a, direction.here, direction.rows_here)
        y = apls_routes.lengths_from(a, direction.there, direction.rows_there)
        b = np.flatnonzero(np.isfinite(x) & (np.arange(n) != a))
        if not len(b):
            continue
        snapped = placed[b] & placed[a]
        x, y = x[b], np.where(snapped, y[b], np.inf)
        cost, reason = _costs(x, y), _reasons(x, y, snapped)
        routes += np.bincount(reason, minlength=len(REASONS))
        costs += np.bincount(reason, cost, minlength=len(REASONS))
        k = np.lexsort((x, cost))[-1]
        found.append((cost[k], x[k], y[k], a, int(b[k]), REASONS[reason[k]]))
    found.sort(key=lambda route: (-route[0], -route[1], route[3]))
    used: set[int] = set()
    fresh, repeats, pairs = [], [], set()
    for route in found:  # routes between points not yet shown come first
        if route[0] > 0 and (pair := frozenset(route[3:5])) not in pairs:
            pairs.add(pair)
            (repeats if used & pair else fresh).append(route)
            used |= pair
    kept = (fresh + repeats)[:top]
    return kept, routes, costs


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
    pair = directions(truth, proposal, mode, gsd_m, check)
    rows, tallies = [], []
    for name, direction in zip(("truth_to_proposal", "proposal_to_truth"), pair or (), strict=False):
        worst, routes, costs = _worst(direction, top)
        total = max(int(routes.sum()), 1)
        tallies += [(name, r, int(k), c / total) for r, k, c in zip(REASONS, routes, costs, strict=True) if k]
        for cost, x, y, a, b, reason in worst:
            lengths = (x, y) if name == "truth_to_proposal" else (y, x)
            rows.append((name, *direction.xy[a], *direction.xy[b], *(gsd_m * v for v in lengths), cost, reason, a, b))
    columns = ["direction", "source_x", "source_y", "target_x", "target_y", "truth_m", "proposal_m", "cost", "reason"]
    out = pd.DataFrame(rows, columns=[*columns, "a", "b"])
    own = np.where(out["direction"] == "truth_to_proposal", out["truth_m"], out["proposal_m"])
    out = out.assign(own=own).sort_values(["cost", "own"], ascending=False, kind="stable").head(top)
    graphs = {
        name: direction.graph()
        for name, direction in zip(("truth_to_proposal", "proposal_to_truth"), pair or (), strict=False)
        if (out["direction"] == name).any()
    }
    lines = [route_line(graphs[row.direction], row.a, row.b) for row in out.itertuples()]
    out = out[columns].reset_index(drop=True).assign(line=pd.Series(lines, dtype=object))
    out.attrs["reasons"] = pd.DataFrame(tallies, columns=["direction", "reason", "routes", "lost"])
    return out
