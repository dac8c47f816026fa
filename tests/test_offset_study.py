"""The study of the offset correction: a known displacement is measured, undone, and seen in the labels' IoU."""

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import read_mask, write_png
from lib.paths import ROOT

SIDE_PX = 400


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import offset_study

    monkeypatch.setattr(offset_study, "SIDE_PX", SIDE_PX - 40)
    return offset_study


@pytest.fixture
def tiles(tmp_path):
    """Two tiles of grey streets on green, with a true mask each; files named as the data set names its own."""
    generator = np.random.default_rng(0)
    for scene in "ab":
        mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        for _ in range(6):
            ends = generator.integers(0, SIDE_PX, (2, 2))
            cv2.line(mask, *map(tuple, ends.tolist()), 255, 7)
        image = np.where(mask[..., None] > 0, (120, 120, 125), (60, 110, 50))
        image = np.clip(image + generator.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
        write_png(tmp_path / "masks" / f"{scene}.png", mask)
        write_png(tmp_path / "images" / f"{scene}.jpg", image)
    return tmp_path


def test_directions_are_those_of_the_seed_and_alike_or_not(study):
    scenes = list("abcdef")
    alike, own = (study.displacements(scenes, way, 6.0, 1) for way in ("all alike", study.OWN_WAY))
    assert len(alike.drop_duplicates()) == 1 < len(own.drop_duplicates())
    for moved_m in (alike, own):
        assert np.hypot(moved_m["dx_m"], moved_m["dy_m"]).to_numpy() == pytest.approx(6.0, abs=0.8)  # whole pixels
    assert (study.displacements(scenes, "not", 0.0, 1) == 0).all(axis=None)


def test_a_displacement_is_measured_and_undone(study, tiles, tmp_path):
    moved_m = pd.DataFrame({"dx_m": [4.0, -3.0], "dy_m": [-4.0, 5.0]}, index=list("ab"))
    found = study.measured(moved_m, tiles)
    off_m = moved_m + found[["dx_m", "dy_m"]]
    assert (np.abs(off_m) < 0.5).all(axis=None)
    assert study.misses(off_m, found["confidence"] > 0.5)["certain"] == 1

    manifest = pd.DataFrame(
        {
            "chip": list("ab"),
            "scene": list("ab"),
            "label": "osm",
            "mask": [str(tiles / "masks" / f"{s}.png") for s in "ab"],
        }
    )
    bench = study.Bench("real", tmp_path, manifest, "none")
    displaced, iou = study.moved_bench(bench, moved_m, tmp_path / "displaced")
    undone, undone_iou = study.moved_bench(bench, off_m, tmp_path / "undone")
    assert iou < 0.6 < undone_iou == 1
    true = [read_mask(path) for path in manifest["mask"]]
    assert all((read_mask(p) == t).all() for p, t in zip(undone.manifest["mask"], true, strict=True))
    assert all((read_mask(p) != t).any() for p, t in zip(displaced.manifest["mask"], true, strict=True))
