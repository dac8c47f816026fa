"""Curves fitted on validation chips and judged on others."""

import numpy as np
import pytest

from lib.networks.calibration import Calibration, Curve, read_calibrations, read_curves, write_calibration
from lib.scores.confidence import calibrate
from lib.scores.sweep import threshold_sweep


def pairs(seed, count=3):
    """Probability maps that are far too sure, and what is true."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        true = rng.uniform(0, 1, (64, 64))
        mask = np.where(rng.uniform(size=true.shape) < true, 255, 0).astype(np.uint8)
        mask[:4] = 127
        yield (true**0.3).astype(np.float32), mask


def test_what_is_said_is_right_on_other_chips_and_the_curve_lies_beside_its_checkpoint(tmp_path):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"weights")
    write_calibration(checkpoint, Calibration({"roads": Curve((0.0, 1.0), (0.0, 0.5), 9.0)}, "elsewhere"))
    judged = calibrate(checkpoint, pairs(0), pairs(1), "three chips")
    before, after = (judged[name][1] for name in ("as the network says", "calibrated"))
    assert before > 0.2 and after < 0.03
    table = judged["calibrated"][0]
    assert np.average(np.abs(table["right"] - table["said"]), weights=table["weight"]) == pytest.approx(after)
    assert set(read_curves(checkpoint)) == {"pixels", "roads"}
    sweep = threshold_sweep(pairs(0), (np.arange(255) + 0.5) / 255)
    best = sweep["threshold"][sweep["iou"] == sweep["iou"].max()]
    assert read_calibrations(checkpoint)["none"].thresholds["pixels"] in best.to_numpy()
    checkpoint.write_bytes(b"others")  # of another training: its curves go
    calibrate(checkpoint, pairs(0), pairs(1), "three chips")
    assert set(read_curves(checkpoint)) == {"pixels"}
