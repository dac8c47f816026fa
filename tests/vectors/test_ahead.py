"""What is compiled ahead is all that a mask needs."""

import numpy as np
import pytest

from lib.vectors.ahead import compile_ahead, compiled
from lib.vectors.roadgraph import mask_to_graph


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_no_mask_compiles_anything_more(kind):
    compile_ahead()
    before = compiled()
    assert any(before.values())  # not all: what comes from the cache brings along what it calls
    coarse = np.random.default_rng(0).random((20, 30)) > 0.6
    mask = np.kron(coarse, np.ones((12, 12), bool))
    mask_to_graph((255 * mask).astype(kind) if kind is np.uint8 else mask.astype(kind), 0.3)
    assert compiled() == before
