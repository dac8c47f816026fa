"""
Buildings of a map against OpenStreetMap's: missing, vanished, and those whose outline is another.

Footprints that overlap are one group: a row of houses that one source draws as one and the other as six is no change.
"""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lib.conflation.ground import Ground
from lib.conflation.reasons import guess_reasons, points_on
from lib.conflation.roads import OPEN, east_north_m, measured_offset, moved, texts
from lib.limits import check_fields, limited
from lib.masks.offset import Offset
from lib.networks.calibration import Curve
from lib.osm.lanes import is_seen


@dataclass(frozen=True)
class BuildingRules:
    """
    When two footprints are one building.

    Attributes
    ----------
    least_share
        A footprint of which less than this share lies under the other source's is none of its buildings: walls lean in
        the image, and a neighbour's eaves touch.
    same_iou
        From this IoU on an outline is the same: what SpaceNet counts as found.
    min_area_m2
        Smaller ones are no candidates: sheds, and slivers.
    seen
        Mean probability from which an OSM building counts as seen, although no footprint was drawn there.
    """

    least_share: float = limited(0.2, minimum=0, maximum=1)
    same_iou: float = limited(0.5, above=0, maximum=1)
    min_area_m2: float = limited(12.0, minimum=0)
    seen: float = limited(0.35, above=0, below=1)

    def __post_init__(self) -> None:
        check_fields(self)


RULES = BuildingRules()


@dataclass(frozen=True)
class BuildingComparison:
    """
    What came out of `compare_buildings`; frames of polygons in the CRS of the grid.

    Attributes
    ----------
    missing
        Extracted footprints, the surest first: candidate (from 0), area_m2, confidence, status ("open").
    vanished
        OSM's footprints, the surest first: osm_id, area_m2, confidence (that nothing stands there: 1 - mean
        probability), reason why the image might hide it ("tree cover", "shadow" or "").
    changed
        Other extracted footprints, numbered on from `missing`: candidate, osm_id, iou, area_m2, confidence, status.
    offset, shift_m
        As in `lib.conflation.roads.RoadComparison`.
    """

    missing: gpd.GeoDataFrame
    vanished: gpd.GeoDataFrame
    changed: gpd.GeoDataFrame
    offset: Offset
    shift_m: tuple[float, float]


def compare_buildings(
    buildings: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    ground: Ground,
    rules: BuildingRules = RULES,
    curve: Curve | None = None,
    offset: Offset | None = None,
) -> BuildingComparison:
    """
    What of a map's buildings OpenStreetMap lacks, what is gone, and what has another outline.

    Parameters
    ----------
    buildings
        Extracted footprints, Polygons in any CRS.
    osm
        `buildings` of `lib.osm.layers.OsmLayers` of the same ground; those underground count as not there.
    ground
        Probabilities, and the image where reasons are to be guessed.
    rules
        When two footprints are one building.
    curve
        Turns the mean probability within a candidate into the share of such candidates that are right; see
        `lib.networks.calibration`. None: confidence is that mean.
    offset
        Of OSM, where it is known; None: it is measured.

    Raises
    ------
    InputError
        If a frame has no CRS.
    """
    osm = osm[is_seen(osm)]
    offset = measured_offset(osm, ground, "buildings") if offset is None else offset
    own = shapely.make_valid(ground.in_metres(buildings))
    theirs = shapely.make_valid(moved(ground.in_metres(osm), offset))
    ids = texts(osm, "osm_id")
    inside = np.flatnonzero(shapely.intersects(theirs, ground.outline))  # what lies elsewhere is nobody's loss
    theirs, ids = theirs[inside], ids[inside]
    pairs = overlaps(own, theirs)
    covered = covered_share(own, pairs, 0)
    probability = mean_within(own, ground)
    large = (shapely.area(own) >= rules.min_area_m2) & np.isfinite(probability)
    lacking = np.flatnonzero(large & (covered < rules.least_share))
    lacking = lacking[np.argsort(-probability[lacking], kind="stable")]

    of_osm = mean_within(theirs, ground)
    gone = np.flatnonzero((covered_share(theirs, pairs, 1) < rules.least_share) & (of_osm < rules.seen))
    gone = gone[np.argsort(of_osm[gone], kind="stable")]

    differing, partner, iou = _changed(own, theirs, pairs, rules)
    kept = large[differing] & (covered[differing] >= rules.least_share)  # or it is missing already
    differing, partner, iou = differing[kept], partner[kept], iou[kept]

    def confidence(chosen: np.ndarray) -> np.ndarray:
        return probability[chosen] if curve is None else curve(probability[chosen])

    missing = {"candidate": np.arange(len(lacking)), "area_m2": shapely.area(own[lacking])}
    missing |= {"confidence": confidence(lacking), "status": OPEN}
    reason = guess_reasons(theirs[gone], np.zeros(len(gone)), ground)
    vanished = {"osm_id": ids[gone], "area_m2": shapely.area(theirs[gone])}
    vanished |= {"confidence": 1 - of_osm[gone], "reason": reason}
    changed = {"candidate": len(lacking) + np.arange(len(differing)), "osm_id": ids[partner], "iou": iou}
    changed |= {"area_m2": shapely.area(own[differing]), "confidence": confidence(differing), "status": OPEN}
    frames = ((missing, own[lacking]), (vanished, theirs[gone]), (changed, own[differing]))
    return BuildingComparison(
        *(gpd.GeoDataFrame(table, geometry=ground.to_world(shapes), crs=ground.grid.crs) for table, shapes in frames),
        offset,
        east_north_m(offset, ground),
    )


Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def overlaps(own: np.ndarray, theirs: np.ndarray) -> Pairs:
    """Pairs of polygons that share ground: number of each in its array, and the ground in common, all (pairs,)."""
    first, second = shapely.STRtree(theirs).query(own, predicate="intersects") if len(theirs) else np.empty((2, 0), int)
    common = shapely.intersection(own[first], theirs[second])
    shared = shapely.area(common) > 0
    return first[shared], second[shared], common[shared]


