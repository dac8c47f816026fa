"""From probabilities to a scoreboard: masks, road graphs, scores a chip, intervals over chips."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import apls
from lib.chips.manifest import grid_of, of_class, read_bands, read_image, read_mask
from lib.errors import InputError, ParameterError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid
from lib.mapping.predict import predict_chips, predict_image, read_probability
from lib.networks.calibration import (
    best_iou,
    count_levels,
    own_thresholds_hold,
    pixels_kind,
    with_thresholds,
)
from lib.networks.checkpoint import TrainedModel
from lib.progress import counted
from lib.scores.metrics import PixelScores, bootstrap_interval, count_pixels, paired_difference
from lib.scores.topo import topo
from lib.vectors.buildings import building_f1, mask_to_polygons
from lib.vectors.roadgraph import RoadGraph, mask_to_graph

MAP_SIDE_PX = 4096  # of the ground that a map shows: a browser still moves a picture of that size
MOSTLY = 0.5  # share of a chip that is foreground; streets cover a tenth to a quarter of a town
PIXEL_METRICS = {
    "IoU, pooled": "iou_pooled",
    "IoU, mean a chip": "iou_mean_per_image",
    "IoU, mean of classes": "iou_mean_over_classes",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "relaxed precision": "relaxed_precision",
    "relaxed recall": "relaxed_recall",
    "relaxed F1": "relaxed_f1",
}


@dataclass(frozen=True)
class Case:
    """
    One scored chip: its image, truth and prediction, and what to write above it.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    truth, prediction
        Masks, uint8 (H, W) of 0, 127 (ignored) and 255.
    name
        Of the chip.
    score
        The number by which chips are ranked; more is better.
    gsd_m
        Ground sampling distance, metres a pixel, where known.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    name: str
    score: float
    gsd_m: float | None = None


def to_mask(probability: np.ndarray, threshold: float, truth: np.ndarray | None = None) -> np.ndarray:
    """Mask of a probability map, uint8: foreground from the threshold on; what the truth ignores is ignored."""
    mask = np.where(probability >= threshold, MASK_FOREGROUND, MASK_BACKGROUND).astype(np.uint8)
    if truth is not None:
        mask[truth == MASK_IGNORE] = MASK_IGNORE
    return mask


def predicted_case(model: TrainedModel, chip: Any) -> Case:
    """One chip of a manifest with the model's mask, ranked by its IoU, ready for `lib.show.figures.best_and_worst`."""
    image, truth = read_bands(chip.image), read_mask(chip.mask)
    mask = to_mask(predict_image(model, image, tta="none"), model.info.threshold, truth)
    return _case(chip, np.ascontiguousarray(image[..., :3]), truth, mask)


def read_case(chip: Any, probability: Path, threshold: float) -> Case:
    """One chip of a manifest with the mask of its probability map, ranked by its IoU."""
    truth = read_mask(chip.mask)
    return _case(chip, read_image(chip.image), truth, to_mask(read_probability(probability), threshold, truth))


