"""Skeletons keep what a mask is made of, and are thin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lib.vectors import thinning


def skeleton(mask: np.ndarray) -> np.ndarray:
    state, stride = thinning.padded(mask, 1)
    thinning.thin(state, stride)
    inner = state.reshape(-1, stride)[thinning.MARGIN :, thinning.MARGIN :]
    return (inner[: mask.shape[0], : mask.shape[1]] & thinning.SKELETON) > 0


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_skeleton_keeps_components_and_holes_and_is_thin(blobs, euler, seed):
    mask = blobs(seed)
    thin = skeleton(mask.astype(np.uint8))
    assert euler(thin) == euler(mask)
    assert not (thin & ~mask).any()
    squares = thin[1:, 1:] & thin[:-1, 1:] & thin[1:, :-1] & thin[:-1, :-1]
    assert not squares.any() or euler(thin)[1] or thin.sum() > 4


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("end", [340, 341])  # how the street's end is cut
@pytest.mark.parametrize("pixels", [2, 4, 6])
def test_diagonals_of_an_even_width_keep_their_length(pixels, end, turn):
    row, column = np.mgrid[:200, :200]
    across, along = column - row, column + row
    street = (across >= 0) & (across < pixels) & (along >= 60) & (along < end)
    assert skeleton(np.ascontiguousarray(np.rot90(street.astype(np.uint8), turn))).sum() >= 138


def test_radius_is_the_distance_to_the_edge(blobs):
    mask = blobs(5)
    state, stride = thinning.padded(mask, 1)
    exact = ndimage.distance_transform_edt(np.pad(mask, 1))
    for y, x in np.argwhere(mask):
        assert thinning.radius(state, stride, (y + 1) * stride + x + 1) == exact[y + 1, x + 1]
