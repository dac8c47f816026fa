"""TOPO, the second road metric: holes and marbles within reach of a place (Biagioni and Eriksson 2012)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

from lib.apls.paths import Places, contract
from lib.apls.routes import lengths_from
from lib.apls.rows import DistanceRows
from lib.apls.scoring import harmonic_mean, polylines
from lib.apls.strict import control_graph, places, snap
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
    """Most marbles that can fall into holes, each into one within the radius; both (n, 2) x, y in pixels."""
    if not len(holes) or not len(marbles):
        return 0
    near = KDTree(holes).sparse_distance_matrix(KDTree(marbles), radius_px, output_type="coo_matrix")
    ones = coo_array((np.ones(near.nnz, np.int8), (near.row, near.col)), shape=near.shape).tocsr()
    return int(np.count_nonzero(maximum_bipartite_matching(ones, perm_type="column") >= 0))


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
        Metres of a pixel on both sides, see `lib.vectors.roadframes.in_square_pixels`.
    spacing_m, reach_m, hole_m
        Distance between holes, how far to walk, and how near a marble must be; metres.
    seeds, seed
        Number of places, drawn at random from the truth's points with this seed; None for all points.

    Raises
    ------
    ParameterError
        If a distance or gsd_m is not above 0.
    InputError
        If a road is no (n, 2) array of finite numbers.
    """
    for name, value in (("gsd_m", gsd_m), ("spacing_m", spacing_m), ("reach_m", reach_m), ("hole_m", hole_m)):
        if not value > 0:
            raise ParameterError(f"Expected {name} above 0, got {value!r}.")
    sides = [
        [line for line in polylines(roads, name) if len(line)]
        for roads, name in ((truth, "truth"), (proposal, "proposal"))
    ]
    if not all(sides):
        same = float(not any(sides))
        return Topo(same, same, same, 0, 0, 0, 0)
    reach_px, hole_px = reach_m / gsd_m, hole_m / gsd_m
    true, found = (control_graph(side, spacing_m / gsd_m) for side in sides)
    true_paths, found_paths = (
        contract(len(graph.nodes), graph.ends, graph.length_px, np.zeros(len(graph.ends), bool))
        for graph in (true, found)
    )
    rng = np.random.default_rng(seed)
    starts = np.unique(true.ends)  # a piece shorter than a tenth of a pixel is a node without an edge: no road
    if seeds is not None and seeds < len(starts):
        starts = np.sort(rng.choice(starts, seeds, replace=False))
    # on the proposal: first the places nearest to the starts, then its own nodes
    nearest = places(snap(true.nodes[starts], found, hole_px), found_paths)
    found_places = Places(*map(np.concatenate, zip(nearest, found_paths.nodes, strict=True)))
    true_rows, found_rows = DistanceRows(true_paths.junctions), DistanceRows(found_paths.junctions)
    holes = marbles = matched = 0
    for k, start in enumerate(starts):
        hole = true.nodes[lengths_from(start, true_paths.nodes, true_rows) <= reach_px]
        marble = found.nodes[lengths_from(k, found_places, found_rows)[len(starts) :] <= reach_px]
        holes += len(hole)
        marbles += len(marble)
        matched += _matches(hole, marble, hole_px)
    precision = matched / marbles if marbles else 0.0
    recall = matched / holes if holes else 0.0
    return Topo(precision, recall, harmonic_mean(precision, recall), holes, marbles, matched, len(starts))
