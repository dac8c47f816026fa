"""Splits that share no ground."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.chips.splits import split_by_place, split_by_scene
from lib.errors import ParameterError

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
