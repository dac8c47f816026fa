"""How often a network's probabilities are right, before and after the curve that is fitted on validation chips."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from lib.networks.calibration import (
    Calibration,
    best_iou,
    count_levels,
    expected_calibration_error,
    fit_curve,
    of_levels,
    reliability,
    write_calibration,
)

Pairs = Iterable[
    tuple[np.ndarray, np.ndarray]
]  # probability maps and masks, as `lib.scores.evaluate.probability_pairs`


def calibrate(
    checkpoint: Path, val: Pairs, test: Pairs, fitted_on: str, kind: str = "pixels", views: str = "none"
) -> dict[str, tuple[pd.DataFrame, float]]:
    """
    Fit the curve of pixels on validation chips, keep it beside its checkpoint, and judge it on test chips.

    The threshold that is best there is kept, too. What lies there of other kinds and views stays, if it is of the same
    checkpoint.

    Parameters
    ----------
    checkpoint
        The network that made the probabilities.
    val, test
        Probability maps and masks.
    fitted_on
        What the curve was fitted on, in words.
    kind
        Of the curve: `lib.networks.calibration.pixels_kind` where a network finds several classes.
    views
        In which the probabilities were predicted: "none" or "d4".

    Returns
    -------
    judged
        "as the network says" and "calibrated": the table of `reliability`, and the expected calibration error.
    """
    counts = _counted(val)
    curve = fit_curve(*of_levels(counts))
    write_calibration(checkpoint, Calibration({kind: curve}, fitted_on, {kind: best_iou(counts)[1]}), views)
    said, right, weight = of_levels(_counted(test))
    tables = {"as the network says": reliability(said, right, weight)}
    tables["calibrated"] = reliability(curve(said), right, weight)
    return {name: (table, expected_calibration_error(table)) for name, table in tables.items()}


def _counted(pairs: Pairs) -> np.ndarray:
    """Pixels and right ones by level, (256, 2)."""
    return np.sum([count_levels(probability, mask) for probability, mask in pairs], axis=0)
