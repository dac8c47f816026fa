"""
Confidence that means something: of what is called 0.9, nine in ten are right.

A network's probabilities rank well and lie about how often they are right. A curve, fitted where the truth is known,
turns them into shares: of pixels (of several classes, of the pixels of each: "pixels_roads"), or of metres of candidate
roads, or of candidate buildings. It never falls, so that
ranks stay. How good it is, other ground must say: `reliability` and `expected_calibration_error` there.

The curves of a checkpoint lie beside it, `best.safetensors` in `best.calibration.json`, and name its digest. The mean
of eight views is less sure of everything than one view, so that either has curves and thresholds of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from lib.errors import InputError, reading
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.limits import CLASSES, VIEWS, classes_of
from lib.mask_values import as_mask
from lib.networks.checkpoint import TrainedModel, file_digest
from lib.paths import write_whole

BINS = 10  # of a reliability diagram, of equal width
LEVELS = 256  # at which probabilities are counted: a map stores them as uint8
KINDS = ("pixels", *(f"pixels_{kind}" for kind in CLASSES), *CLASSES)
PRIOR = 1.0  # one observation, half right and half wrong: Laplace's rule, but weaker


@dataclass(frozen=True)
class Curve:
    """
    A rising curve from what a network says to how often it is right.

    Attributes
    ----------
    said
        Ascending, 0..1.
    right
        Share that is right at each, not falling; straight in between.
    count
        How many it was fitted to: pixels, metres, or buildings.
    """

    said: tuple[float, ...]
    right: tuple[float, ...]
    count: float

    def __post_init__(self) -> None:
        said, right = np.array(self.said, float), np.array(self.right, float)
        both = np.concatenate([said, right])
        if said.shape != right.shape or not len(said) or not ((both >= 0) & (both <= 1)).all():
            raise InputError("Expected as many values of `right` as of `said`, all from 0 to 1, and at least one.")
        if (np.diff(said) <= 0).any() or (np.diff(right) < 0).any():
            raise InputError("Expected `said` to rise and `right` not to fall.")

    def __call__(self, said: np.ndarray) -> np.ndarray:
        """Shares that are right, of the shape of `said`; beyond its ends the curve is flat, NaN stays NaN."""
        return np.interp(said, self.said, self.right)


@dataclass(frozen=True)
class Calibration:
    """
    What a truth says of a checkpoint's probabilities, of windows that are seen in one view or in eight.

    Attributes
    ----------
    curves
        By kind, of KINDS.
    fitted_on
        On what ground, in words.
    thresholds
        Kind of pixels -> probability from which they have the best IoU, where that was measured.
    """

    curves: Mapping[str, Curve]
    fitted_on: str
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := {*self.curves, *self.thresholds} - set(KINDS):
            raise InputError(f"Found {sorted(unknown)}; expected {', '.join(KINDS)}.")
        if wrong := [level for level in self.thresholds.values() if not 0 <= level <= 1]:
            raise InputError(f"Found a threshold of {wrong[0]}; expected 0 to 1.")


def fit_curve(said: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None, prior: float = PRIOR) -> Curve:
    """
    The isotonic regression of what is right on what was said (Zadrozny and Elkan 2002).

    Each step of the regression is one point of the curve, at the mean of what was said there, so that the curve has no
    jumps.

    Parameters
    ----------
    said
        (n,) 0..1; NaN is left out.
    right
        (n,) 0..1: share of each that is right.
    weight
        (n,) what each counts: pixels, metres; None: one each.
    prior
        Weight, half right and half wrong, that each step starts from, so that no 0 and no 1 comes from a few: what one
        independent observation weighs.

    Raises
    ------
    InputError
        If nothing is left to fit.
    """
    said, right = np.asarray(said, float), np.asarray(right, float)
    weight = np.ones(len(said)) if weight is None else np.asarray(weight, float)
    used = np.isfinite(said) & np.isfinite(right) & (weight > 0)
    said, right, weight = said[used], right[used], weight[used]
    if not len(said):
        raise InputError("Nothing to calibrate on: expected at least one prediction of which the truth is known.")
    values, number = np.unique(said, return_inverse=True)
    weights = np.bincount(number, weight)
    means = np.bincount(number, weight * right) / weights
    blocks = isotonic_regression(means, weights=weights).blocks
    step = np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))
    total, hits = np.bincount(step, weights), np.bincount(step, weights * means)
    shares = np.maximum.accumulate((hits + prior / 2) / (total + prior))
    at = np.bincount(step, weights * values) / total
    return Curve(tuple(at.tolist()), tuple(shares.tolist()), float(weights.sum()))


def count_levels(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """
    How often each level of probability is right on a chip.

    Parameters
    ----------
    probability
        (H, W) float, 0..1.
    mask
        (H, W) as `lib.mask_values` has it: MASK_IGNORE counts nowhere.

    Returns
    -------
    counts
        (LEVELS, 2) int64: pixels at round(255 p), and those of them that are foreground.
    """
    mask = as_mask(mask, "mask")
    known = (mask != MASK_IGNORE) & np.isfinite(probability)
    level = np.rint(probability[known] * (LEVELS - 1)).astype(int)
    right = mask[known] == MASK_FOREGROUND
    return np.stack([np.bincount(level, minlength=LEVELS), np.bincount(level[right], minlength=LEVELS)], axis=1)


def of_levels(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was said, share that is right, and weight, of counts (LEVELS, 2), as `fit_curve` and `reliability` ask."""
    said = np.arange(LEVELS) / (LEVELS - 1)
    return said, counts[:, 1] / np.maximum(counts[:, 0], 1), counts[:, 0].astype(float)


