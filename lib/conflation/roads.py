"""
Roads of a map against OpenStreetMap's: which it lacks, and which the image does not show.

Both are looked at every few metres. A place on an extracted road is known where an OSM road runs along it, within
reach and in its direction; the stretches in between are candidates. The other way round, an OSM road is seen where the
probability beside it is high. Everything lies where the image shows it: OSM is moved by the measured offset first.
"""

from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.conflation.ground import Ground
from lib.conflation.reasons import guess_reasons
from lib.conflation.stations import Stations, as_array, beside, smoothed, stations, stretches
from lib.grid import MASK_FOREGROUND
from lib.limits import check_fields, limited
from lib.masks.offset import MAX_OFFSET_M, Offset, estimate_offset
from lib.masks.rasterize import rasterize_buildings, rasterize_roads
from lib.networks.calibration import Curve
from lib.osm.lanes import METRIC, LaneProfile, highway_classes, is_drawn, road_widths_m
from lib.osm.tags import tag_text
from lib.trust.alignment import middle

OPEN = "open"  # of a candidate that nobody has judged yet
ACROSS_M = (-4.0, -2.0, 0.0, 2.0, 4.0)  # where beside an OSM line the road may be: a mapper's hand and a lane's width
SMOOTH_M = 20.0  # a road is seen or not over this length: a single car or crown hides less
MISSING_COLUMNS = ("candidate", "length_m", "confidence", "joins", "joins_highway", "status")
UNSEEN_COLUMNS = ("osm_id", "highway", "name", "length_m", "confidence", "reason")


@dataclass(frozen=True)
class RoadRules:
    """
    When two lines are one road; metres on the ground.

    Attributes
    ----------
    reach_m
        An extracted road may lie so far beyond the edge of the OSM road's surface: what the offset leaves over, and the
        error of a skeleton.
    max_angle_deg
        Between the two. A street that leaves another at less is seen as a street only once it is out of reach.
    step_m
        How often both are looked at.
    min_length_m
        Shorter stretches are no road: a gate, a corner, the mouth of a drive.
    path_reach_m
        A footway, path or cycleway of OSM's within so much explains an extracted road: what was seen is known already,
        and is no road. Less than a pavement is from the middle of its street.
    join_m
        How far a candidate may be from the middle of the OSM road that it would join.
    seen
        Probability from which an OSM road counts as seen.
    """

    reach_m: float = limited(5.0, minimum=0, maximum=50)
    max_angle_deg: float = limited(30.0, above=0, maximum=90)
    step_m: float = limited(2.0, above=0, maximum=20)
    min_length_m: float = limited(25.0, minimum=0, maximum=1000)
    path_reach_m: float = limited(4.0, minimum=0, maximum=50)
    join_m: float = limited(15.0, minimum=0, maximum=100)
    seen: float = limited(0.35, above=0, below=1)

    def __post_init__(self) -> None:
        check_fields(self)


RULES = RoadRules()


@dataclass(frozen=True)
class RoadComparison:
    """
    What came out of `compare_roads`; frames in the CRS of the grid.

    Attributes
    ----------
    missing
        LineStrings, the surest first: candidate (from 0), length_m, confidence (0..1), joins (id of the OSM road that
        it would join, "" for none), joins_highway, status ("open").
    unseen
        LineStrings, stretches of OSM roads: osm_id, highway, name, length_m, confidence (mean probability along it),
        reason ("tree cover", "shadow" or "").
    totals
        One row a highway class, and "all": osm_km, seen_km, unseen_km, unseen_pct, missing_km (by the class that
        candidates join; "" for none), missing_pct (of osm_km).
    offset
        By which OSM was moved, to the right and up; where its confidence is low, it was not.
    shift_m
        The same in metres to true east and north, as `lib.masks.offset.shift` takes it; (0, 0) where it was not moved.
    """

    missing: gpd.GeoDataFrame
    unseen: gpd.GeoDataFrame
    totals: pd.DataFrame
    offset: Offset
    shift_m: tuple[float, float]


