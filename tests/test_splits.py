"""Frozen lists: what is planned today is what they say, and the publisher's own list is what an area goes by."""

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.chips.mask_images import mask_reader
from lib.chips.merging import find_all_scenes
from lib.chips.plan import planned
from lib.chips.splits import read_splits
from lib.parameters import load
from lib.paths import ROOT
from lib.sample.places import PLACES, write_scene

SHARED = ROOT.parent / "shared" / "data"
LISTS = ROOT / "results" / "splits"
WHERE = {"massachusetts-epfl": SHARED, "kampala": SHARED / "hot-fair-kampala-buildings"}


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.splits import frozen

    return frozen


def test_the_sample_towns_list_holds(frozen, tmp_path):
    (tmp_path / "images").mkdir()
    for name, place in PLACES.items():  # where a chip lies decides, not what it shows
        grid = place.grid()
        write_scene(tmp_path / "images" / f"{name}.tif", np.zeros((grid.height, grid.width, 3), np.uint8), grid)
    pd.testing.assert_frame_equal(frozen("demo", tmp_path), pd.read_csv(LISTS / "demo.csv"))


@pytest.mark.parametrize("area", WHERE)
def test_lists_of_real_imagery_hold(frozen, area):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here")
    pd.testing.assert_frame_equal(frozen(area, WHERE[area]), pd.read_csv(LISTS / f"{area}.csv"))


def test_every_list_is_held_by_a_test():
    assert {path.stem for path in LISTS.iterdir()} == {"demo", *WHERE}


def test_massachusetts_buildings_go_by_the_publishers_list(tmp_path):
    listed = read_splits(ROOT / "params" / "massachusetts-buildings" / "splits.csv")
    assert pd.Series(listed).value_counts().to_dict() == {"train": 137, "test": 10, "val": 4}
    # a name is the tile's place in units of 100 m: of tiles of 1500 m none shares ground with another
    places = np.array([(int(name[:4]), int(name[4:8])) for name in listed])
    near = np.abs(places[:, None] - places[None])
    assert (near.max(axis=2) >= 15).sum() == len(listed) * (len(listed) - 1)
    image, mask = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64, 3), np.uint8)
    mask[20:40, 20:40, 2] = 255  # red, as OpenCV counts
    for part, name in (("train", "22678915_15"), ("valid", "22978945_15"), ("test", "22828930_15")):
        for kind, suffix, pixels in (("sat", "tiff", image), ("map", "tif", mask)):
            (tmp_path / part / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / part / kind / f"{name}.{suffix}"), pixels)
    first = load("massachusetts-buildings", "01_rasterize_osm")
    scenes = find_all_scenes(first["sources"], tmp_path, first["gsd_m"])
    chips = planned(scenes, {}, first)
    assert dict(zip(chips["chip"].str[:11], chips["split"], strict=True)) == {
        "22678915_15": "train",
        "22978945_15": "val",
        "22828930_15": "test",
    }
    assert np.array_equal(mask_reader(scenes[0], "clean")((0, 0, 64, 64)), mask[..., 2])
