"""Evaluation: thresholds, scores a chip, intervals, mosaics."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import write_png
from lib.errors import InputError
from lib.mapping.predict import write_probability
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig
from lib.scores import evaluate
from lib.scores.evaluate import (
    at_threshold,
    building_f1_pooled,
    densest,
    differences,
    mosaic,
    mostly_foreground,
    score_chips,
    scoreboard,
    to_mask,
)


@pytest.fixture
def chips(tmp_path):
    """Four georeferenced chips of one scene, two by two, each with a cross of roads."""
    truth = np.zeros((128, 128), np.uint8)
    truth[60:68] = truth[:, 60:68] = 255
    truth[:, 120:] = 127
    rows = []
    for i in range(4):
        name, col, row = f"c{i}", 128 * (i % 2), 128 * (i // 2)
        rows.append(
            {
                "chip": name,
                "scene": "s",
                "image": write_png(tmp_path / f"{name}_i.png", np.full((128, 128, 3), 40 * i, np.uint8)),
                "mask": write_png(tmp_path / f"{name}_m.png", truth),
                "gsd_m": 0.5,
                "crs": "EPSG:32635",
                "transform": f"0.5 0 {500000 + 0.5 * col} 0 -0.5 {6700000 - 0.5 * row}",
                "width": 128,
                "height": 128,
            }
        )
    return pd.DataFrame(rows), truth


def predicted(chips, tmp_path, truth, missing):
    """Probability maps that equal the truth but for the chips that miss a street, and are wrong where nobody knows."""
    paths = []
    for i in range(4):
        p = (truth == 255) * 0.9
        p[:, 120:] = 1.0
        if i in missing:
            p[:60] = 0
        paths.append(write_probability(tmp_path / f"p{len(missing)}_{i}.png", p.astype(np.float32)))
    return pd.Series(paths)


def test_a_threshold_by_hand_is_for_the_last_run_alone():
    info = CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3, threshold=0.3)
    models = {name: TrainedModel(None, info, name) for name in ("first", "last")}
    same, origins = at_threshold(models, 0.0)
    assert same == models and set(origins) == {"the best on the validation chips"}
    chosen, origins = at_threshold(models, 0.45)
    assert [model.info.threshold for model in chosen.values()] == [0.3, 0.45]
    assert origins["last"].endswith("chosen by hand, the best on the validation chips is 0.300")
    assert origins["first"] == "the best on the validation chips"
    assert models["last"].info.threshold == 0.3


def test_views_have_the_threshold_that_is_best_on_validation_chips(chips, tmp_path, monkeypatch):
    table, truth = chips
    paths = predicted(table, tmp_path, truth, ())
    write_probability(paths[1], np.where(truth == 255, 0.6, 0.4).astype(np.float32))
    monkeypatch.setattr(evaluate, "predict_chips", lambda *arguments, **options: paths)
    info = CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3, threshold=0.8)
    model = TrainedModel(None, info, "")
    assert 0.4 < evaluate.best_of_views(model, table, tmp_path, "d4", print).info.threshold < 0.6
    assert evaluate.best_of_views(model, table, tmp_path, "none", print) is model
    both = replace(info, model=ModelConfig(classes=2), task="roads+buildings", threshold=(0.2, 0.3))
    known = table.assign(**{"class": "buildings"}).iloc[:1]
    found = evaluate.best_of_views(TrainedModel(None, both, ""), known, tmp_path, "d4", print)
    assert found.info.thresholds["roads"] == 0.2 != found.info.thresholds["buildings"] != 0.3


def test_what_is_mostly_foreground_is_named(chips, tmp_path):
    table, truth = chips
    paths = predicted(table, tmp_path, truth, ())
    write_probability(paths[2], np.full((128, 128), 0.8, np.float32))
    assert mostly_foreground(table, paths, 0.5) == ["c2"]


def test_what_the_truth_ignores_is_not_scored(chips, tmp_path):
    table, truth = chips
    scores = score_chips(table, predicted(table, tmp_path, truth, ()), 0.5, "roads")
    assert (scores["iou"] == 1).all() and (scores["apls"] > 0.999).all() and (scores["topo_f1"] == 1).all()
    assert (scores[["tp", "fp", "fn", "tn"]].sum(axis=1) == 128 * 120).all()


def test_scoreboard_and_differences_tell_the_runs_apart(chips, tmp_path):
    table, truth = chips
    tables = {
        "poor": score_chips(table, predicted(table, tmp_path, truth, (0, 1, 2, 3)), 0.5, "roads"),
        "good": score_chips(table, predicted(table, tmp_path, truth, (0,)), 0.5, "roads"),
    }
    board = scoreboard(tables, "roads").set_index(["run", "metric"])
    for metric in ("APLS", "TOPO F1", "relaxed recall"):
        assert board.loc[("good", metric), "value"] > board.loc[("poor", metric), "value"]
    assert (board["low"] <= board["value"]).all() and (board["value"] <= board["high"]).all()
    gains = differences(tables, "good", "roads")
    iou = gains[gains.metric == "IoU, pooled"].iloc[0]
    assert iou["low"] >= 0 and iou["value"] > 0
    alone = differences({"good": tables["good"]}, "good", "roads")
    assert alone.empty and list(alone) == list(gains)


def test_buildings_are_matched_one_by_one(tmp_path, chips):
    table, _ = chips
    truth = np.zeros((128, 128), np.uint8)
    truth[10:40, 10:40] = truth[60:90, 60:90] = 255
    table = table.assign(mask=[write_png(tmp_path / "b.png", truth)] * 4)
    probability = (truth == 255).astype(np.float32)
    probability[60:90, 60:90] = 0
    probability[100:120, 10:30] = 1
    path = write_probability(tmp_path / "pb.png", probability)
    scores = score_chips(table, pd.Series([path] * 4), 0.5, "buildings")
    assert scores[["building_tp", "building_fp", "building_fn"]].sum().tolist() == [4, 4, 4]
    assert building_f1_pooled(scores) == 0.5
    assert building_f1_pooled(scores * 0) == 1.0


def test_mosaic_lays_chips_where_they_lie(chips):
    table, _ = chips
    arrays = [np.full((128, 128), i + 1, np.uint8) for i in range(4)]
    order = [3, 0, 2]
    whole, grid = mosaic(table.iloc[order], [arrays[i] for i in order], 0)
    assert whole.shape == (256, 256)
    assert [whole[0, 0], whole[0, 200], whole[200, 0], whole[200, 200]] == [1, 0, 3, 4]
    assert grid.transform[2] == 500000 and grid.transform[5] == 6700000
    assert (mosaic(table.iloc[order].assign(scene=list("abc")), [arrays[i] for i in order], 0)[0] == whole).all()
    with pytest.raises(InputError, match="one CRS"):
        mosaic(table.assign(crs=["EPSG:32635"] * 3 + ["EPSG:32636"]), arrays, 0)


def test_the_map_shows_the_ground_that_holds_the_most_chips(chips):
    table, _ = chips
    assert len(densest(table)) == 4
    assert list(densest(table, 256)["chip"]) == ["c0", "c1", "c2", "c3"]
    assert len(densest(table, 255)) < 4
    far = table.assign(transform=["0.5 0 400000 0 -0.5 6700000", *table["transform"][1:]])
    assert list(densest(far)["chip"]) == ["c1", "c2", "c3"]
    assert list(densest(table.assign(crs="", transform=""))["chip"]) == ["c0"]


def test_threshold_is_inclusive_and_ignored_pixels_stay():
    truth = np.array([[0, 255, 127]], np.uint8)
    assert to_mask(np.array([[0.5, 0.49, 1.0]]), 0.5, truth).tolist() == [[255, 0, 127]]
