import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.errors import InputError, ParameterError
from lib.grid import MASK_IGNORE
from lib.scores.metrics import PixelScores, bootstrap_interval, count_pixels, paired_difference, pixel_scores

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
SCORES = ["iou_pooled", "iou_mean_per_image", "iou_mean_over_classes", "precision", "recall", "f1", "accuracy"]
SCORES += ["relaxed_precision", "relaxed_recall", "relaxed_f1"]


def scores_of(*pairs: tuple[np.ndarray, np.ndarray], slack_px: float = 3.0) -> dict[str, float]:
    scores = PixelScores(slack_px)
    for i, (prediction, truth) in enumerate(pairs):
        scores.update(prediction, truth, chip=i)
    return scores.compute()


def mask(text: str) -> np.ndarray:
    values = {".": 0, "?": MASK_IGNORE, "#": 255}
    return np.array([[values[c] for c in row] for row in text.split()], np.uint8)


def test_known_answer():
    found = scores_of((mask("##.. ...."), mask("#.#. ....")), slack_px=0)
    assert found["iou_pooled"] == found["iou_mean_per_image"] == pytest.approx(1 / 3)
    assert found["iou_mean_over_classes"] == pytest.approx((1 / 3 + 5 / 7) / 2)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["accuracy"] == 6 / 8
    assert (found["relaxed_precision"], found["relaxed_recall"]) == (0.5, 0.5)


def test_pooled_and_mean_per_image_differ_as_they_are_named():
    full, empty = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    one = empty.copy()
    one[0, 0] = True
    found = scores_of((full, full), (empty, one))
    assert found["iou_pooled"] == 16 / 17
    assert found["iou_mean_per_image"] == 0.5


def test_slack_reaches_exactly_as_far_as_it_says():
    truth, prediction = np.zeros((1, 9), bool), np.zeros((1, 9), bool)
    truth[0, 0], prediction[0, 3] = True, True
    assert scores_of((prediction, truth), slack_px=3)["relaxed_f1"] == 1
    assert scores_of((prediction, truth), slack_px=2.9)["relaxed_f1"] == 0
    diagonal = np.eye(4, dtype=bool)
    assert scores_of((np.eye(4)[::-1] > 0, diagonal), slack_px=2)["relaxed_precision"] == 0.5
    assert count_pixels(np.roll(diagonal, 1, 0), diagonal, 1)["near_true"] == 4


def test_empty_cases():
    empty, one = np.zeros((3, 3), bool), np.eye(3, dtype=bool)
    assert set(scores_of((empty, empty)).values()) == {1.0}
    missed, invented = scores_of((empty, one)), scores_of((one, empty))
    assert np.isnan(missed["precision"]) and missed["recall"] == 0
    assert np.isnan(invented["recall"]) and invented["precision"] == 0
    for found in (missed, invented):
        assert found["iou_pooled"] == found["iou_mean_per_image"] == found["f1"] == found["relaxed_f1"] == 0


def test_ignored_truth_excuses_nobody():
    prediction, truth = mask("#..."), mask("??..")
    assert count_pixels(prediction, truth) == {
        **{"tp": 0, "fp": 0, "fn": 0, "tn": 2},
        **{"near_predicted": 0, "near_true": 0},
    }


@settings(max_examples=60)
@given(PAIRS)
def test_bounds_and_order(pair):
    found = scores_of(pair)
    assert set(found) == set(SCORES)
    assert all(0 <= value <= 1 or np.isnan(value) for value in found.values())
    assert found["iou_pooled"] <= found["f1"]
    assert not found["relaxed_precision"] < found["precision"]
    assert not found["relaxed_recall"] < found["recall"]


@settings(max_examples=60)
@given(PAIRS)
def test_prediction_and_truth_swapped_swaps_precision_and_recall(pair):
    found, swapped = scores_of(pair), scores_of(pair[::-1])
    for name in SCORES:
        other = name.replace("precision", "#").replace("recall", "precision")
        assert swapped[other.replace("#", "recall")] == pytest.approx(found[name], nan_ok=True)


@settings(max_examples=60)
@given(PAIRS)
def test_background_counts_like_foreground_over_classes(pair):
    inverse = scores_of((~pair[0], ~pair[1]))
    assert inverse["iou_mean_over_classes"] == pytest.approx(scores_of(pair)["iou_mean_over_classes"])
    assert inverse["accuracy"] == scores_of(pair)["accuracy"]


