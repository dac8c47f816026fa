"""
Candidates judged where the truth is known: what calibrates confidence, and says how much is found.

Where a map is complete, a part of it is hidden by lot and has to be found again: gaps whose truth is known can be had
on any ground that somebody has mapped with care.
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.conflation.buildings import RULES as BUILDING_RULES
from lib.conflation.buildings import BuildingRules, compare_buildings, overlaps
from lib.conflation.ground import Ground
from lib.conflation.roads import RULES, RoadRules, compare_roads, known_to, osm_table
from lib.conflation.stations import as_array, beside, stations, stretches
from lib.masks.offset import Offset
from lib.osm.lanes import METRIC, LaneProfile, is_drawn, is_seen

SHARE = 0.2  # of a complete map that is hidden: about what volunteers lack where they have begun
FOUND_REACH_M = 5.0  # of a candidate's middle line from that of the road that it finds, beside half the road's width


def hidden(frame: gpd.GeoDataFrame, among: np.ndarray, share: float, seed: int) -> gpd.GeoDataFrame:
    """The frame without a share of the rows `among` (bool, one a row), drawn by lot."""
    rows = np.flatnonzero(among)
    gone = np.random.default_rng(seed).choice(rows, round(share * len(rows)), replace=False)
    return frame.drop(frame.index[gone]).reset_index(drop=True)


def road_trials(
    roads: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    ground: Ground,
    rules: RoadRules = RULES,
    profile: LaneProfile = METRIC,
    share: float = SHARE,
    draws: int = 20,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    What `compare_roads` finds of roads that are hidden by lot, over several draws.

    Parameters
    ----------
    roads, osm, ground, rules, profile
        As in `compare_roads`.
    truth
        Roads that are there, where the image shows them; `osm` itself where nothing better is known.
    share
        Of OSM's roads that each draw hides; 0 with one draw: what OSM itself lacks.
    draws, seed
        How many, and of the lot.

    Returns
    -------
    candidates, lacking
        See `judge_roads`; with the column `draw`.
    """
    found = []
    offset = compare_roads(roads.iloc[:0], osm, ground, rules, None, profile).offset
    for draw in range(draws):
        kept = hidden(osm, is_drawn(osm, profile), share, seed + draw)
        comparison = compare_roads(roads, kept, ground, rules, None, profile, offset)
        judged = judge_roads(comparison.missing, kept, truth, ground, offset, rules, profile)
        found.append([table.assign(draw=draw) for table in judged])
    candidates, lacking = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    return candidates, lacking


