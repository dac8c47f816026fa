"""Chips: manifest, reading, and splits that share no ground."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.chips.manifest import (
    COLUMNS,
    load_manifest,
    read_image,
    read_mask,
    read_weights,
    select,
    split_by_place,
    split_by_scene,
    write_manifest,
    write_png,
)
from lib.errors import InputError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i, split in enumerate(["train", "train", "val", "test"]):
        image = write_png(tmp_path / "images" / f"c{i}.png", rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
        mask = write_png(tmp_path / "masks_osm" / f"c{i}.png", np.full((40, 50), 255, np.uint8))
        numbers = {"gsd_m": 0.5, "crs": "", "transform": "", "width": 50, "height": 40, "footprint": ""}
        rows.append(
            {"chip": f"0{i}", "scene": "s", "image": image, "mask": mask, "label": "osm", "split": split} | numbers
        )
    write_manifest(pd.DataFrame(rows), tmp_path / "manifest.csv")
    return tmp_path


def test_manifest_round_trip_keeps_ids_as_text_and_paths_relative_in_the_file(folder):
    manifest = load_manifest(folder)
    assert list(manifest.columns) == list(COLUMNS)
    assert list(manifest["chip"]) == ["00", "01", "02", "03"]
    assert "images/c0.png" in (folder / "manifest.csv").read_text()
    assert str(folder) not in (folder / "manifest.csv").read_text()
    assert read_image(manifest["image"][0]).shape == (40, 50, 3)
    assert len(select(manifest, "osm", "train")) == 2
    with pytest.raises(InputError, match="the manifest holds"):
        select(manifest, "clean", "train")


def test_weights_are_optional_and_64_counts_once(folder):
    manifest = load_manifest(folder)
    assert list(manifest["weight"]) == [""] * 4
    manifest.loc[0, "weight"] = str(write_png(folder / "weights" / "c0.png", np.full((40, 50), 32, np.uint8)))
    write_manifest(manifest, folder / "manifest.csv")
    again = load_manifest(folder)
    assert list(again["weight"].map(bool)) == [True, False, False, False]
    assert (read_weights(again["weight"][0]) == 0.5).all()
    with pytest.raises(InputError, match="weights"):
        read_weights(folder / "nowhere.png")


def test_manifest_errors_say_what_to_do(tmp_path, folder):
    with pytest.raises(InputError, match="01_rasterize_osm"):
        load_manifest(tmp_path / "nowhere")
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace(",test,", ",exam,"))
    with pytest.raises(InputError, match="unknown split.*exam"):
        load_manifest(folder)
    (folder / "manifest.csv").write_text(text.replace("gsd_m", "gsd"))
    with pytest.raises(InputError, match="lacks the columns"):
        load_manifest(folder)


def test_colours_are_rgb_on_disk_and_back(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    assert (read_image(write_png(tmp_path / "a.png", image)) == image).all()


def test_bad_files_are_named(tmp_path):
    text = tmp_path / "text.tif"
    text.write_text("not an image")
    with pytest.raises(InputError, match=r"text\.tif"):
        read_image(text)
    with pytest.raises(InputError, match=r"text\.tif"):
        read_mask(text)
    grey = write_png(tmp_path / "grey.png", np.full((4, 4), 90, np.uint8))
    with pytest.raises(InputError, match="only 0, 127"):
        read_mask(grey)


boxes = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 300), st.floats(1, 80), st.floats(1, 80)), min_size=1, max_size=60
)


@given(boxes, st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 50))
def test_splits_never_share_ground(rows, val_share, test_share, gap):
    x, y, w, h = np.array(rows).T
    bounds = np.column_stack([x, y, x + w, y + h])
    splits = split_by_place(bounds, val_share, test_share, gap)
    axis = int(np.argmax(bounds[:, 2:].max(0) - bounds[:, :2].min(0)))
    order = [bounds[splits == s] for s in ("train", "val", "test")]
    for i, first in enumerate(order):
        for second in order[i + 1 :]:
            if len(first) and len(second):
                assert first[:, axis + 2].max() <= second[:, axis].min() - gap + 1e-2


def test_a_grid_of_chips_loses_none_to_the_lines_between_splits():
    x, y = np.meshgrid(np.arange(10) * 256.0, np.arange(6) * 256.0)
    bounds = np.column_stack([x.ravel(), y.ravel(), x.ravel() + 256, y.ravel() + 256])
    splits = split_by_place(bounds, 0.15, 0.25)
    assert dict(pd.Series(splits).value_counts()) == {"train": 36, "val": 6, "test": 18}


def test_scales_of_one_place_are_split_by_place_not_by_file():
    """A small chip that lies inside a large one is always in the same split, or in none."""
    large = np.array([[i * 100.0, 0, i * 100.0 + 100, 100] for i in range(7)])
    small = np.array([[i * 25.0, 0, i * 25.0 + 25, 25] for i in range(28)])
    splits = split_by_place(np.vstack([large, small]), 0.2, 0.2)
    for i in range(28):
        assert splits[7 + i] == splits[i // 4] or splits[i // 4] == ""


@given(st.integers(3, 60), st.integers(0, 10))
def test_scenes_split_whole_and_every_split_has_one(count, seed):
    split = split_by_scene([f"s{i:02d}" for i in range(count)] * 2, 0.1, 0.2, seed)
    assert len(split) == count and set(split.values()) == {"train", "val", "test"}
    assert split == split_by_scene([f"s{i:02d}" for i in reversed(range(count))], 0.1, 0.2, seed)


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(InputError, match="leave a rest"):
        split_by_scene(["a", "b"], 0.5, 0.5, 0)
