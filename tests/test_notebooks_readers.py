"""Real chips of every reader, and an area of clean labels alone, through the notebooks' own code in this process."""

import json
import re

import cv2
import matplotlib
import numpy as np
import pytest

from lib.chips import load_manifest
from lib.errors import InputError, ParameterError
from lib.paths import ROOT
from lib.show import reports

SHARED = ROOT.parent / "shared" / "data"
TINY = {"epochs": 1, "samples_per_epoch": 2, "batch_size": 2, "crop_px": 32, "start_from": ""}
NETWORK = {"encoder_name": "tu-mobilenetv3_small_050"}


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.setenv(reports.HEADLESS_VARIABLE, "1")
    matplotlib.use("Agg")


def run_cells(notebook, values, stop_at=None):
    """What a notebook's cells leave behind, run in this process with other parameters; up to a heading."""
    source = (ROOT / "notebooks" / f"{notebook}.py").read_text().replace("# %matplotlib", "#")
    head, tail = source.split("# %%\nfrom lib.parameters import check_notebook", 1)
    tail = tail.split(f"# ## {stop_at}", 1)[0] if stop_at else tail
    namespace = {}
    exec(compile(head, notebook, "exec"), namespace)
    namespace.update(values)
    exec(compile("from lib.parameters import check_notebook" + tail, notebook, "exec"), namespace)
    return namespace


@pytest.fixture
def clean_area(tmp_path):
    """Two photographs without coordinates, and masks of their road: what DeepGlobe looks like."""
    rng = np.random.default_rng(0)
    for name in ("7", "12"):
        image = rng.integers(40, 90, (192, 64, 3), dtype=np.uint8)
        mask = np.zeros((192, 64), np.uint8)
        mask[:, 24:34] = 255
        image[mask > 0] += 100
        cv2.imwrite(str(tmp_path / f"{name}_sat.jpg"), image)
        cv2.imwrite(str(tmp_path / f"{name}_mask.png"), mask)
    source = {"images": "{id}_sat.jpg", "clean": "{id}_mask.png", "gsd_m": 0.5}
    return {"area": "demo", "work_dir": str(tmp_path)}, {
        "data_dir": str(tmp_path), "render_sample": False, "sources": [source],
        "gsd_m": 0.5, "chip_px": 64, "clean_chips": 0,
    }  # fmt: skip


def test_clean_labels_alone_go_through_every_notebook(clean_area, capsys):
    own, first = clean_area
    run_cells("01_rasterize_osm", own | first)
    run_cells("03_train_stage2", own | TINY | {"network": NETWORK})
    run_cells("04_evaluate", own)
    record = json.loads((reports.report_dir(**own) / "metrics.json").read_text())
    assert record["01_rasterize_osm"]["metrics"]["chips"] == {"clean test": 2, "clean train": 2, "clean val": 2}
    assert list(record["03_train_stage2"]["metrics"]) == ["scratch", "train_chips", "val_chips"]
    assert [row["run"] for row in record["04_evaluate"]["metrics"]["scoreboard"]] == ["stage 2 alone"]
    assert "no stage 1 to go on from" in capsys.readouterr().out
    reports.render_index(**own)
    with pytest.raises(InputError, match="no chips with label 'osm'"):
        run_cells("02_train_stage1", own)


def test_two_classes_go_through_every_notebook(clean_area, tmp_path):
    own, first = clean_area
    for name in ("7", "12"):
        cv2.imwrite(
            str(tmp_path / f"{name}_houses.png"), np.roll(cv2.imread(str(tmp_path / f"{name}_mask.png")), 20, 1)
        )
    own |= {"task": "roads+buildings"}
    labels = {"roads": "{id}_mask.png", "buildings": "{id}_houses.png"}
    sources = [{"images": "{id}_sat.jpg", "osm": labels, "clean": labels, "gsd_m": 0.5}]
    run_cells("01_rasterize_osm", own | first | {"sources": sources})
    small = {"encoder_name": NETWORK["encoder_name"], "encoder_weights": ""}
    run_cells("02_train_stage1", own | {name: TINY[name] for name in TINY if name != "start_from"} | small)
    run_cells("03_train_stage2", own | TINY | {"start_from": "stage1", "compare_scratch": False})
    run_cells("04_evaluate", own)
    record = json.loads((reports.report_dir(own["area"], own["work_dir"]) / "metrics.json").read_text())["04_evaluate"]
    runs = {row["run"] for row in record["metrics"]["scoreboard"]}
    assert {f"{kind}: stage 1, then 2" for kind in ("roads", "buildings")} <= runs
    assert set(record["metrics"]["thresholds"]["stage 1, then 2"]) == {"roads", "buildings"}
    with pytest.raises(ParameterError, match="whose classes have one each; got 0.4"):
        run_cells("04_evaluate", own | {"threshold": 0.4})