def judge_roads(
    missing: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    ground: Ground,
    offset: Offset,
    rules: RoadRules = RULES,
    profile: LaneProfile = METRIC,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    Candidates against the true roads that OSM lacks: stretches along which none of its roads runs.

    A candidate beside a road that OSM has is wrong, also where that road is a true one.

    Returns
    -------
    candidates
        One row a candidate: said (its confidence), right (share of its length along a true road that OSM lacks),
        weight (its length, metres).
    lacking
        One row every few metres of the true roads that OSM lacks, those shorter than `rules.min_length_m` left out:
        said (highest confidence of a candidate along it, NaN for none), weight (metres).
    """
    known = osm_table(osm, ground, profile, offset)
    true = osm_table(truth, ground, profile)
    true = true[true["is_road"] & (shapely.get_type_id(true["geometry"]) == shapely.GeometryType.LINESTRING)]
    lines = true["geometry"].to_numpy(object)
    points, is_known = known_to(lines, known[known["is_road"]], rules)
    seen = np.isfinite(ground.probabilities_at(points.xy))
    parts, line = stretches(lines, points, ~is_known & seen)
    half_m = true["half_m"].to_numpy()[line]
    candidates = ground.in_metres(missing) if len(missing) else as_array([])
    on = stations(candidates, rules.step_m)
    right = np.isfinite(beside(on, parts, half_m + FOUND_REACH_M, rules.max_angle_deg)) if len(parts) else False
    said = missing["confidence"].to_numpy(float)
    table = pd.DataFrame({"said": said, "right": on.means(np.zeros(len(on.xy)) + right, len(candidates))})
    table["weight"] = shapely.length(candidates)
    long = shapely.length(parts) >= rules.min_length_m
    along = stations(parts[long], rules.step_m)
    reach_m = np.full(len(candidates), FOUND_REACH_M + (half_m[long].max() if long.any() else 0.0))
    best = beside(along, candidates, reach_m, rules.max_angle_deg, said)
    return table, pd.DataFrame({"said": best, "weight": along.length_m})


def building_trials(
    buildings: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    ground: Ground,
    rules: BuildingRules = BUILDING_RULES,
    least_iou: float = BUILDING_RULES.same_iou,
    share: float = SHARE,
    draws: int = 20,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    What `compare_buildings` finds of buildings that are hidden by lot, over several draws.

    Parameters
    ----------
    least_iou
        From which a candidate is the hidden building; other parameters as in `road_trials`.

    Returns
    -------
    candidates
        One row a candidate: said, right (0 or 1), weight (1), draw. One that meets no hidden building counts as wrong,
        though OSM may lack it.
    lacking
        One row a hidden building that touches the area: said (highest confidence of a candidate that is it, NaN for
        none), weight (1), draw.
    """
    found = []
    osm = osm[is_seen(osm)].reset_index(drop=True)
    offset = compare_buildings(buildings.iloc[:0], osm, ground, rules).offset
    everything = ground.in_metres(osm)
    inside = shapely.intersects(everything, ground.outline)
    for draw in range(draws):
        kept = hidden(osm.assign(row=np.arange(len(osm))), inside, share, seed + draw)
        gone = everything[np.setdiff1d(np.flatnonzero(inside), kept["row"])]
        missing = compare_buildings(buildings, kept, ground, rules, None, offset).missing
        own, said = ground.in_metres(missing), missing["confidence"].to_numpy(float)
        first, second, common = overlaps(own, gone)
        area = shapely.area(common)
        iou = area / (shapely.area(own)[first] + shapely.area(gone)[second] - area)
        first, second = first[iou >= least_iou], second[iou >= least_iou]
        best = np.full(len(gone), np.nan)
        np.fmax.at(best, second, said[first])
        right = np.isin(np.arange(len(own)), first).astype(float)
        found.append(
            [
                pd.DataFrame({"said": said, "right": right, "weight": 1.0, "draw": draw}),
                pd.DataFrame({"said": best, "weight": 1.0, "draw": draw}),
            ]
        )
    candidates, lacking = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    return candidates, lacking


def precision_recall(candidates: pd.DataFrame, lacking: pd.DataFrame) -> pd.DataFrame:
    """
    What is right of the candidates from each confidence on, and how much of what OSM lacks they find.

    Parameters
    ----------
    candidates, lacking
        From `judge_roads`, `road_trials` or `building_trials`.

    Returns
    -------
    table
        One row a confidence that was said, falling: confidence, precision, recall (shares of weight), weight (of the
        candidates kept).
    """
    table = candidates.sort_values("said", ascending=False, kind="stable")
    weight = table["weight"].cumsum()
    precision = (table["weight"] * table["right"]).cumsum() / weight
    found = lacking.dropna().sort_values("said", kind="stable")
    # weight of what is found by candidates at least as sure as each
    behind = np.concatenate([found["weight"].to_numpy()[::-1].cumsum()[::-1], [0.0]])
    at = np.searchsorted(found["said"].to_numpy(), table["said"].to_numpy(), "left")
    recall = behind[at] / max(lacking["weight"].sum(), 1e-9)
    rows = {"confidence": table["said"], "precision": precision, "recall": recall, "weight": weight}
    return pd.DataFrame(rows).groupby("confidence", sort=False, as_index=False).last()
