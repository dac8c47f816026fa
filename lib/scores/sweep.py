"""Every threshold at once: pixel counts and scores of probabilities against masks, in one pass a chip."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.scores.metrics import ratio

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
    truth = mask[scored] == MASK_FOREGROUND
    # of each scored pixel: how many thresholds it reaches, 0 to T
    reached = np.searchsorted(np.asarray(thresholds, probability.dtype), probability[scored], side="right")
    bins = len(thresholds) + 1
    # a pixel that reaches n thresholds is foreground at the first n: counts are summed from the highest down
    tp, fp = (np.bincount(reached[which], minlength=bins)[::-1].cumsum()[::-1][1:] for which in (truth, ~truth))
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