def test_a_report_of_an_area_without_stage_1_leaves_it_out():
    assert reports.notebooks_of("deepglobe") == ["01_rasterize_osm", "03_train_stage2", "04_evaluate"]
    assert len(reports.notebooks_of("demo")) == 5


def spacenet(name, images, task, gsd_m, **labels):
    return {"task": task, "gsd_m": gsd_m, "sources": [{"images": f"{name}/{images}"} | labels]}


ROADS, KAMPALA = "spacenet3-vegas-roads", "hot-fair-kampala-buildings"
READERS = {  # real chips, each with the parameters that it needs
    "DeepGlobe": {"data_dir": "deepglobe-roads"}
    | {"sources": [{"images": "train/{id}_sat.jpg", "clean": "train/{id}_mask.png", "gsd_m": 0.5}]},
    "massachusetts, white no-data": {
        "gsd_m": 2.0,
        "sources": [
            {
                "images": "massachusetts-roads-png/images/*",
                "osm": "massachusetts-roads-png/masks/{stem}.png",
                "gsd_m": 1.0,
                "nodata": "white",
            }  # fmt: skip
        ],
    },
    "Massachusetts tiles and EPFL, each at its own scale": {
        "gsd_m": 2.0,
        "sources": [
            {
                "images": "massachusetts-roads-tiles/images/1037*.jpg",
                "osm": "massachusetts-roads-tiles/masks/{stem}.png",
                "gsd_m": 1.0,
                "nodata": "white",
            },
            {
                "images": "epfl-cil-roads/images/*_00*.png",
                "clean": "epfl-cil-roads/groundtruth/{stem}.png",
                "gsd_m": 0.4,
            },
        ],
    },  # fmt: skip
    "SpaceNet 3": spacenet(
        ROADS,
        "images/RGB-PanSharpen_{id}.tif",
        "roads",
        0.6,
        clean=f"{ROADS}/gt_json_prop_wkt/ground_truth_randomized/{{id}}.geojson",
    ),  # fmt: skip
    "SpaceNet 1": spacenet(
        "spacenet1-rio-buildings",
        "3band/{id}img5{n}.tif",
        "buildings",
        1.0,
        clean="spacenet1-rio-buildings/building_mask_vis/{stem}.tif",
    ),  # fmt: skip
    "SpaceNet 4, one band of 16 bits": spacenet(
        "spacenet-solaris-samples",
        "sample_geotiff.tif",
        "buildings",
        1.0,
        clean="spacenet-solaris-samples/geotiff_labels.geojson",
    ),  # fmt: skip
    "Kampala": {
        "task": "buildings",
        "gsd_m": 0.3,
        "sources": [
            {
                "images": "hot-fair-kampala-buildings/tiles/OAM-*-19.*",
                "osm": "hot-fair-kampala-buildings/labels.geojson",
            }
        ],
    },  # fmt: skip
}


@pytest.mark.parametrize("name", READERS)
def test_real_chips_of_every_reader_go_through_notebook_1(name, tmp_path):
    values = {"area": "demo", "chip_px": 128, "clean_chips": 0, "render_sample": False} | READERS[name]
    values |= {"work_dir": str(tmp_path), "data_dir": str(SHARED / str(READERS[name].get("data_dir", "")))}
    folder = SHARED / re.split(r"[/{*]", values["sources"][0]["images"])[0]
    if not folder.is_dir() and not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here")
    run_cells("01_rasterize_osm", values, stop_at="How noisy is")
    manifest = load_manifest(reports.chip_dir(values["area"], tmp_path) / "draft.csv")
    assert set(manifest["split"]) == {"train", "val", "test"} and (manifest["mask"] != "").all()
