"""Every threshold at once: pixel counts and scores of probabilities against masks, in one pass a chip."""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.mask_values import as_mask
from lib.scores.metrics import SLACK_PX, disc, ratio

THRESHOLDS = np.round(np.arange(1, 100) / 100, 2)

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]  # probability, float (H, W) in 0 to 1; mask as `lib.mask_values` has it


def threshold_counts(probability: np.ndarray, mask: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """
    True positives, false positives and false negatives at every threshold, in one pass over the pixels.

    A pixel is foreground where `probability >= threshold`; pixels of MASK_IGNORE are not counted.

    Returns
    -------
    counts
        int64 (T, 3), one row a threshold, ascending like `thresholds`: tp, fp, fn.
    """
    if probability.shape != mask.shape:
        raise InputError(f"Expected a probability like its mask, {mask.shape}; got {probability.shape}.")
    mask = as_mask(mask, "mask")
    scored = mask != MASK_IGNORE
    truth = mask[scored] == MASK_FOREGROUND
    tp, fp = (_reaching(probability[scored][which], thresholds) for which in (truth, ~truth))
    return np.stack([tp, fp, int(truth.sum()) - tp], axis=1)


def _reaching(probability: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values are no less than each threshold: int64 (T,)."""
    reached = np.searchsorted(np.asarray(thresholds, probability.dtype), probability, side="right")
    # what reaches n thresholds reaches the first n: counts are summed from the highest down
    return np.bincount(reached, minlength=len(thresholds) + 1)[::-1].cumsum()[::-1][1:]


def threshold_sweep(pairs: Pairs, thresholds: np.ndarray = THRESHOLDS) -> pd.DataFrame:
    """
    Scores by threshold, pooled over the pixels of all chips, as lib.show.charts.precision_recall draws them.

    Parameters
    ----------
    pairs
        (probability, mask) of one chip after the other: float (H, W) in 0 to 1, and a mask as `lib.mask_values`
        has it. A generator keeps one chip in memory.
    thresholds
        Ascending, above 0 and up to 1.

    Returns
    -------
    sweep
        One row a threshold: threshold, tp, fp, fn, precision, recall, f1, iou; NaN where a score has nothing to count.

    Raises
    ------
    InputError
        If there is no chip, a probability and its mask differ in shape, or the mask's values don't tell.
    """
    total = np.zeros((len(thresholds), 3), np.int64)  # columns tp, fp, fn
    chips = 0
    for probability, mask in pairs:
        total += threshold_counts(probability, mask, thresholds)
        chips += 1
    if not chips:
        raise InputError("Expected at least one chip to sweep; got none.")
    tp, fp, fn = total.T
    counts = {"threshold": thresholds, "tp": tp, "fp": fp, "fn": fn}
    scores = {"precision": ratio(tp, tp + fp), "recall": ratio(tp, tp + fn)}
    scores |= {"f1": ratio(2 * tp, 2 * tp + fp + fn), "iou": ratio(tp, tp + fp + fn)}
    return pd.DataFrame(counts | scores)


def relaxed_counts(
    probability: np.ndarray, mask: np.ndarray, thresholds: np.ndarray, slack_px: float = SLACK_PX
) -> np.ndarray:
    """
    What relaxed precision and recall are made of at every threshold, as `lib.scores.metrics.count_pixels` has it.

    A true pixel is found at a threshold that the highest probability within the slack reaches: one dilation of the
    probabilities does for all thresholds.

    Returns
    -------
    counts
        int64 (T, 4), one row a threshold: predicted pixels, those near a true one, true pixels, those near a
        predicted one.
    """
    if probability.shape != mask.shape:
        raise InputError(f"Expected a probability like its mask, {mask.shape}; got {probability.shape}.")
    mask = as_mask(mask, "mask")
    scored, truth, reach = mask != MASK_IGNORE, mask == MASK_FOREGROUND, disc(slack_px)
    said = np.where(scored, probability, 0).astype(np.float32)  # predictions where nothing is known excuse nothing
    around_truth, around_said = (
        cv2.dilate(values, reach, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        for values in (truth.astype(np.uint8), said)
    )
    predicted, right, found = (
        _reaching(values, thresholds)
        for values in (said[scored], said[scored & (around_truth > 0)], around_said[truth])
    )
    return np.stack([predicted, right, np.full_like(found, truth.sum()), found], axis=1)


def relaxed_sweep(pairs: Pairs, thresholds: np.ndarray = THRESHOLDS, slack_px: float = SLACK_PX) -> pd.DataFrame:
    """
    Relaxed precision and recall by threshold, pooled over the pixels of all chips.

    Parameters
    ----------
    pairs, thresholds
        As in `threshold_sweep`.
    slack_px
        Distance up to which a predicted pixel is right and a true one found.

    Returns
    -------
    sweep
        One row a threshold: threshold, precision, recall; NaN where a score has nothing to count.

    Raises
    ------
    InputError
        If there is no chip, a probability and its mask differ in shape, or the mask's values don't tell.
    """
    counts = [relaxed_counts(probability, mask, thresholds, slack_px) for probability, mask in pairs]
    if not counts:
        raise InputError("Expected at least one chip to sweep; got none.")
    predicted, right, true, found = np.sum(counts, axis=0).T
    return pd.DataFrame({"threshold": thresholds, "precision": ratio(right, predicted), "recall": ratio(found, true)})


def break_even(sweep: pd.DataFrame) -> tuple[float, float]:
    """
    Where precision equals recall, (score, threshold), straight between the two thresholds around it.

    Mnih (2013) reports roads by the relaxed one. Where they cross more than once it is the best; NaN where precision
    lies above recall, or below it, at all thresholds.
    """
    known = sweep.dropna()
    gap = (known["precision"] - known["recall"]).to_numpy()  # rises with the threshold, but for noise
    crossings = []
    for before in np.flatnonzero((gap[:-1] < 0) & (gap[1:] >= 0)):
        share = gap[before] / (gap[before] - gap[before + 1])
        at = known.iloc[before] + share * (known.iloc[before + 1] - known.iloc[before])
        crossings.append((float(at["precision"]), float(at["threshold"])))
    return max(crossings, default=(float("nan"), float("nan")))