def compare_roads(
    roads: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    ground: Ground,
    rules: RoadRules = RULES,
    curve: Curve | None = None,
    profile: LaneProfile = METRIC,
    offset: Offset | None = None,
) -> RoadComparison:
    """
    What OpenStreetMap lacks, and what of it is not seen.

    Parameters
    ----------
    roads
        Extracted network, LineStrings in any CRS.
    osm
        `roads` of `lib.osm.layers.OsmLayers` of the same ground.
    ground
        Probabilities, and the image where reasons are to be guessed.
    rules
        When two lines are one road.
    curve
        Turns the mean probability along a candidate into the share of such candidates' length that is right; see
        `lib.networks.calibration`. None: confidence is that mean.
    profile
        What of OSM is a road: tunnels and what is not built yet count as not there, other ways as `path_reach_m` says.
    offset
        Of OSM, where it is known; None: it is measured.

    Raises
    ------
    InputError
        If a frame has no CRS.
    """
    offset = measured_offset(osm, ground, "roads", profile) if offset is None else offset
    table = osm_table(osm, ground, profile, offset)
    drawn = table[table["is_road"]].reset_index(drop=True)
    missing = _missing(roads, table, drawn, ground, rules, curve)
    unseen, osm_m = _unseen(drawn, ground, rules)
    return RoadComparison(missing, unseen, _totals(missing, unseen, osm_m), offset, east_north_m(offset, ground))


def measured_offset(osm: gpd.GeoDataFrame, ground: Ground, task: str, profile: LaneProfile = METRIC) -> Offset:
    """
    Offset between OSM's vectors and the probabilities, in the middle of the area; metres to the right and up.

    Of no confidence where nothing is drawn, or pixels are larger than any offset.
    """
    window = middle(ground.grid)
    grid = ground.grid.window(*window)
    mask = rasterize_roads(osm, grid, profile) if task == "roads" else rasterize_buildings(osm, grid)
    if grid.gsd_m > MAX_OFFSET_M or not (mask == MASK_FOREGROUND).any():
        return Offset(0.0, 0.0, 0.0, 0.0, 0.0)
    probability = np.nan_to_num(ground.probability(window)).astype(np.float32)
    return estimate_offset(probability, mask, grid.gsd_m)


def moved(geometry: np.ndarray, offset: Offset) -> np.ndarray:
    """Geometries (n,), metres of the grid, by an offset that is to be believed; as they are by another."""
    dx_m, dy_m = offset.believed_m
    return shapely.transform(geometry, lambda xy: xy + (dx_m, -dy_m)) if dx_m or dy_m else geometry


def east_north_m(offset: Offset, ground: Ground) -> tuple[float, float]:
    """Metres to true east and north of an offset that is to be believed; (0, 0) of another."""
    return tuple((np.array(offset.believed_m) @ ground.grid.axes).tolist())


def osm_table(
    osm: gpd.GeoDataFrame, ground: Ground, profile: LaneProfile = METRIC, offset: Offset | None = None
) -> pd.DataFrame:
    """
    One row a single line or area of an OSM way that can be seen, moved by the offset.

    Returns
    -------
    table
        osm_id, highway, name, is_road (whether the profile draws it), half_m (of a road's width; 0 for others),
        geometry, in metres of the grid.
    """
    is_road = is_drawn(osm, profile)
    seen = is_drawn(osm, replace(profile, drawn=("all",)))
    geometry = ground.in_metres(osm) if len(osm) else as_array([])
    table = pd.DataFrame(
        {
            "osm_id": texts(osm, "osm_id"),
            "highway": highway_classes(osm),
            "name": texts(osm, "name"),
            "is_road": is_road,
            "half_m": road_widths_m(osm, profile).to_numpy(float) / 2,
            "geometry": geometry if offset is None else moved(geometry, offset),
        }
    )[seen]
    parts, row = shapely.get_parts(table["geometry"].to_numpy(object), return_index=True)
    kept = np.isin(shapely.get_type_id(parts), (shapely.GeometryType.LINESTRING, shapely.GeometryType.POLYGON))
    return table.iloc[row[kept]].assign(geometry=parts[kept]).reset_index(drop=True)


def texts(frame: gpd.GeoDataFrame, tag: str) -> np.ndarray:
    """A tag of each row as text (n,), "" where it is missing."""
    return np.array([tag_text(value) for value in frame.get(tag, [""] * len(frame))], object)


def known_to(lines: np.ndarray, ways: pd.DataFrame, rules: RoadRules = RULES) -> tuple[Stations, np.ndarray]:
    """Stations of LineStrings (n,), metres, and whether one of the ways of an `osm_table` runs along each."""
    points = stations(lines, rules.step_m)
    reach_m = np.where(ways["is_road"], ways["half_m"] + rules.reach_m, rules.path_reach_m)
    return points, np.isfinite(beside(points, ways["geometry"].to_numpy(object), reach_m, rules.max_angle_deg))


