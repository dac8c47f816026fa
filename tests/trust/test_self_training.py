"""Self-training: masks move onto what the network sees, and are mended where it is sure."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.chips.manifest import load_manifest, read_mask, read_weight_levels, write_manifest, write_png
from lib.errors import ParameterError
from lib.trust.self_training import RelabelOptions, mend, move, relabel

SIDE_PX = 128


def streets(seed: int) -> np.ndarray:
    generator, mask = np.random.default_rng(seed), np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for _ in range(3):
        (a, b), (c, d) = generator.integers(0, SIDE_PX, (2, 2)).tolist()
        cv2.line(mask, (a, 0), (b, SIDE_PX), 255, 5)
        cv2.line(mask, (0, c), (SIDE_PX, d), 255, 5)
    return mask


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    one, other, valid = mask == 255, truth == 255, mask != 127
    return (one & other & valid).sum() / ((one | other) & valid).sum()


@pytest.fixture
def town(tmp_path):
    """Four chips whose masks lie 3 m off, lack a street, and have one too many."""
    rows, truths = [], {}
    for number in range(4):
        truth = streets(number)
        mask = np.roll(truth, (2, -3), axis=(0, 1))
        mask[:, 90:96], mask[30:40, :40] = 255, 0
        name = f"c{number}"
        image = write_png(tmp_path / "images" / f"{name}.png", np.repeat(truth[..., None], 3, axis=2))
        shared = {"chip": name, "scene": "town", "image": image, "gsd_m": 1.0, "crs": "", "transform": ""}
        shared |= {"width": SIDE_PX, "height": SIDE_PX, "footprint": ""}
        for label, kind, array in (("osm", "train", mask), ("osm", "val", mask), ("clean", "test", truth)):
            path = write_png(tmp_path / f"masks_{label}_{kind}" / f"{name}.png", array)
            heavy = np.where(array == 255, 128, 64).astype(np.uint8)
            weight = write_png(tmp_path / f"weights_{label}_{kind}" / f"{name}.png", heavy)
            rows.append(shared | {"mask": path, "weight": weight, "label": label, "split": kind})
        truths[name] = truth
    return write_manifest(pd.DataFrame(rows), tmp_path / "manifest.csv"), truths


def test_masks_come_nearer_to_the_truth(town, bright_model, tmp_path):
    path, truths = town
    lines = []
    found = relabel(bright_model(threshold=0.4), path, tmp_path / "p", progress=lines.append)
    assert "masks moved by 3.0 m to the east, 2.0 m to the north" in " ".join(lines)
    before, after = load_manifest(path), load_manifest(found)
    train = after["split"] == "train"
    assert before[~train].equals(after[~train])
    for chip, old in zip(after[train].itertuples(), before[train].itertuples(), strict=True):
        assert iou(read_mask(old.mask), truths[chip.chip]) < 0.6
        assert iou(read_mask(chip.mask), truths[chip.chip]) > 0.95
        moved = np.roll(read_weight_levels(old.weight), (-2, 3), axis=(0, 1))
        np.testing.assert_array_equal(read_weight_levels(chip.weight)[:-2, 3:], moved[:-2, 3:])


def test_a_network_that_sees_nothing_moves_nothing(town, bright_model, tmp_path):
    path, _ = town
    blind = bright_model(threshold=0.5)
    blind.network.gain.data.zero_()
    found = load_manifest(relabel(blind, path, tmp_path / "p", progress=lambda _: None))
    for old, new in zip(load_manifest(path)["mask"], found["mask"], strict=True):
        np.testing.assert_array_equal(read_mask(old), read_mask(new))


@given(st.floats(0.05, 0.95), st.floats(1, 20), st.floats(1, 20))
def test_only_strong_disagreement_counts(threshold, add, drop):
    probability = np.linspace(0.001, 0.999, 300).reshape(1, -1)
    relative = probability / (1 - probability) / (threshold / (1 - threshold))
    for value in (0, 127, 255):
        mask = np.full(probability.shape, value, np.uint8)
        mended = mend(mask, probability, threshold, RelabelOptions(add, drop))
        changed = {0: relative >= add, 127: relative < 0, 255: relative <= 1 / drop}[value]
        unsure = np.isclose(relative, add) | np.isclose(relative, 1 / drop)
        assert ((mended != mask) == changed)[~unsure].all()


def test_moved_masks_ignore_what_they_do_not_know():
    mask = streets(0)
    mask[:5, :5] = 127
    moved = move(mask, 3.2, 1.6)
    np.testing.assert_array_equal(moved[5:-2, 8:], mask[7:, 5:-3])
    assert (moved[-2:] == 127).all() and (moved[:, :3] == 127).all() and (moved[:5, :5] == 127).all()


def test_options_are_checked():
    with pytest.raises(ParameterError, match="expected 1 to inf"):
        RelabelOptions(add_odds=0.5)
