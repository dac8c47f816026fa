"""Two reports side by side: what differs, scores with intervals, and the gain on the chips that both tested."""

import json
import re
import sys

import pytest
import torch

from lib.chips.manifest import load_manifest, read_mask, select, write_manifest
from lib.errors import InputError
from lib.mapping.predict import write_probability
from lib.networks import ModelConfig
from lib.networks.checkpoint import CheckpointInfo, save_checkpoint
from lib.networks.models import build_model
from lib.scores.evaluate import score_chips, scoreboard
from lib.show import compare, reports
from lib.show.leaflet import fetched_addresses

CONFIG = ModelConfig(architecture="linknet", context="32", encoder_name="resnet18", encoder_weights=None)


@pytest.fixture(scope="module")
def sides(make_chips, tmp_path_factory):
    """
    Areas a and b of one work folder: b finds all, a half of it; they share the first three of their four test chips.

    Predictions are put where the network's would be, so that nothing is computed.
    """
    root = tmp_path_factory.mktemp("work")
    for number, area in enumerate("ab"):
        chips = reports.chip_dir(area, root)
        table = make_chips(chips, 4).assign(scene="s", label="clean", split="test", crs="", transform="", footprint="")
        other = make_chips(chips / "other", 4, seed=5 + number)
        table.loc[3, ["image", "mask"]] = other.loc[3, ["image", "mask"]]
        write_manifest(table.assign(width=48, height=48), chips / "manifest.csv")
        test = select(load_manifest(chips), "clean", "test")
        run = reports.run_dir(area, "two_stage", root)
        torch.manual_seed(0)
        info = CheckpointInfo(CONFIG, "roads", (0.0,) * 3, (1.0,) * 3)
        save_checkpoint(run / "best.safetensors", build_model(CONFIG), info)
        paths = test["chip"].map(lambda chip, run=run: run / "test" / f"{chip}.png")
        for path, mask in zip(paths, test["mask"], strict=True):
            found = (read_mask(mask) == 255) * 0.9
            found[: 24 * (1 - number)] = 0
            path.parent.mkdir(exist_ok=True)
            write_probability(path, found.astype("float32"))
        tables = {"stage 1, then 2": score_chips(test, paths, 0.5, "roads")}
        board = scoreboard(tables, "roads").to_dict("records")
        record = {
            "scoreboard": [],
            "intervals": board,
            "differences": [],
        }
        record |= {"best_run": "stage 1, then 2", "test_chips": 4, "tta": "none", "headline": "", "notes": []}
        parameters = {"area": area, "task": "roads", "test_label": "clean", "seed": number, "same": "<b>"}
        reports.write_metrics("04_evaluate", area, str(root), record, parameters)
    return root / "reports" / "a", root / "reports" / "b"


@pytest.fixture
def predicted(monkeypatch):
    """Predictions are read rather than made."""
    monkeypatch.setattr(
        compare,
        "predict_chips",
        lambda model, chips, folder, tta: chips["chip"].map(lambda name: folder / f"{name}.png"),
    )


def test_what_differs_is_told_and_what_names_a_side_is_not(sides):
    a, b = (compare.side(str(folder)) for folder in sides)
    assert compare.differing(a, b) == [("04_evaluate", "seed", "0", "1")]


def test_shared_chips_have_one_truth(sides):
    a, b = (compare.side(str(folder)) for folder in sides)
    one, other = compare.shared_chips(a, b, "roads")
    assert list(one["chip"]) == list(other["chip"]) == ["chip0", "chip1", "chip2"]
    assert all("/a/" in path for path in one["image"]) and all("/b/" in path for path in other["image"])
    reports.run_dir("b", "two_stage", sides[0].parents[1]).rename(sides[0].parents[1] / "gone")
    try:
        assert compare.shared_chips(a, b, "roads") is None
    finally:
        (sides[0].parents[1] / "gone").rename(reports.run_dir("b", "two_stage", sides[0].parents[1]))


def test_the_gain_is_of_b_over_a(sides, predicted):
    a, b = (compare.side(str(folder)) for folder in sides)
    rows, pairs = compare.gains(a, b, compare.shared_chips(a, b, "roads"), "roads")
    iou = next(row for row in rows if row["metric"] == "IoU, pooled")
    assert iou["value"] > 0.3 and iou["verdict"] == "yes, better" and len(pairs) == 3
    assert all(one.name == other.name and one.score < other.score == 1 for one, other in pairs)
    back, _ = compare.gains(b, a, compare.shared_chips(b, a, "roads"), "roads")
    assert next(row for row in back if row["metric"] == "IoU, pooled")["value"] == pytest.approx(-iou["value"])


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_the_page_fits_a_window(sides, predicted, within, tmp_path, width, dark):
    page = compare.comparison_page(*(compare.side(str(folder)) for folder in sides))
    assert fetched_addresses(page) == [] and len(page) < 2_000_000 and page.count("<figure>") == 3
    (tmp_path / "page.html").write_text(page)
    within(tmp_path / "page.html", width, dark)


def test_the_command_names_its_file_by_both(sides, predicted, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compare, "report_dir", lambda name: tmp_path / name)
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, sides)])
    compare.main()
    out = capsys.readouterr().out.strip()
    name = sides[0].parents[1].name
    assert out.endswith(f"compare/a in {name}, b in {name}.html")
    values = re.findall(
        r"<br><span class=\"quiet\">([\d.]+) to ([\d.]+)</span>",
        (tmp_path / "compare").glob("*").__next__().read_text(),
    )
    first = json.loads((sides[0] / "metrics.json").read_text())["04_evaluate"]["metrics"]["intervals"][0]
    assert values[0] == (f"{first['low']:.3f}", f"{first['high']:.3f}")


def test_a_report_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no evaluation"):
        compare.side(str(tmp_path))
    with pytest.raises(InputError, match="make report AREA=nowhere"):
        compare.side("nowhere")
