"""Every threshold at once: pixel counts and scores of probabilities against masks, in one pass a chip."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE

THRESHOLDS = np.round(np.arange(1, 100) / 100, 2)


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
    scored = mask != MASK_IGNORE
    reached = np.searchsorted(np.asarray(thresholds, probability.dtype), probability[scored], side="right")
    truth = mask[scored] == MASK_FOREGROUND
    bins = len(thresholds) + 1
    above = [np.bincount(reached[which], minlength=bins)[::-1].cumsum()[::-1][1:] for which in (truth, ~truth)]
    tp, fp = above
    return np.stack([tp, fp, int(truth.sum()) - tp], axis=1)


def threshold_sweep(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], thresholds: np.ndarray = THRESHOLDS
) -> pd.DataFrame:
    """
    Scores by threshold, pooled over the pixels of all chips, as lib.show.charts.precision_recall draws them.

    Parameters
    ----------
    pairs
        (probability, mask) of one chip after the other: float (H, W) in 0 to 1, uint8 (H, W) of 0, 127 and 255. A
        generator keeps one chip in memory.
    thresholds
        Ascending, between 0 and 1.

    Returns
    -------
    sweep
        One row a threshold: threshold, tp, fp, fn, precision, recall, f1, iou; NaN where a score has nothing to count.

    Raises
    ------
    InputError
        If there is no chip, or a probability and its mask differ in shape.
    """
    total = np.zeros((len(thresholds), 3), np.int64)
    chips = 0
    for probability, mask in pairs:
        total += threshold_counts(probability, mask, thresholds)
        chips += 1
    if not chips:
        raise InputError("Expected at least one chip to sweep; got none.")
    sweep = pd.DataFrame(total, columns=["tp", "fp", "fn"])
    sweep.insert(0, "threshold", thresholds)
    tp = sweep["tp"]
    sweep["precision"] = tp / (tp + sweep["fp"]).replace(0, np.nan)
    sweep["recall"] = tp / (tp + sweep["fn"]).replace(0, np.nan)
    sweep["f1"] = 2 * tp / (2 * tp + sweep["fp"] + sweep["fn"]).replace(0, np.nan)
    sweep["iou"] = tp / (tp + sweep["fp"] + sweep["fn"]).replace(0, np.nan)
    return sweep
