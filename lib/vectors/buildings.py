"""Building polygons from masks, and SpaceNet's F1 of polygons. Geometries are in pixels, x right, y down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError, ParameterError
from lib.vectors.roadgraph import with_threshold

if TYPE_CHECKING:
    import shapely

IOU_THRESHOLD = 0.5  # from which a proposal is the building: SpaceNet 1, 2 and 4
LEAST_DIAGONAL_M = 3.0  # a shorter wall at 45 degrees is a corner that the mask rounds off


@dataclass(frozen=True)
class BuildingOptions:
    """
    What counts as a building, and how closely polygons follow the mask; metres on the ground.

    Attributes
    ----------
    threshold
        Probability from which a pixel is building; for probabilities only.
    min_area_m2
        Smaller polygons go: less than a garage.
    min_hole_m2
        Smaller holes are filled: less than a light well.
    tolerance_m
        Outlines stay within this of the pixels; a wall is not mapped more finely.
    neck_m
        Parts of a patch that hang together by less than this are separate buildings: a fence or a blurred gap; 0
        keeps patches whole.
    right_angles
        Turn outlines into polygons of right angles along each building's own direction, where they agree; long walls at
        45 degrees to it stay, and so do round buildings.
    """

    threshold: float = 0.5
    min_area_m2: float = 12.0
    min_hole_m2: float = 6.0
    tolerance_m: float = 0.5
    neck_m: float = 0.0
    right_angles: bool = False

    def __post_init__(self):
        for name in ("threshold", "min_area_m2", "min_hole_m2", "tolerance_m", "neck_m"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name} must be a number of at least 0, got {getattr(self, name)!r}.")


DEFAULTS = BuildingOptions()


def mask_to_polygons(mask: np.ndarray, gsd_m: float, options: BuildingOptions = DEFAULTS) -> list[shapely.Polygon]:
    """
    Polygons of a building mask, along the outer edges of its pixels, with holes.

    Parameters
    ----------
    mask
        (H, W): a mask of any kind that `lib.mask_values` reads, such as bool, 0 and 1, or 0 and 255, what is not
        known (127) counting as background; or float probabilities.
    gsd_m
        Ground sampling distance, metres a pixel.
    options
        What counts as a building.

    Returns
    -------
    polygons
        Valid, in pixels, in the order of their first pixel's row.

    Raises
    ------
    InputError
        If the mask is not a two-dimensional array of one of these kinds.
    ParameterError
        If gsd_m is not a positive number.
    """
    import shapely

    from lib.vectors import outlines

    built = np.greater_equal(*with_threshold(mask, gsd_m, options.threshold)).view(np.uint8)
    parts = _separated(built, options.neck_m / gsd_m) if options.neck_m else [(built, 0, 0)]
    traced = np.concatenate([outlines.outlines(*part) for part in parts] or [np.empty(0, object)])
    polygons = tidied(traced, gsd_m, options)
    large = polygons[shapely.area(polygons) * gsd_m**2 >= options.min_area_m2]
    left, top, _, _ = shapely.bounds(large).reshape(-1, 4).T
    return large[np.lexsort((left, top))].tolist()


def _separated(built: np.ndarray, neck_px: float) -> list[tuple[np.ndarray, int, int]]:
    """
    Windows of the mask that hold one building each: (mask, x, y of its first pixel).

    What remains after taking off half a neck all around are the cores; each pixel goes to the nearest core. A patch
    without a core is a building as it is.
    """
    from scipy import ndimage

    if not built.size:
        return []
    inside = cv2.distanceTransform(built, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    cores = (inside > 0.5 * neck_px + 0.5).astype(np.uint8)
    patches, patch = cv2.connectedComponents(built)
    count, core = cv2.connectedComponents(cores)
    # a number for each patch's own cores, and one for each patch without any
    label = np.zeros_like(patch)
    if count > 1:
        _, nearest = cv2.distanceTransformWithLabels(
            1 - cores, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
        )
        label = np.where(built > 0, nearest, 0)
    bare = np.ones(patches, bool)
    bare[patch[core > 0]] = False
    label = np.where(bare[patch] & (patch > 0), label.max(initial=0) + patch, label)
    boxes = enumerate(ndimage.find_objects(label), start=1)
    return [((label[box] == n).astype(np.uint8), box[1].start, box[0].start) for n, box in boxes if box]


def tidied(found: np.ndarray, gsd_m: float, options: BuildingOptions) -> np.ndarray:
    """Outlines (array of polygons) without small holes, simplified, and with right angles where asked for."""
    from lib.vectors import outlines

    whole = outlines.without_small_holes(found, options.min_hole_m2 / gsd_m**2)
    simple = outlines.simplified(whole, options.tolerance_m / gsd_m)
    return outlines.right_angled(simple, LEAST_DIAGONAL_M / gsd_m) if options.right_angles else simple


@dataclass(frozen=True)
class BuildingScore:
    """
    Buildings found, invented and missed.

    Attributes
    ----------
    tp, fp, fn
        Counts.
    matches
        For each proposal the number of its true building, or -1.
    """

    tp: int
    fp: int
    fn: int
    matches: np.ndarray

    @property
    def precision(self) -> float:
        """Share of proposals that are buildings; 1 without any building or proposal, NaN without proposals."""
        return _f1(self.tp, self.fp, self.fn)["precision"]

    @property
    def recall(self) -> float:
        """Share of buildings that were found; 1 without any building or proposal, NaN without buildings."""
        return _f1(self.tp, self.fp, self.fn)["recall"]

    @property
    def f1(self) -> float:
        """Harmonic mean of both, 2 tp / (2 tp + fp + fn); 1 without any building or proposal."""
        return _f1(self.tp, self.fp, self.fn)["f1"]


def _f1(tp: int, fp: int, fn: int) -> dict[str, float]:
    if tp + fp + fn == 0:
        return {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    return {
        "precision": tp / (tp + fp) if tp + fp else np.nan,
        "recall": tp / (tp + fn) if tp + fn else np.nan,
        "f1": 2 * tp / (2 * tp + fp + fn),
    }


def building_f1(
    truth: Sequence[shapely.Polygon],
    proposed: Sequence[shapely.Polygon],
    iou_threshold: float = IOU_THRESHOLD,
    confidence: Sequence[float] | None = None,
) -> BuildingScore:
    """
    SpaceNet's match of proposed with true footprints in one image.

    One proposal after the other, the most confident first (in the given order where no confidence is given), takes
    the true building that it overlaps best among those still free, if their IoU is at least the threshold. Each
    building is found once; every other proposal is false. POLYGON EMPTY and None count as nothing. (Van Etten et al.
    2018, arXiv:1807.01232; after algorithm 2 of ILSVRC, arXiv:1409.0575.)

    Raises
    ------
    InputError
        If there is not one confidence a proposal.
    ParameterError
        If the threshold is not in (0, 1].
    """
    import shapely

    if not 0 < iou_threshold <= 1:
        raise ParameterError(f"iou_threshold must lie in (0, 1], got {iou_threshold!r}.")
    if confidence is not None and len(confidence) != len(proposed):
        raise InputError(f"Expected a confidence for each of {len(proposed)} proposals, got {len(confidence)}.")
    true, said = (shapely.make_valid(np.array(polygons, object)) for polygons in (truth, proposed))
    matches = np.full(len(said), -1)
    if len(true) and len(said):
        # pairs that meet, (pairs,) each, by rising proposal: those of proposal k are first[k]:first[k + 1]
        proposal, building = shapely.STRtree(true).query(said, predicate="intersects")
        first = np.searchsorted(proposal, np.arange(len(said) + 1))
        shared = shapely.area(shapely.intersection(said[proposal], true[building]))
        whole = shapely.area(said[proposal]) + shapely.area(true[building]) - shared
        iou = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
        is_free = np.ones(len(true), bool)
        order = np.arange(len(said)) if confidence is None else np.argsort(-np.asarray(confidence), kind="stable")
        for k in order:
            candidates = building[first[k] : first[k + 1]]
            overlaps = np.where(is_free[candidates], iou[first[k] : first[k + 1]], 0.0)
            if overlaps.max(initial=0) >= iou_threshold:
                matches[k] = candidates[overlaps.argmax()]
                is_free[matches[k]] = False
    tp = int((matches >= 0).sum())
    buildings, proposals = (int(np.sum(~(shapely.is_empty(side) | shapely.is_missing(side)))) for side in (true, said))
    return BuildingScore(tp, proposals - tp, buildings - tp, matches)


def score_buildings(
    truth: Mapping[str, Sequence[shapely.Polygon]],
    proposed: Mapping[str, Sequence[shapely.Polygon]],
    city_of: Callable[[str], str] = lambda image: "",
    iou_threshold: float = IOU_THRESHOLD,
    confidence: Mapping[str, Sequence[float]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """
    SpaceNet's F1 an image, a city, and in total.

    Parameters
    ----------
    truth, proposed
        Polygons by image. An image without proposals misses all its buildings; proposals for an image that the
        truth does not know are all false: neither is left out.
    city_of
        City of an image's name.
    iou_threshold, confidence
        As in `building_f1`; confidence by image.

    Returns
    -------
    images, cities
        tp, fp, fn, precision, recall, f1: a row an image (with its city), a row a city (counts added up).
    total
        f1, precision, recall of all counts added up, and f1_mean_over_cities, by which SpaceNet 2 ranked.
    """
    rows = []
    for image in dict.fromkeys([*truth, *proposed]):
        sure = None if confidence is None else confidence.get(image, [])
        score = building_f1(truth.get(image, []), proposed.get(image, []), iou_threshold, sure)
        rows.append({"image": image, "city": city_of(image), "tp": score.tp, "fp": score.fp, "fn": score.fn})
    if not rows:
        raise InputError("No image to score: truth and proposals are both empty.")
    images = pd.DataFrame(rows)
    cities = images.groupby("city", as_index=False)[["tp", "fp", "fn"]].sum()
    tables = [
        pd.concat([table, pd.DataFrame([_f1(*counts) for counts in table[["tp", "fp", "fn"]].to_numpy()])], axis=1)
        for table in (images, cities)
    ]
    total = _f1(*images[["tp", "fp", "fn"]].sum())
    return *tables, {**total, "f1_mean_over_cities": float(tables[1]["f1"].mean())}
