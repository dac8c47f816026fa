"""Pictures of several classes: each in its own colour, apart for any reader, and what nobody knows is hatched."""

import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import CLASS, write_png
from lib.grid import MASK_IGNORE
from lib.scores.evaluate import by_class, scoreboard
from lib.scores.metrics import PixelScores
from lib.show import storyboard
from lib.show.canvas import rgb
from lib.show.class_figures import CLASS_COLORS, classes_figure, classes_rgb, labels_figure, sampled
from lib.show.sheet import Sheet

BOTH = "roads+buildings"
GREY = np.full((64, 64, 3), 128, np.uint8)


@pytest.fixture
def rows(tmp_path):
    """Three chips; the last one has no mask of buildings."""
    found = []
    for index in range(3):
        image = write_png(tmp_path / f"image{index}.png", GREY)
        for kind in ("roads", "buildings")[: 1 if index == 2 else 2]:
            mask = np.zeros((64, 64), np.uint8)
            mask[10:20] = 255 if kind == "roads" else 0
            mask[40:60, 10:30] = 255 if kind == "buildings" else 0
            path = write_png(tmp_path / f"{kind}{index}.png", mask)
            found.append({"chip": f"c{index}", "image": str(image), "mask": str(path), CLASS: kind, "gsd_m": 1.0})
    return pd.DataFrame(found)


def test_the_colours_differ_in_lightness_and_each_class_has_its_own():
    road, house = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    road[:20], house[40:], road[20:30], house[20:30] = 255, 255, MASK_IGNORE, MASK_IGNORE
    pixels = classes_rgb(GREY, {"roads": road, "buildings": house}).astype(int)
    for kind, part in (("roads", pixels[5:15, 5:60]), ("buildings", pixels[45:60, 5:60])):
        tint = part.mean(axis=(0, 1)) - 128
        assert np.argmax(tint) == np.argmax(np.array(rgb(CLASS_COLORS[kind])) - 128)
    assert (pixels[33:37] == 128).all()
    assert pixels[20:30].std() > 1  # hatched
    # as a reader without red-sensitive cones sees them (Vienot et al. 1999, roughly): by yellow against blue
    yellow = [(rgb(color)[0] + rgb(color)[1]) / 2 - rgb(color)[2] for color in CLASS_COLORS.values()]
    assert yellow[0] > 100 and yellow[1] < -50


def test_chips_are_shown_under_all_masks_that_they_have(rows):
    sheet = labels_figure(rows, BOTH, label="clean mask")
    assert isinstance(sheet, Sheet) and "roads and buildings" in sheet.alt
    assert len([ax for ax in sheet.axes if ax.images]) == 3
    assert isinstance(labels_figure(rows[rows[CLASS] == "roads"], "roads"), Sheet)
    drawn = sampled(rows, 2, seed=0)
    assert drawn["chip"].nunique() == 2 and len(drawn) == len(rows[rows["chip"].isin(drawn["chip"])])
    alone = rows[rows[CLASS] == "roads"].drop(columns=CLASS)
    assert sampled(alone, 2, seed=3).equals(alone.sample(2, random_state=3))
    assert classes_figure([GREY], [{"roads": np.zeros((64, 64), np.uint8)}], gsd_m=[None])


def test_truth_and_prediction_of_both_lie_side_by_side(rows, tmp_path):
    own = rows[rows["chip"] == "c0"]
    said = [write_png(tmp_path / f"said{index}.png", np.full((64, 64), 200, np.uint8)) for index in own.index]
    sheet = storyboard.both_masks(own, pd.Series(said, own.index), {"roads": 0.5, "buildings": 0.9})
    assert len([ax for ax in sheet.axes if ax.images]) == 2


def test_one_scoreboard_calls_runs_by_their_class():
    boards = {}
    for kind in ("roads", "buildings"):
        scores = PixelScores()
        truth = np.zeros((8, 8), np.uint8)
        truth[:4] = 255
        scores.update(truth, truth, chip="a")
        own = {"apls": 0.5, "topo_f1": 0.4, "building_tp": 1, "building_fp": 1, "building_fn": 0}
        boards[kind] = scoreboard({"stage1": scores.table().assign(**own)}, kind)
    assert by_class({"roads": boards["roads"]}) is boards["roads"]
    board = by_class(boards)
    assert list(dict.fromkeys(board["run"])) == ["roads: stage1", "buildings: stage1"]
    gains = pd.DataFrame(columns=["difference", "metric", "value", "low", "high", "shown"])
    metrics = ["IoU, pooled", "APLS", "F1 of buildings"]
    record = storyboard.summary(board, gains, "stage1", metrics, 1)
    assert record["headline"] == (
        "IoU, pooled: 1.000 roads: stage1, 1.000 buildings: stage1; APLS: 0.500 roads: stage1; "
        "F1 of buildings: 0.667 buildings: stage1"
    )
    sheets = storyboard.named({"1": ({"all": "x"}, "Scores."), "2": ({"roads": "y", "buildings": "z"}, "One chip.")})
    assert sheets == {
        "1": ("x", "Scores."),
        "2_roads": ("y", "roads: One chip."),
        "2_buildings": ("z", "buildings: One chip."),
    }