def _case(chip: Any, image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Case:
    """A chip's picture, truth and prediction with its foreground IoU; two empty masks count as 1."""
    counts = count_pixels(prediction, truth)
    union = counts["tp"] + counts["fp"] + counts["fn"]
    return Case(image, truth, prediction, chip.chip, counts["tp"] / union if union else 1.0, chip.gsd_m)


def road_graph(mask: np.ndarray, gsd_m: float) -> RoadGraph:
    """Road graph of a mask, by the same rules for truth and prediction; ignored pixels hold no road."""
    return mask_to_graph(mask == MASK_FOREGROUND, gsd_m)


def best_of_views(
    model: TrainedModel, val: pd.DataFrame, folder: Path, tta: str, progress: Callable[[str], None] | None = None
) -> TrainedModel:
    """
    The model with the thresholds that are best for its views on validation chips; those of one view, or stated, it has.

    Parameters
    ----------
    model, val, folder, tta, progress
        As of `lib.mapping.predict.predict_chips`.
    """
    if own_thresholds_hold(model, tta):
        return model
    probabilities, counts = predict_chips(model, val, folder, tta=tta, progress=progress), {}
    for kind in model.info.thresholds:
        if len(own := of_class(val, kind)):
            levels = [count_levels(*pair) for pair in probability_pairs(own, probabilities)]
            counts[pixels_kind(model.info.task, kind)] = sum(levels)
    return with_thresholds(model, {kind: best_iou(of_kind)[1] for kind, of_kind in counts.items()})


def at_threshold(models: Mapping[str, TrainedModel], threshold: float) -> tuple[dict[str, TrainedModel], pd.Series]:
    """
    Models with the threshold that each is scored at, and where that is from.

    Parameters
    ----------
    models
        Run -> its network; the last is the one that a chosen threshold is for: of another network it says nothing.
    threshold
        0 leaves each its own.

    Returns
    -------
    models
        The same networks.
    origins
        Run -> words.

    Raises
    ------
    ParameterError
        If a threshold is chosen for a network of several classes, which has one for each.
    """
    origins = pd.Series("the best on the validation chips", index=list(models), name="threshold from")
    models, last = dict(models), list(models)[-1]
    if threshold:
        own, *others = models[last].info.thresholds.values()
        if others:
            raise ParameterError(
                f"Expected threshold 0 for {models[last].info.task}, whose classes have one each; got {threshold}. "
                "Evaluate each of them by itself: -p task roads, -p task buildings."
            )
        models[last] = replace(models[last], info=replace(models[last].info, threshold=threshold))
        origins[last] = f"the parameter threshold: chosen by hand, the best on the validation chips is {own:.3f}"
    return models, origins


def mostly_foreground(chips: pd.DataFrame, probabilities: pd.Series, threshold: float) -> list[str]:
    """Names of the chips of which more than MOSTLY is predicted as foreground: roads, a graph of which takes long."""
    return [
        chip.chip
        for chip in chips.itertuples()
        if np.mean(read_probability(probabilities[chip.Index]) >= threshold) > MOSTLY
    ]


def score_chips(
    chips: pd.DataFrame,
    probabilities: pd.Series,
    threshold: float,
    task: str,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """
    Scores of each chip.

    Parameters
    ----------
    chips
        Rows of a manifest.
    probabilities
        Path of each chip's probability map, same index.
    threshold
        Probability from which a pixel is foreground.
    task
        "roads" adds APLS (strict) and TOPO between the graphs of both masks, at the chip's GSD; "buildings" adds the
        counts of matched polygons at an IoU of 0.5.
    progress
        Called with a line of text every few seconds.

    Returns
    -------
    table
        One row a chip: pixel counts and scores (`lib.scores.metrics.PixelScores`); roads: `apls`, `truth_to_proposal`,
        `proposal_to_truth`, `topo_precision`, `topo_recall`, `topo_f1`; buildings: `building_tp`,
        `building_fp`, `building_fn`.
    """
    score_shapes = _score_roads if task == "roads" else _score_buildings
    pixels, shapes = PixelScores(), []
    for chip in counted(list(chips.itertuples()), "scored", "chips", progress):
        truth = read_mask(chip.mask)
        prediction = to_mask(read_probability(probabilities[chip.Index]), threshold, truth)
        pixels.update(prediction, truth, chip=chip.chip)
        shapes.append(score_shapes(truth, prediction, chip.gsd_m))
    return pd.concat([pixels.table(), pd.DataFrame(shapes)], axis=1)


def score_runs(
    chips: Mapping[str, pd.DataFrame],
    probabilities: Mapping[str, pd.Series],
    thresholds: Mapping[str, Mapping[str, float]],
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, pd.DataFrame]]:
    """
    Class -> run -> table of `score_chips`, of each class' rows of a manifest.

    Parameters
    ----------
    chips
        Rows by class.
    probabilities
        Paths by run, of the rows of all classes.
    thresholds
        By run and class.
    progress
        Called with a line of text every few seconds.
    """
    return {
        kind: {
            run: score_chips(own, probabilities[run], thresholds[run][kind], kind, progress) for run in probabilities
        }
        for kind, own in chips.items()
    }


def _score_roads(truth: np.ndarray, prediction: np.ndarray, gsd_m: float) -> dict[str, float]:
    true, found = road_graph(truth, gsd_m), road_graph(prediction, gsd_m)
    routes, places = apls.score(true, found, mode="strict", gsd_m=gsd_m), topo(true, found, gsd_m)
    return {
        "apls": routes.apls,
        "truth_to_proposal": routes.truth_to_proposal,
        "proposal_to_truth": routes.proposal_to_truth,
        "topo_precision": places.precision,
        "topo_recall": places.recall,
        "topo_f1": places.f1,
    }


def _score_buildings(truth: np.ndarray, prediction: np.ndarray, gsd_m: float) -> dict[str, float]:
    found = building_f1(mask_to_polygons(truth, gsd_m), mask_to_polygons(prediction, gsd_m))
    return {"building_tp": found.tp, "building_fp": found.fp, "building_fn": found.fn}


def building_f1_pooled(table: pd.DataFrame) -> float:
    """F1 of matched buildings over all chips: 2 TP / (2 TP + FP + FN); 1 where there is none and none was found."""
    tp, fp, fn = (float(table[f"building_{name}"].sum()) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def probability_pairs(chips: pd.DataFrame, probabilities: pd.Series) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probability map and truth of each chip, one at a time, as `lib.scores.sweep.threshold_sweep` takes them."""
    for chip in chips.itertuples():
        yield read_probability(probabilities[chip.Index]), read_mask(chip.mask)


def statistics(task: str) -> dict[str, Any]:
    """
    Shown name -> statistic of `lib.scores.metrics.bootstrap_interval`, for a task.

    The last is the task's own: the headline beside the pooled IoU.
    """
    own = {"TOPO F1": "topo_f1", "APLS": "apls"} if task == "roads" else {"F1 of buildings": building_f1_pooled}
    return PIXEL_METRICS | own


def scoreboard(tables: Mapping[str, pd.DataFrame], task: str, seed: int = 0) -> pd.DataFrame:
    """
    Scores of several runs with their 95 % intervals over chips.

    Parameters
    ----------
    tables
        Run -> table of `score_chips`; the same chips in each.

    Returns
    -------
    board
        One row a run and metric: run, metric, value, low, high.
    """
    rows = []
    for run, table in tables.items():
        for metric, statistic in statistics(task).items():
            interval = bootstrap_interval(table, statistic, seed=seed)
            rows.append({"run": run, "metric": metric, **asdict(interval)})
    return pd.DataFrame(rows)


def differences(tables: Mapping[str, pd.DataFrame], best: str, task: str, seed: int = 0) -> pd.DataFrame:
    """How much higher `best` scores than each other run, on the same chips, with 95 % intervals; no row where alone."""
    rows = []
    for run in (r for r in tables if r != best):
        for metric, statistic in statistics(task).items():
            gain = paired_difference(tables[run], tables[best], statistic, seed=seed)
            shown = "yes" if gain.low > 0 or gain.high < 0 else "no: the interval holds 0"
            rows.append({"difference": f"{best} minus {run}", "metric": metric, **asdict(gain), "shown": shown})
    return pd.DataFrame(rows, columns=["difference", "metric", "value", "low", "high", "shown"])


def by_class(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """
    One table of those of each class, from `scoreboard` or `differences`: as it is of a single class.

    Of several, runs and differences are called by their class, too: "roads: two_stage".
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    names = ("run", "difference")
    named = [
        table.assign(**{name: f"{kind}: " + table[name] for name in names if name in table})
        for kind, table in tables.items()
    ]
    return pd.concat(named, ignore_index=True)


def densest(chips: pd.DataFrame, side_px: int = MAP_SIDE_PX) -> pd.DataFrame:
    """
    The chips of the square, `side_px` wide, that holds the most of them, all of one CRS and GSD.

    That is all of them where they fit. Without georeference chips have no neighbours: it is the first.
    """
    grids, frames = _grids(chips)
    frame = frames.value_counts().index[0]
    chips, grids = chips[frames == frame], grids[frames == frame]
    if not frame[0]:
        return chips.iloc[:1]
    # upper left corner of each chip in pixels from the CRS's origin: columns x, y
    corners = grids.iloc[0].world_to_pixel(np.array([(grid.transform[2], grid.transform[5]) for grid in grids]))
    room_px = side_px - chips[["width", "height"]].to_numpy().max()  # for corners: the last chip hangs over
    if np.ptp(corners, axis=0).max() <= room_px:
        return chips
    near = [np.abs(corners - corner).max(axis=1) <= room_px / 2 for corner in corners]  # chips around each one
    return chips[max(near, key=np.sum)]


def _grids(chips: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Grid of each chip, and its frame: (CRS or "", GSD in metres). Only chips of one frame lie side by side."""
    grids = pd.Series([grid_of(chip) for chip in chips.itertuples()], index=chips.index)
    return grids, pd.Series([(g.crs or "", gsd_m) for g, gsd_m in zip(grids, chips["gsd_m"], strict=True)], chips.index)


def mosaic(chips: pd.DataFrame, arrays: list[np.ndarray], fill: int) -> tuple[np.ndarray, Grid]:
    """
    Chips laid side by side where they lie, on one grid.

    Parameters
    ----------
    chips
        Rows of a manifest: one CRS, one GSD; of one scene, or of scenes whose pixels have one direction.
    arrays
        One a chip, (H, W) or (H, W, 3), as large as the chip.
    fill
        Value where no chip lies.

    Raises
    ------
    InputError
        If the chips have several CRSs or GSDs, or there is none; a chip without georeference stands alone.
    """
    grids, frames = _grids(chips)
    if len(set(frames)) != 1:
        raise InputError(f"a mosaic takes chips of one CRS and GSD, got {sorted(set(frames))[:5]}")
    first = grids.iloc[0]
    if first.crs is None:
        return arrays[0], first
    # corners of each chip in pixels of the first one: columns x, y
    upper_left = first.world_to_pixel(np.array([(grid.transform[2], grid.transform[5]) for grid in grids]))
    upper_left = np.rint(upper_left).astype(int)
    left, top = upper_left.min(axis=0).tolist()
    right, bottom = (upper_left + [(grid.width, grid.height) for grid in grids]).max(axis=0).tolist()
    whole = np.full((bottom - top, right - left, *arrays[0].shape[2:]), fill, dtype=arrays[0].dtype)
    for (col, row), array in zip(upper_left - (left, top), arrays, strict=True):
        whole[row : row + array.shape[0], col : col + array.shape[1]] = array
    return whole, first.window(left, top, right - left, bottom - top)
