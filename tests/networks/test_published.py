"""Networks that ship: they load without a network, are what their card says, and see what it says they see."""

import re

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors import safe_open

from lib.grid import MASK_IGNORE
from lib.mapping.predict import predict_image
from lib.networks.calibration import read_curves
from lib.networks.checkpoint import file_digest, read_info
from lib.networks.hub import from_pretrained
from lib.networks.published import published, weights_of
from lib.paths import ROOT
from lib.scores.evaluate import to_mask
from lib.scores.metrics import count_pixels

TILES = ROOT.parent / "shared" / "data" / "massachusetts-roads-tiles"
LARGEST_MB = 12
TOLERANCE = 0.02  # of IoU: bfloat16 or float32, and other readers of JPEG

pytestmark = pytest.mark.parametrize("name", published())


@pytest.fixture
def card(name):
    """Front matter of a card, its tables' rows by first cell, and its whole text."""
    text = weights_of(name).with_name("README.md").read_text()
    front, text = text.removeprefix("---\n").split("---\n", 1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return yaml.safe_load(front), {first: rest for first, *rest in rows}, text


def test_it_loads_in_one_line_wherever_one_is_and_without_a_network(name, monkeypatch, tmp_path):
    monkeypatch.setattr("lib.networks.hub.hf_hub_download", lambda *_: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()  # of the same name, and of no meaning
    model = from_pretrained(name)
    assert model.digest == file_digest(weights_of(name))
    assert {value.dtype for value in model.network.parameters()} == {torch.float32}
    assert "pixels" in read_curves(weights_of(name))


def test_its_file_is_small_and_what_its_card_says(name, card):
    _, rows, text = card
    file, info = weights_of(name), read_info(weights_of(name))
    assert file.stat().st_size <= LARGEST_MB * 1e6
    assert rows["SHA-256"] == [f"`{file_digest(file)}`"]
    assert rows["file"][0].startswith(f"{file.stat().st_size / 1e6:.1f} MB")
    with safe_open(file, "pt") as tensors:
        kept = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
    assert {value.dtype for value in kept.values() if value.ndim > 1} == {torch.float16}
    network = from_pretrained(name).network
    count = sum(value.numel() for value in network.parameters())
    described = f"`{info.model.architecture}` on `{info.model.encoder_name}`, {count:,} parameters"
    assert rows["network"] == [described]
    assert rows["threshold"][0].startswith(f"{info.threshold:.3f},")
    assert f"{info.gsd_m:g} m a pixel" in rows["input"][0] and rows["finds"][0].startswith(info.task)
    numbers = [float(number) for number in re.findall(r"\d\.\d+", rows["fed as"][0])]
    assert numbers == pytest.approx([*info.mean, *info.std], abs=5e-4)
    for word in ("OpenStreetMap contributors, ODbL", "MassGIS", "Saito et al. (2016)"):
        assert word in text


def test_its_figures_are_those_of_the_results(name, card):
    front, rows, _ = card
    table = pd.read_csv(ROOT / "results" / f"{name.replace('-', '_')}.csv").set_index(["network", "views"]).loc[name]
    shown = {"relaxed break-even, 3 px": "relaxed_break_even", "IoU, pooled": "iou_pooled", "APLS, strict": "apls"}
    for label, column in shown.items():
        assert [float(cell) for cell in rows[label]] == pytest.approx([*table.loc[["none", "d4"], column]], abs=6e-4)
    (result,) = front["model-index"][0]["results"]
    for metric in result["metrics"]:
        assert metric["value"] == pytest.approx(table.loc["none", metric["type"]])
    assert table["half_difference"].max() < 0.02


def test_tiles_held_out_touch_none_that_trained(name):
    split = pd.read_csv(ROOT / "params" / "massachusetts-tiles" / "split.csv", dtype=str)
    corners = {tile: (int(tile[:4]), int(tile[4:8])) for tile in split["id"]}  # easting, northing in 100 m
    parts = {part: [corners[tile] for tile in rows] for part, rows in split.groupby("split")["id"]}
    assert {part: len(tiles) for part, tiles in parts.items()} == {"train": 24, "val": 3, "test": 8}
    for east, north in parts["test"]:
        apart = [max(abs(east - other), abs(north - further)) for other, further in parts["train"]]
        edges = [abs(east - other) + abs(north - further) for other, further in parts["train"]]
        assert min(apart) >= 15 and min(edges) > 15


def test_it_sees_on_a_tile_held_out_what_its_card_says(name, card):
    if not TILES.is_dir():
        pytest.skip(f"{TILES} is not there")
    _, rows, _ = card
    split = pd.read_csv(ROOT / "params" / "massachusetts-tiles" / "split.csv").set_index("id")["split"]
    tile = "10528780"
    assert split[f"{tile}_15"] == "test"
    image = cv2.imread(str(TILES / "images" / f"{tile}_15.jpg"))[..., ::-1]
    truth = cv2.imread(str(TILES / "masks" / f"{tile}_15.png"), cv2.IMREAD_GRAYSCALE)
    truth[(image >= 250).all(axis=-1)] = MASK_IGNORE
    model = from_pretrained(name)
    mask = to_mask(
        predict_image(model, np.ascontiguousarray(image), "none", window_px=1536), model.info.threshold, truth
    )
    counts = count_pixels(mask, truth)
    iou = counts["tp"] / (counts["tp"] + counts["fp"] + counts["fn"])
    assert iou == pytest.approx(float(rows[tile][1]), abs=TOLERANCE)
