"""Chips in memory: what is kept of them, and which crops come out."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.chips.manifest import WEIGHT_ONE, write_png
from lib.errors import InputError
from lib.training.augment import augment
from lib.training.cache import BatchSampler, ChipCache, ChipDataset, CropDataset, build_cache, channel_statistics
from lib.training.recipe import AUGMENTATIONS


def test_cache_holds_the_chips(chips, tmp_path):
    train, _ = chips
    cache = build_cache(train, tmp_path / "cache" / "train.u8")
    assert (len(cache), cache.names[0], cache.shapes.tolist()[0]) == (5, "chip0", [48, 48])
    bgr = cv2.imread(train["image"][2])
    np.testing.assert_array_equal(cache.chip(2)[..., :3], bgr[..., ::-1])
    np.testing.assert_array_equal(cache.chip(2)[..., 3], cv2.imread(train["mask"][2], cv2.IMREAD_GRAYSCALE))
    np.testing.assert_array_equal(cache.window(1, 5, 7, 32), cache.chip(1)[5:37, 7:39])


def test_weights_travel_with_the_mask(make_chips, tmp_path):
    chips = make_chips(tmp_path, 3).assign(weight="")
    assert build_cache(chips, tmp_path / "none.u8").pixels.shape[1] == 4
    masks = [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in chips["mask"]]
    heavy = [
        write_png(tmp_path / f"w{i}.png", np.where(mask == 255, 192, 32).astype(np.uint8))
        for i, mask in enumerate(masks[:2])
    ]
    cache = build_cache(chips.assign(weight=[*map(str, heavy), ""]), tmp_path / "some.u8")
    assert (cache.chip(2)[..., 4] == WEIGHT_ONE).all()
    crops = CropDataset(cache, 32, AUGMENTATIONS["paper"], 12, 0)[(0, 0, 12)]
    _, mask, weight = augment(crops["pixels"], crops["affine"], crops["colour"], 32)
    for chip, one_mask, one_weight in zip(crops["chip"], mask, weight, strict=True):
        foreground, background = one_weight[one_mask == 255], one_weight[one_mask == 0]
        expected = (WEIGHT_ONE, WEIGHT_ONE) if chip == 2 else (192, 32)
        assert (foreground == expected[0]).all() and (background == expected[1]).all()
    write_png(heavy[0], np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"w0.png \(10, 10\)"):
        build_cache(chips.assign(weight=[*map(str, heavy), ""]), tmp_path / "wrong.u8")


def test_window_beyond_a_chip_is_mirrored_and_ignored(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    window = cache.window(0, -8, -4, 64)
    padded = np.pad(cache.chip(0), [(8, 8), (4, 12), (0, 0)], "reflect")
    np.testing.assert_array_equal(window[..., :3], padded[..., :3])
    assert (window[:8, :, 3] == 127).all()
    assert (window[:, 52:, 3] == 127).all()
    np.testing.assert_array_equal(window[8:56, 4:52, 3], cache.chip(0)[..., 3])


@given(
    hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 2, st.integers(2, 7))),
    st.integers(1, 25),
    st.tuples(*[st.integers(-25, 25)] * 2),
)
def test_any_window_shows_the_chip_folded_at_its_edges(chip, side_px, corner):
    """Smaller than the window, beside it, of more layers than a picture has: pixel -1 is pixel 1, and so on."""
    height, width, layers = chip.shape
    cache = ChipCache(chip.reshape(-1, layers), np.array([0, height * width]), np.array([[height, width]]), ["a"], 1)
    window = cache.window(0, *corner, side_px)
    places, outer = [], []
    for start, length in zip(corner, (height, width), strict=True):
        shown, there_and_back = range(start, start + side_px), [*range(length), *range(length - 2, 0, -1)]
        places.append([there_and_back[n % len(there_and_back)] for n in shown])
        outer.append(np.array([n not in range(length) for n in shown]))
    expected = chip[np.ix_(*places)].copy()
    expected[outer[0][:, None] | outer[1], 1] = 127
    np.testing.assert_array_equal(window, expected)


def test_statistics_leave_out_what_is_ignored(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    used = np.concatenate([c[c[..., 3] != 127][:, :3] for c in map(cache.chip, range(5))]) / 255
    mean, std = channel_statistics(cache)
    np.testing.assert_allclose(mean, used.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, used.std(axis=0), rtol=1e-4)


def test_crops_depend_on_seed_epoch_and_position_alone(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    paper = AUGMENTATIONS["paper"]
    whole, halves = CropDataset(cache, 32, paper, 8, 7), CropDataset(cache, 32, paper, 8, 7)
    halves[(0, 0, 8)]  # what was read before makes no difference
    batch, first, second = whole[(3, 0, 8)], halves[(3, 0, 4)], halves[(3, 4, 8)]
    for name, values in batch.items():
        assert torch.equal(values, torch.cat([first[name], second[name]])), name
    assert not torch.equal(whole[(4, 0, 8)]["pixels"], batch["pixels"])
    assert not torch.equal(CropDataset(cache, 32, paper, 8, 8)[(3, 0, 8)]["pixels"], batch["pixels"])


def test_chips_are_visited_evenly(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    visited = CropDataset(cache, 32, AUGMENTATIONS["none"], 12, 0)[(0, 0, 12)]["chip"]
    assert sorted(np.bincount(visited, minlength=5)) == [2, 2, 2, 3, 3]


def test_processes_share_each_batch():
    keys = []
    for rank in range(2):
        sampler = BatchSampler(samples=8, batch_size=4, rank=rank, world=2)
        sampler.set_epoch(5)
        keys += list(sampler)
    assert sorted(keys) == [(5, 0, 2), (5, 2, 4), (5, 4, 6), (5, 6, 8)]


def test_chips_of_one_size_are_stacked(make_chips, tmp_path):
    chips = pd.concat([make_chips(tmp_path, 3, 48), make_chips(tmp_path, 2, 64, seed=9)])
    cache = build_cache(chips, tmp_path / "val.u8")
    shapes = [tuple(batch["pixels"].shape) for batch in (ChipDataset(cache, 2 * 48 * 48)[i] for i in range(3))]
    assert shapes == [(2, 48, 48, 4), (1, 48, 48, 4), (1, 64, 64, 4)]


def test_processes_get_as_many_validation_batches(make_chips, tmp_path):
    cache = build_cache(make_chips(tmp_path, 5), tmp_path / "val.u8")
    shares = [[share[i] for i in range(len(share))] for share in (ChipDataset(cache, 1, rank, 2) for rank in (0, 1))]
    assert [[batch["counts"] for batch in share] for share in shares] == [[True] * 3, [True, True, False]]


def test_image_and_mask_of_different_sizes(make_chips, tmp_path):
    chips = make_chips(tmp_path, 1)
    write_png(Path(chips["mask"][0]), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(48, 48\).*\(10, 10\)"):
        build_cache(chips, tmp_path / "cache.u8")
    assert not (tmp_path / "cache.u8").exists()
