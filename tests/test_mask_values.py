"""One rule for the values of masks: arrays, chips and files go by it."""

import cv2
import numpy as np
import pytest

from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.mask_values import as_mask, decide, has_grey_edges, values_of
from lib.scores.metrics import count_pixels
from lib.vectors.buildings import mask_to_polygons
from lib.vectors.roadgraph import mask_to_graph

ROAD = np.zeros((400, 400), np.uint8)
ROAD[196:204] = 1


def ys(mask):
    """Where the roads of a mask's graph run: mean y of each line, px."""
    return [round(float(line[:, 1].mean())) for line in mask_to_graph(mask, 0.5).lines]


@pytest.mark.parametrize("high", [1, 2, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_scores_graphs_and_polygons_read_a_mask_alike(high, kind):
    mask = ROAD.astype(kind) * high
    mask[300:] = MASK_IGNORE
    assert count_pixels(mask, ROAD)["tp"] == 3200
    assert count_pixels(ROAD, mask) == {"tp": 3200, "fp": 0, "fn": 0, "tn": 116800} | dict.fromkeys(
        ("near_predicted", "near_true"), 3200
    )
    assert ys(mask) == [200]
    assert [polygon.area for polygon in mask_to_polygons(mask, 0.5)] == [3200]
    assert np.array_equal(np.unique(as_mask(mask, "mask")), [0, 127, 255])


@pytest.mark.parametrize("other", [255, 2, 128])
def test_a_third_value_is_refused_everywhere(other):
    mask = ROAD.copy()
    mask[300:] = other
    for read in (lambda m: count_pixels(m, ROAD), ys, lambda m: mask_to_polygons(m, 0.5), lambda m: as_mask(m, "mask")):
        with pytest.raises(InputError, match=f"holds the values 0, 1, {other}; expected background and one class"):
            read(mask)


def test_arrays_that_say_nothing_of_their_background_are_refused():
    with pytest.raises(InputError, match="values 1, 2"):
        count_pixels(ROAD + np.uint8(1), ROAD)
    with pytest.raises(InputError, match="probabilities from 0 to 1, got 255"):
        mask_to_graph(ROAD * np.float32(255), 0.5)
    assert as_mask(np.full((3, 3), MASK_IGNORE, np.uint8), "mask").tolist() == [[127] * 3] * 3
    assert mask_to_graph(np.zeros((0, 5), np.uint8), 0.5).lines == []


def slanted(width_px, side=400):
    mask = np.zeros((side, side), np.uint8)
    cv2.line(mask, (0, 30), (side, side - 70), 255, width_px)
    cv2.line(mask, (0, side), (side, 40), 255, width_px)
    return mask


def jpeg(mask, quality):
    return cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


SMOOTH = {
    "half as large": cv2.resize(slanted(9), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "a third": cv2.resize(slanted(9), None, fx=0.33, fy=0.33, interpolation=cv2.INTER_AREA),
    "four times": cv2.resize(slanted(9), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC),
    "blurred": cv2.GaussianBlur(slanted(9), (0, 0), 1.5),
    "JPEG 95": jpeg(slanted(9), 95),
    "JPEG 30": jpeg(slanted(9), 30),
    "JPEG of pale areas": jpeg((slanted(60) * 0.93).astype(np.uint8), 60),
    "pale": (cv2.GaussianBlur(slanted(40), (0, 0), 1) * 0.93).astype(np.uint8),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_grey_edges_count_by_half(name):
    mask = SMOOTH[name]
    assert len(values_of(mask)) > 2
    assert np.array_equal(as_mask(mask, "mask") == 255, mask > 127)


def codes_in_blocks(codes):
    blocks = np.random.default_rng(0).choice(codes, (20, 20)).astype(np.uint8)
    mask = cv2.resize(blocks, (400, 400), interpolation=cv2.INTER_NEAREST)
    mask[:60] = 255  # not labelled
    return mask


def houses_beside_a_street():
    mask = np.zeros((400, 400), np.uint8)
    mask[195:205] = 255
    for x in range(5, 390, 25):
        mask[180:192, x : x + 14] = mask[209:220, x : x + 14] = 128
    return mask


def numbered_houses():
    mask = np.zeros((400, 400), np.uint8)
    for number in range(200):
        y, x = 28 * (number // 15), 26 * (number % 15)
        mask[y : y + 14, x : x + 14] = number
    return mask


@pytest.mark.parametrize(
    "mask",
    [codes_in_blocks(range(8)), codes_in_blocks(range(19)), houses_beside_a_street(), numbered_houses()],
    ids=["land cover", "street scenes", "two classes", "numbered houses"],
)
def test_codes_of_classes_are_no_grey_edges(mask):
    assert not has_grey_edges([mask], values_of(mask))
    with pytest.raises(InputError, match="expected background and one class"):
        as_mask(mask, "mask")


@pytest.mark.parametrize(
    ("values", "nodata", "chosen", "foreground", "ignored"),
    [
        ([0, 1, 255], 255, (), {1}, {255}),
        ([0, 1, 2], 0, (), {2}, {0}),
        ([0, 255], 0, (), {255}, set()),  # the writer called the background so
        ([0, 255], 255, (), {255}, set()),
        ([0], 0, (), set(), set()),
        ([255], 255, (), set(), {255}),
        ([1, 2], None, (), {2}, set()),
        ([0, 127, 1], None, (), {1}, {127}),
        ([0.0, 1.0, float("nan")], float("nan"), (), {1}, set()),
        ([-9999, 0, 1], -9999, (), {1}, {-9999}),
        ([1, 2, 3], None, (3,), {3}, set()),
        ([0, 127], None, (127,), {127}, set()),
        ([0, 2, 255], 255, (2,), {2}, {255}),
        ([0, 2], 0, (2,), {2}, set()),
        ([0, 1], 0, (2,), {2}, {0}),
    ],
)
def test_what_values_mean(values, nodata, chosen, foreground, ignored):
    meaning = decide(values, "mask", nodata, chosen)
    assert (set(meaning.foreground), set(meaning.ignored)) == (foreground, ignored)