@settings(max_examples=60)
@given(PAIRS, st.integers(1, 6))
def test_ignoring_pixels_is_cropping_them(pair, width):
    prediction, truth = pair[0].astype(np.uint8) * 255, pair[1].astype(np.uint8) * 255
    fill = np.random.default_rng(width).integers(0, 2, (len(truth), width)).astype(np.uint8) * 255
    wide_prediction = np.hstack([prediction, fill])
    wide_truth = np.hstack([truth, np.full_like(fill, MASK_IGNORE)])
    assert count_pixels(wide_prediction, wide_truth) == count_pixels(prediction, truth)


@settings(max_examples=40)
@given(st.lists(PAIRS, min_size=2, max_size=5))
def test_streaming_is_pooling(pairs):
    scores, halves = PixelScores(), [PixelScores(), PixelScores()]
    for i, pair in enumerate(pairs):
        scores.update(*pair)
        halves[i % 2].update(*pair)
    joined = pd.concat([half.table() for half in halves])
    assert pixel_scores(joined) == pytest.approx(scores.compute(), nan_ok=True)


def test_bool_bytes_and_masks_are_one_thing():
    said, true = np.eye(5, dtype=bool), np.ones((5, 5), bool)
    counts = count_pixels(said, true)
    assert counts == count_pixels(said.astype(np.uint8), true.astype(np.uint8))
    assert counts == count_pixels(said.astype(np.uint8) * 255, true.astype(np.uint8) * 255)


def test_refuses_what_is_no_mask():
    with pytest.raises(InputError, match="one shape"):
        count_pixels(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(InputError, match="threshold"):
        count_pixels(np.zeros((2, 2), np.float32), np.zeros((2, 2), bool))
    with pytest.raises(InputError, match="prediction holds the values 7"):
        count_pixels(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), bool))
    with pytest.raises(InputError, match="No chip"):
        PixelScores().compute()
    with pytest.raises(ParameterError, match="slack_px"):
        PixelScores(-1)


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Thirty chips, predicted poorly and a little less poorly."""
    rng = np.random.default_rng(1)
    poor, better = PixelScores(), PixelScores()
    for chip in range(30):
        truth = rng.random((24, 24)) < rng.uniform(0.02, 0.3)
        wrong = rng.random(truth.shape)
        poor.update(truth ^ (wrong < 0.12), truth, chip=chip)
        better.update(truth ^ (wrong < 0.10), truth, chip=chip)
    return poor.table(), better.table()


def test_interval_holds_the_value_and_is_reproducible(tables):
    for statistic in ["iou_pooled", "iou_mean_per_image", "f1", "relaxed_recall", "iou", lambda t: t["iou"].median()]:
        interval = bootstrap_interval(tables[0], statistic, resamples=300)
        assert interval.low <= interval.value <= interval.high
        assert interval == bootstrap_interval(tables[0], statistic, resamples=300)
    assert bootstrap_interval(tables[0]).value == pixel_scores(tables[0])["iou_pooled"]


def test_interval_covers_the_mean_of_a_normal_sample_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(100):
        interval = bootstrap_interval(pd.DataFrame({"apls": rng.normal(0.5, 0.1, 40)}), "apls", resamples=200)
        hits += interval.low <= 0.5 <= interval.high
    assert 85 <= hits <= 100


def test_pairs_show_a_difference_that_separate_intervals_hide(tables):
    poor, better = tables
    difference = paired_difference(poor, better.sample(frac=1, random_state=0), "iou_mean_per_image")
    assert 0 < difference.low < difference.value < difference.high
    assert bootstrap_interval(poor, "iou_mean_per_image").high > bootstrap_interval(better, "iou_mean_per_image").low
    nothing = paired_difference(poor, poor)
    assert (nothing.low, nothing.value, nothing.high) == (0, 0, 0)


def test_refuses_tables_that_do_not_pair(tables):
    with pytest.raises(InputError, match="same chips"):
        paired_difference(tables[0], tables[1].iloc[:-1])
    with pytest.raises(ParameterError, match="Unknown statistic 'iuo'"):
        bootstrap_interval(tables[0], "iuo")
    with pytest.raises(InputError, match="at least one row"):
        bootstrap_interval(tables[0].iloc[:0])
