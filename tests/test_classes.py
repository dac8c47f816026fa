"""Roads and buildings in one network, from a window of the sample town to its map, by the notebooks' own functions."""

import geopandas as gpd
import pandas as pd
import pytest
import torch

from lib.chips import ChipOptions, build_chips, by_class, find_all_scenes, load_manifest, of_class, read_vectors, select
from lib.limits import classes_of
from lib.mapping import MapOptions, map_rasters, predict_chips, write_layers
from lib.networks import ModelConfig, curves_of_pixels, load_model, pixels_kind, read_curves
from lib.osm import chosen_lanes
from lib.parameters import check
from lib.sample.degraded import Degradation
from lib.sample.places import PLACES, place_vectors, truth_layers, write_scene
from lib.sample.places import write_layers as write_vectors
from lib.sample.scene import render_scene
from lib.scores import calibrate, evaluate
from lib.training import TrainConfig, fit
from lib.trust import alignment, quality

BOTH = "roads+buildings"
SIDE_PX = 384
SOURCE = {"images": "town.tif", "osm": "{stem}_osm.gpkg", "clean": "{stem}_truth.gpkg"}
QUICK = TrainConfig(epochs=2, batch_size=2, crop_px=64, samples_per_epoch=8, accelerator="cpu", precision="32-true")


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A window of the sample town, 192 m a side: image, truth, and what the degraded OpenStreetMap has."""
    folder = tmp_path_factory.mktemp("town")
    vectors, osm = place_vectors("town", 0, Degradation())
    grid = PLACES["town"].grid().window(2000, 1200, SIDE_PX, SIDE_PX)
    write_vectors(folder / "town_truth.gpkg", *truth_layers(vectors))
    write_vectors(folder / "town_osm.gpkg", *osm)
    write_scene(folder / "town.tif", render_scene(vectors, grid, 0), grid)
    return folder


@pytest.mark.filterwarnings("ignore:No chip of")
def test_both_classes_go_from_vectors_to_one_map(town, tmp_path):
    torch.set_num_threads(1)
    # notebook 1
    scenes = find_all_scenes([SOURCE], town, 1.0)
    layers, lanes = read_vectors(scenes, BOTH), chosen_lanes("metric", 0.0, {}, [])
    options = ChipOptions(task=BOTH, gsd_m=1.0, chip_px=64, val_share=0.3, test_share=0.3)
    draft = build_chips(scenes, layers, tmp_path / "chips", options, lanes, name="draft.csv")
    offsets = alignment.scene_offsets(by_class(scenes, BOTH)["roads"], layers, "roads", lanes)
    table = quality.chip_table(load_manifest(draft), scenes, layers, BOTH, lanes, offsets, {})
    assert table["road_m"].notna().sum() == (table["class"] == "roads").sum() == len(table) / 2
    worst = table.loc[(table["split"] == "train") & (table["class"] == "buildings"), "foreground"].min()
    quality.drop_chips(draft, table, [f"foreground <= {worst}"])
    manifest = load_manifest(tmp_path / "chips")
    dropped = manifest[manifest["dropped"] != ""]
    assert len(dropped) and set(dropped["label"]) == {"osm"}  # rows of chips whose other class may stay
    # notebooks 2 and 3
    model, runs = ModelConfig(encoder_name="tu-mobilenetv3_small_050", classes=2), {}
    for label, start in (("osm", None), ("clean", "osm")):
        pair = select(manifest, label, "train"), select(manifest, label, "val")
        init = runs[start].checkpoint if start else None
        runs[label] = fit(*pair, tmp_path / label, QUICK, model, BOTH, init_from=init, progress=lambda line: None)
    # notebook 4
    trained, test = load_model(runs["clean"].checkpoint, task=BOTH), select(manifest, "clean", "test")
    paths, boards = predict_chips(trained, test, tmp_path / "test"), {}
    for kind, threshold in trained.info.thresholds.items():
        own = of_class(test, kind)
        scores = evaluate.score_chips(own, paths, threshold, kind)
        boards[kind] = evaluate.scoreboard({"two_stage": scores}, kind)
        pairs = (evaluate.probability_pairs(own, paths) for _ in range(2))
        calibrate(runs["clean"].checkpoint, *pairs, "the test chips", pixels_kind(BOTH, kind))
    board = evaluate.by_class(boards).pivot(index="run", columns="metric", values="value")
    assert board["IoU, pooled"].between(0, 1).all() and len(board) == 2
    assert pd.isna(board.loc["buildings: two_stage", "APLS"]) and board["F1 of buildings"].notna().sum() == 1
    # notebook 5
    curves = curves_of_pixels(read_curves(runs["clean"].checkpoint), BOTH)
    assert curves.keys() == set(classes_of(BOTH))
    own = MapOptions(window_px=128, overlap_px=32, views="none", backend="torch")
    made = map_rasters(trained, [town / "town.tif"], tmp_path / "map", own, progress=lambda line: None)
    found = write_layers(tmp_path / "map", curve=curves)
    assert made["threshold"] == trained.info.thresholds and found["task"] == BOTH
    for kind, layer in found["layers"].items():
        assert len(gpd.read_file(tmp_path / "map" / "map.gpkg", layer=kind)) == layer["features"]


def test_the_task_is_a_parameter_of_every_notebook():
    for notebook in ("01_rasterize_osm", "02_train_stage1", "03_train_stage2", "04_evaluate", "05_map_area"):
        assert check(notebook, {"task": BOTH})["task"] == BOTH
