"""
Pixel scores of masks: IoU in its three forms, precision, recall, F1, relaxed scores, and their uncertainty.

Counted by hand rather than with torchmetrics: its foreground scores give 0 where truth and prediction are both empty,
it knows no slack in pixels, and a bootstrap needs the counts of each chip anyway. Intervals are drawn by hand as well:
scipy.stats.bootstrap gives NaN as soon as the score of a single draw is not defined (no building drawn: no precision).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError, ParameterError
from lib.mask_values import foreground

SLACK_PX = 3.0  # of the relaxed scores: rho in Mnih (2013), chapter 6
CONFIDENCE = 0.95  # of every interval
COUNTS = ["tp", "fp", "fn", "tn", "near_predicted", "near_true"]
POOLED = ["iou_mean_over_classes", "precision", "recall", "f1", "accuracy"]
POOLED += ["relaxed_precision", "relaxed_recall", "relaxed_f1"]  # scores that keep their name when pooled


@dataclass(frozen=True)
class Interval:
    """A value, and the interval that holds it with the probability CONFIDENCE."""

    value: float
    low: float
    high: float


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """Part / whole as float64, and `empty` where whole is 0."""
    whole = np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(whole.shape, empty), where=whole > 0)


def disc(slack_px: float) -> np.ndarray:
    """Pixels whose centres lie within the slack of the middle one's: uint8 (n, n) of 0 and 1, n odd."""
    reach = np.arange(-int(slack_px), int(slack_px) + 1)  # offsets from a pixel's centre, px
    return (reach**2 + reach[:, None] ** 2 <= slack_px**2).astype(np.uint8)


