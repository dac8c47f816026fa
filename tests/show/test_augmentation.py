"""The label and augmentation preview: the crops are training's, the figure is the panel, what is saved trains."""

import time

import cv2
import numpy as np
import pytest
import torch

from lib.chips.manifest import write_bands, write_png
from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.parameters import load
from lib.show import augmentation
from lib.show.canvas import LABEL, TRUTH
from lib.training.augment import augment
from lib.training.cache import CropDataset, build_cache
from lib.training.recipe import AUGMENTATIONS, TrainConfig, train_config

pytestmark = pytest.mark.usefixtures("one_thread")

NOTEBOOK = "02_train_stage1"
CONFIG = TrainConfig(crop_px=32, seed=3)


@pytest.fixture
def manifest(make_chips, tmp_path):
    """Three chips of 48 px that train on OpenStreetMap, one that tests on a clean mask, one that a rule dropped."""
    table = make_chips(tmp_path, 5).assign(label="osm", split="train", dropped="")
    table.loc[3, ["label", "split"]] = "clean", "test"
    table.loc[4, "dropped"] = "road_m < 50"
    return table


@pytest.fixture
def panel(area, manifest):
    """Makes a panel, with what the notebook's parameters are to be."""

    def make(text="crop_px: 32\n", **cell):
        return augmentation.AugmentationPanel(manifest, area(text, NOTEBOOK, **cell)[1])

    return make


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_crops_are_those_of_training(manifest, tmp_path, name):
    config = TrainConfig(crop_px=64, seed=3, augmentation=name)  # larger than the chip: its surroundings are ignored
    seen = augmentation.preview(manifest.iloc[1], config, draw=2, count=3)
    cache = build_cache(manifest.iloc[[1]], tmp_path / "cache")
    batch = CropDataset(cache, 64, AUGMENTATIONS[name], 3, seed=3)[2, 0, 3]
    images, masks, _ = augment(batch["pixels"], batch["affine"], batch["colour"], 64)
    assert np.abs(seen.crops - 255 * images.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    assert torch.equal(torch.from_numpy(seen.crop_masks), masks[:, 0]) and (seen.crop_masks == MASK_IGNORE).any()
    other = augmentation.preview(manifest.iloc[1], config, draw=3, count=3)
    assert (other.crops != seen.crops).any() == (name != "none"), "a chip smaller than the crop lies in its middle"


def test_of_more_bands_the_first_three_are_shown(tmp_path, manifest):
    bands = np.random.default_rng(0).integers(0, 255, (48, 48, 5), dtype=np.uint8)
    chip = manifest.iloc[0].copy()
    chip["image"] = str(write_bands(tmp_path / "bands.tif", bands))
    seen = augmentation.preview(chip, TrainConfig(crop_px=32, augmentation="none"), count=1)
    np.testing.assert_array_equal(seen.image, bands[..., :3])
    found = cv2.matchTemplate(seen.image, seen.crops[0], cv2.TM_SQDIFF)
    assert found.min() == 0, "untouched: a piece of the image"


def test_masks_of_another_size_are_refused(tmp_path, manifest):
    chip = manifest.iloc[0].copy()
    chip["mask"] = str(write_png(tmp_path / "small.png", np.zeros((8, 8), np.uint8)))
    with pytest.raises(InputError, match=r"\(48, 48\) px, .*small.png \(8, 8\) px"):
        augmentation.preview(chip, CONFIG)


def test_the_figure_shows_what_the_panel_shows(manifest, texts):
    figure = augmentation.crops_figure(manifest.iloc[3], CONFIG)
    pixels = augmentation.preview_rgb(augmentation.preview(manifest.iloc[3], CONFIG), TRUTH)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), pixels)
    assert figure.encoded()[0] == "image/jpeg" and "clean label" in texts(figure)
    assert "crops of 32 px, augmentation 'paper', seed 3" in figure.axes[0].get_title(loc="left")


def test_the_controls_change_what_is_drawn(panel):
    shown = panel()
    assert shown.group.options == ("osm, train (3)", "clean, test (1)"), "what a rule dropped trains nobody"
    pictures = [shown.picture.value]
    for act in (
        lambda: shown.buttons["on"].click(),
        lambda: shown.buttons["chip"].click(),
        lambda: setattr(shown.labels, "value", False),
        lambda: setattr(shown.augmentation, "value", "none"),
        lambda: setattr(shown.crop, "value", 64),
        lambda: setattr(shown.group, "value", "clean, test (1)"),
    ):
        act()
        pictures.append(shown.picture.value)
    assert len(set(pictures)) == len(pictures)
    assert "draw 2" in shown.status.value and "clean label" in shown.status.value and TRUTH in shown.status.value
    assert "nothing is changed" in shown.ranges.value
    for _ in range(4):
        shown.buttons["back"].click()
    shown.group.value, shown.labels.value = "osm, train (3)", True
    shown.reset.click()
    assert shown.picture.value == pictures[0] and "draw 1" in shown.status.value and LABEL in shown.status.value
    assert "hue ±60°" in shown.ranges.value and "ignored" in shown.status.value


@pytest.mark.parametrize(
    ("text", "saved"),
    [
        ("seed: 1\n", {"crop_px": 96, "train_options": {"augmentation": "mild"}}),
        (
            "train_options: {clip_norm: 1.0}\n",
            {"crop_px": 96, "train_options": {"clip_norm": 1.0, "augmentation": "mild"}},
        ),
        ("recipe: release-roads\n", {"crop_px": 192, "train_options": {"crop_px": 96, "augmentation": "mild"}}),
    ],
    ids=["own", "beside options", "over a recipe"],
)
def test_what_is_saved_is_what_training_takes(panel, text, saved):
    shown = panel(text)
    shown.crop.value, shown.augmentation.value = 96, "mild"
    shown.save.click()
    assert "the next run takes it" in shown.said.value
    values = load("my-village", NOTEBOOK)
    assert {name: values[name] for name in saved} == saved
    config = train_config(values)
    assert (config.crop_px, config.augmentation) == (96, "mild")
    shown.reset.click()
    shown.save.click()
    again = train_config(load("my-village", NOTEBOOK))
    assert (again.crop_px, again.augmentation) == (shown.config.crop_px, "paper")


def test_what_fails_is_said(panel, manifest, tmp_path):
    shown = panel(crop_px=64)
    shown.save.click()
    assert "crop_px stands in the parameters cell or the call, which wins" in shown.said.value
    write_png(tmp_path / "mask0_1.png", np.zeros((8, 8), np.uint8))
    shown.buttons["chip"].click()
    assert "(8, 8) px" in shown.status.value
    with pytest.raises(InputError, match="none that is used"):
        augmentation.AugmentationPanel(manifest.iloc[[4]], shown.settled)


def test_latency_is_told(make_chips, area, tmp_path, capsys):
    table = make_chips(tmp_path, 1, side_px=512).assign(label="osm", split="train", dropped="")
    shown = augmentation.AugmentationPanel(table, area("crop_px: 256\n", NOTEBOOK)[1])
    start_s = time.process_time()
    for _ in range(4):
        shown.buttons["on"].click()
    with capsys.disabled():
        print(f"{1000 * (time.process_time() - start_s) / 4:.0f} ms a redraw of 1024 px", end=" ")