def united_area(shapes: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Area of all shapes (n,) of each owner (count,), numbers (n,) of it: ground that is mapped twice counts once."""
    of_owner, order = np.full(count, shapely.GeometryCollection()), np.argsort(owner, kind="stable")
    shapely.geometrycollections(shapes[order], indices=owner[order], out=of_owner)
    return shapely.area(shapely.union_all(of_owner[:, None], axis=1))


def covered_share(shapes: np.ndarray, pairs: Pairs, side: int) -> np.ndarray:
    """Share of each shape (n,) under the other source's; `side` of the pairs it has."""
    return united_area(pairs[2], pairs[side], len(shapes)) / np.maximum(shapely.area(shapes), 1e-9)


def mean_within(shapes: np.ndarray, ground: Ground) -> np.ndarray:
    """Mean probability within each polygon (n,), metres of the grid; NaN where none of it was seen."""
    spots = [points_on(shape, 0.0) for shape in shapes]
    values = ground.probabilities_at(np.concatenate([np.empty((0, 2)), *spots]))
    shape = np.repeat(np.arange(len(shapes)), [len(part) for part in spots])
    seen = np.isfinite(values)
    count = np.bincount(shape[seen], minlength=len(shapes))
    total = np.bincount(shape[seen], values[seen], len(shapes))
    return np.divide(total, count, out=np.full(len(shapes), np.nan), where=count > 0)


def _changed(
    own: np.ndarray, theirs: np.ndarray, pairs: Pairs, rules: BuildingRules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of footprints whose group differs, that of the OSM building each overlaps most, and the group's IoU."""
    first, second, common = pairs
    area = shapely.area(common)
    # a touch joins no group: only what covers a part of either
    covers = area / np.minimum(shapely.area(own)[first], shapely.area(theirs)[second]) >= rules.least_share
    first, second, area, common = first[covers], second[covers], area[covers], common[covers]
    size = len(own) + len(theirs)
    graph = coo_array((np.ones(len(first)), (first, second + len(own))), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    everything = united_area(np.concatenate([own, theirs]), group, size)
    iou = united_area(common, group[first], size) / np.maximum(everything, 1e-9)
    # of each own footprint the partner that it overlaps most
    order = np.lexsort((-area, first))
    matched, at = np.unique(first[order], return_index=True)
    partner = second[order][at]
    differs = iou[group[matched]] < rules.same_iou
    return matched[differs], partner[differs], iou[group[matched]][differs]