def best_iou(counts: np.ndarray) -> tuple[float, float]:
    """
    The best IoU that pixels reach at any threshold, and the threshold that gives it: the middle one where several do.

    Parameters
    ----------
    counts
        (LEVELS, 2) int64, see `count_levels`.
    """
    reached, true = counts[::-1].cumsum(axis=0)[::-1].T  # pixels at this level or above it, and those that are right
    # in float32, where thresholds that differ by a pixel of a large area are equally good
    iou = true[1:].astype(np.float32) / np.maximum(reached[1:] - true[1:] + true[0], 1).astype(np.float32)
    best = np.flatnonzero(iou == iou.max())
    return float(iou.max()), (float(best[len(best) // 2]) + 0.5) / (LEVELS - 1)


def reliability(said: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None) -> pd.DataFrame:
    """
    How often what was said is right, by BINS equal bins of what was said.

    Returns
    -------
    table
        One row a bin that is not empty: low, high (of the bin), weight, said (mean), right (share); parameters as in
        `fit_curve`.
    """
    said, right = np.asarray(said, float), np.asarray(right, float)
    weight = np.ones(len(said)) if weight is None else np.asarray(weight, float)
    bin_of = np.clip((said * BINS).astype(int), 0, BINS - 1)
    sums = np.array([np.bincount(bin_of, weight * values, BINS) for values in (np.ones(len(said)), said, right)])
    kept = sums[0] > 0
    low = np.arange(BINS)[kept] / BINS
    total, mean_said, share = sums[0, kept], *(sums[1:, kept] / sums[0, kept])
    return pd.DataFrame({"low": low, "high": low + 1 / BINS, "weight": total, "said": mean_said, "right": share})


def expected_calibration_error(table: pd.DataFrame) -> float:
    """
    Sum over bins of their share of the weight times |right - said|, of a table from `reliability`; NaN where empty.

    Of BINS bins of equal width (Naeini, Cooper and Hauskrecht 2015), for one class: foreground.
    """
    weight = table["weight"].to_numpy()
    gaps = np.abs(table["right"] - table["said"]).to_numpy()
    return float((weight * gaps).sum() / weight.sum()) if len(table) else float("nan")


def pixels_kind(task: str, kind: str) -> str:
    """What the curve of a class's pixels is called, of a network that finds the classes of a task."""
    return f"pixels_{kind}" if len(classes_of(task)) > 1 else "pixels"


def curves_of_pixels(curves: Mapping[str, Curve], task: str) -> dict[str, Curve]:
    """Class of a task -> the curve of its pixels, where a checkpoint has one."""
    found = {kind: curves.get(f"pixels_{kind}") or curves.get("pixels") for kind in classes_of(task)}
    return {kind: curve for kind, curve in found.items() if curve}


def calibration_path(checkpoint: Path) -> Path:
    """Where the curves of a checkpoint lie."""
    return Path(checkpoint).with_suffix(".calibration.json")


def write_calibration(checkpoint: Path, found: Calibration, views: str = "none") -> Path:
    """Write it beside its checkpoint; what lies there of other kinds and views stays, if it is of that checkpoint."""
    try:
        kept = read_calibrations(checkpoint)
    except InputError:  # of an earlier training, or damaged
        kept = {}
    before = kept.get(views, found)
    both = {**before.curves, **found.curves}, found.fitted_on, {**before.thresholds, **found.thresholds}
    parts = {name: asdict(one) for name, one in {**kept, views: Calibration(*both)}.items()}
    content = {"checkpoint": file_digest(Path(checkpoint)), "views": parts}
    return write_whole(calibration_path(checkpoint), json.dumps(content, indent=1) + "\n")


def read_calibrations(checkpoint: Path) -> dict[str, Calibration]:
    """
    Views, "none" (one) or "d4" (eight) -> what calibration found of a checkpoint; {} where it was never calibrated.

    Raises
    ------
    InputError
        If the file is damaged, or was fitted to another checkpoint.
    """
    path = calibration_path(checkpoint)
    if not path.is_file():
        return {}
    with reading(path, "the curves of a checkpoint, as calibration wrote them"):
        content = json.loads(path.read_text())
        digest, parts = content["checkpoint"], {views: _numbers(part) for views, part in content["views"].items()}
    if digest != file_digest(Path(checkpoint)):
        raise InputError(f"{path} was fitted to another checkpoint than {checkpoint}: calibrate again, or delete it.")
    if unknown := set(parts) - set(VIEWS):
        raise InputError(f"{path} has {sorted(unknown)}; expected {', '.join(VIEWS)}.")
    try:
        return {
            views: Calibration({kind: Curve(*of) for kind, of in curves.items()}, fitted_on, thresholds)
            for views, (curves, fitted_on, thresholds) in parts.items()
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _numbers(part: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, ...]], str, dict[str, float]]:
    """What a file says of some views: the fields of each curve by kind, on what they were fitted, and thresholds."""
    curves = {
        kind: (tuple(map(float, of["said"])), tuple(map(float, of["right"])), float(of["count"]))
        for kind, of in part["curves"].items()
    }
    return curves, str(part["fitted_on"]), {kind: float(level) for kind, level in part["thresholds"].items()}


def read_curves(checkpoint: Path, views: str = "none") -> dict[str, Curve]:
    """Curves by kind of a checkpoint, of these views or, where they have none, of others; errors as above."""
    found = read_calibrations(checkpoint)
    return {kind: curve for of in sorted(found, key=views.__eq__) for kind, curve in found[of].curves.items()}


def at_views(model: TrainedModel, checkpoint: Path, views: str) -> TrainedModel:
    """The model with the thresholds that are best for these views, where its own are not and calibration found some."""
    found = read_calibrations(checkpoint).get(views)
    return model if found is None or own_thresholds_hold(model, views) else with_thresholds(model, found.thresholds)


def own_thresholds_hold(model: TrainedModel, views: str) -> bool:
    """Whether a model's thresholds are for these views: validation chose them in one, unless the recipe stated them."""
    return views == "none" or bool(model.info.training.get("threshold"))


def with_thresholds(model: TrainedModel, thresholds: Mapping[str, float]) -> TrainedModel:
    """The model with other thresholds, by kind of pixels; a class of which there is none keeps its own."""
    own = model.info.thresholds.items()  # of a class of several, taken by itself, the name is still that of its class
    each = tuple(thresholds.get(f"pixels_{kind}", thresholds.get("pixels", level)) for kind, level in own)
    return replace(model, info=replace(model.info, threshold=each if len(each) > 1 else each[0]))
