"""TOPO, the second road metric: holes and marbles within reach of a place (Biagioni and Eriksson 2012)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

from lib.apls import paths as apls_paths
from lib.apls import routes as apls_routes
from lib.apls import rows as apls_rows
from lib.apls import strict as apls_strict
from lib.errors import ParameterError

SPACING_M = 5.0  # between holes, and between marbles: as in the paper; finer changes little, costs its square
REACH_M = 300.0  # how far one walks from a place: as in the paper; a few blocks, so that wrong turns show
HOLE_M = 8.0  # a marble falls into a hole this near: half the width of a main road (the paper's 15 m fit GPS noise)
SEEDS = 200  # places to start from


@dataclass(frozen=True)
class Topo:
    """
    Precision, recall and F1 of holes and marbles, pooled over all places.

    Attributes
    ----------
    precision
        Marbles (points of the proposal) that fall into a hole, of all marbles.
    recall
        Holes (points of the truth) that get a marble, of all holes.
    f1
        Their harmonic mean.
    holes, marbles, matched
        Counts, over all places.
    seeds
        Number of places started from.
    """

    precision: float
    recall: float
    f1: float
    holes: int
    marbles: int
    matched: int
    seeds: int


def _matches(holes: np.ndarray, marbles: np.ndarray, radius_px: float) -> int:
    """Most marbles that can fall into holes, each into one within the radius."""
    if not len(holes) or not len(marbles):
        return 0
    near = KDTree(holes).sparse_distance_matrix(KDTree(marbles), radius_px, output_type="coo_matrix")
    ones = coo_array((np.ones(near.nnz, np.int8), (near.row, near.col)), shape=near.shape).tocsr()
    return int(np.count_nonzero(maximum_bipartite_matching(ones, perm_type="column") >= 0))


def _stack(one: apls_paths.Places, two: apls_paths.Places) -> apls_paths.Places:
    return apls_paths.Places(*(np.concatenate(pair) for pair in zip(one, two, strict=True)))


def topo(
    truth: Any,
    proposal: Any,
    gsd_m: float,
    spacing_m: float = SPACING_M,
    reach_m: float = REACH_M,
    hole_m: float = HOLE_M,
    seeds: int | None = SEEDS,
    seed: int = 0,
) -> Topo:
    """
    TOPO of a proposed road network against the true one.

    From a place on the truth one walks along its roads, at most `reach_m`, and leaves a hole every `spacing_m`;
    from the nearest place of the proposal (if it is within `hole_m`) one walks along the proposal's roads and
    leaves marbles. Marbles fall into holes within `hole_m`, one into each; the matching is the largest there is.
    Roads that no place of the truth leads to are not looked at: a detached invention costs nothing (APLS sees it).

    Parameters
    ----------
    truth, proposal
        Polylines (n, 2) x, y in pixels, ends that coincide being one node; or anything with such `.lines`.
    gsd_m
        Metres of a pixel.
    spacing_m, reach_m, hole_m
        Distance between holes, how far to walk, and how near a marble must be; metres.
    seeds, seed
        Number of places, drawn at random from the truth's points with this seed; None for all points.

    Raises
    ------
    ParameterError
        If a distance or gsd_m is not above 0.
    """
    for name, value in (("gsd_m", gsd_m), ("spacing_m", spacing_m), ("reach_m", reach_m), ("hole_m", hole_m)):
        if not value > 0:
            raise ParameterError(f"Expected {name} above 0, got {value!r}.")
    lines = [
        [np.asarray(line, float) for line in getattr(roads, "lines", roads) if len(line)] for roads in (truth, proposal)
    ]
    if not lines[0] or not lines[1]:
        same = float(not lines[0] and not lines[1])
        return Topo(same, same, same, 0, 0, 0, 0)
    reach_px, radius_px = reach_m / gsd_m, hole_m / gsd_m
    graphs = [apls_strict.control_graph(side, spacing_m / gsd_m) for side in lines]
    true, found = (apls_strict.contracted(graph) for graph in graphs)
    rng = np.random.default_rng(seed)
    n = len(graphs[0].nodes)
    starts = np.arange(n) if seeds is None or seeds >= n else np.sort(rng.choice(n, seeds, replace=False))
    snapped = apls_strict.snap(graphs[0].nodes[starts], graphs[1], radius_px)
    places = _stack(apls_strict.places(*snapped, found), found.nodes)
    rows_true, rows_found = (apls_rows.DistanceRows(side.junctions) for side in (true, found))
    holes = marbles = matched = 0
    for k, start in enumerate(starts):
        hole = graphs[0].nodes[apls_routes.lengths_from(start, true.nodes, rows_true) <= reach_px]
        away = apls_routes.lengths_from(k, places, rows_found)[len(starts) :]
        marble = graphs[1].nodes[away <= reach_px]
        holes += len(hole)
        marbles += len(marble)
        matched += _matches(hole, marble, radius_px)
    precision = matched / marbles if marbles else 0.0
    recall = matched / holes if holes else 0.0
    f1 = 2 * precision * recall / (precision + recall) if matched else 0.0
    return Topo(precision, recall, f1, holes, marbles, matched, len(starts))
