"""The chip browser without a front end: what it lists and shows, and that the next run leaves out what it was told."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lib import parameters
from lib.chips.manifest import load_manifest, select, write_manifest
from lib.errors import InputError
from lib.mapping.predict import write_probability
from lib.networks.checkpoint import CheckpointInfo, TrainedModel, file_digest
from lib.networks.models import ModelConfig
from lib.scores.evaluate import Case, score_chips
from lib.show import storyboard
from lib.show.canvas import ERRORS, rgb
from lib.show.chip_browser import GAP_PX, ChipBrowser, case_rgb, chip_browser
from lib.trust import quality
from lib.trust.rules import MEASURES

ROOT = parameters.ROOT

pytestmark = pytest.mark.filterwarnings("error")

TABLE = pd.DataFrame(
    {
        "chip": ["b", "a", "d", "c"],
        "split": ["test", "test", "val", "val"],
        "dropped": ["", "", "", "by hand: clouds"],
        "IoU": [0.5, 0.2, 0.9, 0.1],
        "APLS": [0.1, np.nan, 0.3, 0.8],
    }
)


@pytest.fixture
def panel(image, quarters, tmp_path):
    (tmp_path / "01.yaml").write_text("drop: ['road_m < 5', {chip: c, reason: clouds}]  # bad ones\nseed: 1\n")
    return ChipBrowser(TABLE, lambda chip: Case(image, *quarters, chip, 0.5), tmp_path / "01.yaml")


def listed(panel) -> list[str]:
    return [name for _, name in panel.chip.options]


def test_it_sorts_filters_and_steps(panel):
    assert listed(panel) == ["c", "a", "b", "d"] and panel.chip.value == "c"
    panel.order.value = "worst APLS first"
    assert listed(panel) == ["b", "d", "c", "a"], "what has no score comes last"
    assert panel.chip.value == "c", "the chip at hand stays at hand"
    panel.order.value = "best IoU first"
    assert listed(panel) == ["d", "b", "a", "c"]
    panel.order.value = "by name"
    assert listed(panel) == ["a", "b", "c", "d"]
    panel.split.value = "test"
    assert listed(panel) == ["a", "b"] and panel.chip.value == "a"
    panel.buttons["on"].click()
    panel.buttons["on"].click()
    assert panel.chip.value == "b" and "IoU <b>0.50</b> · APLS <b>0.10</b>" in panel.about.value
    panel.buttons["back"].click()
    assert panel.chip.value == "a" and "APLS <b>–</b>" in panel.about.value


def test_excluding_asks_for_a_reason_and_keeping_takes_the_rule_away(panel):
    path = panel.rules_path
    panel.chip.value = "a"
    panel.buttons["exclude"].click()
    assert "Write why it should not count" in panel.status.value and panel.rules[-1]["chip"] == "c"
    panel.reason.value = "  the label\n is <b>wrong</b> "
    panel.buttons["exclude"].click()
    assert panel.rules[-1] == {"chip": "a", "reason": "the label is <b>wrong</b>"} and panel.rules[0] == "road_m < 5"
    assert (
        "excluded</b>: the label is &lt;b&gt;wrong" in panel.about.value
        and "(in this run it counted)" in panel.about.value
    )
    assert [text for text, name in panel.chip.options if name == "a"][0].startswith("✕ 0.20")
    assert "1 of 2 test, 1 of 2 val" in panel.status.value and "Run notebook 1 again" in panel.status.value
    assert "changes what the score means" in panel.status.value
    panel.buttons["exclude"].click()
    assert len(panel.rules) == 3, "a chip is named once"
    panel.buttons["keep"].click()
    assert panel.rules == ["road_m < 5", {"chip": "c", "reason": "clouds"}] and "Run notebook" not in panel.status.value
    panel.chip.value = "c"
    panel.buttons["keep"].click()
    assert "counts (in this run it did not)" in panel.about.value
    assert path.read_text() == "drop: [road_m < 5]  # bad ones\nseed: 1\n"


def test_rules_that_cannot_be_read_or_written_are_said(panel):
    panel.rules_path.write_text("drop: [roadm < 5]\n")
    panel.buttons["on"].click()
    assert "nearest known one is &#x27;road_m&#x27;" in panel.status.value
    panel.rules_path.write_text("- a list\n")
    panel.reason.value = "x"
    panel.buttons["exclude"].click()
    assert "expected lines `name: value`" in panel.status.value and panel.rules_path.read_text() == "- a list\n"
    with pytest.raises(InputError, match="at least one chip"):
        ChipBrowser(TABLE.iloc[:0], None, panel.rules_path)


def test_four_pictures_show_a_chip(image, quarters):
    pixels = case_rgb(Case(image, *quarters, "a", 0.5))
    side = image.shape[0]
    assert pixels.shape == (2 * side + GAP_PX, 2 * side + GAP_PX, 3)
    assert (pixels[:side, :side] == image).all()
    missed = pixels[-side + 10, -10].astype(int)  # upper right of the errors
    assert np.abs(missed - rgb(ERRORS["fn"])).sum() < 80
    large = Case(np.zeros((900, 1800, 3), np.uint8), *np.zeros((2, 900, 1800), np.uint8), "a", 1.0)
    assert case_rgb(large).shape == (2 * 256 + GAP_PX, 2 * 512 + GAP_PX, 3)


def test_the_panel_shows_the_chip_at_hand(panel, image, quarters):
    shown = cv2.imdecode(np.frombuffer(panel.picture.value, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    said, meant = (cv2.blur(p, (16, 16)).astype(int) for p in (shown, case_rgb(Case(image, *quarters, "c", 0.5))))
    assert np.abs(said - meant).mean() < 3  # JPEG


@pytest.fixture
def area(make_chips, tmp_path, monkeypatch):
    """A project with an area of four chips, two of which test, and a run that predicted them: chips, run, rules."""
    chips = make_chips(tmp_path / "chips", 4).assign(scene="s", label="clean", crs="", transform="", footprint="")
    table = chips.assign(width=48, height=48, split=["train", "val", "test", "test"])
    write_manifest(table, tmp_path / "chips" / "manifest.csv")
    for chip, split in zip(table["chip"], table["split"], strict=True):
        (tmp_path / "run" / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / split / "predicted_by.txt").write_text("x none 1024 128\n")
        with (tmp_path / "run" / split / "predicted_of.txt").open("a") as shown:
            print(f"{chip}.png", file_digest(table["image"][table["chip"] == chip].item()), sep="\t", file=shown)
        write_probability(tmp_path / "run" / split / f"{chip}.png", np.full((48, 48), 0.9, np.float32))
    monkeypatch.setattr(parameters, "ROOT", tmp_path)
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / "params" / "town").mkdir(parents=True)
    (tmp_path / "params" / "town" / "01_rasterize_osm.yaml").write_text("# ours\nseed: 3\n")
    return tmp_path / "chips", tmp_path / "run", tmp_path / "params" / "town" / "01_rasterize_osm.yaml"


def test_the_next_run_leaves_out_what_was_excluded_and_says_so(area):
    chips, run, rules = area
    info = CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3)
    model = TrainedModel(torch.nn.Identity(), info, "x")
    manifest = load_manifest(chips)
    test = select(manifest, "clean", "test")
    paths = test["chip"].map(lambda chip: run / "test" / f"{chip}.png")
    scored = score_chips(test, paths, 0.5, "roads")
    panel = chip_browser(manifest, "clean", model, run, rules, scored=scored)
    assert set(listed(panel)) == set(manifest["chip"][1:]), "those that test and validate"
    panel.split.value, panel.chip.value, panel.reason.value = "test", test["chip"][1], "clouds"
    panel.buttons["exclude"].click()

    settled = parameters.load("town", "01_rasterize_osm")
    assert settled["drop"] == [{"chip": test["chip"][1], "reason": "clouds"}] and settled["seed"] == 3
    no_osm = pd.DataFrame(columns=["chip", "scene", "split", *MEASURES])
    quality.drop_chips(chips / "manifest.csv", no_osm, settled["drop"])
    after = load_manifest(chips)
    assert select(after, "clean", "test")["chip"].tolist() == [test["chip"][0]]
    out = storyboard.left_out(after, "clean")
    assert out.to_dict("records") == [{"chip": test["chip"][1], "dropped": "by hand: clouds"}]
    (said,) = storyboard.remarks(out, 1, {"one": "its checkpoint"}, {"one": model})
    assert said.startswith(f"Left out by hand: 1 of 2 test chips, {test['chip'][1]} (clouds).")

    again = chip_browser(after, "clean", model, run, rules, scored=scored.iloc[:1])
    again.chip.value = test["chip"][1]
    assert "excluded" in again.about.value and "in this run" not in again.about.value, (
        "it is shown, and can be kept again"
    )
    again.buttons["keep"].click()
    assert parameters.load("town", "01_rasterize_osm")["drop"] == []
