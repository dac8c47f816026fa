"""How a source says which chips train, validate and test: by the publisher's folders, a frozen list, or a hash."""

import cv2
import numpy as np
import pytest

from lib.chips.splits import split_by_hash
from lib.errors import InputError, ParameterError, PPLinkNetWarning


@pytest.fixture
def massachusetts(tmp_path):
    """Images as the publisher of the Massachusetts sets lays them out, 1 m a pixel, a corner of each white."""
    rng = np.random.default_rng(0)
    for split, names in (("train", "abc"), ("valid", "d"), ("test", "ef")):
        for kind in ("sat", "map"):
            (tmp_path / split / kind).mkdir(parents=True)
        for name in names:
            image = rng.integers(40, 90, (64, 64, 3), dtype=np.uint8)
            image[:32, :32] = 255
            mask = np.zeros((64, 64), np.uint8)
            mask[:, 28:36] = 255
            cv2.imwrite(str(tmp_path / split / "sat" / f"{name}.tiff"), image)
            cv2.imwrite(str(tmp_path / split / "map" / f"{name}.tif"), mask)
    return tmp_path


SOURCE = {"images": "{split}/sat/{id}.tiff", "clean": "{split}/map/{id}.tif", "gsd_m": 1.0, "nodata": "white"}


def splits(manifest):
    return dict(zip(manifest["scene"], manifest["split"], strict=True))


def test_the_publishers_own_splits(massachusetts, build):
    from lib.chips.manifest import read_mask

    manifest = build(massachusetts, SOURCE | {"split": "named"}, gsd_m=1.0, chip_px=64)
    expected = {**dict.fromkeys("abc", "train"), "d": "val", **dict.fromkeys("ef", "test")}
    assert splits(manifest) == expected
    mask = read_mask(manifest["mask"].iloc[0])
    assert (mask[:32, :32] == 127).all() and (mask[40:, 28:36] == 255).all()  # white is no image, road or not


def test_a_hash_needs_no_others(massachusetts, build):
    manifest = build(massachusetts, SOURCE | {"split": "hash"}, gsd_m=1.0, chip_px=64, val_share=0.3, test_share=0.3)
    assert splits(manifest) == dict(zip("abcdef", split_by_hash(list("abcdef"), 0.3, 0.3), strict=True))


def test_a_frozen_list_chooses_and_leaves_out(massachusetts, build):
    (massachusetts / "list.csv").write_text("id,split\na,test\nb,train\nc,val\n")
    manifest = build(massachusetts, SOURCE | {"split": "list.csv"}, gsd_m=1.0, chip_px=64)
    assert splits(manifest) == {"a": "test", "b": "train", "c": "val"}


def test_splits_that_cannot_be_read_are_named(massachusetts, build):
    (massachusetts / "valid").rename(massachusetts / "extra")
    with pytest.raises(InputError, match=r"d\.tiff: expected .*valid.* for \{split\}, got 'extra'"):
        build(massachusetts, SOURCE | {"split": "named"}, gsd_m=1.0, chip_px=64)
    with pytest.raises(ParameterError, match=r"has no part \{split\}"):
        build(massachusetts, SOURCE | {"images": "*/sat/{id}.tiff", "clean": "{id}.tif", "split": "named"})
    with pytest.raises(InputError, match="lost.csv: no such file"):
        build(massachusetts, SOURCE | {"split": "lost.csv"}, gsd_m=1.0, chip_px=64)


def test_too_few_chips_for_a_split_are_said(area, build):
    with pytest.warns(PPLinkNetWarning, match=r"'\*\.tif' is left for test: 1 scenes give 4 chips of 200 px"):
        build(area, chip_px=200)
