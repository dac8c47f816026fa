"""Splits that share no ground."""

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lib.chips.splits import (
    blocks_of,
    published_split,
    read_splits,
    split_by_hash,
    split_by_place,
    split_by_scene,
    without_shared_ground,
)
from lib.errors import InputError, ParameterError

boxes = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 300), st.floats(1, 80), st.floats(1, 80)), min_size=1, max_size=60
)


@given(boxes, st.floats(0, 0.4), st.floats(0, 0.4))
def test_splits_never_share_ground(rows, val_share, test_share):
    x, y, w, h = np.array(rows).T
    bounds = np.column_stack([x, y, x + w, y + h])
    splits = split_by_place(bounds, val_share, test_share)
    axis = int(np.argmax(bounds[:, 2:].max(0) - bounds[:, :2].min(0)))
    order = [bounds[splits == s] for s in ("train", "val", "test")]
    for i, first in enumerate(order):
        for second in order[i + 1 :]:
            if len(first) and len(second):
                assert first[:, axis + 2].max() <= second[:, axis].min() + 1e-2


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
    with pytest.raises(ParameterError, match="leave a rest"):
        split_by_scene(["a", "b"], 0.5, 0.5, 0)


@pytest.mark.parametrize("columns", [3, 4, 5, 7])
def test_few_chips_leave_some_for_each_split(columns):
    bounds = np.array([[100.0 * i, 0, 100.0 * i + 100, 100] for i in range(columns)])
    assert set(split_by_place(bounds, 0.15, 0.2, each=True)) == {"train", "val", "test"}


def test_a_hash_says_the_same_for_ever():
    """The right values are those of `printf NAME | sha256sum`, whose first digit says the sixteenth of the range."""
    names = ["104", "113", "AOI_2_Vegas_img0", "AOI_2_Vegas_img1", "14/2954/6423"]
    assert split_by_hash(names, 0.15, 0.2) == ["train", "train", "test", "train", "val"]
    shares = pd.Series(split_by_hash([str(n) for n in range(4000)], 0.15, 0.2)).value_counts(normalize=True)
    assert abs(shares["val"] - 0.15) < 0.02 and abs(shares["test"] - 0.2) < 0.02


def test_blocks_are_the_tiles_of_slippy_maps():
    """Las Vegas and Helsinki, as the formula of the OSM wiki (Slippy map tilenames) has them; and the antimeridian."""
    places = [(-115.1678, 36.2386), (24.9384, 60.1699), (180.0, 0.01)]
    assert blocks_of(np.array([shapely.box(x, y, x, y).buffer(1e-4) for x, y in places])) == [
        "14/2950/6420",
        "14/9326/4742",
        "14/0/8191",
    ]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=30), st.integers(0, 9))
def test_no_split_holds_ground_of_another_after_a_hash(places, seed):
    chips = np.array([shapely.box(x / 2, y / 2, x / 2 + 1, y / 2 + 1) for x, y in places])
    before = np.array(split_by_hash([f"{seed} {place}" for place in places], 0.3, 0.3), object)
    after = without_shared_ground(chips, before)
    assert ((after == before) | (after == "")).all() and (after[before == "test"] == "test").all()
    for i, one in enumerate(chips):
        for k, two in enumerate(chips):
            assert "" in (after[i], after[k]) or after[i] == after[k] or one.intersection(two).area < 1e-9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split\na,dev\n", "got 'dev'"),
        ("name,split\na,val\n", "id is missing"),
        ("id,split\na,val\na,val\n", "twice"),
    ],
)
def test_a_frozen_list_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_splits(tmp_path / "list.csv")


def test_what_publishers_call_splits():
    assert [published_split(text, "x") for text in ("train", "valid", "Test")] == ["train", "val", "test"]
    with pytest.raises(InputError, match="got 'sat'"):
        published_split("sat", "x")