def _missing(
    roads: gpd.GeoDataFrame,
    ways: pd.DataFrame,
    drawn: pd.DataFrame,
    ground: Ground,
    rules: RoadRules,
    curve: Curve | None,
) -> gpd.GeoDataFrame:
    """Candidates: what of the roads runs along none of OSM's ways; `drawn` are those ways that are roads."""
    lines = shapely.get_parts(ground.in_metres(roads)) if len(roads) else as_array([])
    points, known = known_to(lines, ways, rules)
    parts, _ = stretches(lines, points, ~known)
    # the network is cut at its junctions: what goes straight on through one that OSM lacks is one candidate
    candidates = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(parts))) if len(parts) else parts
    candidates = candidates[shapely.length(candidates) >= rules.min_length_m]
    confidence = mean_probabilities(candidates, ground, rules.step_m)
    candidates, confidence = candidates[np.isfinite(confidence)], confidence[np.isfinite(confidence)]
    confidence = confidence if curve is None else curve(confidence)
    order = np.argsort(-confidence, kind="stable")
    joins, joins_highway = _joined(candidates[order], drawn, rules.join_m)
    values = (np.arange(len(order)), shapely.length(candidates[order]), confidence[order], joins, joins_highway, OPEN)
    table = dict(zip(MISSING_COLUMNS, values, strict=True))
    return gpd.GeoDataFrame(table, geometry=ground.to_world(candidates[order]), crs=ground.grid.crs)


def mean_probabilities(lines: np.ndarray, ground: Ground, step_m: float = RULES.step_m) -> np.ndarray:
    """Mean probability along each LineString (n,), metres of the grid; NaN where none of it was seen."""
    points = stations(lines, step_m)
    return points.means(ground.probabilities_at(points.xy), len(lines))


def _joined(candidates: np.ndarray, roads: pd.DataFrame, join_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Id and class of the OSM road nearest to each candidate, at its end or across it; "" beyond join_m."""
    ids, classes = np.full(len(candidates), "", object), np.full(len(candidates), "", object)
    if len(candidates) and len(roads):
        tree = shapely.STRtree(roads["geometry"].to_numpy(object))
        candidate, road = tree.query_nearest(candidates, max_distance=join_m, all_matches=False)
        ids[candidate] = roads["osm_id"].to_numpy()[road]
        classes[candidate] = roads["highway"].to_numpy()[road]
    return ids, classes


def _unseen(osm: pd.DataFrame, ground: Ground, rules: RoadRules) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Stretches of OSM lines that are not seen; and highway, seen_m, osm_m of each line within the area."""
    lines_of = osm[shapely.get_type_id(osm["geometry"].to_numpy(object)) == shapely.GeometryType.LINESTRING]
    lines = lines_of["geometry"].to_numpy(object)
    points = stations(lines, rules.step_m)
    across = np.stack([-points.heading[:, 1], points.heading[:, 0]], axis=1)
    probability = np.full(len(points.xy), np.nan)
    for by_m in ACROSS_M:
        probability = np.fmax(probability, ground.probabilities_at(points.xy + by_m * across))
    hidden = smoothed(points, probability, SMOOTH_M) < rules.seen  # False where the area ends: NaN
    parts, line = stretches(lines, points, hidden & np.isfinite(probability))
    long = shapely.length(parts) >= rules.min_length_m
    parts, line = parts[long], line[long]
    inside, count = np.isfinite(probability), len(lines)
    lengths = pd.DataFrame({"highway": lines_of["highway"].to_numpy(), "osm_m": points.sums(inside, count)})
    own = lines_of.iloc[line]
    values = (own["osm_id"], own["highway"], own["name"])
    table = dict(zip(UNSEEN_COLUMNS, (column.to_numpy() for column in values), strict=False))
    table |= {"length_m": shapely.length(parts), "confidence": mean_probabilities(parts, ground, rules.step_m)}
    table["reason"] = guess_reasons(parts, own["half_m"].to_numpy(), ground)
    return gpd.GeoDataFrame(table, geometry=ground.to_world(parts), crs=ground.grid.crs), lengths


def _totals(missing: gpd.GeoDataFrame, unseen: gpd.GeoDataFrame, osm: pd.DataFrame) -> pd.DataFrame:
    """Kilometres and percent by highway class, and of all."""
    km = pd.DataFrame(
        {
            "osm_km": osm.groupby("highway")["osm_m"].sum() / 1000,
            "unseen_km": unseen.groupby("highway")["length_m"].sum() / 1000,
            "missing_km": missing.groupby("joins_highway")["length_m"].sum() / 1000,
        }
    ).fillna(0.0)
    km = km[(km > 0).any(axis=1)].sort_values("osm_km", ascending=False, kind="stable")
    km.loc["all"] = km.sum()
    km.insert(1, "seen_km", km["osm_km"] - km["unseen_km"])
    for name in ("unseen", "missing"):
        km[f"{name}_pct"] = 100 * km[f"{name}_km"] / km["osm_km"].where(km["osm_km"] > 0)
    return km.rename_axis("highway").reset_index()
