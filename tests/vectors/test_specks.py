"""Small blobs go and small holes are filled."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lib.vectors import specks, thinning


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 30))
def test_cleaning_is_labelling_and_dropping_the_small(blobs, seed, min_blob_px, min_hole_px):
    mask = blobs(seed)
    state, stride = thinning.padded(mask, 1)
    specks.clean(state, stride, min_blob_px, min_hole_px)
    labels = ndimage.label(mask, np.ones((3, 3)))[0]
    holes = ndimage.label(~np.pad(mask, 1))[0]
    small = np.bincount(labels.ravel())[labels] < min_blob_px
    filled = (np.bincount(holes.ravel())[holes] < min_hole_px) & (holes > 0) & (holes != holes[0, 0])
    expected = np.where(mask, ~small, filled[1:-1, 1:-1])
    assert (state.reshape(-1, stride)[1:, 1:][: mask.shape[0], : mask.shape[1]] == expected).all()
