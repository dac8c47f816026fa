"""Counts and scores of every threshold are those of each threshold alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.scores import sweep
from lib.scores.metrics import count_pixels

pytestmark = pytest.mark.filterwarnings("error")


@given(
    probability=hnp.arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32)),
    mask=hnp.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 127, 255])),
)
def test_counts_of_all_thresholds_are_those_of_each(probability, mask):
    counts = sweep.threshold_counts(probability, mask, sweep.THRESHOLDS)
    scored, yes = mask != MASK_IGNORE, mask == 255
    for threshold, (tp, fp, fn) in zip(sweep.THRESHOLDS[::7], counts[::7], strict=True):
        said = probability >= np.float32(threshold)
        assert (tp, fp, fn) == ((said & yes).sum(), (said & ~yes & scored).sum(), (~said & yes).sum())


def test_the_sweep_pools_its_chips():
    probability = np.array([[0.2, 0.6], [0.8, 0.9]], np.float32)
    truth = np.array([[0, 255], [0, 255]], np.uint8)
    ignored = np.full((2, 2), MASK_IGNORE, np.uint8)
    table = sweep.threshold_sweep([(probability, truth), (probability, ignored)], np.array([0.1, 0.5, 0.85, 0.95]))
    assert table["tp"].tolist() == [2, 2, 1, 0]
    assert table["fp"].tolist() == [2, 1, 0, 0]
    assert table["iou"].tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2, 0])
    assert table["precision"].tolist() == pytest.approx([1 / 2, 2 / 3, 1, np.nan], nan_ok=True)
    assert table["f1"].tolist() == pytest.approx([2 / 3, 4 / 5, 2 / 3, 0])


@pytest.mark.parametrize("count", [sweep.threshold_counts, sweep.relaxed_counts])
def test_masks_of_one_and_of_bool_count_as_those_of_255(count):
    truth = np.eye(6, dtype=bool)
    probability = truth * np.float32(0.8)
    expected = count(probability, truth * np.uint8(255), sweep.THRESHOLDS)
    for mask in (truth, truth.astype(np.uint8)):
        np.testing.assert_array_equal(count(probability, mask, sweep.THRESHOLDS), expected)


def test_what_cannot_be_swept_is_refused():
    with pytest.raises(InputError, match="at least one chip"):
        sweep.threshold_sweep([])
    with pytest.raises(InputError, match="like its mask"):
        sweep.threshold_sweep([(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))])
    with pytest.raises(InputError, match="like its mask"):
        sweep.relaxed_sweep([(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.uint8))])
    with pytest.raises(InputError, match="at least one chip"):
        sweep.relaxed_sweep([])


@given(
    probability=hnp.arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=32)),
    mask=hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 127, 255])),
    slack_px=st.sampled_from([0.0, 1.0, 1.5, 3.0]),
)
def test_relaxed_counts_of_all_thresholds_are_those_of_each(probability, mask, slack_px):
    counts = sweep.relaxed_counts(probability, mask, sweep.THRESHOLDS, slack_px)
    for threshold, row in zip(sweep.THRESHOLDS[::9], counts[::9], strict=True):
        said = np.where(probability >= np.float32(threshold), 255, 0).astype(np.uint8)
        one = count_pixels(said, mask, slack_px)
        expected = [one["tp"] + one["fp"], one["near_predicted"], one["tp"] + one["fn"], one["near_true"]]
        assert row.tolist() == expected


def test_the_break_even_of_a_road_that_is_seen_and_one_that_is_hardly_seen():
    truth, probability = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.float32)
    truth[:, [5, 25]] = 255  # two roads of 40 px
    probability[:, 5] = 0.9
    probability[:, 10] = 0.6  # 5 px away from it: wrong
    probability[:, 22] = 0.3  # 3 px from the other: near enough
    table = sweep.relaxed_sweep([(probability, truth)], np.array([0.2, 0.5, 0.8]))
    assert table["precision"].tolist() == pytest.approx([2 / 3, 1 / 2, 1])
    assert table["recall"].tolist() == pytest.approx([1, 1 / 2, 1 / 2])
    assert sweep.break_even(table) == pytest.approx((1 / 2, 0.5))


def test_the_break_even_lies_straight_between_two_thresholds_or_nowhere():
    table = pd.DataFrame({"threshold": [0.2, 0.4], "precision": [0.5, 0.9], "recall": [0.8, 0.6]})
    assert sweep.break_even(table) == pytest.approx((0.7, 0.3))  # gaps -0.3 and 0.3: half way
    twice = pd.concat([table, table.assign(threshold=[0.6, 0.8], precision=[0.1, 0.3], recall=[0.3, 0.1])])
    assert sweep.break_even(twice) == pytest.approx((0.7, 0.3))
    assert np.isnan(sweep.break_even(table.assign(recall=0.1))).all()
    assert np.isnan(sweep.break_even(table.assign(precision=np.nan))).all()
