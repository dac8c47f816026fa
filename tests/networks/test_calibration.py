"""Curves from what is said to what is right: fitted, kept with their checkpoint, and judged."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lib.errors import InputError
from lib.networks import calibration
from lib.networks.calibration import (
    Calibration,
    Curve,
    at_views,
    expected_calibration_error,
    fit_curve,
    read_curves,
    reliability,
    write_calibration,
)
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig

shares = st.floats(0, 1)


def test_a_curve_makes_an_overconfident_network_right():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 1, 40_000)
    said = true**0.3  # far too sure
    right = (rng.uniform(size=len(true)) < true).astype(float)
    curve = fit_curve(said[::2], right[::2])
    before, after = (
        expected_calibration_error(reliability(values, right[1::2])) for values in (said[1::2], curve(said[1::2]))
    )
    assert before > 0.2 and after < 0.02
    sure = curve(said[1::2]) >= 0.9
    assert right[1::2][sure].mean() == pytest.approx(0.95, abs=0.02)


@given(st.lists(st.tuples(shares, shares, st.floats(0.1, 100)), min_size=1, max_size=40))
def test_a_curve_never_falls_and_keeps_ranks(rows):
    said, right, weight = np.array(rows).T
    curve = fit_curve(said, right, weight)
    answers = curve(np.linspace(0, 1, 50))
    assert (np.diff(answers) >= 0).all() and (answers >= 0).all() and (answers <= 1).all()


def test_weights_count_as_repetitions():
    said, right, weight = np.array([0.2, 0.4, 0.8]), np.array([0.0, 1.0, 1.0]), np.array([30, 20, 10])
    once, often = fit_curve(said, right, weight), fit_curve(*(np.repeat(values, weight) for values in (said, right)))
    assert once == often and once.right == (0.5 / 31, 30.5 / 31) and once.count == 60
    # what lies in each of ten draws is one observation
    assert fit_curve(said, right, 10 * weight, prior=10).right == pytest.approx(once.right)


def test_few_observations_promise_nothing_certain():
    curve = fit_curve(np.array([0.3, 0.9]), np.array([0.0, 1.0]))
    assert curve.right == (0.25, 0.75)


def test_what_is_not_known_is_left_out_and_nothing_is_refused():
    assert fit_curve(np.array([0.5, np.nan]), np.array([1.0, 0.0])).count == 1
    with pytest.raises(InputError, match="Nothing to calibrate on"):
        fit_curve(np.array([np.nan]), np.array([1.0]))
    for said, right in (((), ()), ((0.5, 0.4), (0.1, 0.2)), ((0.1, 0.2), (0.9, 0.2)), ((0.1,), (1.2,))):
        with pytest.raises(InputError, match="Expected"):
            Curve(said, right, 1)


def test_reliability_and_its_error_by_hand():
    said, right = np.array([0.05, 0.05, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    table = reliability(said, right, np.array([1.0, 1.0, 2.0, 0.0]))
    assert table["low"].tolist() == [0.0, 0.9] and table["weight"].tolist() == [2.0, 2.0]
    assert table["right"].tolist() == [0.5, 1.0]
    assert expected_calibration_error(table) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert np.isnan(expected_calibration_error(reliability(said[:0], right[:0])))


def test_levels_count_what_is_known():
    probability = np.array([[0.0, 1.0, 0.5], [1.0, np.nan, 1.0]], np.float32)
    mask = np.array([[0, 255, 127], [0, 255, 255]], np.uint8)
    counts = calibration.count_levels(probability, mask)
    np.testing.assert_array_equal(calibration.count_levels(probability, np.where(mask == 255, 1, mask)), counts)
    assert counts.sum(axis=0).tolist() == [4, 2] and counts[255].tolist() == [3, 2] and counts[0].tolist() == [1, 0]
    said, right, weight = calibration.of_levels(counts)
    assert said[255] == 1 and right[255] == pytest.approx(2 / 3) and weight.sum() == 4


@given(arrays(np.int64, (256, 2), elements=st.integers(0, 50)))
def test_the_best_threshold_is_that_of_a_sweep(numbers):
    counts = np.stack([numbers.sum(axis=1), numbers[:, 1]], axis=1)
    right, wrong = numbers[:, 1], numbers[:, 0]
    iou = [right[k:].sum() / max(wrong[k:].sum() + right.sum(), 1) for k in range(1, 256)]
    best, threshold = calibration.best_iou(counts)
    level = int(np.ceil(threshold * 255))
    assert iou[level - 1] == max(iou) == pytest.approx(best)


def test_curves_lie_beside_their_checkpoint_and_belong_to_it(tmp_path):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"weights")
    assert read_curves(checkpoint) == {}
    curves = {"pixels": Curve((0.0, 0.5, 1.0), (0.1, 0.2, 0.9), 100), "roads": Curve((0.4,), (0.7,), 12.5)}
    path = write_calibration(checkpoint, Calibration(curves, "the validation strip"))
    assert path == tmp_path / "best.calibration.json" and read_curves(checkpoint) == curves
    assert len(path.read_bytes()) < 2000
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(InputError, match="fitted to another checkpoint"):
        read_curves(checkpoint)


def test_each_number_of_views_has_curves_and_thresholds_of_its_own(tmp_path):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"weights")
    model = TrainedModel(None, CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3, threshold=0.8), "")
    assert at_views(model, checkpoint, "d4") is model
    one, eight = Curve((0.4,), (0.7,), 1), Curve((0.3,), (0.7,), 1)
    write_calibration(checkpoint, Calibration({"pixels": one, "roads": one}, "", {"pixels": 0.7}))
    assert read_curves(checkpoint, "d4")["pixels"] == one  # better than none
    write_calibration(checkpoint, Calibration({"pixels": eight}, "", {"pixels": 0.6}), "d4")
    assert read_curves(checkpoint, "d4") == {"pixels": eight, "roads": one}
    assert read_curves(checkpoint) == {"pixels": one, "roads": one}
    assert at_views(model, checkpoint, "d4").info.threshold == 0.6 and at_views(model, checkpoint, "none") is model
    stated = replace(model, info=replace(model.info, training={"threshold": 0.25}))
    assert at_views(stated, checkpoint, "d4") is stated  # as by the recipe of the release


def test_a_class_that_nobody_measured_keeps_its_threshold():
    model = TrainedModel(
        None, CheckpointInfo(ModelConfig(classes=2), "roads+buildings", (0.0,) * 3, (1.0,) * 3, (0.2, 0.3)), ""
    )
    kept = calibration.with_thresholds(model, {"pixels_buildings": 0.6})
    assert kept.info.thresholds == {"roads": 0.2, "buildings": 0.6}


def test_a_class_taken_by_itself_has_the_threshold_that_it_has_among_others():
    model = TrainedModel(None, CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3, 0.8), "a:roads")
    measured = {"pixels_roads": 0.6, "pixels_buildings": 0.4}
    assert calibration.with_thresholds(model, measured).info.threshold == 0.6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("curves"), "cannot be read as one: 'curves'"),
        (lambda c: c["curves"]["roads"].update(said=["high"]), "cannot be read as one"),
        (lambda c: c["curves"]["roads"].update(said=[2.0]), "all from 0 to 1"),
        (lambda c: c["curves"].update(rivers=c["curves"]["roads"]), "rivers"),
        (lambda c: c["thresholds"].update(pixels=1.5), "a threshold of 1.5; expected 0 to 1"),
    ],
)
def test_a_damaged_file_of_curves_is_named(tmp_path, change, said):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"weights")
    path = write_calibration(checkpoint, Calibration({"roads": Curve((0.4,), (0.7,), 1)}, ""))
    content = json.loads(path.read_text())
    change(content["views"]["none"])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        read_curves(checkpoint)
    assert str(path) in str(caught.value)
