"""The experiments' script: rows that are kept, chips that are drawn, scores that are averaged."""

import re

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import write_manifest, write_png
from lib.errors import InputError
from lib.paths import ROOT
from lib.scores.metrics import PixelScores, pixel_scores


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import experiments

    return experiments


def make_chips(folder, counts):
    """Chips of two scenes with a bright road each, labelled by both sources."""
    generator, rows = np.random.default_rng(0), []
    for split, count in counts.items():
        for index in range(count):
            mask = np.zeros((64, 64), np.uint8)
            at = int(generator.integers(10, 54))
            cv2.line(mask, (at, 0), (at, 64), 255, 7)
            image = generator.integers(0, 60, (64, 64, 3)).astype(np.uint8) + (mask // 2)[..., None]
            name = f"{split}{index}"
            shared = {"chip": name, "scene": "ab"[index % 4 == 0], "split": split, "gsd_m": 1.0, "crs": ""}
            shared |= {"transform": "", "width": 64, "height": 64, "footprint": ""}
            image = write_png(folder / "images" / f"{name}.png", image)
            for label in ("osm", "clean"):
                path = write_png(folder / f"masks_{label}" / f"{name}.png", mask)
                rows.append(shared | {"image": image, "mask": path, "label": label})
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")


def test_rows_are_kept_and_published(experiments, tmp_path, monkeypatch, capsys):
    make_chips(tmp_path / "tiny" / "chips" / "own" / "data" / "demo" / "chips", {"train": 4, "val": 2, "test": 3})
    monkeypatch.setattr(experiments, "CLEAN_CHIPS", (2, 4))
    call = ["clean-chips", "--budget", "tiny", "--work-dir", str(tmp_path)]
    with pytest.raises(InputError, match="without --finished"):
        experiments.main([*call, "--finished"])

    experiments.main(call)
    assert "7 of 7 rows are finished" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "tiny" / "results" / "clean_chips.csv")
    assert list(table["clean_chips"]) == [0, 2, 2, 2, 4, 4, 4]
    assert list(table["crops_before"]) == [0, 8, 0, 0, 8, 0, 0]
    assert list(table["crops"]) == [8, 8, 8, 16, 8, 8, 16]
    assert set(table["test_chips"]) == {3}
    assert (tmp_path / "tiny" / "results" / "clean_chips.png").stat().st_size > 10_000

    (next(tmp_path.glob("tiny/runs/demo/stage_2_alone_4_seed0")) / "row.json").unlink()
    experiments.main([*call, "--finished"])
    assert "6 of 7 rows are finished" in capsys.readouterr().out
    experiments.main(call)
    again = capsys.readouterr().out
    assert "7 of 7 rows are finished" in again
    assert not re.search(r"^epoch ", again, re.MULTILINE)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tiny" / "results" / "clean_chips.csv"), table)


def test_few_clean_chips_are_part_of_many_and_come_from_all_scenes(experiments):
    chips = pd.DataFrame({"chip": range(20), "scene": ["a"] * 5 + ["b"] * 15})
    order = experiments.drawn(chips, seed=3)
    assert sorted(order["chip"]) == list(range(20))
    assert list(order["scene"].head(8).value_counts()) == [4, 4]
    assert not order.equals(experiments.drawn(chips, seed=4))


def test_scores_are_the_means_over_seeds_and_differences_are_paired(experiments):
    from benchmarks.comparisons import ROADS, difference, interval

    generator, tables = np.random.default_rng(0), []
    for _seed in range(3):
        scores = PixelScores()
        for chip in range(6):
            truth = generator.random((16, 16)) > 0.7
            scores.update(truth & (generator.random((16, 16)) > 0.4), truth, chip=str(chip))
        tables.append(scores.table().assign(apls=generator.random(6)))
    iou, road = ROADS.values()
    pooled = np.mean([pixel_scores(table)["iou_pooled"] for table in tables])
    assert interval(tables, iou).value == pytest.approx(pooled)
    assert interval(tables, road).value == pytest.approx(np.mean([table["apls"].mean() for table in tables]))
    same = difference(tables, tables, iou)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = [table.assign(apls=table["apls"] + 0.1) for table in tables]
    gain = difference(better, tables, road)
    assert (gain.low, gain.value, gain.high) == pytest.approx((0.1, 0.1, 0.1))
