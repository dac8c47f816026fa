"""What is compiled ahead is all that masks and their scores need."""

import numpy as np
import pytest

from lib import apls
from lib.ahead import compiled, graphs, scores
from lib.vectors.roadgraph import from_lines, mask_to_graph


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_no_mask_compiles_anything_more(kind):
    graphs()
    before = compiled()
    assert any(before.values())  # not all: what comes from the cache brings along what it calls
    coarse = np.random.default_rng(0).random((20, 30)) > 0.6
    mask = np.kron(coarse, np.ones((12, 12), bool))
    mask_to_graph((255 * mask).astype(kind) if kind is np.uint8 else mask.astype(kind), 0.3)
    assert compiled() == before


@pytest.mark.parametrize("mode", ["strict", "challenge"])
@pytest.mark.parametrize("sample", [None, 5])
def test_no_roads_compile_anything_more(mode, sample):
    scores()
    before = compiled()
    ends = np.random.default_rng(1).uniform(0, 300, (2, 12, 2, 2))
    truth, proposal = (from_lines(list(side)) for side in ends)
    apls.score(truth, proposal, mode=mode, gsd_m=0.5, sample=sample)
    assert compiled() == before