def _near(pixels: np.ndarray, others: np.ndarray, slack_px: float) -> int:
    """How many of the pixels lie within the slack of one of the others; both uint8 (H, W) of 0 and 1."""
    around = cv2.dilate(others, disc(slack_px), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return int(np.count_nonzero(around & pixels))


def count_pixels(prediction: np.ndarray, truth: np.ndarray, slack_px: float = SLACK_PX) -> dict[str, int]:
    """
    Pixel counts of one chip.

    Parameters
    ----------
    prediction
        (H, W): a mask of any kind that `lib.mask_values` reads, such as bool, 0 and 1, or 0 and 255.
    truth
        The same; pixels of MASK_IGNORE count nowhere: neither do predictions there, nor does the truth there
        excuse predictions nearby.
    slack_px
        Distance between pixel centres up to which a predicted pixel is right in the relaxed precision, and a true
        one found in the relaxed recall.

    Returns
    -------
    counts
        tp, fp, fn, tn; near_predicted: predicted pixels within the slack of a true one; near_true: true pixels
        within the slack of a predicted one.

    Raises
    ------
    InputError
        If the shapes differ, are not (H, W), or values are not those of a mask.
    """
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise InputError(
            f"Expected prediction and truth of one shape (H, W), got {prediction.shape} and {truth.shape}."
        )
    said, _ = foreground(prediction, "prediction")
    true, known = foreground(truth, "truth")
    if known is not None:
        said = said & known
    size = truth.size if known is None else int(np.count_nonzero(known))
    tp, positive, claimed = (int(np.count_nonzero(a)) for a in (said & true, true, said))
    return {
        "tp": tp,
        "fp": claimed - tp,
        "fn": positive - tp,
        "tn": size - claimed - positive + tp,
        "near_predicted": _near(said, true, slack_px),
        "near_true": _near(true, said, slack_px),
    }


class PixelScores:
    """
    Scores over any number of chips, of any sizes, held as six counts a chip.

    Parameters
    ----------
    slack_px
        Of the relaxed scores, px.
    """

    def __init__(self, slack_px: float = SLACK_PX):
        if not slack_px >= 0:
            raise ParameterError(f"slack_px must be a number of at least 0, got {slack_px!r}.")
        self.slack_px = slack_px
        self._rows: list[dict] = []

    def update(self, prediction: np.ndarray, truth: np.ndarray, **labels: object) -> None:
        """Add a chip, see `count_pixels`; labels (chip="a1", city="Vegas") become columns of the table."""
        self._rows.append({**labels, **count_pixels(prediction, truth, self.slack_px)})

    def table(self) -> pd.DataFrame:
        """One row a chip: its labels, counts and scores (NaN where a score is not defined)."""
        rows = pd.DataFrame(self._rows)
        return rows.assign(**_scores(rows)) if len(rows) else pd.DataFrame(columns=COUNTS)

    def compute(self) -> dict[str, float]:
        """Scores over all chips: see `pixel_scores`."""
        return pixel_scores(pd.DataFrame(self._rows, columns=None if self._rows else COUNTS))


def _scores(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Scores of each row of counts: by name, float64 (rows,)."""
    tp, fp, fn, tn, near_predicted, near_true = (rows[name].to_numpy(float) for name in COUNTS)
    union = tp + fp + fn
    iou, background_iou = ratio(tp, union, 1.0), ratio(tn, tn + fp + fn, 1.0)
    near_precision, near_recall = ratio(near_predicted, tp + fp), ratio(near_true, tp + fn)
    # the harmonic mean is 0 where one of the two is 0, or not defined because only that side is empty
    product = np.nan_to_num(near_precision) * np.nan_to_num(near_recall)
    near_sum = np.nan_to_num(near_precision) + np.nan_to_num(near_recall)

    def or_right(score: np.ndarray) -> np.ndarray:
        """1 without any foreground: there is nothing to be wrong about."""
        return np.where(union > 0, score, 1.0)

    return {
        "iou": iou,
        "iou_mean_over_classes": 0.5 * (iou + background_iou),
        "precision": or_right(ratio(tp, tp + fp)),
        "recall": or_right(ratio(tp, tp + fn)),
        "f1": ratio(2 * tp, 2 * tp + fp + fn, 1.0),
        "accuracy": ratio(tp + tn, union + tn),
        "relaxed_precision": or_right(near_precision),
        "relaxed_recall": or_right(near_recall),
        "relaxed_f1": or_right(ratio(2 * product, near_sum, 0.0)),
    }


def pixel_scores(rows: pd.DataFrame) -> dict[str, float]:
    """
    Scores over chips, from their counts.

    - iou_pooled: tp / (tp + fp + fn) with the counts of all chips added up. A chip weighs as much as it has road.
    - iou_mean_per_image: the same fraction a chip, averaged. A chip without foreground in truth and prediction
      counts as 1: it is entirely right. A chip of truth without foreground counts as 0 from the first false pixel.
    - iou_mean_over_classes: mean of the pooled IoU of foreground and of background; usually the highest of the
      three where foreground is rare: not comparable with the others.
    - precision, recall, f1, accuracy: from the pooled counts.
    - relaxed_precision, relaxed_recall, relaxed_f1: Mnih and Hinton (2010): a pixel is right within a slack.

    Pooled scores are 1 where truth and prediction are empty throughout. Precision is NaN where nothing was predicted
    but something is there, recall where nothing is there but something was predicted; F1 is then 0.

    Parameters
    ----------
    rows
        A row of counts a chip: the table of `PixelScores`.

    Returns
    -------
    scores
        By name, each in [0, 1] or NaN.

    Raises
    ------
    InputError
        If there is no chip.
    """
    if not len(rows):
        raise InputError("No chip has been scored: call update with at least one prediction and its truth.")
    pooled = {name: float(value[0]) for name, value in _scores(rows[COUNTS].sum().to_frame().T).items()}
    return {
        "iou_pooled": pooled.pop("iou"),
        "iou_mean_per_image": float(_scores(rows)["iou"].mean()),
        **pooled,
    }


Statistic = str | Callable[[pd.DataFrame], float]


def _resampled(table: pd.DataFrame, statistic: Statistic, draws: np.ndarray) -> np.ndarray:
    """The statistic of each draw; `draws` int (draws, chips), numbers of the table's rows."""
    if callable(statistic):
        return np.array([statistic(table.iloc[rows]) for rows in draws])
    if statistic == "iou_mean_per_image":
        return _scores(table)["iou"][draws].mean(axis=1)
    if statistic in ["iou_pooled", *POOLED]:
        sums = table[COUNTS].to_numpy()[draws].sum(axis=1)  # (draws, counts)
        return _scores(pd.DataFrame(sums, columns=COUNTS))[statistic.removesuffix("_pooled")]
    if statistic not in table:
        known = sorted({"iou_pooled", "iou_mean_per_image", *POOLED, *table.columns})
        raise ParameterError(f"Unknown statistic {statistic!r}: expected one of {known}.")
    return table[statistic].to_numpy(float)[draws].mean(axis=1)


def _draws(chips: int, resamples: int, seed: int) -> np.ndarray:
    """Numbers of chips, int (1 + resamples, chips): first each chip once, then the draws with replacement."""
    if not chips:
        raise InputError("No chip has been scored: an interval needs a table with at least one row.")
    drawn = np.random.default_rng(seed).integers(chips, size=(resamples, chips))
    return np.vstack([np.arange(chips), drawn])


def _interval(values: np.ndarray) -> Interval:
    """The first value, and the percentiles of the others that are defined."""
    tail = 50 * (1 - CONFIDENCE)  # percent left out at either end
    defined = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
    return Interval(float(values[0]), float(low), float(high))


def bootstrap_interval(
    table: pd.DataFrame, statistic: Statistic = "iou_pooled", *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """
    A score and its 95 % interval: chips drawn with replacement, percentiles (Efron 1979).

    It says how far the score would move with other chips of the same kind, not with another training run.

    Parameters
    ----------
    table
        One row a chip.
    statistic
        A name that `pixel_scores` gives; the name of another column (apls), which is averaged; or a function of a
        table.
    resamples, seed
        How many draws, and where they start: the same seed gives the same interval.

    Raises
    ------
    InputError
        If the table is empty.
    ParameterError
        If there is no such statistic.
    """
    return _interval(_resampled(table, statistic, _draws(len(table), resamples, seed)))


def paired_difference(
    table_a: pd.DataFrame,
    table_b: pd.DataFrame,
    statistic: Statistic = "iou_pooled",
    *,
    on: str = "chip",
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """
    How much higher b scores than a on the same chips, and the 95 % interval of that difference.

    Each draw takes the same chips from both, so that hard chips do not blur the comparison. An interval that holds 0
    shows no difference.

    Parameters
    ----------
    table_a, table_b
        One row a chip, the same chips in both.
    statistic, resamples, seed
        As in `bootstrap_interval`.
    on
        Column that names the chip.

    Raises
    ------
    InputError
        If the tables are empty or do not hold the same chips, once each.
    ParameterError
        If there is no such statistic.
    """
    a, b = table_a.set_index(on), table_b.set_index(on)
    if not (a.index.is_unique and b.index.is_unique and set(a.index) == set(b.index)):
        raise InputError(
            f"Expected the same chips, once each, in both tables: {len(a)} and {len(b)} rows, "
            f"{len(set(a.index) ^ set(b.index))} chips in only one of them."
        )
    draws = _draws(len(a), resamples, seed)
    return _interval(_resampled(b.loc[a.index], statistic, draws) - _resampled(a, statistic, draws))
